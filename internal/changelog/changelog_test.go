package changelog

import (
	"errors"
	"strconv"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"

	"github.com/kalamdb/kalamdb-go/internal/changefeed"
	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	"github.com/kalamdb/kalamdb-go/internal/storage/rowvalue"
	"github.com/kalamdb/kalamdb-go/internal/storage/scopevalue"
)

const group = shard.GroupID(103)

func openStore(t *testing.T) *storage.Engine {
	t.Helper()
	e, err := storage.Open(storage.Options{FS: vfs.NewMem(), Dir: "store"})
	must(t, err)
	t.Cleanup(func() { must(t, e.Close()) })
	return e
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func writer(t *testing.T, e *storage.Engine, r Retention) *Writer {
	t.Helper()
	w := NewWriter(group, r)
	must(t, w.Restore(e))
	return w
}

func change(index uint64, user string) changefeed.Change {
	return changefeed.Change{
		Kind: changefeed.Insert, Table: 5, User: "u", Seq: command.Seq(index, 0), Micros: int64(index), PrimaryKey: []byte(user),
		New: []byte("row"),
	}
}

func appendChanges(t *testing.T, e *storage.Engine, w *Writer, changes ...changefeed.Change) {
	t.Helper()
	b := e.NewBatch()
	must(t, w.Append(b, changes))
	must(t, w.Settle(b))
	must(t, e.Commit(b))
	must(t, b.Close())
}

func indexes(t *testing.T, e *storage.Engine) []uint64 {
	t.Helper()
	var found []uint64
	must(t, Read(e, group, 0, nil, func(c changefeed.Change) bool {
		found = append(found, command.SeqIndex(c.Seq))
		return true
	}))
	return found
}

// TestBounds: each bound drops the oldest changes and says so; a cursor below what was dropped is refused.
func TestBounds(t *testing.T) {
	t.Parallel()
	one := change(1, "k")
	for name, r := range map[string]Retention{
		"entries": {Entries: 16, Bytes: 1 << 30, AgeMicros: 1 << 40},
		"bytes":   {Entries: 1 << 30, Bytes: 16 * one.SizeBytes(), AgeMicros: 1 << 40},
		"age":     {Entries: 1 << 30, Bytes: 1 << 30, AgeMicros: 16},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := openStore(t)
			w := writer(t, e, r)
			for i := range uint64(200) {
				appendChanges(t, e, w, change(i+1, "k"))
				if i%17 == 0 {
					w = writer(t, e, r) // a restart changes nothing
				}
			}
			kept := indexes(t, e)
			if len(kept) < 14 || len(kept) > 18 || kept[len(kept)-1] != 200 {
				t.Fatalf("kept %v", kept)
			}
			floor := command.Seq(kept[0]-1, 0)
			if err := Check(e, group, floor); err != nil {
				t.Errorf("cursor at the floor: %v", err)
			}
			if err := Check(e, group, floor-1); !errors.Is(err, ErrTooOld) {
				t.Errorf("cursor below the floor: %v", err)
			}
			if last, err := Last(e, group); err != nil || last != command.Seq(200, 0) {
				t.Errorf("last %d, %v", last, err)
			}
		})
	}
}

// TestNewestIsKept: however small the bounds are.
func TestNewestIsKept(t *testing.T) {
	t.Parallel()
	e := openStore(t)
	w := writer(t, e, Retention{})
	appendChanges(t, e, w, change(3, "a"), change(4, "b"))
	appendChanges(t, e, w, change(9, "c"))
	if diff := cmp.Diff([]uint64{9}, indexes(t, e)); diff != "" {
		t.Error(diff)
	}
}

