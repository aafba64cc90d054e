package multiraft

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"log/slog"
	"testing"

	"go.etcd.io/raft/v3"
	raftpb "go.etcd.io/raft/v3/raftpb"

	"github.com/kalamdb/kalamdb-go/internal/ident"
)

// TestRaftCopiesProposals holds Raft to what the use of a proposal's memory after it was handed over rests on: neither
// the list of entries, nor an entry, nor its data is kept.
func TestRaftCopiesProposals(t *testing.T) {
	storage := raft.NewMemoryStorage()
	if err := storage.ApplySnapshot(&raftpb.Snapshot{Metadata: &raftpb.SnapshotMetadata{
		Index: new(uint64(1)), Term: new(uint64(1)), ConfState: &raftpb.ConfState{Voters: []uint64{1}},
	}}); err != nil {
		t.Fatal(err)
	}
	node, err := raft.NewRawNode(&raft.Config{
		ID: 1, ElectionTick: 10, HeartbeatTick: 1, Storage: storage, MaxSizePerMsg: 1 << 20, MaxInflightMsgs: 1,
		AsyncStorageWrites: true, Logger: raftLogger{slog.New(slog.DiscardHandler)},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := node.Campaign(); err != nil {
		t.Fatal(err)
	}
	answerStorage := func() (entries []*raftpb.Entry) {
		for node.HasReady() {
			for _, m := range node.Ready().Messages {
				if m.GetTo() == raft.LocalAppendThread {
					entries = append(entries, m.GetEntries()...)
					if err := storage.Append(m.GetEntries()); err != nil {
						t.Fatal(err)
					}
				}
				for _, r := range m.GetResponses() {
					if err := node.Step(r); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		return entries
	}
	answerStorage()
	var block propBlock
	var proposals []*proposal
	for i := range 3 {
		proposals = append(proposals, newProposal(ident.RequestID{byte(i)}, fmt.Appendf(nil, "command %d", i)))
	}
	entries := block.fill(proposals, 0)
	if err := node.Step(&raftpb.Message{Type: raftpb.MsgProp.Enum(), From: new(uint64(1)), Entries: entries}); err != nil {
		t.Fatal(err)
	}
	for i := range entries {
		clear(proposals[i].data)
		entries[i].Data = nil
	}
	clear(entries)
	var got [][]byte
	for _, e := range answerStorage() {
		if len(e.GetData()) > 0 {
			got = append(got, e.GetData())
		}
	}
	if len(got) != len(proposals) {
		t.Fatalf("%d entries with data, want %d", len(got), len(proposals))
	}
	for i, data := range got {
		if want := sealEnvelope(nil, ident.RequestID{byte(i)}, fmt.Appendf(nil, "command %d", i)); !bytes.Equal(data, want) {
			t.Errorf("entry %d is %q, want %q", i, data, want)
		}
	}
}

// TestProposalsKeepTheirBytes proposes in many sizes, several in a pass, so that memory is used again and again.
func TestProposalsKeepTheirBytes(t *testing.T) {
	l := newLab(t, 1, 2)
	l.startThree()
	g := l.groups[1]
	want := l.nodes[1].sum(g)
	leader := l.leader(g)
	for round := range uint64(40) {
		for i := range uint64(5) {
			if _, err := leader.submit(g, l.id(), append(binary.BigEndian.AppendUint64(nil, round*7+i), make([]byte, (round*31+i*97)%300)...)); err != nil {
				t.Fatal(err)
			}
			want += round*7 + i
		}
		l.pump()
	}
	l.until(100, "every replica has applied everything", func() bool {
		for _, n := range l.nodes {
			if n.sum(g) != want {
				return false
			}
		}
		return true
	})
}
