package raftlog

import (
	"errors"
	"fmt"

	"github.com/kalamdb/kalamdb-go/internal/shard"
)

// The errors a caller can branch on.
var (
	// ErrClosed is returned by every call after Close.
	ErrClosed = errors.New("raftlog: closed")
	// ErrNoSpare means that the next segment could not be prepared because the disk is full. Nothing of what was asked is acknowledged; the log stays usable and the call may be repeated.
	ErrNoSpare = errors.New("raftlog: no room for another segment")
	// ErrEntryTooLarge means that an entry exceeds Config.MaxEntryBytes. Nothing was written.
	ErrEntryTooLarge = errors.New("raftlog: entry too large")
	// ErrInvalidUpdate means that an update breaks a rule of Raft or leaves a gap: the caller is wrong.
	// Nothing of that call was written.
	ErrInvalidUpdate = errors.New("raftlog: invalid update")
	// ErrWrongStore means that the directory belongs to another store.
	ErrWrongStore = errors.New("raftlog: log of another store")
)

// errSegmentGone tells a reader that the segment was freed while it looked: the entry has moved.
var errSegmentGone = errors.New("raftlog: segment freed")

// DamageError says that bytes which were durable cannot be read back. Nothing was changed on disk.
type DamageError struct {
	Segment uint64          // sequence number of the segment; zero when it is not one segment's fault
	Offset  int64           // position in the segment in bytes
	Groups  []shard.GroupID // groups known to be affected; empty when any group may be
	Reason  string          // one phrase
}

// Error implements error.
func (e *DamageError) Error() string {
	text := fmt.Sprintf("raftlog: damaged at segment %d, offset %d: %s", e.Segment, e.Offset, e.Reason)
	if len(e.Groups) > 0 {
		text += fmt.Sprintf(" (groups %v)", e.Groups)
	}
	return text
}
