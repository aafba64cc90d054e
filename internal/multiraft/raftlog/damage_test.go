package raftlog_test

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"path"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	raftpb "go.etcd.io/raft/v3/raftpb"

	"github.com/kalamdb/kalamdb-go/internal/multiraft/raftlog"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/raftlog/raftlogtest"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
)

// A flipped bit is found wherever it is, or it is in bytes that nobody needs; the log never opens with less
// than it had, and a log that does not open is left as it was.
func TestFlippedBitAnywhere(t *testing.T) {
	t.Parallel()
	all, model := populated(t, true)
	names := all.segments()
	if len(names) < 3 {
		t.Fatalf("only %d segments", len(names))
	}
	found := 0
	for _, name := range names {
		for offset := range all[name] {
			if offset > 64 && (all[name][offset] == 0 && offset%197 != 0 || offset%11 != 0) {
				continue // a sample
			}
			changed := all.with(name, func(b []byte) { b[offset] ^= 1 << (offset % 8) })
			fs := changed.restore(t)
			l, err := raftlog.Open(smallConfig(fs))
			if err == nil {
				if err = model.Recovered(raftlogtest.Groups(l)); err != nil {
					t.Fatalf("%s at %d: opened and lost something: %v", name, offset, err)
				}
				closeLog(t, l)
				continue
			}
			found++
			var damage *raftlog.DamageError
			if !errors.As(err, &damage) && !errors.Is(err, raftlog.ErrWrongStore) {
				t.Fatalf("%s at %d: %v, want a DamageError", name, offset, err)
			}
			if !changed.equal(readFiles(t, fs)) {
				t.Fatalf("%s at %d: files were changed though the log is damaged", name, offset)
			}
		}
	}
	t.Logf("%d flips found", found)
	if found < 500 {
		t.Errorf("only %d flips were found", found)
	}
}

func TestDamagedFiles(t *testing.T) {
	t.Parallel()
	all, _ := populated(t, true)
	names := all.segments()
	first, middle, last := names[0], names[1], names[len(names)-1]
	without := func(name string) files {
		changed := all.with(name, func([]byte) {})
		delete(changed, name)
		return changed
	}
	swapped := all.with(first, func([]byte) {})
	swapped[first], swapped[middle] = all[middle], all[first]
	short := all.with(middle, func([]byte) {})
	short[middle] = all[middle][:len(all[middle])/2]
	empty := all.with(last, func([]byte) {})
	empty[last] = nil
	for name, c := range map[string]files{
		"first segment missing":            without(first),
		"middle segment missing":           without(middle),
		"segments swapped":                 swapped,
		"middle segment cut short":         short,
		"last segment empty":               empty,
		"middle segment zeroed":            all.with(middle, func(b []byte) { clear(b) }),
		"records of middle segment zeroed": all.with(middle, func(b []byte) { clear(b[4096:]) }),
		"newer format":                     all.with(middle, func(b []byte) { b[8] = 2 }),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fs := c.restore(t)
			l, err := raftlog.Open(smallConfig(fs))
			if _, ok := errors.AsType[*raftlog.DamageError](err); !ok {
				if err == nil {
					closeLog(t, l)
				}
				t.Fatalf("open: %v, want a DamageError", err)
			}
			if !c.equal(readFiles(t, fs)) {
				t.Error("files were changed though the log is damaged")
			}
		})
	}
}

