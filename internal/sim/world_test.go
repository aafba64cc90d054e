package sim

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"testing"
	"testing/cryptotest"
	"time"

	"go.uber.org/goleak"

	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/multiraft"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/transport"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/sim/planted"
)

// The driver moves in steps; every fifth one is a tick of Raft.
const (
	stepTime     = 10 * time.Millisecond
	stepsPerTick = 5
	tickTime     = stepsPerTick * stepTime
	maintainTick = 20 // a server maintains its log once a second
)

// world is one simulated cluster and everything around it.
type world struct {
	t        *testing.T
	seed     uint64
	rng      *rand.Rand
	random   randomReader
	opt      options
	plan     *plan
	mutant   *mutant
	clock    *clock.Manual
	start    time.Time
	network  *transport.Network
	uid      ident.ClusterUID
	shards   shard.Map
	groups   []shard.GroupID
	nodes    []*simNode
	actors   []*actor
	current  *actor // the one that runs
	oracle   *oracle
	trace    *trace
	step     int
	cuts     map[[2]ident.NodeID]bool
	handed   map[shard.GroupID]ident.ReplicaID // who was to lead next, by the last transfer
	votes    votes                             // who is to vote where
	sqlIDs   map[uint64]bool                   // tables whose rows SQL makes
	store    *truth                            // what clients know
	stats    stats
	load     *clients      // nil until clients begin
	bucket   *bucket       // that all nodes see
	legacy   *legacy       // what the run leaves to be restored; nil for nothing
	before   goleak.Option // what ran before the run
	over     chan struct{} // closed when the run is over
	end      string        // how the groups stood when the run failed
	hurt     *hurtSegment  // nil when none is
	leftOpen string        // what was open first when a life of a node ended
	pulse    pulse
	ledger   ledger // what has happened
}

// stats say how much a run has done, so that a run that does nothing is noticed.
type stats struct {
	requests, acknowledged, reads, applied, repeats, digests uint64
	packed                                                   uint64 // commands behind another of their entry
	crashes, wipes, partitions, pauses, resumed              uint64
	flips, repairs, told, jobs                               uint64 // damage, changes to followers, jobs that were done
	everywhere, missing                                      uint64 // writes in mode all: answered, refused for a silent voter
	statements, compared, altered, indexed                   uint64 // of SQL: all, pairs of reads, changed tables, entries checked
	segments, merges, fetched, swept, outages, twice         uint64 // of cold rows: commits, merges, files that came later, that went, and trouble
	orders, fenced                                           uint64 // to other leaders to flush, and those that were refused because the job was lost
	stalls, watchdogs, fulls, roomless, failedSyncs          uint64 // trouble of disks, and what came of it
	liveBegun, liveResumed, liveTold, liveTooOld, liveFull   uint64 // live queries, those with a cursor, changes, cursors that were refused
}

// violation is the panic that ends a run whose rules were broken.
type violation struct{ message string }

// Error implements error.
func (v violation) Error() string { return v.message }

// fail ends the run.
func (w *world) fail(format string, args ...any) { panic(violation{fmt.Sprintf(format, args...)}) }

// randomReader feeds what reads random bytes from the run's generator.
type randomReader struct{ rng *rand.Rand }

// Read implements io.Reader.
func (r randomReader) Read(p []byte) (int, error) {
	for i := 0; i < len(p); i += 8 {
		var word [8]byte
		binary.LittleEndian.PutUint64(word[:], r.rng.Uint64())
		copy(p[i:], word[:])
	}
	return len(p), nil
}

func newRand(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0x6b616c616d)) }

