package live

import (
	"container/heap"
	"slices"
	"sync"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/ident"
)

// Bounds of what a node remembers of rows that are still to be fetched: where they are, so that the next batch needs no scan. Nothing depends on it:
// what is forgotten, or for which there is no room, is found again by another scan.
const (
	maxShelfBytes     = 128 << 20
	maxShelfUserBytes = maxShelfBytes / 4 // of one user
	shelfPatience     = time.Minute       // after which rows that nobody fetches are forgotten
	shelfStep         = 64 << 10          // by which a scan asks for more room
	shelfFree         = 16 << 10          // that a scan takes without asking
	foundOverhead     = 40                // bytes of a row beside its key
	fewestFound       = 100               // rows that a scan must have room for
)

// shelf keeps found rows for subscriptions between their batches, and counts those that are being found.
type shelf struct {
	mu       sync.Mutex // guards everything below
	bytes    int
	users    map[ident.UserID]int // bytes
	places   map[*Subscription]*shelved
	sweeping bool // a goroutine sees to it that rows are forgotten in time
}

// shelved is what is kept for one subscription.
type shelved struct {
	bytes int
	rows  []foundRow // nil while a batch is made
	since time.Time
	ended bool // meanwhile: nothing is to be kept
}

func sizeOf(row *foundRow) int { return foundOverhead + len(row.key) }

// count sets how many bytes a subscription takes. It reports false, and changes nothing, when there is no room. The caller holds mu.
func (s *shelf) count(sub *Subscription, bytes int) bool {
	p, user := s.places[sub], sub.caller.User
	more := bytes - p.bytes
	if more > 0 && (s.bytes+more > maxShelfBytes || s.users[user]+more > maxShelfUserBytes) {
		return false
	}
	s.bytes, p.bytes = s.bytes+more, bytes
	if s.users[user] += more; s.users[user] == 0 {
		delete(s.users, user)
	}
	return true
}

// clear gives a place up. The caller holds mu.
func (s *shelf) clear(sub *Subscription) {
	s.count(sub, 0)
	delete(s.places, sub)
}

// take gives what is kept for a subscription, which makes a batch until put.
func (s *shelf) take(sub *Subscription) []foundRow {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.places[sub]
	if p == nil {
		p = &shelved{}
		s.places[sub] = p
	}
	rows := p.rows
	p.rows = nil
	return rows
}

// room asks whether a scan may hold so many bytes, between take and put.
func (s *shelf) room(sub *Subscription, bytes int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count(sub, bytes)
}

// put keeps rows, which take so many bytes, for the next batch and reports whether there is room for them. What was counted beside them is given
// back.
func (s *shelf) put(sub *Subscription, rows []foundRow, bytes int, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.places[sub]
	if len(rows) == 0 || p.ended || !s.count(sub, bytes) {
		s.clear(sub)
		return false
	}
	p.rows, p.since = rows, now
	return true
}

// end forgets a subscription. One that makes a batch is forgotten when that is done.
func (s *shelf) end(sub *Subscription) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch p := s.places[sub]; {
	case p == nil:
	case p.rows == nil:
		p.ended = true
	default:
		s.clear(sub)
	}
}

// forget drops rows that were kept before a time and reports whether there are others.
func (s *shelf) forget(before time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for sub, p := range s.places {
		if p.rows != nil && p.since.Before(before) {
			s.clear(sub)
		}
	}
	s.sweeping = len(s.places) > 0
	return s.sweeping
}

// sweep forgets rows in time until there are none.
func (s *Service) sweep() {
	for s.shelf.forget(s.config.Clock.Now().Add(-shelfPatience)) {
		if clock.Pause(s.stopping, s.config.Clock, shelfPatience) != nil {
			return
		}
	}
}

// watchShelf sees to it that what is kept is forgotten in time.
func (s *Service) watchShelf() {
	s.shelf.mu.Lock()
	begin := !s.shelf.sweeping && !s.config.Driven
	s.shelf.sweeping = true
	s.shelf.mu.Unlock()
	if begin {
		s.spawn(s.sweep)
	}
}

// foundBatch is scannedBatch with the rows that were found before.
func (sub *Subscription) foundBatch(read func() error) error {
	in, kept := sub.initial, &sub.service.shelf
	if in.found = kept.take(sub); in.found == nil && in.shelved {
		in.scanned = false // they were forgotten
	}
	err := read()
	if err != nil || sub.Ended() {
		in.found, in.scanned = nil, false
	}
	size := 0
	for i := range in.found {
		size += sizeOf(&in.found[i])
	}
	if 2*size < in.space {
		in.found, in.space = slices.Clone(in.found), size // those that were given lie in one piece with the others
	}
	if in.shelved = kept.put(sub, in.found, in.space, sub.service.config.Clock.Now()); in.shelved {
		sub.service.watchShelf()
	} else if len(in.found) > 0 {
		in.scanned = false
	}
	in.found = nil
	return err
}

// makeRoom lets a scan hold what it has found beyond held bytes. When there is no room it keeps fewer rows, which makes for more scans, or is refused.
func (sub *Subscription) makeRoom(h *foundHeap, keep, held *int) error {
	for h.size > *held {
		if wanted := h.size + shelfStep; sub.service.shelf.room(sub, wanted) {
			*held = wanted
			return nil
		}
		if h.newest || len(h.rows) <= fewestFound {
			return refuse(CodeBatchFetch, "this node remembers too many rows for live queries that begin; try again")
		}
		for *keep = max(fewestFound, len(h.rows)/2); len(h.rows) > *keep; {
			heap.Pop(h)
		}
		sub.initial.complete = false
	}
	return nil
}
