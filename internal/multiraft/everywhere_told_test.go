package multiraft

import (
	"testing"
	"testing/synctest"

	raftpb "go.etcd.io/raft/v3/raftpb"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/transport"
	"github.com/kalamdb/kalamdb-go/internal/shard"
)

// TestAllIsToldAndDoesNotPoll waits for all replicas while time stands still and one voter does nothing. Each voter is asked once, and
// nothing more is sent however often the network is emptied; the answer comes from what the last voter says when it has applied.
func TestAllIsToldAndDoesNotPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := threeNodes(t, 35)
		g := shard.UserShard(0)
		n := l.leader(g)
		slow := l.otherThan(n)
		l.pump()
		asked, told, sent := map[ident.ReplicaID]int{}, map[ident.ReplicaID]int{}, 0
		l.watch = func(messages []transport.Message) {
			for _, m := range messages {
				switch {
				case m.Raft.GetType() == raftpb.MsgStorageApply:
					asked[ident.ReplicaID(m.Raft.GetTo())]++
				case m.Raft.GetType() == raftpb.MsgStorageApplyResp && m.Raft.GetCommit() == 0:
					told[ident.ReplicaID(m.Raft.GetFrom())]++
				}
				sent++
			}
		}
		began := l.clock.Now()
		slow.paused = true
		s, err := n.manager.Submit(g, l.id(), amount(3))
		if err != nil {
			t.Fatal(err)
		}
		l.pump()
		_, index, applied, err := s.Poll()
		if !applied || err != nil || n.sum(g) != 3 || slow.sum(g) != 0 {
			t.Fatalf("applied %v, %v; the leader has %d, the voter that does nothing %d", applied, err, n.sum(g), slow.sum(g))
		}
		done := make(chan error, 1)
		go func() { done <- n.manager.awaitAll(t.Context(), n.manager.groups[g], index) }()
		rest := func() { // lets everything happen that does without time
			for range 10 {
				synctest.Wait()
				l.pump()
			}
		}
		rest()
		before := sent
		rest()
		if sent != before || len(done) > 0 {
			t.Fatalf("%d messages were sent while everybody waits, answered %v", sent-before, len(done) > 0)
		}
		slow.paused = false
		rest()
		if len(done) == 0 {
			t.Fatalf("no answer although the last voter has applied %d of %d; asked were %v, and told have %v", slow.manager.Applied(g), index, asked, told)
		}
		if err := <-done; err != nil || slow.manager.Applied(g) < index {
			t.Errorf("answered with %v, the last voter has applied %d of %d", err, slow.manager.Applied(g), index)
		}
		for id := range l.nodes {
			if id != n.replica && (asked[id] != 1 || told[id] != 1) {
				t.Errorf("replica %d was asked %d times and has told %d times", id, asked[id], told[id])
			}
		}
		if now := l.clock.Now(); !now.Equal(began) {
			t.Errorf("%v have passed", now.Sub(began))
		}
	})
}
