package transporttest

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
	raftpb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/transport"
	"github.com/kalamdb/kalamdb-go/internal/shard"
)

// bulk is a log entry message of a data group from a to b.
func bulk(index uint64, data ...[]byte) transport.Message {
	return transport.Message{Group: shard.UserShard(3), Raft: Message(raftpb.MsgApp, replicaA, replicaB, index, data...)}
}

// beat is a heartbeat of a data group from a to b.
func beat(index uint64) transport.Message {
	return transport.Message{Group: shard.UserShard(3), Raft: Message(raftpb.MsgHeartbeat, replicaA, replicaB, index)}
}

func orderPerLane(t *testing.T, cluster Cluster) {
	t.Helper()
	f := newFixture(t, cluster, transport.Limits{FrameTarget: 2048})
	const count = 600
	var sent [2][]transport.Message
	for i := range uint64(count) {
		m := bulk(i, bytes.Repeat([]byte{byte(i)}, int(i)%300), []byte("second"))
		if i%3 == 0 {
			m = beat(i)
		}
		sent[transport.LaneOf(m)] = append(sent[transport.LaneOf(m)], m)
		f.a.Send(replicaB, []transport.Message{m})
	}
	f.recB.Await(t, "all messages", func(s *State) bool { return len(s.Messages) >= count })
	f.recB.Look(func(s *State) {
		var got [2][]transport.Message
		for i, m := range s.Messages {
			got[transport.LaneOf(m)] = append(got[transport.LaneOf(m)], m)
			if s.From[i] != replicaA {
				t.Fatalf("message %d came from replica %d, want %d", i, s.From[i], replicaA)
			}
		}
		if diff := cmp.Diff(sent, got, protocmp.Transform()); diff != "" {
			t.Errorf("messages differ (-sent +received):\n%s", diff)
		}
	})
	f.recA.Look(func(s *State) {
		if len(s.Unreachable) > 0 {
			t.Errorf("unreachable was reported without loss: %v", s.Unreachable)
		}
	})
}

func fullQueue(t *testing.T, cluster Cluster) {
	t.Helper()
	directory, recA, recB := &Directory{}, NewRecorder(), NewRecorder()
	recB.HoldMessages = make(chan struct{})
	limits := transport.Limits{QueueMessages: 50, FrameTarget: 32 << 10}
	a, addrA := cluster.Start(t, "a", directory, recA, limits)
	b, addrB := cluster.Start(t, "b", directory, recB, limits)
	directory.Set(replicaA, addrA)
	directory.Set(replicaB, addrB)
	a.SetIdentity(identityOf(replicaA))
	b.SetIdentity(identityOf(replicaB))

	payload := bytes.Repeat([]byte("x"), 64<<10)
	const sent = 1000 // far more than the queue, and everything that may be on its way to a receiver that reads nothing
	for i := range uint64(sent) {
		a.Send(replicaB, []transport.Message{bulk(i+1, payload)})
	}
	close(recB.HoldMessages)
	recA.AwaitUnreachable(t, replicaB, 0)
	// The stream goes on: after the queue has drained, a new message arrives, behind all that were kept.
	const marker = sent + 1
	for arrived := false; !arrived; {
		a.Send(replicaB, []transport.Message{bulk(marker)})
		recB.Await(t, "progress", func(s *State) bool { return len(s.Messages) > 0 })
		recB.Look(func(s *State) { arrived = s.Messages[len(s.Messages)-1].Raft.GetIndex() == marker })
	}
	recB.Look(func(s *State) {
		last, kept := uint64(0), 0
		for _, m := range s.Messages {
			if m.Raft.GetIndex() < last {
				t.Fatalf("message %d arrived after %d", m.Raft.GetIndex(), last)
			}
			last = m.Raft.GetIndex()
			if last < marker {
				kept++
			}
		}
		if kept >= sent {
			t.Errorf("%d of %d messages arrived, yet a drop was reported", kept, sent)
		}
	})
}

func forbiddenMessages(t *testing.T, cluster Cluster) {
	t.Helper()
	f := newFixture(t, cluster, transport.Limits{})
	forbidden := []*raftpb.Message{
		Message(raftpb.MsgHup, replicaA, replicaB, 1),
		Message(raftpb.MsgBeat, replicaA, replicaB, 1),
		Message(raftpb.MsgProp, replicaA, replicaB, 1, []byte("data")),
		Message(raftpb.MsgUnreachable, replicaA, replicaB, 1),
		Message(raftpb.MsgSnapStatus, replicaA, replicaB, 1),
		Message(raftpb.MsgCheckQuorum, replicaA, replicaB, 1),
		Message(raftpb.MsgStorageAppend, replicaA, replicaB, 1),
		Message(raftpb.MsgStorageAppendResp, replicaA, replicaB, 1),
		Message(raftpb.MsgForgetLeader, replicaA, replicaB, 1),
		nil,
	}
	snap := Message(raftpb.MsgSnap, replicaA, replicaB, 1)
	snap.Snapshot = &raftpb.Snapshot{Data: []byte("state"), Metadata: &raftpb.SnapshotMetadata{Index: new(uint64(1))}}
	forbidden = append(forbidden, snap)
	var msgs []transport.Message
	for _, m := range forbidden {
		msgs = append(msgs, transport.Message{Group: shard.UserShard(1), Raft: m})
	}
	f.a.Send(replicaB, append(msgs, bulk(77), beat(78)))
	f.recB.AwaitIndexes(t, 77, 78)
	f.recA.AwaitUnreachable(t, replicaB, 0)
	f.recB.Look(func(s *State) {
		if len(s.Messages) != 2 {
			t.Errorf("%d messages arrived, want the two allowed ones", len(s.Messages))
		}
	})
}

