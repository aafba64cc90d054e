package executor

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/shard"
)

// ReadLevel says what a query that changes nothing must see.
type ReadLevel uint8

// The levels, the strictest first.
const (
	Linearizable ReadLevel = iota // everything that was acknowledged before, confirmed by a majority
	Lease                         // the same as long as clocks run alike; the leader answers alone for a moment after a majority confirmed it
	Bounded                       // everything that was acknowledged until the bound before now
	Local                         // what this node has, however old

	readLevels = int(Local) + 1
)

// ReadLevelNames are the levels' names in settings, requests and metrics.
var ReadLevelNames = [readLevels]string{"linearizable", "lease", "bounded", "local"}

// String is the level's name.
func (l ReadLevel) String() string {
	if int(l) < readLevels {
		return ReadLevelNames[l]
	}
	return "other"
}

// ParseReadLevel is the inverse of String.
func ParseReadLevel(name string) (ReadLevel, error) {
	for i, known := range ReadLevelNames {
		if name == known {
			return ReadLevel(i), nil
		}
	}
	return 0, fmt.Errorf("read level %q is none of linearizable, lease, bounded, local", name)
}

// Reads is how queries read.
type Reads struct {
	Level ReadLevel
	// Staleness is the bound of Bounded; zero in a request takes the setting's.
	Staleness time.Duration
}

type (
	readsKey struct{}
	queryKey struct{}
)

// WithReads makes the queries of a request read so, whatever the cluster's setting is.
func WithReads(ctx context.Context, reads Reads) context.Context {
	return context.WithValue(ctx, readsKey{}, reads)
}

// AsQuery marks a context under which nothing is changed: only there do barriers follow the setting or the
// request. All others are linearizable, since a change that was computed from old rows would only be refused.
func AsQuery(ctx context.Context) context.Context {
	return context.WithValue(ctx, queryKey{}, true)
}

// WeakReader is an executor whose barriers may wait for nothing.
type WeakReader interface {
	// Weak reports whether barriers under the context leave groups at different moments: a catalog that is read after one
	// may then be younger, or older, than the rows.
	Weak(ctx context.Context) bool
}

// readsOf decides how a barrier under the context reads.
func readsOf(ctx context.Context, setting Reads) Reads {
	if ctx.Value(queryKey{}) == nil {
		return Reads{}
	}
	if asked, ok := ctx.Value(readsKey{}).(Reads); ok {
		if asked.Staleness == 0 {
			asked.Staleness = setting.Staleness
		}
		return asked
	}
	return setting
}

// freshness remembers for each group when the newest barrier that has returned here was begun. What was acknowledged
// before that moment is in this node's state.
type freshness struct {
	clock clock.Clock

	mu    sync.Mutex // guards begun
	begun map[shard.GroupID]time.Time
}

func newFreshness(c clock.Clock) *freshness {
	return &freshness{clock: c, begun: make(map[shard.GroupID]time.Time)}
}

// within reports whether the group's state here is at most so old.
func (f *freshness) within(group shard.GroupID, bound time.Duration) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	begun, ok := f.begun[group]
	return ok && f.clock.Now().Sub(begun) <= bound
}

// note keeps the begin of a barrier that has returned.
func (f *freshness) note(group shard.GroupID, begun time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if begun.After(f.begun[group]) {
		f.begun[group] = begun
	}
}
