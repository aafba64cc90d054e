package server

import (
	"math"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/shard"
)

// maxCommitSamples bounds what is remembered of a group's commits: about two minutes.
const maxCommitSamples = 120

// commitSample is what the members had committed in a group at some moment.
type commitSample struct {
	at    time.Time
	index uint64
}

// sampleCommits notes what is committed everywhere now.
func (g *gossip) sampleCommits() {
	committed := g.committed(liveMembers(g.n.catalog.Current()))
	now := g.n.clock.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	for id, index := range committed {
		samples := g.lags[shard.GroupID(id)]
		if n := len(samples); n > 0 && samples[n-1].index == index {
			samples[n-1].at = now // whoever has applied this index was level until now
			continue
		}
		if len(samples) == maxCommitSamples {
			samples = append(samples[:0], samples[1:]...)
		}
		g.lags[shard.GroupID(id)] = append(samples, commitSample{now, index})
	}
}

// lag is how far a replica with an applied index is behind what any member had committed: in entries, and in the time
// since it was level. Both are zero for one that is level with what was heard last.
func (g *gossip) lag(group shard.GroupID, applied uint64) (entries uint64, behind time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	samples := g.lags[group]
	if len(samples) == 0 || samples[len(samples)-1].index <= applied {
		return 0, 0
	}
	entries = samples[len(samples)-1].index - applied
	level := samples[0].at
	for _, s := range samples {
		if s.index <= applied {
			level = s.at
		}
	}
	return entries, g.n.clock.Now().Sub(level)
}

// usage measures how much of a processor this process takes.
type usage struct {
	at      time.Time
	spent   time.Duration
	percent atomicFloat
}

// atomicFloat is a float that one goroutine stores and others load.
type atomicFloat struct{ bits atomic.Uint64 }

func (f *atomicFloat) load() float64       { return math.Float64frombits(f.bits.Load()) }
func (f *atomicFloat) store(value float64) { f.bits.Store(math.Float64bits(value)) }

// measure takes the time since the last call into account.
func (u *usage) measure(now time.Time) {
	var spent syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &spent) != nil {
		return // the column stays as it is
	}
	total := time.Duration(spent.Utime.Nano() + spent.Stime.Nano())
	if elapsed := now.Sub(u.at); !u.at.IsZero() && elapsed > 0 {
		u.percent.store(100 * float64(total-u.spent) / float64(elapsed))
	}
	u.at, u.spent = now, total
}