func oversizedMessage(t *testing.T, cluster Cluster) {
	t.Helper()
	f := newFixture(t, cluster, transport.Limits{FrameTarget: 4 << 10, FrameLimit: 64 << 10})
	f.a.Send(replicaB, []transport.Message{
		bulk(1, make([]byte, 100)), bulk(2, make([]byte, 64<<10)), bulk(3, make([]byte, 32<<10)), bulk(4),
	})
	f.recB.AwaitIndexes(t, 1, 3, 4)
	f.recA.AwaitUnreachable(t, replicaB, 0)
	f.recB.Look(func(s *State) {
		if len(s.Messages) != 3 {
			t.Errorf("%d messages arrived, want 3", len(s.Messages))
		}
	})
}

func oversizedFrame(t *testing.T, cluster Cluster) {
	t.Helper()
	directory, recA, recB := &Directory{}, NewRecorder(), NewRecorder()
	a, addrA := cluster.Start(t, "a", directory, recA, transport.Limits{})
	b, addrB := cluster.Start(t, "b", directory, recB, transport.Limits{FrameTarget: 4 << 10, FrameLimit: 64 << 10})
	directory.Set(replicaA, addrA)
	directory.Set(replicaB, addrB)
	a.SetIdentity(identityOf(replicaA))
	b.SetIdentity(identityOf(replicaB))
	a.Send(replicaB, []transport.Message{bulk(1, make([]byte, 128<<10))})
	recA.AwaitUnreachable(t, replicaB, 0)
	sendUntilArrived(t, a, recB, bulk(2))
	recB.Look(func(s *State) {
		for _, m := range s.Messages {
			if m.Raft.GetIndex() == 1 {
				t.Error("a frame over the receiver's limit was delivered")
			}
		}
	})
}

// sendUntilArrived repeats a message, as Raft does, until it has arrived.
func sendUntilArrived(t *testing.T, from Node, to *Recorder, m transport.Message) {
	t.Helper()
	arrived := func() (ok bool) {
		to.Look(func(s *State) {
			for _, got := range s.Messages {
				ok = ok || got.Raft.GetIndex() == m.Raft.GetIndex()
			}
		})
		return ok
	}
	retry := newTicker(t)
	for !arrived() {
		from.Send(ident.ReplicaID(m.Raft.GetTo()), []transport.Message{m})
		retry.wait(t, "a repeated message to arrive")
	}
}

func foreignMessage(t *testing.T, cluster Cluster) {
	t.Helper()
	f := newFixture(t, cluster, transport.Limits{})
	for name, m := range map[string]*raftpb.Message{
		"from another":  Message(raftpb.MsgApp, 9, replicaB, 1),
		"from the peer": Message(raftpb.MsgVoteResp, replicaB, replicaB, 1),
		"to another":    Message(raftpb.MsgApp, replicaA, 9, 1),
		"from nobody":   {Type: raftpb.MsgVote.Enum(), To: new(uint64(replicaB)), Index: new(uint64(1))},
	} {
		before := 0
		f.recA.Look(func(s *State) { before = s.Unreachable[replicaB] })
		f.a.Send(replicaB, []transport.Message{{Group: shard.UserShard(0), Raft: m}})
		f.recA.AwaitUnreachable(t, replicaB, before)
		f.recB.Look(func(s *State) {
			if len(s.Messages) > 0 {
				t.Errorf("%s: the message was delivered", name)
			}
		})
	}
	sendUntilArrived(t, f.a, f.recB, bulk(2))
}

func corruptedFrame(t *testing.T, cluster Cluster) {
	t.Helper()
	f := newFixture(t, cluster, transport.Limits{})
	marker := []byte("these bytes will be hit by a cosmic ray")
	cluster.Corrupt(marker)
	f.a.Send(replicaB, []transport.Message{bulk(1, marker)})
	f.recA.AwaitUnreachable(t, replicaB, 0)
	sendUntilArrived(t, f.a, f.recB, bulk(2, []byte("harmless")))
	f.recB.Look(func(s *State) {
		for _, m := range s.Messages {
			if m.Raft.GetIndex() == 1 {
				t.Errorf("a corrupted message was delivered: %q", m.Raft.GetEntries()[0].GetData())
			}
		}
	})
}
