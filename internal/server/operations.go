package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/admin"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/multiraft"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/transport"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/sql/exec"
	nodev1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/node/v1"
)

// noticePatience bounds how long a node that is about to drain waits for its peers to hear of it.
const noticePatience = 500 * time.Millisecond

// clusterAdmin makes what carries out CLUSTER statements, nil for a node that runs alone.
func (n *Node) clusterAdmin() exec.ClusterAdmin {
	if n.cfg.Standalone() {
		return nil
	}
	return admin.New(admin.Config{
		Catalog: n.catalog, Executor: n.exec, Nodes: operators{n}, Clock: n.clock,
		SnapshotsDir: filepath.Join(n.cfg.Storage.DataPath, "store"),
	})
}

// operators implements admin.Nodes.
type operators struct{ n *Node }

// Self implements admin.Nodes.
func (o operators) Self() ident.ReplicaID { return o.n.self() }

// Live implements admin.Nodes.
func (o operators) Live(ctx context.Context, replica ident.ReplicaID) bool {
	if o.n.heardOf(replica) {
		return true
	}
	bound, cancel := context.WithTimeout(ctx, noticePatience)
	defer cancel()
	_, err := o.n.network.MemberInfo(bound, replica, &nodev1.GetNodeInfoRequest{})
	return err == nil
}

// Groups implements admin.Nodes.
func (o operators) Groups(ctx context.Context, replica ident.ReplicaID) ([]*nodev1.GroupStatus, error) {
	if replica == o.n.self() {
		manager := o.n.engine()
		if manager == nil {
			return nil, notAdmitted()
		}
		statuses, err := manager.Status(ctx)
		return groupInfos(statuses), err
	}
	bound, cancel := context.WithTimeout(ctx, peerPatience)
	defer cancel()
	info, err := o.n.network.MemberInfo(bound, replica, &nodev1.GetNodeInfoRequest{WithGroups: true})
	return info.GetGroups(), err
}

// Operate implements admin.Nodes.
func (o operators) Operate(ctx context.Context, replica ident.ReplicaID, req *nodev1.OperateRequest) (*nodev1.OperateResponse, error) {
	if replica == o.n.self() {
		return o.n.operate(ctx, replica, req), nil
	}
	return o.n.network.Operate(ctx, replica, req)
}

// Info implements admin.Nodes.
func (o operators) Info(ctx context.Context, addr string) (*nodev1.GetNodeInfoResponse, error) {
	bound, cancel := context.WithTimeout(ctx, peerPatience)
	defer cancel()
	return o.n.network.NodeInfo(bound, addr, &nodev1.GetNodeInfoRequest{})
}

// Invite implements admin.Nodes.
func (o operators) Invite(ctx context.Context, addr string, node ident.NodeID, votesIn []uint64) (*nodev1.InviteResponse, error) {
	bound, cancel := context.WithTimeout(ctx, peerPatience)
	defer cancel()
	return o.n.network.Invite(bound, addr, &nodev1.InviteRequest{
		ClusterId: o.n.cfg.Cluster.ClusterID, NodeId: uint64(node), RpcAddr: o.n.advertisedRPC(), VotesIn: votesIn,
	})
}

// operate carries out an order on this node's replicas.
func (n *Node) operate(ctx context.Context, from ident.ReplicaID, req *nodev1.OperateRequest) *nodev1.OperateResponse {
	if req.GetOrder() == nodev1.Order_ORDER_KILL_LIVE_QUERY {
		return n.killLiveQuery(req.GetUpto())
	}
	if req.GetOrder() == nodev1.Order_ORDER_LIST_LIVE_QUERIES {
		return n.listLiveQueries(req.GetUpto())
	}
	if req.GetOrder() == nodev1.Order_ORDER_LIST_SESSIONS {
		return n.listSessions()
	}
	if req.GetOrder() == nodev1.Order_ORDER_LOOK_THROUGH_LOCAL {
		return n.lookThroughLocal(ctx, req.GetLocalTable())
	}
	manager := n.engine()
	if manager == nil {
		return &nodev1.OperateResponse{Refused: "the node is not a member yet"}
	}
	if err := n.orders.take(req, n.clock.Now()); err != nil {
		return &nodev1.OperateResponse{Refused: err.Error()}
	}
	if req.GetOrder() == nodev1.Order_ORDER_DRAIN {
		return n.drain(ctx, manager)
	}
	return manager.Operate(ctx, from, req)
}

// drain hands over all that this node leads, and tells the others to give it nothing.
func (n *Node) drain(ctx context.Context, manager *multiraft.Manager) *nodev1.OperateResponse {
	manager.Avoid(manager.Self(), true)
	n.tellPeers(ctx, &nodev1.OperateRequest{Order: nodev1.Order_ORDER_AVOID})
	return manager.Operate(ctx, manager.Self(), &nodev1.OperateRequest{Order: nodev1.Order_ORDER_DRAIN})
}

// tellPeers passes a notice to every member that is there. Who does not get it learns of it from what this
// node says of itself, a second later.
func (n *Node) tellPeers(ctx context.Context, notice *nodev1.OperateRequest) {
	bound, cancel := context.WithTimeout(ctx, noticePatience)
	defer cancel()
	var telling sync.WaitGroup
	for _, m := range liveMembers(n.catalog.Current()) {
		if m.Replica == n.self() || !n.heardOf(m.Replica) {
			continue
		}
		telling.Go(func() {
			if _, err := n.network.Operate(bound, m.Replica, notice); err != nil {
				n.logger.Debug("a peer did not take a notice", slog.Uint64("replica_id", uint64(m.Replica)), slog.Any("error", err))
			}
		})
	}
	telling.Wait()
}

