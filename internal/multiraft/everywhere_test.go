package multiraft

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/shard"
)

// outcome is how a ProposeAll ended.
type outcome struct {
	index uint64
	err   error
}

// proposeAll runs ProposeAll at the leader while the lab ticks, at most so many times; ended is false when it
// still waits then. A context with a deadline is waited for.
func (l *lab) proposeAll(ctx context.Context, n *labNode, g shard.GroupID, amount uint64, ticks int) (outcome, bool) {
	l.t.Helper()
	done := make(chan outcome, 1)
	id := l.id()
	go func() {
		_, index, err := n.manager.ProposeAll(ctx, g, id, binary.BigEndian.AppendUint64(nil, amount))
		done <- outcome{index, err}
	}()
	deadline := time.Now().Add(20 * time.Second)
	for tick := 0; time.Now().Before(deadline); tick++ {
		if tick < ticks {
			l.tick()
		}
		select {
		case o := <-done:
			return o, true
		case <-time.After(time.Millisecond):
		}
		if _, bounded := ctx.Deadline(); !bounded && tick >= ticks {
			return outcome{}, false
		}
	}
	return outcome{}, false
}

func TestAllWaitsForEveryVoter(t *testing.T) {
	l := threeNodes(t, 31)
	g := shard.UserShard(0)
	n := l.leader(g)
	o, ended := l.proposeAll(t.Context(), n, g, 4, 2000)
	if !ended || o.err != nil {
		t.Fatalf("ProposeAll = %v, ended %v", o.err, ended)
	}
	for id, node := range l.nodes {
		if node.manager.Applied(g) < o.index || node.sum(g) != 4 {
			t.Errorf("replica %d has applied %d, want %d", id, node.manager.Applied(g), o.index)
		}
	}
}

func TestAllNamesTheNodeThatIsBehind(t *testing.T) {
	l := threeNodes(t, 32)
	g := shard.UserShard(0)
	n := l.leader(g)
	var slow ident.ReplicaID
	for id := range l.nodes {
		if id != n.replica {
			slow = id
		}
	}
	for id := range l.nodes {
		if id != slow {
			l.network.Partition(address(id), address(slow))
		}
	}
	// The silence is not noticed yet, so the command is proposed and commits without the slow node.
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if o, ended := l.proposeAll(ctx, n, g, 5, 20); ended {
		t.Fatalf("ProposeAll ended with %v although a voter has not applied", o.err)
	}
	if n.sum(g) != 5 {
		t.Fatalf("the command is not committed at the leader")
	}
	l.until(400, "the voter counts as missing", func() bool { return !n.manager.Live(slow) })
	n = l.leader(g) // the balancer may have moved it
	o, ended := l.proposeAll(t.Context(), n, g, 6, 50)
	var missing *MissingVoterError
	if !ended || !errors.As(o.err, &missing) || len(missing.Missing) != 1 || missing.Missing[0] != slow {
		t.Fatalf("ProposeAll without a voter = %v", o.err)
	}
	if n.sum(g) != 5 {
		t.Error("a refused command was applied")
	}
}

