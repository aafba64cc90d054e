package sim

import (
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/executor"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/multiraft"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// voters are the voters of a group, as its leader knows them, that run, and in which life.
type voters map[ident.ReplicaID]int

func (w *world) votersOf(n *simNode, g shard.GroupID) voters {
	known := make(voters)
	seen := n.manager.Glance(g).Voters
	for _, other := range w.nodes {
		if other.up && other.manager != nil && slices.Contains(seen, other.self.Replica) {
			known[other.self.Replica] = other.life
		}
	}
	return known
}

// proposeAll runs an attempt in mode all. Its time is the request's: waiting is the point.
func (s *session) proposeAll(n *simNode, life int, group shard.GroupID, id ident.RequestID, data []byte) executor.Attempt {
	w := s.a.w
	before := w.votersOf(n, group)
	submitted, err := n.manager.SubmitAll(group, id, data)
	if err != nil {
		if attemptOf(nil, 0, err).Outcome == executor.Missing {
			w.stats.missing++
		}
		return attemptOf(nil, 0, err)
	}
	s.proposed = true
	for {
		response, index, done, err := submitted.Poll()
		if w.mutant.early && !done {
			response, index, done, err = submitted.Submitted.Poll()
		}
		if done {
			if err == nil {
				w.stats.everywhere++
				w.saw(ruleModeAll)
				w.appliedBy(n, group, index, before)
			}
			return attemptOf(response, index, err)
		}
		if s.give() && n.up && n.life == life {
			continue
		}
		if response, index, done, err = submitted.Forget(); done {
			return attemptOf(response, index, err)
		}
		return executor.Attempt{Outcome: executor.Unknown, Err: multiraft.ErrOutcomeUnknown}
	}
}

// appliedBy wants every voter that was one, and ran, all the time to have applied an index.
func (w *world) appliedBy(n *simNode, g shard.GroupID, index uint64, before voters) {
	for replica, life := range w.votersOf(n, g) {
		if before[replica] != life {
			continue
		}
		for _, other := range w.nodes {
			if other.self.Replica == replica && other.manager.Applied(g) < index {
				w.fail("a write to %s in mode all is answered at %d, and node %d has applied %d", g, index, other.id, other.manager.Applied(g))
			}
		}
	}
}

// everywhere writes in mode all and reads at once, without a barrier, at any voter.
func (c *clients) everywhere(a *actor) {
	for ; c.busy; a.rest() {
		target := c.privateCell(c.users[c.w.rng.IntN(len(c.users))], "everywhere")
		c.serial++
		text := strconv.Itoa(c.serial)
		a.request(func(s *session) {
			s.mode = executor.All
			r := s.write([]cell{target}, []*commandv1.RowWrite{target.write(text, false, commandv1.Expect_EXPECT_ANY, 0)})
			if r.outcome == refused {
				c.w.fail("a write in mode all was refused: %v", r.err)
			}
		})
	}
}

// TestModeAllWaitsForEveryVoter keeps a voter from hearing entries: a write in mode all is not answered before it has applied
// it, while a quorum's is; and while a voter is silent it is refused, with nothing written.
func TestModeAllWaitsForEveryVoter(t *testing.T) {
	scenario(t, 3, nil, func(l *lab) {
		target := l.c.privateCell(l.c.users[2], "all")
		lead, late := l.leader(target.group), l.nodes[0]
		if lead == late {
			late = l.nodes[1]
		}
		write := func(text string, mode executor.Mode) (r result) {
			l.do(lead, func(s *session) {
				s.mode = mode
				r = s.write([]cell{target}, []*commandv1.RowWrite{target.write(text, false, commandv1.Expect_EXPECT_ANY, 0)})
			})
			return r
		}
		if r := write("first", executor.All); r.outcome != succeeded {
			l.fail("with all voters there: %v", r.err)
		}
		late.disk.latency, late.disk.healAt = 300*time.Millisecond, 1<<40
		begun := l.clock.Now()
		if r := write("slow", executor.All); r.outcome != succeeded {
			l.fail("with a slow voter: %v", r.err)
		}
		if took := l.clock.Now().Sub(begun); took < 300*time.Millisecond {
			l.fail("the answer came after %v, before the slow voter had the entry", took)
		}
		late.healDisk()
		l.run(time.Second)
		l.hold(late)
		l.run(10 * time.Second)
		if r := write("alone", executor.All); r.outcome != never || r.kind != fault.Unavailable {
			l.fail("with a silent voter: outcome %d, %v", r.outcome, r.err)
		}
		if r := write("quorum", executor.Quorum); r.outcome != succeeded {
			l.fail("a quorum with a silent voter: %v", r.err)
		}
		l.release(late)
		l.run(time.Second)
		if r := write("last", executor.All); r.outcome != succeeded {
			l.fail("with the voter back: %v", r.err)
		}
	})
}
