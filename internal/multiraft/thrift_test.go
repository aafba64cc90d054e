package multiraft

import (
	"encoding/binary"
	"testing"

	raftpb "go.etcd.io/raft/v3/raftpb"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/transport"
	"github.com/kalamdb/kalamdb-go/internal/shard"
)

// traffic counts the Raft messages of a group that nodes were handed.
type groupTraffic struct {
	appends, empty, acks int
}

// count makes a lab count the messages of a group as they arrive.
func (l *lab) count(g shard.GroupID) *groupTraffic {
	t := &groupTraffic{}
	l.watch = func(messages []transport.Message) {
		for _, m := range messages {
			switch {
			case m.Group != g:
			case isEmptyAppend(m.Raft):
				t.empty++
			case m.Raft.GetType() == raftpb.MsgApp:
				t.appends++
			case m.Raft.GetType() == raftpb.MsgAppResp:
				t.acks++
			}
		}
	}
	return t
}

// TestCommitCostsNoSyncAndNoAnswer follows one command: each follower hears of it and of its commit, answers the first
// and syncs once.
func TestCommitCostsNoSyncAndNoAnswer(t *testing.T) {
	l := newLab(t, 41, 1)
	l.startThree()
	g := l.groups[1]
	leader := l.leader(g)
	followers := []*labNode{}
	for _, n := range l.nodes {
		if n != leader {
			followers = append(followers, n)
		}
	}
	if _, err := l.propose(g, l.id(), 1); err != nil {
		t.Fatal(err)
	}
	traffic := l.count(g)
	syncs := []uint64{followers[0].log.Stats().Syncs, followers[1].log.Stats().Syncs}
	if _, err := l.propose(g, l.id(), 2); err != nil {
		t.Fatal(err)
	}
	if want := (groupTraffic{appends: 2, empty: 2, acks: 2}); *traffic != want {
		t.Errorf("one command took %+v, want %+v", *traffic, want)
	}
	for i, n := range followers {
		if got := n.log.Stats().Syncs - syncs[i]; got != 1 {
			t.Errorf("replica %d synced its log %d times for one command, want once", n.replica, got)
		}
		if got := n.sum(g); got != 3 {
			t.Errorf("replica %d has applied %d, want 3: it has not heard of the commit", n.replica, got)
		}
	}
}

// TestLostAcknowledgementIsAskedFor loses what a follower acknowledges, and tells the leader that messages were lost. The
// follower's next word to an empty append may be left out; the one after a heartbeat may not.
func TestLostAcknowledgementIsAskedFor(t *testing.T) {
	l := newLab(t, 42, 1)
	l.startThree()
	g := l.groups[1]
	leader := l.leader(g)
	follower := l.otherThan(leader)
	l.network.SetFault(func(p *transport.Packet) transport.Verdict {
		return transport.Verdict{Drop: p.From == follower.replica && p.To == leader.replica}
	})
	if _, err := l.propose(g, l.id(), 1); err != nil {
		t.Fatal(err)
	}
	l.network.SetFault(nil)
	leader.manager.HandleUnreachable(follower.replica)
	if _, err := l.propose(g, l.id(), 2); err != nil {
		t.Fatal(err)
	}
	l.until(3*defaultHeartbeatTicks, "the leader knows what the follower has", func() bool {
		status := leader.manager.groups[g].describe(leader.manager)
		for _, p := range status.Progress {
			if p.Replica == follower.replica {
				return p.Match == status.LastIndex && p.State == "StateReplicate"
			}
		}
		return false
	})
}

