package multiraft

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/snapshot"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
)

// The directions of a transfer.
const (
	sent     = "sent"
	received = "received"
)

// SnapshotTransfer is a snapshot on its way.
type SnapshotTransfer struct {
	Direction string // sent or received
	Group     shard.GroupID
	Peer      ident.ReplicaID
	Index     uint64 // log index of the state
	Bytes     uint64 // chunks so far, compressed
	Pairs     uint64 // so far, those included that an interrupted attempt had brought
	Percent   int    // about what is done, below 100; -1 when the state is too small to tell
	Started   time.Time
}

// SnapshotBytes are the bytes of snapshot chunks since the start.
type SnapshotBytes struct{ Sent, Received uint64 }

// transfer is a SnapshotTransfer while it runs, guarded by the mutex of its transfers.
type transfer struct{ SnapshotTransfer }

// transfers are the snapshots on their way to and from this node.
type transfers struct {
	mu      sync.Mutex // guards the fields below
	active  map[*transfer]bool
	total   SnapshotBytes
	byGroup map[shard.GroupID]SnapshotBytes
}

func (t *transfers) begin(clk clock.Clock, direction string, group shard.GroupID, peer ident.ReplicaID, index uint64) *transfer {
	one := &transfer{SnapshotTransfer{Direction: direction, Group: group, Peer: peer, Index: index, Percent: -1, Started: clk.Now()}}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.active == nil {
		t.active, t.byGroup = make(map[*transfer]bool), make(map[shard.GroupID]SnapshotBytes)
	}
	t.active[one] = true
	return one
}

// add notes a chunk: its bytes, the pairs so far, and how many bytes of how many on the disk that makes.
func (t *transfers) add(one *transfer, bytes int, pairs, done, all uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	one.Bytes += uint64(bytes)
	one.Pairs = pairs
	if all > 0 {
		one.Percent = max(one.Percent, int(min(99, 100*done/all)))
	}
	group := t.byGroup[one.Group]
	if one.Direction == sent {
		t.total.Sent += uint64(bytes)
		group.Sent += uint64(bytes)
	} else {
		t.total.Received += uint64(bytes)
		group.Received += uint64(bytes)
	}
	t.byGroup[one.Group] = group
}

func (t *transfers) end(one *transfer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.active, one)
}

// none reports whether no snapshot is on its way.
func (t *transfers) none() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.active) == 0
}

// Snapshots lists the snapshots that are being sent or received right now, by group, and the bytes of all since
// the start.
func (m *Manager) Snapshots() ([]SnapshotTransfer, SnapshotBytes) {
	m.transfers.mu.Lock()
	defer m.transfers.mu.Unlock()
	all := make([]SnapshotTransfer, 0, len(m.transfers.active))
	for one := range m.transfers.active {
		all = append(all, one.SnapshotTransfer)
	}
	slices.SortFunc(all, func(a, b SnapshotTransfer) int {
		return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.Direction, b.Direction), cmp.Compare(a.Peer, b.Peer))
	})
	return all, m.transfers.total
}

// openStaging finds what is left of interrupted snapshots.
func openStaging(cfg Config) (*snapshot.Staging, error) {
	los := make([][]byte, len(cfg.Groups))
	for i, g := range cfg.Groups {
		los[i], _ = keys.GroupSpan(g)
	}
	return snapshot.NewStaging(cfg.Engine, cfg.StagingDir, los, cfg.Clock, snapshot.Config{
		ChunkBytes: cfg.SnapshotChunkBytes, FileBytes: cfg.SnapshotFileBytes, VerifyInstalled: cfg.VerifyInstalled,
	})
}

// byteRate spaces what several senders send so that together they stay below a rate. A burst of one chunk per
// sender goes out at once; nothing is saved up while nothing is sent.
type byteRate struct {
	clock     clock.Clock
	perSecond int64 // zero is without limit

	mu   sync.Mutex // guards free
	free time.Time  // when all that was let through is paid for
}

func newByteRate(clk clock.Clock, perSecond int64) *byteRate {
	return &byteRate{clock: clk, perSecond: perSecond}
}

// wait returns when so many bytes may be sent.
func (r *byteRate) wait(ctx context.Context, bytes int) error {
	if r.perSecond <= 0 {
		return ctx.Err()
	}
	now := r.clock.Now()
	r.mu.Lock()
	if r.free.Before(now) {
		r.free = now
	}
	pause := r.free.Sub(now)
	r.free = r.free.Add(time.Duration(float64(bytes) / float64(r.perSecond) * float64(time.Second)))
	r.mu.Unlock()
	if pause == 0 {
		return ctx.Err()
	}
	return clock.Pause(ctx, r.clock, pause)
}

// group is the bytes of a group's snapshot chunks since the start.
func (t *transfers) group(id shard.GroupID) SnapshotBytes {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.byGroup[id]
}

// percents is, for each group with a snapshot on its way of which it is known, about how much is done.
func (t *transfers) percents() map[shard.GroupID]int {
	t.mu.Lock()
	defer t.mu.Unlock()
	var done map[shard.GroupID]int
	for one := range t.active {
		if least, known := done[one.Group]; one.Percent < 0 || known && least <= one.Percent {
			continue
		}
		if done == nil {
			done = make(map[shard.GroupID]int)
		}
		done[one.Group] = one.Percent
	}
	return done
}
