package transport

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	nodev1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/node/v1"
)

// SnapshotKeeper is what a Handler also implements when it keeps interrupted snapshots. A node whose handler
// does not has nothing left of any.
type SnapshotKeeper interface {
	// HandleSnapshotProgress says what this node has of an interrupted snapshot; it may be called at any time.
	HandleSnapshotProgress(ctx context.Context, req *nodev1.SnapshotProgressRequest) *nodev1.SnapshotProgressResponse
}

// errNothingKept answers for a node that keeps no interrupted snapshots.
var errNothingKept = status.Error(codes.Unimplemented, "this node keeps no interrupted snapshots")

// SnapshotProgress asks a replica what it has of an interrupted snapshot. An error only means that it is not known.
func (t *GRPC) SnapshotProgress(ctx context.Context, to ident.ReplicaID, req *nodev1.SnapshotProgressRequest) (*nodev1.SnapshotProgressResponse, error) {
	return ask(ctx, t, to, "snapshot progress of", nodev1.NodeServiceClient.SnapshotProgress, req)
}

// SnapshotProgress implements nodev1.NodeServiceServer.
func (s *service) SnapshotProgress(ctx context.Context, req *nodev1.SnapshotProgressRequest) (*nodev1.SnapshotProgressResponse, error) {
	if _, err := s.begin(ctx); err != nil {
		return nil, err
	}
	defer s.transport.calls.leave()
	keeper, ok := s.transport.handler.(SnapshotKeeper)
	if !ok {
		return nil, errNothingKept
	}
	return keeper.HandleSnapshotProgress(ctx, req), nil
}

// SnapshotProgress asks a replica what it has of an interrupted snapshot; see GRPC.SnapshotProgress.
func (m *Memory) SnapshotProgress(ctx context.Context, to ident.ReplicaID, req *nodev1.SnapshotProgressRequest) (*nodev1.SnapshotProgressResponse, error) {
	peer, _, err := m.member(to)
	if err == nil && m.network.blocked(peer.cfg.Address, m.cfg.Address) {
		err = errUnreachable
	}
	if err != nil {
		return nil, fmt.Errorf("snapshot progress of replica %d: %w", to, err)
	}
	keeper, ok := peer.handler.(SnapshotKeeper)
	if !ok {
		return nil, fmt.Errorf("snapshot progress of replica %d: %w", to, errNothingKept)
	}
	copied, resp := &nodev1.SnapshotProgressRequest{}, &nodev1.SnapshotProgressResponse{}
	err = errors.Join(reencode(req, copied), reencode(keeper.HandleSnapshotProgress(ctx, copied), resp))
	if err != nil {
		return nil, fmt.Errorf("snapshot progress of replica %d: %w", to, err)
	}
	return resp, nil
}
