package multiraft

import (
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	raftpb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/snapshot"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/transport"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	nodev1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/node/v1"
)

// hostile is a replica whose place somebody has taken who holds its certificate: what it sends is what a test says.
type hostile struct {
	*lab
	group            shard.GroupID
	leader, follower *labNode
	replica          ident.ReplicaID
	term, last       uint64 // of the leader
}

// startHostile takes over a follower of three replicas that are in order.
func startHostile(t *testing.T, seed uint64) *hostile {
	t.Helper()
	l := newLab(t, seed, 2)
	l.quietTicks, l.hostile = -1, true
	l.startThree()
	h := &hostile{lab: l, group: shard.UserShard(0)}
	for i := range uint64(5) {
		if _, err := l.propose(h.group, l.id(), i); err != nil {
			t.Fatal(err)
		}
	}
	h.leader = l.leader(h.group)
	for id := ident.ReplicaID(1); id <= 3; id++ {
		switch n := l.nodes[id]; {
		case n == h.leader:
		case h.follower == nil:
			h.follower = n
		default:
			n.paused, h.replica = true, id
		}
	}
	status := h.leader.manager.groups[h.group].describe(h.leader.manager)
	h.term, h.last = status.Term, status.LastIndex
	return h
}

// say makes a node hear a message of the hostile replica, and returns how many it has refused because of it.
func (h *hostile) say(n *labNode, m *raftpb.Message) int {
	h.t.Helper()
	m.From, m.To = new(uint64(h.replica)), new(uint64(n.replica))
	before := n.refused()
	n.manager.HandleMessages(h.replica, []transport.Message{{Group: h.group, Raft: m}})
	h.move()
	return n.refused() - before
}

// move is pump without its end: replicas that were made to believe different things may go on asking each other for ever.
func (h *hostile) move() {
	h.t.Helper()
	for range 50 {
		for _, n := range []*labNode{h.leader, h.follower} {
			if err := n.manager.Pump(); err != nil {
				h.t.Fatalf("replica %d: %v", n.replica, err)
			}
		}
		if h.network.Deliver(1_000_000) == 0 {
			return
		}
	}
}

// refused counts what a node took for nonsense.
func (n *labNode) refused() int { return int(n.manager.RefusedMessages()) }

func entryOf(index, term uint64, data string) *raftpb.Entry {
	return &raftpb.Entry{Index: &index, Term: &term, Data: []byte(data)}
}

// TestNonsenseEndsNobody lets a member with every right say what no replica says. Each of these lines made the library, or
// what applies the log, panic.
func TestNonsenseEndsNobody(t *testing.T) {
	h := startHostile(t, 801)
	term, last := h.term, h.last
	sealed := string(sealEnvelope(nil, ident.RequestID{9}, make([]byte, 8)))
	conf := raftpb.EntryConfChangeV2.Enum()
	appended := func(entries ...*raftpb.Entry) *raftpb.Message {
		return &raftpb.Message{Type: raftpb.MsgApp.Enum(), Term: new(term + 1), LogTerm: &term, Index: &last, Commit: &last, Entries: entries}
	}
	for name, message := range map[string]func() *raftpb.Message{
		"commit beyond the log": func() *raftpb.Message {
			return &raftpb.Message{Type: raftpb.MsgHeartbeat.Enum(), Term: new(term + 1), Commit: new(last + 1)}
		},
		"commit at the end of numbers": func() *raftpb.Message {
			return &raftpb.Message{Type: raftpb.MsgHeartbeat.Enum(), Term: &term, Commit: new(^uint64(0))}
		},
		"last term of all": func() *raftpb.Message {
			return &raftpb.Message{Type: raftpb.MsgVote.Enum(), Term: new(^uint64(0)), LogTerm: &term, Index: &last}
		},
		"vote without a term": func() *raftpb.Message {
			return &raftpb.Message{Type: raftpb.MsgVote.Enum(), LogTerm: new(term + 1), Index: new(last + 1)}
		},
		"append without a term": func() *raftpb.Message {
			return &raftpb.Message{Type: raftpb.MsgApp.Enum(), LogTerm: &term, Index: &last}
		},
		"read without a question": func() *raftpb.Message { return &raftpb.Message{Type: raftpb.MsgReadIndex.Enum()} },
		"read in a term": func() *raftpb.Message {
			return &raftpb.Message{Type: raftpb.MsgReadIndex.Enum(), Term: &term, Entries: []*raftpb.Entry{{Data: []byte("x")}}}
		},
		"short answer to a heartbeat": func() *raftpb.Message {
			return &raftpb.Message{Type: raftpb.MsgHeartbeatResp.Enum(), Term: &term, Context: []byte("abc")}
		},
		"snapshot as a message": func() *raftpb.Message {
			return &raftpb.Message{Type: raftpb.MsgSnap.Enum(), Term: &term, Snapshot: &raftpb.Snapshot{Metadata: &raftpb.SnapshotMetadata{
				Index: new(last + 9), Term: &term, ConfState: &raftpb.ConfState{Voters: []uint64{1, 2, 3}},
			}}}
		},
		"proposal": func() *raftpb.Message {
			return &raftpb.Message{Type: raftpb.MsgProp.Enum(), Term: &term}
		},
		"entries with a gap":       func() *raftpb.Message { return appended(entryOf(last+1, term, sealed), entryOf(last+3, term, sealed)) },
		"entry before its place":   func() *raftpb.Message { return appended(entryOf(1, term, sealed)) },
		"entry of an earlier term": func() *raftpb.Message { return appended(entryOf(last+1, term-1, sealed)) },
		"entry of a later term":    func() *raftpb.Message { return appended(entryOf(last+1, term+2, sealed)) },
		"entry without a term":     func() *raftpb.Message { return appended(entryOf(last+1, 0, sealed)) },
		"entry in no envelope":     func() *raftpb.Message { return appended(entryOf(last+1, term, "garbage")) },
		"pack of nothing":          func() *raftpb.Message { return appended(entryOf(last+1, term, "\x02")) },
		"entry too large to log":   func() *raftpb.Message { return appended(entryOf(last+1, term, sealed+strings.Repeat("x", 8<<20))) },
		"change that is none": func() *raftpb.Message {
			e := entryOf(last+1, term, "\xff\xff\xff")
			e.Type = conf
			return appended(e)
		},
	} {
		for _, n := range []*labNode{h.follower, h.leader} {
			if refused := h.say(n, message()); refused != 1 {
				t.Errorf("%s: replica %d has refused %d messages, want 1", name, n.replica, refused)
			}
		}
	}
	if refused := h.say(h.leader, &raftpb.Message{Type: raftpb.MsgAppResp.Enum(), Term: &term, Index: new(last + 1)}); refused != 1 {
		t.Errorf("acknowledgement of what was not sent: %d refused, want 1", refused)
	}
	if refused := h.say(h.follower, &raftpb.Message{Type: raftpb.MsgTransferLeader.Enum(), Term: &term}); refused != 1 {
		t.Errorf("leadership asked of a follower: %d refused, want 1", refused)
	}
	// The hostile replica is given back, and nothing has happened.
	h.nodes[h.replica].paused = false
	if _, err := h.propose(h.group, h.id(), 5); err != nil || h.leader.manager.groups[h.group].term.Load() != term {
		t.Errorf("proposal after it = %v, in term %d instead of %d", err, h.leader.manager.groups[h.group].term.Load(), term)
	}
	h.until(200, "all three are level", func() bool {
		return h.nodes[1].sum(h.group) == 15 && h.nodes[2].sum(h.group) == 15 && h.nodes[3].sum(h.group) == 15
	})
}

