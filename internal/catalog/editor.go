package catalog

import (
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/schema"
)

// Editor makes the next picture. It starts from one and leaves it as it is. The values it is given belong to the
// catalog from then on; a changed object is a new value, never the old one written to. An Editor belongs to one
// goroutine.
type Editor struct {
	Catalog // the picture so far; every accessor shows the edits
}

// Edit starts an editor from a picture.
func (c *Catalog) Edit() *Editor { return &Editor{Catalog: *c} }

// Picture returns the picture as it is now. The editor may go on; the returned picture does not change.
func (e *Editor) Picture() *Catalog {
	picture := e.Catalog
	return &picture
}

// SetIndex sets the applied index of the meta group.
func (e *Editor) SetIndex(index uint64) { e.index = index }

// SetCluster sets the cluster's identity.
func (e *Editor) SetCluster(cluster *Cluster) { e.cluster = cluster }

// SetLastReplica sets the highest replica id that was handed out.
func (e *Editor) SetLastReplica(replica ident.ReplicaID) { e.lastReplica = replica }

// SetMember adds or replaces a member.
func (e *Editor) SetMember(m *Member) { e.members = e.members.set(m.Replica, m) }

// SetNamespace adds or replaces a namespace.
func (e *Editor) SetNamespace(n *Namespace) { e.namespaces = e.namespaces.set(n.Name, n) }

// DeleteNamespace removes a namespace; its tables are removed by the caller.
func (e *Editor) DeleteNamespace(name string) { e.namespaces = e.namespaces.remove(name) }

// SetTable adds or replaces a table; its name may have changed.
func (e *Editor) SetTable(t *schema.Table) {
	e.DeleteTable(t.ID)
	e.tables = e.tables.set(t.ID, t)
	e.tableNames = e.tableNames.set(tableName(t.Namespace, t.Name), t)
}

// DeleteTable removes a table.
func (e *Editor) DeleteTable(id ident.TableID) {
	if old, ok := e.tables.get(id); ok {
		e.tables = e.tables.remove(id)
		e.tableNames = e.tableNames.remove(tableName(old.Namespace, old.Name))
	}
}

// SetUser adds or replaces an account.
func (e *Editor) SetUser(u *User) {
	if old, ok := e.users.get(u.ID); ok && old.Deleted() {
		e.deleted--
	}
	if u.Deleted() {
		e.deleted++
	}
	e.users = e.users.set(u.ID, u)
}

// DeleteUser removes an account for good.
func (e *Editor) DeleteUser(id ident.UserID) {
	if old, ok := e.users.get(id); ok {
		if old.Deleted() {
			e.deleted--
		}
		e.users = e.users.remove(id)
	}
}

// SetCleanup adds a pending cleanup.
func (e *Editor) SetCleanup(c *Cleanup) { e.cleanups = e.cleanups.set(c.Table.ID, c) }

// DeleteCleanup removes a cleanup that is done.
func (e *Editor) DeleteCleanup(id ident.TableID) { e.cleanups = e.cleanups.remove(id) }

// SetStorage adds or replaces a storage.
func (e *Editor) SetStorage(s *Storage) { e.storages = e.storages.set(s.ID, s) }

// DeleteStorage removes a storage.
func (e *Editor) DeleteStorage(id string) { e.storages = e.storages.remove(id) }
