// Package admin carries out what operators ask of a cluster: move leaderships, drain a node, take a node out
// or invite one in, cut logs.
//
// Cluster is the main type. It runs on the node that received the statement, finds out which nodes are
// concerned, passes each its part as an order and collects the outcomes. It keeps no state: every operation
// can be repeated from any node, and one that was interrupted is finished by repeating it. What an order does
// to one node's replicas is the replication engine's affair; who is a member is recorded by the meta group,
// and the leaders of the groups follow that record by themselves.
//
// An operation waits until its effect is there, within a bound of its own; the outcome of a group says so when
// it is not. The package knows nodes only through the Nodes interface. Only server builds a Cluster, and it is
// reached through the CLUSTER statements alone.
package admin

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/executor"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/sql/exec"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
	nodev1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/node/v1"
)

// Nodes reaches the nodes of the cluster, this one included. Errors say that a node could not be asked, or
// that it is not known how far an order went.
type Nodes interface {
	// Self is this node's replica.
	Self() ident.ReplicaID
	// Live reports whether a replica was heard of lately, or answers now.
	Live(ctx context.Context, replica ident.ReplicaID) bool
	// Groups asks a replica's node how its groups are now.
	Groups(ctx context.Context, replica ident.ReplicaID) ([]*nodev1.GroupStatus, error)
	// Operate has a replica's node carry out an order.
	Operate(ctx context.Context, replica ident.ReplicaID, req *nodev1.OperateRequest) (*nodev1.OperateResponse, error)
	// Info asks the node at an address, which need not be a member, who it is.
	Info(ctx context.Context, addr string) (*nodev1.GetNodeInfoResponse, error)
	// Invite asks the node at an address to join through this one, with a vote in some groups only, or in all for none.
	Invite(ctx context.Context, addr string, node ident.NodeID, votesIn []uint64) (*nodev1.InviteResponse, error)
}

// Config is what a Cluster works with. All fields are required.
type Config struct {
	Catalog      *catalog.Store
	Executor     executor.CommandExecutor
	Nodes        Nodes
	Clock        clock.Clock
	SnapshotsDir string // shown in answers: where this node keeps the state that snapshots are made of
}

// Cluster carries out operations. Its methods may be called from any goroutine.
type Cluster struct{ cfg Config }

// New makes a Cluster.
func New(cfg Config) *Cluster { return &Cluster{cfg: cfg} }

// Bounds of one operation, and the pause between two looks at what is awaited.
const (
	orderPatience = 20 * time.Second // one order on one node
	leavePatience = 25 * time.Second // until every group has let a node go
	joinPatience  = 25 * time.Second // until an invited node is a member
	lookPause     = 50 * time.Millisecond
	backPatience  = 2 * time.Second // until a drain is taken back
	maxAttempts   = 5               // orders to leaders that moved meanwhile
)

// Operate implements exec.ClusterAdmin.
func (c *Cluster) Operate(ctx context.Context, order exec.ClusterOrder) ([]exec.ClusterOutcome, error) {
	if _, err := c.cfg.Executor.Barrier(ctx, shard.Meta); err != nil && order.Action != parse.ClusterTriggerElection {
		return nil, err
	}
	groups, err := c.groups(order.Groups)
	if err != nil {
		return nil, err
	}
	switch order.Action {
	case parse.ClusterTransferLeader:
		return c.transfer(ctx, order.Node, groups)
	case parse.ClusterStepdown:
		return c.stepDown(ctx, order, groups)
	case parse.ClusterTriggerElection:
		return c.elect(ctx, groups)
	case parse.ClusterRebalance:
		return c.rebalance(ctx, order.DryRun, groups)
	case parse.ClusterSnapshot:
		return c.everywhere(ctx, &nodev1.OperateRequest{Order: nodev1.Order_ORDER_SNAPSHOT, Groups: numbers(groups)})
	case parse.ClusterPurge:
		return c.everywhere(ctx, &nodev1.OperateRequest{
			Order: nodev1.Order_ORDER_PURGE, Groups: numbers(groups), Upto: order.Upto,
		})
	case parse.ClusterClear:
		// A snapshot is made of the store while it is sent, and its files become part of the store when it is
		// installed: nothing is ever left to clear.
		return []exec.ClusterOutcome{{SnapshotsDir: &c.cfg.SnapshotsDir}}, nil
	case parse.ClusterDrain:
		return c.drain(ctx, order.Node, nodev1.Order_ORDER_DRAIN)
	case parse.ClusterResume:
		return c.drain(ctx, order.Node, nodev1.Order_ORDER_RESUME)
	case parse.ClusterJoin:
		return c.join(ctx, order, groups)
	case parse.ClusterLeave:
		if order.Groups != nil {
			return c.observe(ctx, order.Node, groups)
		}
		return c.leave(ctx, order.Node)
	case parse.ClusterRetain, parse.ClusterList, parse.ClusterStatus:
	}
	return nil, fault.New(fault.InvalidStatement, "read system.cluster and system.cluster_groups instead")
}