// TestQuietScope: a cursor below the floor is good for a scope that nobody wrote to since.
func TestQuietScope(t *testing.T) {
	t.Parallel()
	e := openStore(t)
	w := writer(t, e, Retention{Entries: 1, Bytes: 1, AgeMicros: 1})
	b := e.NewBatch()
	scope := func(user string, index uint64) {
		value := make([]byte, 8)
		value[7] = byte(index)
		must(t, b.Set(keys.Scope(group, 5, "u"), value))
		must(t, b.Set(keys.Row(group, 5, "u", []byte(user)), rowvalue.Append(nil, command.Seq(index, 1), false, nil)))
	}
	scope("k", 7)
	must(t, e.Commit(b))
	must(t, b.Close())
	for i := range uint64(20) {
		appendChanges(t, e, w, change(i+1, "other"))
	}
	for _, c := range []struct {
		cursor uint64
		good   bool
	}{
		{command.Seq(6, 9), false}, {command.Seq(7, 0), false}, {command.Seq(7, 1), true}, {command.Seq(8, 0), true},
	} {
		err := CheckScope(e, group, 5, "u", c.cursor)
		if good := err == nil; good != c.good || err != nil && !errors.Is(err, ErrTooOld) {
			t.Errorf("cursor %d.%d: %v, want good %v", c.cursor>>16, c.cursor&0xffff, err, c.good)
		}
	}
	if err := CheckScope(e, group, 5, "nobody", 1); err != nil {
		t.Errorf("a scope without rows: %v", err)
	}
}

// TestCursorBetweenCommandsOfAnEntry: the first command of an entry has written a row, a later one has removed a row of a stream
// table, which leaves nothing behind. A cursor between the two has missed the removal.
func TestCursorBetweenCommandsOfAnEntry(t *testing.T) {
	t.Parallel()
	e := openStore(t)
	w := writer(t, e, Retention{Entries: 1, Bytes: 1, AgeMicros: 1})
	b := e.NewBatch()
	must(t, b.Set(keys.Scope(group, 5, "u"), scopevalue.OfSeq(command.Seq(7, 3))))
	must(t, b.Set(keys.Row(group, 5, "u", []byte("k")), rowvalue.Append(nil, command.Seq(7, 1), false, nil)))
	must(t, e.Commit(b))
	must(t, b.Close())
	for i := range uint64(20) {
		appendChanges(t, e, w, change(i+1, "other"))
	}
	for cursor, want := range map[uint64]bool{
		command.Seq(6, 9): false, command.Seq(7, 1): false, command.Seq(7, 2): false, command.Seq(7, 3): true, command.Seq(8, 0): true,
	} {
		err := CheckScope(e, group, 5, "u", cursor)
		if good := err == nil; good != want || err != nil && !errors.Is(err, ErrTooOld) {
			t.Errorf("cursor %d.%d: %v, want good %v", cursor>>16, cursor&0xffff, err, want)
		}
	}
}

// TestOlderState: rows that were written before there was a log are not covered by it.
func TestOlderState(t *testing.T) {
	t.Parallel()
	e := openStore(t)
	if err := Check(e, group, 5); !errors.Is(err, ErrTooOld) {
		t.Errorf("a group without a log: %v", err)
	}
	b := e.NewBatch()
	must(t, b.Set(keys.Row(group, 9, "somebody", []byte("k")), rowvalue.Append(nil, command.Seq(40, 0), false, nil)))
	must(t, e.Commit(b))
	must(t, b.Close())
	appendChanges(t, e, writer(t, e, DefaultRetention()), change(50, "k"))
	if err := Check(e, group, command.Seq(49, 7)); !errors.Is(err, ErrTooOld) {
		t.Errorf("a cursor before the log began: %v", err)
	}
	if err := Check(e, group, command.Seq(50, 0)-1); err != nil {
		t.Errorf("the cursor at which the log began: %v", err)
	}
}

// TestFreshGroup: where nothing was written before the first change, any cursor is covered.
func TestFreshGroup(t *testing.T) {
	t.Parallel()
	e := openStore(t)
	appendChanges(t, e, writer(t, e, DefaultRetention()), change(50, "k"))
	if err := Check(e, group, 0); err != nil {
		t.Errorf("the first cursor: %v", err)
	}
}

