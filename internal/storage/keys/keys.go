// Package keys declares every key of the row store, in one place.
//
// All state belongs to a group, and every key starts with its group, so a group is one contiguous span: it
// is copied, digested and replaced as a unit, and no scan of one group can wander into another. After the
// group comes one byte that says the kind of the key. The bytes order as the values they encode.
//
//	'g' group(8, big-endian) kind(1) rest
//
// Keys outlive the process: they are a format, described in docs/design/formats/keys.md and pinned by the
// golden list in testdata. A kind byte that was ever used keeps its meaning for ever.
//
// The package builds and parses keys only; what the values hold is said by their owners. Functions are pure
// and return fresh slices that the caller owns.
package keys

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/shard"
)

// Root is the first byte of every key that belongs to a group.
const Root byte = 'g'

// Kind is the byte after the group.
type Kind byte

// The kinds of keys. The numbers are part of the disk format.
const (
	KindApplied   Kind = 0x01 // the group's applied state; written by multiraft only
	KindDedup     Kind = 0x02 // index(8): request ids and responses of what was applied there
	KindPurged    Kind = 0x03 // table(8): the table is dropped and its rows are gone
	KindChange    Kind = 0x04 // seq(8): one committed row change; see package changelog
	KindChanges   Kind = 0x05 // where the changes that are kept begin
	KindRetention Kind = 0x06 // how much of the changes is kept
	KindMark      Kind = 0x07 // microseconds(8): how far the log of the group had come at a time
	KindForgotten Kind = 0x08 // the index before which no request is remembered, where the window alone does not say it
	KindRestore   Kind = 0x09 // the highest token under which rows were restored into the group
	KindRow       Kind = 0x10 // table(8) user(escaped) primary key: the newest version of one row
	KindScope     Kind = 0x11 // table(8) user(escaped): the index that last wrote to the scope
	KindIndex     Kind = 0x12 // table(8) index(4) user(escaped) values [primary key]: see IndexEntry
	KindFence     Kind = 0x13 // table(8): the revision before which the table's descriptor may not be written with
	KindManifest  Kind = 0x14 // table(8) user(escaped): where the cold rows of the scope are
	KindCluster   Kind = 0x20 // identity and shard map of the cluster
	KindNamespace Kind = 0x21 // name
	KindTable     Kind = 0x22 // table(8): descriptor
	KindUser      Kind = 0x23 // user id: account
	KindMember    Kind = 0x24 // replica(8): one data directory of the cluster
	KindCleanup   Kind = 0x25 // table(8): rows of a dropped table that are still to be purged
	KindSequence  Kind = 0x26 // name: the last number that was handed out
	KindView      Kind = 0x27 // namespace 00 name: named query
	KindVersion   Kind = 0x28 // table(8) version(4): a descriptor that a newer version replaced
	KindJob       Kind = 0x30 // number(8): a job that has not ended
	KindJobDone   Kind = 0x31 // number(8): a job that has ended
	KindJobKey    Kind = 0x32 // idempotency key: number of the live job that has it
	KindSchedule  Kind = 0x33 // name: schedule
	KindStorage   Kind = 0x40 // storage id: a place for the files of tables
	KindAudit     Kind = 0x41 // number(8): an entry of the audit log
	KindBackup    Kind = 0x48 // number(8) of its job: a backup that was made
)

// The bytes that make a user id prefix-free inside a key without changing its order: a zero byte is
// written as 00 FF and the end as 00 01, which is smaller than any continuation.
const (
	escape     byte = 0x00
	escapedNul byte = 0xff
	terminator byte = 0x01
)

const groupLen = 1 + 8

// errMalformed is wrapped by every parsing error.
var errMalformed = errors.New("malformed key")

// GroupSpan returns the span [lo, hi) of all keys of a group.
func GroupSpan(group shard.GroupID) (lo, hi []byte) {
	lo = groupPrefix(group, 0)
	return lo, PrefixEnd(lo)
}

// Applied is the key of the group's applied state.
func Applied(group shard.GroupID) []byte { return kindPrefix(group, KindApplied, 0) }

