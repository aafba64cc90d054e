package multiraft

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/clock"
)

// countingClock counts the timers that are made.
type countingClock struct {
	clock.Real
	timers atomic.Int64
}

func (c *countingClock) NewTimer(d time.Duration) clock.Timer {
	c.timers.Add(1)
	return c.Real.NewTimer(d)
}

// now is the tick that a node has counted, and planned how many pass together next.
func (m *Manager) now() (tick int64, planned int) {
	m.peers.mu.Lock()
	defer m.peers.mu.Unlock()
	return m.peers.now, m.peers.planned
}

// restingCrew is three nodes at rest, which beat at different times, at a moment that is half a tick after a beat of the first one.
func restingCrew(ctx context.Context, t *testing.T, wall clock.Clock) *crew {
	t.Helper()
	c := startCrew(t, &crewOptions{clock: wall, apart: 33 * time.Millisecond})
	tick := c.managers[0].cfg.TickInterval
	c.wait(ctx, t, "every node makes lulls", func() bool {
		for _, m := range c.managers {
			if _, planned := m.now(); planned < 2 {
				return false
			}
		}
		return true
	})
	c.wait(ctx, t, "a lull has just begun", func() bool {
		peers := c.managers[0].peers
		peers.mu.Lock()
		defer peers.mu.Unlock()
		return peers.planned == defaultHeartbeatTicks && peers.uncounted(wall.Now()) == 0
	})
	pause(ctx, tick/2)
	synctest.Wait()
	return c
}

// TestLulls lets three nodes rest: the ticks between two beats pass together, and none is lost.
func TestLulls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		wall := &countingClock{}
		c := restingCrew(ctx, t, wall)
		m := c.managers[0]
		const beats = 40
		began, _ := m.now()
		timers := wall.timers.Load()
		pause(ctx, beats*defaultHeartbeatTicks*m.cfg.TickInterval)
		synctest.Wait()
		if now, _ := m.now(); now != began+beats*defaultHeartbeatTicks {
			t.Errorf("%d ticks were counted in the time of %d", now-began, beats*defaultHeartbeatTicks)
		}
		// One timer for each beat, and some to look at the log and to end lulls; without lulls there is one for each tick.
		most := int64(len(c.managers)) * 2 * beats
		if made := wall.timers.Load() - timers; made > most {
			t.Errorf("%d timers were made, want at most %d", made, most)
		}
	})
}

// TestLullEndsWithWork interrupts a lull: what is done in its middle finds every tick counted, and none is counted twice.
func TestLullEndsWithWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		c := restingCrew(ctx, t, clock.Real{})
		m := c.managers[0]
		w := m.workers[0]
		began, _ := m.now()
		pause(ctx, 3*m.cfg.TickInterval)
		seen := make(chan int, 1)
		w.enqueue(item{do: func(*group) { seen <- w.tick }})
		if tick := <-seen; int64(tick) != began+3 {
			t.Errorf("in the middle of a lull a worker is at tick %d, want %d", tick, began+3)
		}
		pause(ctx, 2*m.cfg.TickInterval)
		synctest.Wait()
		if now, _ := m.now(); now != began+defaultHeartbeatTicks {
			t.Errorf("at the next beat %d ticks are counted, want %d", now-began, defaultHeartbeatTicks)
		}
	})
}

// TestSilenceIsNoticedInLulls stops a node: its groups wake at the very tick at which it has been silent for too long.
func TestSilenceIsNoticedInLulls(t *testing.T) {
	for early := range defaultHeartbeatTicks {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			c := restingCrew(ctx, t, clock.Real{})
			victim := c.leader(ctx, t, c.groups[1])
			m := c.managers[0]
			if m == victim {
				m = c.managers[1]
			}
			pause(ctx, time.Duration(early)*m.cfg.TickInterval)
			victim.Stop()
			synctest.Wait()
			m.peers.mu.Lock()
			last, counted, next := m.peers.beat[victim.cfg.Replica], m.peers.now, m.peers.counted
			m.peers.mu.Unlock()
			due := last + int64(m.cfg.silentAfter()) + 1
			pause(ctx, time.Until(next.Add(time.Duration(due-counted)*m.cfg.TickInterval)))
			synctest.Wait()
			if now, _ := m.now(); now != due {
				t.Errorf("when tick %d is due, %d are counted", due, now)
			}
			awake := make(chan bool, 1)
			g := m.groups[c.groups[1]]
			g.worker.enqueue(item{do: func(*group) { awake <- !g.quiet.asleep }})
			if !<-awake {
				t.Errorf("a node whose last beat came at tick %d is not found silent at tick %d", last, due)
			}
		})
	}
}
