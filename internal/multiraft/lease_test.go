package multiraft

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/transport"
	"github.com/kalamdb/kalamdb-go/internal/shard"
)

// leaseRead begins a read that a lease is good enough for.
func (n *labNode) leaseRead(g shard.GroupID) *Reading {
	n.lab.t.Helper()
	r, err := n.manager.BeginLeaseRead(g)
	if err != nil {
		n.lab.t.Fatal(err)
	}
	return r
}

// served pumps without letting time pass, and reports whether the read was answered, with its index.
func (l *lab) served(r *Reading) (uint64, bool) {
	l.t.Helper()
	l.pump()
	index, done, err := r.Poll()
	if err != nil {
		l.t.Fatal(err)
	}
	return index, done
}

// TestLeaseAnswersWithoutQuorum: after one confirmed read, the leader answers more of them alone for a moment, for its
// followers too, and asks again when the lease is over.
func TestLeaseAnswersWithoutQuorum(t *testing.T) {
	l := awakeLab(t, 500, false)
	g := l.groups[1]
	leader := l.leader(g)
	follower := l.otherThan(leader)
	read := leader.leaseRead(g)
	if _, ok := l.served(read); !ok {
		t.Fatal("the first read was not answered")
	}
	heartbeats := 0
	l.network.SetFault(func(p *transport.Packet) transport.Verdict {
		if p.From == leader.replica {
			heartbeats += p.Messages
		}
		return transport.Verdict{}
	})
	before := leader.manager.stats.leaseReads.Load()
	if _, ok := l.served(leader.leaseRead(g)); !ok || heartbeats != 0 {
		t.Errorf("a read under a lease: answered %v, the leader sent %d messages, want none", ok, heartbeats)
	}
	if _, ok := l.served(follower.leaseRead(g)); !ok || heartbeats != 1 {
		t.Errorf("a follower's read under the leader's lease: answered %v, the leader sent %d messages, want its answer", ok, heartbeats)
	}
	if got := leader.manager.stats.leaseReads.Load() - before; got != 2 {
		t.Errorf("%d reads were answered from the lease, want 2", got)
	}
	l.clock.Advance(leader.manager.cfg.leaseTime())
	heartbeats = 0
	if _, ok := l.served(leader.leaseRead(g)); !ok || heartbeats == 0 {
		t.Errorf("a read after the lease: answered %v, %d messages", ok, heartbeats)
	}
	if _, ok := l.served(follower.leaseRead(g)); !ok {
		t.Error("a follower's read was not answered")
	}
}

// TestNoLeaseOutlivesItsLeader takes the leader's place in every way while it may still hold a lease, writes elsewhere,
// and reads at the old leader at once: the write is there, or there is no answer.
func TestNoLeaseOutlivesItsLeader(t *testing.T) {
	for _, kind := range []string{"pause", "partition", "transfer", "restart of a voter"} {
		for seed := range uint64(8) {
			l := awakeLab(t, 510+seed, false)
			g := l.groups[1]
			old := l.leader(g)
			if _, ok := l.served(old.leaseRead(g)); !ok {
				t.Fatal("the first read was not answered")
			}
			switch kind {
			case "pause":
				old.paused = true
			case "partition":
				l.isolate(old)
			case "transfer": // nobody tells the old leader that it has happened
				l.network.SetFault(func(p *transport.Packet) transport.Verdict { return transport.Verdict{Drop: p.To == old.replica} })
				old.manager.groups[g].node.TransferLeader(uint64(l.otherThan(old).replica))
				old.manager.workers[0].mark(old.manager.groups[g])
			case "restart of a voter":
				// The voter that confirmed the leader forgets it, and the other one has not heard of the leader for long.
				l.loseVoter(g, old)
			}
			l.until(10*defaultElectionTicks, "another node leads", func() bool {
				l.pump()
				return l.successor(g, old) != nil
			})
			next := l.successor(g, old)
			w, err := next.submit(g, l.id(), binary.BigEndian.AppendUint64(nil, 1))
			if err != nil {
				t.Fatal(err)
			}
			l.pump()
			if len(w.done) == 0 {
				continue // it is not acknowledged, so nobody must see it
			}
			written := (<-w.done).index
			old.paused = false
			stale := old.leaseRead(g)
			if index, ok := l.served(stale); ok && index < written {
				t.Errorf("%s, seed %d: the old leader answered a read at %d after the write at %d", kind, seed, index, written)
			}
		}
	}
}

// isolate cuts a node off from all others.
func (l *lab) isolate(n *labNode) {
	for id := range l.nodes {
		if id != n.replica {
			l.network.Partition(address(n.replica), address(id))
		}
	}
}

// successor is a node other than the old one that leads.
func (l *lab) successor(g shard.GroupID, old *labNode) *labNode {
	for id := ident.ReplicaID(1); id <= 3; id++ {
		if n := l.nodes[id]; n != old && n.manager != nil && n.manager.groups[g].leading.Load() {
			return n
		}
	}
	return nil
}

// loseVoter leaves the leader one voter that has just confirmed it, and restarts that one while the third stands for
// election without having heard of the leader for long.
func (l *lab) loseVoter(g shard.GroupID, leader *labNode) {
	l.t.Helper()
	var voters []*labNode
	for id := ident.ReplicaID(1); id <= 3; id++ {
		if l.nodes[id] != leader {
			voters = append(voters, l.nodes[id])
		}
	}
	third, voter := voters[0], voters[1]
	l.network.Partition(address(leader.replica), address(third.replica))
	l.until(10*defaultElectionTicks, "the third node asks for votes", func() bool {
		return third.manager.groups[g].lead.Load() == 0
	})
	if _, ok := l.served(leader.leaseRead(g)); !ok {
		l.t.Fatal("the leader is not confirmed by the voter")
	}
	voter.crash()
	voter.restart()
	l.network.Partition(address(leader.replica), address(voter.replica))
	if err := third.manager.groups[g].node.Campaign(); err != nil {
		l.t.Fatal(err)
	}
	third.manager.workers[0].mark(third.manager.groups[g])
	l.pump()
	if l.successor(g, leader) != nil {
		l.t.Error("a voter that was just started voted while the leader's lease may last")
	}
}

// TestLeaseIsShorterThanPatience: with the default settings, what a lease lasts leaves room for ticks that are counted late.
func TestLeaseIsShorterThanPatience(t *testing.T) {
	cfg := Config{}.withDefaults()
	if least := time.Duration(cfg.ElectionTicks-cfg.HeartbeatTicks) * cfg.TickInterval; cfg.leaseTime() >= least {
		t.Errorf("a lease of %v, but a voter may vote after %v", cfg.leaseTime(), least)
	}
}