// Dedup is the key of the command that was applied at a log index.
func Dedup(group shard.GroupID, index uint64) []byte {
	return binary.BigEndian.AppendUint64(kindPrefix(group, KindDedup, 8), index)
}

// DedupSpan is the span of the commands with low <= index < high.
func DedupSpan(group shard.GroupID, low, high uint64) (lo, hi []byte) {
	return Dedup(group, low), Dedup(group, high)
}

// DedupAll is the span of all remembered commands of a group.
func DedupAll(group shard.GroupID) (lo, hi []byte) {
	lo = kindPrefix(group, KindDedup, 0)
	return lo, PrefixEnd(lo)
}

// Forgotten is the key of where the remembered commands of a group begin.
func Forgotten(group shard.GroupID) []byte { return kindPrefix(group, KindForgotten, 0) }

// Purged is the key of the marker that refuses writes to a dropped table.
func Purged(group shard.GroupID, table ident.TableID) []byte {
	return tableKey(group, KindPurged, table, 0)
}

// PurgedSpan is the span of all markers of a group.
func PurgedSpan(group shard.GroupID) (lo, hi []byte) {
	lo = kindPrefix(group, KindPurged, 0)
	return lo, PrefixEnd(lo)
}

// Change is the key of the change that wrote the version with a _seq.
func Change(group shard.GroupID, seq uint64) []byte {
	return binary.BigEndian.AppendUint64(kindPrefix(group, KindChange, 8), seq)
}

// ChangeSpan is the span of the changes with low <= _seq < high.
func ChangeSpan(group shard.GroupID, low, high uint64) (lo, hi []byte) {
	return Change(group, low), Change(group, high)
}

// ChangesAfter is the span of the changes with a _seq above after.
func ChangesAfter(group shard.GroupID, after uint64) (lo, hi []byte) {
	lo = append(Change(group, after), 0)
	return lo, PrefixEnd(kindPrefix(group, KindChange, 0))
}

// Changes is the key of where the changes of a group begin.
func Changes(group shard.GroupID) []byte { return kindPrefix(group, KindChanges, 0) }

// Retention is the key of how much of the changes of a group is kept.
func Retention(group shard.GroupID) []byte { return kindPrefix(group, KindRetention, 0) }

// Mark is the key of how far the log of a group had come at a time, which is not negative.
func Mark(group shard.GroupID, micros int64) []byte {
	return binary.BigEndian.AppendUint64(kindPrefix(group, KindMark, 8), uint64(micros)) //nolint:gosec // documented: not negative
}

// MarkSpan is the span of all marks of a group.
func MarkSpan(group shard.GroupID) (lo, hi []byte) {
	lo = kindPrefix(group, KindMark, 0)
	return lo, PrefixEnd(lo)
}

// Restore is the key of the highest token under which rows were restored into a group.
func Restore(group shard.GroupID) []byte { return kindPrefix(group, KindRestore, 0) }

// Row is the key of the newest version of one row. User is empty for shared tables; primaryKey is the
// order-preserving encoding of the key value.
func Row(group shard.GroupID, table ident.TableID, user ident.UserID, primaryKey []byte) []byte {
	key := tableKey(group, KindRow, table, len(user)+2+len(primaryKey))
	key = appendUser(key, user)
	return append(key, primaryKey...)
}

// Scope is the key of the index that last wrote to a table of a user (empty for shared tables).
func Scope(group shard.GroupID, table ident.TableID, user ident.UserID) []byte {
	return appendUser(tableKey(group, KindScope, table, len(user)+2), user)
}

// TableSpan is the span of all rows of a table in a group, of every user.
func TableSpan(group shard.GroupID, table ident.TableID) (lo, hi []byte) {
	lo = tableKey(group, KindRow, table, 0)
	return lo, PrefixEnd(lo)
}

// RowSpan is the span of all rows of a group.
func RowSpan(group shard.GroupID) (lo, hi []byte) {
	lo = kindPrefix(group, KindRow, 0)
	return lo, PrefixEnd(lo)
}

