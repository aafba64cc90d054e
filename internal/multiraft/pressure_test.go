package multiraft

import (
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/tracker"

	"github.com/kalamdb/kalamdb-go/internal/multiraft/transport"
	"github.com/kalamdb/kalamdb-go/internal/shard"
)

func TestALaggingFollowerHoldsProposalsBack(t *testing.T) {
	l := newLab(t, 41, 2)
	l.followerLag = 20
	l.startThree()
	g := shard.UserShard(0)
	n := l.leader(g)
	slow := l.otherThan(n)
	// Heartbeats pass, so the follower is alive; entries do not.
	l.network.SetFault(func(p *transport.Packet) transport.Verdict {
		return transport.Verdict{Drop: p.To == slow.replica && p.Lane == transport.LaneBulk}
	})
	var refused error
	l.until(400, "a refusal", func() bool {
		_, err := n.manager.Submit(g, l.id(), binary.BigEndian.AppendUint64(nil, 1))
		refused = err
		return err != nil
	})
	if !errors.Is(refused, ErrOverloaded) {
		t.Fatalf("refused with %v, want ErrOverloaded", refused)
	}
	if !strings.Contains(refused.Error(), "a live replica is too far behind") {
		t.Errorf("refused with %q", refused)
	}
	if got := n.manager.Refusals(); got.FollowerLag == 0 || got.Waiting != 0 {
		t.Errorf("the refusal was counted as %+v", got)
	}
	for _, o := range n.manager.Observe() {
		if (o.RefusedLag > 0) != (o.Group == g) || o.RefusedWaiting != 0 {
			t.Errorf("%s counts %d refusals for a follower's sake, %d for those that wait", o.Group, o.RefusedLag, o.RefusedWaiting)
		}
	}
	l.network.SetFault(nil)
	l.until(400, "proposals are taken again", func() bool {
		_, err := l.leader(g).manager.Submit(g, l.id(), binary.BigEndian.AppendUint64(nil, 1))
		return err == nil
	})
}

func TestAFollowerThatIsGoneHoldsNothingBack(t *testing.T) {
	l := newLab(t, 42, 1)
	l.followerLag = 5
	l.startThree()
	g := shard.UserShard(0)
	n := l.leader(g)
	gone := l.otherThan(n)
	gone.crash()
	gone.manager = nil
	l.until(400, "the follower counts as gone", func() bool {
		n = l.leader(g)
		return n != nil && !n.manager.Live(gone.replica)
	})
	for range 50 {
		if _, err := l.propose(g, l.id(), 1); err != nil {
			t.Fatal(err)
		}
	}
}

// TestANewLeaderTakesProposalsAtOnce pauses the leader of a group whose log holds more entries than a follower may be
// behind. Its successor knows nothing of how far the paused node is, and must refuse nobody for its sake.
func TestANewLeaderTakesProposalsAtOnce(t *testing.T) {
	l := newLab(t, 43, 1)
	l.followerLag = 20
	l.startThree()
	g := shard.UserShard(0)
	for range 2 * l.followerLag {
		if _, err := l.propose(g, l.id(), 1); err != nil {
			t.Fatal(err)
		}
	}
	paused := l.leader(g)
	paused.paused = true
	l.until(4*defaultElectionTicks, "another node leads", func() bool { return l.led(g) })
	taken := 0
	for tick := range 2 * liveWithin {
		for _, n := range l.nodes {
			// Once in a while, so that the entries since the pause are not the ones that are too many.
			if n == paused || tick%10 != 0 || !n.manager.groups[g].leading.Load() {
				continue
			}
			if _, err := n.manager.Submit(g, l.id(), binary.BigEndian.AppendUint64(nil, 1)); err != nil {
				t.Fatalf("%d ticks after the election: %v", tick, err)
			}
			taken++
		}
		l.tick()
	}
	if taken < liveWithin/10 {
		t.Errorf("only %d proposals found a leader", taken)
	}
}

