package applier

import (
	"slices"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// ordered carries out an order about members in the cluster that it is of. In one that was recovered meanwhile, orders of the lost cluster may
// come that one survivor had applied and another has in its log only: they find the members as the lost cluster had them, are answered as it answered, and
// change what is known of it. None of this cluster's own members comes, goes, or gets or loses a vote by them.
//
// Orders come in the order of their clusters: the first of one ends that any of an earlier one may come.
func (c *metaCall) ordered(uid []byte, carryOut func() (*commandv1.Response, error)) (*commandv1.Response, error) {
	cluster := c.Cluster()
	if cluster == nil {
		return carryOut()
	}
	earlier := 0
	if len(uid) > 0 {
		earlier = slices.IndexFunc(append(slices.Clone(cluster.Lost), cluster.UID), func(known ident.ClusterUID) bool {
			return string(known[:]) == string(uid)
		})
	}
	if earlier < 0 {
		return command.Refuse(fault.InvalidStatement, "the order is of another cluster"), nil
	}
	if err := c.forgetLost(earlier); err != nil {
		return nil, err
	}
	c.late = len(c.Cluster().Lost) > 0
	return carryOut()
}

// forgetLost forgets the oldest clusters that this one was recovered from.
func (c *metaCall) forgetLost(count int) error {
	if count == 0 {
		return nil
	}
	cluster := *c.Cluster()
	cluster.Lost = slices.Clone(cluster.Lost[count:])
	if err := c.putCluster(&cluster); err != nil {
		return err
	}
	for _, m := range c.Editor.Members() {
		kept := *m
		kept.Lost = slices.Clone(m.Lost[count:])
		if err := c.putMember(&kept); err != nil {
			return err
		}
	}
	return nil
}

// Members are those of the cluster that the command is of.
func (c *metaCall) Members() []*catalog.Member {
	all := c.Editor.Members()
	if !c.late {
		return all
	}
	then := make([]*catalog.Member, len(all))
	for i, m := range all {
		then[i] = m.With(m.Lost[0])
	}
	return then
}

// Member returns a member of the cluster that the command is of.
func (c *metaCall) Member(replica ident.ReplicaID) (*catalog.Member, bool) {
	return among(c.Members(), func(m *catalog.Member) bool { return m.Replica == replica })
}

// MemberByStore returns the member with a data directory of the cluster that the command is of.
func (c *metaCall) MemberByStore(store ident.StoreID) (*catalog.Member, bool) {
	return among(c.Members(), func(m *catalog.Member) bool { return m.Store == store })
}

func among(members []*catalog.Member, is func(*catalog.Member) bool) (*catalog.Member, bool) {
	if i := slices.IndexFunc(members, is); i >= 0 {
		return members[i], true
	}
	return nil, false
}

// ofLost is the record of a member of which an order of a lost cluster says something.
func (c *metaCall) ofLost(said *catalog.Member) *catalog.Member {
	standing, lost := catalog.Gone(), slices.Repeat([]catalog.Standing{catalog.Gone()}, len(c.Cluster().Lost))
	if now, ok := c.Editor.Member(said.Replica); ok {
		standing, lost = now.Standing(), slices.Clone(now.Lost)
	}
	lost[0] = said.Standing()
	record := said.With(standing)
	record.Lost = lost
	return record
}