// TestEmptyAppendIsLeftOut knows which empty appends a later message makes superfluous.
func TestEmptyAppendIsLeftOut(t *testing.T) {
	message := func(to, term, index, commit uint64, entries int) *raftpb.Message {
		m := &raftpb.Message{
			Type: raftpb.MsgApp.Enum(), To: new(to), Term: new(term), Index: new(index), Commit: new(commit),
		}
		for range entries {
			m.Entries = append(m.Entries, &raftpb.Entry{})
		}
		return m
	}
	for _, c := range []struct {
		name  string
		later *raftpb.Message
		want  bool
	}{
		{"entries behind it", message(2, 5, 10, 9, 1), true},
		{"a later commit", message(2, 5, 10, 10, 0), true},
		{"another follower", message(3, 5, 10, 9, 1), false},
		{"an older commit", message(2, 5, 10, 8, 1), false},
		{"entries before it", message(2, 5, 9, 9, 1), false},
		{"another term", message(2, 6, 10, 9, 1), false},
		{"no append", &raftpb.Message{Type: raftpb.MsgHeartbeat.Enum(), To: new(uint64(2)), Term: new(uint64(5)), Commit: new(uint64(9))}, false},
	} {
		messages := []*raftpb.Message{message(2, 5, 10, 9, 0), c.later}
		if got := isOutdone(messages, 0); got != c.want {
			t.Errorf("%s: left out = %v, want %v", c.name, got, c.want)
		}
	}
}

// TestFrameIsOnePass hands a worker the messages of a frame and finds all of them in its inbox at once, less those over
// the bound.
func TestFrameIsOnePass(t *testing.T) {
	l := newLab(t, 43, 1)
	l.startThree()
	n := l.nodes[1]
	w := n.manager.workers[0]
	beat := func(g shard.GroupID) transport.Message {
		return transport.Message{Group: g, Raft: &raftpb.Message{
			Type: raftpb.MsgHeartbeatResp.Enum(), From: new(uint64(2)), To: new(uint64(1)), Term: new(uint64(1)),
		}}
	}
	n.manager.cfg.MaxInbox = 2
	n.manager.HandleMessages(ident.ReplicaID(2), []transport.Message{beat(l.groups[0]), beat(l.groups[1]), beat(l.groups[2])})
	if len(w.inbox) != 2 || w.messages != 2 {
		t.Errorf("the inbox holds %d items, %d of them messages; want 2", len(w.inbox), w.messages)
	}
	if got := n.manager.stats.droppedMessages.Load(); got != 1 {
		t.Errorf("%d messages were dropped, want 1", got)
	}
}

// TestAnswersShareFramesWithTheNextPass lets a node write an entry of a group that another node leads, and hands it a
// command for a group of its own while that is being synced.
func TestAnswersShareFramesWithTheNextPass(t *testing.T) {
	l := newLab(t, 43, 4)
	l.startThree()
	var theirs, own shard.GroupID
	var leader, node *labNode
	l.until(3000, "two nodes lead", func() bool {
		theirs, own = l.groups[1], l.groups[2]
		leader, node = l.leader(theirs), l.leader(own)
		for _, g := range l.groups[2:] {
			if n := l.leader(g); n != nil && n != leader {
				own, node = g, n
			}
		}
		return leader != nil && node != nil && leader != node
	})
	l.pump()
	if _, err := leader.submit(theirs, l.id(), binary.BigEndian.AppendUint64(nil, 1)); err != nil {
		t.Fatal(err)
	}
	if err := leader.manager.Pump(); err != nil {
		t.Fatal(err)
	}
	l.network.Deliver(1_000_000)
	frames, messages := 0, 0
	l.network.SetFault(func(p *transport.Packet) transport.Verdict {
		if p.From == node.replica && p.To == leader.replica {
			frames++
			messages += p.Messages
		}
		return transport.Verdict{}
	})
	w := node.manager.groups[own].worker
	if worked, err := w.guarded(); err != nil || !worked {
		t.Fatalf("the pass that writes the entry of %s: %v, %v", theirs, worked, err)
	}
	if _, err := node.submit(own, l.id(), binary.BigEndian.AppendUint64(nil, 1)); err != nil {
		t.Fatal(err)
	}
	if worked, err := w.guarded(); err != nil || !worked {
		t.Fatalf("the pass with the command for %s: %v, %v", own, worked, err)
	}
	if frames != 1 || messages != 2 {
		t.Errorf("the acknowledgement and the append went in %d frames of %d messages, want 1 of 2", frames, messages)
	}
	l.pump()
	if l.leader(theirs).sum(theirs) != 1 || l.leader(own).sum(own) != 1 {
		t.Error("the two commands are not applied")
	}
}
