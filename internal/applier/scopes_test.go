package applier

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/changelog"
	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	"github.com/kalamdb/kalamdb-go/internal/storage/scopevalue"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// TestCursorWithinACommand: rows that vanish without a trace, at once or later, are missed by a cursor that stands before
// them in their own command. The log no longer tells of the command, and nothing else was written to its scope since.
func TestCursorWithinACommand(t *testing.T) {
	t.Parallel()
	streamed := schema.AppendExpiringRow(nil, &schema.Table{Version: 1}, nil, 1<<40)
	row := func(key string, encoded []byte, deleted bool) *commandv1.RowWrite {
		return &commandv1.RowWrite{TableId: 5, User: "u", PrimaryKey: []byte(key), Row: encoded, Deleted: deleted}
	}
	purge := func(seq uint64) *commandv1.Command {
		return &commandv1.Command{Body: &commandv1.Command_PurgeDeleted{PurgeDeleted: &commandv1.PurgeDeleted{
			TableId: 5, Scopes: []*commandv1.DeletedScope{{User: "u", Rows: []*commandv1.DeletedRow{{PrimaryKey: []byte("a"), Seq: seq}}}},
		}}}
	}
	for name, c := range map[string]struct {
		first, second *commandv1.Command
		then          *commandv1.Command
		good          map[int]bool // by the ordinal of the cursor
	}{
		"nothing vanishes": {
			write(row("a", []byte{1, 1}, false)), write(row("b", []byte{1, 1}, false), row("a", nil, true)), nil,
			map[int]bool{0: false, 1: true},
		},
		"a row of a stream table": {
			write(row("a", streamed, false)), write(row("b", streamed, false), row("a", streamed, true)), nil,
			map[int]bool{0: false, 1: true},
		},
		"only rows of a stream table": {
			write(row("a", streamed, false), row("b", streamed, false)), write(row("a", streamed, true), row("b", streamed, true)), nil,
			map[int]bool{0: false},
		},
		"a deletion that is purged": {
			write(row("a", []byte{1, 1}, false)), write(row("b", []byte{1, 1}, false), row("a", nil, true)), purge(command.Seq(2, 1)),
			map[int]bool{0: false},
		},
		"a deletion of the command before": {
			write(row("a", []byte{1, 1}, false), row("a", nil, true)), write(row("b", []byte{1, 1}, false), row("c", []byte{1, 1}, false)),
			purge(command.Seq(1, 1)),
			map[int]bool{0: false, 1: true},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBatch(t)
			d := NewData(group, changelog.Retention{Entries: 1, Bytes: 1, AgeMicros: 1 << 40}, nil)
			check(t, d.Restore(b))
			index := uint64(0)
			apply := func(cmd *commandv1.Command) {
				t.Helper()
				index++
				cmd.Header = &commandv1.Header{LogFormat: command.ScopeFormat}
				response, err := d.Apply(b, index, cmd)
				check(t, err)
				check(t, command.Failure(response))
				check(t, d.Finish(b, index))
			}
			apply(c.first)
			apply(c.second)
			if c.then != nil {
				apply(c.then)
			}
			for range 2 { // what came before falls out of the log
				apply(write(&commandv1.RowWrite{TableId: 6, User: "u", PrimaryKey: []byte("k"), Row: []byte{1, 1}}))
			}
			for ordinal, good := range c.good {
				cursor := command.Seq(2, ordinal)
				if err := changelog.Check(b, group, cursor); !errors.Is(err, changelog.ErrTooOld) {
					t.Fatalf("the log still tells of the command: %v", err)
				}
				err := changelog.CheckScope(b, group, 5, "u", cursor)
				if (err == nil) != good || err != nil && !errors.Is(err, changelog.ErrTooOld) {
					t.Errorf("behind row %d: %v, want good %v", ordinal, err, good)
				}
			}
			if err := changelog.CheckScope(b, group, 5, "u", command.Seq(3, 0)); err != nil {
				t.Errorf("behind the command: %v", err)
			}
		})
	}
}

// TestScopesOfEarlierFormats: as long as a member may run a program that tells nothing of rows that vanish, every replica stores what
// that program does, so that replicas of two versions have the same state.
func TestScopesOfEarlierFormats(t *testing.T) {
	t.Parallel()
	streamed := schema.AppendExpiringRow(nil, &schema.Table{Version: 1}, nil, 1<<40)
	row := func(key string, encoded []byte, deleted bool) *commandv1.RowWrite {
		return &commandv1.RowWrite{TableId: 5, User: "u", PrimaryKey: []byte(key), Row: encoded, Deleted: deleted}
	}
	purge := &commandv1.Command{Body: &commandv1.Command_PurgeDeleted{PurgeDeleted: &commandv1.PurgeDeleted{
		TableId: 5, Scopes: []*commandv1.DeletedScope{{User: "u", Rows: []*commandv1.DeletedRow{{PrimaryKey: []byte("a"), Seq: command.Seq(2, 1)}}}},
	}}}
	for name, c := range map[string]struct {
		commands []*commandv1.Command
		now      []byte // what the newest format leaves
	}{
		"a row of a stream table": {
			[]*commandv1.Command{write(row("a", streamed, false)), write(row("b", streamed, false), row("a", streamed, true))},
			scopevalue.OfSeq(command.Seq(2, 1)),
		},
		"a deletion that is purged": {
			[]*commandv1.Command{write(row("a", []byte{1, 1}, false)), write(row("b", []byte{1, 1}, false), row("a", nil, true)), purge},
			scopevalue.OfSeq(command.Seq(2, command.MaxOrdinal)),
		},
	} {
		for _, format := range []uint32{0, command.BackupFormat, command.ScopeFormat} {
			t.Run(fmt.Sprint(name, ", format ", format), func(t *testing.T) {
				t.Parallel()
				b := newBatch(t)
				d := NewData(group, changelog.DefaultRetention(), nil)
				check(t, d.Restore(b))
				for i, cmd := range c.commands {
					cmd = &commandv1.Command{Header: &commandv1.Header{LogFormat: format}, Body: cmd.GetBody()}
					response, err := d.Apply(b, uint64(i+1), cmd)
					check(t, err)
					check(t, command.Failure(response))
					check(t, d.Finish(b, uint64(i+1)))
				}
				want := scopevalue.OfIndex(2)
				if format >= command.ScopeFormat {
					want = c.now
				}
				value, _, err := b.Get(keys.Scope(group, 5, "u"))
				check(t, err)
				if !bytes.Equal(value, want) {
					t.Errorf("the scope is %x, want %x", value, want)
				}
			})
		}
	}
}
