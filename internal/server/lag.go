package server

import (
	"math"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/multiraft"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	nodev1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/node/v1"
)

// maxCommitSamples bounds what is remembered of a group's commits. The longer ago, the fewer are kept, so
// that the time since a moment long ago is known, too, if less exactly.
const maxCommitSamples = 120

// commitSample is what the members had committed in a group at some moment.
type commitSample struct {
	from, at time.Time // when it was first heard, and last
	index    uint64
}

// sampleCommits notes what is committed everywhere now.
func (g *gossip) sampleCommits() {
	g.noteCommits(g.committed(liveMembers(g.n.catalog.Current())), g.n.clock.Now())
}

func (g *gossip) noteCommits(committed map[uint64]uint64, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for id, index := range committed {
		samples := g.lags[shard.GroupID(id)]
		if n := len(samples); n > 0 && samples[n-1].index == index {
			samples[n-1].at = now // whoever has applied this index was level until now
			continue
		}
		if len(samples) == maxCommitSamples {
			samples = thinOut(samples, now)
		}
		g.lags[shard.GroupID(id)] = append(samples, commitSample{from: now, at: now, index: index})
	}
}

// thinOut removes the sample without which the time since any moment is known best, as a part of that time.
func thinOut(samples []commitSample, now time.Time) []commitSample {
	best, least := 1, math.Inf(1)
	for i := 1; i < len(samples)-1; i++ {
		gap, age := samples[i+1].at.Sub(samples[i-1].at), now.Sub(samples[i].at)+time.Second
		if part := float64(gap) / float64(age); part < least {
			best, least = i, part
		}
	}
	return slices.Delete(samples, best, best+1)
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
	level := samples[0].from // it was not seen level
	for _, s := range samples {
		if s.index <= applied {
			level = s.at
		}
	}
	return entries, g.n.clock.Now().Sub(level)
}

// groupActivity is what a group does on this node and how far it is behind.
type groupActivity struct {
	multiraft.Observation
	lagEntries, lagBytes uint64 // bytes by the average of the entries in the log
	behind               time.Duration
}

// activity looks at all groups, without asking their workers.
func (g *gossip) activity(manager *multiraft.Manager) []groupActivity {
	observed := manager.Observe()
	all := make([]groupActivity, len(observed))
	for i, o := range observed {
		one := groupActivity{Observation: o}
		one.lagEntries, one.behind = g.lag(o.Group, manager.Applied(o.Group))
		if o.LogEntries > 0 {
			one.lagBytes = uint64(float64(one.lagEntries) * float64(o.LogBytes) / float64(o.LogEntries))
		}
		all[i] = one
	}
	return all
}

// describeActivity adds what the groups do to what is said of them.
func (g *gossip) describeActivity(manager *multiraft.Manager, infos []*nodev1.GroupStatus) {
	byGroup := make(map[uint64]*groupActivity, len(infos))
	all := g.activity(manager)
	for i := range all {
		byGroup[uint64(all[i].Group)] = &all[i]
	}
	for _, info := range infos {
		one := byGroup[info.GetGroup()]
		if one == nil {
			continue
		}
		info.Activity = &nodev1.GroupActivity{
			LagEntries: one.lagEntries, LagBytes: one.lagBytes, LagMillis: uint64(max(one.behind.Milliseconds(), 0)),
			ProposeMicros:     uint64(max(one.Latest.Microseconds(), 0)),
			SnapshotBytesSent: one.Snapshots.Sent, SnapshotBytesReceived: one.Snapshots.Received,
		}
		if one.Percent >= 0 {
			info.Activity.SnapshotPercent = new(uint32(one.Percent))
		}
	}
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
