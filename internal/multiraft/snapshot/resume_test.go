package snapshot

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk/faultfs"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
)

var small = Config{ChunkBytes: 10_000, FileBytes: 50_000, VerifyInstalled: true}

func openOn(t *testing.T, fsys disk.FS) *storage.Engine {
	t.Helper()
	engine, err := storage.Open(storage.Options{FS: fsys, Dir: "store", MemTableBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	return engine
}

func openStaging(t *testing.T, engine *storage.Engine, clk clock.Clock) *Staging {
	t.Helper()
	lo, _ := keys.GroupSpan(group)
	staging, err := NewStaging(engine, "staging", [][]byte{lo}, clk, small)
	if err != nil {
		t.Fatal(err)
	}
	return staging
}

// send gives a receiver at most limit chunks, built anew with what the staging still has, and returns the
// receiver and how many bytes of chunks went over.
func send(t *testing.T, from *storage.Engine, staging *Staging, limit int) (r *Receiver, sent int, ended bool) {
	t.Helper()
	lo, hi := keys.GroupSpan(group)
	view := from.NewSnapshot()
	builder, err := NewBuilder(view, lo, hi, small)
	if err != nil {
		t.Fatal(err)
	}
	builder.Skip(staging.Interrupted(lo))
	if r, err = staging.Receive(lo, hi); err != nil {
		t.Fatal(err)
	}
	for range limit {
		chunk, err := builder.Next()
		if errors.Is(err, io.EOF) {
			ended = true
			break
		}
		if err == nil {
			sent += len(chunk)
			err = r.Add(chunk)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(builder.Close(), view.Close()); err != nil {
		t.Fatal(err)
	}
	return r, sent, ended
}

func finish(t *testing.T, r *Receiver, from, to *storage.Engine) {
	t.Helper()
	staged, err := r.Finish()
	if err != nil {
		t.Fatal(err)
	}
	if err := staged.Install(); err != nil {
		t.Fatal(err)
	}
	lo, hi := keys.GroupSpan(group)
	if dump(t, to, lo, hi) != dump(t, from, lo, hi) {
		t.Error("the group differs from the one that was sent")
	}
	if left, err := to.FS().List("staging"); err != nil || len(left) != 0 {
		t.Errorf("staging holds %v, %v", left, err)
	}
}

func change(t *testing.T, engine *storage.Engine, numbers ...int) {
	t.Helper()
	batch := engine.NewBatch()
	for _, n := range numbers {
		if err := batch.Set(groupKey(group, n), []byte("changed")); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(engine.Commit(batch), batch.Close()); err != nil {
		t.Fatal(err)
	}
}

// A view is taken anew for every attempt, as after a restart of the sender, so these cases cover that too.
func TestInterruptedSnapshotGoesOn(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		restart  bool  // of the receiver, losing what was not synced
		changes  []int // keys that change between the attempts
		atMost   float64
		attempts int
	}{
		{"broken stream", false, nil, 0.55, 1},
		{"broken many times", false, nil, 0.55, 5},
		{"receiver restarts", true, nil, 0.60, 1},
		{"a key at the front changes", false, []int{1}, 0.70, 1},
		{"keys at the front, in the middle and at the end change", true, []int{1, 1000, 3999}, 0.75, 1},
		{"keys appear around the others", false, []int{999_999}, 0.55, 1},
		{"all changes", false, []int{0, 200, 400, 600, 800, 1000, 1200, 1400, 1600, 1800, 2000, 2200}, 1.05, 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			from := openStore(t)
			fill(t, from, 4000, "new")
			whole := 0
			all := chunks(t, from, small)
			for _, chunk := range all {
				whole += len(chunk)
			}
			disks := vfs.NewCrashableMem()
			to := openOn(t, disks)
			staging := openStaging(t, to, clock.NewManual(time.Unix(0, 0)))
			for range test.attempts {
				r, _, ended := send(t, from, staging, len(all)/2)
				if ended {
					t.Fatal("the first half was everything")
				}
				if test.restart {
					crashed := disks.CrashClone(vfs.CrashCloneCfg{})
					if err := errors.Join(r.Suspend(), to.Close()); err != nil {
						t.Fatal(err)
					}
					to = openOn(t, crashed)
					staging = openStaging(t, to, clock.NewManual(time.Unix(0, 0)))
				} else if err := r.Suspend(); err != nil {
					t.Fatal(err)
				}
				if test.attempts > 1 {
					all = all[:len(all)/2] // the next attempt ends earlier
				}
			}
			change(t, from, test.changes...)
			r, sent, ended := send(t, from, staging, 1<<20)
			if !ended {
				t.Fatal("not all was sent")
			}
			if share := float64(sent) / float64(whole); share > test.atMost {
				t.Errorf("the last attempt sent %.2f of the whole, want at most %.2f", share, test.atMost)
			}
			finish(t, r, from, to)
			if err := to.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestNothingWrongIsResumed(t *testing.T) {
	t.Parallel()
	lo, hi := keys.GroupSpan(group)
	first := func(t *testing.T, from, to *storage.Engine, clk clock.Clock) *Staging {
		t.Helper()
		staging := openStaging(t, to, clk)
		r, _, _ := send(t, from, staging, 30)
		if err := r.Suspend(); err != nil {
			t.Fatal(err)
		}
		if len(staging.Interrupted(lo)) < 2 {
			t.Fatalf("only %d ranges are left", len(staging.Interrupted(lo)))
		}
		return staging
	}
	t.Run("a kept file is damaged", func(t *testing.T) {
		t.Parallel()
		from, to := openStore(t), openStore(t)
		fill(t, from, 4000, "new")
		staging := first(t, from, to, clock.NewManual(time.Unix(0, 0)))
		w, err := to.NewTableWriter(readRecord(to.FS(), staging.path(lo))[0].path)
		if err == nil {
			err = errors.Join(w.Set(groupKey(group, 0), []byte("other")), w.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
		view := from.NewSnapshot()
		builder, err := NewBuilder(view, lo, hi, small)
		if err != nil {
			t.Fatal(err)
		}
		builder.Skip(staging.Interrupted(lo))
		r, err := staging.Receive(lo, hi)
		if err != nil {
			t.Fatal(err)
		}
		chunk, err := builder.Next()
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Add(chunk); !errors.Is(err, ErrDiffers) {
			t.Errorf("error = %v, want ErrDiffers", err)
		}
		if err := errors.Join(r.Suspend(), builder.Close(), view.Close()); err != nil {
			t.Fatal(err)
		}
		if left := staging.Interrupted(lo); len(left) != 0 {
			t.Errorf("%d ranges are still offered", len(left))
		}
	})
	t.Run("the record is damaged", func(t *testing.T) {
		t.Parallel()
		from, to := openStore(t), openStore(t)
		fill(t, from, 4000, "new")
		staging := first(t, from, to, clock.NewManual(time.Unix(0, 0)))
		if err := disk.WriteFileAtomic(to.FS(), staging.path(lo)+"/"+recordName, bytes.Repeat([]byte{1}, 40)); err != nil {
			t.Fatal(err)
		}
		if left := staging.Interrupted(lo); len(left) != 0 {
			t.Errorf("%d ranges are offered", len(left))
		}
	})
	t.Run("it is too old", func(t *testing.T) {
		t.Parallel()
		from, to := openStore(t), openStore(t)
		fill(t, from, 4000, "new")
		clk := clock.NewManual(time.Unix(0, 0))
		staging := first(t, from, to, clk)
		clk.Advance(InterruptedFor - 1)
		if err := staging.Expire(); err != nil || len(staging.Interrupted(lo)) == 0 {
			t.Errorf("expired early, %v", err)
		}
		clk.Advance(1)
		if err := staging.Expire(); err != nil || len(staging.Interrupted(lo)) != 0 {
			t.Errorf("did not expire, %v", err)
		}
		if left, err := to.FS().List("staging"); err != nil || len(left) != 0 {
			t.Errorf("staging holds %v, %v", left, err)
		}
	})
	t.Run("one is being received", func(t *testing.T) {
		t.Parallel()
		from, to := openStore(t), openStore(t)
		fill(t, from, 4000, "new")
		staging := first(t, from, to, clock.NewManual(time.Unix(0, 0)))
		one, err := staging.Receive(lo, hi)
		if err != nil {
			t.Fatal(err)
		}
		if left := staging.Interrupted(lo); len(left) != 0 {
			t.Errorf("%d ranges are offered twice", len(left))
		}
		two, _, _ := send(t, from, staging, 1<<20)
		if err := one.Discard(); err != nil {
			t.Fatal(err)
		}
		finish(t, two, from, to)
	})
}

func TestSkipUsesAscendingRangesInsideTheSpan(t *testing.T) {
	t.Parallel()
	lo, hi := keys.GroupSpan(group)
	at := func(n int) Range { return Range{Last: groupKey(group, n)} }
	for name, test := range map[string]struct {
		give []Range
		want int
	}{
		"ascending":  {[]Range{at(1), at(2)}, 2},
		"equal":      {[]Range{at(1), at(1)}, 1},
		"descending": {[]Range{at(2), at(1)}, 1},
		"before":     {[]Range{{Last: nil}, at(1)}, 0},
		"behind":     {[]Range{at(1), {Last: hi}}, 1},
	} {
		b := &Builder{lo: lo, hi: hi}
		b.Skip(test.give)
		if len(b.ranges) != test.want {
			t.Errorf("%s: %d ranges are used, want %d", name, len(b.ranges), test.want)
		}
	}
}

// TestCrashAnywhereLeavesOldOrNew crashes before every change of the disk while a snapshot is received, finished and
// installed. After each crash the group is the old or the new one, and a new attempt succeeds from whatever is left.
func TestCrashAnywhereLeavesOldOrNew(t *testing.T) {
	t.Parallel()
	lo, hi := keys.GroupSpan(group)
	from := openStore(t)
	fill(t, from, 1200, "new")
	base := vfs.NewCrashableMem()
	var mu sync.Mutex // guards clones, kinds and watching
	var clones []*vfs.MemFS
	var kinds []string
	watching := false
	to := openOn(t, faultfs.Wrap(base, func(op faultfs.Op) error {
		mu.Lock()
		defer mu.Unlock()
		if watching && op.Kind != faultfs.Write {
			clones = append(clones, base.CrashClone(vfs.CrashCloneCfg{}))
			kinds = append(kinds, op.String())
		}
		return nil
	}))
	fill(t, to, 500, "old")
	if err := to.Flush(); err != nil {
		t.Fatal(err)
	}
	before, want := dump(t, to, lo, hi), dump(t, from, lo, hi)
	mu.Lock()
	watching = true
	mu.Unlock()
	staging := openStaging(t, to, clock.NewManual(time.Unix(0, 0)))
	r, _, _ := send(t, from, staging, 12) // breaks and goes on
	if err := r.Suspend(); err != nil {
		t.Fatal(err)
	}
	r, _, _ = send(t, from, staging, 1<<20)
	finish(t, r, from, to)
	mu.Lock()
	watching = false
	mu.Unlock()
	if err := to.Close(); err != nil {
		t.Fatal(err)
	}
	resumed, outcomes := 0, map[string]int{}
	for i, clone := range clones {
		after := openOn(t, clone)
		switch dump(t, after, lo, hi) {
		case before:
			outcomes["old"]++
		case want:
			outcomes["new"]++
		default:
			t.Errorf("crash %d (%s) leaves neither the old nor the new state", i, kinds[i])
		}
		staging := openStaging(t, after, clock.NewManual(time.Unix(0, 0)))
		left, err := after.FS().List("staging")
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		ranges := staging.Interrupted(lo)
		if len(ranges) > 0 {
			resumed++
		} else if len(left) > 0 {
			t.Errorf("crash %d (%s): staging holds %v that nobody can use", i, kinds[i], left)
		}
		r, _, _ := send(t, from, staging, 1<<20)
		finish(t, r, from, after)
		if err := after.Close(); err != nil {
			t.Error(err)
		}
	}
	if resumed == 0 || outcomes["old"] == 0 || outcomes["new"] == 0 {
		t.Errorf("of %d crashes %d could go on, outcomes %v: the test does not cover the change", len(clones), resumed, outcomes)
	}
	slices.Sort(kinds)
	t.Log(fmt.Sprint(len(clones), " crashes, ", resumed, " could go on, ", outcomes))
}

// What is on disk must be what was sent: both comparisons find a difference.
func TestContentOnDiskIsComparedWithTheTrailer(t *testing.T) {
	t.Parallel()
	for _, where := range []string{"files", "store"} {
		from, to := openStore(t), openStore(t)
		fill(t, from, 300, "new")
		staging := openStaging(t, to, clock.NewManual(time.Unix(0, 0)))
		r, _, _ := send(t, from, staging, 1<<20)
		var err error
		if where == "files" {
			r.sent.digest++
			_, err = r.Finish()
		} else {
			var staged *Staged
			if staged, err = r.Finish(); err != nil {
				t.Fatal(err)
			}
			staged.sent.pairs++
			err = staged.Install()
		}
		if !errors.Is(err, ErrDiffers) {
			t.Errorf("%s: error = %v, want ErrDiffers", where, err)
		}
	}
}