// TestRandomNonsenseEndsNobody says what nobody has thought of. Among it is what a member might truly say, by which replicas can be
// made to believe different things: that is not looked at, only that they go on.
func TestRandomNonsenseEndsNobody(t *testing.T) {
	for seed := range uint64(4) {
		h := startHostile(t, 810+seed)
		random := rand.New(rand.NewPCG(seed, 1))
		for range 3000 {
			n := h.leader
			if random.IntN(2) == 0 {
				n = h.follower
			}
			h.say(n, h.randomMessage(random, n))
			if random.IntN(20) == 0 {
				h.clock.Advance(50 * time.Millisecond)
				h.leader.manager.Tick()
				h.follower.manager.Tick()
				h.move()
			}
		}
	}
}

// randomMessage is a message near what the node could expect, with something odd about it.
func (h *hostile) randomMessage(random *rand.Rand, n *labNode) *raftpb.Message {
	status := n.manager.groups[h.group].describe(n.manager)
	near := func(v uint64) *uint64 {
		switch random.IntN(12) {
		case 0:
			return nil
		case 1:
			return new(random.Uint64())
		case 2, 3, 4:
			return new(v + random.Uint64N(7) - 3)
		}
		return new(v)
	}
	kinds := []raftpb.MessageType{
		raftpb.MsgApp, raftpb.MsgAppResp, raftpb.MsgVote, raftpb.MsgVoteResp, raftpb.MsgSnap, raftpb.MsgHeartbeat, raftpb.MsgHeartbeatResp,
		raftpb.MsgTransferLeader, raftpb.MsgTimeoutNow, raftpb.MsgReadIndex, raftpb.MsgReadIndexResp, raftpb.MsgPreVote, raftpb.MsgPreVoteResp,
		raftpb.MsgStorageApply, raftpb.MsgStorageApplyResp,
	}
	m := &raftpb.Message{
		Type: kinds[random.IntN(len(kinds))].Enum(), Term: near(status.Term), LogTerm: near(status.Term), Index: near(status.LastIndex),
		Commit: near(status.Committed), Vote: near(1), RejectHint: near(status.LastIndex), Reject: new(random.IntN(2) == 0),
	}
	if random.IntN(3) == 0 {
		m.Context = h.randomBytes(random, 12)
	}
	if random.IntN(20) == 0 {
		m.Context = quietContext([]byte{offerMark, answerMark}[random.IntN(2)], status.LastIndex)
	}
	for i := range random.Uint64N(4) {
		e := &raftpb.Entry{Index: near(status.LastIndex + 1 + i), Term: near(status.Term), Type: raftpb.EntryType(random.IntN(3)).Enum()}
		e.Data = h.randomBytes(random, 30)
		if e.GetType() == raftpb.EntryNormal && random.IntN(2) == 0 {
			e.Data = sealEnvelope(nil, ident.RequestID{byte(random.Uint32())}, h.randomBytes(random, 20))
		}
		m.Entries = append(m.Entries, e)
	}
	return m
}

