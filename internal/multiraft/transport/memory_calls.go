package transport

import (
	"context"
	"errors"
	"fmt"
	"io"

	"google.golang.org/protobuf/proto"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	nodev1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/node/v1"
)

// member finds the running node that a member's call goes to, after the peer's own checks.
func (m *Memory) member(to ident.ReplicaID) (*Memory, hello, error) {
	own, stopped := m.self()
	switch {
	case stopped:
		return nil, hello{}, ErrStopped
	case !own.known():
		return nil, hello{}, ErrNotMember
	}
	addr, ok := m.cfg.Resolver.Address(to)
	if !ok {
		return nil, hello{}, ErrUnknownAddress
	}
	peer, err := m.network.find(m.cfg.Address, addr)
	if err != nil {
		return nil, hello{}, err
	}
	h := helloTo(own, to)
	theirs, stopped := peer.self()
	if stopped {
		return nil, h, ErrStopped
	}
	if r := h.check(theirs); r != nil {
		return nil, h, peer.refuse(r)
	}
	h.tell(peer.handler)
	return peer, h, nil
}

// Forward runs a proposal at another replica; see GRPC.Forward for what an error says.
func (m *Memory) Forward(ctx context.Context, to ident.ReplicaID, req *nodev1.ForwardRequest) (*nodev1.ForwardResponse, error) {
	notDelivered := func(err error) (*nodev1.ForwardResponse, error) {
		m.metrics.notDelivered.Inc()
		return nil, fmt.Errorf("forward to replica %d: %w: %w", to, ErrNotDelivered, err)
	}
	if err := ctx.Err(); err != nil {
		return notDelivered(err)
	}
	peer, h, err := m.member(to)
	if err != nil {
		return notDelivered(err)
	}
	verdict := m.network.judge(&Call{Kind: CallForward, From: h.from, To: to, FromAddress: m.cfg.Address, ToAddress: peer.cfg.Address})
	if verdict == LoseRequest {
		return notDelivered(errUnreachable)
	}
	copied := &nodev1.ForwardRequest{}
	if err = reencode(req, copied); err != nil {
		return notDelivered(err)
	}
	resp := &nodev1.ForwardResponse{}
	err = reencode(peer.handler.HandleForward(ctx, copied), resp)
	switch {
	case verdict == LoseResponse || m.network.blocked(peer.cfg.Address, m.cfg.Address):
		err = errUnreachable
	case ctx.Err() != nil:
		err = ctx.Err()
	}
	if err != nil {
		m.metrics.unknown.Inc()
		return nil, fmt.Errorf("forward to replica %d: outcome unknown: %w", to, err)
	}
	m.metrics.answered.Inc()
	return resp, nil
}

// reencode copies a protobuf message through its wire form.
func reencode(from, to proto.Message) error {
	data, err := proto.Marshal(from)
	if err != nil {
		return fmt.Errorf("encode %T: %w", from, err)
	}
	if err := proto.Unmarshal(data, to); err != nil {
		return fmt.Errorf("decode %T: %w", to, err)
	}
	return nil
}

// SendSnapshot streams the state of one group; see GRPC.SendSnapshot.
func (m *Memory) SendSnapshot(ctx context.Context, to ident.ReplicaID, header *nodev1.SnapshotHeader, next func() ([]byte, error)) error {
	peer, h, err := m.member(to)
	if err != nil {
		return fmt.Errorf("snapshot to replica %d: %w", to, err)
	}
	call := Call{Kind: CallSnapshot, From: h.from, To: to, FromAddress: m.cfg.Address, ToAddress: peer.cfg.Address}
	if m.network.judge(&call) == LoseRequest {
		return fmt.Errorf("snapshot to replica %d: %w", to, errUnreachable)
	}
	if r := checkSnapshotHeader(header, h.from, to); r != nil {
		return fmt.Errorf("snapshot to replica %d: %w", to, peer.refuse(r))
	}
	copied := &nodev1.SnapshotHeader{}
	if err = reencode(header, copied); err != nil {
		return fmt.Errorf("snapshot to replica %d: %w", to, err)
	}
	source := &chunkSource{next: next, limit: m.cfg.Limits.SnapshotChunk}
	var sourceErr error
	sink := &chunkSink{limit: peer.cfg.Limits.SnapshotChunk, recv: func() (*nodev1.SnapshotChunk, error) {
		var chunk *nodev1.SnapshotChunk
		if chunk, sourceErr = m.carryChunk(ctx, peer, call, source); sourceErr != nil {
			return nil, errUnreachable // the peer sees a broken stream, whatever broke it
		}
		return chunk, nil
	}}
	err = peer.handler.HandleSnapshot(ctx, copied, sink.next)
	switch {
	case sourceErr != nil:
		return fmt.Errorf("snapshot to replica %d: %w", to, sourceErr)
	case err != nil:
		if errors.Is(err, ErrCorrupt) || errors.Is(err, ErrMalformed) {
			peer.metrics.refused.WithLabelValues(refusedSnapshot).Inc()
		}
		return fmt.Errorf("snapshot to replica %d: was not installed: %w", to, err)
	}
	return nil
}

