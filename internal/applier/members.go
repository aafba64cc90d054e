package applier

import (
	"fmt"
	"slices"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// bootNamespaces exist from the first moment of a cluster.
var bootNamespaces = [...]string{"dba", "default"}

// found gives the cluster its identity, its division into groups and its first member, once. Repeating it with the same
// identity answers with the member's replica id again.
func (c *metaCall) found(body *commandv1.Found) (*commandv1.Response, error) {
	cluster, err := catalog.ClusterFromProto(&commandv1.Cluster{
		ClusterUid:    body.GetClusterUid(),
		ClusterId:     body.GetClusterId(),
		UserShards:    body.GetUserShards(),
		SharedShards:  body.GetSharedShards(),
		FoundedMicros: c.now,
		RequestWindow: body.GetRequestWindow(),
	})
	if err != nil {
		return command.Refuse(fault.InvalidStatement, "the cluster cannot be founded: %v", err), nil
	}
	first, refusal := c.checkMember(body.GetMember())
	if refusal != nil {
		return refusal, nil
	}
	if existing := c.Cluster(); existing != nil {
		return c.foundAgain(existing, cluster, first), nil
	}
	if refusal = checkFirstTables(body.GetTables()); refusal != nil {
		return refusal, nil
	}
	if err = c.putCluster(cluster); err != nil {
		return nil, err
	}
	for _, name := range bootNamespaces {
		if err = c.putNamespace(&catalog.Namespace{Name: name, CreatedMicros: c.now}); err != nil {
			return nil, err
		}
	}
	for place, stored := range body.GetTables() {
		if err = c.putFirstTable(place, stored); err != nil {
			return nil, err
		}
	}
	response, err := c.admitMember(first)
	if err != nil {
		return nil, err
	}
	response.Message = fmt.Sprintf("Cluster '%s' founded successfully", cluster.ID)
	return response, nil
}

// checkFirstTables refuses tables that a cluster cannot begin with.
func checkFirstTables(tables []*commandv1.Table) *commandv1.Response {
	names := map[string]bool{}
	for _, stored := range tables {
		table, err := catalog.TableFromProto(stored)
		switch {
		case err != nil:
			return command.Refuse(fault.InvalidStatement, "the cluster cannot be founded: %v", err)
		case table.Kind != schema.KindShared || !slices.Contains(bootNamespaces[:], table.Namespace) || names[table.FullName()]:
			return command.Refuse(fault.InvalidStatement, "the cluster cannot be founded with table '%s': it is not shared, there twice, or in "+
				"a namespace that is not there", table.FullName())
		}
		names[table.FullName()] = true
	}
	return nil
}

// putFirstTable makes a table that was checked.
func (c *metaCall) putFirstTable(place int, stored *commandv1.Table) error {
	table, err := catalog.TableFromProto(stored)
	if err != nil {
		return err
	}
	table.ID = ident.ReservedTable(place)
	c.begin(table)
	return c.putTable(table)
}

func (c *metaCall) foundAgain(existing, cluster *catalog.Cluster, first *catalog.Member) *commandv1.Response {
	member, known := c.MemberByStore(first.Store)
	uid := existing.UID
	if len(existing.Lost) > 0 {
		uid = existing.Lost[0] // nobody founds one that was recovered
	}
	if uid != cluster.UID || existing.Shards != cluster.Shards || existing.RequestWindow != cluster.RequestWindow || !known {
		return command.Refuse(fault.AlreadyExists, "the cluster already exists: '%s' (%s)", existing.ID, uid)
	}
	response := done("Cluster '%s' already exists", existing.ID)
	response.ObjectId = uint64(member.Replica)
	return response
}

// addMember lets a data directory take part. A directory that is known keeps its replica id and may change its
// addresses; a new one takes the place of every other directory of its node.
func (c *metaCall) addMember(body *commandv1.AddMember) (*commandv1.Response, error) {
	if c.Cluster() == nil {
		return notFounded(), nil
	}
	wanted, refusal := c.checkMember(body.GetMember())
	if refusal != nil {
		return refusal, nil
	}
	known, ok := c.MemberByStore(wanted.Store)
	switch {
	case !ok && body.GetLogFormat() < c.Cluster().LogFormat:
		return command.Refuse(fault.InvalidStatement, "the logs of this cluster have format %d, the program of node %d reads %d; "+
			"start the node with the version that the cluster runs", c.Cluster().LogFormat, wanted.Node, body.GetLogFormat()), nil
	case !ok:
		if refusal := c.observeOutside(wanted, body.GetVotesIn()); refusal != nil {
			return refusal, nil
		}
		return c.admitMember(wanted)
	case known.Node != wanted.Node:
		return command.Refuse(fault.InvalidStatement, "the data directory belongs to node %d, not to node %d",
			known.Node, wanted.Node), nil
	case known.Removed:
		return command.Refuse(fault.PermissionDenied,
			"the data directory was removed from the cluster and may not join again; start the node with an empty one"), nil
	}
	response := done("Node %d is a member already", known.Node)
	response.ObjectId = uint64(known.Replica)
	if known.RPCAddr == wanted.RPCAddr && known.APIAddr == wanted.APIAddr {
		return response, nil
	}
	moved := *known
	moved.RPCAddr, moved.APIAddr = wanted.RPCAddr, wanted.APIAddr
	return response, c.putMember(&moved)
}

// checkMember reads the identity and addresses of a member; all else is decided here.
func (c *metaCall) checkMember(body *commandv1.Member) (*catalog.Member, *commandv1.Response) {
	member, err := catalog.MemberFromProto(body)
	if err != nil {
		return nil, command.Refuse(fault.InvalidStatement, "the member cannot join: %v", err)
	}
	if member.Node == 0 || member.Store.IsZero() {
		return nil, command.Refuse(fault.InvalidStatement, "the member cannot join: it has no node id or no store id")
	}
	return &catalog.Member{
		Node:         member.Node,
		Store:        member.Store,
		RPCAddr:      member.RPCAddr,
		APIAddr:      member.APIAddr,
		JoinedMicros: c.now,
	}, nil
}

// admitMember lets a new directory take the place of every other one of its node.
func (c *metaCall) admitMember(member *catalog.Member) (*commandv1.Response, error) {
	for _, other := range c.Members() {
		if other.Node != member.Node || other.Removed {
			continue
		}
		// The newest directory that is replaced is named; older ones were replaced by it.
		member.Replaces = other.Replica
		// A new disk gives a node no vote that was taken from it, and takes none.
		member.Observes = other.Observes
		removed := *other
		removed.Removed = true
		if err := c.putMember(&removed); err != nil {
			return nil, err
		}
	}
	return c.recordMember(member)
}

// recordMember hands out the next replica id.
func (c *metaCall) recordMember(member *catalog.Member) (*commandv1.Response, error) {
	member.Replica = c.LastReplica() + 1
	c.SetLastReplica(member.Replica)
	if err := setSequence(c.batch, catalog.SequenceReplica, uint64(member.Replica)); err != nil {
		return nil, err
	}
	if err := c.putMember(member); err != nil {
		return nil, err
	}
	response := done("Node %d joined as replica %d", member.Node, member.Replica)
	response.ObjectId = uint64(member.Replica)
	return response, nil
}

// raiseLogFormat lets leaders write log entries of a format that every member reads. There is no way back.
func (c *metaCall) raiseLogFormat(body *commandv1.RaiseLogFormat) (*commandv1.Response, error) {
	if c.Cluster() == nil {
		return notFounded(), nil
	}
	if body.GetLogFormat() > command.LogFormat {
		return nil, fmt.Errorf("the logs of the cluster get format %d; this program reads %d", body.GetLogFormat(), command.LogFormat)
	}
	if body.GetLogFormat() <= c.Cluster().LogFormat {
		return done("The logs have format %d already", c.Cluster().LogFormat), nil
	}
	if last := c.LastReplica(); uint64(last) != body.GetLastReplica() {
		return command.Refuse(fault.Conflict, "replica %d has joined since the members were asked which logs they read", last), nil
	}
	raised := *c.Cluster()
	raised.LogFormat = body.GetLogFormat()
	return done("The logs have format %d", raised.LogFormat), c.putCluster(&raised)
}

// removeMember takes a data directory out for ever.
func (c *metaCall) removeMember(body *commandv1.RemoveMember) (*commandv1.Response, error) {
	replica := ident.ReplicaID(body.GetReplicaId())
	member, ok := c.Member(replica)
	if !ok {
		return command.Refuse(fault.NotFound, "Replica %d not found", replica), nil
	}
	response := done("Replica %d removed successfully", replica)
	response.ObjectId = uint64(replica)
	if member.Removed {
		return response, nil
	}
	left := 0
	for _, other := range c.Members() {
		if !other.Removed {
			left++
		}
	}
	if left == 1 {
		return command.Refuse(fault.InvalidStatement, "Replica %d is the last member and cannot be removed", replica), nil
	}
	if refusal := c.otherVoter(member, c.shards().Groups()); refusal != nil {
		return refusal, nil
	}
	removed := *member
	removed.Removed = true
	return response, c.putMember(&removed)
}

func notFounded() *commandv1.Response {
	return command.Refuse(fault.InvalidStatement, "the cluster is not founded")
}

// shards is the division of the cluster; it is founded.
func (c *metaCall) shards() shard.Map { return c.Cluster().Shards }
