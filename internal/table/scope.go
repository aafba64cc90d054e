package table

import (
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/shard"
)

// Scope says which rows exist for a scan: those of one table and, when it is a user table, of one user.
// Every key of the scan starts with it.
type Scope struct {
	Group shard.GroupID
	Table *schema.Table
	User  ident.UserID // empty for shared tables
}

// UserScope is the scope of one user's rows of a user table.
func UserScope(t *schema.Table, shards shard.Map, user ident.UserID) Scope {
	return Scope{Group: shards.RouteUser(user), Table: t, User: user}
}

// SharedScope is the scope of all rows of a shared table.
func SharedScope(t *schema.Table) Scope {
	return Scope{Group: t.Group, Table: t}
}
