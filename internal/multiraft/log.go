package multiraft

import (
	raftpb "go.etcd.io/raft/v3/raftpb"

	"github.com/kalamdb/kalamdb-go/internal/multiraft/raftlog"
	"github.com/kalamdb/kalamdb-go/internal/shard"
)

// Log is what the engine keeps entries and votes in: raftlog, or pairlog as its fallback. Both keep the promises of
// package raftlog, and report with its errors; raftlogtest holds both to them.
type Log interface {
	// Append makes updates durable, all of them or none; without sync, commit indexes alone may be lost by a crash.
	// It returns raftlog.ErrNoSpare when there is no room and nothing happened; other errors of the disk are final.
	Append(updates []raftlog.Update, sync bool) error
	// Truncate drops the entries of a group up to an index, which a crash may bring back.
	Truncate(group shard.GroupID, upto uint64) error
	// Flush makes everything durable.
	Flush() error
	// MaxEntryBytes is the largest data of an entry.
	MaxEntryBytes() int64
	// Group returns the log of one group, an empty one when nothing was written for it.
	Group(group shard.GroupID) GroupLog
}

// GroupLog is the log of one group as far as it is durable. Its methods may be called by any goroutine.
type GroupLog interface {
	HardState() raftlog.HardState
	// Marker is the position just before the first entry.
	Marker() raftlog.Marker
	// FirstIndex is the index of the first entry, or the one that it will have; LastIndex is one less when there is none.
	FirstIndex() uint64
	LastIndex() uint64
	// Bytes is about the size of the entries.
	Bytes() uint64
	// Term and Entries are those of raft.Storage, with its errors. Who cannot read what was durable says so with a
	// *raftlog.DamageError.
	Term(index uint64) (uint64, error)
	Entries(lo, hi, maxBytes uint64) ([]*raftpb.Entry, error)
}

// OwnLog is a Log with what is for whoever opened it.
type OwnLog interface {
	Log
	Stats() raftlog.Stats
	Close() error
}

// keeper is an OwnLog that gives its groups out as what they are.
type keeper[G GroupLog] interface {
	Append(updates []raftlog.Update, sync bool) error
	Truncate(group shard.GroupID, upto uint64) error
	Flush() error
	MaxEntryBytes() int64
	Group(group shard.GroupID) G
	Stats() raftlog.Stats
	Close() error
}

// LogOf makes an OwnLog of a *raftlog.Log or a *pairlog.Log.
func LogOf[G GroupLog](log keeper[G]) OwnLog { return kept[G]{log} }

type kept[G GroupLog] struct{ keeper[G] }

// Group implements Log.
func (k kept[G]) Group(group shard.GroupID) GroupLog { return k.keeper.Group(group) }
