package applier

import (
	"slices"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// changeVotes gives a member votes in groups, or takes them away. What is so already stays so.
func (c *metaCall) changeVotes(body *commandv1.ChangeVotes) (*commandv1.Response, error) {
	if c.Cluster() == nil {
		return notFounded(), nil
	}
	replica := ident.ReplicaID(body.GetReplicaId())
	member, ok := c.Member(replica)
	if !ok || member.Removed {
		return command.Refuse(fault.NotFound, "Replica %d not found", replica), nil
	}
	groups, refusal := c.namedGroups(body.GetGroups())
	if refusal != nil {
		return refusal, nil
	}
	changed := *member
	if body.GetVotes() {
		changed.Observes = slices.DeleteFunc(slices.Clone(member.Observes), func(id shard.GroupID) bool { return slices.Contains(groups, id) })
	} else {
		if refusal := c.otherVoter(member, groups); refusal != nil {
			return refusal, nil
		}
		changed.Observes = slices.Concat(member.Observes, groups)
		slices.Sort(changed.Observes)
		changed.Observes = slices.Compact(changed.Observes)
	}
	response := done("Node %d votes in %d of %d groups", member.Node, len(c.shards().Groups())-len(changed.Observes), len(c.shards().Groups()))
	response.ObjectId = uint64(replica)
	if slices.Equal(changed.Observes, member.Observes) {
		return response, nil
	}
	return response, c.putMember(&changed)
}

// otherVoter refuses what would leave one of the groups without anybody who is to vote in it.
func (c *metaCall) otherVoter(member *catalog.Member, groups []shard.GroupID) *commandv1.Response {
	for _, id := range groups {
		others := slices.ContainsFunc(c.Members(), func(m *catalog.Member) bool {
			return m.Replica != member.Replica && m.Votes(id)
		})
		if !others && member.Votes(id) {
			return command.Refuse(fault.InvalidStatement, "node %d is the only one with a vote in group %d", member.Node, uint64(id))
		}
	}
	return nil
}

// observeOutside takes the vote of a new member in all groups but those that are named; none is all.
func (c *metaCall) observeOutside(member *catalog.Member, votesIn []uint64) *commandv1.Response {
	named, refusal := c.namedGroups(votesIn)
	if refusal != nil || len(named) == 0 {
		return refusal
	}
	member.Observes = slices.DeleteFunc(c.shards().Groups(), func(id shard.GroupID) bool { return slices.Contains(named, id) })
	slices.Sort(member.Observes)
	return nil
}

// namedGroups are groups of the cluster that a command names.
func (c *metaCall) namedGroups(numbers []uint64) ([]shard.GroupID, *commandv1.Response) {
	all := c.shards().Groups()
	groups := make([]shard.GroupID, len(numbers))
	for i, number := range numbers {
		groups[i] = shard.GroupID(number)
		if !slices.Contains(all, groups[i]) {
			return nil, command.Refuse(fault.InvalidStatement, "group %d does not exist", number)
		}
	}
	return groups, nil
}
