package multiraft

import (
	"encoding/binary"
	"errors"
	"testing"

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
	if got := n.manager.Refusals().FollowerLag; got == 0 {
		t.Error("the refusal was not counted")
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
