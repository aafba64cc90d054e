package sim

import (
	"iter"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk/faultfs"
)

// This file is the trouble with disks that work: slow ones, ones that hang, and full ones. A sync that has to wait is a
// coroutine like everything else here: the pump of the node's engine gives way inside the sync, the node's other
// goroutines go on (messages and proposals queue, ticks pass, what is committed is applied), and so does the world.

const (
	// minFree is what a node wants to be free on its disk, as storage.min_free_bytes.
	minFree = 1 << 20
	// hangLimit is how long a change may take before the node's watchdog ends the process, as storage.hang_limit_secs.
	hangLimit = 4 * time.Second
)

// free is what a node sees of its disk. It may be wrong at once: others write to it too.
func (d *simDisk) free() (int64, error) {
	if d.tight {
		return minFree / 2, nil
	}
	return 2 * minFree, nil
}

// needsRoom reports whether a change takes room on the disk: files of the store, snapshots that arrive, and segments of
// the log that are prepared. What the log writes into its prepared segments does not.
func needsRoom(op faultfs.Op) bool {
	if op.Kind != faultfs.Create && op.Kind != faultfs.Write {
		return false
	}
	return strings.HasPrefix(op.Path, storeDir) || strings.HasPrefix(op.Path, stagingDir) || strings.HasPrefix(op.Path, coldDir) ||
		strings.HasPrefix(op.Path, logDir) && strings.HasSuffix(op.Path, ".tmp")
}

// stalls reports whether a sync of the log has to wait now.
func (d *simDisk) stalls() bool {
	return (d.hung || d.latency > 0) && d.node.stall != nil && !d.halting
}

// answers reports whether a process can start on the disk.
func (d *simDisk) answers() bool { return !d.hung && !d.full.Load() }

// stall is a pump of an engine as a coroutine, which waits inside a sync.
type stall struct {
	next    func() (struct{}, bool)
	stop    func()
	yield   func(struct{}) bool
	waiting bool
	due     time.Time // when a slow disk answers
	err     error     // how the pump ended
}

// wait is the time that a sync takes. When the process ends meanwhile it never was.
func (s *stall) wait(d *simDisk) {
	s.waiting, s.due = true, d.w.clock.Now().Add(d.latency)
	d.w.stats.stalls++
	if d.hung {
		d.w.saw(diskHung)
	} else {
		d.w.saw(diskSlow)
	}
	for !d.halting && (d.hung || d.w.clock.Now().Before(s.due)) {
		s.yield(struct{}{})
	}
	s.waiting = false
}

// drive moves the engine. On a slow disk that is a coroutine; while it waits for the disk, the engine applies what is
// committed, as its goroutine for that does.
func (n *simNode) drive() error {
	if n.standing != nil || n.disk.storeHung {
		return n.driveLog()
	}
	if n.stall == nil {
		if !n.disk.hung && n.disk.latency == 0 {
			return n.work()
		}
		n.begin()
	}
	s := n.stall
	if s.waiting && (n.disk.hung || n.w.clock.Now().Before(s.due)) {
		return n.manager.PumpApply()
	}
	if _, waits := s.next(); waits {
		return n.manager.PumpApply()
	}
	n.stall = nil
	return s.err
}

// begin starts a pump that can wait.
func (n *simNode) begin() {
	s := &stall{}
	s.next, s.stop = iter.Pull(func(yield func(struct{}) bool) {
		s.yield = yield
		s.err = n.work()
	})
	n.stall = s
}

// unwind ends whatever waits for the disk when the process ends.
func (n *simNode) unwind() {
	n.unwindStanding()
	if s := n.stall; s != nil {
		n.disk.halting = true
		if _, waits := s.next(); waits {
			n.w.fail("node %d waits for its disk while its process ends", n.id)
		}
		n.disk.halting, n.stall = false, nil
	}
	if n.storeFS != nil {
		n.storeFS.Close()
	}
	if n.flushing != nil {
		<-n.flushing //nolint:errcheck // it could not flush; the store is thrown away with the process
		n.flushing = nil
	}
}

// watchdog ends a process whose disk does not answer, and reports whether it did.
func (n *simNode) watchdog() bool {
	err := n.watched.Hung(hangLimit)
	// Only the engine's pump is made to wait for the disk. Who else has not come back is a goroutine of the store that found no processor
	// while simulated seconds went by: it comes back by itself.
	for err != nil && (n.stall == nil || !n.stall.waiting) {
		runtime.Gosched()
		err = n.watched.Hung(hangLimit)
	}
	if err == nil {
		return false
	}
	n.w.stats.watchdogs++
	n.stop(err.Error())
	return true
}

// roomClock is the clock of the store while it waits for room: its timers end when there is some.
type roomClock struct {
	clock.Clock
	full    *atomic.Bool
	blocked chan struct{} // has room for one: somebody waits

	mu   sync.Mutex // guards room
	room chan time.Time
}

func newRoomClock(d *simDisk) *roomClock {
	return &roomClock{Clock: d.w.clock, full: &d.full, blocked: make(chan struct{}, 1), room: make(chan time.Time)}
}

// NewTimer implements clock.Clock.
func (c *roomClock) NewTimer(time.Duration) clock.Timer {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.full.Load() {
		now := make(chan time.Time)
		close(now)
		return roomTimer(now)
	}
	select {
	case c.blocked <- struct{}{}:
	default:
	}
	return roomTimer(c.room)
}

