// Package changefeed carries committed row changes from the state machines to those who watch.
//
// Feed takes the changes of every group after they are committed, in apply order, and keeps the newest of
// them in a bounded buffer for each group that somebody watches. A Reader walks them without copying.
// Publishing never waits: a reader that falls behind the buffer, or whose group's state was replaced by a
// snapshot, is told so (Behind) and reads what it missed from the change log in the store.
//
// Always true: a reader is given every change above its position once and in order, or is told that it
// is behind before it is given a later one.
//
// The package also owns the stored form of a change. It knows nothing of the store itself: package
// changelog keeps the log, package live reads the feed. Everything here may be used from any goroutine,
// except a Reader, which belongs to one.
package changefeed

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/kalamdb/kalamdb-go/internal/ident"
)

// Kind is what a change did to a row. The numbers are part of the disk format.
type Kind uint8

// The kinds of changes.
const (
	Insert Kind = 1
	Update Kind = 2
	Delete Kind = 3
	// Purge says that all rows of Table are gone because the table was dropped. It has no row, is published
	// but not stored, and has the _seq of its command's first row.
	Purge Kind = 4
)

// String prints the kind as clients spell it.
func (k Kind) String() string {
	switch k {
	case Insert:
		return "insert"
	case Update:
		return "update"
	case Delete:
		return "delete"
	case Purge:
		return "purge"
	}
	return "unknown"
}

// Change is one committed row change. Nothing reached through it may be changed.
type Change struct {
	Kind       Kind
	Table      ident.TableID
	User       ident.UserID // owner of the row; empty for shared tables
	Seq        uint64       // _seq of the version that the change wrote
	OldSeq     uint64       // _seq of the live version before; zero for an insert
	Micros     int64        // time stamped into the command, microseconds since 1970 UTC
	PrimaryKey []byte       // order-preserving encoding
	Old, New   []byte       // encoded rows before and after; Old is empty for inserts, New for deletes
}

// SizeBytes is what the change counts against bounds on bytes. It is the same on every replica.
func (c *Change) SizeBytes() uint64 {
	const overhead = 48
	return uint64(overhead + len(c.User) + len(c.PrimaryKey) + len(c.Old) + len(c.New))
}

// Totals are the running numbers of a group's log, including the change they are stored with.
type Totals struct {
	Entries uint64
	Bytes   uint64 // in SizeBytes
}

const recordFormat byte = 1

var errMalformed = errors.New("malformed change")

// AppendRecord encodes a change behind dst; the _seq is in the key.
func AppendRecord(dst []byte, c *Change, totals Totals) []byte {
	dst = append(dst, recordFormat, byte(c.Kind))
	dst = binary.AppendUvarint(dst, uint64(c.Table))
	dst = appendBytes(dst, []byte(c.User))
	dst = binary.AppendUvarint(dst, c.OldSeq)
	dst = binary.AppendUvarint(dst, uint64(c.Micros)) //nolint:gosec // the bits are kept, whatever they mean
	dst = binary.AppendUvarint(dst, totals.Entries)
	dst = binary.AppendUvarint(dst, totals.Bytes)
	dst = appendBytes(dst, c.PrimaryKey)
	dst = appendBytes(dst, c.Old)
	return append(dst, c.New...)
}

func appendBytes(dst, value []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(value))), value...)
}

// DecodeRecord is the inverse of AppendRecord. The change aliases record.
func DecodeRecord(seq uint64, record []byte) (c Change, totals Totals, err error) {
	if len(record) < 2 {
		return c, totals, fmt.Errorf("%w: %d bytes", errMalformed, len(record))
	}
	if record[0] != recordFormat {
		return c, totals, fmt.Errorf("%w: format %d", errMalformed, record[0])
	}
	c.Seq, c.Kind = seq, Kind(record[1])
	if c.Kind < Insert || c.Kind > Delete {
		return c, totals, fmt.Errorf("%w: kind %d", errMalformed, record[1])
	}
	d := decoder{rest: record[2:]}
	c.Table = ident.TableID(d.number())
	c.User = ident.UserID(d.bytes())
	c.OldSeq = d.number()
	c.Micros = int64(d.number()) //nolint:gosec // the bits are kept, whatever they mean
	totals = Totals{Entries: d.number(), Bytes: d.number()}
	c.PrimaryKey = d.bytes()
	c.Old = d.bytes()
	c.New = d.rest
	if d.failed {
		return Change{}, Totals{}, fmt.Errorf("%w: %d bytes break off", errMalformed, len(record))
	}
	return c, totals, nil
}

// decoder reads the fields of a record; after a failure everything reads as zero.
type decoder struct {
	rest   []byte
	failed bool
}

func (d *decoder) number() uint64 {
	v, n := binary.Uvarint(d.rest)
	if n <= 0 {
		d.failed, d.rest = true, nil
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

func (d *decoder) bytes() []byte {
	n := d.number()
	if n > uint64(len(d.rest)) {
		d.failed, d.rest = true, nil
		return nil
	}
	value := d.rest[:n:n]
	d.rest = d.rest[n:]
	return value
}
