package multiraft

import (
	"context"
	"errors"
	"fmt"

	raftpb "go.etcd.io/raft/v3/raftpb"

	"github.com/kalamdb/kalamdb-go/internal/multiraft/raftlog"
)

// This file lets a worker go on while its log is written. With LogWrites of one, the default, a pass ends when its
// write is synced, and everything that arrives meanwhile becomes the next pass. With more, the write goes to a
// goroutine, and the worker makes further passes until so many writes are under way: their messages reach the
// followers while the write before them is still being synced, and their write begins the moment that one ends.
// The log itself has never more than one record that is not synced, because that is how it tells a torn tail from
// damage. On a fast disk more than one costs CPU, since passes get smaller; on a slow one it saves waiting.
//
// A write that takes as long as there is between two heartbeats stops the worker, however many may be under way, as
// one always does with LogWrites of one: a node whose disk hangs must not go on beating as a leader. A write that the
// log has no room for is kept and tried again once a tick, and the worker stands still meanwhile (room.go).

// logWrite is what one pass has to remember, and what may be said once it is durable.
type logWrite struct {
	updates   []raftlog.Update
	sync      bool
	responses []response
}

// response is a message that may be delivered once the updates of the pass are durable.
type response struct {
	group   *group
	message *raftpb.Message
}

// persist writes the pass's updates with one sync, and then delivers what depended on them.
func (w *worker) persist() error {
	if len(w.out.updates) == 0 && len(w.out.responses) == 0 && !w.out.sync {
		return nil
	}
	write := logWrite{updates: w.out.updates, sync: w.out.sync, responses: w.out.responses}
	if w.writes == nil || w.underWay == 0 && !write.sync {
		err := w.write(&write)
		if errors.Is(err, raftlog.ErrNoSpare) {
			w.blocked = true // out keeps the write
			w.block(err)
			return nil
		}
		if err != nil {
			return err
		}
		w.finish(&write)
		if len(w.dirty) == 0 { // else the next pass follows at once, and its frames take along what is said now
			w.transmit()
		}
		clear(w.out.updates)
		clear(w.out.responses)
		w.out.updates, w.out.responses, w.out.sync = w.out.updates[:0], w.out.responses[:0], false
		return nil
	}
	if !write.sync && len(write.responses) == 0 {
		return nil // commit indexes that no message waits for go with the next write
	}
	w.out.updates, w.out.responses, w.out.sync = nil, nil, false
	w.underWay++
	w.writes <- write // it has room for as many as may be under way
	return nil
}

// waitsForLog reports whether the worker must not run further ahead of its log, of which so many writes have just come
// back: as many as may be are under way, or none has come back since the heartbeat before.
func (w *worker) waitsForLog(back int) bool {
	if w.underWay -= back; w.underWay == 0 || back > 0 {
		w.backAt = w.tick
	}
	return w.underWay > 0 && (w.underWay >= w.m.cfg.LogWrites || w.tick-w.backAt >= w.m.cfg.HeartbeatTicks)
}

func (w *worker) write(write *logWrite) error {
	if len(write.updates) == 0 && !write.sync {
		return nil // answers that wait for nothing but the writes before this one
	}
	begun := w.m.cfg.Clock.Now()
	if err := w.m.cfg.Log.Append(write.updates, write.sync); err != nil {
		return fmt.Errorf("append to the log: %w", err)
	}
	w.m.metrics.appendLog.Observe(w.m.seconds(begun))
	w.m.metrics.batch.Observe(float64(len(write.updates)))
	return nil
}

// finish delivers what depended on a write that is durable.
func (w *worker) finish(write *logWrite) {
	self := uint64(w.m.cfg.Replica)
	for _, r := range write.responses {
		if r.message.GetTo() != self {
			w.post(r.group, r.message)
			continue
		}
		w.deliverOne(r.group, r.message)
		w.mark(r.group)
	}
}

// writeLog writes what the passes hand over, in order, until the engine stops. What it does not come to is lost as
// in a crash: nobody was told of it.
func (w *worker) writeLog(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.m.failed:
			return
		case write := <-w.writes:
			all, batch := w.gather(write)
			if err := w.writeOnceThereIsRoom(ctx, &all); err != nil {
				if ctx.Err() == nil {
					w.m.fail(err)
				}
				return
			}
			w.giveBack(batch)
		}
	}
}

// gather joins a write with what more is handed over: it shares the sync.
func (w *worker) gather(write logWrite) (all logWrite, batch []logWrite) {
	all, batch = write, []logWrite{write}
	for {
		select {
		case write = <-w.writes:
			batch = append(batch, write)
			all.updates = append(all.updates, write.updates...)
			all.sync = all.sync || write.sync
		default:
			return all, batch
		}
	}
}

// giveBack tells the passes what is durable.
func (w *worker) giveBack(batch []logWrite) {
	w.mu.Lock()
	w.written = append(w.written, batch...)
	w.mu.Unlock()
	signal(w.wake)
}

// heldWrite is what Pump has taken over to write.
type heldWrite struct {
	all    logWrite
	batch  []logWrite
	waited bool // for room
}

// pumpWrites is writeLog for Pump: it writes once, what earlier calls of Pump handed over. So messages of later passes
// leave, and other nodes and faults have their turn, while a write is under way.
func (w *worker) pumpWrites() error {
	if w.m.cfg.LogWrites == 1 {
		return nil
	}
	if w.writes == nil {
		w.writes, w.again = make(chan logWrite, w.m.cfg.LogWrites), make(chan struct{}, 1)
	}
	if w.writing == nil {
		select {
		case write := <-w.writes:
			all, batch := w.gather(write)
			w.writing = &heldWrite{all: all, batch: batch}
		default:
			return nil
		}
	}
	err := w.write(&w.writing.all)
	if errors.Is(err, raftlog.ErrNoSpare) {
		w.writing.waited = true
		w.block(err)
		return nil
	}
	if err != nil {
		return err
	}
	if w.writing.waited {
		w.unblock()
	}
	w.giveBack(w.writing.batch)
	w.writing = nil
	return nil
}

// writeOnceThereIsRoom writes what passes handed over. While the log has no room it tries again whenever the worker
// says so, which is once a tick.
func (w *worker) writeOnceThereIsRoom(ctx context.Context, write *logWrite) error {
	for waited := false; ; waited = true {
		err := w.write(write)
		if !errors.Is(err, raftlog.ErrNoSpare) {
			if err == nil && waited {
				w.unblock()
			}
			return err
		}
		w.block(err)
		select {
		case <-ctx.Done():
			return err
		case <-w.m.failed:
			return err
		case <-w.again:
		}
	}
}