// groups checks a selection; nil selects all.
func (c *Cluster) groups(selected []shard.GroupID) ([]shard.GroupID, error) {
	cluster := c.cfg.Catalog.Current().Cluster()
	if cluster == nil {
		return nil, fault.New(fault.Unavailable, "the cluster is not founded yet; try again")
	}
	all := cluster.Shards.Groups()
	if selected == nil {
		return all, nil
	}
	for _, id := range selected {
		if !slices.Contains(all, id) {
			return nil, fault.New(fault.InvalidStatement, "group %d does not exist; system.cluster_groups lists all groups", uint64(id))
		}
	}
	return selected, nil
}

// member finds a live member by its node number; zero is this node.
func (c *Cluster) member(node ident.NodeID) (*catalog.Member, error) {
	for _, m := range c.cfg.Catalog.Current().Members() {
		if !m.Removed && (m.Node == node || node == 0 && m.Replica == c.cfg.Nodes.Self()) {
			return m, nil
		}
	}
	return nil, fault.New(fault.NotFound, "node %d is not a member; system.cluster lists all members", uint64(node))
}

// members lists the members that are not removed.
func (c *Cluster) members() []*catalog.Member {
	return slices.DeleteFunc(slices.Clone(c.cfg.Catalog.Current().Members()), func(m *catalog.Member) bool { return m.Removed })
}

// live lists the members that are there.
func (c *Cluster) live(ctx context.Context) []*catalog.Member {
	return slices.DeleteFunc(c.members(), func(m *catalog.Member) bool { return !c.cfg.Nodes.Live(ctx, m.Replica) })
}

// node is the number of the node that a replica belongs to, nil when it is not known.
func (c *Cluster) node(replica uint64) *ident.NodeID {
	if m, ok := c.cfg.Catalog.Current().Member(ident.ReplicaID(replica)); ok {
		return &m.Node
	}
	return nil
}

// report is one node's view of its groups.
type report struct {
	replica ident.ReplicaID
	groups  []*nodev1.GroupStatus
}

// survey asks every live member how its groups are; who does not answer is left out.
func (c *Cluster) survey(ctx context.Context) []report {
	members := c.live(ctx)
	found := make([]report, len(members))
	var asking sync.WaitGroup
	for i, m := range members {
		asking.Go(func() {
			if groups, err := c.cfg.Nodes.Groups(ctx, m.Replica); err == nil {
				found[i] = report{replica: m.Replica, groups: groups}
			}
		})
	}
	asking.Wait()
	return slices.DeleteFunc(found, func(r report) bool { return r.groups == nil })
}

// leaders says who leads each group: of all that say so, the one with the highest term.
func (c *Cluster) leaders(ctx context.Context) map[shard.GroupID]ident.ReplicaID {
	leaders, terms := map[shard.GroupID]ident.ReplicaID{}, map[shard.GroupID]uint64{}
	for _, r := range c.survey(ctx) {
		for _, g := range r.groups {
			id := shard.GroupID(g.GetGroup())
			if g.GetState() == "leader" && g.GetTerm() > terms[id] {
				leaders[id], terms[id] = r.replica, g.GetTerm()
			}
		}
	}
	return leaders
}

