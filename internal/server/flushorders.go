package server

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/flush"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/transport"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	nodev1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/node/v1"
)

// maxFlushOrders is how many orders to flush a node carries out at once, whoever gave them. Others wait until one has ended, or the one that waits for them has
// gone: as many as a node runs jobs, so that a cluster with one leader flushes no slower than a node that is alone.
const maxFlushOrders = 4

// flushTurns are the places of orders that are carried out.
type flushTurns chan struct{}

func newFlushTurns() flushTurns { return make(flushTurns, maxFlushOrders) }

// Flush implements flush.Leaders. Whoever leads, this node too, does it under the same bound and by the same permits.
func (p coldPeers) Flush(ctx context.Context, order flush.Order) (flush.Piece, error) {
	m := p.n.engine()
	if m == nil {
		return flush.Piece{}, flush.ErrNotLeader
	}
	switch leader := m.Leader(order.Group); leader {
	case 0:
		return flush.Piece{}, flush.ErrNotLeader
	case m.Self():
		return p.n.flushPiece(ctx, order)
	default:
		resp, err := p.n.network.FlushGroup(ctx, leader, &nodev1.FlushGroupRequest{
			Job: order.Job, Token: order.Token, TableId: uint64(order.Table), Group: uint64(order.Group),
			AfterUser: string(order.From.User), AfterKey: order.From.Key,
		})
		switch {
		case transport.NotImplemented(err):
			return flush.Piece{}, fmt.Errorf("replica %d: %w", leader, flush.ErrNoOrders)
		case err != nil:
			return flush.Piece{}, fmt.Errorf("%w: %w", flush.ErrNoAnswer, err)
		}
		return pieceOf(leader, resp)
	}
}

// pieceOf reads an answer.
func pieceOf(leader ident.ReplicaID, resp *nodev1.FlushGroupResponse) (flush.Piece, error) {
	found := flush.Piece{Moved: flush.Result{
		Scopes: int(resp.GetScopes()), Segments: int(resp.GetSegments()), Rows: int64(resp.GetRows()), Bytes: int64(resp.GetBytes()),
	}}
	if resp.GetMore() {
		found.Next = &flush.Position{User: ident.UserID(resp.GetNextUser()), Key: resp.GetNextKey()}
	}
	for _, why := range resp.GetFailed() {
		found.Failed = append(found.Failed, fmt.Errorf("replica %d: %s", leader, why))
	}
	switch resp.GetError() {
	case nodev1.FlushGroupError_FLUSH_GROUP_ERROR_UNSPECIFIED:
		return found, nil
	case nodev1.FlushGroupError_FLUSH_GROUP_ERROR_NOT_LEADER:
		return found, fmt.Errorf("replica %d: %w", leader, flush.ErrNotLeader)
	case nodev1.FlushGroupError_FLUSH_GROUP_ERROR_CLAIM_LOST:
		return found, fmt.Errorf("replica %d: %w", leader, flush.ErrClaimLost)
	case nodev1.FlushGroupError_FLUSH_GROUP_ERROR_FAILED:
	}
	return found, fmt.Errorf("replica %d: %s", leader, resp.GetMessage())
}

// HandleFlushGroup implements transport.Flusher.
func (h peerHandler) HandleFlushGroup(ctx context.Context, req *nodev1.FlushGroupRequest) *nodev1.FlushGroupResponse {
	piece, err := h.n.flushPiece(ctx, flush.Order{
		Job: req.GetJob(), Token: req.GetToken(), Table: ident.TableID(req.GetTableId()), Group: shard.GroupID(req.GetGroup()),
		From: flush.Position{User: ident.UserID(req.GetAfterUser()), Key: req.GetAfterKey()},
	})
	did := piece.Moved
	resp := &nodev1.FlushGroupResponse{
		Scopes: uint64(did.Scopes), Segments: uint64(did.Segments), Rows: uint64(did.Rows), Bytes: uint64(did.Bytes),
	}
	if next := piece.Next; next != nil {
		resp.More, resp.NextUser, resp.NextKey = true, string(next.User), next.Key
	}
	for _, why := range piece.Failed {
		resp.Failed = append(resp.Failed, why.Error())
	}
	switch {
	case err == nil:
		return resp
	case errors.Is(err, flush.ErrNotLeader):
		resp.Error = nodev1.FlushGroupError_FLUSH_GROUP_ERROR_NOT_LEADER
	case errors.Is(err, flush.ErrClaimLost):
		resp.Error = nodev1.FlushGroupError_FLUSH_GROUP_ERROR_CLAIM_LOST
	default:
		resp.Error = nodev1.FlushGroupError_FLUSH_GROUP_ERROR_FAILED
	}
	resp.Message = err.Error()
	return resp
}

// flushPiece carries out an order when it is this node's turn and as long as it may. A node that stops says that another one leads, which will soon be so.
func (n *Node) flushPiece(ctx context.Context, order flush.Order) (flush.Piece, error) {
	if order.Group == shard.Meta || !n.admitted() {
		return flush.Piece{}, flush.ErrNotLeader
	}
	ctx, cancel := context.WithCancelCause(ctx)
	var watching sync.WaitGroup
	watching.Go(func() {
		select {
		case <-n.draining:
			cancel(flush.ErrNotLeader)
		case <-ctx.Done():
		}
	})
	defer watching.Wait()
	defer cancel(nil)
	select {
	case n.flushing <- struct{}{}:
		defer func() { <-n.flushing }()
	case <-ctx.Done():
		return flush.Piece{}, context.Cause(ctx)
	}
	piece, err := n.flusher().Piece(ctx, order, func() error { return n.mayFlush(order) })
	if cause := context.Cause(ctx); err != nil && errors.Is(cause, flush.ErrNotLeader) {
		err = fmt.Errorf("%w: %w", cause, err)
	}
	return piece, err
}

// mayFlush says why this node may not go on with an order: it does not lead the group, or another run has the job, or nobody has, as far as this node knows. It
// looks behind barriers at the begin of a piece, and again before each file and each command.
func (n *Node) mayFlush(order flush.Order) error {
	if m := n.engine(); m == nil || m.Leader(order.Group) != m.Self() {
		return flush.ErrNotLeader
	}
	job, ended, err := catalog.LoadJob(n.store, order.Job)
	if err != nil {
		return err
	}
	if job == nil || ended || catalog.JobState(job.GetState()) != catalog.JobRunning || job.GetClaim().GetToken() != order.Token {
		return fmt.Errorf("job %d, token %d: %w", order.Job, order.Token, flush.ErrClaimLost)
	}
	return nil
}

var _ transport.Flusher = peerHandler{}
