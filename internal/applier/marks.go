package applier

import (
	"encoding/binary"
	"fmt"

	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	"github.com/kalamdb/kalamdb-go/internal/storage/rowvalue"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// A version says by its _seq where in the log it was written, not when. Marks say when the log of a group had come to which index:
// with them the age of a deletion is known, rounded to the next mark.

// maxMarks bounds the marks of a group. At the bound every second one of the older half goes: of the distant past less is
// known.
const maxMarks = 1024

// Mark says that the log of a group had come to an index at a time.
type Mark struct {
	Micros int64
	Index  uint64
}

// LoadMarks returns the marks of a group, the oldest first.
func LoadMarks(reader storage.Reader, group shard.GroupID) (marks []Mark, err error) {
	it, err := reader.Scan(keys.MarkSpan(group))
	if err != nil {
		return nil, err
	}
	defer func() {
		if closeErr := it.Close(); err == nil {
			err = closeErr
		}
	}()
	for ok := it.First(); ok; ok = it.Next() {
		_, micros, err := keys.ParseMark(it.Key())
		if err != nil {
			return nil, err
		}
		value, err := it.Value()
		if err != nil {
			return nil, err
		}
		if len(value) != 8 {
			return nil, fmt.Errorf("%w: mark %x has %d bytes", storage.ErrCorruption, it.Key(), len(value))
		}
		marks = append(marks, Mark{Micros: micros, Index: binary.BigEndian.Uint64(value)})
	}
	return marks, it.Err()
}

// WrittenBy returns the index up to which all was written by a time, as far as marks tell; zero when they tell nothing.
func WrittenBy(marks []Mark, micros int64) (index uint64) {
	for _, m := range marks {
		if m.Micros <= micros {
			index = max(index, m.Index)
		}
	}
	return index
}

// markTime remembers that the log has come to an index. A time that is not after the last one says nothing new. Commands
// behind it in the same log entry were made within the same moment, as precisely as clocks of several nodes can tell.
func (d *Data) markTime(batch *storage.Batch, at place, nowMicros int64) (*commandv1.Response, error) {
	marks, err := LoadMarks(batch, d.group)
	if err != nil {
		return nil, err
	}
	if nowMicros < 0 || len(marks) > 0 && nowMicros <= marks[len(marks)-1].Micros {
		return done("The time of %s is marked already", d.group), nil
	}
	if len(marks) >= maxMarks {
		for i := 1; i < maxMarks/2; i += 2 {
			if err := batch.Delete(keys.Mark(d.group, marks[i].Micros)); err != nil {
				return nil, err
			}
		}
	}
	return done("The time of %s is marked", d.group), batch.Set(keys.Mark(d.group, nowMicros), binary.BigEndian.AppendUint64(nil, at.index))
}

// purgeDeleted removes deletions from the row store for good. A row that was written again since stays, and so does a scope whose cold
// rows changed since they were looked at: a version of a key that is cold needs its deletion. Repeating it changes nothing.
func (d *Data) purgeDeleted(batch *storage.Batch, logFormat uint32, body *commandv1.PurgeDeleted) (*commandv1.Response, error) {
	table := ident.TableID(body.GetTableId())
	if refusal := d.admitTable(table); refusal != nil {
		return refusal, nil
	}
	response := done("Deletions of table %d purged", table)
	for _, scope := range body.GetScopes() {
		user := ident.UserID(scope.GetUser())
		if d.private == (user == "") {
			return command.Refuse(fault.Internal, "the scope of the deletions is none of group %s", d.group), nil
		}
		version := uint64(0)
		if state := d.cold[coldScope{table, user}]; state != nil {
			version = state.version
		}
		if version != scope.GetExpectVersion() {
			continue
		}
		for _, row := range scope.GetRows() {
			key := keys.Row(d.group, table, user, row.GetPrimaryKey())
			value, ok, err := batch.Get(key)
			if err != nil {
				return nil, err
			}
			if !ok {
				continue
			}
			seq, deleted, _, err := rowvalue.Decode(value)
			if err != nil {
				return nil, fmt.Errorf("%w: row %x: %w", storage.ErrCorruption, key, err)
			}
			if !deleted || seq != row.GetSeq() {
				continue
			}
			if err := batch.Delete(key); err != nil {
				return nil, err
			}
			if logFormat >= command.ScopeFormat {
				if err := d.forgetLastRow(batch, table, user, seq); err != nil {
					return nil, err
				}
			}
			response.Affected++
		}
	}
	return response, nil
}