// UserTableSpan is the span of one user's rows of a table; the user is empty for shared tables. No key of
// another user lies in it, whatever the user ids hold.
func UserTableSpan(group shard.GroupID, table ident.TableID, user ident.UserID) (lo, hi []byte) {
	lo = Row(group, table, user, nil)
	return lo, PrefixEnd(lo)
}

// ScopeSpan is the span of the scope keys of a table.
func ScopeSpan(group shard.GroupID, table ident.TableID) (lo, hi []byte) {
	lo = tableKey(group, KindScope, table, 0)
	return lo, PrefixEnd(lo)
}

// ScopesSpan is the span of the scope keys of all tables of a group.
func ScopesSpan(group shard.GroupID) (lo, hi []byte) {
	lo = kindPrefix(group, KindScope, 0)
	return lo, PrefixEnd(lo)
}

// IndexEntry is the key of one entry of a secondary index, below which the primary key of the row lies. values is
// the order-preserving encoding of what is indexed. When no other row may have the values, primaryKey is nil and the
// key is theirs alone; else it makes the key the row's own.
func IndexEntry(group shard.GroupID, table ident.TableID, index uint32, user ident.UserID, values, primaryKey []byte) []byte {
	key := indexKey(group, table, index, len(user)+2+len(values)+len(primaryKey))
	key = append(appendUser(key, user), values...)
	return append(key, primaryKey...)
}

// IndexSpan is the span of the entries of an index, of every user.
func IndexSpan(group shard.GroupID, table ident.TableID, index uint32) (lo, hi []byte) {
	lo = indexKey(group, table, index, 0)
	return lo, PrefixEnd(lo)
}

// IndexesSpan is the span of the entries of all indexes of a table.
func IndexesSpan(group shard.GroupID, table ident.TableID) (lo, hi []byte) {
	lo = tableKey(group, KindIndex, table, 0)
	return lo, PrefixEnd(lo)
}

// UserIndexSpan is the span of one user's entries of an index; the user is empty for shared tables.
func UserIndexSpan(group shard.GroupID, table ident.TableID, index uint32, user ident.UserID) (lo, hi []byte) {
	lo = IndexEntry(group, table, index, user, nil, nil)
	return lo, PrefixEnd(lo)
}

// Fence is the key of the revision before which a table's descriptor may not be written with.
func Fence(group shard.GroupID, table ident.TableID) []byte {
	return tableKey(group, KindFence, table, 0)
}

// FenceSpan is the span of all fences of a group.
func FenceSpan(group shard.GroupID) (lo, hi []byte) {
	lo = kindPrefix(group, KindFence, 0)
	return lo, PrefixEnd(lo)
}

// Manifest is the key of the manifest of a table of a user (empty for shared tables).
func Manifest(group shard.GroupID, table ident.TableID, user ident.UserID) []byte {
	return appendUser(tableKey(group, KindManifest, table, len(user)+2), user)
}

// ManifestSpan is the span of the manifests of a table.
func ManifestSpan(group shard.GroupID, table ident.TableID) (lo, hi []byte) {
	lo = tableKey(group, KindManifest, table, 0)
	return lo, PrefixEnd(lo)
}

// ManifestsSpan is the span of all manifests of a group.
func ManifestsSpan(group shard.GroupID) (lo, hi []byte) {
	lo = kindPrefix(group, KindManifest, 0)
	return lo, PrefixEnd(lo)
}

// Cluster is the key of the cluster's identity.
func Cluster() []byte { return kindPrefix(shard.Meta, KindCluster, 0) }

// Namespace is the key of a namespace.
func Namespace(name string) []byte {
	return append(kindPrefix(shard.Meta, KindNamespace, len(name)), name...)
}

// Table is the key of a table descriptor.
func Table(table ident.TableID) []byte { return tableKey(shard.Meta, KindTable, table, 0) }

// Version is the key of a descriptor that a newer version of its table replaced.
func Version(table ident.TableID, version uint32) []byte {
	return binary.BigEndian.AppendUint32(tableKey(shard.Meta, KindVersion, table, 4), version)
}

// VersionSpan is the span of the replaced descriptors of a table.
func VersionSpan(table ident.TableID) (lo, hi []byte) {
	lo = tableKey(shard.Meta, KindVersion, table, 0)
	return lo, PrefixEnd(lo)
}