// newWorld founds a cluster on its first node. The other nodes start when grow says so.
func newWorld(t *testing.T, seed uint64, opt options, faults *plan, m *mutant) *world {
	t.Helper()
	cryptotest.SetGlobalRandom(t, seed)
	rng := newRand(seed)
	w := &world{
		t: t, seed: seed, rng: rng, random: randomReader{rng}, opt: opt, plan: faults, mutant: m,
		start: time.Unix(1_700_000_000, 0), uid: ident.ClusterUID{1}, shards: opt.shards, groups: opt.shards.Groups(),
		cuts: make(map[[2]ident.NodeID]bool), store: newTruth(), sqlIDs: make(map[uint64]bool),
		handed: make(map[shard.GroupID]ident.ReplicaID), votes: newVotes(),
		before: goleak.IgnoreCurrent(), over: make(chan struct{}),
	}
	if w.mutant == nil {
		w.mutant = plantedByTag()
	}
	if w.mutant == nil {
		w.mutant = &mutant{}
	}
	w.plan.w = w
	w.clock = clock.NewManual(w.start)
	w.network = transport.NewNetwork(w.clock)
	w.network.SetFault(w.plan.packet)
	w.network.SetCallFault(w.plan.call)
	w.bucket = newBucket(w)
	w.trace = newTrace(func() time.Duration { return w.clock.Now().Sub(w.start) })
	w.oracle = newOracle(w)
	for i := range opt.nodes {
		n := &simNode{w: w, id: ident.NodeID(i + 1)}
		n.disk = newDisk(n)
		w.nodes = append(w.nodes, n)
	}
	return w
}

// found writes the first state of a cluster into the first node's directory and starts it.
func (w *world) found() {
	n := w.nodes[0]
	err := n.loadIdentity()
	if err == nil {
		err = n.openStores()
	}
	if err == nil {
		err = multiraft.Found(n.store, n.log, w.groups, 1)
	}
	n.self.Replica = 1
	if err == nil {
		err = errors.Join(n.saveIdentity(), n.log.Close(), n.store.Close())
	}
	if err != nil {
		w.fail("found the cluster: %v", err)
	}
	w.boot(n)
}

// boot starts a node; only an injected fault may keep it from coming up.
func (w *world) boot(n *simNode) {
	if err := n.start(); err != nil {
		w.bootFailed(n, err)
	}
}

func (w *world) bootFailed(n *simNode, err error) {
	if n.disk.crashed != nil || n.torn != "" || n.disk.broken || n.disk.lost != nil || n.disk.unread || n.flipped && isDamage(err) {
		n.died(err)
		return
	}
	w.fail("node %d does not start: %v", n.id, err)
}

func (w *world) nodeAt(addr string) *simNode {
	for _, n := range w.nodes {
		if address(n.id) == addr {
			return n
		}
	}
	return nil
}

// isCut reports whether a direction is cut.
func (w *world) isCut(from, to *simNode) bool { return w.cuts[[2]ident.NodeID{from.id, to.id}] }

func (w *world) cut(from, to *simNode) {
	w.cuts[[2]ident.NodeID{from.id, to.id}] = true
	w.network.PartitionOneWay(address(from.id), address(to.id))
}

func (w *world) healNetwork() {
	clear(w.cuts)
	w.network.HealAll()
}

// advance lets one step of time pass: clocks, ticks, faults, clients, and then messages until all is quiet.
func (w *world) advance() {
	w.step++
	w.pulse.beat()
	w.clock.Advance(stepTime)
	w.plan.strike()
	if w.step%stepsPerTick == 0 {
		w.tick()
	}
	now := w.clock.Now()
	for i := 0; i < len(w.actors); i++ {
		w.actors[i].resume(now)
	}
	w.actors = slices.DeleteFunc(w.actors, func(a *actor) bool { return a.ended })
	w.pump()
}

func (w *world) tick() {
	for _, i := range w.rng.Perm(len(w.nodes)) {
		n := w.nodes[i]
		if !n.up || n.paused || n.manager == nil || n.lag > 0 && w.rng.IntN(n.lag) == 0 {
			continue
		}
		n.manager.Tick()
		if n.local != nil {
			n.local.Tick()
		}
		if n.watchdog() {
			continue
		}
		if (w.step/stepsPerTick+int(n.id))%maintainTick == 0 {
			n.maintain()
		}
	}
}

