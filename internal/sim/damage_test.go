package sim

import (
	"errors"
	"path"
	"slices"
	"strings"

	"github.com/kalamdb/kalamdb-go/internal/multiraft/raftlog"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
)

// This file lets bits flip on one node's disk. The node must find them before anything comes of it, and does what a
// server does then: it speaks no more under its name, and comes back as a new replica with an empty disk. Another node's
// disk is left alone until that is settled, because two lost copies may be a lost majority.

// strikeBits flips bits while a node is down, or in what a running node will only read again later.
func (p *plan) strikeBits() {
	w := p.w
	if !p.chance(p.flipBits) || !p.complete() {
		return
	}
	n := p.pick(upright)
	if n == nil || !w.spares(n, 2) || n.flipped || n.disk.crashIn != 0 || n.disk.broken {
		return
	}
	w.stats.flips++
	switch kind := w.rng.IntN(3); {
	case kind < 2 && w.opt.pairs:
		n.flipPairs()
	case kind == 0: // a closed segment of a running node: whoever needs its entries reads them
		names := n.disk.files(logDir, ".log")
		if len(names) > 1 {
			w.saw(bitInRunningLog)
			n.flip(names[w.rng.IntN(len(names)-1)])
		}
	case kind == 1:
		n.stop("its log ages")
		names := n.disk.files(logDir, ".log")
		w.saw(bitInStoppedLog)
		n.flip(names[w.rng.IntN(len(names))])
	default:
		n.stop("its store ages")
		n.flipStore()
	}
}

// files lists the segments of the log, or other files of a directory.
func (d *simDisk) files(dir, suffix string) []string {
	names, err := d.base.List(dir)
	if err != nil {
		d.w.fail("list %s of node %d: %v", dir, d.node.id, err)
	}
	slices.Sort(names)
	var found []string
	for _, name := range names {
		if strings.HasSuffix(name, suffix) && !strings.HasPrefix(name, "spare-") {
			found = append(found, path.Join(dir, name))
		}
	}
	return found
}

// flip changes a bit of what a node must find, or can do without.
func (n *simNode) flip(name string) {
	n.flipBit(name)
	n.flipped = true
}

// flipBit changes a bit of a file, where something was written if such a place is found soon.
func (n *simNode) flipBit(name string) {
	f, err := n.disk.base.OpenReadWrite(name, disk.Category)
	if err != nil {
		n.w.fail("flip a bit of %s: %v", name, err)
	}
	info, err := f.Stat()
	if err != nil {
		n.w.fail("flip a bit of %s: %v", name, err)
	}
	one := make([]byte, 1)
	at := int64(0)
	for range 64 {
		at = n.w.rng.Int64N(info.Size())
		if _, err = f.ReadAt(one, at); err != nil || one[0] != 0 {
			break
		}
	}
	one[0] ^= 1 << n.w.rng.IntN(8)
	if err == nil {
		_, err = f.WriteAt(one, at)
	}
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		n.w.fail("flip a bit of %s: %v", name, err)
	}
	if n.w.opt.pairs && path.Dir(name) == logDir {
		name = logDir // Pebble's goroutines have part in how it names its files
	}
	n.w.trace.event("a bit at %d of %s of node %d flips", at, name, n.id)
}

// flipStore changes a byte of every table, or of the list of tables: which tables there are is up to Pebble's own
// goroutines, and may decide nothing.
func (n *simNode) flipStore() {
	suffix, offset := ".sst", int64(3)
	list := n.w.rng.IntN(4) == 0
	if list {
		suffix, offset = "", 12
	}
	for _, name := range n.disk.files(storeDir, suffix) {
		if list && !strings.HasPrefix(path.Base(name), "MANIFEST-") {
			continue
		}
		f, err := n.disk.base.OpenReadWrite(name, disk.Category)
		if err != nil {
			n.w.fail("flip a bit of %s: %v", name, err)
		}
		one := make([]byte, 1)
		_, err = f.ReadAt(one, offset)
		one[0] ^= 0x10
		if err == nil {
			_, err = f.WriteAt(one, offset)
		}
		if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
			n.w.fail("flip a bit of %s: %v", name, err)
		}
		n.flipped = true
		n.w.saw(bitInStore)
	}
	n.w.trace.event("bits of the store of node %d flip (list of tables: %v)", n.id, list)
}

// readAll reads the whole store at once, as reads would one after the other.
func readAll(engine *storage.Engine) error {
	it, err := engine.Scan(nil, nil)
	if err != nil {
		return err
	}
	for ok := it.First(); ok; ok = it.Next() {
		if _, err := it.Value(); err != nil {
			return errors.Join(err, it.Close())
		}
	}
	return it.Close()
}

// isDamage reports that wrong bytes were found.
func isDamage(err error) bool {
	var log *raftlog.DamageError
	return errors.As(err, &log) || errors.Is(err, storage.ErrCorruption)
}

// foundDamage is what a node does that finds wrong bytes: it ends, and comes back with an empty disk.
func (n *simNode) foundDamage(err error) {
	n.w.stats.repairs++
	n.w.saw(damageFound)
	what := "its store"
	if log := (*raftlog.DamageError)(nil); errors.As(err, &log) {
		what = "its log"
	}
	n.w.trace.event("node %d finds wrong bytes in %s", n.id, what)
	n.crash("wrong bytes")
	if n.w.mutant.onDamage != nil && what == "its log" {
		n.w.mutant.onDamage(n)
		return
	}
	n.wipe()
}
