package sim

import (
	"testing"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/multiraft/transport"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/shard"
)

// TestPausedLeaderServesNothingStale pauses a leader, writes elsewhere, and reads at the old leader in the moment in
// which it wakes.
func TestPausedLeaderServesNothingStale(t *testing.T) {
	scenario(t, 3, nil, func(l *lab) {
		for range 5 {
			old := l.leader(l.counter(0).group)
			l.lead(old)
			l.count(old, 5)
			l.hold(old)
			l.run(3 * time.Second)
			l.count(l.others(old)[0], 10)
			l.release(old)
			l.plan.wake()
			for user := range 5 {
				l.spawn("reader", func(a *actor) { a.serve(old, func(s *session) { s.read(l.counter(user)) }) })
			}
			l.run(5 * time.Second)
		}
	})
}

// TestDeposedLeaderServesNothingStale cuts a leader off, so that it still believes to lead, and reads there.
func TestDeposedLeaderServesNothingStale(t *testing.T) {
	scenario(t, 3, nil, func(l *lab) {
		old := l.nodes[2]
		l.lead(old)
		l.isolate(old)
		for user := range 5 {
			l.spawn("reader", func(a *actor) { a.serve(old, func(s *session) { s.read(l.counter(user)) }) })
		}
		served := l.stats.reads
		l.run(4 * time.Second)
		if l.stats.reads != served {
			l.fail("node %d served a read without a quorum", old.id)
		}
		l.count(l.others(old)[0], 10)
		l.healNetwork()
	})
}

// TestDataWaitsForMeta keeps meta entries from a node while data entries that need them arrive.
func TestDataWaitsForMeta(t *testing.T) {
	scenario(t, 3, nil, func(l *lab) {
		late := l.nodes[2]
		l.lead(l.nodes[0])
		// The meta group and heartbeats travel on the control lane; entries of data groups on the other.
		l.mute(transport.LaneControl, nil, late)
		table := uint64(0)
		l.do(l.nodes[1], func(s *session) { table = s.createTable("new", schema.KindUser) })
		target := l.c.privateCell(l.c.users[0], "row")
		target.table = table
		l.do(l.nodes[0], func(s *session) { l.c.intoNewTable(s, "new", target) })
		seen, meta := late.manager.Glance(target.group), late.manager.Applied(shard.Meta)
		leads := l.nodes[0].manager
		if meta >= leads.Applied(shard.Meta) {
			l.fail("node %d has meta %d; the story does not happen", late.id, meta)
		}
		if seen.LastIndex != leads.Glance(target.group).LastIndex || seen.Applied >= leads.Applied(target.group) {
			l.fail("node %d has the log up to %d and applied %d: want the entry, waiting", late.id, seen.LastIndex, seen.Applied)
		}
		l.unmute()
		l.whole()
		l.do(late, func(s *session) {
			if found, _, ok := s.read(target); !ok || found[0].seq == 0 {
				l.fail("node %d lost the row that waited", late.id)
			}
		})
	})
}

// TestLostAnswersApplyOnce loses half of all forwarded proposals and of their answers.
func TestLostAnswersApplyOnce(t *testing.T) {
	scenario(t, 3, nil, func(l *lab) {
		l.lead(l.nodes[0])
		l.plan.loss, l.plan.active = 0.5, true
		for i := range 40 {
			l.do(l.nodes[1+i%2], func(s *session) { l.c.increment(s, l.counter(i%5)) })
		}
		if l.stats.repeats == 0 {
			l.fail("no request arrived twice; the story does not happen")
		}
	})
}

// TestTransferIsNoOutage hands leadership around while clients write: every write is acknowledged, and none takes an
// election timeout.
func TestTransferIsNoOutage(t *testing.T) {
	scenario(t, 3, nil, func(l *lab) {
		for round := range 20 {
			for _, g := range l.groups {
				from := l.leader(g)
				to := l.nodes[(int(from.id)+round)%3]
				if to != from {
					if err := from.manager.TransferLeadership(g, to.self.Replica); err != nil {
						l.fail("transfer: %v", err)
					}
				}
			}
			before := l.clock.Now()
			l.count(l.nodes[round%3], 5)
			if took := l.clock.Now().Sub(before); took > 10*tickTime {
				l.fail("five writes took %v during a transfer", took)
			}
		}
	})
}
