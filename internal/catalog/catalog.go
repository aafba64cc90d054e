package catalog

import (
	"encoding/hex"
	"slices"
	"sync/atomic"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/session"
	"github.com/kalamdb/kalamdb-go/internal/shard"
)

// Cluster is the identity of the cluster and its division into groups.
type Cluster struct {
	UID           ident.ClusterUID
	ID            string
	Shards        shard.Map
	RequestWindow uint64 // entries for which requests are remembered; zero is the default
	FoundedMicros int64
	LogFormat     uint32             // of log entries that every member reads; zero is one command in an entry
	Lost          []ident.ClusterUID // see Recovered
}

// Member is one data directory that takes, or took, part in the cluster.
type Member struct {
	Replica      ident.ReplicaID
	Node         ident.NodeID
	Store        ident.StoreID
	RPCAddr      string
	APIAddr      string
	Replaces     ident.ReplicaID // zero when it came as a new node
	Removed      bool            // it left, or its node came back with another store
	JoinedMicros int64
	Observes     []shard.GroupID // groups in which its replica has no vote, ascending; a published one is never changed
	Lost         []Standing      // what each of the cluster's Lost says of it
}

// Votes reports whether the member is to vote in a group.
func (m *Member) Votes(group shard.GroupID) bool {
	return !m.Removed && !slices.Contains(m.Observes, group)
}

// Namespace is a named set of tables.
type Namespace struct {
	Name          string
	Options       map[string]string
	CreatedMicros int64
}

// User is an account. Times are microseconds since 1970 UTC; zero means never.
type User struct {
	ID                ident.UserID
	PasswordHash      string // bcrypt; empty never logs in
	Role              session.Role
	Email             string
	AuthType          string // password, oauth or internal
	AuthData          string // JSON for oauth
	FailedLogins      uint32 // consecutive ones
	LockedUntilMicros int64
	LastLoginMicros   int64
	CreatedMicros     int64
	UpdatedMicros     int64
	DeletedMicros     int64
	Families          []TokenFamily // of refresh tokens that were used; the oldest first
}

// TokenFamily is what came of one login: each refresh replaces the refresh token before it.
type TokenFamily struct {
	ID            [16]byte
	Serial        uint32 // of the newest token
	RotatedMicros int64
	ExpiresMicros int64
	Revoked       bool
}

// Family returns a family of refresh tokens that were used.
func (u *User) Family(id [16]byte) (TokenFamily, bool) {
	for i := range u.Families {
		if u.Families[i].ID == id {
			return u.Families[i], true
		}
	}
	return TokenFamily{}, false
}

// Deleted reports whether the account was dropped.
func (u *User) Deleted() bool { return u.DeletedMicros != 0 }

// LocalStorage is the storage that is always there: a directory below each node's own data path.
const LocalStorage = "local"

// Templates of the directories of tables below the base directory of a storage.
const (
	DefaultSharedTemplate = "{namespace}/{tableName}"
	DefaultUserTemplate   = "{namespace}/{tableName}/{userId}"
)

// Storage is a place for the files of tables. Times are microseconds since 1970 UTC.
type Storage struct {
	ID             string
	Name           string
	Description    string
	Type           string // filesystem
	BaseDirectory  string // empty for LocalStorage: below the data path of the node
	Credentials    string // JSON; may be empty
	Config         string // JSON; may be empty
	SharedTemplate string
	UserTemplate   string
	CreatedMicros  int64
	UpdatedMicros  int64
}

// Cleanup is a dropped table whose rows are still to be purged from the data groups.
type Cleanup struct {
	Table         *schema.Table
	DroppedMicros int64
}

// Groups lists the data groups that may hold rows of the table.
func (c *Cleanup) Groups(shards shard.Map) []shard.GroupID {
	if c.Table.Group != 0 {
		return []shard.GroupID{c.Table.Group}
	}
	groups := make([]shard.GroupID, 0, shards.UserShards)
	for n := range shards.UserShards {
		groups = append(groups, shard.UserShard(n))
	}
	return groups
}

// Catalog is one picture. It and everything reached through it is never changed.
type Catalog struct {
	index       uint64
	cluster     *Cluster
	lastReplica ident.ReplicaID
	members     tree[ident.ReplicaID, *Member]
	namespaces  tree[string, *Namespace]
	tables      tree[ident.TableID, *schema.Table]
	tableNames  tree[string, *schema.Table]
	users       tree[ident.UserID, *User]
	cleanups    tree[ident.TableID, *Cleanup]
	storages    tree[string, *Storage]
	views       tree[string, *View]
	deleted     int // users that are deleted
}

// Index is the meta group's applied index of the picture.
func (c *Catalog) Index() uint64 { return c.index }

// Cluster returns the cluster's identity, nil before the cluster is founded.
func (c *Catalog) Cluster() *Cluster { return c.cluster }

// Owner is the word by which the cluster knows its own files; empty before it is founded.
func (c *Catalog) Owner() string {
	if c.cluster == nil {
		return ""
	}
	return hex.EncodeToString(c.cluster.UID[:])
}

// LastReplica is the highest replica id that was handed out.
func (c *Catalog) LastReplica() ident.ReplicaID { return c.lastReplica }

