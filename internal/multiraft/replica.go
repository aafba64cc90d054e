package multiraft

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	raftpb "go.etcd.io/raft/v3/raftpb"

	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
)

// replica is this node's copy of one group's state: how far it has been applied, which proposals wait for
// their result and which reads wait for it to come further. Manager and Solo share it.
type replica struct {
	id shard.GroupID
	sm StateMachine

	// Owned by the apply loop.
	state    AppliedState
	conf     confEncoder
	pending  []*applyTask // committed work in log order
	waitMeta uint64       // meta index that the first pending entry waits for, or zero

	visible atomic.Uint64 // applied index that readers may count on: its batch is committed
	idle    sync.Pool     // of waiters whose one result was taken, so that nobody else knows them

	mu           sync.Mutex                  // guards the fields below
	closed       error                       // why no waiter is taken any more
	waiting      map[ident.RequestID]*waiter // the newest; older ones of the same request hang on it
	waitingCount int
	waitingBytes int64
	readers      []indexWaiter
	observers    []indexObserver
}

// indexObserver is a peer that wants to hear when an index is applied here.
type indexObserver struct {
	index uint64
	tell  func(applied uint64)
}

// waiter is one caller that waits for the result of its proposal.
type waiter struct {
	id    ident.RequestID
	bytes int64
	done  chan proposalResult // has room for the one result
	older *waiter             // another caller that waits for the same request
}

// proposalResult is how a proposal ended.
type proposalResult struct {
	data  []byte
	index uint64
	err   error
}

// indexWaiter is one read that waits until an index is applied; done is closed then.
type indexWaiter struct {
	index uint64
	done  chan struct{}
}

func newReplica(id shard.GroupID, sm StateMachine) *replica {
	return &replica{id: id, sm: sm, waiting: make(map[ident.RequestID]*waiter)}
}

// load reads the stored applied state and builds the state machine's memory from the store.
func (r *replica) load(engine *storage.Engine) error {
	state, err := readApplied(engine, r.id)
	if err != nil {
		return err
	}
	if err := r.sm.Restore(engine); err != nil {
		return fmt.Errorf("restore %s: %w", r.id, err)
	}
	r.state = state
	r.advance(state.Index)
	return nil
}

// ReadApplied returns the applied index of a group as a view of the store shows it.
func ReadApplied(view storage.Reader, id shard.GroupID) (uint64, error) {
	state, err := readApplied(view, id)
	return state.Index, err
}

// readApplied reads a group's applied state; a group without any has index zero and no members.
func readApplied(reader storage.Reader, id shard.GroupID) (AppliedState, error) {
	raw, ok, err := reader.Get(keys.Applied(id))
	if err != nil {
		return AppliedState{}, fmt.Errorf("read applied state of %s: %w", id, err)
	}
	if !ok {
		return AppliedState{Conf: &raftpb.ConfState{}}, nil
	}
	state, err := decodeApplied(raw)
	if err != nil {
		return AppliedState{}, fmt.Errorf("%s: %w", id, err)
	}
	return state, nil
}

// register admits a proposal: its waiter counts against the bounds until it is resolved or dropped.
func (r *replica) register(id ident.RequestID, bytes int, cfg *Config) (*waiter, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed != nil {
		return nil, r.closed
	}
	if r.waitingCount >= cfg.MaxWaiting || r.waitingBytes+int64(bytes) > cfg.MaxWaitingBytes {
		return nil, ErrOverloaded
	}
	w, ok := r.idle.Get().(*waiter)
	if !ok {
		w = &waiter{done: make(chan proposalResult, 1)}
	}
	w.id, w.bytes, w.older = id, int64(bytes), r.waiting[id]
	r.waiting[id] = w
	r.waitingCount++
	r.waitingBytes += w.bytes
	return w, nil
}

// drop forgets a waiter whose caller has gone.
func (r *replica) drop(w *waiter) {
	r.mu.Lock()
	defer r.mu.Unlock()
	newest := r.waiting[w.id]
	at := &newest
	for *at != nil && *at != w {
		at = &(*at).older
	}
	if *at == nil {
		return // it was resolved
	}
	*at = w.older
	r.waitingCount--
	r.waitingBytes -= w.bytes
	if newest == nil {
		delete(r.waiting, w.id)
	} else {
		r.waiting[w.id] = newest
	}
}

// resolve hands the result to everyone who waits for the request.
func (r *replica) resolve(id ident.RequestID, result proposalResult) {
	r.mu.Lock()
	w := r.takeLocked(id)
	r.mu.Unlock()
	w.answer(result)
}