// User is the key of an account.
func User(user ident.UserID) []byte {
	return append(kindPrefix(shard.Meta, KindUser, len(user)), user...)
}

// Member is the key of a member.
func Member(replica ident.ReplicaID) []byte {
	return binary.BigEndian.AppendUint64(kindPrefix(shard.Meta, KindMember, 8), uint64(replica))
}

// Cleanup is the key of a pending cleanup.
func Cleanup(table ident.TableID) []byte { return tableKey(shard.Meta, KindCleanup, table, 0) }

// Sequence is the key of a sequence.
func Sequence(name string) []byte {
	return append(kindPrefix(shard.Meta, KindSequence, len(name)), name...)
}

// Job is the key of a job that has not ended.
func Job(number uint64) []byte {
	return binary.BigEndian.AppendUint64(kindPrefix(shard.Meta, KindJob, 8), number)
}

// JobDone is the key of a job that has ended.
func JobDone(number uint64) []byte {
	return binary.BigEndian.AppendUint64(kindPrefix(shard.Meta, KindJobDone, 8), number)
}

// JobKey is the key of the live job with an idempotency key.
func JobKey(idempotencyKey string) []byte {
	return append(kindPrefix(shard.Meta, KindJobKey, len(idempotencyKey)), idempotencyKey...)
}

// Schedule is the key of a schedule.
func Schedule(name string) []byte {
	return append(kindPrefix(shard.Meta, KindSchedule, len(name)), name...)
}

// View is the key of a named query. Neither name holds a zero byte.
func View(namespace, name string) []byte {
	key := append(kindPrefix(shard.Meta, KindView, len(namespace)+1+len(name)), namespace...)
	return append(append(key, 0), name...)
}

// Storage is the key of a storage.
func Storage(id string) []byte {
	return append(kindPrefix(shard.Meta, KindStorage, len(id)), id...)
}

// Audit is the key of an entry of the audit log.
func Audit(number uint64) []byte {
	return binary.BigEndian.AppendUint64(kindPrefix(shard.Meta, KindAudit, 8), number)
}

// Backup is the key of what is known of a backup.
func Backup(job uint64) []byte {
	return binary.BigEndian.AppendUint64(kindPrefix(shard.Meta, KindBackup, 8), job)
}

// MetaSpan is the span of all keys of one kind in the meta group.
func MetaSpan(kind Kind) (lo, hi []byte) {
	lo = kindPrefix(shard.Meta, kind, 0)
	return lo, PrefixEnd(lo)
}

// PrefixEnd returns the smallest key that is greater than every key with the prefix; nil, which means no
// bound, when the prefix is nothing but 0xFF.
func PrefixEnd(prefix []byte) []byte {
	for i := len(prefix) - 1; i >= 0; i-- {
		if prefix[i] != 0xff {
			end := append([]byte(nil), prefix[:i+1]...)
			end[i]++
			return end
		}
	}
	return nil
}

func groupPrefix(group shard.GroupID, room int) []byte {
	key := make([]byte, 0, groupLen+room)
	return binary.BigEndian.AppendUint64(append(key, Root), uint64(group))
}

func kindPrefix(group shard.GroupID, kind Kind, room int) []byte {
	return append(groupPrefix(group, 1+room), byte(kind))
}

func tableKey(group shard.GroupID, kind Kind, table ident.TableID, room int) []byte {
	return binary.BigEndian.AppendUint64(kindPrefix(group, kind, 8+room), uint64(table))
}

func indexKey(group shard.GroupID, table ident.TableID, index uint32, room int) []byte {
	return binary.BigEndian.AppendUint32(tableKey(group, KindIndex, table, 4+room), index)
}

func appendUser(key []byte, user ident.UserID) []byte {
	for i := range len(user) {
		if user[i] == escape {
			key = append(key, escape, escapedNul)
			continue
		}
		key = append(key, user[i])
	}
	return append(key, escape, terminator)
}

func malformed(key []byte, what string) error {
	return fmt.Errorf("%w %x: %s", errMalformed, key, what)
}