// Member returns a member by replica id, removed ones included.
func (c *Catalog) Member(replica ident.ReplicaID) (*Member, bool) { return c.members.get(replica) }

// Members lists the members by replica id, removed ones included.
func (c *Catalog) Members() []*Member { return c.members.values() }

// MemberByStore returns the member with a data directory, removed ones included.
func (c *Catalog) MemberByStore(store ident.StoreID) (*Member, bool) {
	for _, m := range c.members.values() {
		if m.Store == store {
			return m, true
		}
	}
	return nil, false
}

// Namespace returns a namespace by name.
func (c *Catalog) Namespace(name string) (*Namespace, bool) { return c.namespaces.get(name) }

// Namespaces lists the namespaces by name.
func (c *Catalog) Namespaces() []*Namespace { return c.namespaces.values() }

// Table returns a table by its namespace and name.
func (c *Catalog) Table(namespace, name string) (*schema.Table, bool) {
	return c.tableNames.get(tableName(namespace, name))
}

// TableByID returns a table that is not dropped.
func (c *Catalog) TableByID(id ident.TableID) (*schema.Table, bool) { return c.tables.get(id) }

// Tables lists the tables by namespace and name.
func (c *Catalog) Tables() []*schema.Table { return c.tableNames.values() }

// TablesIn lists the tables of a namespace by name.
func (c *Catalog) TablesIn(namespace string) []*schema.Table {
	var list []*schema.Table
	c.tableNames.ascend(tableName(namespace, ""), func(_ string, t *schema.Table) bool {
		if t.Namespace != namespace {
			return false
		}
		list = append(list, t)
		return true
	})
	return list
}

// User returns an account that is not deleted.
func (c *Catalog) User(id ident.UserID) (*User, bool) {
	u, ok := c.users.get(id)
	if !ok || u.Deleted() {
		return nil, false
	}
	return u, true
}

// UserOrDeleted returns an account even when it was dropped.
func (c *Catalog) UserOrDeleted(id ident.UserID) (*User, bool) { return c.users.get(id) }

// Users lists the accounts by id, with the deleted ones if asked.
func (c *Catalog) Users(withDeleted bool) []*User {
	if withDeleted {
		return c.users.values()
	}
	list := make([]*User, 0, c.users.size-c.deleted)
	eachNode(c.users.root, func(u *User) {
		if !u.Deleted() {
			list = append(list, u)
		}
	})
	return list
}

// UserCount is the number of accounts that are not deleted.
func (c *Catalog) UserCount() int { return c.users.size - c.deleted }

// Cleanup returns the pending cleanup of a dropped table.
func (c *Catalog) Cleanup(id ident.TableID) (*Cleanup, bool) { return c.cleanups.get(id) }

// Cleanups lists the pending cleanups by table id.
func (c *Catalog) Cleanups() []*Cleanup { return c.cleanups.values() }

// Storage returns a storage by id. The local one is always there.
func (c *Catalog) Storage(id string) (*Storage, bool) {
	if found, ok := c.storages.get(id); ok || id != LocalStorage {
		return found, ok
	}
	return c.localStorage(), true
}

// Storages lists the storages by id, the local one first.
func (c *Catalog) Storages() []*Storage {
	stored := c.storages.values()
	if _, ok := c.storages.get(LocalStorage); ok {
		return stored
	}
	return append([]*Storage{c.localStorage()}, stored...)
}

// localStorage has no record until it is altered: it came with the cluster.
func (c *Catalog) localStorage() *Storage {
	local := &Storage{
		ID: LocalStorage, Name: "Local storage", Type: "filesystem",
		Description: "The directory storage below the data path of each node", SharedTemplate: DefaultSharedTemplate,
		UserTemplate: DefaultUserTemplate,
	}
	if c.cluster != nil {
		local.CreatedMicros, local.UpdatedMicros = c.cluster.FoundedMicros, c.cluster.FoundedMicros
	}
	return local
}

// StorageUser returns a table that uses a storage, nil when none does. A table that names none uses the local one.
func (c *Catalog) StorageUser(id string) *schema.Table {
	for _, t := range c.tableNames.values() {
		used := t.Options["STORAGE_ID"]
		if used == "" {
			used = LocalStorage
		}
		if used == id {
			return t
		}
	}
	return nil
}

// tableName orders tables by namespace, then name; names hold no zero byte.
func tableName(namespace, name string) string { return namespace + "\x00" + name }

// Store holds the newest published picture. It is safe for concurrent use; readers never wait.
type Store struct {
	current atomic.Pointer[Catalog]
}

// NewStore returns a store with an empty picture at index zero.
func NewStore() *Store {
	s := &Store{}
	s.current.Store(&Catalog{})
	return s
}

// Current returns the newest published picture; never nil.
func (s *Store) Current() *Catalog { return s.current.Load() }

// Index is the index of the newest published picture.
func (s *Store) Index() uint64 { return s.Current().index }

// Publish makes a picture the newest. Only the meta state machine calls it, in order, after the batch
// that holds the picture's keys is committed.
func (s *Store) Publish(c *Catalog) { s.current.Store(c) }
