package applier

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

func kindOf(t *testing.T, apply func() (*commandv1.Response, error)) fault.Kind {
	t.Helper()
	response, err := apply()
	check(t, err)
	if failure := command.Failure(response); failure != nil {
		return fault.KindOf(failure)
	}
	return fault.Internal
}

// TestOldSchemaDoesNotOverwriteNew: a statement that was planned before a column was added would drop its value.
func TestOldSchemaDoesNotOverwriteNew(t *testing.T) {
	t.Parallel()
	b := newBatch(t)
	d := restored(t, b)
	row := func(version byte, expect commandv1.Expect, seq uint64) *commandv1.Command {
		return write(&commandv1.RowWrite{
			TableId: 5, User: "u", PrimaryKey: []byte("k"), Row: []byte{1, version}, Expect: expect, ExpectSeq: seq,
		})
	}
	for index, c := range []struct {
		cmd  *commandv1.Command
		want fault.Kind
	}{
		{row(2, commandv1.Expect_EXPECT_ABSENT, 0), fault.Internal},
		{row(1, commandv1.Expect_EXPECT_SEQ, command.Seq(1, 0)), fault.Altered},
		{row(2, commandv1.Expect_EXPECT_SEQ, command.Seq(1, 0)), fault.Internal},
		{row(3, commandv1.Expect_EXPECT_SEQ, command.Seq(3, 0)), fault.Internal},
	} {
		got := kindOf(t, func() (*commandv1.Response, error) { return d.Apply(b, uint64(index+1), c.cmd) })
		if got != c.want {
			t.Errorf("write %d: %s, want %s", index+1, got, c.want)
		}
	}
}

// TestFenceOutlivesTheProcess: a fence holds after a restart, and a lower one does not open it.
func TestFenceOutlivesTheProcess(t *testing.T) {
	t.Parallel()
	b := newBatch(t)
	d := restored(t, b)
	fence := func(revision uint32) *commandv1.Command {
		return &commandv1.Command{Body: &commandv1.Command_FenceTable{
			FenceTable: &commandv1.FenceTable{TableId: 5, Revision: revision},
		}}
	}
	insert := func(key string, revision uint32) *commandv1.Command {
		cmd := write(&commandv1.RowWrite{TableId: 5, User: "u", PrimaryKey: []byte(key), Expect: commandv1.Expect_EXPECT_ABSENT})
		cmd.GetWriteRows().Revisions = []*commandv1.TableRevision{{TableId: 5, Revision: revision}}
		return cmd
	}
	apply := func(index uint64, cmd *commandv1.Command, want fault.Kind) {
		t.Helper()
		if got := kindOf(t, func() (*commandv1.Response, error) { return d.Apply(b, index, cmd) }); got != want {
			t.Errorf("entry %d: %s, want %s", index, got, want)
		}
	}
	apply(1, insert("a", 0), fault.Internal)
	apply(2, fence(7), fault.Internal)
	apply(3, fence(4), fault.Internal)
	apply(4, insert("b", 6), fault.Altered)
	apply(5, write(&commandv1.RowWrite{TableId: 6, User: "u", PrimaryKey: []byte("other table")}), fault.Internal)
	d = restored(t, b)
	apply(6, insert("b", 6), fault.Altered)
	apply(7, insert("b", 7), fault.Internal)
	apply(8, insert("c", 9), fault.Internal)
}

// TestUniqueKeysAreJudgedAtTheEnd: rows may swap their unique values, in any order, and entries follow their rows.
func TestUniqueKeysAreJudgedAtTheEnd(t *testing.T) {
	t.Parallel()
	b := newBatch(t)
	d := restored(t, b)
	entry := func(key string) []*commandv1.IndexEntry {
		return []*commandv1.IndexEntry{{IndexId: 1, Key: []byte(key), Unique: true, Text: "(x) = (" + key + ")"}}
	}
	owner := func(key string) string {
		value, ok, err := b.Get(keys.IndexEntry(group, 5, 1, "u", []byte(key), nil))
		check(t, err)
		if !ok {
			return "nobody"
		}
		return string(value)
	}
	put := func(primaryKey, before, after string) *commandv1.RowWrite {
		row := &commandv1.RowWrite{TableId: 5, User: "u", PrimaryKey: []byte(primaryKey), Deleted: after == ""}
		if before != "" {
			row.Unindex = entry(before)
		}
		if after != "" {
			row.Index = entry(after)
		}
		return row
	}
	for index, c := range []struct {
		cmd  *commandv1.Command
		want fault.Kind
		a, b string // owners of the keys A and B
	}{
		{write(put("1", "", "A"), put("2", "", "B")), fault.Internal, "1", "2"},
		{write(put("3", "", "A")), fault.DuplicateKey, "1", "2"},
		{write(put("1", "A", "B"), put("2", "B", "A")), fault.Internal, "2", "1"},
		{write(put("2", "A", "B")), fault.DuplicateKey, "2", "1"},
		{write(put("3", "", "B"), put("1", "B", "")), fault.Internal, "2", "3"},
		{write(put("4", "", "C"), put("4", "C", ""), put("3", "B", "")), fault.Internal, "2", "nobody"},
	} {
		got := kindOf(t, func() (*commandv1.Response, error) { return d.Apply(b, uint64(index+1), c.cmd) })
		if got != c.want || owner("A") != c.a || owner("B") != c.b {
			t.Errorf("write %d: %s, A of %s, B of %s, want %s, %s, %s", index+1, got, owner("A"), owner("B"), c.want, c.a, c.b)
		}
	}
	if owner("C") != "nobody" {
		t.Errorf("C is of %s", owner("C"))
	}
}

