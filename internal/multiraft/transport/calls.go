package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	nodev1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/node/v1"
)

// ask has another replica answer one request, over the connection that messages use; what says in errors what it was asked for.
func ask[Request, Response any](
	ctx context.Context, t *GRPC, to ident.ReplicaID, what string,
	call func(nodev1.NodeServiceClient, context.Context, *Request, ...grpc.CallOption) (*Response, error), req *Request,
) (*Response, error) {
	p, node, err := t.node(ctx, to)
	if err != nil {
		return nil, fmt.Errorf("%s replica %d: %w", what, to, err)
	}
	resp, err := call(node, p.hello.attach(ctx), req)
	if err != nil {
		return nil, fmt.Errorf("%s replica %d: %w", what, to, describe(err))
	}
	return resp, nil
}

// Forward runs a proposal at another replica. It is sent once and never repeated. An error that wraps
// ErrNotDelivered says that the peer's handler surely did not see it; any other error leaves the outcome unknown.
func (t *GRPC) Forward(ctx context.Context, to ident.ReplicaID, req *nodev1.ForwardRequest) (*nodev1.ForwardResponse, error) {
	resp, err := t.forward(ctx, to, req)
	switch {
	case errors.Is(err, ErrNotDelivered):
		t.metrics.notDelivered.Inc()
	case err != nil:
		t.metrics.unknown.Inc()
	default:
		t.metrics.answered.Inc()
	}
	return resp, err
}

func (t *GRPC) forward(ctx context.Context, to ident.ReplicaID, req *nodev1.ForwardRequest) (*nodev1.ForwardResponse, error) {
	p, err := t.peer(to)
	if err != nil {
		return nil, notDelivered(to, err)
	}
	resp, err := p.forwarder.call(ctx, req)
	if errors.Is(err, errSingle) {
		return p.forwardAlone(ctx, req)
	}
	return resp, err
}

// A leader that waits for all voters has so much less time than its caller, so that it can still say who is behind: a tenth of it,
// or this.
const mostOfAnswer = 500 * time.Millisecond

// patience is how long the peer may take over a call whose caller has so much time left.
func patience(req *nodev1.ForwardRequest, left time.Duration) time.Duration {
	if !req.GetAll() {
		return left
	}
	return left - min(left/10, mostOfAnswer)
}

// forwardAlone runs a proposal at a peer by a call of its own: a peer of an earlier version knows nothing else.
func (p *peer) forwardAlone(ctx context.Context, req *nodev1.ForwardRequest) (*nodev1.ForwardResponse, error) {
	conn, err := p.connection(ctx)
	if err != nil {
		return nil, notDelivered(p.replica, err)
	}
	tracked := &trackedForward{req: req}
	resp := &nodev1.ForwardResponse{}
	err = conn.Invoke(p.hello.attach(ctx), nodev1.NodeService_Forward_FullMethodName, tracked, resp)
	switch {
	case err == nil:
		return resp, nil
	case !tracked.encoded:
		if status.Code(err) == codes.Unavailable {
			p.failed(err)
		}
		return nil, notDelivered(p.replica, err)
	case neverHandled(status.Code(err)):
		return nil, notDelivered(p.replica, describe(err))
	}
	return nil, fmt.Errorf("forward to replica %d: outcome unknown: %w", p.replica, err)
}

// neverHandled reports whether a status can only come from before the handler. HandleForward returns no
// error, so every refusing status of the server was decided without it.
func neverHandled(code codes.Code) bool {
	return code == codes.FailedPrecondition || code == codes.PermissionDenied || code == codes.Unauthenticated ||
		code == codes.Unimplemented || code == codes.ResourceExhausted
}

// SendSnapshot streams the state of one group and returns once the peer has installed it, or with the
// reason why not. next returns chunks and, after the last, io.EOF; chunks are at most Limits.SnapshotChunk.
func (t *GRPC) SendSnapshot(ctx context.Context, to ident.ReplicaID, header *nodev1.SnapshotHeader, next func() ([]byte, error)) error {
	p, node, err := t.node(ctx, to)
	if err != nil {
		return fmt.Errorf("snapshot to replica %d: %w", to, err)
	}
	ctx, cancel := context.WithCancel(p.hello.attach(ctx))
	defer cancel()
	stream, err := node.InstallSnapshot(ctx)
	if err != nil {
		p.failed(err)
		return fmt.Errorf("snapshot to replica %d: %w", to, err)
	}
	source := &chunkSource{next: next, limit: t.cfg.Limits.SnapshotChunk}
	err = stream.Send(&nodev1.InstallSnapshotRequest{Part: &nodev1.InstallSnapshotRequest_Header{Header: header}})
	for err == nil {
		var chunk *nodev1.SnapshotChunk
		chunk, err = source.chunk()
		if err != nil {
			return fmt.Errorf("snapshot to replica %d: %w", to, err) // cancel tells the peer
		}
		err = stream.Send(&nodev1.InstallSnapshotRequest{Part: &nodev1.InstallSnapshotRequest_Chunk{Chunk: chunk}})
		t.metrics.snapshots.WithLabelValues("sent").Add(float64(len(chunk.GetData())))
		if chunk.GetLast() {
			break
		}
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("snapshot to replica %d: %w", to, err)
	}
	if _, err := stream.CloseAndRecv(); err != nil { // has the reason when Send said EOF
		return fmt.Errorf("snapshot to replica %d: %w", to, describe(err))
	}
	return nil
}

// chunkSource numbers and sums the chunks of a snapshot. It reads one ahead to know the last.
type chunkSource struct {
	next     func() ([]byte, error)
	limit    int
	sequence uint64
	ahead    []byte
	started  bool
}

func (s *chunkSource) chunk() (*nodev1.SnapshotChunk, error) {
	if !s.started {
		s.started = true
		first, err := s.next()
		if errors.Is(err, io.EOF) {
			return s.build(nil, true)
		}
		if err != nil {
			return nil, fmt.Errorf("read chunk: %w", err)
		}
		s.ahead = first
	}
	data := s.ahead
	ahead, err := s.next()
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read chunk: %w", err)
	}
	s.ahead = ahead
	return s.build(data, err != nil)
}

func (s *chunkSource) build(data []byte, last bool) (*nodev1.SnapshotChunk, error) {
	if len(data) > s.limit {
		return nil, fmt.Errorf("chunk %d has %d bytes, limit %d", s.sequence, len(data), s.limit)
	}
	chunk := &nodev1.SnapshotChunk{Sequence: s.sequence, Data: data, Crc32C: checksum(data), Last: last}
	s.sequence++
	return chunk, nil
}
