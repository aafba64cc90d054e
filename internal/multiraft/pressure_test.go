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