func TestAllTellsWhoIsBehindWhenTimeIsUp(t *testing.T) {
	l := threeNodes(t, 33)
	g := shard.UserShard(0)
	n := l.leader(g)
	for id := range l.nodes {
		if id != n.replica {
			l.network.Partition(address(n.replica), address(id))
			break
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	o, ended := l.proposeAll(ctx, n, g, 5, 10)
	var behind *BehindError
	if !ended || !errors.As(o.err, &behind) || o.index == 0 {
		t.Fatalf("ProposeAll = %v at %d, ended %v; want BehindError with the index", o.err, o.index, ended)
	}
	if !strings.Contains(behind.Error(), "committed, not yet applied on node") {
		t.Errorf("message %q", behind.Error())
	}
}

// TestAllOfAPackedEntry proposes three commands that share an entry. While a voter has not applied it each of them ends with the name of
// that voter, and once it has, each ends well.
func TestAllOfAPackedEntry(t *testing.T) {
	l := newLab(t, 34, 2)
	l.packs = true
	l.startThree()
	g := shard.UserShard(0)
	n := l.leader(g)
	slow := l.otherThan(n)
	for id := range l.nodes {
		if id != slow.replica {
			l.network.Partition(address(id), address(slow.replica))
		}
	}
	var submitted []*Submitted
	for range 3 {
		s, err := n.manager.Submit(g, l.id(), binary.BigEndian.AppendUint64(nil, 1))
		if err != nil {
			t.Fatal(err)
		}
		submitted = append(submitted, s)
	}
	l.pump()
	over, cancel := context.WithCancel(t.Context())
	cancel()
	var shared uint64
	await := func() (err error) {
		for _, s := range submitted {
			_, index, done, failure := s.Poll()
			if !done || failure != nil || shared > 0 && index != shared {
				t.Fatalf("a command is at %d, the one before at %d, done %v, %v", index, shared, done, failure)
			}
			shared = index
			err = errors.Join(err, n.manager.awaitAll(over, n.manager.groups[g], index))
		}
		return err
	}
	// Each look asks the voters, who answer while the lab moves.
	l.until(100, "one voter has answered", func() bool {
		behind, ok := errors.AsType[*BehindError](await())
		return ok && len(behind.Behind) == 1
	})
	behind, ok := errors.AsType[*BehindError](await())
	if !ok || behind.Behind[0] != slow.replica || strings.Count(await().Error(), "committed, not yet applied on") != len(submitted) {
		t.Errorf("%v, want that replica %d is behind, for each of %d", await(), slow.replica, len(submitted))
	}
	l.network.HealAll()
	l.until(400, "all voters have applied it", func() bool { return await() == nil })
	if slow.sum(g) != uint64(len(submitted)) {
		t.Errorf("the voter that was away has applied %d of %d", slow.sum(g), len(submitted))
	}
}

// TestAllWaitsForNoObserver: with a silent observer a command for all is answered once the voters have applied it; with a voter that is
// silent too, the refusal names the voter alone.
func TestAllWaitsForNoObserver(t *testing.T) {
	l := newLab(t, 34, 2)
	for id := ident.ReplicaID(1); id <= 4; id++ {
		l.add(id)
	}
	g := shard.UserShard(0)
	l.until(4000, "four voters everywhere", l.settled)
	observer := l.nodes[4]
	l.observe(observer, g)
	l.until(2000, "replica 4 observes the group", func() bool { return observer.manager.groups[g].describe(observer.manager).State == "observer" })
	isolate := func(id ident.ReplicaID) {
		for other := range l.nodes {
			if other != id {
				l.network.Partition(address(other), address(id))
			}
		}
	}
	isolate(4)
	n := l.leader(g)
	l.until(2000, "replica 4 is silent, and the group has a leader", func() bool {
		n = l.leader(g)
		return n != nil && n != observer && !n.manager.Live(4)
	})
	o, ended := l.proposeAll(t.Context(), n, g, 4, 2000)
	if !ended || o.err != nil {
		t.Fatalf("without the observer: %v, ended %v", o.err, ended)
	}
	for id, node := range l.nodes {
		if has := node.sum(g) == 4; has != (id != 4) {
			t.Errorf("replica %d has a sum of %d", id, node.sum(g))
		}
	}
	away := l.otherThan(n)
	isolate(away.replica)
	l.until(2000, "a voter is silent, too", func() bool {
		n = l.leader(g)
		return n != nil && n != away && !n.manager.Live(away.replica)
	})
	o, ended = l.proposeAll(t.Context(), n, g, 5, 50)
	var missing *MissingVoterError
	if !ended || !errors.As(o.err, &missing) || len(missing.Missing) != 1 || missing.Missing[0] != away.replica {
		t.Fatalf("without a voter: %v", o.err)
	}
}

// TestAllWaitsForNoLearner: a member that has no vote yet, since it has not caught up, holds no command for all up.
func TestAllWaitsForNoLearner(t *testing.T) {
	l := threeNodes(t, 35)
	g := shard.UserShard(0)
	l.members = append(l.members, Member{Replica: 4, Node: 4}) // it does not answer
	learns := func() *labNode {
		n := l.leader(g)
		if n != nil && slices.Equal(n.manager.groups[g].describe(n.manager).Learners, []ident.ReplicaID{4}) {
			return n
		}
		return nil
	}
	l.until(400, "it is a learner", func() bool { return learns() != nil })
	n := learns()
	if o, ended := l.proposeAll(t.Context(), n, g, 4, 400); !ended || o.err != nil {
		t.Fatalf("beside a learner: %v, ended %v", o.err, ended)
	}
	for id, node := range l.nodes {
		if node.sum(g) != 4 {
			t.Errorf("replica %d has a sum of %d", id, node.sum(g))
		}
	}
}
