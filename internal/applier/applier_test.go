package applier

import (
	"errors"
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/changelog"
	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	"github.com/kalamdb/kalamdb-go/internal/storage/rowvalue"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// What commands do is told by the scripts of package statemachine. The tests here are about what scripts
// cannot say: damaged state, and sizes.

const group = shard.GroupID(103)

func newBatch(t *testing.T) *storage.Batch {
	t.Helper()
	e, err := storage.Open(storage.Options{FS: vfs.NewMem(), Dir: "store"})
	check(t, err)
	b := e.NewBatch()
	t.Cleanup(func() {
		check(t, b.Close())
		check(t, e.Close())
	})
	return b
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func restored(t *testing.T, b *storage.Batch) *Data {
	t.Helper()
	d := NewData(group, changelog.DefaultRetention(), nil)
	check(t, d.Restore(b))
	return d
}

func write(rows ...*commandv1.RowWrite) *commandv1.Command {
	return &commandv1.Command{Body: &commandv1.Command_WriteRows{WriteRows: &commandv1.WriteRows{Rows: rows}}}
}

// TestDamagedStateStopsTheReplica: a value that cannot be read is no reason to refuse a command, because
// the other replicas would carry it out.
func TestDamagedStateStopsTheReplica(t *testing.T) {
	t.Parallel()
	insert := write(&commandv1.RowWrite{TableId: 5, User: "u", PrimaryKey: []byte("k"), Expect: commandv1.Expect_EXPECT_ABSENT})
	scoped := write()
	scoped.GetWriteRows().Scopes = []*commandv1.ScopeUnchanged{{TableId: 5, User: "u", Index: 7}}
	for name, c := range map[string]struct {
		key, value []byte
		cmd        *commandv1.Command
	}{
		"short row":      {keys.Row(group, 5, "u", []byte("k")), []byte{1}, insert},
		"unknown format": {keys.Row(group, 5, "u", []byte("k")), make([]byte, 20), insert},
		"short scope":    {keys.Scope(group, 5, "u"), []byte{1}, scoped},
	} {
		b := newBatch(t)
		check(t, b.Set(c.key, c.value))
		response, err := restored(t, b).Apply(b, 9, c.cmd)
		if !errors.Is(err, storage.ErrCorruption) {
			t.Errorf("%s: response %v, error %v", name, response, err)
		}
	}
	b := newBatch(t)
	check(t, b.Set(append(keys.Purged(group, 5), 0), nil))
	if err := NewData(group, changelog.DefaultRetention(), nil).Restore(b); err == nil {
		t.Error("a malformed marker was restored")
	}
	b = newBatch(t)
	check(t, b.Set(keys.Cluster(), []byte{9}))
	if err := NewMeta(catalog.NewStore()).Restore(b); err == nil {
		t.Error("a malformed catalog was restored")
	}
}

func TestRefusedCommandWritesNothing(t *testing.T) {
	t.Parallel()
	b := newBatch(t)
	check(t, b.Set(keys.Row(group, 5, "u", []byte("taken")), rowvalue.Append(nil, 1, false, nil)))
	before := b.Count()
	row := func(key string) *commandv1.RowWrite {
		return &commandv1.RowWrite{TableId: 5, User: "u", PrimaryKey: []byte(key), Expect: commandv1.Expect_EXPECT_ABSENT}
	}
	response, err := restored(t, b).Apply(b, 9, write(row("a"), row("b"), row("taken")))
	check(t, err)
	if fault.KindOf(command.Failure(response)) != fault.DuplicateKey {
		t.Errorf("response %v", response)
	}
	if b.Count() != before {
		t.Errorf("%d writes were staged", b.Count()-before)
	}
}

func TestLargestCommand(t *testing.T) {
	t.Parallel()
	b := newBatch(t)
	var rows []*commandv1.RowWrite
	for i := range command.MaxRows {
		rows = append(rows, &commandv1.RowWrite{
			TableId: 5, User: fmt.Sprint("u", i%3), PrimaryKey: fmt.Append(nil, i), Expect: commandv1.Expect_EXPECT_ABSENT,
		})
	}
	d := restored(t, b)
	response, err := d.Apply(b, 9, write(rows...))
	check(t, err)
	check(t, d.Finish(b, 9))
	if response.GetAffected() != command.MaxRows {
		t.Errorf("affected %d", response.GetAffected())
	}
	value, ok, err := b.Get(keys.Row(group, 5, "u0", fmt.Append(nil, command.MaxRows-1)))
	check(t, err)
	seq, _, _, err := rowvalue.Decode(value)
	if !ok || err != nil || seq != command.Seq(9, command.MaxOrdinal) {
		t.Errorf("last row: %v, seq %d, %v", ok, seq, err)
	}
	for _, user := range []string{"u0", "u1", "u2"} {
		if _, ok, err := b.Get(keys.Scope(group, 5, ident.UserID(user))); !ok || err != nil {
			t.Errorf("scope of %s: %v, %v", user, ok, err)
		}
	}
	if want := 2*command.MaxRows + 3 + 1; b.Count() != want {
		t.Errorf("%d writes, want %d: two for each row, one for each scope, and where the changes begin", b.Count(), want)
	}
}

func TestApplyBeforeRestorePanics(t *testing.T) {
	t.Parallel()
	defer func() {
		if recover() == nil {
			t.Error("the meta group applied before it was restored")
		}
	}()
	_, _ = NewMeta(catalog.NewStore()).Apply(newBatch(t), 1, write())
}
