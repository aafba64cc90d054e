package statemachine

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// recover writes what a recovery writes into the meta group, and opens the state machine again.
func (r *replica) recover(tb testing.TB, uid ident.ClusterUID, numbers []uint64) {
	tb.Helper()
	var survivors []ident.ReplicaID
	for _, number := range numbers {
		survivors = append(survivors, ident.ReplicaID(number))
	}
	current := r.store.Current()
	cluster, members := current.Recovered(current.Cluster().UID, uid, survivors)
	batch := r.engine.NewBatch()
	value, err := catalog.MarshalCluster(cluster)
	must(tb, err)
	must(tb, batch.Set(keys.Cluster(), value))
	for _, m := range members {
		value, err = catalog.Marshal(catalog.MemberToProto(m))
		must(tb, err)
		must(tb, batch.Set(keys.Member(m.Replica), value))
	}
	must(tb, r.engine.Commit(batch))
	must(tb, batch.Close())
	r.restart(tb)
}

// survivors are two replicas of the meta group of a cluster that loses its majority, one of which has applied more of the log than the other.
type survivors struct {
	t       *testing.T
	random  *rand.Rand
	uid     ident.ClusterUID
	log     []command.Entry
	two     [2]*replica
	applied [2]int // entries
	answers []string
	late    [2]int // orders that were applied after a recovery, and how many of them were refused
}

// TestSurvivorsAgree lets two survivors of a cluster, at other places of its log, recover, once or again before anything is settled. Then they apply what is
// left of the log, and the orders of the cluster that they are. Each order is answered alike on both, both have the same keys with the same values
// then, and what came late has changed nothing about who is a member and who votes.
func TestSurvivorsAgree(t *testing.T) {
	t.Parallel()
	s := &survivors{t: t}
	for seed := range uint64(200) {
		s.random = rand.New(rand.NewPCG(seed, 1))
		s.run(seed)
	}
	if s.late[0] < 500 || s.late[1] < 100 {
		t.Errorf("%d orders came late, %d of them were refused: the test shows too little", s.late[0], s.late[1])
	}
}

func (s *survivors) run(seed uint64) {
	s.t.Helper()
	s.uid, s.log, s.applied, s.answers = ident.ClusterUID{1}, nil, [2]int{}, nil
	s.two = [2]*replica{newReplica(s.t, shard.Meta), newReplica(s.t, shard.Meta)}
	s.propose(&commandv1.Command{Body: &commandv1.Command_Found{Found: &commandv1.Found{
		ClusterUid: s.uid[:], ClusterId: "c", UserShards: 2, SharedShards: 1, Member: s.member(1, 1),
	}}})
	for store := uint64(2); store <= 4; store++ {
		s.propose(s.add(store, store))
	}
	s.apply(0, len(s.log))
	s.apply(1, len(s.log))
	var alive []uint64
	for range 1 + s.random.IntN(2) {
		for range 4 + s.random.IntN(10) {
			s.order()
		}
		s.apply(0, s.applied[0]+s.random.IntN(1+len(s.log)-s.applied[0]))
		s.apply(1, s.applied[1]+s.random.IntN(1+max(s.applied[0]-s.applied[1], 0)))
		if alive = s.alive(); len(alive) == 0 {
			return // one of them knows of no member that both have
		}
		s.uid[0]++
		for _, r := range s.two {
			r.recover(s.t, s.uid, alive)
		}
	}
	s.agree(seed)
	for _, m := range s.two[0].store.Current().Members() {
		if survived := slices.Contains(alive, uint64(m.Replica)); m.Removed == survived || len(m.Observes) > 0 {
			s.t.Errorf("seed %d: late orders have left member %+v", seed, m)
		}
	}
	for range 6 {
		s.order()
		s.apply(0, len(s.log)) // so that a removal may be the first order
	}
	s.agree(seed)
}

// alive are members of which both replicas know that they are.
func (s *survivors) alive() (alive []uint64) {
	for _, m := range s.two[0].store.Current().Members() {
		other, ok := s.two[1].store.Current().Member(m.Replica)
		if ok && !m.Removed && !other.Removed && s.random.IntN(3) > 0 {
			alive = append(alive, uint64(m.Replica))
		}
	}
	return alive
}

