package applier

import (
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// TestCompactionLosesNoConflict: c was read, deleted, flushed, and compacted away before the reader's command is applied.
func TestCompactionLosesNoConflict(t *testing.T) {
	t.Parallel()
	l := newColdLab(t)
	l.write("a", nil)
	l.write("c", nil)
	seqC := command.Seq(l.index, 0)
	first := fromAToC(2, seqC)
	if _, ok := l.commit(0, l.index, first); !ok {
		t.Fatal("refused")
	}
	read := uint64(2) // the last write that the reader saw; it looked at version 1
	if _, ok := l.write("c", func(body *commandv1.WriteRows, row *commandv1.RowWrite) {
		body.Cold = []*commandv1.ColdRead{{TableId: 9, Version: 1, Index: read}}
		row.Deleted, row.Expect, row.ExpectSeq, row.ColdSeq, row.ColdRow = true, commandv1.Expect_EXPECT_SEQ, seqC, seqC, []byte{1, 1}
	}); !ok {
		t.Fatal("delete refused")
	}
	second := &commandv1.Segment{Number: 1, Path: "q", MinKey: []byte("c"), MaxKey: []byte("c"), Rows: 1, Deletions: 1, MaxSeq: command.Seq(l.index, 0)}
	if _, ok := l.commit(1, l.index, second); !ok {
		t.Fatal("refused")
	}
	merged := &commandv1.Segment{Number: 2, Path: "r", MinKey: []byte("a"), MaxKey: []byte("a"), Rows: 1, MaxSeq: command.Seq(1, 0)}
	if _, ok := l.apply(&commandv1.Command{Body: &commandv1.Command_ReplaceSegments{ReplaceSegments: &commandv1.ReplaceSegments{
		TableId: 9, ExpectVersion: 2, Numbers: []uint64{0, 1}, Segments: []*commandv1.Segment{merged},
	}}}); !ok {
		t.Fatal("compaction refused")
	}
	stale := []*commandv1.ColdRead{{TableId: 9, Version: 1, Index: read}}
	if kind, ok := l.write("z", func(body *commandv1.WriteRows, _ *commandv1.RowWrite) {
		body.Cold = stale
		body.Reads = []*commandv1.RowRead{{TableId: 9, PrimaryKey: []byte("c"), Seq: seqC}}
	}); ok || kind != fault.Conflict {
		t.Errorf("a read of a row that was deleted since was believed: %v", kind)
	}
	if kind, ok := l.write("y", func(body *commandv1.WriteRows, _ *commandv1.RowWrite) {
		body.Spans = []*commandv1.SpanUnchanged{{TableId: 9, Low: []byte("b"), High: []byte("d"), Index: read}}
	}); ok || kind != fault.Conflict {
		t.Errorf("a span whose row was deleted since was believed: %v", kind)
	}
	if kind, ok := l.write("c", func(body *commandv1.WriteRows, row *commandv1.RowWrite) {
		body.Cold = stale
		row.Expect, row.ExpectSeq, row.ColdSeq, row.ColdRow = commandv1.Expect_EXPECT_SEQ, seqC, seqC, []byte{1, 1}
	}); ok || kind != fault.Conflict {
		t.Errorf("a stale UPDATE brought a deleted row back: %v", kind)
	}
}
