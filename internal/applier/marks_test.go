package applier

import (
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

func (l *coldLab) markTime(micros int64) {
	l.t.Helper()
	_, ok := l.apply(&commandv1.Command{
		Header: &commandv1.Header{NowMicros: micros}, Body: &commandv1.Command_MarkTime{MarkTime: &commandv1.MarkTime{}},
	})
	if !ok {
		l.t.Fatalf("mark %d is refused", micros)
	}
}

func (l *coldLab) marks() []Mark {
	l.t.Helper()
	marks, err := LoadMarks(l.engine, shard.SharedShard(0))
	check(l.t, err)
	return marks
}

// TestMarksTellTheAge asks for times before, between and behind marks: what is not known counts as young.
func TestMarksTellTheAge(t *testing.T) {
	t.Parallel()
	l := newColdLab(t)
	l.write("a", nil)
	l.markTime(100) // index 2
	l.write("b", nil)
	l.markTime(90)  // a clock that went back says nothing
	l.markTime(100) // nor does the same time
	l.markTime(200) // index 6
	for micros, want := range map[int64]uint64{99: 0, 100: 2, 199: 2, 200: 6, 1000: 6} {
		if got := WrittenBy(l.marks(), micros); got != want {
			t.Errorf("up to %d index %d was written, want %d", micros, got, want)
		}
	}
}

// TestMarksAreBounded marks more times than are kept: the newest are all there, of the distant past enough is.
func TestMarksAreBounded(t *testing.T) {
	t.Parallel()
	l := newColdLab(t)
	for i := range int64(2 * maxMarks) {
		l.markTime(i + 1)
	}
	marks := l.marks()
	if len(marks) > maxMarks || len(marks) < maxMarks/2 || marks[0].Micros != 1 {
		t.Fatalf("%d marks, the first of %d", len(marks), marks[0].Micros)
	}
	for i, m := range marks[len(marks)-maxMarks/4:] {
		if want := int64(2*maxMarks - maxMarks/4 + i + 1); m.Micros != want {
			t.Fatalf("one of the newest is of %d, want %d", m.Micros, want)
		}
	}
	for i := 1; i < len(marks); i++ {
		if marks[i].Index <= marks[i-1].Index {
			t.Fatalf("mark %d goes back: %v", i, marks[i-1:i+1])
		}
	}
}

// TestPurgeOfDeletions removes deletions, and nothing that is not the deletion that was named.
func TestPurgeOfDeletions(t *testing.T) {
	t.Parallel()
	l := newColdLab(t)
	seqs := map[string]uint64{}
	for _, key := range []string{"a", "b", "c", "d"} {
		l.write(key, nil)
	}
	for _, key := range []string{"a", "b", "c"} {
		l.write(key, func(_ *commandv1.WriteRows, row *commandv1.RowWrite) {
			row.Expect, row.Deleted = commandv1.Expect_EXPECT_ANY, true
		})
		seqs[key] = command.Seq(l.index, 0)
	}
	l.write("b", nil) // it is written again
	purge := func(version uint64, user string, keys ...string) (fault.Kind, bool) {
		t.Helper()
		scope := &commandv1.DeletedScope{User: user, ExpectVersion: version}
		for _, key := range keys {
			scope.Rows = append(scope.Rows, &commandv1.DeletedRow{PrimaryKey: []byte(key), Seq: seqs[key]})
		}
		return l.apply(&commandv1.Command{Body: &commandv1.Command_PurgeDeleted{PurgeDeleted: &commandv1.PurgeDeleted{
			TableId: 9, Scopes: []*commandv1.DeletedScope{scope},
		}}})
	}
	want := func(where string, hot ...string) {
		t.Helper()
		found := map[string]bool{}
		for _, key := range hot {
			found[key] = true
		}
		for _, key := range []string{"a", "b", "c", "d"} {
			if l.hot(key) != found[key] {
				t.Errorf("%s: key %s is there: %v", where, key, l.hot(key))
			}
		}
	}
	if _, ok := purge(1, "", "a"); !ok {
		t.Error("another version is an error")
	}
	want("another version of the manifest", "a", "b", "c", "d")
	seqs["d"] = command.Seq(4, 0) // of the live row
	seqs["e"] = 1                 // is not there
	seqs["c"]--                   // of another deletion
	if _, ok := purge(0, "", "a", "b", "c", "d", "e"); !ok {
		t.Error("refused")
	}
	want("after the purge", "b", "c", "d")
	seqs["c"]++
	for range 2 { // it can be repeated
		if _, ok := purge(0, "", "c"); !ok {
			t.Error("refused")
		}
		want("after the second", "b", "d")
	}
	if kind, ok := purge(0, "alice", "b"); ok || kind != fault.Internal {
		t.Errorf("a user in a shared group: %v %v", kind, ok)
	}
}
