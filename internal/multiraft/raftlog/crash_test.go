package raftlog_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kalamdb/kalamdb-go/internal/multiraft/raftlog"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/raftlog/raftlogtest"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk/faultfs"
)

// crasher takes a crash clone before every change of the disk and checks what a restart finds there.
type crasher struct {
	t       *testing.T
	mem     *vfs.MemFS
	percent int // of what is not synced that survives
	rng     *rand.Rand
	nested  bool // also crash the restart

	acknowledged *raftlogtest.Model // every operation that has returned
	underway     *raftlogtest.Model // and the one that has not
	what         string
	checked      int
	failed       error
}

func (c *crasher) hook(op faultfs.Op) error {
	if c.failed != nil {
		return nil //nolint:nilerr // the first failure is reported at the end; the log goes on
	}
	clone := c.mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: c.percent, RNG: c.rng})
	if err := c.restart(clone, c.nested); err != nil {
		c.failed = fmt.Errorf("crash before operation %v, during %s: %w", op, c.what, err)
	}
	c.checked++
	return nil
}

// restart opens what a crash left, checks it, goes on writing and checks that, too.
func (c *crasher) restart(clone *vfs.MemFS, nested bool) error {
	cfg := smallConfig(clone)
	if nested {
		cfg.FS = faultfs.Wrap(clone, func(op faultfs.Op) error {
			again := clone.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: c.percent, RNG: c.rng})
			if err := c.restart(again, false); err != nil {
				return fmt.Errorf("and again before operation %v: %w", op, err)
			}
			return nil
		})
	}
	l, err := raftlog.Open(cfg)
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	if err = c.check(l); err != nil {
		return errors.Join(err, l.Close())
	}
	// Nothing that was cut off may return once the log was written to again.
	extra := raftlog.Update{Group: 77, Entries: []*raftpbEntry{raftlogtest.Entry(1, 1, make([]byte, 100))}}
	if err = l.Append([]raftlog.Update{extra}, true); err != nil {
		return fmt.Errorf("append after the crash: %w", err)
	}
	if nested {
		return l.Close()
	}
	clone = clone.CrashClone(vfs.CrashCloneCfg{})
	if l, err = raftlog.Open(smallConfig(clone)); err != nil {
		return fmt.Errorf("open once more: %w", err)
	}
	if err := c.check(l); err != nil {
		return errors.Join(fmt.Errorf("opened once more: %w", err), l.Close())
	}
	if last := l.Group(77).LastIndex(); last != 1 {
		return fmt.Errorf("last index %d of what was appended after the crash, want 1", last)
	}
	return l.Close()
}

// check holds what is recovered against the promise: every acknowledged operation is there, and the one under
// way is there whole or not at all.
func (c *crasher) check(l *raftlog.Log) error {
	err := c.acknowledged.Recovered(raftlogtest.Groups(l))
	if err == nil {
		return nil
	}
	if otherErr := c.underway.Recovered(raftlogtest.Groups(l)); otherErr != nil {
		return fmt.Errorf("neither without the operation under way: %w; nor with it: %w", err, otherErr)
	}
	return nil
}

func TestCrashAtEveryChangeOfTheDisk(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		percent int
		nested  bool
		seeds   uint64
	}{
		{"nothing unsynced survives", 0, false, 2},
		{"half of the unsynced survives", 50, false, 2},
		{"most of the unsynced survives", 90, false, 1},
		{"everything survives", 100, false, 1},
		{"the restart crashes, too", 50, true, 1},
	} {
		for seed := range c.seeds {
			t.Run(fmt.Sprintf("%s/seed=%d", c.name, seed), func(t *testing.T) {
				t.Parallel()
				crashEverywhere(t, seed, c.percent, c.nested)
			})
		}
	}
}

func crashEverywhere(t *testing.T, seed uint64, percent int, nested bool) {
	t.Helper()
	w := raftlogtest.NewWorkload(seed, 5, 500)
	c := &crasher{
		t: t, mem: vfs.NewCrashableMem(), percent: percent, rng: rand.New(rand.NewPCG(seed, 2)), nested: nested,
		acknowledged: w.Model, underway: w.Model, what: "open",
	}
	l := open(t, smallConfig(faultfs.Wrap(c.mem, c.hook)))
	steps := 150
	if nested {
		steps = 50
	}
	for step := range steps {
		op := w.Next()
		c.underway, c.what = w.Model.Clone(), op.String()
		op.Apply(c.underway)
		if err := op.Run(l); err != nil {
			t.Fatalf("step %d, %v: %v", step, op, err)
		}
		c.acknowledged, w.Model = c.underway, c.underway
		if c.failed != nil {
			t.Fatalf("seed %d, step %d: %v", seed, step, c.failed)
		}
	}
	c.what = "close"
	s := l.Stats()
	closeLog(t, l)
	if c.failed != nil {
		t.Fatal(c.failed)
	}
	t.Logf("%d crashes, %d segments freed, %d bytes rewritten", c.checked, s.FreedSegments, s.RewrittenBytes)
	if !nested && (s.FreedSegments < 5 || s.RewrittenBytes == 0) {
		t.Errorf("the workload exercised too little: %+v", s)
	}
}
