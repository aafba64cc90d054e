package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/transport"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
	nodev1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/node/v1"
)

// openNetwork starts the listener for peers; a standalone node has none.
func (n *Node) openNetwork(ctx context.Context, listener net.Listener) error {
	if n.cfg.Standalone() {
		return nil
	}
	c := n.cfg.Cluster
	var security *transport.TLSConfig
	if t := n.cfg.RPCTLS; t.Enabled {
		security = &transport.TLSConfig{
			CAFile: t.CACert, CertFile: t.ServerCert, KeyFile: t.ServerKey, RequireClientCert: t.RequireClientCert,
		}
	} else if err := transport.CheckPlaintextAddress(c.RPCAddr, c.AllowInsecureRPC); err != nil {
		return fmt.Errorf("cluster.rpc_addr = %q: %w", c.RPCAddr, err)
	}
	network, err := transport.NewGRPC(transport.GRPCConfig{
		Resolver: addressBook{n}, Clock: n.clock, Logger: n.logger.With(slog.String("part", "transport")),
		Registerer: n.metrics.Registerer(), TLS: security, ClusterID: c.ClusterID, NodeOf: addressBook{n}.node,
		BackoffMax: c.ReconnectInterval(),
	}, peerHandler{n})
	if err != nil && security != nil {
		return fmt.Errorf("rpc_tls.ca_cert = %q, rpc_tls.server_cert = %q, rpc_tls.server_key = %q: %w",
			security.CAFile, security.CertFile, security.KeyFile, err)
	}
	if err != nil {
		return err
	}
	if listener == nil {
		if listener, err = (&net.ListenConfig{}).Listen(ctx, "tcp", c.RPCAddr); err != nil {
			return fmt.Errorf("cluster.rpc_addr = %q: %w", c.RPCAddr, err)
		}
	}
	n.network, n.rpcAddr = network, listener.Addr().String()
	n.spawn(func() {
		if err := network.Serve(listener); err != nil {
			n.fail(fmt.Errorf("serve peers: %w", err))
		}
	})
	return nil
}

// node says which node a replica belongs to.
func (b addressBook) node(replica ident.ReplicaID) (ident.NodeID, bool) {
	if m, ok := b.n.catalog.Current().Member(replica); ok {
		return m.Node, true
	}
	if told := b.n.gossip.told(replica); len(told) > 0 {
		return ident.NodeID(told[0].GetNodeId()), true
	}
	for _, m := range b.n.who().Members {
		if m.Replica == replica {
			return m.Node, true
		}
	}
	return 0, false
}

func (n *Node) advertisedRPC() string {
	if n.cfg.Standalone() {
		return ""
	}
	return n.cfg.Cluster.RPCAddr
}

func (n *Node) advertisedAPI() string {
	if n.cfg.Cluster.APIAddr != "" {
		return n.cfg.Cluster.APIAddr
	}
	return n.apiAddr
}

// peerHandler serves the calls of peers. Before this node is a member, only NodeInfo and Join arrive here.
type peerHandler struct{ n *Node }

// HandleMessages implements transport.Handler.
func (h peerHandler) HandleMessages(from ident.ReplicaID, messages []transport.Message) {
	if m := h.n.engine(); m != nil {
		m.HandleMessages(from, messages)
	}
}

// HandleUnreachable implements transport.Handler.
func (h peerHandler) HandleUnreachable(to ident.ReplicaID) {
	if m := h.n.engine(); m != nil {
		m.HandleUnreachable(to)
	}
}

// HandleSnapshot implements transport.Handler.
func (h peerHandler) HandleSnapshot(ctx context.Context, header *nodev1.SnapshotHeader, next func() ([]byte, error)) error {
	m := h.n.engine()
	if m == nil {
		return errors.New("the node is not a member yet")
	}
	return m.HandleSnapshot(ctx, header, next)
}

// HandleSnapshotProgress implements transport.SnapshotKeeper.
func (h peerHandler) HandleSnapshotProgress(ctx context.Context, req *nodev1.SnapshotProgressRequest) *nodev1.SnapshotProgressResponse {
	m := h.n.engine()
	if m == nil {
		return &nodev1.SnapshotProgressResponse{}
	}
	return m.HandleSnapshotProgress(ctx, req)
}

var _ transport.SnapshotKeeper = peerHandler{}

// HandleForward implements transport.Handler.
func (h peerHandler) HandleForward(ctx context.Context, req *nodev1.ForwardRequest) *nodev1.ForwardResponse {
	m := h.n.engine()
	if m == nil {
		return &nodev1.ForwardResponse{Error: nodev1.ForwardError_FORWARD_ERROR_STOPPED, Message: "not a member yet"}
	}
	return m.HandleForward(ctx, req)
}