// ask has one node carry out an order. A node that cannot be asked gives the same error for every group.
func (c *Cluster) ask(ctx context.Context, to ident.ReplicaID, req *nodev1.OperateRequest) []*nodev1.OperateOutcome {
	bound, cancel := context.WithTimeout(ctx, orderPatience)
	defer cancel()
	response, err := c.cfg.Nodes.Operate(bound, to, req)
	failure := response.GetRefused()
	if err != nil {
		failure = err.Error()
	}
	if failure == "" && len(response.GetOutcomes()) == len(req.GetGroups()) {
		return response.GetOutcomes()
	}
	if failure == "" {
		failure = fmt.Sprintf("the node answered for %d of %d groups", len(response.GetOutcomes()), len(req.GetGroups()))
	}
	outcomes := make([]*nodev1.OperateOutcome, len(req.GetGroups()))
	for i, group := range req.GetGroups() {
		outcomes[i] = &nodev1.OperateOutcome{Group: group, Error: failure}
	}
	return outcomes
}

// askLeaders passes an order to the leaders of the groups, again where a failure may pass soon, and
// returns one outcome for each group, in their order, with who led it when it was asked.
func (c *Cluster) askLeaders(ctx context.Context, groups []shard.GroupID, req *nodev1.OperateRequest) ([]*nodev1.OperateOutcome, map[shard.GroupID]ident.ReplicaID) {
	done := map[shard.GroupID]*nodev1.OperateOutcome{}
	asked := map[shard.GroupID]ident.ReplicaID{}
	pending := groups
	for attempt := 0; attempt < maxAttempts && len(pending) > 0 && ctx.Err() == nil; attempt++ {
		if attempt > 0 {
			c.pause(ctx, lookPause<<attempt)
		}
		byLeader := map[ident.ReplicaID][]shard.GroupID{}
		leaders := c.leaders(ctx)
		for _, id := range pending {
			done[id] = &nodev1.OperateOutcome{Group: uint64(id), Error: "no node says that it leads the group", Again: true}
			if leader, ok := leaders[id]; ok {
				byLeader[leader] = append(byLeader[leader], id)
				asked[id] = leader
			}
		}
		for _, outcome := range c.askEach(ctx, byLeader, req) {
			done[shard.GroupID(outcome.GetGroup())] = outcome
		}
		pending = slices.DeleteFunc(slices.Clone(pending), func(id shard.GroupID) bool { return !done[id].GetAgain() })
	}
	outcomes := make([]*nodev1.OperateOutcome, len(groups))
	for i, id := range groups {
		outcomes[i] = done[id]
	}
	return outcomes, asked
}

// askEach asks several nodes at once, each about its groups.
func (c *Cluster) askEach(ctx context.Context, byNode map[ident.ReplicaID][]shard.GroupID, req *nodev1.OperateRequest) []*nodev1.OperateOutcome {
	var mu sync.Mutex // guards all
	var all []*nodev1.OperateOutcome
	var asking sync.WaitGroup
	for replica, groups := range byNode {
		asking.Go(func() {
			outcomes := c.ask(ctx, replica, &nodev1.OperateRequest{
				Order: req.GetOrder(), Groups: numbers(groups), Target: req.GetTarget(), Upto: req.GetUpto(), DryRun: req.GetDryRun(),
			})
			mu.Lock()
			all = append(all, outcomes...)
			mu.Unlock()
		})
	}
	asking.Wait()
	return all
}

// pause waits, or until ctx ends.
func (c *Cluster) pause(ctx context.Context, d time.Duration) {
	_ = clock.Pause(ctx, c.cfg.Clock, d) // whoever calls it looks at ctx next
}

func numbers(groups []shard.GroupID) []uint64 {
	raw := make([]uint64, len(groups))
	for i, id := range groups {
		raw[i] = uint64(id)
	}
	return raw
}
