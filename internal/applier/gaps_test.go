package applier

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

func rowOfGap(number uint64, deleted bool) *commandv1.RowWrite {
	return &commandv1.RowWrite{
		TableId: 5, User: "alice", PrimaryKey: binary.BigEndian.AppendUint64(nil, number), Row: []byte("row"),
		Deleted: deleted, Expect: commandv1.Expect_EXPECT_ABSENT,
	}
}

// TestGapsSpareAscendingKeys: writers whose keys ascend are looked up once each, whatever lies between.
func TestGapsSpareAscendingKeys(t *testing.T) {
	t.Parallel()
	b := newBatch(t)
	d := restored(t, b)
	const writers, rows = 100, 50
	index, spared := uint64(0), 0
	for n := range uint64(rows) {
		for writer := range uint64(writers) {
			row := rowOfGap(writer<<32|n, false)
			if d.gaps.absent(keys.Row(group, 5, "alice", row.GetPrimaryKey())) {
				spared++
			}
			index++
			response, err := d.Apply(b, index, write(row))
			if err != nil || response.GetFailure() != nil {
				t.Fatalf("row %d of writer %d: %v, %v", n, writer, response, err)
			}
		}
	}
	if spared < writers*rows*9/10 {
		t.Errorf("%d of %d rows were found in gaps, want nine tenths at least", spared, writers*rows)
	}
	if len(d.gaps.known) != writers {
		t.Errorf("%d gaps are known of %d writers", len(d.gaps.known), writers)
	}
	// What lies in no gap any more is still found.
	response, err := d.Apply(b, index+1, write(rowOfGap(3<<32|7, false)))
	if err != nil || response.GetFailure() == nil {
		t.Errorf("a key is taken twice: %v, %v", response, err)
	}
}

// TestGapsHoldNoRow compares what is remembered with the store, under writes, deletions, purges and many more writers than
// can be remembered.
func TestGapsHoldNoRow(t *testing.T) {
	t.Parallel()
	b := newBatch(t)
	d := restored(t, b)
	random := rand.New(rand.NewPCG(1, 2))
	hits := 0
	for index := uint64(1); index < 6000; index++ {
		number := random.Uint64N(2000) * 3
		if index%2 == 0 { // one that ascends
			number = 10_000 + index
		}
		row := rowOfGap(number, index%5 == 0)
		if row.GetDeleted() {
			row.Expect = commandv1.Expect_EXPECT_ANY
		}
		key := keys.Row(group, 5, "alice", row.GetPrimaryKey())
		if d.gaps.absent(key) {
			hits++
			if _, hot, err := readHot(b, key); err != nil || hot {
				t.Fatalf("index %d: row %d lies in a gap (%v)", index, number, err)
			}
		}
		if _, err := d.Apply(b, index, write(row)); err != nil {
			t.Fatal(err)
		}
		if index%100 == 0 {
			check(t, b.DeleteRange(keys.Row(group, 5, "alice", rowOfGap(number, false).GetPrimaryKey()), keys.Row(group, 5, "alice", rowOfGap(number+200, false).GetPrimaryKey())))
		}
		for i := 1; i < len(d.gaps.known); i++ {
			if string(d.gaps.known[i-1].high) > string(d.gaps.known[i].low) {
				t.Fatalf("index %d: gaps %d and %d overlap", index, i-1, i)
			}
		}
		if len(d.gaps.known) > maxGaps {
			t.Fatalf("%d gaps are remembered", len(d.gaps.known))
		}
	}
	if hits < 2500 {
		t.Errorf("%d rows lay in a gap, want nearly all of the 3000 that ascend", hits)
	}
}

// TestGapBehindDeletedKeys: what it takes to go over them is not spent again soon.
func TestGapBehindDeletedKeys(t *testing.T) {
	t.Parallel()
	b := newBatch(t)
	d := restored(t, b)
	key := func(n uint64) []byte { return keys.Row(group, 5, "alice", rowOfGap(n, false).GetPrimaryKey()) }
	const deleted = 20_000
	for n := range uint64(deleted) {
		check(t, b.Set(key(n), nil))
		check(t, b.Delete(key(n)))
	}
	for index := uint64(1); index < 100; index++ {
		if _, err := d.Apply(b, index, write(rowOfGap(index*7919%deleted, false))); err != nil {
			t.Fatal(err)
		}
		if len(d.gaps.known) > 1 {
			t.Fatalf("after %d rows among %d deleted ones, %d gaps were looked for", index, deleted, len(d.gaps.known))
		}
	}
	if len(d.gaps.known) != 1 || d.gaps.affords(key(0)) {
		t.Errorf("%d gaps are known, credit %d", len(d.gaps.known), d.gaps.credit)
	}
}

// TestGapsForgetTheOldest: there is room for so many, and the one that helped longest ago goes.
func TestGapsForgetTheOldest(t *testing.T) {
	t.Parallel()
	g := newGaps()
	number := func(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }
	for n := range uint64(maxGaps) {
		g.add(gap{low: number(10 * n), high: number(10*n + 10)})
	}
	for n := range uint64(maxGaps) {
		if n != 7 && !g.absent(number(10*n+5)) {
			t.Fatalf("gap %d is not known", n)
		}
	}
	g.add(gap{low: number(10 * maxGaps), high: number(10*maxGaps + 10)})
	if _, ok := g.find(number(75)); ok || len(g.known) != maxGaps {
		t.Errorf("the oldest of %d gaps is still known: %v", len(g.known), ok)
	}
	if !g.absent(number(10*maxGaps + 5)) {
		t.Error("the newest gap is not known")
	}
}
