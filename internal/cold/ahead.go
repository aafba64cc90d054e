package cold

import (
	"bytes"
	"errors"
	"sync"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/storage/segment"
)

// A long scan has the blocks that come next decoded, and the file that comes next opened, while it works on the block at hand.
// Goroutines of the store do so, as many as Config.ReadAhead, for all scans together: when they are taken, the scan does
// everything itself. A scan that needs what nobody has begun yet does not wait for it.

const (
	// aheadSteps bounds what one cursor has planned and not taken. What was read ahead counts as memory of the cursor once it is
	// taken, so that this also bounds what does not count yet.
	aheadSteps = 4
	// longScan is the number of blocks after which a scan counts as long, unless it says so at once.
	longScan = 2
)

// step is a piece of work ahead. What run leaves may be looked at when done is closed.
type step struct {
	run  func()
	undo func(ran bool) // gives back what the step holds when nobody takes it
	done chan struct{}

	taken bool // belongs to the cursor

	begun, dropped, ended bool // guarded by readAhead.mu
}

// readAhead is the work ahead of one cursor, which plans it and takes what comes of it.
type readAhead struct {
	store   *Store
	planned int // steps that were not taken; belongs to the cursor

	mu      sync.Mutex // guards what follows, and the state of steps; taken before no other lock
	queue   []*step    // nobody has begun them
	helpers int        // goroutines at work
}

// add plans a step and finds a goroutine for it, if one is free.
func (a *readAhead) add(s *step) {
	s.done = make(chan struct{})
	a.planned++
	a.mu.Lock()
	defer a.mu.Unlock()
	a.queue = append(a.queue, s)
	if a.helpers > 0 {
		return
	}
	select {
	case a.store.helpers <- struct{}{}:
		a.helpers++
		a.store.helping.Go(a.help)
	default:
	}
}

// help does what is planned until nothing is left.
func (a *readAhead) help() {
	defer func() { <-a.store.helpers }()
	for {
		a.mu.Lock()
		if len(a.queue) == 0 {
			a.helpers--
			a.mu.Unlock()
			return
		}
		s := a.queue[0]
		a.queue = a.queue[1:]
		s.begun = true
		a.mu.Unlock()
		a.do(s)
	}
}

func (a *readAhead) do(s *step) {
	s.run()
	a.mu.Lock()
	s.ended = true
	dropped := s.dropped
	a.mu.Unlock()
	if dropped {
		s.undo(true)
	}
	close(s.done)
}

// unqueue takes a step that nobody has begun away from the helpers. The caller holds the lock.
func (a *readAhead) unqueue(s *step) {
	for i, other := range a.queue {
		if other == s {
			a.queue = append(a.queue[:i:i], a.queue[i+1:]...)
			return
		}
	}
}

// take returns when a step is done. One that nobody has begun is done at once.
func (a *readAhead) take(s *step) {
	s.taken = true
	a.planned--
	a.mu.Lock()
	mine := !s.begun
	if mine {
		a.unqueue(s)
		s.begun = true
	}
	a.mu.Unlock()
	if mine {
		a.do(s)
	}
	<-s.done
}

// drop gives a step up. It does not wait for one that is under way.
func (a *readAhead) drop(s *step) {
	a.planned--
	a.mu.Lock()
	s.dropped = true
	ended, waits := s.ended, !s.begun
	if waits {
		a.unqueue(s)
		s.begun = true
	}
	a.mu.Unlock()
	if ended || waits {
		s.undo(ended)
	}
}

// aheadFile is a file that is opened ahead.
type aheadFile struct {
	step

	file *file
	err  error
}

// aheadBlock is a block that is decoded ahead.
type aheadBlock struct {
	step

	block  int
	places []int
	values []held // like places
	err    error
}

// held are the values of a column, and about what they take.
type held struct {
	values datum.Column
	bytes  int64
}

func (c *Cursor) aheadFile(s *source) *aheadFile {
	a, store, wanted := &aheadFile{}, c.view.store, s.segment
	a.run = func() { a.file, a.err = store.acquire(wanted) }
	a.undo = func(ran bool) {
		if ran && a.err == nil {
			store.release(a.file)
		}
	}
	return a
}

func (c *Cursor) aheadBlock(f *file, block int, places []int) *aheadBlock {
	a, store := &aheadBlock{block: block, places: places}, c.view.store
	store.retain(f)
	a.run = func() {
		defer store.release(f)
		for _, place := range places {
			found, err := store.column(f, block, place, true)
			if err != nil {
				a.err = err
				return
			}
			a.values = append(a.values, found)
		}
	}
	a.undo = func(ran bool) {
		if !ran {
			store.release(f)
		}
	}
	return a
}

