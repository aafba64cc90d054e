package sim

import (
	"context"
	"errors"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/transport"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
	nodev1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/node/v1"
)

// handler gives one life of a node what the network brings.
type handler struct {
	n    *simNode
	life int
}

func (h handler) manager() engine {
	if !h.n.up || h.n.life != h.life {
		return nil
	}
	return h.n.manager
}

// HandleMessages implements transport.Handler.
func (h handler) HandleMessages(from ident.ReplicaID, messages []transport.Message) {
	h.n.w.oracle.messages(from, messages)
	if m := h.manager(); m != nil {
		m.HandleMessages(from, messages)
	}
}

// HandleUnreachable implements transport.Handler.
func (h handler) HandleUnreachable(to ident.ReplicaID) {
	if m := h.manager(); m != nil {
		m.HandleUnreachable(to)
	}
}

// HandleSnapshot implements transport.Handler.
func (h handler) HandleSnapshot(ctx context.Context, header *nodev1.SnapshotHeader, next func() ([]byte, error)) error {
	m := h.manager()
	if m == nil || h.n.paused {
		return errors.New("nobody answers")
	}
	h.n.w.trace.event("node %d receives a snapshot of %s at %d from replica %d", h.n.id, shard.GroupID(header.GetGroup()),
		header.GetIndex(), header.GetFrom())
	err := m.ReceiveSnapshot(ctx, header, next, make(chan error, 1))
	if disk.IsFull(err) {
		h.n.w.stats.roomless++
	}
	return err
}

// HandleSnapshotProgress implements transport.SnapshotKeeper.
func (h handler) HandleSnapshotProgress(ctx context.Context, req *nodev1.SnapshotProgressRequest) *nodev1.SnapshotProgressResponse {
	m := h.manager()
	if m == nil || h.n.paused {
		return &nodev1.SnapshotProgressResponse{}
	}
	left := m.HandleSnapshotProgress(ctx, req)
	if len(left.GetRanges()) > 0 {
		h.n.w.stats.resumed++
		h.n.w.saw(snapshotResumed)
		h.n.w.trace.event("node %d has %d chunks of an interrupted snapshot of %s", h.n.id, len(left.GetRanges()), shard.GroupID(req.GetGroup()))
	}
	return left
}

// HandleForward implements transport.Handler. Proposals are forwarded by sessions, which can give way.
func (handler) HandleForward(context.Context, *nodev1.ForwardRequest) *nodev1.ForwardResponse {
	return &nodev1.ForwardResponse{Error: nodev1.ForwardError_FORWARD_ERROR_STOPPED}
}

// HandleNodeInfo implements transport.Handler.
func (handler) HandleNodeInfo(context.Context, *nodev1.GetNodeInfoRequest) *nodev1.GetNodeInfoResponse {
	return &nodev1.GetNodeInfoResponse{}
}

// HandleJoin implements transport.Handler. Nodes join through sessions, which can give way.
func (handler) HandleJoin(context.Context, *nodev1.JoinRequest) *nodev1.JoinResponse {
	return &nodev1.JoinResponse{Refused: "not here", Retry: true}
}
