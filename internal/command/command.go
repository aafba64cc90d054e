// Package command is what is replicated: the commands in the log and the responses to them.
//
// It holds the codec, the plain types in which replication hands committed entries to state machines, and
// the small rules both sides must agree on (limits, _seq). It runs nothing: statemachine and applier say what a
// command does, executor stamps and proposes it.
//
// An encoded command or response is one version byte followed by the deterministic protobuf form of the
// message. A command that was ever written keeps its decoder: versions are added, never changed, and
// the golden files in testdata pin the bytes.
//
// The package is deterministic: no clock, no random source, no files, no map order. Callers pass in what
// varies.
package command

import (
	"encoding/binary"

	"github.com/kalamdb/kalamdb-go/internal/ident"
)

// Entry is one committed command on its way into a state machine. Data is owned by the log: a state
// machine that keeps it must copy it. Empty data is an entry without a command (an election's no-op); it
// has a result like any other.
//
// A log entry of a data group may hold several commands (docs/adr/0060-packed-entries.md). They have its index, follow each
// other by position, and all but the last say that more follow.
type Entry struct {
	Index     uint64
	Term      uint64
	RequestID ident.RequestID
	Data      []byte
	Position  int  // of the command in its log entry
	More      bool // the next command is of the same log entry
}

// Outcome is what a state machine did with a run of entries.
type Outcome struct {
	// Results has one deterministic response for each command that was applied. It may be shorter than the
	// run: the first command without a result waits for the meta group (WaitMeta). It never ends within a log entry.
	Results [][]byte
	// WaitMeta is the meta index that must be applied here before the next entry can be; zero when every
	// entry was applied.
	WaitMeta uint64
}

// MaxOrdinal is the largest ordinal of a row in one log entry.
const MaxOrdinal = 1<<16 - 1

// MaxRows is the largest number of rows one command writes.
const MaxRows = MaxOrdinal + 1

// LogFormat is the newest format of log entries that this program reads. Zero is one command in an entry. From PackedFormat on an
// entry may hold several, from RestoreFormat on the rows of a restore carry its token and its origin, from BackupFormat on the record of a
// backup carries one and the purge of a user an index, which earlier programs would overlook. From ScopeFormat on
// a scope tells how far a command went of which some rows leave nothing behind. From FlushFormat on a segment of which all rows
// were changed or removed since they were read is not named. From VotesFormat on a member may be without a vote in some groups.
const (
	PackedFormat  uint32 = 2
	RestoreFormat uint32 = 3
	BackupFormat  uint32 = 4
	ScopeFormat   uint32 = 5
	FlushFormat   uint32 = 6
	VotesFormat   uint32 = 7
	LogFormat            = VotesFormat
)

// Bounds of a log entry that holds several commands. So few bytes cannot hold more rows than there are ordinals.
const (
	MaxPacked      = 256
	MaxPackedBytes = 64 << 10
)

// Seq returns the _seq of the ordinal-th row of the log entry at an index. It is the same on every
// replica and grows along the log. The ordinal is 0 to MaxOrdinal.
func Seq(index uint64, ordinal int) uint64 {
	return index<<16 | uint64(ordinal)&MaxOrdinal //nolint:gosec // not negative
}

// SeqIndex returns the log index that a _seq came from.
func SeqIndex(seq uint64) uint64 { return seq >> 16 }

// NewRequestID lays out a request id: six bytes of wall time (microseconds since 1970 UTC) and ten random
// ones. Ids of later requests sort later, which makes logs readable; uniqueness rests on the random part.
func NewRequestID(nowMicros int64, random [10]byte) ident.RequestID {
	var id ident.RequestID
	// The low 48 bits of the time in units of 16 microseconds reach past the year 2100.
	var stamp [8]byte
	binary.BigEndian.PutUint64(stamp[:], uint64(nowMicros>>4)) //nolint:gosec // bits only
	copy(id[:6], stamp[2:])
	copy(id[6:], random[:])
	return id
}