// resolveAll hands their results to everyone who waits for one of the entries, all under one lock. What it takes
// from the map is kept in spare, which it returns for the next call.
func (r *replica) resolveAll(entries []command.Entry, results [][]byte, spare []resolved) []resolved {
	spare = spare[:0]
	r.mu.Lock()
	if len(r.waiting) > 0 { // nobody waits at a follower
		for i := range entries {
			if id := entries[i].RequestID; !id.IsZero() {
				if w := r.takeLocked(id); w != nil {
					spare = append(spare, resolved{w, proposalResult{data: results[i], index: entries[i].Index}})
				}
			}
		}
	}
	r.mu.Unlock()
	for i := range spare {
		spare[i].waiter.answer(spare[i].result)
	}
	clear(spare)
	return spare
}

// resolved is a waiter with its result.
type resolved struct {
	waiter *waiter
	result proposalResult
}

// answer gives the result to a waiter and those that hang on it; the waiter may be nil.
func (w *waiter) answer(result proposalResult) {
	for w != nil {
		older := w.older // its own again once it has the result
		w.done <- result
		w = older
	}
}

func (r *replica) takeLocked(id ident.RequestID) *waiter {
	newest := r.waiting[id]
	if newest == nil {
		return nil
	}
	delete(r.waiting, id)
	for w := newest; w != nil; w = w.older {
		r.waitingCount--
		r.waitingBytes -= w.bytes
	}
	return newest
}

// fail ends every waiting proposal with err; when closing, later ones are refused with it too.
func (r *replica) fail(err error, closing bool) {
	r.mu.Lock()
	waiting := r.waiting
	r.waiting = make(map[ident.RequestID]*waiter)
	r.waitingCount, r.waitingBytes = 0, 0
	if closing {
		r.closed = err
	}
	r.mu.Unlock()
	for _, w := range waiting {
		w.answer(proposalResult{err: err})
	}
}

// await waits for a proposal's result. When the context ends first the outcome is unknown to the caller;
// the error says so and carries the context's.
func (r *replica) await(ctx context.Context, w *waiter) ([]byte, uint64, error) {
	ended, late := clock.Ends(ctx)
	select {
	case result := <-w.done:
		w.older = nil
		r.idle.Put(w)
		return result.data, result.index, result.err
	case <-ended:
	case <-late:
	}
	r.drop(w)
	return nil, 0, fmt.Errorf("%w: %w", ErrOutcomeUnknown, ctx.Err())
}

// advance makes an applied index visible and wakes the reads that waited for it.
func (r *replica) advance(index uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.visible.Store(index)
	kept := r.readers[:0]
	for _, reader := range r.readers {
		if reader.index <= index {
			close(reader.done)
			continue
		}
		kept = append(kept, reader)
	}
	clear(r.readers[len(kept):])
	r.readers = kept
	observers := r.observers[:0]
	for _, o := range r.observers {
		if o.index <= index {
			o.tell(index)
			continue
		}
		observers = append(observers, o)
	}
	clear(r.observers[len(observers):])
	r.observers = observers
}

// maxObservers bounds the peers' questions that wait for one group; the oldest is forgotten, and asked again.
const maxObservers = 1024

// observe calls tell, under the replica's mutex, once index is applied: at once if it is already.
func (r *replica) observe(index uint64, tell func(applied uint64)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if applied := r.visible.Load(); applied >= index {
		tell(applied)
		return
	}
	if len(r.observers) >= maxObservers {
		r.observers = r.observers[1:]
	}
	r.observers = append(r.observers, indexObserver{index: index, tell: tell})
}

// waitApplied returns once index is applied here.
func (r *replica) waitApplied(ctx context.Context, index uint64) error {
	if r.visible.Load() >= index {
		return nil
	}
	r.mu.Lock()
	if r.visible.Load() >= index {
		r.mu.Unlock()
		return nil
	}
	done := make(chan struct{})
	r.readers = append(r.readers, indexWaiter{index: index, done: done})
	r.mu.Unlock()
	ended, late := clock.Ends(ctx)
	select {
	case <-done:
		return nil
	case <-ended:
	case <-late:
	}
	r.forgetReader(done)
	return ctx.Err()
}

func (r *replica) forgetReader(done chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.readers {
		if r.readers[i].done == done {
			r.readers = append(r.readers[:i], r.readers[i+1:]...)
			return
		}
	}
}
