package catalog

import (
	"slices"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/shard"
)

// This file is about members of clusters that lost their majority. Of the survivors one may have applied what another has in its log only, and
// applies later, as a member of the recovered cluster. For both to come to the same state and the same answers, the recovered cluster
// remembers what the lost one said of its members; orders of the lost one go by that, and change nothing else.

// Standing is what a cluster says of a member beside who it is.
type Standing struct {
	Replaces ident.ReplicaID
	Removed  bool
	Observes []shard.GroupID
}

// Gone is the standing of a member of a lost cluster in the recovered one, unless it survived. In whose place it came is told by none.
func Gone() Standing { return Standing{Removed: true} }

// Standing is what this cluster says of the member.
func (m *Member) Standing() Standing { return Standing{m.Replaces, m.Removed, m.Observes} }

// With returns the member with another standing.
func (m *Member) With(s Standing) *Member {
	changed := *m
	changed.Replaces, changed.Removed, changed.Observes = s.Replaces, s.Removed, s.Observes
	return &changed
}

// Recovered returns the cluster that survivors make of the lost one, and its members, removed ones included. Where the picture has another uid
// than the lost one, it is what a recovery that was not finished has made of it, which ran as a cluster never.
func (c *Catalog) Recovered(lost, uid ident.ClusterUID, survivors []ident.ReplicaID) (*Cluster, []*Member) {
	cluster, whole := *c.cluster, c.cluster.UID == lost
	if whole {
		cluster.Lost = append(slices.Clone(cluster.Lost), lost)
	}
	cluster.UID = uid
	var members []*Member
	for _, m := range c.Members() {
		standing := Gone()
		if slices.Contains(survivors, m.Replica) {
			standing = Standing{Replaces: m.Replaces}
		}
		recovered := m.With(standing)
		if whole {
			recovered.Lost = append(slices.Clone(m.Lost), m.Standing())
		}
		members = append(members, recovered)
	}
	return &cluster, members
}