// HandleNodeInfo implements transport.Handler.
func (h peerHandler) HandleNodeInfo(ctx context.Context, req *nodev1.GetNodeInfoRequest) *nodev1.GetNodeInfoResponse {
	info := h.n.describe(ctx, req.GetWithGroups())
	if m, ok := h.n.catalog.Current().Member(ident.ReplicaID(req.GetCaller())); ok {
		info.CallerRemoved = m.Removed
	}
	return info
}

// HandleJoin implements transport.Handler. The meta group decides; this node only checks what it can see.
func (h peerHandler) HandleJoin(ctx context.Context, req *nodev1.JoinRequest) *nodev1.JoinResponse {
	response, err := h.n.admit(ctx, req)
	if err != nil {
		return &nodev1.JoinResponse{Refused: err.Error(), Retry: true}
	}
	return response
}

func refuseJoin(retry bool, format string, args ...any) *nodev1.JoinResponse {
	return &nodev1.JoinResponse{Refused: fmt.Sprintf(format, args...), Retry: retry}
}

// admit records a store as a member. A store that stands in for another one of the same node is taken only
// when the other has been silent; an error is temporary.
func (n *Node) admit(ctx context.Context, req *nodev1.JoinRequest) (*nodev1.JoinResponse, error) {
	manager := n.engine()
	if manager == nil {
		return refuseJoin(true, "node %d is not a member yet", n.cfg.Cluster.NodeID), nil
	}
	if req.GetClusterId() != n.cfg.Cluster.ClusterID {
		return refuseJoin(false, "this is cluster %q, not %q", n.cfg.Cluster.ClusterID, req.GetClusterId()), nil
	}
	var store ident.StoreID
	if copy(store[:], req.GetStoreId()) != len(store) || store.IsZero() || req.GetNodeId() == 0 {
		return refuseJoin(false, "the request names no store or node"), nil
	}
	if _, err := n.exec.Barrier(ctx, shard.Meta); err != nil {
		return nil, err
	}
	current := n.catalog.Current()
	if current.Cluster() == nil {
		return refuseJoin(true, "the cluster is being founded"), nil
	}
	// A node of a version that does not know the setting asks for the default.
	if want := current.Cluster().RequestWindow; req.GetRequestWindow() != want {
		return refuseJoin(false, "%v", windowMismatch(req.GetRequestWindow(), want)), nil
	}
	// A node of a version that does not say its shards looks itself at what it is answered, and starts only if they agree.
	said := shard.Map{UserShards: req.GetUserShards(), SharedShards: req.GetSharedShards()}
	if have := current.Cluster().Shards; said != (shard.Map{}) && said != have {
		return refuseJoin(false, "%v", shardsMismatch(said, have)), nil
	}
	if refusal := refuseOldLogs(current, store, req); refusal != nil {
		return refusal, nil
	}
	if refusal := refuseSelection(current, req); refusal != nil {
		return refusal, nil
	}
	if known, ok := current.MemberByStore(store); ok && known.Removed {
		return refuseJoin(false, "the store was removed from the cluster; empty the data directory to join as a new replica"), nil
	}
	if old, ok := catalogMember(current, ident.NodeID(req.GetNodeId())); ok && old.Store != store && manager.Live(old.Replica) {
		return refuseJoin(old.Replica != manager.Self(),
			"node %d is alive with another data directory; a node id can be used once", req.GetNodeId()), nil
	}
	add := addMember(current, &commandv1.Member{
		NodeId: req.GetNodeId(), StoreId: store[:], RpcAddr: req.GetRpcAddr(), ApiAddr: req.GetApiAddr(),
	}, req.GetLogFormat())
	add.VotesIn = req.GetVotesIn()
	response, err := n.exec.Execute(ctx, shard.Meta, &commandv1.Command{Body: &commandv1.Command_AddMember{AddMember: add}})
	if err != nil {
		return nil, err
	}
	return n.welcome(ctx, response.GetObjectId())
}

func (n *Node) welcome(ctx context.Context, replica uint64) (*nodev1.JoinResponse, error) {
	if _, err := n.exec.Barrier(ctx, shard.Meta); err != nil {
		return nil, err
	}
	current := n.catalog.Current()
	cluster := current.Cluster()
	welcome := &nodev1.JoinResponse{
		ClusterUid: cluster.UID[:], ReplicaId: replica,
		UserShards: cluster.Shards.UserShards, SharedShards: cluster.Shards.SharedShards,
		RequestWindow: cluster.RequestWindow,
	}
	welcome.Members = n.memberAddresses()
	return welcome, nil
}
