package changefeed

import (
	"bytes"
	"encoding/hex"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func seqs(changes []Change) []uint64 {
	var list []uint64
	for i := range changes {
		list = append(list, changes[i].Seq)
	}
	return list
}

func inserts(numbers ...uint64) []Change {
	changes := make([]Change, len(numbers))
	for i, n := range numbers {
		changes[i] = Change{Kind: Insert, Table: 1, Seq: n}
	}
	return changes
}

func expect(t *testing.T, r *Reader, after uint64, wantBehind bool, want ...uint64) {
	t.Helper()
	changes, behind := r.Next(after)
	if diff := cmp.Diff(want, seqs(changes)); diff != "" || behind != wantBehind {
		t.Errorf("after %d: behind %v, want %v; changes (-want +got):\n%s", after, behind, wantBehind, diff)
	}
}

func TestReaderIsToldThatItIsBehind(t *testing.T) {
	t.Parallel()
	f := New(Config{MaxChanges: 3})
	r := f.Watch(7)
	f.Publish(7, inserts(1, 2, 3))
	expect(t, r, 0, false, 1, 2, 3)
	f.Publish(7, inserts(4, 5, 6, 7))
	expect(t, r, 3, true) // 4 was dropped
	expect(t, r, 7, false)
	f.Publish(7, inserts(8))
	expect(t, r, 7, false, 8)
	f.Reset(7)
	expect(t, r, 8, true)
	expect(t, r, 8, false)
}

func TestBytesAreBounded(t *testing.T) {
	t.Parallel()
	f := New(Config{MaxBytes: 1000})
	r := f.Watch(7)
	big := Change{Kind: Insert, Table: 1, Seq: 1, New: make([]byte, 900)}
	f.Publish(7, []Change{big})
	big.Seq = 2
	f.Publish(7, []Change{big})
	expect(t, r, 0, true)
	expect(t, r, 1, false, 2)
}

func TestNothingIsKeptForNobody(t *testing.T) {
	t.Parallel()
	f := New(Config{})
	f.Publish(7, inserts(1, 2))
	r := f.Watch(7) // and the store is read now, at 2
	expect(t, r, 2, false)
	f.Publish(7, inserts(3))
	expect(t, r, 2, false, 3)
	r.Close()
	f.Publish(7, inserts(4))
	if kept := len(f.group(7).changes); kept != 0 {
		t.Errorf("%d changes are kept", kept)
	}
	late := f.Watch(7)
	expect(t, late, 4, false)
}

// TestPurgeIsNoPosition: a purge is never in the change log, so it must not make a reader seem behind for ever.
func TestPurgeIsNoPosition(t *testing.T) {
	t.Parallel()
	f := New(Config{MaxChanges: 1})
	f.Publish(7, []Change{{Kind: Purge, Table: 1, Seq: 9}})
	r := f.Watch(7)
	expect(t, r, 3, false)
	f.Publish(7, []Change{{Kind: Purge, Table: 1, Seq: 10}, {Kind: Purge, Table: 1, Seq: 11}})
	expect(t, r, 3, true)
	expect(t, r, 3, false, 11)
}

func TestTwoReaders(t *testing.T) {
	t.Parallel()
	f := New(Config{})
	fast, slow := f.Watch(7), f.Watch(7)
	f.Publish(7, inserts(1, 2))
	expect(t, fast, 0, false, 1, 2)
	f.Publish(7, inserts(3))
	expect(t, fast, 2, false, 3)
	expect(t, slow, 0, false, 1, 2, 3)
	select {
	case <-slow.Wake():
	default:
		t.Error("the reader was not woken")
	}
}

// TestRecordGolden pins the bytes of a stored change.
func TestRecordGolden(t *testing.T) {
	t.Parallel()
	c := Change{
		Kind: Update, Table: 258, User: "alice", Seq: 70_000 << 16, OldSeq: 69_000<<16 | 2, Micros: 1_767_323_045_000_000,
		PrimaryKey: []byte{1, 2}, Old: []byte("old"), New: []byte("new row"),
	}
	got := AppendRecord(nil, &c, Totals{Entries: 300, Bytes: 20_000})
	const want = "0102" + "8202" + "05616c696365" + "8280a0ec10" + "c0e6b3b2efeb9103" + "ac02" + "a09c01" + "020102" + "036f6c64" + "6e657720726f77"
	if hex.EncodeToString(got) != want {
		t.Errorf("record is %x", got)
	}
	back, totals, err := DecodeRecord(c.Seq, got)
	if diff := cmp.Diff(c, back); err != nil || diff != "" || totals != (Totals{300, 20_000}) {
		t.Errorf("%v %v %s", err, totals, diff)
	}
}

func FuzzDecodeRecord(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{1, 9})
	f.Add(AppendRecord(nil, &Change{Kind: Delete, Table: 1, Old: []byte("x")}, Totals{1, 2}))
	f.Add([]byte{1, 1, 0x80})
	f.Add([]byte{1, 1, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01})
	f.Fuzz(func(t *testing.T, data []byte) {
		c, totals, err := DecodeRecord(5, data)
		if err != nil {
			return
		}
		again, totals2, err := DecodeRecord(5, AppendRecord(nil, &c, totals))
		if err != nil || totals != totals2 || !bytes.Equal(again.New, c.New) || !bytes.Equal(again.Old, c.Old) || again.User != c.User {
			t.Errorf("%x: %+v, then %+v, %v", data, c, again, err)
		}
	})
}
