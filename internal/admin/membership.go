package admin

import (
	"context"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/sql/exec"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
	nodev1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/node/v1"
)

// leave takes a node out for good: its leaderships are moved away first, then the meta group records that it
// is no member any more, then every group lets it go. A node that is dead is taken out the same way.
func (c *Cluster) leave(ctx context.Context, node ident.NodeID) ([]exec.ClusterOutcome, error) {
	member, err := c.member(node)
	if err != nil {
		if gone := c.removed(node); len(gone) > 0 {
			return c.awaitLeave(ctx, node, gone), nil
		}
		return nil, err
	}
	if err = c.spares(ctx, member); err != nil {
		return nil, err
	}
	if c.cfg.Nodes.Live(ctx, member.Replica) {
		rows, failure := c.drain(ctx, member.Node, nodev1.Order_ORDER_DRAIN)
		if failure != nil || rows[0].Error != "" {
			c.resume(ctx, member)
			return rows, failure
		}
	}
	// While it drained, another one may have been taken out, or died. What comes between this look and the record, the groups' leaders
	// see: they let nobody go whom they cannot spare.
	if _, err = c.cfg.Executor.Barrier(ctx, shard.Meta); err == nil {
		err = c.spares(ctx, member)
	}
	if err == nil {
		err = c.remove(ctx, member)
	}
	if err != nil {
		// If it was recorded all the same, the node leads nothing anyway.
		c.resume(ctx, member)
		return nil, err
	}
	return c.awaitLeave(ctx, member.Node, []ident.ReplicaID{member.Replica}), nil
}

// spares refuses to take a node out whose vote is needed, of the cluster or of a group.
func (c *Cluster) spares(ctx context.Context, member *catalog.Member) error {
	if err := c.mayLeave(ctx, member); err != nil {
		return err
	}
	return c.enoughVoters(ctx, member, c.cfg.Catalog.Current().Cluster().Shards.Groups(), false)
}

// remove records that a member is none any more. The command names no cluster: in one that was recovered, and has given no order since, it could
// be the lost one's.
func (c *Cluster) remove(ctx context.Context, member *catalog.Member) error {
	if len(c.cfg.Catalog.Current().Cluster().Lost) > 0 {
		if err := c.changeVotes(ctx, member.Replica, nil, true); err != nil {
			return err
		}
	}
	_, err := c.cfg.Executor.Execute(ctx, shard.Meta, &commandv1.Command{Body: &commandv1.Command_RemoveMember{
		RemoveMember: &commandv1.RemoveMember{ReplicaId: uint64(member.Replica)},
	}})
	return err
}

// resume takes back a drain that led to nothing; when the node does not hear it, its operator can repeat it.
func (c *Cluster) resume(ctx context.Context, member *catalog.Member) {
	bound, cancel := context.WithTimeout(context.WithoutCancel(ctx), backPatience)
	defer cancel()
	_, _ = c.cfg.Nodes.Operate(bound, member.Replica, &nodev1.OperateRequest{Order: nodev1.Order_ORDER_RESUME}) // see above
}

// removed lists the replicas by which a node was a member once.
func (c *Cluster) removed(node ident.NodeID) []ident.ReplicaID {
	var gone []ident.ReplicaID
	for _, m := range c.cfg.Catalog.Current().Members() {
		if node != 0 && m.Node == node {
			gone = append(gone, m.Replica)
		}
	}
	return gone
}

// mayLeave refuses to take out a node when the ones that stay would have no majority that is alive.
func (c *Cluster) mayLeave(ctx context.Context, member *catalog.Member) error {
	stay, alive := c.stay(ctx, member.Replica)
	if stay == 0 {
		return fault.New(fault.InvalidStatement, "node %d is the only member", uint64(member.Node))
	}
	if alive*2 <= stay {
		return fault.New(fault.InvalidStatement, "node %d cannot leave: of the %d nodes that would stay, %d are alive, "+
			"and nothing could be written any more; start the others or take the dead ones out first", uint64(member.Node), stay, alive)
	}
	return nil
}

// stay counts the members without a replica, and those of them that are alive. Who is recorded as removed stays no more, whoever counts on
// its vote yet.
func (c *Cluster) stay(ctx context.Context, without ident.ReplicaID) (stay, alive int) {
	for _, m := range c.members() {
		if m.Replica == without {
			continue
		}
		stay++
		if c.cfg.Nodes.Live(ctx, m.Replica) {
			alive++
		}
	}
	return stay, alive
}

