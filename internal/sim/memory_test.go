package sim

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"runtime/pprof"
	"strings"
	"testing"
	"time"
)

// This file bounds the memory of runs: a run that grows without end would take the machine before anybody knew its seed.

const (
	// comfortBytes is from where on garbage is collected more often.
	comfortBytes = 768 << 20
	// mostBytes ends the tests; runs that are well stay far below it.
	mostBytes = 6 << 30
	// weighEvery is how long a run may grow before somebody looks, in real time.
	weighEvery = 200 * time.Millisecond
)

// TestMain lets garbage collections wait for longer: a simulation lives for seconds and makes much that dies young. Not for as long as
// they like, though. With the tag invariants Pebble's memtables have finalizers, so that what is dead stays for one more collection, and
// memtables are a third of all garbage: when each collection waits for five times what the one before has left, each leaves more than the one
// before, without end.
func TestMain(m *testing.M) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(comfortBytes)
	}
	os.Exit(m.Run())
}

// scales say what this process takes from the machine.
type scales struct{ samples []metrics.Sample }

func newScales() *scales {
	return &scales{[]metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}}
}

func (s *scales) bytes() uint64 {
	metrics.Read(s.samples)
	return s.samples[0].Value.Uint64() - s.samples[1].Value.Uint64()
}

// tooLarge ends the tests, because nothing else ends a run that does not come to its next step: with the seed, the last events, what all
// goroutines do, and a profile of what is kept.
func (w *world) tooLarge(used, most uint64) error {
	w.end = goroutines()
	profile, err := keepHeapProfile(w.opt.heapDir)
	err = violation{fmt.Sprintf("the run takes %d MiB of memory, at most %d are right; %s has a profile of the heap (%v)",
		used>>20, most>>20, profile, err)}
	report := w.report(err)
	if w.opt.burst == nil {
		panic(report)
	}
	w.opt.burst(report)
	return err
}

// keepHeapProfile writes what the last collection has left into a file of a directory, the usual one for "".
func keepHeapProfile(dir string) (name string, err error) {
	f, err := os.CreateTemp(dir, "kalamdb-sim-heap-*.pprof")
	if err != nil {
		return "", err
	}
	return f.Name(), errors.Join(pprof.WriteHeapProfile(f), f.Close())
}

// TestRunThatGrowsIsAFailure lets a run take more memory than it may, in the middle of a step, and wants the tests to be ended with its
// seed, its last events, the place where it is, and a profile.
func TestRunThatGrowsIsAFailure(t *testing.T) {
	release, unwound := make(chan struct{}), make(chan struct{})
	weighs := make(chan time.Time)
	report, dir := "", t.TempDir()
	_, err := tell(t, 1, func(o *options) {
		o.solo, o.weighs, o.heapDir = true, weighs, dir
		o.burst = func(text string) { report = text }
	}, nil, func(l *lab) {
		defer close(unwound)
		l.trace.event("the story has grown")
		l.opt.most = 1
		weighs <- time.Time{}
		<-release
		l.fail("the story has ended")
	})
	defer func() { close(release); <-unwound }()
	if err == nil {
		t.Fatal("a run that grows ends well")
	}
	for _, part := range []string{"seed 1: the run takes ", "the story has grown", "TestRunThatGrowsIsAFailure.func", "make sim SEED=1", dir} {
		if !strings.Contains(report, part) {
			t.Errorf("the report lacks %q:\n%s", part, report)
		}
	}
	profiles, err := filepath.Glob(filepath.Join(dir, "kalamdb-sim-heap-*.pprof"))
	if err != nil || len(profiles) != 1 {
		t.Fatalf("there are the profiles %v: %v", profiles, err)
	}
	if info, err := os.Stat(profiles[0]); err != nil || info.Size() == 0 {
		t.Errorf("the profile is empty: %v", err)
	}
}

// TestScalesSeeWhatIsKept keeps some memory and lets it go again. It is much beside what tests before it left to be let go.
func TestScalesSeeWhatIsKept(t *testing.T) {
	weigh := func() uint64 {
		debug.FreeOSMemory() // it collects, and gives back what is free
		return newScales().bytes()
	}
	const size, about = 512 << 20, 400 << 20
	before := weigh()
	kept := make([]byte, size)
	for i := 0; i < size; i += os.Getpagesize() {
		kept[i] = 1
	}
	with := weigh()
	runtime.KeepAlive(kept)
	after := weigh()
	if with < before+about || after+about > with {
		t.Errorf("%d MiB, with %d more %d, without them %d again", before>>20, size>>20, with>>20, after>>20)
	}
}
