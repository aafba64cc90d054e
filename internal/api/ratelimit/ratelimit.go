// Package ratelimit bounds what callers may do: how often, and how many at once.
//
// Limiter is a token bucket for each key (a user, an address); Gate counts what is open for each key.
// Both hold a bounded number of keys. A Limiter that is full forgets the key that was idle longest, which
// gives that key a full bucket again; since a bucket that was idle for its refill time is full anyway,
// this matters only under attack from more keys than are tracked, which global bounds have to stop. A Gate
// that is full refuses new keys. Neither starts goroutines. All methods are safe for concurrent use.
package ratelimit

import (
	"container/list"
	"sync"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/clock"
)

// Limiter is a set of token buckets.
type Limiter struct {
	clock   clock.Clock
	perSec  float64
	burst   float64
	maxKeys int

	mu      sync.Mutex // guards all below
	buckets map[string]*list.Element
	recent  *list.List // of *bucket, the one used last first
}

type bucket struct {
	key    string
	tokens float64
	filled time.Time // when tokens was right
}

// NewLimiter allows perSecond actions of each key, and as many at once after a second of rest. It
// remembers maxKeys keys. A perSecond of zero allows everything.
func NewLimiter(c clock.Clock, perSecond, maxKeys int) *Limiter {
	return &Limiter{
		clock: c, perSec: float64(perSecond), burst: float64(perSecond), maxKeys: max(1, maxKeys),
		buckets: make(map[string]*list.Element), recent: list.New(),
	}
}

// Allow takes one action of key from its bucket. When there is none, it returns false and after how long
// there will be one.
func (l *Limiter) Allow(key string) (ok bool, retryAfter time.Duration) {
	if l.perSec <= 0 {
		return true, 0
	}
	now := l.clock.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.bucketOf(key, now)
	if elapsed := now.Sub(b.filled); elapsed > 0 {
		b.tokens = min(l.burst, b.tokens+elapsed.Seconds()*l.perSec)
		b.filled = now
	}
	if b.tokens >= 1 {
		b.tokens--
		return true, 0
	}
	return false, time.Duration((1 - b.tokens) / l.perSec * float64(time.Second))
}

// bucketOf is called with mu held.
func (l *Limiter) bucketOf(key string, now time.Time) *bucket {
	if element, found := l.buckets[key]; found {
		l.recent.MoveToFront(element)
		return element.Value.(*bucket) //nolint:errcheck,forcetypeassert // the list holds nothing else
	}
	for len(l.buckets) >= l.maxKeys {
		oldest := l.recent.Back()
		delete(l.buckets, l.recent.Remove(oldest).(*bucket).key) //nolint:errcheck,forcetypeassert // the list holds nothing else
	}
	b := &bucket{key: key, tokens: l.burst, filled: now}
	l.buckets[key] = l.recent.PushFront(b)
	return b
}

// Keys returns the number of keys that are remembered.
func (l *Limiter) Keys() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.buckets)
}

// Gate counts what is open for each key and in all.
type Gate struct {
	perKey int
	total  int

	mu   sync.Mutex // guards all below
	open map[string]int
	sum  int
	peak int // the highest sum so far
}

// NewGate allows perKey open things of one key and total of all keys; zero means no bound. The number of
// keys is bounded by total, because a key is forgotten when nothing of it is open.
func NewGate(perKey, total int) *Gate {
	return &Gate{perKey: perKey, total: total, open: make(map[string]int)}
}

// Enter opens one thing of key; it reports false when that is not allowed. An empty key counts in the
// total alone.
func (g *Gate) Enter(key string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.total > 0 && g.sum >= g.total {
		return false
	}
	if key != "" {
		if g.perKey > 0 && g.open[key] >= g.perKey {
			return false
		}
		g.open[key]++
	}
	g.sum++
	g.peak = max(g.peak, g.sum)
	return true
}

// FullFor reports whether a key has as many open things as one key may have.
func (g *Gate) FullFor(key string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.perKey > 0 && g.open[key] >= g.perKey
}

// Leave closes one thing that Enter opened.
func (g *Gate) Leave(key string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.sum--
	if key == "" {
		return
	}
	if g.open[key]--; g.open[key] <= 0 {
		delete(g.open, key)
	}
}

// Open returns how many things are open in all.
func (g *Gate) Open() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.sum
}

// Peak returns the highest number of things that were open at once.
func (g *Gate) Peak() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.peak
}