func (n *simNode) maintain() {
	if n.disk.full.Load() {
		n.maintainFull()
		return
	}
	if err := n.manager.Maintain(); err != nil {
		n.w.fail("node %d maintains its log: %v", n.id, err)
	}
	if n.local != nil {
		if err := n.local.Maintain(); err != nil {
			n.w.fail("node %d maintains the log of its own rows: %v", n.id, err)
		}
	}
	n.noteTruncation()
}

// noteTruncation counts logs whose front is gone since they were last maintained.
func (n *simNode) noteTruncation() {
	if n.firsts == nil {
		n.firsts = make([]uint64, len(n.w.groups))
	}
	for i, g := range n.w.groups {
		seen := n.manager.Glance(g)
		if n.firsts[i] != 0 && seen.FirstIndex > n.firsts[i] && seen.SnapshotsInstalled == 0 && n.w.busy() {
			n.w.saw(logTruncated)
		}
		n.firsts[i] = seen.FirstIndex
	}
}

// pump moves engines and messages until nothing is due.
func (w *world) pump() {
	const patience = 100_000
	for range patience {
		first := w.rng.IntN(len(w.nodes))
		for i := range w.nodes {
			w.nodes[(first+i)%len(w.nodes)].pump()
		}
		most := 1_000_000
		if w.plan.scramble {
			most = 1 + w.rng.IntN(8)
		}
		if w.network.Deliver(most) == 0 {
			w.look()
			return
		}
	}
	w.fail("the cluster does not come to rest")
}

// look checks what the nodes that run believe.
func (w *world) look() {
	for _, n := range w.nodes {
		if running(n) {
			n.look()
		}
	}
}

// run lets time pass.
func (w *world) run(d time.Duration) {
	for range d / stepTime {
		w.advance()
	}
}

// until lets time pass until something holds; it fails after a bound.
func (w *world) until(most time.Duration, what string, holds func() bool) {
	for range most / stepTime {
		if holds() {
			return
		}
		w.advance()
	}
	w.fail("after %v of calm still not: %s", most, what)
}

// attempt runs a simulation and returns the violation that ended it, nil when there was none.
func (w *world) attempt(run func()) error {
	return w.supervised(func() error { return w.caught(run) })
}

func (w *world) caught(run func()) (err error) {
	defer func() {
		r := recover()
		if v, ok := r.(violation); ok {
			err = v
		} else if r != nil {
			err = fmt.Errorf("panic: %v\n%s", r, debug.Stack())
		}
		if err != nil {
			w.end = w.describe()
		}
		w.close()
	}()
	run()
	for _, n := range w.nodes {
		if n.countRefused(); n.refused > 0 {
			w.fail("node %d took %d messages of sound peers for nonsense", n.id, n.refused)
		}
	}
	return nil
}

// close ends all processes. After a violation anything may be left half done; what matters was reported. Each part is closed for
// itself all the same: Pebble ends the process of the tests when it collects what nobody has closed.
func (w *world) close() {
	close(w.over)
	// Nodes first: whoever is served by one notices that it has ended, and closes what it has open.
	for _, n := range w.nodes {
		if n.up {
			regardless(n.close)
		}
	}
	for _, a := range w.actors {
		regardless(a.end)
	}
}

// regardless does something that may fail in any way.
func regardless(do func()) {
	defer func() { _ = recover() }()
	do()
}

// report makes a failure readable: what, which seed, and what happened last.
func (w *world) report(err error) string {
	again := fmt.Sprintf("make sim SEED=%d", w.seed)
	if w.mutant.tag != "" {
		again += " TAGS=invariants," + planted.Prefix + w.mutant.tag
	}
	return fmt.Sprintf("seed %d: %v\n\nlast events:\n%s\n%s\nrepeat it with: %s", w.seed, err, w.trace.last(), w.end, again)
}
