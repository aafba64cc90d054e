package command

import (
	"bytes"
	"math"
	"slices"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// maxRowWriteBytes bounds what decodeRowWrite takes: all fields of a command share its memory, and whoever keeps one of them keeps
// all.
const maxRowWriteBytes = 4 << 10

// rowWrite is a command that writes one row, in one piece of memory.
type rowWrite struct {
	command  commandv1.Command
	header   commandv1.Header
	choice   commandv1.Command_WriteRows
	body     commandv1.WriteRows
	row      commandv1.RowWrite
	revision commandv1.TableRevision

	rows      [1]*commandv1.RowWrite
	revisions [1]*commandv1.TableRevision
}

// decodeRowWrite decodes the usual command, which writes one row and says no more than most do. Every replica decodes each one, and the
// general decoder takes several times as long. For every other command, malformed ones included, ok is false, and the general
// decoder judges it; what this one takes, that one decodes to the same.
func decodeRowWrite(data []byte) (cmd *commandv1.Command, ok bool) {
	if len(data) > maxRowWriteBytes {
		return nil, false
	}
	// The log owns the bytes.
	f := fields{rest: bytes.Clone(data)}
	w := new(rowWrite)
	for f.next() {
		switch f.number {
		case 1:
			ok = w.command.Header == nil && w.readHeader(f.message())
			w.command.Header = &w.header
		case 40:
			ok = w.command.Body == nil && w.readBody(f.message())
			w.command.Body = &w.choice
		default:
			ok = false
		}
		if !ok {
			return nil, false
		}
	}
	if f.failed || w.command.Body == nil || len(w.body.Rows) != 1 {
		return nil, false
	}
	return &w.command, true
}

func (w *rowWrite) readHeader(f fields) bool {
	for f.next() {
		switch f.number {
		case 1:
			w.header.RequestId = f.bytes()
		case 2:
			w.header.MinIndex = f.varint()
		case 3:
			w.header.NowMicros = protowire.DecodeZigZag(f.varint())
		case 4:
			w.header.MetaIndex = f.varint()
		case 5:
			w.header.Actor = f.text()
		default:
			return false
		}
	}
	return !f.failed
}

func (w *rowWrite) readBody(f fields) bool {
	w.choice.WriteRows = &w.body
	for f.next() {
		switch f.number {
		case 2:
			if w.body.Rows != nil || !w.readRow(f.message()) {
				return false
			}
			w.rows[0] = &w.row
			w.body.Rows = w.rows[:]
		case 14:
			w.body.Reply = f.bytes()
		case 20:
			if w.body.Revisions != nil || !w.readRevision(f.message()) {
				return false
			}
			w.revisions[0] = &w.revision
			w.body.Revisions = w.revisions[:]
		default:
			return false
		}
	}
	return !f.failed
}

func (w *rowWrite) readRow(f fields) bool {
	for f.next() {
		switch f.number {
		case 1:
			w.row.TableId = f.varint()
		case 2:
			w.row.User = f.text()
		case 3:
			w.row.PrimaryKey = f.bytes()
		case 4:
			w.row.Row = f.bytes()
		case 5:
			w.row.Deleted = protowire.DecodeBool(f.varint())
		case 6:
			w.row.Expect = commandv1.Expect(f.short())
		case 7:
			w.row.ExpectSeq = f.varint()
		case 8:
			w.row.KeyText = f.text()
		case 11:
			w.row.ColdSeq = f.varint()
		case 12:
			w.row.ColdRow = f.bytes()
		default:
			return false
		}
	}
	return !f.failed
}

func (w *rowWrite) readRevision(f fields) bool {
	for f.next() {
		switch f.number {
		case 1:
			w.revision.TableId = f.varint()
		case 2:
			w.revision.Revision = uint32(f.short()) //nolint:gosec // not negative
		default:
			return false
		}
	}
	return !f.failed
}

// fields takes the fields of a message from its front. What is not as expected fails all that follows.
type fields struct {
	rest   []byte
	number int32
	kind   protowire.Type
	failed bool
}

func (f *fields) next() bool {
	if f.failed || len(f.rest) == 0 {
		return false
	}
	number, kind, n := protowire.ConsumeTag(f.rest)
	if n < 0 {
		f.failed = true
		return false
	}
	f.number, f.kind, f.rest = int32(number), kind, f.rest[n:]
	return true
}

func (f *fields) varint() uint64 {
	value, n := protowire.ConsumeVarint(f.rest)
	if f.kind != protowire.VarintType || n < 0 {
		f.failed, f.rest = true, nil
		return 0
	}
	f.rest = f.rest[n:]
	return value
}

// short is a number that every form of 32 bits holds.
func (f *fields) short() int32 {
	value := f.varint()
	if value > math.MaxInt32 {
		f.failed, f.rest = true, nil
		return 0
	}
	return int32(value)
}

func (f *fields) bytes() []byte {
	value, n := protowire.ConsumeBytes(f.rest)
	if f.kind != protowire.BytesType || n < 0 {
		f.failed, f.rest = true, nil
		return nil
	}
	f.rest = f.rest[n:]
	if len(value) == 0 {
		return nil
	}
	return slices.Clip(value)
}

func (f *fields) text() string {
	value := f.bytes()
	if !utf8.Valid(value) {
		f.failed, f.rest = true, nil
		return ""
	}
	return string(value)
}

// message is the field's own fields.
func (f *fields) message() fields {
	value := f.bytes()
	return fields{rest: value, failed: f.failed}
}
