package sim

import (
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/config"
	"github.com/kalamdb/kalamdb-go/internal/shard"
)

var (
	verbose = flag.Bool("events", false, "print every event of a simulation")
	record  = flag.String("record", "", "directory that gets a file with everything that is hashed, for each simulation")
)

// envNumber reads a number from the environment.
func envNumber(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s = %q: want a number", name, text)
	}
	return n
}

// announceSeed prints a seed before its run: whatever happens then, it is known.
func announceSeed(seed uint64) { _, _ = fmt.Fprintf(os.Stdout, "seed %d\n", seed) }

// drawOptions draws the shape of a cluster.
func drawOptions(w *world) options {
	rng := w.rng
	o := defaultOptions()
	o.nodes = []int{3, 3, 3, 4, 5}[rng.IntN(5)]
	o.shards = shard.Map{UserShards: uint32(1 + rng.IntN(4)), SharedShards: uint32(1 + rng.IntN(2))}
	if rng.IntN(12) == 0 {
		o.shards = shard.Default()
	}
	o.retain = []uint64{5, 20, 100, 10_000}[rng.IntN(4)]
	o.segmentBytes = []int64{16 << 10, 64 << 10, 256 << 10}[rng.IntN(3)]
	o.noBalance, o.workers = rng.IntN(4) == 0, 1+rng.IntN(3)
	o.cacheBytes = []int64{-1, 16 << 10, 1 << 20}[rng.IntN(3)]
	return o
}

// pairsOf is of how many seeds one keeps its logs in a store of pairs; LOG=pebble lets all.
const pairsOf = 11

// hangsOf is in how many seeds there is one whose stores hang.
const hangsOf = 5

// votesOf is of how many seeds one has orders about votes in some groups; VOTES=all lets all.
const votesOf = 7

// simulate runs one seed: a cluster grows, works under faults, heals and is judged.
func simulate(t *testing.T, seed uint64, m *mutant) (*world, error) {
	t.Helper()
	draw := &world{rng: newRand(seed)}
	shape := drawOptions(draw)
	// Of the seed itself, so that what else a seed draws stays as it is.
	shape.logWrites, shape.chunkBytes = []int{1, 2, 1, 4}[seed%4], []int{0, 300, 2000}[seed%3]
	shape.sql = seed%2 == 0
	shape.packs = []int{0, -1, 0, 2000, 0}[seed%5]
	shape.cold, shape.bucket = shape.sql, seed%6 == 0
	shape.local = seed%10 == 1 || seed%10 == 9
	shape.backups = seed%24 == 4 || seed%24 == 10
	shape.pairs = m == nil && (seed%pairsOf == 0 || os.Getenv("LOG") == config.LogPebble)
	shape.votes = m == nil && (seed%votesOf == 2 || os.Getenv("VOTES") == "all")
	shape.hangStore = m == nil && seed%hangsOf == 3
	shape = drawSolo(shape, seed)
	w := newWorld(t, seed, shape, calmPlan(), m)
	if *verbose {
		w.trace.print = func(line string) { t.Log(line) }
	}
	if *record != "" {
		f, err := os.CreateTemp(*record, fmt.Sprintf("seed%d-*", seed))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = f.Close() }() // a debugging aid
		w.trace.record = f
	}
	err := w.attempt(func() { w.wholeRun(time.Duration(10+draw.rng.IntN(40)) * time.Second) })
	if err != nil || w.legacy == nil {
		return w, err
	}
	second, err := w.legacy.restore(t, w, m)
	if err != nil {
		return second, err
	}
	w.inherit(second)
	return w, nil
}

// mostTrouble is for how long clients that set up a cluster put up with faults.
const mostTrouble = 30 * time.Second

// wholeRun is the life of one simulation.
func (w *world) wholeRun(trouble time.Duration) {
	w.drawPlan()
	w.found()
	for _, n := range w.nodes[1:] {
		w.boot(n)
	}
	c := &clients{w: w}
	w.plan.active = w.rng.IntN(4) == 0 // some clusters never know peace
	setUp := w.spawn("set up", c.setUp)
	// Nobody owes progress to a client while faults never pause.
	for range mostTrouble / stepTime {
		if !setUp.ended {
			w.advance()
		}
	}
	if !setUp.ended {
		w.plan.active = false
		w.quicken()
	}
	w.until(healBound, "the tables exist", func() bool { return setUp.ended })
	w.plan.active = true
	c.begin()
	for end := w.clock.Now().Add(trouble); w.clock.Now().Before(end); {
		w.run(time.Second)
		w.sample()
	}
	w.heal(c)
	w.judge()
	if w.opt.backups && len(w.sqlIDs) > 0 {
		w.legacy = w.bequeath(c)
	}
	w.judgeLeaks()
}

