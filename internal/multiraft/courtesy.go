package multiraft

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kalamdb/kalamdb-go/internal/clock"
)

// This file keeps snapshots from slowing down everybody else. How long proposals and writes of the log take is known from
// before the transfer; when they take longer during it, senders rest after each chunk, for longer and longer times the time
// that a chunk takes, until it is as before, and for shorter again when it is. A transfer so goes at full speed where nobody
// else needs the machine, and never comes to rest.

const (
	courtesyEvery = 100 * time.Millisecond
	courtesyLeast = 8               // observations that say something
	strained      = 1.2             // times as long as usual
	relaxed       = 1.1             // likewise
	longestIdle   = 24.0            // times the time that a chunk takes
	longestPause  = 2 * time.Second // after one chunk

	// What is usual follows the newest second, soon downwards, so that an hour of large rows does not excuse slowness, and
	// slowly upwards: one part in so many is of it.
	shareDown, shareUp = 2, 10
)

// meter counts what it passes on.
type meter struct {
	prometheus.Observer
	total *meterTotal
}

type meterTotal struct{ nanos, count atomic.Uint64 }

// Observe implements prometheus.Observer.
func (m meter) Observe(seconds float64) {
	m.Observer.Observe(seconds)
	m.total.nanos.Add(uint64(max(seconds, 0) * 1e9))
	m.total.count.Add(1)
}

// usage is one thing of which a courtesy knows how long it usually takes.
type usage struct {
	total        *meterTotal
	nanos, count uint64  // of total at the last look
	usual        float64 // nanoseconds while no snapshot is on its way, zero when it is not known
}

// mean is how long it took since the last look; ok is false when it happened too seldom to tell.
func (u *usage) mean() (mean float64, ok bool) {
	nanos, count := u.total.nanos.Load(), u.total.count.Load()
	n := count - u.count
	if n >= courtesyLeast {
		mean, ok = float64(nanos-u.nanos)/float64(n), true
	}
	u.nanos, u.count = nanos, count
	return mean, ok
}

// courtesy says how long senders rest.
type courtesy struct {
	clock clock.Clock

	mu     sync.Mutex // guards all below
	usages []*usage
	looked time.Time
	idle   float64 // rest for each chunk, in times that it took
}

func newCourtesy(clk clock.Clock, totals ...*meterTotal) *courtesy {
	c := &courtesy{clock: clk}
	for _, total := range totals {
		c.usages = append(c.usages, &usage{total: total})
	}
	return c
}

// learn looks how long things take while no snapshot is on its way. It is called about once a second.
func (c *courtesy) learn() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.idle = 0
	for _, u := range c.usages {
		mean, ok := u.mean()
		switch {
		case !ok:
		case u.usual == 0:
			u.usual = mean
		case mean < u.usual:
			u.usual += (mean - u.usual) / shareDown
		default:
			u.usual += (mean - u.usual) / shareUp
		}
	}
	c.looked = c.clock.Now()
}

// pause is how long to rest after a chunk that took so long.
func (c *courtesy) pause(worked time.Duration) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := c.clock.Now(); now.Sub(c.looked) >= courtesyEvery {
		c.looked = now
		c.adjust()
	}
	return min(time.Duration(float64(worked)*c.idle), longestPause)
}

// adjust changes the rest by how long things took since the last look.
func (c *courtesy) adjust() {
	strain := 0.0
	for _, u := range c.usages {
		if mean, ok := u.mean(); ok && u.usual > 0 {
			strain = max(strain, mean/u.usual)
		}
	}
	switch {
	case strain > strained:
		c.idle = min(max(2*c.idle, 0.5), longestIdle)
	case strain < relaxed:
		if c.idle /= 1.5; c.idle < 0.2 {
			c.idle = 0
		}
	}
}

// rest waits until the next chunk may be built.
func (c *courtesy) rest(ctx context.Context, worked time.Duration) error {
	pause := c.pause(worked)
	if pause == 0 {
		return ctx.Err()
	}
	return clock.Pause(ctx, c.clock, pause)
}

// beCourteous rests after a chunk that was begun at that time, and begins the next. A driver that calls Pump does not
// wait in it.
func (m *Manager) beCourteous(ctx context.Context, begun *time.Time) error {
	if m.stop == nil {
		return ctx.Err()
	}
	err := m.courtesy.rest(ctx, m.cfg.Clock.Now().Sub(*begun))
	*begun = m.cfg.Clock.Now()
	return err
}
