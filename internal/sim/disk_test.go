package sim

import (
	"errors"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk/faultfs"
)

// Directories of a node on its disk.
const (
	logDir     = "log"
	storeDir   = "store"
	stagingDir = "staging"
	coldDir    = "storage" // of segments
	backupDir  = "backups"
	identity   = "node.id"
)

// quietTicks lets groups fall asleep in every short lull, so that runs are full of sleep.
const quietTicks = 5

var (
	errPower = errors.New("the power is out")
	errDisk  = errors.New("the disk is broken")
)

// simDisk is one node's disk: a memory file system that knows what was synced, behind a hook that can end the
// node at any change of the log, tear a write or refuse everything. Changes of the log are made by the
// driver's goroutine alone, in a reproducible order; those of the store also by Pebble's own goroutines, so nothing
// is decided by counting them.
type simDisk struct {
	w    *world
	node *simNode
	base *vfs.MemFS

	crashIn    int  // changes of the log until the power fails; zero is never
	crashAtDir bool // the power fails before the next sync of the log's directory
	tear       bool // the crash leaves a part of the write it hits
	broken     bool // every change of the log fails
	failSync   bool // the next sync of the log fails, and the ones behind it do not
	unread     bool // every read of the log fails

	tearSync    atomic.Bool // the next sync of a log of pairs leaves a part of what was written
	brokenStore atomic.Bool // every change of the store fails; Pebble's goroutines look at it too

	crashed *vfs.MemFS // what a power failure has left, until the node is halted
	lost    *vfs.MemFS // all that is sure to be there since a sync has failed, whatever was synced later

	// What follows belongs to the disk and not to a life of the node: it outlives restarts, and ends when healAt comes.
	latency time.Duration // of a sync of the log
	hung    bool          // syncs of the log do not return
	// storeHung lets what is applied not come back.
	storeHung bool
	tight     bool        // hardly anything is free
	full      atomic.Bool // nothing is; Pebble's goroutines look at it too
	healAt    int         // step at which this ends
	halting   bool        // the process ends: whoever waits for the disk gets an error
}

func newDisk(n *simNode) *simDisk {
	return &simDisk{w: n.w, node: n, base: vfs.NewCrashableMem()}
}

// fs is the file system of one life of the node.
func (d *simDisk) fs() disk.FS {
	life := d.node.life
	d.node.handles = newHandles(d.base)
	d.node.watched = disk.Watch(faultfs.Wrap(&readable{d.node.handles, d}, func(op faultfs.Op) error {
		if d.brokenStore.Load() && strings.HasPrefix(op.Path, storeDir) {
			return errDisk
		}
		if d.full.Load() && needsRoom(op) {
			d.w.saw(diskFull)
			return syscall.ENOSPC
		}
		if d.w.opt.pairs && strings.HasPrefix(op.Path, logDir) {
			return d.judgePairs(op, life)
		}
		switch of := d.node.life == life; {
		case strings.HasPrefix(op.Path, logDir) && of:
			return d.judge(op)
		case strings.HasPrefix(op.Path, coldDir), strings.HasPrefix(op.Path, backupDir):
			return d.judgeCold(op, of)
		}
		return nil
	}), d.w.clock)
	return d.w.mutant.fs(d, d.node.watched)
}

func (d *simDisk) judge(op faultfs.Op) error {
	d.w.trace.bytes('f', uint64(d.node.id), uint64(op.Kind)<<32|uint64(op.Bytes), []byte(op.Path))
	sync := op.Kind == faultfs.Sync || op.Kind == faultfs.SyncDir
	if sync && d.stalls() {
		d.node.stall.wait(d)
	}
	switch {
	case d.crashed != nil || d.halting:
		return errPower
	case d.broken:
		d.w.saw(writeFailed)
		return errDisk
	case sync && d.failSync:
		return d.failOneSync(op)
	case d.crashAtDir && op.Kind == faultfs.SyncDir:
		d.crashIn, d.crashAtDir = 1, false
	case d.crashIn == 0:
		return nil
	}
	return d.countDown(op)
}

// countDown lets the power fail before a change that was drawn.
func (d *simDisk) countDown(op faultfs.Op) error {
	if d.crashIn--; d.crashIn > 0 {
		return nil
	}
	d.w.sawPower(op)
	// Not the operation's number: it counts what Pebble does in the background too.
	d.w.trace.event("node %d loses power before the %v of %d bytes, %s", d.node.id, op.Kind, op.Bytes, op.Path)
	switch {
	case d.lost != nil:
		d.crashed = d.lost
		return errPower
	case d.tear && d.w.opt.pairs:
		d.tearSync.Store(true)
		return nil
	}
	d.crashed = d.base.CrashClone(vfs.CrashCloneCfg{})
	if d.tear && op.Kind == faultfs.Write && op.Bytes > 1 {
		d.crashed = nil
		return d.tornWrite(op)
	}
	return errPower
}

// failOneSync lets a sync fail as kernels do: what it should have made durable is dropped, and the next sync succeeds. A
// node that goes on after it meets a power cut soon.
func (d *simDisk) failOneSync(op faultfs.Op) error {
	d.w.trace.event("node %d cannot sync %s, once", d.node.id, op.Path)
	d.w.stats.failedSyncs++
	d.w.saw(syncFailed)
	d.failSync, d.lost = false, d.base.CrashClone(vfs.CrashCloneCfg{})
	d.crashIn = 1 + d.w.rng.IntN(30)
	return errDisk
}

// tornWrite lets a part of a write reach the platter. The clone is taken when the node is halted.
func (d *simDisk) tornWrite(op faultfs.Op) error {
	n := 1 + d.w.rng.IntN(op.Bytes-1)
	d.w.trace.event("node %d keeps %d of %d bytes of that write", d.node.id, n, op.Bytes)
	d.broken = true
	d.node.torn = op.Path
	d.w.saw(writeTorn)
	return &faultfs.TornError{Bytes: n, Err: errPower}
}

// powerCut replaces the disk by what a power failure leaves of it, and mends it.
func (d *simDisk) powerCut(tornPath string) error {
	if tornPath != "" {
		// The torn part arrived: of this file everything did.
		f, err := d.base.OpenReadWrite(tornPath, disk.Category)
		if err != nil {
			return err
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			return err
		}
	}
	switch {
	case d.crashed != nil:
	case d.lost != nil:
		d.crashed = d.lost
	default:
		d.crashed = d.base.CrashClone(vfs.CrashCloneCfg{})
	}
	return nil
}

// replace puts what a power failure left in place.
func (d *simDisk) replace() {
	if d.crashed != nil {
		d.base = d.crashed
	}
	d.mend()
}

func (d *simDisk) mend() {
	d.crashed, d.lost, d.crashIn, d.tear, d.broken, d.failSync, d.unread = nil, nil, 0, false, false, false, false
	d.crashAtDir = false
	d.brokenStore.Store(false)
	d.tearSync.Store(false)
}
