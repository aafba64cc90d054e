package sim

import (
	"errors"
	"strings"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk/faultfs"
)

// Directories of a node on its disk.
const (
	logDir     = "log"
	storeDir   = "store"
	stagingDir = "staging"
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

	crashIn int  // changes of the log until the power fails; zero is never
	tear    bool // the crash leaves a part of the write it hits
	broken  bool // every change of the log fails

	brokenStore atomic.Bool // every change of the store fails; Pebble's goroutines look at it too

	crashed *vfs.MemFS // what a power failure has left, until the node is halted
}

func newDisk(n *simNode) *simDisk {
	return &simDisk{w: n.w, node: n, base: vfs.NewCrashableMem()}
}

// fs is the file system of one life of the node.
func (d *simDisk) fs() disk.FS {
	life := d.node.life
	return d.w.mutant.fs(d, faultfs.Wrap(d.base, func(op faultfs.Op) error {
		if d.brokenStore.Load() && strings.HasPrefix(op.Path, storeDir) {
			return errDisk
		}
		if !strings.HasPrefix(op.Path, logDir) || d.node.life != life {
			return nil
		}
		return d.judge(op)
	}))
}

func (d *simDisk) judge(op faultfs.Op) error {
	d.w.trace.bytes('f', uint64(d.node.id), uint64(op.Kind)<<32|uint64(op.Bytes), []byte(op.Path))
	switch {
	case d.crashed != nil:
		return errPower
	case d.broken:
		return errDisk
	case d.crashIn == 0:
		return nil
	}
	if d.crashIn--; d.crashIn > 0 {
		return nil
	}
	// Not the operation's number: it counts what Pebble does in the background too.
	d.w.trace.event("node %d loses power before the %v of %d bytes, %s", d.node.id, op.Kind, op.Bytes, op.Path)
	d.crashed = d.base.CrashClone(vfs.CrashCloneCfg{})
	if d.tear && op.Kind == faultfs.Write && op.Bytes > 1 {
		d.crashed = nil
		return d.tornWrite(op)
	}
	return errPower
}

// tornWrite lets a part of a write reach the platter. The clone is taken when the node is halted.
func (d *simDisk) tornWrite(op faultfs.Op) error {
	n := 1 + d.w.rng.IntN(op.Bytes-1)
	d.w.trace.event("node %d keeps %d of %d bytes of that write", d.node.id, n, op.Bytes)
	d.broken = true
	d.node.torn = op.Path
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
	if d.crashed == nil {
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
	d.crashed, d.crashIn, d.tear, d.broken = nil, 0, false, false
	d.brokenStore.Store(false)
}
