package multiraft

import (
	"context"
	"encoding/binary"

	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/transport"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	nodev1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/node/v1"
)

// labHandler connects the memory network to a manager.
type labHandler struct{ n *labNode }

func (h labHandler) HandleMessages(from ident.ReplicaID, m []transport.Message) {
	if h.n.lab.watch != nil {
		h.n.lab.watch(m)
	}
	h.n.manager.HandleMessages(from, m)
}

func (h labHandler) HandleUnreachable(to ident.ReplicaID) { h.n.manager.HandleUnreachable(to) }

func (h labHandler) HandleSnapshot(ctx context.Context, header *nodev1.SnapshotHeader, next func() ([]byte, error)) error {
	return h.n.manager.ReceiveSnapshot(ctx, header, next, make(chan error, 1))
}

func (h labHandler) HandleSnapshotProgress(ctx context.Context, req *nodev1.SnapshotProgressRequest) *nodev1.SnapshotProgressResponse {
	return h.n.manager.HandleSnapshotProgress(ctx, req)
}

func (h labHandler) HandleForward(ctx context.Context, req *nodev1.ForwardRequest) *nodev1.ForwardResponse {
	return h.n.manager.HandleForward(ctx, req)
}

func (h labHandler) HandleNodeInfo(context.Context, *nodev1.GetNodeInfoRequest) *nodev1.GetNodeInfoResponse {
	return &nodev1.GetNodeInfoResponse{}
}

func (h labHandler) HandleJoin(context.Context, *nodev1.JoinRequest) *nodev1.JoinResponse {
	return &nodev1.JoinResponse{}
}

// tally is a state machine that adds numbers and answers the sum. A command of 16 bytes names the meta
// index it waits for in its second half.
type tally struct {
	group     shard.GroupID
	sum       uint64
	metaIndex func() uint64
	keeps     bool // the commands, too
}

func tallyKey(g shard.GroupID) []byte {
	lo, _ := keys.GroupSpan(g)
	return append(lo, "\xf0tally"...)
}

func (m *tally) Apply(batch *storage.Batch, entries []command.Entry) (command.Outcome, error) {
	var outcome command.Outcome
	for _, e := range entries {
		if len(e.Data) == 16 && m.metaIndex != nil {
			if want := binary.BigEndian.Uint64(e.Data[8:]); want > m.metaIndex() {
				outcome.WaitMeta = want
				break
			}
		}
		if m.keeps {
			if err := batch.Set(binary.BigEndian.AppendUint64(tallyKey(m.group), e.Index), e.Data); err != nil {
				return outcome, err
			}
		}
		if len(e.Data) >= 8 {
			m.sum += binary.BigEndian.Uint64(e.Data)
		}
		outcome.Results = append(outcome.Results, binary.BigEndian.AppendUint64(nil, m.sum))
	}
	return outcome, batch.Set(tallyKey(m.group), binary.BigEndian.AppendUint64(nil, m.sum))
}

func (m *tally) Publish() {}

// Announce implements StateMachine.
func (m *tally) Announce() {}

func (m *tally) Restore(reader storage.Reader) error {
	raw, ok, err := reader.Get(tallyKey(m.group))
	m.sum = 0
	if ok {
		m.sum = binary.BigEndian.Uint64(raw)
	}
	return err
}

// sum reads a group's sum from a node's store.
func (n *labNode) sum(g shard.GroupID) uint64 {
	raw, ok, err := n.store.Get(tallyKey(g))
	if err != nil {
		n.lab.t.Fatal(err)
	}
	if !ok {
		return 0
	}
	return binary.BigEndian.Uint64(raw)
}