func (h *hostile) randomBytes(random *rand.Rand, atMost int) []byte {
	data := make([]byte, random.IntN(atMost))
	for i := range data {
		data[i] = byte(random.Uint32())
	}
	return data
}

// TestSnapshotThatLiesIsRefused sends snapshots that are whole, with headers that are not true of them.
func TestSnapshotThatLiesIsRefused(t *testing.T) {
	l, g, away, want := behind(t, 820)
	chunks, header := l.capture(g, away.replica)
	away.restart()
	l.hostile = true
	n := away
	for name, change := range map[string]func(h *nodev1.SnapshotHeader){
		"later index":   func(h *nodev1.SnapshotHeader) { h.Index++ },
		"other term":    func(h *nodev1.SnapshotHeader) { h.IndexTerm++; h.Term += 5 },
		"no term":       func(h *nodev1.SnapshotHeader) { h.Term = 0 },
		"last term":     func(h *nodev1.SnapshotHeader) { h.Term = ^uint64(0) },
		"no members":    func(h *nodev1.SnapshotHeader) { h.ConfState = nil },
		"other members": func(h *nodev1.SnapshotHeader) { h.ConfState = confOf(t, &raftpb.ConfState{Voters: []uint64{3}}) },
		"no such members": func(h *nodev1.SnapshotHeader) {
			h.ConfState = confOf(t, &raftpb.ConfState{Voters: []uint64{1, 2, 3}, Learners: []uint64{3}})
		},
	} {
		changed, ok := proto.Clone(header).(*nodev1.SnapshotHeader)
		if !ok {
			t.Fatal("a copy of a header is no header")
		}
		change(changed)
		before := n.refused()
		err := n.manager.ReceiveSnapshot(t.Context(), changed, replay(chunks), make(chan error, 1))
		if !errors.Is(err, errNonsense) || n.refused() != before+1 {
			t.Errorf("%s: %v, %d refused", name, err, n.refused()-before)
		}
		if err := n.manager.Pump(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	l.until(3000, "the true snapshot is installed", func() bool { return n.sum(g) == want })
}

// capture builds the snapshot that the leader would send.
func (l *lab) capture(g shard.GroupID, to ident.ReplicaID) (chunks [][]byte, header *nodev1.SnapshotHeader) {
	l.t.Helper()
	n := l.leader(g)
	view := n.store.NewSnapshot()
	state, err := readApplied(view, g)
	if err != nil {
		l.t.Fatal(err)
	}
	lo, hi := keys.GroupSpan(g)
	builder, err := snapshot.NewBuilder(view, lo, hi, snapshot.Config{})
	if err != nil {
		l.t.Fatal(err)
	}
	for {
		chunk, err := builder.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			l.t.Fatal(err)
		}
		chunks = append(chunks, chunk)
	}
	if err := errors.Join(builder.Close(), view.Close()); err != nil {
		l.t.Fatal(err)
	}
	return chunks, &nodev1.SnapshotHeader{
		Group: uint64(g), From: uint64(n.replica), To: uint64(to), Term: n.manager.groups[g].term.Load(),
		Index: state.Index, IndexTerm: state.Term, ConfState: confOf(l.t, state.Conf),
	}
}

func confOf(t *testing.T, conf *raftpb.ConfState) []byte {
	t.Helper()
	raw, err := proto.Marshal(conf)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// replay hands out chunks that were captured.
func replay(chunks [][]byte) func() ([]byte, error) {
	rest := slices.Clone(chunks)
	return func() ([]byte, error) {
		if len(rest) == 0 {
			return nil, io.EOF
		}
		chunk := rest[0]
		rest = rest[1:]
		return slices.Clone(chunk), nil
	}
}

// TestForeignCommandIsNotLogged forwards what no state machine understands: once it is in the log, no replica could go past it.
func TestForeignCommandIsNotLogged(t *testing.T) {
	h := startHostile(t, 830)
	h.leader.manager.cfg.Understands = func(data []byte) error {
		if len(data) != 8 {
			return errors.New("that is no amount")
		}
		return nil
	}
	answer := h.leader.manager.HandleForward(t.Context(), &nodev1.ForwardRequest{
		Group: uint64(h.group), RequestId: make([]byte, 16), Data: []byte("nonsense"[:5]),
	})
	if answer.GetError() != nodev1.ForwardError_FORWARD_ERROR_TOO_LARGE || !strings.Contains(answer.GetMessage(), "that is no amount") {
		t.Errorf("answer = %v", answer)
	}
	if last := h.leader.manager.groups[h.group].describe(h.leader.manager).LastIndex; last != h.last || h.leader.refused() != 1 {
		t.Errorf("the log ends at %d instead of %d, %d refused", last, h.last, h.leader.refused())
	}
}