// A write that the power cut tore at any byte is cut off, the log before it is whole, and nothing of the torn record
// comes back once the log went on.
func TestTornLastRecord(t *testing.T) {
	t.Parallel()
	fs := vfs.NewMem()
	l := open(t, smallConfig(fs))
	model := raftlogtest.NewModel()
	write := func(first uint64, count, dataBytes int) {
		u := raftlog.Update{Group: 3}
		for i := range count {
			data := make([]byte, dataBytes)
			for j := range data {
				data[j] = byte(first) ^ byte(j)
			}
			u.Entries = append(u.Entries, raftlogtest.Entry(first+uint64(i), first, data))
		}
		if err := l.Append([]raftlog.Update{u}, true); err != nil {
			t.Fatal(err)
		}
		model.Append([]raftlog.Update{u}, true)
	}
	write(1, 3, 200)
	before, beforeModel := readFiles(t, fs), model.Clone()
	write(2, 4, 1300) // replaces a suffix, over more than one page
	after := readFiles(t, fs)
	closeLog(t, l)

	name := before.segments()[0]
	from, to := 0, len(before[name])
	for from < to && before[name][from] == after[name][from] {
		from++
	}
	for to > from && before[name][to-1] == after[name][to-1] {
		to--
	}
	if to-from < 5000 {
		t.Fatalf("the record lies at %d to %d", from, to)
	}
	for _, behind := range []byte{0, 0xa5} { // a new segment, a recycled one
		for torn := from; torn <= to; torn++ {
			if torn > from+150 && torn < to-150 && torn%41 != 0 {
				continue // a sample
			}
			left := after.with(name, func(b []byte) {
				for i := torn; i < len(b); i++ {
					b[i] = behind
				}
			})
			want := beforeModel
			if torn == to {
				want = model
			}
			if err := goOn(t, left, want); err != nil {
				t.Fatalf("torn after %d of %d bytes, %#x behind: %v", torn-from, to-from, behind, err)
			}
		}
	}
	// What was cut off is gone from the disk before anything new is written.
	fs = after.with(name, func(b []byte) { copy(b[to-100:], bytes.Repeat([]byte{0xa5}, 9000)) }).restore(t)
	l = open(t, smallConfig(fs))
	if !bytes.Equal(readFiles(t, fs)[name], before[name]) {
		t.Error("bytes of the torn record are still on disk")
	}
	closeLog(t, l)
	// The pages of the record reach the disk in any order.
	for pages := range 3 {
		left := before.with(name, func(b []byte) {
			start := from &^ 4095
			for page := range 3 {
				if at := start + page*4096; page != pages && at < len(b) {
					copy(b[at:min(at+4096, len(b))], after[name][at:])
				}
			}
		})
		if left.equal(after) {
			continue
		}
		if err := goOn(t, left, beforeModel); err != nil {
			t.Fatalf("page %d did not reach the disk: %v", pages, err)
		}
	}
}

// goOn opens a log, compares, writes, opens it again after another power cut and compares again.
func goOn(t *testing.T, left files, want *raftlogtest.Model) error {
	t.Helper()
	fs := left.restore(t)
	l, err := raftlog.Open(smallConfig(fs))
	if err != nil {
		return err
	}
	if err = want.Recovered(raftlogtest.Groups(l)); err != nil {
		return errors.Join(err, l.Close())
	}
	u := raftlog.Update{Group: 9, Entries: []*raftpb.Entry{raftlogtest.Entry(1, 1, []byte("x"))}}
	if err = l.Append([]raftlog.Update{u}, true); err != nil {
		return errors.Join(err, l.Close())
	}
	cut := readFiles(t, fs)
	if err = l.Close(); err != nil {
		return err
	}
	if l, err = raftlog.Open(smallConfig(cut.restore(t))); err != nil {
		return fmt.Errorf("open again: %w", err)
	}
	if err := want.Recovered(raftlogtest.Groups(l)); err != nil {
		return errors.Join(fmt.Errorf("opened again: %w", err), l.Close())
	}
	if l.Group(9).LastIndex() != 1 {
		return errors.Join(errors.New("what was appended is gone"), l.Close())
	}
	return l.Close()
}

