package changefeed

import (
	"sync"

	"github.com/kalamdb/kalamdb-go/internal/shard"
)

// Config bounds a Feed.
type Config struct {
	MaxChanges int    // changes kept for each watched group; zero means 16,384
	MaxBytes   uint64 // their size for each watched group; zero means 8 MiB
}

// Feed hands committed changes to readers.
type Feed struct {
	config Config

	mu     sync.Mutex // guards groups
	groups map[shard.GroupID]*group
}

// New makes a feed that nobody watches.
func New(config Config) *Feed {
	if config.MaxChanges == 0 {
		config.MaxChanges = 16_384
	}
	if config.MaxBytes == 0 {
		config.MaxBytes = 8 << 20
	}
	return &Feed{config: config, groups: make(map[shard.GroupID]*group)}
}

// group is the buffer of one group.
type group struct {
	mu      sync.Mutex // guards everything below
	changes []Change   // by _seq; the oldest is at head
	head    int
	bytes   uint64
	// lost is the _seq of the newest change that readers can no longer get here. A reader below it is behind.
	lost    uint64
	last    uint64 // _seq of the newest change that was published
	resets  uint64 // how often the group's state was replaced
	readers map[*Reader]struct{}
}

func (f *Feed) group(id shard.GroupID) *group {
	f.mu.Lock()
	defer f.mu.Unlock()
	g := f.groups[id]
	if g == nil {
		g = &group{readers: make(map[*Reader]struct{})}
		f.groups[id] = g
	}
	return g
}

// Publish adds committed changes of a group, in apply order. The feed keeps what they refer to, but not the
// slice. It never waits for readers.
func (f *Feed) Publish(id shard.GroupID, changes []Change) {
	if len(changes) == 0 {
		return
	}
	g := f.group(id)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.last = max(g.last, changes[len(changes)-1].Seq)
	if len(g.readers) == 0 {
		g.drop(len(g.changes) - g.head)
		g.lost = g.last
		return
	}
	for i := range changes {
		g.bytes += changes[i].SizeBytes()
	}
	g.changes = append(g.changes, changes...)
	for g.head < len(g.changes) && (len(g.changes)-g.head > f.config.MaxChanges || g.bytes > f.config.MaxBytes) {
		g.drop(1)
	}
	for r := range g.readers {
		r.signal()
	}
}

// Reset says that the state of a group was replaced. Its readers are behind.
func (f *Feed) Reset(id shard.GroupID) {
	g := f.group(id)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.drop(len(g.changes) - g.head)
	g.resets++
	for r := range g.readers {
		r.signal()
	}
}

// drop forgets the n oldest changes. Readers that may still look at them hold their own slice.
func (g *group) drop(n int) {
	for range n {
		c := &g.changes[g.head]
		g.bytes -= c.SizeBytes()
		g.lost = c.Seq
		g.head++
	}
	switch {
	case g.head == len(g.changes):
		g.changes, g.head = nil, 0
	case g.head > len(g.changes)/2 && g.head >= 1024:
		g.changes = append(make([]Change, 0, len(g.changes)), g.changes[g.head:]...)
		g.head = 0
	}
}

// Reader walks the changes of one group. It belongs to one goroutine.
type Reader struct {
	group  *group
	wake   chan struct{} // has room for one signal
	resets uint64
	// covered is the _seq up to which the reader has been sent to the change log.
	covered uint64
}

// Watch starts to read a group. Changes that are published from now on are kept for the reader; where it
// stands is said to Next: at the newest change of the store, as it is after Watch, or further.
func (f *Feed) Watch(id shard.GroupID) *Reader {
	g := f.group(id)
	r := &Reader{group: g, wake: make(chan struct{}, 1)}
	g.mu.Lock()
	defer g.mu.Unlock()
	r.resets, r.covered = g.resets, g.last
	g.readers[r] = struct{}{}
	return r
}

// Close ends the reading.
func (r *Reader) Close() {
	r.group.mu.Lock()
	defer r.group.mu.Unlock()
	delete(r.group.readers, r)
	if len(r.group.readers) == 0 {
		r.group.drop(len(r.group.changes) - r.group.head)
		r.group.lost = r.group.last
	}
}

func (r *Reader) signal() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Wake receives after something was published or reset; one signal may stand for many.
func (r *Reader) Wake() <-chan struct{} { return r.wake }

// Next returns the published changes above the position, in order; none when there are none yet. When some
// of them are no longer here, or the group's state was replaced since the last call, it reports behind and
// returns nothing: the reader goes to the change log and comes back with the position it reached there.
func (r *Reader) Next(after uint64) (changes []Change, behind bool) {
	g := r.group
	g.mu.Lock()
	defer g.mu.Unlock()
	if r.resets != g.resets || max(after, r.covered) < g.lost {
		// What was published is committed, so the log has it by now.
		r.resets, r.covered = g.resets, g.last
		return nil, true
	}
	if len(g.readers) == 1 {
		// Nobody else wants what this reader has seen.
		for g.head < len(g.changes) && g.changes[g.head].Seq <= after {
			g.drop(1)
		}
	}
	kept := g.changes[g.head:]
	// Readers stand near the end, so the search starts there.
	from := len(kept)
	for from > 0 && kept[from-1].Seq > after {
		from--
	}
	return kept[from:len(kept):len(kept)], false
}
