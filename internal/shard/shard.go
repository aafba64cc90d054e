// Package shard says which Raft group holds a row.
//
// A cluster has one meta group, N user-data shards and M shared-data shards. The counts are chosen once,
// when the cluster is founded, and stored (Map); configuration that disagrees with the stored map is
// refused, because another count would move users. A user's private rows live in the shard picked by a
// documented hash of the user id; a shared table lives in the shard recorded in its descriptor at
// CREATE TABLE.
//
// Everything here is pure and deterministic; every layer above the vocabulary may import it.
package shard

import (
	"fmt"
	"strconv"

	"github.com/cespare/xxhash/v2"

	"github.com/kalamdb/kalamdb-go/internal/ident"
)

// GroupID identifies one Raft group. The numbers are part of the disk and wire formats.
type GroupID uint64

// Meta is the group of the catalog, users, members and jobs.
const Meta GroupID = 10

// Local is the group of rows that are not replicated. Every node has one of its own under this number, with nobody else in
// it; no shard map lists it.
const Local GroupID = 300

// Group number bases. Shards 0 to 99 use the short range; later shards continue in the long one, so
// that no user shard ever collides with a shared shard.
const (
	userShort   = 100
	sharedShort = 200
	userLong    = 100_000
	sharedLong  = 200_000
	shortShards = 100

	// MaxShards is the largest number of shards of one class.
	MaxShards = 10_000
)

// Class is the kind of state a group holds.
type Class uint8

// The classes of groups.
const (
	ClassMeta Class = iota + 1
	ClassUser
	ClassShared
	ClassLocal
)

// String prints the class as metrics and views show it.
func (c Class) String() string {
	switch c {
	case ClassMeta:
		return "meta"
	case ClassUser:
		return "user_data"
	case ClassShared:
		return "shared_data"
	case ClassLocal:
		return "local_data"
	}
	return "unknown"
}

// UserShard returns the group of user shard n.
func UserShard(n uint32) GroupID { return numbered(n, userShort, userLong) }

// SharedShard returns the group of shared shard n.
func SharedShard(n uint32) GroupID { return numbered(n, sharedShort, sharedLong) }

func numbered(n uint32, short, long GroupID) GroupID {
	if n < shortShards {
		return short + GroupID(n)
	}
	return long + GroupID(n)
}

// Decompose returns the class and shard number of a group; ok is false for a number that names none.
func (g GroupID) Decompose() (class Class, n uint32, ok bool) {
	switch {
	case g == Meta:
		return ClassMeta, 0, true
	case g == Local:
		return ClassLocal, 0, true
	case g >= userShort && g < userShort+shortShards:
		return ClassUser, uint32(g - userShort), true
	case g >= sharedShort && g < sharedShort+shortShards:
		return ClassShared, uint32(g - sharedShort), true
	case g >= userLong+shortShards && g < userLong+MaxShards:
		return ClassUser, uint32(g - userLong), true
	case g >= sharedLong+shortShards && g < sharedLong+MaxShards:
		return ClassShared, uint32(g - sharedLong), true
	}
	return 0, 0, false
}

// Class returns the class of a group, zero for a number that names none.
func (g GroupID) Class() Class {
	class, _, _ := g.Decompose()
	return class
}

// String prints the group as logs and views name it: meta, data:user:07, data:shared:00.
func (g GroupID) String() string {
	class, n, ok := g.Decompose()
	switch {
	case !ok:
		return "group:" + strconv.FormatUint(uint64(g), 10)
	case class == ClassUser:
		return fmt.Sprintf("data:user:%02d", n)
	case class == ClassShared:
		return fmt.Sprintf("data:shared:%02d", n)
	case class == ClassLocal:
		return "data:local"
	}
	return "meta"
}

// Map is the stored division of a cluster into groups. It never changes after the cluster is founded.
type Map struct {
	UserShards   uint32 // at least 1
	SharedShards uint32 // at least 1
}

// Default is the division of a new cluster whose configuration says nothing.
func Default() Map { return Map{UserShards: 32, SharedShards: 1} }

// Validate reports the first count that is out of range.
func (m Map) Validate() error {
	if m.UserShards < 1 || m.UserShards > MaxShards {
		return fmt.Errorf("user_shards = %d: want 1 to %d", m.UserShards, MaxShards)
	}
	if m.SharedShards < 1 || m.SharedShards > MaxShards {
		return fmt.Errorf("shared_shards = %d: want 1 to %d", m.SharedShards, MaxShards)
	}
	return nil
}

// Groups lists all groups, meta first, then user shards, then shared shards, in ascending shard number.
func (m Map) Groups() []GroupID {
	groups := make([]GroupID, 0, 1+m.UserShards+m.SharedShards)
	groups = append(groups, Meta)
	for n := range m.UserShards {
		groups = append(groups, UserShard(n))
	}
	for n := range m.SharedShards {
		groups = append(groups, SharedShard(n))
	}
	return groups
}

// RouteUser returns the group that holds the private rows of a user: XXH64 (seed 0) of the id's bytes,
// modulo the number of user shards. The hash is specified at https://xxhash.com and never changes.
func (m Map) RouteUser(user ident.UserID) GroupID {
	return UserShard(uint32(xxhash.Sum64String(string(user)) % uint64(m.UserShards)))
}

// RouteTable returns the group that a shared table is placed in when it is created. The choice is
// recorded in the table's descriptor, which is what later statements follow.
func (m Map) RouteTable(table ident.TableID) GroupID {
	return SharedShard(m.TableShard(table))
}

// TableShard returns the shared shard number that RouteTable uses.
func (m Map) TableShard(table ident.TableID) uint32 {
	return uint32(uint64(table) % uint64(m.SharedShards))
}
