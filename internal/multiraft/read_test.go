package multiraft

import (
	"encoding/binary"
	"errors"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/shard"
)

// threeNodes is a settled cluster of three.
func threeNodes(t *testing.T, seed uint64) *lab {
	t.Helper()
	l := newLab(t, seed, 2)
	l.startThree()
	return l
}

func TestADeposedLeaderAnswersNoRead(t *testing.T) {
	l := threeNodes(t, 21)
	g := shard.UserShard(0)
	old := l.leader(g)
	if _, err := l.propose(g, l.id(), 1); err != nil {
		t.Fatal(err)
	}
	for id := range l.nodes {
		if id != old.replica {
			l.network.Partition(address(old.replica), address(id))
		}
	}
	stale := old.read(g)
	var successor *labNode
	l.until(400, "the others elect a leader", func() bool {
		for id, n := range l.nodes {
			if id != old.replica && n.manager.groups[g].leading.Load() {
				successor = n
				return true
			}
		}
		return false
	})
	w, err := successor.submit(g, l.id(), binary.BigEndian.AppendUint64(nil, 10))
	if err != nil {
		t.Fatal(err)
	}
	l.until(100, "the new leader's write", func() bool { return successor.sum(g) == 11 })
	if result := <-w.done; result.err != nil {
		t.Fatal(result.err)
	}
	select {
	case answer := <-stale.done:
		t.Fatalf("the deposed leader answered a read at index %d", answer.index)
	default:
	}
	l.until(2*defaultElectionTicks, "the leader without a quorum steps down", func() bool {
		return !old.manager.groups[g].leading.Load()
	})
	if len(stale.done) != 0 {
		t.Fatal("the deposed leader answered a read")
	}
	l.network.HealAll()
	l.until(400, "the read is answered", func() bool { return len(stale.done) == 1 })
	answer := <-stale.done
	if answer.err != nil {
		t.Fatal(answer.err)
	}
	l.until(100, "the read's index is applied", func() bool { return old.manager.Applied(g) >= answer.index })
	if got := old.sum(g); got != 11 {
		t.Errorf("the read sees %d, want 11", got)
	}
}

func TestAFollowerReadsWhatWasAcknowledged(t *testing.T) {
	l := threeNodes(t, 22)
	g := shard.UserShard(1)
	if _, err := l.propose(g, l.id(), 3); err != nil {
		t.Fatal(err)
	}
	for _, n := range l.nodes {
		r := n.read(g)
		l.until(100, "an answer", func() bool { return len(r.done) == 1 })
		answer := <-r.done
		l.until(100, "the index is applied", func() bool { return n.manager.Applied(g) >= answer.index })
		if got := n.sum(g); got != 3 {
			t.Errorf("replica %d reads %d, want 3", n.replica, got)
		}
	}
}

func TestALostLeaderEndsItsProposalsAsUnknown(t *testing.T) {
	l := threeNodes(t, 23)
	g := shard.UserShard(0)
	old := l.leader(g)
	for id := range l.nodes {
		if id != old.replica {
			l.network.Partition(address(old.replica), address(id))
		}
	}
	w, err := old.submit(g, l.id(), binary.BigEndian.AppendUint64(nil, 1))
	if err != nil {
		t.Fatal(err)
	}
	l.until(400, "an outcome", func() bool { return len(w.done) == 1 })
	if result := <-w.done; !errors.Is(result.err, ErrOutcomeUnknown) {
		t.Errorf("the proposal ended with %v, want ErrOutcomeUnknown", result.err)
	}
}

func TestDataWaitsForTheMetaGroup(t *testing.T) {
	l := threeNodes(t, 24)
	g := shard.UserShard(0)
	n := l.leader(g)
	wanted := l.leader(shard.Meta).manager.Applied(shard.Meta) + 1
	command := binary.BigEndian.AppendUint64(nil, 5)
	command = binary.BigEndian.AppendUint64(command, wanted)
	w, err := n.submit(g, l.id(), command)
	if err != nil {
		t.Fatal(err)
	}
	behind, err := n.submit(g, l.id(), binary.BigEndian.AppendUint64(nil, 100))
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		l.tick()
	}
	if len(w.done) != 0 || len(behind.done) != 0 || n.sum(g) != 0 {
		t.Fatal("a command was applied, and answered, before what it depends on")
	}
	// The waiting command survives a crash of any node, and every node applies it once meta has come.
	for id := ident.ReplicaID(1); id <= 3; id++ {
		l.nodes[id].crash()
		l.nodes[id].restart()
		l.until(400, "leaders", l.settled)
	}
	if _, err := l.propose(shard.Meta, l.id(), 1); err != nil {
		t.Fatal(err)
	}
	l.until(400, "all nodes applied it", func() bool {
		for _, n := range l.nodes {
			if n.sum(g) != 105 {
				return false
			}
		}
		return true
	})
}

func TestDrainMovesEveryLeadership(t *testing.T) {
	l := threeNodes(t, 25)
	n := l.leader(shard.Meta)
	for _, w := range n.manager.workers {
		w.enqueue(item{do: func(*group) { w.handOver(map[*group]bool{}) }})
	}
	l.until(100, "the node leads nothing", func() bool { return n.manager.LeaderCount() == 0 })
	l.until(100, "leaders elsewhere", l.settled)
}