// awaitLeave waits until every group has let the removed replicas of a node go, and says which have not, and why.
func (c *Cluster) awaitLeave(ctx context.Context, node ident.NodeID, gone []ident.ReplicaID) []exec.ClusterOutcome {
	const slow = "the group has not let the node go yet; it goes on by itself"
	rows := c.awaitEach(ctx, leavePatience, &catalog.Member{Node: node}, c.cfg.Catalog.Current().Cluster().Shards.Groups(), slow,
		func(leader *report, g *nodev1.GroupStatus) bool {
			return !slices.ContainsFunc(gone, func(id ident.ReplicaID) bool {
				return leader.replica == id || slices.Contains(g.GetVoters(), uint64(id)) || slices.Contains(g.GetLearners(), uint64(id))
			})
		})
	stay, alive := c.stay(context.WithoutCancel(ctx), 0)
	for i := range rows {
		if rows[i].Error == slow && alive*2 <= stay {
			rows[i].Error = fmt.Sprintf("the group keeps the node's vote for now, since of the %d nodes that stay %d are alive; "+
				"it lets the node go by itself once more are back, or the dead ones are taken out; until then the node must run", stay, alive)
		}
	}
	return rows
}

// awaitEach waits until the leaders of groups say what is wanted of a member, and says of which groups they do not.
func (c *Cluster) awaitEach(
	ctx context.Context, patience time.Duration, member *catalog.Member, groups []shard.GroupID,
	waits string, wanted func(leader *report, g *nodev1.GroupStatus) bool,
) []exec.ClusterOutcome {
	bound, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		done := map[shard.GroupID]bool{}
		for _, r := range c.survey(bound) {
			for _, g := range r.groups {
				if g.GetState() == "leader" {
					done[shard.GroupID(g.GetGroup())] = wanted(&r, g)
				}
			}
		}
		rows := make([]exec.ClusterOutcome, len(groups))
		waiting := false
		for i, id := range groups {
			rows[i] = exec.ClusterOutcome{Group: &groups[i], Target: &member.Node}
			if !done[id] {
				rows[i].Error, waiting = waits, true
			}
		}
		if !waiting || bound.Err() != nil {
			return rows
		}
		c.pause(bound, lookPause)
	}
}

// join invites a node that runs and belongs to no cluster yet, and waits until it is a member.
func (c *Cluster) join(ctx context.Context, order exec.ClusterOrder, groups []shard.GroupID) ([]exec.ClusterOutcome, error) {
	if _, _, err := net.SplitHostPort(order.RPCAddr); err != nil {
		return nil, fault.New(fault.InvalidStatement, "the address for other nodes, %q, is not host:port", order.RPCAddr)
	}
	if order.Node == 0 {
		return nil, fault.New(fault.InvalidStatement, "a node has a number greater than zero")
	}
	if order.Groups != nil {
		if err := c.knowsVotes(); err != nil {
			return nil, err
		}
	}
	bound, cancel := context.WithTimeout(ctx, joinPatience)
	defer cancel()
	failure := ""
	for {
		info, err := c.cfg.Nodes.Info(bound, order.RPCAddr)
		switch {
		case bound.Err() != nil:
			return []exec.ClusterOutcome{{Target: &order.Node, Error: "the node is not a member yet: " + failure}}, nil
		case err != nil:
			failure = err.Error()
		case info.GetNodeId() != uint64(order.Node):
			return nil, fault.New(fault.InvalidStatement, "the node at %s is node %d", order.RPCAddr, info.GetNodeId())
		case info.GetReplicaId() != 0:
			return c.joined(bound, info, order, groups)
		default:
			// Again and again: a node that starts anew with an empty directory has forgotten.
			failure = c.invite(bound, order)
		}
		c.pause(bound, 4*lookPause)
	}
}

func (c *Cluster) invite(ctx context.Context, order exec.ClusterOrder) (failure string) {
	response, err := c.cfg.Nodes.Invite(ctx, order.RPCAddr, order.Node, numbers(order.Groups))
	switch {
	case err != nil:
		return err.Error()
	case response.GetRefused() != "":
		return response.GetRefused()
	}
	return "it was invited and is joining"
}

// joined answers for a node that is a member of some cluster.
func (c *Cluster) joined(
	ctx context.Context, info *nodev1.GetNodeInfoResponse, order exec.ClusterOrder, groups []shard.GroupID,
) ([]exec.ClusterOutcome, error) {
	var uid ident.ClusterUID
	copy(uid[:], info.GetClusterUid())
	if cluster := c.cfg.Catalog.Current().Cluster(); cluster.UID != uid {
		return nil, fault.New(fault.InvalidStatement, "node %d belongs to another cluster, %q", uint64(order.Node), info.GetClusterId())
	}
	if rows, err := c.vote(ctx, ident.ReplicaID(info.GetReplicaId()), groups, order.Groups != nil); rows != nil || err != nil {
		return rows, err
	}
	outcome := exec.ClusterOutcome{Target: &order.Node}
	if order.APIAddr != "" && order.APIAddr != info.GetApiAddr() {
		outcome.Error = fmt.Sprintf("the node is a member, and says that clients reach it at %s, not at %s",
			info.GetApiAddr(), order.APIAddr)
	}
	return []exec.ClusterOutcome{outcome}, nil
}
