package executor

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/shard"
)

// Origin names a request that its sender may send again, over any node. Every time it is sent, the same
// statement gives the same ID, and the group answers with the result of the first.
type Origin struct {
	ID ident.RequestID
	// Age is how long ago the sender sent it for the first time; zero says that this is the first time. The
	// group may have forgotten a request that is older than its window; it then says so and runs nothing.
	Age time.Duration
}

type originKey struct{}

// WithOrigin makes the one Execute under the context carry the origin's id.
func WithOrigin(ctx context.Context, origin Origin) context.Context {
	return context.WithValue(ctx, originKey{}, origin)
}

func originOf(ctx context.Context) (Origin, bool) {
	origin, ok := ctx.Value(originKey{}).(Origin)
	return origin, ok
}

const (
	// transitMargin is how long a repeated request may have been on its way here since its sender read his clock.
	transitMargin = 10 * time.Second
	// samples bounds a history; with one sample a second it reaches back three minutes.
	samples = 180
)

// History remembers how far this node had applied each group at some moments. What a group had applied when a
// request was first sent lies below every copy of that request in the log; no clock but this node's own is
// needed to know it. A request from before the history began is as old as the log.
type History struct {
	clock   clock.Clock
	groups  []shard.GroupID
	applied func(shard.GroupID) uint64

	mu    sync.Mutex // guards taken
	taken []sample   // oldest first, at most samples
}

type sample struct {
	at      time.Time
	applied map[shard.GroupID]uint64
}

// NewHistory begins a history with the present.
func NewHistory(wall clock.Clock, groups []shard.GroupID, applied func(shard.GroupID) uint64) *History {
	h := &History{clock: wall, groups: groups, applied: applied}
	h.Sample()
	return h
}

// Sample records the present. It is called about once a second.
func (h *History) Sample() {
	now := sample{at: h.clock.Now(), applied: make(map[shard.GroupID]uint64, len(h.groups))}
	for _, id := range h.groups {
		now.applied[id] = h.applied(id)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.taken) == samples {
		copy(h.taken, h.taken[1:])
		h.taken = h.taken[:samples-1]
	}
	h.taken = append(h.taken, now)
}

// before returns an index that a group had applied on this node so long ago, zero when that is not known.
func (h *History) before(group shard.GroupID, age time.Duration) uint64 {
	if h == nil {
		return 0
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	limit := h.clock.Now().Add(-age)
	for _, earlier := range slices.Backward(h.taken) {
		if !earlier.at.After(limit) {
			return earlier.applied[group]
		}
	}
	return 0
}
