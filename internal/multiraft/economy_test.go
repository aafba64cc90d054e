package multiraft

import (
	"encoding/binary"
	"runtime"
	"testing"

	raftpb "go.etcd.io/raft/v3/raftpb"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/transport"
	"github.com/kalamdb/kalamdb-go/internal/shard"
)

// TestGoroutinesDoNotGrowWithGroups starts a node with few and one with many groups.
func TestGoroutinesDoNotGrowWithGroups(t *testing.T) {
	started := func(userShards uint32) int {
		n := newLab(t, 600, userShards).add(1)
		before := runtime.NumGoroutine()
		n.manager.Start()
		grown := runtime.NumGoroutine() - before
		n.manager.Stop()
		return grown
	}
	// Those of other tests may end meanwhile, so the counts are not exact; one for each group would be 498 more.
	if few, many := started(2), started(500); many > few+50 || few == 0 {
		t.Errorf("a node with 4 groups starts %d goroutines, one with 502 groups %d", few, many)
	}
}

// TestHeartbeatsShareAFrame counts what three nodes with many groups, none asleep, send each other in calm times.
func TestHeartbeatsShareAFrame(t *testing.T) {
	l := newLab(t, 601, 30)
	l.quietTicks = -1
	for id := ident.ReplicaID(1); id <= 3; id++ {
		l.add(id)
	}
	rested := 0
	l.until(3000, "three voters everywhere, and the balancer rests", func() bool {
		rested++
		return l.settled() && rested > 600
	})
	frames, messages := 0, 0
	l.network.SetFault(func(p *transport.Packet) transport.Verdict {
		frames++
		messages += p.Messages
		return transport.Verdict{}
	})
	const beats = 20
	for range beats * defaultHeartbeatTicks {
		l.tick()
	}
	// Heartbeats, answers and the node's own beat, from each node to each other one.
	if most := beats * 6 * 3; frames > most {
		t.Errorf("%d frames in %d heartbeat intervals, want at most %d", frames, beats, most)
	}
	if least := (beats - 1) * len(l.groups) * 2 * 2; messages < least {
		t.Errorf("%d messages in these frames, want at least %d: are the groups asleep?", messages, least)
	}
}

// TestReadIndexesOfAnotherLifeAreIgnored restarts a follower that had asked for a read index, and lets the answer come
// when it has asked again.
func TestReadIndexesOfAnotherLifeAreIgnored(t *testing.T) {
	l := threeNodes(t, 602)
	g := shard.UserShard(0)
	leader := l.leader(g)
	n := l.otherThan(leader)
	l.isolate(n)
	n.read(g)
	l.pump()
	asked := n.manager.readSeq.Load()
	n.crash()
	n.restart()
	l.network.HealAll()
	l.until(400, "the follower knows its leader again", func() bool { return n.manager.Leader(g) == leader.replica })
	l.isolate(n)
	read := n.read(g)
	l.pump()
	answer := func(number uint64) {
		term := leader.manager.Glance(g).Term
		n.manager.HandleMessages(leader.replica, []transport.Message{{Group: g, Raft: &raftpb.Message{
			Type: raftpb.MsgReadIndexResp.Enum(), From: new(uint64(leader.replica)), To: new(uint64(n.replica)), Term: new(term),
			Index: new(uint64(1)), Entries: []*raftpb.Entry{{Data: binary.BigEndian.AppendUint64(nil, number)}},
		}}})
		l.pump()
	}
	if answer(asked); len(read.done) != 0 {
		t.Error("an answer to an earlier life was taken")
	}
	if answer(n.manager.readSeq.Load()); len(read.done) != 1 {
		t.Error("the answer to this life was not taken: the test shows nothing")
	}
}
