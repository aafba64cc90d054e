package admin

import (
	"context"
	"slices"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/sql/exec"
	nodev1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/node/v1"
)

// transfer makes one node the leader of groups. The balancer leaves them there for a while.
func (c *Cluster) transfer(ctx context.Context, node ident.NodeID, groups []shard.GroupID) ([]exec.ClusterOutcome, error) {
	target, err := c.member(node)
	if err != nil {
		return nil, err
	}
	if !c.cfg.Nodes.Live(ctx, target.Replica) {
		return nil, fault.New(fault.Unavailable, "node %d is not heard of", uint64(target.Node))
	}
	c.hold(ctx, []*catalog.Member{target}, groups)
	outcomes, _ := c.askLeaders(ctx, groups, &nodev1.OperateRequest{
		Order: nodev1.Order_ORDER_TRANSFER, Target: uint64(target.Replica),
	})
	return c.rows(outcomes), nil
}

// hold tells nodes to leave groups where they are. A node that does not hear it moves them back in time,
// which does no harm.
func (c *Cluster) hold(ctx context.Context, members []*catalog.Member, groups []shard.GroupID) {
	byNode := map[ident.ReplicaID][]shard.GroupID{}
	for _, m := range members {
		byNode[m.Replica] = groups
	}
	c.askEach(ctx, byNode, &nodev1.OperateRequest{Order: nodev1.Order_ORDER_HOLD})
}

// stepDown makes the leaders of the selected groups hand over; without a selection, one node hands over
// everything that it leads.
func (c *Cluster) stepDown(ctx context.Context, order exec.ClusterOrder, groups []shard.GroupID) ([]exec.ClusterOutcome, error) {
	if order.Groups == nil || order.Node != 0 {
		from, err := c.member(order.Node)
		if err != nil {
			return nil, err
		}
		leaders := c.leaders(ctx)
		groups = slices.DeleteFunc(slices.Clone(groups), func(id shard.GroupID) bool { return leaders[id] != from.Replica })
	}
	c.hold(ctx, c.live(ctx), groups)
	outcomes, _ := c.askLeaders(ctx, groups, &nodev1.OperateRequest{Order: nodev1.Order_ORDER_STEP_DOWN})
	return c.rows(outcomes), nil
}

// elect makes this node stand for election.
func (c *Cluster) elect(ctx context.Context, groups []shard.GroupID) ([]exec.ClusterOutcome, error) {
	self, err := c.member(0)
	if err != nil {
		return nil, err
	}
	c.hold(ctx, []*catalog.Member{self}, groups)
	return c.rows(c.ask(ctx, self.Replica, &nodev1.OperateRequest{
		Order: nodev1.Order_ORDER_ELECT, Groups: numbers(groups),
	})), nil
}

// rebalance moves what the balancer would move, at once, or says what that is. Groups that stay are left out.
func (c *Cluster) rebalance(ctx context.Context, dry bool, groups []shard.GroupID) ([]exec.ClusterOutcome, error) {
	outcomes, asked := c.askLeaders(ctx, groups, &nodev1.OperateRequest{Order: nodev1.Order_ORDER_REBALANCE, DryRun: dry})
	outcomes = slices.DeleteFunc(outcomes, func(o *nodev1.OperateOutcome) bool {
		return o.GetError() == "" && o.GetTarget() == uint64(asked[shard.GroupID(o.GetGroup())])
	})
	return c.rows(outcomes), nil
}

// drain makes a node give all its leaderships away and take none, or take them again.
func (c *Cluster) drain(ctx context.Context, node ident.NodeID, order nodev1.Order) ([]exec.ClusterOutcome, error) {
	member, err := c.member(node)
	if err != nil {
		return nil, err
	}
	outcome := exec.ClusterOutcome{Target: &member.Node}
	bound, cancel := context.WithTimeout(ctx, orderPatience)
	defer cancel()
	response, err := c.cfg.Nodes.Operate(bound, member.Replica, &nodev1.OperateRequest{Order: order})
	outcome.Error = response.GetRefused()
	if err != nil {
		outcome.Error = err.Error()
	}
	return []exec.ClusterOutcome{outcome}, nil
}

// everywhere has every member carry out an order; one that is not live has a row that says so.
func (c *Cluster) everywhere(ctx context.Context, req *nodev1.OperateRequest) ([]exec.ClusterOutcome, error) {
	var rows []exec.ClusterOutcome
	for _, m := range c.members() {
		if !c.cfg.Nodes.Live(ctx, m.Replica) {
			rows = append(rows, exec.ClusterOutcome{Target: &m.Node, Error: "the node is not heard of"})
			continue
		}
		for _, o := range c.ask(ctx, m.Replica, req) {
			group := shard.GroupID(o.GetGroup())
			row := exec.ClusterOutcome{Group: &group, Error: o.GetError(), Target: &m.Node}
			switch {
			case o.GetError() != "":
			case req.GetOrder() == nodev1.Order_ORDER_PURGE:
				row.Upto = new(o.GetIndex())
			default:
				row.SnapshotIndex = new(o.GetIndex())
				if m.Replica == c.cfg.Nodes.Self() {
					row.SnapshotsDir = &c.cfg.SnapshotsDir
				}
			}
			rows = append(rows, row)
		}
	}
	return rows, nil
}

// rows turns the outcomes of groups into an answer.
func (c *Cluster) rows(outcomes []*nodev1.OperateOutcome) []exec.ClusterOutcome {
	rows := make([]exec.ClusterOutcome, len(outcomes))
	for i, o := range outcomes {
		group := shard.GroupID(o.GetGroup())
		rows[i] = exec.ClusterOutcome{Group: &group, Error: o.GetError(), Target: c.node(o.GetTarget())}
	}
	return rows
}
