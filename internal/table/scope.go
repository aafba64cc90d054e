package table

import (
	"errors"

	"github.com/kalamdb/kalamdb-go/internal/cold"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	"github.com/kalamdb/kalamdb-go/internal/storage/rowvalue"
)

// Scope says which rows exist for a scan: those of one table and, when it is a user table, of one user.
// Every key of the scan starts with it.
type Scope struct {
	Group shard.GroupID
	Table *schema.Table
	User  ident.UserID // empty for shared tables
	// Cold reads the rows that lie in segments. Nil is good for scopes without any; with some, reading fails.
	Cold *cold.Store
}

// View returns the cold rows of the scope in a picture of the store, nil when there are none.
func (s *Scope) View(reader storage.Reader) (*cold.View, error) {
	return s.Cold.View(reader, s.Group, s.Table, s.User)
}

// LiveSeq returns the _seq of the live row under a key, zero for none. The reader must be one picture of the store.
func (s *Scope) LiveSeq(reader storage.Reader, primaryKey []byte) (seq uint64, err error) {
	value, ok, err := reader.Get(keys.Row(s.Group, s.Table.ID, s.User, primaryKey))
	if err != nil {
		return 0, err
	}
	var deleted bool
	if ok {
		seq, deleted, _, err = rowvalue.Decode(value)
	} else {
		seq, deleted, err = s.coldVersion(reader, primaryKey)
	}
	if err != nil || deleted {
		return 0, err
	}
	return seq, nil
}

// coldVersion finds the newest cold version of a key; its _seq is zero when there is none.
func (s *Scope) coldVersion(reader storage.Reader, primaryKey []byte) (seq uint64, deleted bool, err error) {
	view, err := s.View(reader)
	if err != nil || view == nil {
		return 0, false, err
	}
	found, err := view.Find(primaryKey, nil)
	if err != nil || found == nil {
		return 0, false, err
	}
	defer func() { err = errors.Join(err, found.Close()) }()
	if deleted, err = found.Deleted(); err != nil {
		return 0, false, err
	}
	seq, err = found.Seq()
	return seq, deleted, err
}

// UserScope is the scope of one user's rows of a user table, or of those that this node has of a node-local one.
func UserScope(t *schema.Table, shards shard.Map, user ident.UserID) Scope {
	if t.NodeLocal() {
		return Scope{Group: shard.Local, Table: t, User: user}
	}
	return Scope{Group: shards.RouteUser(user), Table: t, User: user}
}

// SharedScope is the scope of all rows of a shared table.
func SharedScope(t *schema.Table) Scope {
	return Scope{Group: t.Group, Table: t}
}