// HandleOperate implements transport.Operator.
func (h peerHandler) HandleOperate(ctx context.Context, from ident.ReplicaID, req *nodev1.OperateRequest) *nodev1.OperateResponse {
	return h.n.operate(ctx, from, req)
}

var _ transport.Operator = peerHandler{}

// HandleInvite implements transport.Operator. The invitation adds one address to those at which this node
// looks for its cluster; whether it may join is decided there.
func (h peerHandler) HandleInvite(_ context.Context, req *nodev1.InviteRequest) *nodev1.InviteResponse {
	n := h.n
	refuse := func(format string, args ...any) *nodev1.InviteResponse {
		return &nodev1.InviteResponse{Refused: fmt.Sprintf(format, args...)}
	}
	c := n.cfg.Cluster
	switch {
	case req.GetClusterId() != c.ClusterID:
		return refuse("the node is configured for cluster %q, not %q", c.ClusterID, req.GetClusterId())
	case req.GetNodeId() != c.NodeID:
		return refuse("this is node %d, not node %d", c.NodeID, req.GetNodeId())
	case n.admitted():
		return refuse("the node is a member of a cluster already")
	}
	if err := n.noteInvitation(req.GetRpcAddr(), req.GetVotesIn()); err != nil {
		return refuse("%v", err)
	}
	return &nodev1.InviteResponse{}
}

// maxInvitations bounds the addresses that a node which belongs to no cluster remembers.
const maxInvitations = 4

// noteInvitation remembers who has invited this node and in which groups it is to vote, over restarts: a node that starts again before
// it is a member would otherwise look for nobody, or join with a vote in every group.
func (n *Node) noteInvitation(addr string, votesIn []uint64) error {
	n.becoming.Lock()
	defer n.becoming.Unlock()
	id := n.who()
	switch id.State {
	case stateMember, stateRemoved, stateDamaged:
		return errors.New("the node has a cluster already")
	}
	known := slices.Contains(id.Invited.Addresses, addr)
	if known && slices.Equal(id.Invited.VotesIn, votesIn) {
		return nil
	}
	invited := invitation{Addresses: id.Invited.Addresses, VotesIn: votesIn}
	if !known {
		// One that leads nowhere must not keep others out: the newest few count.
		invited.Addresses = append(slices.Clone(invited.Addresses[max(0, len(invited.Addresses)-maxInvitations+1):]), addr)
	}
	id.Invited = invited
	return n.keep(id)
}

// invitedTo lists the groups in which the newest invitation gives this node a vote; none is all.
func (n *Node) invitedTo() []uint64 { return n.who().Invited.VotesIn }

// heardOf reports whether a replica said anything lately: to Raft, or when it was asked how it is. Two nodes
// that lead nothing have only the latter from each other.
func (n *Node) heardOf(replica ident.ReplicaID) bool {
	manager := n.engine()
	if replica == n.self() || manager != nil && manager.Live(replica) {
		return true
	}
	_, fresh := n.gossip.get(replica)
	return fresh
}

// leaderLook is how often a forwarded proposal that is not answered looks whether the group has another leader.
const leaderLook = 50 * time.Millisecond

// whileLeading returns a context that ends when this node hears of another leader of the group: the one that
// was asked may hang, and the same proposal can be made again at the new one under its request id. The
// function frees what belongs to it.
func (p clusterPeers) whileLeading(ctx context.Context, group shard.GroupID, leader ident.ReplicaID) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	var look func()
	look = func() {
		switch now := p.manager.Leader(group); {
		case ctx.Err() != nil:
		case now != 0 && now != leader:
			cancel()
		default:
			time.AfterFunc(leaderLook, look)
		}
	}
	first := time.AfterFunc(leaderLook, look)
	return ctx, func() {
		first.Stop()
		cancel()
	}
}

// errRemoved is how a node ends that is no member any more.
var errRemoved = errors.New("this node was removed from the cluster; start it with an empty data directory to join again")

// noticeRemoval ends the node once it was taken out and every group has let it go. Until then it goes on
// replicating: the groups may need its vote to change their members.
func (n *Node) noticeRemoval() {
	if n.network == nil || !n.gossip.removed.Load() && !n.recordedAsRemoved() {
		return
	}
	if !n.letGo() {
		return
	}
	id := n.who()
	id.State = stateRemoved
	if err := n.become(id); err != nil {
		n.logger.Warn("the removal could not be recorded; it is noticed again at the next start", slog.Any("error", err))
	}
	n.fail(errRemoved)
}

func (n *Node) recordedAsRemoved() bool {
	m, ok := n.catalog.Current().Member(n.self())
	return ok && m.Removed
}

// letGo reports whether the leader of every group says that this replica does not belong to it.
func (n *Node) letGo() bool {
	self := uint64(n.self())
	gone := map[uint64]bool{}
	for _, m := range n.catalog.Current().Members() {
		info, fresh := n.gossip.get(m.Replica)
		if !fresh || m.Replica == n.self() {
			continue
		}
		for _, g := range info.GetGroups() {
			if g.GetState() == "leader" {
				gone[g.GetGroup()] = !slices.Contains(g.GetVoters(), self) && !slices.Contains(g.GetLearners(), self)
			}
		}
	}
	for _, id := range n.who().Shards.Groups() {
		if !gone[uint64(id)] {
			return false
		}
	}
	return true
}

// keepDrained hands over what elections brought to a node that is draining.
func (n *Node) keepDrained(ctx context.Context) {
	manager := n.engine()
	if manager == nil || !manager.Draining() || manager.LeaderCount() == 0 {
		return
	}
	bound, cancel := context.WithTimeout(ctx, housePeriod)
	defer cancel()
	if err := manager.Drain(bound); err != nil {
		n.logger.Debug("leaderships stay for now", slog.Any("error", err))
	}
}