// sample compares the digests of one group where it is applied.
func (w *world) sample() {
	g := w.groups[w.rng.IntN(len(w.groups))]
	for _, n := range w.nodes {
		if running(n) {
			w.oracle.digest(n, g)
		}
	}
}

// enoughSeeds is from how many seeds on every kind of fault must have struck and every rule must have been held against something.
const enoughSeeds = 200

// whichSeeds is where TestSeeds begins, and how many it runs: N from SEED on. A build with a planted bug begins where it has shown before, and
// runs as many as a bug may survive.
func whichSeeds(t *testing.T) (first, count uint64) {
	t.Helper()
	first, count = envNumber(t, "SEED", 0), envNumber(t, "N", 0)
	if os.Getenv("SEED") == "" {
		if m := plantedByTag(); m != nil {
			return m.seed, max(count, mostSeeds)
		}
		if count == 0 {
			return 1, 20
		}
	}
	return first, max(count, 1)
}

// TestSeeds runs N simulations, from SEED on.
func TestSeeds(t *testing.T) {
	first, count := whichSeeds(t)
	var simulated, taken time.Duration
	var found evidenceOf
	for seed := first; seed < first+count; seed++ {
		announceSeed(seed)
		began := time.Now()
		w, err := simulate(t, seed, nil)
		if err != nil {
			t.Fatal(w.report(err))
		}
		took := time.Since(began)
		found.add(&w.ledger)
		simulated += w.clock.Now().Sub(w.start)
		taken += took
		t.Logf("seed %d: %d nodes, %d groups, %.1f s simulated in %.2f s: %+v",
			seed, w.opt.nodes, len(w.groups), w.clock.Now().Sub(w.start).Seconds(), took.Seconds(), w.stats)
	}
	t.Logf("%d seeds, %.0f times real time, and in them\n%s", count, simulated.Seconds()/taken.Seconds(), &found)
	if missing := found.missing(); count >= enoughSeeds && len(missing) > 0 {
		t.Errorf("in %d seeds these have never happened: %s", count, strings.Join(missing, "; "))
	}
}

// TestSavedSeeds repeats every seed that once found something.
func TestSavedSeeds(t *testing.T) {
	raw, err := os.ReadFile("testdata/seeds/seeds.txt")
	if err != nil {
		t.Fatal(err)
	}
	ran := 0
	for line := range strings.Lines(string(raw)) {
		number, _, _ := strings.Cut(line, " ")
		if strings.HasPrefix(line, "#") {
			continue
		}
		seed, err := strconv.ParseUint(number, 10, 64)
		if err != nil {
			t.Fatalf("testdata/seeds/seeds.txt: %q: want a seed, a space and what it found", line)
		}
		announceSeed(seed)
		if w, err := simulate(t, seed, nil); err != nil {
			t.Error(w.report(err))
		}
		ran++
	}
	if ran == 0 {
		t.Error("testdata/seeds/seeds.txt names no seed")
	}
}

// TestFoundSeedsAreKept wants each seed that the page about testing tells of to be repeated by TestSavedSeeds.
func TestFoundSeedsAreKept(t *testing.T) {
	saved, err := os.ReadFile("testdata/seeds/seeds.txt")
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../../docs/design/testing.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, found := strings.Cut(string(page), "\n### What it found\n")
	if !found {
		t.Fatal("docs/design/testing.md does not say what the simulation has found")
	}
	told := 0
	for line := range strings.Lines(table) {
		if strings.HasPrefix(line, "#") || strings.HasPrefix(line, "Beside the simulation") {
			break
		}
		cells := strings.Split(line, "|")
		if len(cells) < 4 {
			continue
		}
		seed := strings.TrimSpace(cells[2])
		if _, err := strconv.ParseUint(seed, 10, 64); err != nil {
			continue // a story has found it, or a profile
		}
		told++
		if !strings.Contains(string(saved), "\n"+seed+" ") {
			t.Errorf("docs/design/testing.md tells of seed %s, which testdata/seeds/seeds.txt does not have", seed)
		}
	}
	if told == 0 {
		t.Error("docs/design/testing.md tells of no seed")
	}
}
