package transport

import (
	"context"
	"fmt"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	nodev1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/node/v1"
)

// Operator is what a Handler also implements when its node takes the orders of operators. A node whose
// handler does not refuses them as unimplemented.
type Operator interface {
	// HandleOperate carries out an order that a member passed on; it may wait within ctx.
	HandleOperate(ctx context.Context, from ident.ReplicaID, req *nodev1.OperateRequest) *nodev1.OperateResponse
	// HandleInvite asks this node to join a cluster; strangers may ask.
	HandleInvite(ctx context.Context, req *nodev1.InviteRequest) *nodev1.InviteResponse
}

// Operate has another replica's node carry out an order. Every order can be repeated, so an error only means
// that it is not known how far the order went.
func (t *GRPC) Operate(ctx context.Context, to ident.ReplicaID, req *nodev1.OperateRequest) (*nodev1.OperateResponse, error) {
	return ask(ctx, t, to, "operate", nodev1.NodeServiceClient.Operate, req)
}

// MemberInfo asks a member who it is, over the connection that its messages use. Strangers may ask that, so somebody else can have answered.
func (t *GRPC) MemberInfo(ctx context.Context, of ident.ReplicaID, req *nodev1.GetNodeInfoRequest) (*nodev1.GetNodeInfoResponse, error) {
	p, conn, err := t.connected(ctx, of)
	if err != nil {
		return nil, fmt.Errorf("node info of replica %d: %w", of, err)
	}
	resp, err := nodev1.NewNodeServiceClient(conn).GetNodeInfo(p.hello.attach(ctx), req)
	if err != nil {
		return nil, fmt.Errorf("node info of replica %d: %w", of, describe(err))
	}
	if resp.GetReplicaId() != uint64(of) {
		p.missed(conn)
	}
	return resp, nil
}

// Invite asks the node at an address to join the cluster. No membership is needed.
func (t *GRPC) Invite(ctx context.Context, addr string, req *nodev1.InviteRequest) (*nodev1.InviteResponse, error) {
	conn, err := t.stranger(addr)
	if err != nil {
		return nil, fmt.Errorf("invite %s: %w", addr, err)
	}
	resp, err := nodev1.NewNodeServiceClient(conn).Invite(ctx, req)
	_ = conn.Close() // nothing is left to lose on it
	if err != nil {
		return nil, fmt.Errorf("invite %s: %w", addr, err)
	}
	return resp, nil
}

var errNoOperator = status.Error(codes.Unimplemented, "this node takes no orders")

// Operate implements nodev1.NodeServiceServer.
func (s *service) Operate(ctx context.Context, req *nodev1.OperateRequest) (*nodev1.OperateResponse, error) {
	from, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer s.transport.calls.leave()
	operator, ok := s.transport.handler.(Operator)
	if !ok {
		return nil, errNoOperator
	}
	return operator.HandleOperate(ctx, from, req), nil
}

// Invite implements nodev1.NodeServiceServer. Strangers may call it.
func (s *service) Invite(ctx context.Context, req *nodev1.InviteRequest) (*nodev1.InviteResponse, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.transport.calls.leave()
	operator, ok := s.transport.handler.(Operator)
	if !ok {
		return nil, errNoOperator
	}
	return operator.HandleInvite(ctx, req), nil
}
