package storage

import (
	"sync"

	"github.com/cockroachdb/pebble/v2"
)

// Snapshot is a consistent view: every call sees exactly the commits that came before NewSnapshot. It may
// be shared between goroutines, stays true when the span under it is replaced, and must be closed: while it is open,
// the files and memtables it sees are kept, so it should live as long as one statement or one copy of a group.
type Snapshot struct {
	mu sync.Mutex // guards base; iterators of Scan are not covered
	// base is what Scan clones, wherever it stands, and what Get moves.
	base  *pebble.Iterator
	among *openings
	rare  uint64 // see RareVersion
	err   error
}

// NewSnapshot opens a view of the present state. A failure to open it is returned by its methods.
//
// It is built on an iterator and not on a Pebble snapshot: those are sequence numbers, under which the keys of
// a replaced span silently vanish.
func (e *Engine) NewSnapshot() *Snapshot {
	rare := e.RareVersion()
	base, err := e.db.NewIter(nil)
	if rare != e.RareVersion() {
		rare = 0
	}
	s := &Snapshot{base: base, among: &e.open, rare: rare, err: wrap(err, "open snapshot")}
	if err == nil {
		e.open.opened(s)
	}
	return s
}

// Get implements Reader.
func (s *Snapshot) Get(key []byte) (value []byte, ok bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return nil, false, s.err
	}
	if !s.base.SeekPrefixGE(key) {
		return nil, false, wrap(s.base.Error(), "get %x", key)
	}
	found, err := s.base.ValueAndErr()
	if err != nil {
		return nil, false, wrap(err, "get %x", key)
	}
	return append(make([]byte, 0, len(found)), found...), true, nil
}

// Scan implements Reader.
func (s *Snapshot) Scan(lo, hi []byte) (*Iterator, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return nil, s.err
	}
	it, err := s.base.Clone(pebble.CloneOptions{IterOptions: &pebble.IterOptions{LowerBound: lo, UpperBound: hi}})
	return newIterator(s.among, it, err)
}

// Close releases the view. Later calls fail with ErrClosed.
func (s *Snapshot) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	if s.base != nil {
		s.among.closed(s)
		err = wrap(s.base.Close(), "close snapshot")
	}
	s.base = nil
	if s.err == nil {
		s.err = ErrClosed
	}
	return err
}

// DurableReader shows only what would survive a crash now: state that was flushed and synced. It shows one
// point in the commit order for each call, and may lag behind arbitrarily until Flush.
type DurableReader struct {
	engine *Engine
}

// DurableVersion changes, soon, whenever more became durable than a reader of Durable may have seen: after Flush
// and IngestReplace at once, and within a moment after a flush that the store began by itself.
func (e *Engine) DurableVersion() uint64 { return e.hardened.Load() }

// Durable returns a reader of the durable state. It needs no closing.
func (e *Engine) Durable() *DurableReader { return &DurableReader{engine: e} }

// Get implements Reader.
func (d *DurableReader) Get(key []byte) (value []byte, ok bool, err error) {
	it, err := d.Scan(key, append(append(make([]byte, 0, len(key)+1), key...), 0))
	if err != nil {
		return nil, false, err
	}
	if it.First() {
		found, err := it.Value()
		if err != nil {
			_ = it.Close() // the read error is the one that matters
			return nil, false, err
		}
		value, ok = append(make([]byte, 0, len(found)), found...), true
	}
	return value, ok, it.Close()
}

// Scan implements Reader. It fails after the store has failed, because what is durable is then unknown: the library takes for flushed what
// went to memory, or nowhere (see ending). That begins behind the failure, so that an iterator that was there before shows what is durable.
func (d *DurableReader) Scan(lo, hi []byte) (*Iterator, error) {
	it, err := d.engine.db.NewIter(&pebble.IterOptions{LowerBound: lo, UpperBound: hi, OnlyReadGuaranteedDurable: true})
	if failure := d.engine.Failure(); failure != nil {
		if err == nil {
			_ = it.Close() // the failure is the error that matters
		}
		return nil, failure
	}
	return newIterator(&d.engine.open, it, err)
}
