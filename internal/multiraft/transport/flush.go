package transport

import (
	"context"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	nodev1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/node/v1"
)

// Flusher is what a Handler also implements when its node writes segments for those who hold a job. A node whose handler does not
// refuses them as unimplemented, as one of an earlier version does.
type Flusher interface {
	// HandleFlushGroup carries out the next piece of a flush; it may wait within ctx.
	HandleFlushGroup(ctx context.Context, req *nodev1.FlushGroupRequest) *nodev1.FlushGroupResponse
}

var errNoFlusher = status.Error(codes.Unimplemented, "this node takes no orders to flush")

// NotImplemented reports whether a call failed because the peer's program does not know it.
func NotImplemented(err error) bool { return status.Code(err) == codes.Unimplemented }

// FlushGroup has another replica carry out the next piece of a flush. It can be repeated, so an error only means that it is not known how far it went.
func (t *GRPC) FlushGroup(ctx context.Context, to ident.ReplicaID, req *nodev1.FlushGroupRequest) (*nodev1.FlushGroupResponse, error) {
	return ask(ctx, t, to, "flush on", nodev1.NodeServiceClient.FlushGroup, req)
}

// FlushGroup implements nodev1.NodeServiceServer.
func (s *service) FlushGroup(ctx context.Context, req *nodev1.FlushGroupRequest) (*nodev1.FlushGroupResponse, error) {
	if _, err := s.begin(ctx); err != nil {
		return nil, err
	}
	defer s.transport.calls.leave()
	flusher, ok := s.transport.handler.(Flusher)
	if !ok {
		return nil, errNoFlusher
	}
	return flusher.HandleFlushGroup(ctx, req), nil
}