// TestIndexRowsSkipsWhatWasWritten: the writer of a newer version wrote its entries itself.
func TestIndexRowsSkipsWhatWasWritten(t *testing.T) {
	t.Parallel()
	b := newBatch(t)
	d := restored(t, b)
	for i, key := range []string{"a", "b", "c", "d"} {
		_, err := d.Apply(b, uint64(i+1), write(&commandv1.RowWrite{TableId: 5, User: "u", PrimaryKey: []byte(key), Deleted: key == "d"}))
		check(t, err)
	}
	body := &commandv1.IndexRows{TableId: 5}
	for i, key := range []string{"a", "b", "c", "d"} {
		seq := command.Seq(uint64(i+1), 0)
		if key == "b" {
			seq--
		}
		body.Rows = append(body.Rows, &commandv1.IndexRow{
			User: "u", PrimaryKey: []byte(key), ExpectSeq: seq, Entry: &commandv1.IndexEntry{IndexId: 1, Key: []byte{9}},
		})
	}
	response, err := d.Apply(b, 9, &commandv1.Command{Body: &commandv1.Command_IndexRows{IndexRows: body}})
	check(t, err)
	if response.GetAffected() != 2 {
		t.Errorf("%d entries added, want those of a and c: %v", response.GetAffected(), response)
	}
	entries := func() string {
		lo, hi := keys.IndexSpan(group, 5, 1)
		it, failure := b.Scan(lo, hi)
		check(t, failure)
		var list []string
		for ok := it.First(); ok; ok = it.Next() {
			key, failed := keys.ParseIndexEntry(it.Key())
			check(t, failed)
			value, failed := it.Value()
			check(t, failed)
			if !bytes.Equal(key.Values, append([]byte{9}, value...)) {
				t.Errorf("entry %x points to %x", key.Values, value)
			}
			list = append(list, fmt.Sprintf("%s:%s", key.User, value))
		}
		check(t, it.Close())
		return strings.Join(list, " ")
	}
	if got := entries(); got != "u:a u:c" {
		t.Errorf("entries %s", got)
	}
	_, err = d.Apply(b, 10, &commandv1.Command{Body: &commandv1.Command_PurgeIndex{PurgeIndex: &commandv1.PurgeIndex{TableId: 5, IndexId: 1}}})
	check(t, err)
	if got := entries(); got != "" {
		t.Errorf("entries after the purge: %s", got)
	}
}

// TestRefusalsSayWhatIsTaken: whoever reads a refusal knows without its words whether a key or another unique value is taken.
func TestRefusalsSayWhatIsTaken(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "1"} {
		b := newBatch(t)
		d := restored(t, b)
		refused := func(index uint64, row *commandv1.RowWrite) error {
			t.Helper()
			response, err := d.Apply(b, index, write(row))
			check(t, err)
			return command.Failure(response)
		}
		row := func(key, value string) *commandv1.RowWrite {
			return &commandv1.RowWrite{
				TableId: 5, User: "u", PrimaryKey: []byte(key), KeyText: text, Expect: commandv1.Expect_EXPECT_ABSENT,
				Index: []*commandv1.IndexEntry{{IndexId: 1, Key: []byte(value), Unique: true, Text: text}},
			}
		}
		check(t, refused(1, row("a", "A")))
		if err := refused(2, row("a", "B")); fault.ConstraintOf(err) != fault.PrimaryKey || fault.KindOf(err) != fault.DuplicateKey {
			t.Errorf("a taken key: %v is a violation of %d", err, fault.ConstraintOf(err))
		}
		if err := refused(3, row("b", "A")); fault.ConstraintOf(err) != fault.UniqueIndex || fault.KindOf(err) != fault.DuplicateKey {
			t.Errorf("a taken value: %v is a violation of %d", err, fault.ConstraintOf(err))
		}
	}
}
