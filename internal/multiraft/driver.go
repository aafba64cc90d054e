package multiraft

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
)

// Live reports whether a peer was heard of lately; a replica always hears itself.
func (m *Manager) Live(id ident.ReplicaID) bool { return id == m.cfg.Replica || m.peers.live(id) }

// durability knows how much of each group's state would survive a crash, and makes it more.
type durability struct {
	engine *storage.Engine

	seen atomic.Uint64 // version of the store at the last refresh, plus one

	mu      sync.Mutex // guards indexes
	indexes map[shard.GroupID]uint64
}

func newDurability(engine *storage.Engine, groups []shard.GroupID) *durability {
	return &durability{engine: engine, indexes: make(map[shard.GroupID]uint64, len(groups))}
}

func (d *durability) index(id shard.GroupID) uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.indexes[id]
}

// refresh reads what is durable now.
func (d *durability) refresh(replicas []*replica) error {
	version := d.engine.DurableVersion() + 1 // never zero, so that the first call reads
	if version == d.seen.Load() {
		return nil
	}
	reader := d.engine.Durable()
	for _, r := range replicas {
		raw, ok, err := reader.Get(keys.Applied(r.id))
		if err != nil {
			return fmt.Errorf("read durable state of %s: %w", r.id, err)
		}
		if !ok {
			continue
		}
		state, err := decodeApplied(raw)
		if err != nil {
			return fmt.Errorf("%s: %w", r.id, err)
		}
		d.mu.Lock()
		d.indexes[r.id] = state.Index
		d.mu.Unlock()
	}
	d.seen.Store(version)
	return nil
}

// Maintain keeps the log short: when a group holds more than its retention only because the store has not
// flushed its state, the store is flushed. It is called about once a second.
func (m *Manager) Maintain() error {
	if m.transfers.none() {
		m.courtesy.learn()
	}
	replicas := make([]*replica, len(m.order))
	flush := false
	for i, g := range m.order {
		replicas[i] = g.replica
		_, need := retention(g.log, m.room.tightened(m.cfg.retain(g.id)), m.durable.index(g.id))
		flush = flush || need && m.durable.index(g.id) < g.visible.Load()
	}
	if flush {
		if err := m.cfg.Engine.Flush(); err != nil {
			return fmt.Errorf("flush the store: %w", err)
		}
	}
	return m.durable.refresh(replicas)
}

// Pump moves the engine on the caller's goroutine until nothing is left to do; the simulator drives it so.
// It must not be mixed with Start. Snapshots are sent inside it, so the peer's handler must not wait for the
// installation: it calls ReceiveSnapshot.
func (m *Manager) Pump() error { return m.pump(m.apply.pass) }

// PumpLog is the part of Pump that goes on while something that is applied is under way: it applies nothing. A driver whose store keeps
// PumpApply waiting calls it meanwhile.
func (m *Manager) PumpLog() error {
	return m.pump(func() (bool, error) { return false, nil })
}

func (m *Manager) pump(apply func() (bool, error)) error {
	m.pumped = true
	for _, w := range m.workers {
		if err := w.pumpWrites(); err != nil {
			m.fail(err)
			return err
		}
	}
	for {
		worked := false
		for _, w := range m.workers {
			did, err := w.guarded()
			if err != nil {
				m.fail(err)
				return err
			}
			worked = worked || did
		}
		did, err := apply()
		if err != nil {
			m.fail(err)
			return err
		}
		sent := m.sender.pass(context.Background())
		if !worked && !did && !sent {
			return m.Failure()
		}
	}
}

// PumpApply is the part of Pump that goes on while a write of the log is under way: it applies what is committed. A
// driver whose disk keeps Pump waiting calls it meanwhile, on the same terms.
func (m *Manager) PumpApply() error {
	for {
		worked, err := m.apply.pass()
		if err != nil {
			m.fail(err)
			return err
		}
		if !worked {
			return m.Failure()
		}
	}
}

// guarded is pass, with what Raft could not read of the log as an error.
func (w *worker) guarded() (worked bool, err error) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case unreadable:
			err = fmt.Errorf("read the log: %w", r.err)
		default:
			panic(r)
		}
	}()
	return w.pass()
}

// Tick lets one tick of Raft time pass for every group.
func (m *Manager) Tick() {
	m.passTicks(1, m.peers.advance(1))
}

