package disk

import (
	"runtime"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// This file lets short writes be waited for in place. A call that waits for the disk in the usual way gives its processor
// of the Go scheduler away: the runtime's monitor wakes every 20 us to see whether it should, another thread is woken for
// what is left, and the caller has to find a processor again. For a write of a page and its sync, of which a log makes
// thousands a second and each takes a tenth of a millisecond, that costs as much as the write. Waiting in place keeps the
// processor, so the caller must be somebody for whom others wait anyway.
//
// A processor that waits cannot be stopped for the collector of garbage, and everything stands still until the disk has
// answered. So only a file that was declared urgent is waited for so, only while the disk has answered promptly, only
// where there is another processor, and only under a Guard, which ends the process should it stand still for too long.

const (
	// inPlaceBytes is the largest write that is waited for in place.
	inPlaceBytes = 256 << 10
	// promptTime is how long a prompt answer takes at most.
	promptTime = 5 * time.Millisecond
	// promptAnswers is how many prompt answers in a row a disk has to give.
	promptAnswers = 100
)

// inPlacer is a file that can be written and synced in place.
type inPlacer interface {
	writeAtInPlace(p []byte, offset int64) (int, error)
	syncDataInPlace() error
}

// local is the machine's file system with files that can be waited for in place.
type local struct{ vfs.FS }

// OpenReadWrite implements vfs.FS.
func (l local) OpenReadWrite(name string, category vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	f, err := l.FS.OpenReadWrite(name, category, opts...)
	if err != nil {
		return nil, err
	}
	return newLocalFile(f), nil
}

// Urgent declares that writes and syncs of an open file are short and that others wait for each of them. Where a Watched
// with a Guard is in front of the machine's file system they may then be waited for in place; elsewhere nothing changes.
func Urgent(f File) {
	if watched, ok := f.(*watchedFile); ok {
		watched.urgent, _ = watched.File.(inPlacer)
	}
}

// promptness knows whether a disk has answered promptly of late.
type promptness struct {
	guards  atomic.Int32 // in force
	wanted  atomic.Int32 // prompt answers that are still wanted
	inPlace atomic.Uint64
}

// allows reports whether a call that writes so many bytes is to be waited for in place.
func (p *promptness) allows(bytes int) bool {
	return bytes <= inPlaceBytes && p.wanted.Load() <= 0 && p.guards.Load() > 0 && runtime.GOMAXPROCS(0) > 1
}

// took notes how long the disk has taken to answer.
func (p *promptness) took(d time.Duration) {
	if d > promptTime {
		p.wanted.Store(promptAnswers)
	} else if p.wanted.Load() > 0 {
		p.wanted.Add(-1)
	}
}

// InPlace is the number of writes and syncs that were waited for in place.
func (w *Watched) InPlace() uint64 { return w.prompt.inPlace.Load() }

// call runs a change of a file, in place where the file is urgent and that is allowed.
func (f *watchedFile) call(what string, bytes int, usual, inPlace func() error) error {
	defer f.w.begin(what, f.name)()
	if f.urgent == nil {
		return usual()
	}
	begun := f.w.clock.Now()
	defer func() { f.w.prompt.took(f.w.clock.Now().Sub(begun)) }()
	if !f.w.prompt.allows(bytes) {
		return usual()
	}
	f.w.prompt.inPlace.Add(1)
	return inPlace()
}

// Guard lets writes be waited for in place while it is in force, and ends the process with SIGABRT, which prints what every
// goroutine does, when it is not extended in time. It does so without the help of the Go scheduler.
type Guard struct {
	w     *Watched
	limit time.Duration
	timer deadline
}

// Guard puts a Guard in force, which Release ends. The error is that of a machine that has no such timers.
func (w *Watched) Guard(limit time.Duration) (*Guard, error) {
	g := &Guard{w: w, limit: limit}
	var err error
	if g.timer, err = newDeadline(); err != nil {
		return nil, err
	}
	if err := g.Extend(); err != nil {
		g.timer.stop()
		return nil, err
	}
	w.prompt.guards.Add(1)
	return g, nil
}

// Extend gives the process the whole limit again.
func (g *Guard) Extend() error { return g.timer.set(g.limit) }

// Release takes the Guard out of force.
func (g *Guard) Release() {
	g.w.prompt.guards.Add(-1)
	g.timer.stop()
}
