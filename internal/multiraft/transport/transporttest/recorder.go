package transporttest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"
	"time"

	raftpb "go.etcd.io/raft/v3/raftpb"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/transport"
	nodev1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/node/v1"
)

// Patience is how long a test waits for something that must happen.
const Patience = 30 * time.Second

// Snapshot is a snapshot as a Recorder received it.
type Snapshot struct {
	Header *nodev1.SnapshotHeader
	Chunks [][]byte
	Err    error // what next said instead of io.EOF
}

// State is what a Recorder has seen so far.
type State struct {
	Messages    []transport.Message
	From        []ident.ReplicaID // of each message
	Unreachable map[ident.ReplicaID]int
	Snapshots   []Snapshot
	Forwards    int // proposals that reached the handler
}

// Recorder is a transport.Handler that remembers. Its gates let a test hold it up.
type Recorder struct {
	// Messages, if not nil, must be closed before HandleMessages returns.
	HoldMessages chan struct{}
	// HoldForward, if not nil, must be closed before HandleForward returns.
	HoldForward chan struct{}
	// InstallError is the answer to a snapshot that arrived whole.
	InstallError error

	mu        sync.Mutex // guards all below
	state     State
	changed   chan struct{} // closed and replaced at every change
	addresses *Directory    // takes what members say of where they are; may be nil
}

// NewRecorder returns a recorder without gates.
func NewRecorder() *Recorder {
	return &Recorder{state: State{Unreachable: map[ident.ReplicaID]int{}}, changed: make(chan struct{})}
}

func (r *Recorder) change(f func(*State)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f(&r.state)
	close(r.changed)
	r.changed = make(chan struct{})
}

// Await waits until the state satisfies the condition, and fails the test when it does not in time.
func (r *Recorder) Await(t *testing.T, what string, condition func(*State) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	for {
		r.mu.Lock()
		ok, changed := condition(&r.state), r.changed
		r.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			r.mu.Lock()
			defer r.mu.Unlock()
			t.Fatalf("waited in vain for: %s; have %d messages, unreachable %v, %d snapshots, %d forwards",
				what, len(r.state.Messages), r.state.Unreachable, len(r.state.Snapshots), r.state.Forwards)
		}
	}
}

// AwaitIndexes waits until a message with each of the indexes has arrived.
func (r *Recorder) AwaitIndexes(t *testing.T, indexes ...uint64) {
	t.Helper()
	r.Await(t, fmt.Sprintf("messages with indexes %v", indexes), func(s *State) bool {
		for _, index := range indexes {
			if !slices.ContainsFunc(s.Messages, func(m transport.Message) bool { return m.Raft.GetIndex() == index }) {
				return false
			}
		}
		return true
	})
}

// AwaitUnreachable waits until a replica has been reported more than the given number of times.
func (r *Recorder) AwaitUnreachable(t *testing.T, replica ident.ReplicaID, more int) {
	t.Helper()
	r.Await(t, fmt.Sprintf("replica %d reported unreachable more than %d times", replica, more), func(s *State) bool {
		return s.Unreachable[replica] > more
	})
}

// Look calls f with the state.
func (r *Recorder) Look(f func(*State)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f(&r.state)
}

// HandleMessages implements transport.Handler.
func (r *Recorder) HandleMessages(from ident.ReplicaID, msgs []transport.Message) {
	if r.HoldMessages != nil {
		<-r.HoldMessages
	}
	r.change(func(s *State) {
		for _, m := range msgs {
			s.Messages = append(s.Messages, m)
			s.From = append(s.From, from)
		}
	})
}

// HandleAddress implements transport.AddressKeeper.
func (r *Recorder) HandleAddress(from ident.ReplicaID, addr string) (moved bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.addresses == nil {
		return false
	}
	before, _ := r.addresses.Address(from)
	r.addresses.Set(from, addr)
	return before != addr
}

// KeepAddresses makes a directory take what members say of where they are.
func (r *Recorder) KeepAddresses(d *Directory) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.addresses = d
}

// HandleUnreachable implements transport.Handler.
func (r *Recorder) HandleUnreachable(to ident.ReplicaID) {
	r.change(func(s *State) { s.Unreachable[to]++ })
}

// HandleSnapshot implements transport.Handler.
func (r *Recorder) HandleSnapshot(_ context.Context, header *nodev1.SnapshotHeader, next func() ([]byte, error)) error {
	got := Snapshot{Header: header}
	for got.Err == nil {
		chunk, err := next()
		if errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			break
		}
		if err != nil {
			got.Err = err
			break
		}
		got.Chunks = append(got.Chunks, slices.Clone(chunk))
	}
	r.change(func(s *State) { s.Snapshots = append(s.Snapshots, got) })
	if got.Err != nil {
		return got.Err
	}
	return r.InstallError
}

// HandleForward implements transport.Handler: it answers with the data it was given.
func (r *Recorder) HandleForward(_ context.Context, req *nodev1.ForwardRequest) *nodev1.ForwardResponse {
	r.change(func(s *State) { s.Forwards++ })
	if r.HoldForward != nil {
		<-r.HoldForward
	}
	return &nodev1.ForwardResponse{Result: req.GetData(), Index: req.GetGroup()}
}

// HandleNodeInfo implements transport.Handler.
func (r *Recorder) HandleNodeInfo(_ context.Context, req *nodev1.GetNodeInfoRequest) *nodev1.GetNodeInfoResponse {
	resp := &nodev1.GetNodeInfoResponse{Hostname: "recorder"}
	if req.GetWithGroups() {
		resp.Groups = []*nodev1.GroupStatus{{Group: 10, Leader: 7}}
	}
	return resp
}

// HandleJoin implements transport.Handler.
func (r *Recorder) HandleJoin(_ context.Context, req *nodev1.JoinRequest) *nodev1.JoinResponse {
	return &nodev1.JoinResponse{ReplicaId: req.GetNodeId() + 100}
}

// Message makes a Raft message of a type between two replicas; index tells messages apart, and every byte
// slice becomes an entry.
func Message(kind raftpb.MessageType, from, to ident.ReplicaID, index uint64, data ...[]byte) *raftpb.Message {
	m := &raftpb.Message{
		Type: &kind, From: new(uint64(from)), To: new(uint64(to)), Term: new(uint64(5)), Index: &index,
	}
	for i, d := range data {
		m.Entries = append(m.Entries, &raftpb.Entry{Term: new(uint64(5)), Index: new(index + uint64(i) + 1), Data: d})
	}
	return m
}
