package applier

import (
	"errors"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kalamdb/kalamdb-go/internal/changelog"
	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// fromAToC is a segment with the keys from a to c.
func fromAToC(rows, maxSeq uint64) *commandv1.Segment {
	return &commandv1.Segment{Path: "p", MinKey: []byte("a"), MaxKey: []byte("c"), Rows: rows, MaxSeq: maxSeq}
}

// coldLab applies commands to one shared group.
type coldLab struct {
	t      *testing.T
	engine *storage.Engine
	data   *Data
	index  uint64
}

func (l *coldLab) apply(cmd *commandv1.Command) (fault.Kind, bool) {
	l.t.Helper()
	l.index++
	batch := l.engine.NewBatch()
	response, err := l.data.Apply(batch, l.index, cmd)
	if err = errors.Join(err, l.data.Finish(batch, l.index)); err != nil {
		l.t.Fatal(err)
	}
	if err := l.engine.Commit(batch); err != nil {
		l.t.Fatal(err)
	}
	if err := batch.Close(); err != nil {
		l.t.Fatal(err)
	}
	l.data.Publish()
	l.data.Announce()
	return fault.KindOf(command.Failure(response)), response.GetFailure() == nil
}

func (l *coldLab) write(key string, change func(body *commandv1.WriteRows, row *commandv1.RowWrite)) (fault.Kind, bool) {
	l.t.Helper()
	row := &commandv1.RowWrite{TableId: 9, PrimaryKey: []byte(key), Row: []byte{1, 1}, Expect: commandv1.Expect_EXPECT_ABSENT}
	body := &commandv1.WriteRows{Rows: []*commandv1.RowWrite{row}}
	if change != nil {
		change(body, row)
	}
	return l.apply(&commandv1.Command{Body: &commandv1.Command_WriteRows{WriteRows: body}})
}

func (l *coldLab) commit(expect, upto uint64, segment *commandv1.Segment) (fault.Kind, bool) {
	l.t.Helper()
	return l.apply(&commandv1.Command{Body: &commandv1.Command_CommitSegment{CommitSegment: &commandv1.CommitSegment{
		TableId: 9, ExpectVersion: expect, UptoIndex: upto, Segment: segment,
	}}})
}

func (l *coldLab) hot(key string) bool {
	l.t.Helper()
	_, ok, err := l.engine.Get(keys.Row(shard.SharedShard(0), 9, "", []byte(key)))
	if err != nil {
		l.t.Fatal(err)
	}
	return ok
}

func newColdLab(t *testing.T) *coldLab {
	t.Helper()
	engine, err := storage.Open(storage.Options{FS: vfs.NewMem(), Dir: "store"})
	check(t, err)
	t.Cleanup(func() { check(t, engine.Close()) })
	l := &coldLab{t: t, engine: engine, data: NewData(shard.SharedShard(0), changelog.DefaultRetention(), nil)}
	check(t, l.data.Restore(engine))
	return l
}

func TestCommitRemovesWhatWasWrittenUpToAnIndex(t *testing.T) {
	t.Parallel()
	l := newColdLab(t)
	for _, key := range []string{"a", "b", "c", "d"} {
		l.write(key, nil)
	}
	upto := l.index
	l.write("b", func(_ *commandv1.WriteRows, row *commandv1.RowWrite) { row.Expect = commandv1.Expect_EXPECT_ANY })
	l.write("bb", nil)
	if kind, ok := l.commit(1, upto, fromAToC(3, 1)); ok || kind != fault.Conflict {
		t.Errorf("another manifest than the expected one was accepted: %v", kind)
	}
	if kind, ok := l.commit(0, upto, fromAToC(1, 1)); ok || kind != fault.Internal {
		t.Errorf("a segment with fewer rows than it replaces was accepted: %v", kind)
	}
	if _, ok := l.commit(0, upto, fromAToC(3, command.Seq(upto, 0))); !ok {
		t.Fatal("the segment was refused")
	}
	for key, want := range map[string]bool{"a": false, "b": true, "bb": true, "c": false, "d": true} {
		if l.hot(key) != want {
			t.Errorf("%s is hot: %v", key, !want)
		}
	}
	if kind, ok := l.commit(1, upto, fromAToC(3, 1)); ok || kind != fault.Internal {
		t.Errorf("a number was used twice: %v", kind)
	}
}

// TestSegmentWithoutARowAsItWasReadIsRefused changes every row since a flush has read them, as the next account of a name does: from one format on the
// segment is refused, and before it is named, as earlier programs do.
func TestSegmentWithoutARowAsItWasReadIsRefused(t *testing.T) {
	t.Parallel()
	anew := func(_ *commandv1.WriteRows, row *commandv1.RowWrite) { row.Expect = commandv1.Expect_EXPECT_ANY }
	for format, want := range map[uint32]bool{0: true, command.ScopeFormat: true, command.FlushFormat: false} {
		for _, left := range []bool{false, true} {
			l := newColdLab(t)
			l.write("a", nil)
			l.write("c", nil)
			upto := l.index
			l.write("a", anew)
			l.write("b", nil)
			if !left {
				l.write("c", anew)
			}
			kind, ok := l.apply(&commandv1.Command{
				Header: &commandv1.Header{LogFormat: format},
				Body: &commandv1.Command_CommitSegment{CommitSegment: &commandv1.CommitSegment{
					TableId: 9, UptoIndex: upto, Segment: fromAToC(2, command.Seq(upto, 0)),
				}},
			})
			if ok != (want || left) || !ok && kind != fault.NotFound {
				t.Errorf("format %d, with a row as it was read %v: %v, %v", format, left, ok, kind)
			}
			if !l.hot("a") || !l.hot("b") || l.hot("c") == left {
				t.Errorf("format %d, with a row as it was read %v: hot are %v, %v, %v", format, left, l.hot("a"), l.hot("b"), l.hot("c"))
			}
		}
	}
}

func TestWritersMustKnowWhatIsCold(t *testing.T) {
	t.Parallel()
	l := newColdLab(t)
	l.write("a", nil)
	l.write("c", nil)
	upto := l.index
	seq := command.Seq(upto, 0)
	if _, ok := l.commit(0, upto, fromAToC(2, seq)); !ok {
		t.Fatal("the segment was refused")
	}
	stated := func(version, index uint64, change func(row *commandv1.RowWrite)) func(*commandv1.WriteRows, *commandv1.RowWrite) {
		return func(body *commandv1.WriteRows, row *commandv1.RowWrite) {
			body.Cold = []*commandv1.ColdRead{{TableId: 9, Version: version, Index: index}}
			if change != nil {
				change(row)
			}
		}
	}
	if kind, ok := l.write("b", nil); ok || kind != fault.Conflict {
		t.Errorf("a writer who did not look at a covered key was believed: %v", kind)
	}
	if _, ok := l.write("z", nil); !ok {
		t.Error("a key beyond all segments was refused")
	}
	if kind, ok := l.write("b", stated(0, 0, nil)); ok || kind != fault.Conflict {
		t.Errorf("a writer who looked before the flush was believed: %v", kind)
	}
	if _, ok := l.write("b", stated(1, upto, nil)); !ok {
		t.Error("a free key was refused")
	}
	if kind, ok := l.write("c", stated(1, 0, func(row *commandv1.RowWrite) { row.ColdSeq = seq })); ok || kind != fault.DuplicateKey {
		t.Errorf("a cold key was taken: %v", kind)
	}
	update := func(row *commandv1.RowWrite) {
		row.Expect, row.ExpectSeq, row.ColdSeq, row.ColdRow = commandv1.Expect_EXPECT_SEQ, seq, seq, []byte{1, 1}
	}
	if _, ok := l.write("c", stated(1, 0, update)); !ok || !l.hot("c") {
		t.Error("a cold row could not be changed")
	}
	if kind, ok := l.write("c", stated(1, 0, update)); ok || kind != fault.Conflict {
		t.Errorf("a cold version counted before a hot one: %v", kind)
	}
	// What is restored from the store judges the same.
	if err := l.data.Restore(l.engine); err != nil {
		t.Fatal(err)
	}
	if kind, ok := l.write("aa", nil); ok || kind != fault.Conflict {
		t.Errorf("the manifest was forgotten: %v", kind)
	}
	l.apply(&commandv1.Command{Body: &commandv1.Command_PurgeTable{PurgeTable: &commandv1.PurgeTable{TableId: 9}}})
	if _, ok, err := l.engine.Get(keys.Manifest(shard.SharedShard(0), 9, "")); ok || err != nil {
		t.Errorf("a dropped table has a manifest: %v", err)
	}
}
