package storage

import (
	"sync"
	"sync/atomic"
)

// rareKeys numbers the commits that may bring keys of SetRare. The number is odd while such a commit is under way.
type rareKeys struct {
	mu     sync.Mutex // is held by whoever changes number
	number atomic.Uint64
}

// change begins a commit of rare keys; what it returns ends it.
func (r *rareKeys) change() (done func()) {
	r.mu.Lock()
	r.number.Add(1)
	return func() {
		r.number.Add(1)
		r.mu.Unlock()
	}
}

// RareVersion says how often keys of SetRare may have come into the store. A Get that found none, with the same version before and after it,
// stays true for every reader of that version. Zero says nothing: it is no version.
func (e *Engine) RareVersion() uint64 {
	const first = 2
	if number := e.rare.number.Load(); number%2 == 0 {
		return number + first
	}
	return 0
}

// RareVersion is that of the state that the snapshot shows; zero when it is not known.
func (s *Snapshot) RareVersion() uint64 { return s.rare }