// passTicks lets ticks pass that were counted just now, of which only the last may be one of a beat.
func (m *Manager) passTicks(ticks int, all int64) {
	m.beat(all)
	m.room.look()
	m.health.look(m, ticks)
	for _, w := range m.workers {
		w.addTicks(ticks)
	}
}

// Start runs the engine's goroutines until Stop.
func (m *Manager) Start() {
	ctx, cancel := context.WithCancel(context.Background())
	m.stop = cancel
	for _, w := range m.workers {
		if m.cfg.LogWrites > 1 {
			w.writes, w.again = make(chan logWrite, m.cfg.LogWrites), make(chan struct{}, 1)
			m.spawn(func() { w.writeLog(ctx) })
		}
		m.spawn(func() { m.loop(ctx, w.wake, w.guarded) })
	}
	m.spawn(func() { m.loop(ctx, m.apply.wake, m.apply.pass) })
	for range m.cfg.SnapshotSends {
		m.spawn(func() { m.sender.run(ctx) })
	}
	m.spawn(func() { m.keepTime(ctx) })
	m.spawn(func() { m.keepShort(ctx) })
	for _, w := range m.workers {
		signal(w.wake)
	}
}

func (m *Manager) spawn(run func()) {
	m.running.Go(func() {
		run()
	})
}

// letOthers lets who else is about to hand in work do so first, and share the pass; and who is made ready by that, such as the
// reader of another stream. Nobody else ready, this is a few nanoseconds.
func letOthers() {
	runtime.Gosched()
	runtime.Gosched()
}

// loop runs pass whenever it is woken, and again as long as it finds work.
func (m *Manager) loop(ctx context.Context, wake <-chan struct{}, pass func() (bool, error)) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-m.failed:
			return
		case <-wake:
		}
		letOthers()
		for {
			worked, err := pass()
			if err != nil {
				m.fail(err)
				return
			}
			if !worked || ctx.Err() != nil {
				break
			}
		}
	}
}

// keepTime ticks the workers. Ticks that come late are not made up for: a node that was paused counts none of the
// pause, or, while all its groups sleep, at most the ticks up to the next beat.
func (m *Manager) keepTime(ctx context.Context) {
	m.peers.start(m.cfg.Clock.Now())
	for {
		timer := m.cfg.Clock.NewTimer(m.peers.plan(m.cfg.Clock.Now(), len(m.workers), m.cfg.HeartbeatTicks, m.cfg.silentAfter()))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-m.failed:
			timer.Stop()
			return
		case <-m.peers.hurry:
			timer.Stop()
		case <-timer.C():
			m.passTicks(m.peers.take(m.cfg.Clock.Now()))
		}
	}
}

// keepShort maintains the log. It has a goroutine of its own, since a flush may take long, on a full disk for ever, and
// time must go on meanwhile.
func (m *Manager) keepShort(ctx context.Context) {
	const maintainEvery = 20
	m.every(ctx, maintainEvery*m.cfg.TickInterval, m.Maintain)
}

// every calls do after each interval until the context ends or the engine fails, of which an error is the reason.
func (m *Manager) every(ctx context.Context, interval time.Duration, do func() error) {
	for {
		timer := m.cfg.Clock.NewTimer(interval)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-m.failed:
			timer.Stop()
			return
		case <-timer.C():
		}
		if err := do(); err != nil {
			m.fail(err)
			return
		}
	}
}

// Stop ends the engine: waiting proposals end with ErrOutcomeUnknown, reads and later proposals with ErrStopped. It
// returns when every goroutine has ended. The store and the log stay open.
func (m *Manager) Stop() {
	if m.stop != nil {
		m.stop()
	}
	m.running.Wait()
	for _, g := range m.order {
		g.fail(ErrOutcomeUnknown, false)
		g.fail(ErrStopped, true)
		for _, s := range g.staged {
			m.discard(s, ErrStopped)
		}
		g.refuseReads(ErrStopped)
	}
	for _, w := range m.workers {
		w.mu.Lock()
		for i := range w.inbox {
			if read := w.inbox[i].read; read != nil {
				read.done <- readIndex{err: ErrStopped}
			}
		}
		w.inbox = nil
		w.mu.Unlock()
	}
}