// Records that a recycled file has left behind the end of the log, at the very offset where the next one would be,
// are not replayed, and neither is one that a disk wrote to the wrong place.
func TestStaleAndMisplacedRecords(t *testing.T) {
	t.Parallel()
	all, model := populated(t, true)
	names := all.segments()
	last, before := names[len(names)-1], names[len(names)-2]
	end := len(all[last])
	for end > 0 && all[last][end-1] == 0 {
		end--
	}
	end = (end + 15) &^ 15
	stale := all.with(last, func(b []byte) { copy(b[end:], all[before][end:]) })
	misplaced := all.with(last, func(b []byte) { copy(b[end:], b[4096:end]) })
	for name, left := range map[string]files{"stale": stale, "misplaced": misplaced} {
		if left.equal(all) {
			t.Fatalf("%s: the test changed nothing", name)
		}
		if err := goOn(t, left, model); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// An entry that went bad on disk after the log was opened is an error of that group, never wrong data.
func TestDamagedEntryIsNotReturned(t *testing.T) {
	t.Parallel()
	fs := vfs.NewMem()
	cfg := smallConfig(fs)
	cfg.CacheBytes = -1
	l := open(t, cfg)
	u := raftlog.Update{Group: 5}
	for i := range uint64(10) {
		u.Entries = append(u.Entries, raftlogtest.Entry(i+1, 1, []byte(fmt.Sprintf("value number %d", i+1))))
	}
	if err := l.Append([]raftlog.Update{u}, true); err != nil {
		t.Fatal(err)
	}
	name := readFiles(t, fs).segments()[0]
	at := int64(strings.Index(string(readFiles(t, fs)[name]), "value number 7"))
	f, err := fs.OpenReadWrite(path.Join("log", name), disk.Category)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("V"), at); err != nil {
		t.Fatal(err)
	}
	var damage *raftlog.DamageError
	if _, err := l.Group(5).Entries(1, 11, math.MaxUint64); !errors.As(err, &damage) || damage.Groups[0] != 5 {
		t.Errorf("entries 1 to 10: %v, want a DamageError of group 5", err)
	}
	if entries, err := l.Group(5).Entries(1, 7, math.MaxUint64); err != nil || len(entries) != 6 {
		t.Errorf("entries 1 to 6: %d, %v; want all of them", len(entries), err)
	}
	closeLog(t, l)
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// Whatever bytes a segment holds, opening it gives a log or an error.
func TestRandomBytesInSegments(t *testing.T) {
	t.Parallel()
	all, _ := populated(t, false)
	names := all.segments()
	rng := rand.New(rand.NewPCG(5, 5))
	for range 300 {
		name := names[rng.IntN(len(names))]
		fs := all.with(name, func(b []byte) {
			for range 1 + rng.IntN(20) {
				b[rng.IntN(len(b))] = byte(rng.Uint32())
			}
			if rng.IntN(3) == 0 {
				from := rng.IntN(len(b))
				clear(b[from:min(from+rng.IntN(9000), len(b))])
			}
		}).restore(t)
		if l, err := raftlog.Open(smallConfig(fs)); err == nil {
			closeLog(t, l)
		}
	}
}

// The last record of a closed segment has no other behind it in its segment; that it is gone still shows, even when
// no entry was in it.
func TestLostLastRecordOfClosedSegment(t *testing.T) {
	t.Parallel()
	fs := vfs.NewMem()
	l := open(t, smallConfig(fs))
	for group := shard.GroupID(1); l.Stats().Segments < 3; group++ {
		u := raftlog.Update{Group: group, Hard: &raftlog.HardState{Term: 1, Vote: math.MaxUint64}}
		if err := l.Append([]raftlog.Update{u}, true); err != nil {
			t.Fatal(err)
		}
	}
	closeLog(t, l)
	all := readFiles(t, fs)
	for i, name := range all.segments()[:2] {
		left := all.with(name, func(b []byte) { b[bytes.LastIndexByte(b, 0xff)] = 0 })
		l, err := raftlog.Open(smallConfig(left.restore(t)))
		var damage *raftlog.DamageError
		if !errors.As(err, &damage) || damage.Segment != uint64(i+1) {
			if err == nil {
				closeLog(t, l)
			}
			t.Errorf("open without the last record of %s: %v, want a DamageError", name, err)
		}
	}
}
