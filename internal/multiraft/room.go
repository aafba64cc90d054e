package multiraft

import (
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
)

// This file keeps a node useful on a disk that is nearly full. A quarter above Config.MinFreeBytes the node is tight: it
// says so with its beats and hands its leaderships to nodes that are not, so that clients notice nothing. It is handed none
// until half as much again is free. Where no node has room they stay. Below Config.MinFreeBytes its groups refuse what would
// add data, early enough that what is left suffices for elections, changes of membership, deletions and the flushes
// that allow the log to be cut. If the log finds no room all the same, nothing is acknowledged and nothing is lost: its
// worker stands still, others are elected, and it goes on when there is room.

// ErrDiskFull says that this node has hardly any room left; nothing was proposed. Deleting rows still works.
var ErrDiskFull = errors.New("multiraft: the disk of the leader's node is nearly full")

// room knows whether there is enough of it. looked at once a tick, read by every proposal.
type room struct {
	floor  int64
	free   func() (int64, error)
	relief func(data []byte) bool
	logger *slog.Logger

	tight   atomic.Bool // others with more room should lead
	full    atomic.Bool // what adds data is refused
	refused atomic.Uint64
}

func newRoom(cfg *Config) *room {
	r := &room{floor: cfg.MinFreeBytes, free: cfg.FreeBytes, relief: cfg.FreesSpace, logger: cfg.Logger}
	r.look()
	return r
}

// look asks how much is free. Writes are refused below the floor, and taken again from an eighth above it on, so that
// the answer does not flicker.
func (r *room) look() {
	if r.free == nil || r.floor <= 0 {
		return
	}
	free, err := r.free()
	if err != nil {
		return // not known on this file system; what is known stays
	}
	switch tight := r.tight.Load(); {
	case !tight && free < r.floor+r.floor/4:
		r.tight.Store(true)
		r.logger.Warn("the disk is filling up: nodes with more room are to lead this node's groups",
			slog.Int64("free_bytes", free), slog.Int64("min_free_bytes", r.floor))
	case tight && free >= r.floor+r.floor/2:
		r.tight.Store(false)
	}
	switch full := r.full.Load(); {
	case !full && free < r.floor:
		r.full.Store(true)
		r.logger.Error("the disk is nearly full: writes are refused until there is room again",
			slog.Int64("free_bytes", free), slog.Int64("min_free_bytes", r.floor))
	case full && free >= r.floor+r.floor/8:
		r.full.Store(false)
		r.logger.Info("the disk has room again: writes are taken", slog.Int64("free_bytes", free))
	}
}

// tightened is what the log keeps while there is hardly any room: a follower that was away for long needs a snapshot then.
func (r *room) tightened(kept Retention) Retention {
	if r.full.Load() {
		kept.Entries, kept.Bytes = min(kept.Entries, tightEntries), min(kept.Bytes, tightBytes)
	}
	return kept
}

// What a group's log keeps for followers on a disk that is nearly full.
const (
	tightEntries = 256
	tightBytes   = 1 << 20
)

// admits refuses, while there is hardly any room, what does not help to make some.
func (r *room) admits(data []byte) error {
	if !r.full.Load() || r.relief != nil && r.relief(data) {
		return nil
	}
	r.refused.Add(1)
	return fmt.Errorf("%w: less than %d bytes are free", ErrDiskFull, r.floor)
}

// block stops the worker before what the log could not make durable: no message that depends on it leaves.
func (w *worker) block(err error) {
	if w.setNoRoom(true) {
		w.m.cfg.Logger.Error("the log has no room: this node's groups stand still until there is some", slog.Any("error", err))
	}
}

// unblock lets the worker go on.
func (w *worker) unblock() {
	if w.setNoRoom(false) {
		w.m.cfg.Logger.Info("the log has room again: this node's groups go on")
	}
}

// setNoRoom reports whether it was otherwise before.
func (w *worker) setNoRoom(noRoom bool) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	changed := w.noRoom != noRoom
	w.noRoom = noRoom
	return changed
}

// roomless reports whether the log has no room for what the worker made.
func (w *worker) roomless() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.noRoom
}

// stands reports that the worker gets nowhere: the log has no room, or the worker has not come back from it for as many
// ticks as lie between two heartbeats.
func (w *worker) stands() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.noRoom || w.ticks >= w.m.cfg.HeartbeatTicks
}

// waitForRoom tries again what the log refused. Time does not pass for the groups meanwhile, so others are elected; what
// can be cut of the log is, which makes room without the disk's help. Reads are refused, for they would wait.
func (w *worker) waitForRoom() error {
	w.mu.Lock()
	ticks := w.ticks
	w.ticks = 0
	kept := w.inbox[:0]
	for _, it := range w.inbox {
		if it.read != nil {
			it.read.done <- readIndex{err: ErrDiskFull}
			continue
		}
		kept = append(kept, it)
	}
	clear(w.inbox[len(kept):])
	w.inbox = kept
	w.mu.Unlock()
	if ticks == 0 {
		return nil // once a tick is often enough
	}
	for _, g := range w.groups {
		w.truncate(g)
		g.refuseReads(ErrDiskFull)
	}
	if !w.blocked { // writeLog holds it
		signal(w.again)
		return nil
	}
	w.blocked = false
	if err := w.persist(); err != nil || w.blocked {
		return err
	}
	w.unblock()
	return nil
}

// DiskTight reports whether this node hands its leaderships to nodes with more room on their disks.
func (m *Manager) DiskTight() bool { return m.room.tight.Load() }

// DiskFull reports whether this node refuses to add data because its disk is nearly full.
func (m *Manager) DiskFull() bool { return m.room.full.Load() }

// DiskFull reports whether this node refuses to add data because its disk is nearly full.
func (s *Solo) DiskFull() bool { return s.room.full.Load() }