// TestTruncationNeverPassesALiveFollower lets a live follower fall behind by far more than the log keeps, until proposals
// are refused, by entries and by bytes. What it lacks is in the log all the time, so it needs no snapshot.
func TestTruncationNeverPassesALiveFollower(t *testing.T) {
	for _, c := range []struct {
		name        string
		lag, retain uint64
		bytes       uint64
	}{{"entries", 60, 5, 0}, {"bytes", 100_000, 5, 4000}} {
		t.Run(c.name, func(t *testing.T) {
			l := newLab(t, 44, 2)
			l.followerLag, l.followerBytes, l.retain = c.lag, c.bytes, c.retain
			l.startThree()
			g := shard.UserShard(0)
			n := l.leader(g)
			slow := l.otherThan(n)
			has, joined := slow.log.Group(g).LastIndex(), slow.manager.groups[g].snapsTaken.Load()
			l.network.SetFault(func(p *transport.Packet) transport.Verdict {
				return transport.Verdict{Drop: p.To == slow.replica && p.Lane == transport.LaneBulk}
			})
			l.until(2000, "a refusal", func() bool {
				_, err := n.manager.Submit(g, l.id(), binary.BigEndian.AppendUint64(nil, 1))
				if err != nil && !errors.Is(err, ErrOverloaded) {
					t.Fatalf("refused with %v, want ErrOverloaded", err)
				}
				return err != nil
			})
			l.cutLogs(n)
			if first := n.log.Group(g).FirstIndex(); first > has+1 {
				t.Fatalf("the log starts at %d, a live follower has no more than %d", first, has)
			}
			if withinFourfold(n.log.Group(g), n.manager.cfg.retain(g)) {
				t.Fatal("the log is within four times its retention: nothing is shown")
			}
			l.network.SetFault(nil)
			l.until(400, "the follower has everything", func() bool {
				return slow.log.Group(g).LastIndex() == n.log.Group(g).LastIndex()
			})
			if taken := slow.manager.groups[g].snapsTaken.Load(); taken != joined {
				t.Errorf("the follower was given %d snapshots", taken-joined)
			}
			l.cutLogs(n)
			if first := n.log.Group(g).FirstIndex(); first <= has+1 {
				t.Errorf("the log still starts at %d: nothing is cut", first)
			}
		})
	}
}

// TestADeadFollowerHoldsNoLog: what a node that is gone lacks is cut, and it gets a snapshot when it comes back.
func TestADeadFollowerHoldsNoLog(t *testing.T) {
	l := newLab(t, 45, 1)
	l.retain = 5
	l.startThree()
	g := shard.UserShard(0)
	gone := l.otherThan(l.leader(g))
	has := gone.log.Group(g).LastIndex()
	gone.crash()
	gone.manager = nil
	var n *labNode
	l.until(400, "the follower counts as gone", func() bool {
		n = l.leader(g)
		return n != nil && !n.manager.Live(gone.replica)
	})
	for range 50 {
		if _, err := l.propose(g, l.id(), 1); err != nil {
			t.Fatal(err)
		}
	}
	l.cutLogs(n)
	if first := n.log.Group(g).FirstIndex(); first <= has+1 {
		t.Fatalf("the log starts at %d for a follower that is gone and has %d", first, has)
	}
}

// cutLogs makes a node's store durable and lets it cut its logs.
func (l *lab) cutLogs(n *labNode) {
	l.t.Helper()
	if err := n.store.Flush(); err != nil {
		l.t.Fatal(err)
	}
	if err := n.manager.Maintain(); err != nil {
		l.t.Fatal(err)
	}
	for range 2 * truncateEvery {
		l.tick()
	}
}

// TestANodeWithoutRoomHoldsNobodyBack has a follower that lives, lacks what the log holds no more, and finds no room for a snapshot. Between
// its attempts nobody sends it one; proposals are taken all the time.
func TestANodeWithoutRoomHoldsNobodyBack(t *testing.T) {
	l := newLab(t, 26, 4)
	l.retain, l.followerLag = 10, 20
	l.startThree()
	for range 200 { // leaderships are spread meanwhile
		l.tick()
	}
	away := l.nodes[3]
	led := slices.IndexFunc(l.groups, func(g shard.GroupID) bool { return g != shard.Meta && l.leader(g) != away })
	g, n := l.groups[led], l.leader(l.groups[led])
	propose := func() {
		if _, err := l.propose(g, l.id(), 1); err != nil {
			t.Fatal(err)
		}
	}
	propose()
	away.crash()
	away.manager = nil
	for range 100 {
		l.until(400, "the node that is away counts as gone", func() bool { return !n.manager.Live(away.replica) })
		propose()
	}
	l.until(400, "the log is cut past the node that is away", func() bool {
		if err := errors.Join(n.store.Flush(), n.manager.Maintain()); err != nil {
			t.Fatal(err)
		}
		return n.manager.groups[g].log.FirstIndex() > 60
	})
	away.narrow = true
	away.restart()
	between := 0
	for tick := range 600 {
		if _, err := n.manager.Submit(g, l.id(), binary.BigEndian.AppendUint64(nil, 1)); err != nil {
			t.Fatalf("in tick %d: %v", tick, err)
		}
		l.tick()
		n.manager.groups[g].node.WithProgress(func(id uint64, _ raft.ProgressType, p tracker.Progress) {
			if id == uint64(away.replica) && p.State == tracker.StateProbe && p.Match > 0 && n.manager.Live(away.replica) {
				between++
			}
		})
	}
	if failing, _ := n.manager.SnapshotFailures(); len(failing) == 0 || between < pressureEvery {
		t.Errorf("%d snapshots fail, and in %d ticks the node waited for the next one", len(failing), between)
	}
}
