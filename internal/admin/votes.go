package admin

import (
	"context"
	"slices"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/sql/exec"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
	nodev1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/node/v1"
)

// This file is JOIN and LEAVE of some groups. A node has a replica of every group as long as it is a member, since it runs any
// statement itself; what it can have of some groups and not of others is the vote. Without it the node observes the group: it has
// all entries and serves all reads, leads nothing and is not counted. What is recorded stays until another JOIN or LEAVE.

// knowsVotes refuses orders that a member of an earlier version would not understand.
func (c *Cluster) knowsVotes() error {
	if c.cfg.Catalog.Current().Cluster().LogFormat < command.VotesFormat {
		return fault.New(fault.Unavailable, "a member runs an earlier version, or has not said yet which it runs, and earlier versions do not know votes by group")
	}
	return nil
}

// observe takes a member's vote in some groups. Leaderships move first: a leader does not give up its own vote.
func (c *Cluster) observe(ctx context.Context, node ident.NodeID, groups []shard.GroupID) ([]exec.ClusterOutcome, error) {
	member, err := c.member(node)
	if err != nil {
		return nil, err
	}
	if err := c.knowsVotes(); err != nil {
		return nil, err
	}
	if err := c.enoughVoters(ctx, member, groups, true); err != nil {
		return nil, err
	}
	if err := c.changeVotes(ctx, member.Replica, groups, false); err != nil {
		return nil, err
	}
	replica := uint64(member.Replica)
	return c.awaitEach(ctx, leavePatience, member, groups, "the node still votes in the group; it goes on by itself",
		func(_ *report, g *nodev1.GroupStatus) bool { return !slices.Contains(g.GetVoters(), replica) }), nil
}

// enoughVoters refuses to take a member's vote where those that keep theirs could not write: half of them, or more, are silent. What
// counts is who votes now, not who is to. With all, a group of which nobody says who votes is refused too.
func (c *Cluster) enoughVoters(ctx context.Context, member *catalog.Member, groups []shard.GroupID, all bool) error {
	voters := map[shard.GroupID][]uint64{}
	terms := map[shard.GroupID]uint64{}
	for _, r := range c.survey(ctx) {
		for _, g := range r.groups {
			if id := shard.GroupID(g.GetGroup()); g.GetState() == "leader" && g.GetTerm() > terms[id] {
				voters[id], terms[id] = g.GetVoters(), g.GetTerm()
			}
		}
	}
	live := map[uint64]bool{}
	for _, m := range c.live(ctx) {
		live[uint64(m.Replica)] = true
	}
	for _, id := range groups {
		now, known := voters[id]
		if !known && all {
			return fault.New(fault.Unavailable, "no node says that it leads group %d, so that nobody knows who votes in it", uint64(id))
		}
		if !slices.Contains(now, uint64(member.Replica)) {
			continue
		}
		stay, alive := 0, 0
		for _, m := range c.members() {
			if raw := uint64(m.Replica); m.Replica != member.Replica && m.Votes(id) && slices.Contains(now, raw) {
				stay++
				if live[raw] {
					alive++
				}
			}
		}
		if alive*2 <= stay {
			return fault.New(fault.InvalidStatement, "node %d must keep its vote in group %d: of the %d other nodes that vote there now, %d are alive, "+
				"and nothing could be written any more", uint64(member.Node), uint64(id), stay, alive)
		}
	}
	return nil
}

// vote gives a member the votes in groups that it lacks. Its rows are nil when the order names no groups: then the JOIN is about
// the node.
func (c *Cluster) vote(ctx context.Context, replica ident.ReplicaID, groups []shard.GroupID, named bool) ([]exec.ClusterOutcome, error) {
	if _, err := c.cfg.Executor.Barrier(ctx, shard.Meta); err != nil {
		return nil, err
	}
	member, ok := c.cfg.Catalog.Current().Member(replica)
	if !ok || member.Removed {
		return nil, fault.New(fault.NotFound, "replica %d is not a member", uint64(replica))
	}
	if slices.ContainsFunc(groups, func(id shard.GroupID) bool { return !member.Votes(id) }) {
		if err := c.changeVotes(ctx, replica, groups, true); err != nil {
			return nil, err
		}
	}
	if !named {
		return nil, nil
	}
	return c.awaitEach(ctx, joinPatience, member, groups, "the node does not vote in the group yet; it goes on by itself once it has caught up",
		func(_ *report, g *nodev1.GroupStatus) bool { return slices.Contains(g.GetVoters(), uint64(replica)) }), nil
}

func (c *Cluster) changeVotes(ctx context.Context, replica ident.ReplicaID, groups []shard.GroupID, votes bool) error {
	order := &commandv1.ChangeVotes{ReplicaId: uint64(replica), Groups: numbers(groups), Votes: votes}
	if cluster := c.cfg.Catalog.Current().Cluster(); cluster != nil {
		order.ClusterUid = cluster.UID[:]
	}
	_, err := c.cfg.Executor.Execute(ctx, shard.Meta, &commandv1.Command{Body: &commandv1.Command_ChangeVotes{ChangeVotes: order}})
	return err
}
