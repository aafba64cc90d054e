package pairlog

import (
	"errors"
	"fmt"
	"slices"

	"github.com/kalamdb/kalamdb-go/internal/multiraft/raftlog"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage"
)

// This file writes. What has to be durable is one batch with one sync for everybody who waits; what may be lost by a crash,
// commit indexes and truncations, stays in memory until the next such batch takes it along. So every batch is synced.

// request is a call of Append that waits. Its last two fields belong to who has Log.mu.
type request struct {
	updates []raftlog.Update
	done    bool
	err     error
}

// Append is that of raftlog.Log. Where hardly any room is left it returns ErrNoSpare before anything of the updates is written.
func (l *Log) Append(updates []raftlog.Update, sync bool) error {
	r := &request{updates: updates}
	if sync || !onlyHards(updates) {
		l.queueMu.Lock()
		l.queue = append(l.queue, r)
		l.queueMu.Unlock()
		l.mu.Lock()
		defer l.mu.Unlock()
		for !r.done {
			l.serve(l.takeQueue())
		}
		return r.err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.usable(); err != nil {
		return err
	}
	if l.raiseCommits(updates) {
		return nil
	}
	l.serve([]*request{r})
	return r.err
}

// takeQueue returns requests that no two groups of share, the oldest first; another one of a group waits for the next batch, so
// that one that is refused leaves no trace in the others. It needs mu.
func (l *Log) takeQueue() []*request {
	l.queueMu.Lock()
	defer l.queueMu.Unlock()
	taken := make(map[shard.GroupID]bool)
	var batch, rest []*request
	for _, r := range l.queue {
		if slices.ContainsFunc(r.updates, func(u raftlog.Update) bool { return taken[u.Group] }) {
			rest = append(rest, r)
		} else {
			batch = append(batch, r)
		}
		for i := range r.updates { // of a waiting one, too: what comes later stays behind it
			taken[r.updates[i].Group] = true
		}
	}
	l.queue = rest
	return batch
}

// serve writes requests with one sync. It needs mu.
func (l *Log) serve(batch []*request) {
	err := l.usable()
	if err == nil && !l.hasRoom() {
		if err = l.makeRoom(); err == nil {
			err = fmt.Errorf("%w: less than %d bytes are free", raftlog.ErrNoSpare, l.cfg.ReserveBytes)
		}
	}
	var stages []*stage
	for _, r := range batch {
		r.done, r.err = true, err
		if err == nil {
			var more []*stage
			more, r.err = l.stageAll(r.updates)
			stages = append(stages, more...)
		}
	}
	if err != nil || !slices.ContainsFunc(batch, func(r *request) bool { return r.err == nil }) {
		return
	}
	err = l.write(func(b *storage.Batch) error {
		for _, s := range stages {
			if failed := s.put(b); failed != nil {
				return failed
			}
		}
		return nil
	})
	for _, r := range batch {
		if r.err == nil {
			r.err = err
		}
	}
	if err != nil {
		return
	}
	for _, s := range stages {
		s.settle()
	}
	l.evict()
}

// onlyHards reports whether updates are hard states alone.
func onlyHards(updates []raftlog.Update) bool {
	return !slices.ContainsFunc(updates, func(u raftlog.Update) bool {
		return u.Reset != nil || len(u.Entries) > 0 || u.Hard == nil
	})
}

// raiseCommits applies hard states that do no more than raise the commit index, in memory. It reports false, and changes nothing, when
// there is more to them. It needs mu.
func (l *Log) raiseCommits(updates []raftlog.Update) bool {
	for i := range updates {
		g, hard := l.Group(updates[i].Group), updates[i].Hard
		if hard.Term != g.hard.Term || hard.Vote != g.hard.Vote || hard.Commit > g.last() {
			return false
		}
	}
	for i := range updates {
		g, commit := l.Group(updates[i].Group), updates[i].Hard.Commit
		if commit > g.hard.Commit {
			g.mu.Lock()
			g.hard.Commit = commit
			g.mu.Unlock()
			l.putOff(g)
		}
	}
	return true
}

// putOff lets the next batch write a group's hard state and marker. It needs mu.
func (l *Log) putOff(g *Group) {
	if !g.pending {
		g.pending = true
		l.pending = append(l.pending, g)
	}
}

// write commits a batch, with what was put off in front of it. A failure is final. It needs mu.
func (l *Log) write(fill func(*storage.Batch) error) error {
	batch := l.store.NewBatch()
	var errs []error
	for _, g := range l.pending {
		errs = append(errs, g.putPending(batch))
	}
	err := errors.Join(append(errs, fill(batch))...)
	size := batch.Len()
	if err == nil {
		err = l.store.CommitSync(batch)
	}
	if err = errors.Join(err, batch.Close()); err != nil {
		l.failure = fmt.Errorf("pairlog: %w", err)
		return l.failure
	}
	for _, g := range l.pending {
		g.pending, g.stored = false, g.marker
	}
	clear(l.pending)
	l.pending = l.pending[:0]
	l.syncs.Add(1)
	l.appended.Add(uint64(size)) //nolint:gosec // of a batch
	return nil
}

// writePending writes what was put off. It needs mu.
func (l *Log) writePending() error {
	if len(l.pending) == 0 {
		return nil
	}
	return l.write(func(*storage.Batch) error { return nil })
}

// putPending writes what only memory has of a group. It needs mu of the log.
func (g *Group) putPending(b *storage.Batch) error {
	var truncated error
	if g.marker != g.stored {
		truncated = errors.Join(b.DeleteRange(entryKey(g.id, g.stored.Index+1), entryKey(g.id, g.marker.Index+1)),
			set(b, groupKey(kindMarker, g.id), encodeMarker(g.marker)))
	}
	return errors.Join(truncated, set(b, groupKey(kindHard, g.id), encodeHard(g.hard)))
}

func set(b *storage.Batch, key, value []byte) error { return b.Set(key, seal(key, value)) }

// Truncate is that of raftlog.Log.
func (l *Log) Truncate(group shard.GroupID, upto uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.usable(); err != nil {
		return err
	}
	g := l.Group(group)
	if upto <= g.marker.Index {
		return nil
	}
	if upto > g.last() {
		return fmt.Errorf("%w: group %v: truncation up to %d is behind the last entry %d", raftlog.ErrInvalidUpdate, g.id, upto, g.last())
	}
	g.mu.Lock()
	g.dropFront(raftlog.Marker{Index: upto, Term: g.term(upto)})
	g.hard.Commit = max(g.hard.Commit, upto)
	g.mu.Unlock()
	l.putOff(g)
	return nil
}

// makeRoom lets entries that were cut leave a disk that has no room for more: their deletion, which waits for the next batch, is
// written, into one half of the reserve, and the store below flushes it, into the other, and drops the tables that it covers. It needs mu.
func (l *Log) makeRoom() error {
	cut := slices.ContainsFunc(l.pending, func(g *Group) bool { return g.marker != g.stored })
	if free, err := l.cfg.FreeBytes(); err != nil || free < l.cfg.ReserveBytes/2 || !cut {
		return nil //nolint:nilerr // what is not known is asked again before the next batch
	}
	if err := l.writePending(); err != nil {
		return err
	}
	if _, err := l.store.AsyncFlush(); err != nil { // nobody waits: there is room when it has ended
		l.failure = fmt.Errorf("pairlog: %w", err)
		return l.failure
	}
	return nil
}

// hasRoom reports whether a batch may be begun.
func (l *Log) hasRoom() bool {
	if l.cfg.FreeBytes == nil {
		return true
	}
	free, err := l.cfg.FreeBytes()
	return err != nil || free >= l.cfg.ReserveBytes
}
