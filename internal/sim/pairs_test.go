package sim

import (
	"errors"
	"io"
	"os"
	"slices"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kalamdb/kalamdb-go/internal/multiraft"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/pairlog"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/raftlog"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk/faultfs"
)

// This file is the log of pairs in a simulation. Its files are changed by Pebble's goroutines, in no order that can be repeated, so
// faults are not drawn for them. The driver syncs a directory of its own just before each batch instead: what happens to that
// sync happens to the batch, which nothing has been written of by then. Only a torn write is made below Pebble, while the driver
// waits for that very sync.

// probeDir is that directory.
const probeDir = logDir + "-probe"

// pairedLog lets a node's disk decide about each batch.
type pairedLog struct {
	multiraft.OwnLog
	fs disk.FS
}

// Append implements multiraft.Log.
func (l pairedLog) Append(updates []raftlog.Update, sync bool) error {
	if sync || slices.ContainsFunc(updates, func(u raftlog.Update) bool { return u.Reset != nil || len(u.Entries) > 0 }) {
		if err := disk.SyncDir(l.fs, probeDir); err != nil {
			return err
		}
	}
	return l.OwnLog.Append(updates, sync)
}

func (n *simNode) openPairs(fs disk.FS) (multiraft.OwnLog, error) {
	if err := n.disk.base.MkdirAll(probeDir, 0o755); err != nil {
		return nil, err
	}
	d := n.disk
	log, err := pairlog.Open(pairlog.Config{
		// As large that no life fills it: Pebble panics when the power fails while it begins another file.
		FS: fs, Dir: logDir, StoreID: n.self.Store, CacheBytes: n.w.opt.cacheBytes, MemTableBytes: 64 << 20,
		MaxEntryBytes: n.w.opt.segmentBytes / 4,
		FreeBytes: func() (int64, error) {
			if d.full.Load() {
				return 0, nil
			}
			return 1 << 40, nil
		},
	})
	if err != nil {
		return nil, err
	}
	return pairedLog{multiraft.LogOf(log), fs}, nil
}

// judgePairs lets pass what Pebble does on its own.
func (d *simDisk) judgePairs(op faultfs.Op, life int) error {
	switch {
	case op.Path == probeDir:
		if d.node.life == life {
			return d.judge(op)
		}
	case op.Kind == faultfs.Sync && d.tearSync.Swap(false):
		return d.tornSync(op)
	}
	return nil
}

// tornSync is a power cut that leaves a part of what was to be synced.
func (d *simDisk) tornSync(op faultfs.Op) error {
	left := d.base.CrashClone(vfs.CrashCloneCfg{})
	whole, synced := content(d.base, op.Path), content(left, op.Path)
	if more := len(whole) - len(synced); more > 0 {
		n := 1 + d.w.rng.IntN(more)
		d.w.trace.event("node %d keeps %d of %d bytes that it was to sync", d.node.id, n, more)
		f, err := left.OpenReadWrite(op.Path, disk.Category)
		if err == nil {
			_, err = f.WriteAt(whole[len(synced):len(synced)+n], int64(len(synced)))
			err = errors.Join(err, f.Sync(), f.Close())
		}
		if err != nil {
			return err
		}
		d.w.saw(writeTorn)
	}
	d.crashed = left
	return errPower
}

// content is that of a file, none of one that is not there.
func content(fs *vfs.MemFS, path string) []byte {
	f, err := fs.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		panic(err)
	}
	raw, err := io.ReadAll(f)
	if err = errors.Join(err, f.Close()); err != nil {
		panic(err)
	}
	return raw
}

// flipPairs stops a node and changes a bit of what it wrote last to its log.
func (n *simNode) flipPairs() {
	n.stop("its log ages")
	names := n.disk.files(logDir, ".log")
	if len(names) == 0 {
		return // it had none yet
	}
	n.w.saw(bitInStoppedLog)
	n.flip(names[len(names)-1])
}