// TestRetain: new bounds take hold at once, outlive a restart, and move to another store with the group's keys.
func TestRetain(t *testing.T) {
	t.Parallel()
	e := openStore(t)
	w := writer(t, e, DefaultRetention())
	for i := range uint64(100) {
		appendChanges(t, e, w, change(i+1, "k"))
	}
	retain := func(w *Writer, r Retention, now int64) {
		t.Helper()
		b := e.NewBatch()
		must(t, w.Retain(b, r, now))
		must(t, e.Commit(b))
		must(t, b.Close())
	}
	retain(w, Retention{Entries: 50, Bytes: 1 << 30, AgeMicros: 1 << 40}, 100)
	if kept := indexes(t, e); len(kept) > 50 || len(kept) < 46 || kept[len(kept)-1] != 100 {
		t.Fatalf("fewer: kept %v", kept)
	}
	retain(w, Retention{Entries: 1 << 30, Bytes: 1 << 30, AgeMicros: 10}, 100)
	if kept := indexes(t, e); len(kept) > 11 || kept[len(kept)-1] != 100 {
		t.Fatalf("younger: kept %v", kept)
	}
	if err := Check(e, group, command.Seq(50, 0)); !errors.Is(err, ErrTooOld) {
		t.Errorf("a cursor of what is gone: %v", err)
	}
	want := Retention{Entries: 20, Bytes: 1 << 20, AgeMicros: 1 << 30}
	retain(w, want, 100)
	w = writer(t, e, DefaultRetention())
	if diff := cmp.Diff(want, w.Retention()); diff != "" {
		t.Errorf("after a restart (-want +got):\n%s", diff)
	}
	for i := range uint64(100) {
		appendChanges(t, e, w, change(i+101, "k"))
	}
	state, err := Describe(e, group)
	if kept := len(indexes(t, e)); err != nil || kept > 20 || state.Kept.Entries != uint64(kept) || state.Retention != want ||
		state.Newest != command.Seq(200, 0) || state.Floor != command.Seq(200-uint64(kept), 0) || state.OldestMicros != int64(201-kept) {
		t.Errorf("%d are kept; %+v, %v", kept, state, err)
	}
}

// TestRetainBeforeThereIsALog: a group may be told before its first change.
func TestRetainBeforeThereIsALog(t *testing.T) {
	t.Parallel()
	e := openStore(t)
	b := e.NewBatch()
	must(t, writer(t, e, DefaultRetention()).Retain(b, Retention{Entries: 2, Bytes: 1 << 20, AgeMicros: 1 << 40}, 7))
	must(t, e.Commit(b))
	must(t, b.Close())
	w := writer(t, e, DefaultRetention())
	for i := range uint64(10) {
		appendChanges(t, e, w, change(i+1, "k"))
	}
	if diff := cmp.Diff([]uint64{9, 10}, indexes(t, e)); diff != "" {
		t.Error(diff)
	}
}

func TestDamage(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ key, value []byte }{
		"short start":   {keys.Changes(group), []byte{1}},
		"retention":     {keys.Retention(group), make([]byte, retentionLen)},
		"unknown start": {keys.Changes(group), make([]byte, startLen)},
		"short change":  {keys.Change(group, 70), []byte{1}},
		"long key":      {append(keys.Change(group, 70), 1), []byte{1}},
	} {
		e := openStore(t)
		b := e.NewBatch()
		must(t, b.Set(c.key, c.value))
		must(t, e.Commit(b))
		must(t, b.Close())
		if err := NewWriter(group, DefaultRetention()).Restore(e); !errors.Is(err, storage.ErrCorruption) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func BenchmarkAppend(b *testing.B) {
	e, err := storage.Open(storage.Options{FS: vfs.NewMem(), Dir: "store"})
	if err != nil {
		b.Fatal(err)
	}
	w := NewWriter(group, DefaultRetention())
	if err := w.Restore(e); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	index := uint64(0)
	batch := e.NewBatch()
	for b.Loop() {
		index++
		c := change(index, strconv.FormatUint(index%1000, 10))
		if err := w.Append(batch, []changefeed.Change{c}); err != nil {
			b.Fatal(err)
		}
		if index%64 == 0 {
			if err := errors.Join(w.Settle(batch), e.Commit(batch)); err != nil {
				b.Fatal(err)
			}
			batch.Reset()
		}
	}
}