// agree lets both apply the whole log, and compares them.
func (s *survivors) agree(seed uint64) {
	s.t.Helper()
	s.apply(0, len(s.log))
	s.apply(1, len(s.log))
	one, other := s.two[0].dump(s.t), s.two[1].dump(s.t)
	if !maps.Equal(one, other) {
		s.t.Fatalf("seed %d:\n%s\n%s\n%s", seed, summary(s.two[0].store.Current()), summary(s.two[1].store.Current()), printChanges(s.t, one, other))
	}
}

// apply brings a replica up to a number of entries.
func (s *survivors) apply(which, upto int) {
	s.t.Helper()
	r := s.two[which]
	for ; s.applied[which] < upto; s.applied[which]++ {
		at := s.applied[which]
		isLate := r.store.Current().Cluster() != nil && len(r.store.Current().Cluster().Lost) > 0
		outcome, err := r.apply(s.log[at : at+1])
		must(s.t, err)
		answer := printResult(s.t, s.log[at].Index, outcome.Results[0])
		refused := strings.HasPrefix(answer, "refused")
		if isLate {
			s.late[0]++
			if refused {
				s.late[1]++
			}
		}
		if at == len(s.answers) {
			s.answers = append(s.answers, answer)
		} else if s.answers[at] != answer {
			s.t.Fatalf("entry %d is answered %q, and was answered %q", s.log[at].Index, answer, s.answers[at])
		}
	}
}

// propose puts a command behind the log.
func (s *survivors) propose(cmd *commandv1.Command) {
	s.t.Helper()
	index := uint64(len(s.log) + 1)
	request := command.NewRequestID(int64(index), [10]byte{})
	cmd.Header = &commandv1.Header{
		RequestId: request[:], NowMicros: int64(index), Actor: "root", Audit: &commandv1.AuditNote{Action: "order", Keep: 10},
	}
	s.log = append(s.log, command.Entry{Index: index, Term: 1, Data: encode(s.t, cmd)})
}

func (s *survivors) member(node, store uint64) *commandv1.Member {
	return &commandv1.Member{
		NodeId: node, StoreId: append(make([]byte, 15), byte(store)), RpcAddr: fmt.Sprintf("%d:%d", node, s.random.IntN(3)),
	}
}

func (s *survivors) add(node, store uint64) *commandv1.Command {
	return &commandv1.Command{Body: &commandv1.Command_AddMember{AddMember: &commandv1.AddMember{
		Member: s.member(node, store), ClusterUid: slices.Clone(s.uid[:]), LogFormat: command.LogFormat,
	}}}
}

func (s *survivors) votes(replica uint64, votes bool, groups ...uint64) *commandv1.Command {
	return &commandv1.Command{Body: &commandv1.Command_ChangeVotes{ChangeVotes: &commandv1.ChangeVotes{
		ReplicaId: replica, Groups: groups, Votes: votes, ClusterUid: slices.Clone(s.uid[:]),
	}}}
}

// order proposes an order about members, as a node does that has applied what the first replica has.
func (s *survivors) order() {
	s.t.Helper()
	replica := 1 + s.random.Uint64N(7)
	switch s.random.IntN(8) {
	case 0:
		node := 1 + s.random.Uint64N(6)
		s.propose(s.add(node, node+10*s.random.Uint64N(2)))
	case 1, 2:
		if cluster := s.two[0].store.Current().Cluster(); len(cluster.Lost) > 0 {
			s.propose(s.votes(replica, true))
		}
		s.propose(&commandv1.Command{Body: &commandv1.Command_RemoveMember{RemoveMember: &commandv1.RemoveMember{ReplicaId: replica}}})
	default:
		groups := []uint64{uint64(shard.UserShard(0)), uint64(shard.UserShard(1)), uint64(shard.SharedShard(0))}
		s.propose(s.votes(replica, s.random.IntN(4) == 0, groups[:1+s.random.IntN(len(groups))]...))
	}
}
