package statemachine

import (
	"fmt"
	"strings"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
)

// summary prints everything in a picture, a line for each object.
func summary(c *catalog.Catalog) string {
	var b strings.Builder
	fmt.Fprintf(&b, "index %d, last replica %d\n", c.Index(), c.LastReplica())
	if cluster := c.Cluster(); cluster != nil {
		fmt.Fprintf(&b, "cluster %s %s, %d user shards, %d shared shards, founded %d\n",
			cluster.ID, cluster.UID, cluster.Shards.UserShards, cluster.Shards.SharedShards, cluster.FoundedMicros)
		for _, uid := range cluster.Lost {
			fmt.Fprintf(&b, "recovered from %s\n", uid)
		}
	}
	for _, m := range c.Members() {
		fmt.Fprintf(&b, "member %d: node %d store %s rpc %q api %q", m.Replica, m.Node, m.Store.String()[30:], m.RPCAddr, m.APIAddr)
		if m.Replaces != 0 {
			fmt.Fprintf(&b, " replaces %d", m.Replaces)
		}
		if m.Removed {
			b.WriteString(" removed")
		}
		if len(m.Observes) > 0 {
			fmt.Fprintf(&b, " observes %v", m.Observes)
		}
		for _, s := range m.Lost {
			fmt.Fprintf(&b, "; was: replaces %d removed %v observes %v", s.Replaces, s.Removed, s.Observes)
		}
		b.WriteString("\n")
	}
	for _, n := range c.Namespaces() {
		fmt.Fprintf(&b, "namespace %s %v created %d\n", n.Name, n.Options, n.CreatedMicros)
	}
	for _, t := range c.Tables() {
		fmt.Fprintf(&b, "table %s: id %d %s in group %d version %d next column %d created %d\n",
			t.FullName(), t.ID, t.Kind, t.Group, t.Version, t.NextColumnID, t.CreatedMicros)
	}
	for _, v := range c.Views() {
		fmt.Fprintf(&b, "view %s: %q within %s uses %v version %d created %d updated %d\n",
			v.Name(), v.Query, v.Within, v.Uses, v.Table.Version, v.Table.CreatedMicros, v.Table.UpdatedMicros)
	}
	for _, u := range c.Users(true) {
		fmt.Fprintf(&b, "user %s: %s password %q failed %d locked until %d last login %d updated %d deleted %d\n",
			u.ID, u.Role, u.PasswordHash, u.FailedLogins, u.LockedUntilMicros, u.LastLoginMicros, u.UpdatedMicros, u.DeletedMicros)
	}
	for _, cleanup := range c.Cleanups() {
		fmt.Fprintf(&b, "cleanup %d: %s dropped %d\n", cleanup.Table.ID, cleanup.Table.FullName(), cleanup.DroppedMicros)
	}
	return b.String()
}