// plan has what comes next read ahead, once the scan is long.
func (c *Cursor) plan() {
	if c.at == nil || c.at.point || c.at.passing || c.view.store.helpers == nil || !c.readsAll && c.entered <= longScan {
		return
	}
	if c.ahead == nil {
		c.ahead = &readAhead{store: c.view.store}
	}
	for s := c.at; s != nil && c.ahead.planned < aheadSteps; {
		f := s.file
		if f == nil {
			if s.opening == nil {
				s.opening = c.aheadFile(s)
				c.ahead.add(&s.opening.step)
				return
			}
			if f = s.opening.found(); f == nil {
				return
			}
		}
		block, ok := c.nextToPlan(s, f)
		if !ok {
			if s = c.following(s); s == nil {
				return
			}
			continue
		}
		planned := c.aheadBlock(f, block, c.placesOf(s, f))
		s.ahead = append(s.ahead, planned)
		c.ahead.add(&planned.step)
	}
}

// found is the file if it is open by now.
func (a *aheadFile) found() *file {
	select {
	case <-a.done:
		return a.file // nil after an error, which is met when the file is wanted
	default:
		return nil
	}
}

// nextToPlan is the block of a source that comes after those that are planned; ok is false when the scan needs no more of it.
func (c *Cursor) nextToPlan(s *source, f *file) (block int, ok bool) {
	switch {
	case len(s.ahead) > 0:
		block = s.ahead[len(s.ahead)-1].block + 1
	case s.file != nil:
		block = s.block + 1
	default:
		block = max(f.reader.BlockOf(s.key), 0)
	}
	block = s.firstWanted(f, block)
	ok = block < f.reader.Blocks() && (c.high == nil || bytes.Compare(f.reader.FirstKey(block), c.high) < 0)
	return block, ok
}

// following is the source that is opened next.
func (c *Cursor) following(s *source) (next *source) {
	if s.file == nil {
		return nil // one at a time
	}
	for _, other := range c.sources {
		if other.file == nil && !other.ended && (c.high == nil || bytes.Compare(other.key, c.high) < 0) &&
			(next == nil || bytes.Compare(other.key, next.key) < 0) {
			next = other
		}
	}
	return next
}

// placesOf are the columns that the scan reads of a file.
func (c *Cursor) placesOf(s *source, f *file) []int {
	mapping := s.mapping
	if mapping == nil {
		var err error
		if mapping, err = s.view.mapping(f, c.positions); err != nil {
			return nil // the error is met when the file is wanted
		}
	}
	places := make([]int, 0, len(mapping)+3)
	for i := range mapping {
		if mapping[i].place >= 0 {
			places = append(places, mapping[i].place)
		}
	}
	if !c.at.keys.IsEmpty() {
		places = append(places, f.reader.KeyColumn())
	}
	if c.readsSeq {
		places = append(places, segment.SeqColumn)
	}
	if s.segment.GetDeletions() > 0 {
		places = append(places, segment.DeletedColumn)
	}
	return places
}

// takeAhead makes what was read ahead of the block at hand be there; what is missing is read when it is wanted.
func (s *source) takeAhead() {
	for len(s.ahead) > 0 && s.ahead[0].block <= s.block {
		a := s.ahead[0]
		s.ahead = s.ahead[1:]
		if a.block < s.block {
			s.cursor.ahead.drop(&a.step)
			continue
		}
		s.taken = a
	}
}

// column is what a block at hand has of a column, ahead or not.
func (s *source) column(place int) (held, error) {
	if a := s.taken; a != nil {
		if !a.taken {
			s.cursor.ahead.take(&a.step)
		}
		for i, at := range a.places {
			if at == place && i < len(a.values) {
				return a.values[i], nil
			}
		}
		if a.err != nil && !errors.Is(a.err, segment.ErrDamaged) {
			return held{}, a.err
		}
	}
	return s.view.store.column(s.file, s.block, place, !s.passing)
}

// dropAhead gives up what was planned for a source.
func (s *source) dropAhead() {
	if s.opening != nil {
		s.cursor.ahead.drop(&s.opening.step)
		s.opening = nil
	}
	for _, a := range s.ahead {
		s.cursor.ahead.drop(&a.step)
	}
	s.ahead = nil
	s.leave()
}
