package sim

import (
	"errors"
	"slices"
	"strings"
	"testing"

	raftpb "go.etcd.io/raft/v3/raftpb"

	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/transport"
	"github.com/kalamdb/kalamdb-go/internal/shard"
)

// broken is what a judge says of something, "" for nothing.
func broken(look func()) (said string) {
	defer func() {
		var v violation
		if r := recover(); r != nil {
			err, _ := r.(error)
			if !errors.As(err, &v) {
				panic(r)
			}
			said = v.message
		}
	}()
	look()
	return ""
}

// TestJudgesSee shows to judges what no planted bug makes the engine do, since something else gives way before: each of them says so, and
// none of them says a word of the cluster as it is.
func TestJudgesSee(t *testing.T) {
	scenario(t, 3, nil, func(l *lab) {
		l.count(l.nodes[0], 6)
		l.whole()
		for _, lie := range lies(l) {
			if said := broken(lie.look); said != "" {
				t.Errorf("%s is told of a cluster that is well", said)
			}
			takeBack := lie.tell()
			if said := broken(lie.look); !strings.Contains(said, lie.want) {
				t.Errorf("a judge says %q, want %q", said, lie.want)
			}
			takeBack()
		}
	})
}

// lie makes something untrue, and makes it true again.
type lie struct {
	want string // what a judge says
	look func()
	tell func() (takeBack func())
}

func lies(l *lab) []lie {
	group := l.counter(0).group
	n, truth := l.leader(group), l.oracle.groups[group]
	other := l.others(n)[0]
	standing := n.manager.Glance(group)
	// hear is what the oracle makes of a message of a node in the newest term.
	hear := func(from *simNode, kind raftpb.MessageType, to ident.ReplicaID) func() {
		return func() {
			l.oracle.messages(from.self.Replica, []transport.Message{{Group: group, Raft: &raftpb.Message{
				Type: kind.Enum(), Term: new(standing.Term), To: new(uint64(to)),
			}}})
		}
	}
	leading, vote := n, other.self.Replica
	lies := []lie{
		{"has two leaders", func() { hear(leading, raftpb.MsgHeartbeat, other.self.Replica)() }, func() func() {
			leading = other
			return func() { leading = n }
		}},
		{"voted twice", func() { hear(other, raftpb.MsgVoteResp, vote)() }, func() func() {
			vote = n.self.Replica
			return func() { vote = other.self.Replica }
		}},
		{"but has spoken in term", func() { l.oracle.opened(n) }, func() func() {
			before := truth.terms[n.self.Replica]
			truth.terms[n.self.Replica] = standing.Term + 1
			return func() { truth.terms[n.self.Replica] = before }
		}},
		{"but has confirmed", func() { l.oracle.opened(n) }, func() func() {
			before := truth.promises[n.self.Replica]
			truth.promises[n.self.Replica] = promise{standing.Term, standing.LastIndex + 1}
			return func() { truth.promises[n.self.Replica] = before }
		}},
		{"differ in", func() { l.oracle.digest(n, group) }, func() func() {
			before := truth.digests[standing.Applied]
			truth.digests[standing.Applied] = digest{before.sum + 1, other.id}
			return func() { truth.digests[standing.Applied] = before }
		}},
	}
	return append(append(lies, liesOfTheLog(l, n, group)...), liesOfRows(l)...)
}

// liesOfTheLog are about what nodes apply.
func liesOfTheLog(l *lab, n *simNode, group shard.GroupID) []lie {
	truth := l.oracle.groups[group]
	honest := command.Entry{Index: n.manager.Applied(group) + 1, Term: n.manager.Glance(group).Term}
	again, result, needs := honest, "done", uint64(0)
	// twice shows an entry that is not in the log, and what becomes of it at a second replica.
	twice := func() {
		before := truth.committed
		truth.committed = slices.Clip(before)
		defer func() { truth.committed = before }()
		l.oracle.applied(n, group, &shown{entry: honest, result: []byte("done"), meta: n.catalog.Index()})
		truth.committed[honest.Index][0].needs = needs
		l.oracle.applied(n, group, &shown{entry: again, result: []byte(result), meta: n.catalog.Index()})
	}
	return []lie{
		{"applies another entry", twice, func() func() { again.Term++; return func() { again = honest } }},
		{"applies another entry", twice, func() func() { again.RequestID[0]++; return func() { again = honest } }},
		{"has another result", twice, func() func() { result = "refused"; return func() { result = "done" } }},
		{"which needs meta", twice, func() func() { needs = n.catalog.Index() + 1; return func() { needs = 0 } }},
		{"falls from", func() { n.look() }, func() func() {
			at := slices.Index(l.groups, group)
			before := n.looked[at]
			n.looked[at].Applied++
			return func() { n.looked[at] = before }
		}},
		{"entries were applied", l.judge, func() func() {
			before := truth.committed
			truth.committed = append(slices.Clip(before), []committed{{term: 1}})
			return func() { truth.committed = before }
		}},
	}
}

// liesOfRows are about what clients know.
func liesOfRows(l *lab) []lie {
	target := l.counter(0)
	counter := l.store.counters[target]
	return []lie{
		{"a client knows", l.judgeRows, func() func() {
			before := l.store.floor[target]
			l.store.learn(target, version{seq: before.seq + 1, value: before.value})
			return func() { l.store.floor[target] = before }
		}},
		{"were acknowledged", l.judgeRows, func() func() {
			counter.acknowledged++
			return func() { counter.acknowledged-- }
		}},
		{"increments ran", l.judgeRows, func() func() {
			before := counter.requests
			counter.requests = before[1:]
			counter.acknowledged--
			return func() { counter.requests = before; counter.acknowledged++ }
		}},
	}
}