// carryChunk takes a chunk from the source over the network.
func (m *Memory) carryChunk(ctx context.Context, peer *Memory, call Call, source *chunkSource) (*nodev1.SnapshotChunk, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if _, stopped := peer.self(); stopped || m.network.blocked(m.cfg.Address, peer.cfg.Address) {
		return nil, errUnreachable
	}
	chunk, err := source.chunk()
	if err != nil {
		return nil, err
	}
	data, err := proto.Marshal(chunk)
	if err != nil {
		return nil, fmt.Errorf("encode chunk: %w", err)
	}
	call.Kind, call.Wire = CallSnapshotChunk, data
	if m.network.judge(&call) != DeliverCall {
		return nil, errUnreachable
	}
	copied := &nodev1.SnapshotChunk{}
	if err := proto.Unmarshal(call.Wire, copied); err != nil {
		return nil, fmt.Errorf("decode chunk: %w: %w", ErrMalformed, err)
	}
	m.metrics.snapshots.WithLabelValues("sent").Add(float64(len(chunk.GetData())))
	peer.metrics.snapshots.WithLabelValues("received").Add(float64(len(copied.GetData())))
	return copied, nil
}

// errUnreachable stands for every way in which a network loses things.
var errUnreachable = fmt.Errorf("peer is unreachable: %w", io.ErrUnexpectedEOF)

// NodeInfo asks the node at an address who it is. No membership is needed.
func (m *Memory) NodeInfo(ctx context.Context, addr string, req *nodev1.GetNodeInfoRequest) (*nodev1.GetNodeInfoResponse, error) {
	resp := &nodev1.GetNodeInfoResponse{}
	err := m.stranger(addr, CallNodeInfo, req, &nodev1.GetNodeInfoRequest{}, resp, func(peer Handler, req proto.Message) proto.Message {
		return peer.HandleNodeInfo(ctx, req.(*nodev1.GetNodeInfoRequest)) //nolint:errcheck // the type is that of the copy above
	})
	if err != nil {
		return nil, fmt.Errorf("node info of %s: %w", addr, err)
	}
	return resp, nil
}

// Join asks the node at an address to admit a store. No membership is needed.
func (m *Memory) Join(ctx context.Context, addr string, req *nodev1.JoinRequest) (*nodev1.JoinResponse, error) {
	resp := &nodev1.JoinResponse{}
	err := m.stranger(addr, CallJoin, req, &nodev1.JoinRequest{}, resp, func(peer Handler, req proto.Message) proto.Message {
		return peer.HandleJoin(ctx, req.(*nodev1.JoinRequest)) //nolint:errcheck // the type is that of the copy above
	})
	if err != nil {
		return nil, fmt.Errorf("join through %s: %w", addr, err)
	}
	return resp, nil
}

// stranger makes a call that needs no membership. copied and resp are empty messages to fill.
func (m *Memory) stranger(addr string, kind CallKind, req, copied, resp proto.Message,
	handle func(peer Handler, req proto.Message) proto.Message,
) error {
	own, stopped := m.self()
	if stopped {
		return ErrStopped
	}
	peer, err := m.network.find(m.cfg.Address, addr)
	if err != nil {
		return err
	}
	verdict := m.network.judge(&Call{Kind: kind, From: own.Replica, FromAddress: m.cfg.Address, ToAddress: addr})
	if verdict == LoseRequest {
		return errUnreachable
	}
	if err := reencode(req, copied); err != nil {
		return err
	}
	if err := reencode(handle(peer.handler, copied), resp); err != nil {
		return err
	}
	if verdict == LoseResponse || m.network.blocked(addr, m.cfg.Address) {
		return errUnreachable
	}
	return nil
}