// open lets everybody try again.
func (c *roomClock) open() {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.room)
	c.room = make(chan time.Time)
}

type roomTimer chan time.Time

func (t roomTimer) C() <-chan time.Time { return t }
func (roomTimer) Stop() bool            { return false }

// maintainFull maintains the log of a node whose disk is full. A flush waits for room; it does so beside the driver, as
// the goroutine of a server that maintains the log does.
func (n *simNode) maintainFull() {
	if n.flushing != nil {
		return
	}
	select {
	case <-n.room.blocked: // by a compaction, earlier
	default:
	}
	ended := make(chan error, 1)
	go func() { ended <- n.manager.Maintain() }()
	select {
	case err := <-ended:
		if err != nil {
			n.w.fail("node %d maintains its log on a full disk: %v", n.id, err)
		}
	case <-n.room.blocked:
		n.flushing = ended
	}
}

// healDisk ends what is wrong with a disk that works, and lets what waits for room go on.
func (n *simNode) healDisk() {
	d := n.disk
	if d.healAt == 0 {
		return
	}
	n.w.trace.event("the disk of node %d is well", n.id)
	d.latency, d.hung, d.tight, d.healAt, d.storeHung = 0, false, false, 0, false
	if !d.full.Swap(false) || n.storeFS == nil {
		return
	}
	n.room.open()
	if n.flushing == nil {
		return
	}
	if err := <-n.flushing; err != nil {
		n.w.fail("node %d maintains its log when its disk has room again: %v", n.id, err)
	}
	n.flushing = nil
}

// strikeSlowly lets disks be slow, hang or be full for a while; one at a time for each node.
func (p *plan) strikeSlowly() {
	w := p.w
	sound := func(n *simNode) bool { return running(n) && n.disk.healAt == 0 && n.stall == nil && n.standing == nil }
	p.strikeStores(sound)
	if p.chance(p.slowDisk) {
		if n := p.pick(sound); n != nil {
			n.disk.latency = stepTime + time.Duration(w.rng.Int64N(int64(40*stepTime)))
			n.disk.healAt = p.after(500*time.Millisecond, 10*time.Second)
			w.trace.event("the disk of node %d takes %v", n.id, n.disk.latency)
		}
	}
	if p.chance(p.hangDisk) {
		if n := p.pick(sound); n != nil {
			n.disk.hung, n.disk.healAt = true, p.after(200*time.Millisecond, 8*time.Second)
			w.trace.event("the disk of node %d hangs", n.id)
		}
	}
	if p.chance(p.fillDisk) {
		if n := p.pick(sound); n != nil {
			n.fillDisk(w.rng.IntN(3) > 0, w.rng.IntN(2) == 0, p.after(500*time.Millisecond, 15*time.Second))
		}
	}
	if p.chance(p.failSync) {
		if n := p.pick(running); n != nil {
			w.trace.event("the next sync of node %d fails", n.id)
			n.disk.failSync = true
		}
	}
	if p.chance(p.breakReads) {
		if n := p.pick(running); n != nil {
			w.trace.event("the log of node %d cannot be read", n.id)
			n.disk.unread = true
		}
	}
}

// fillDisk takes the room from a node, all of it or nearly all; the node sees that in time, or when it writes.
func (n *simNode) fillDisk(all, seen bool, until int) {
	w := n.w
	// A snapshot that has arrived is installed first: with what has room for it already.
	for range 5 {
		n.pump()
	}
	if !running(n) {
		return
	}
	w.stats.fulls++
	if !all {
		w.saw(diskNearlyFull)
	}
	w.trace.event("the disk of node %d is full (altogether: %v)", n.id, all)
	n.disk.tight, n.disk.healAt = seen || !all, until
	n.disk.full.Store(all)
}

// readable is a file system whose log cannot be read while the disk says so.
type readable struct {
	disk.FS
	d *simDisk
}

// Open implements disk.FS.
func (r *readable) Open(name string, opts ...disk.OpenOption) (disk.File, error) {
	f, err := r.FS.Open(name, opts...)
	return r.wrap(name, f, err)
}

// OpenReadWrite implements disk.FS.
func (r *readable) OpenReadWrite(name string, c disk.WriteCategory, opts ...disk.OpenOption) (disk.File, error) {
	f, err := r.FS.OpenReadWrite(name, c, opts...)
	return r.wrap(name, f, err)
}

func (r *readable) wrap(name string, f disk.File, err error) (disk.File, error) {
	if err != nil || !strings.HasPrefix(name, logDir) || r.d.w.opt.pairs { // which goroutines of the store read, too
		return f, err
	}
	return &readableFile{f, r.d}, nil
}

type readableFile struct {
	disk.File
	d *simDisk
}

// ReadAt implements disk.File.
func (f *readableFile) ReadAt(p []byte, at int64) (int, error) {
	if f.d.unread {
		f.d.w.saw(readFailed)
		return 0, errDisk
	}
	return f.File.ReadAt(p, at)
}

// Read implements disk.File.
func (f *readableFile) Read(p []byte) (int, error) {
	if f.d.unread {
		f.d.w.saw(readFailed)
		return 0, errDisk
	}
	return f.File.Read(p)
}
