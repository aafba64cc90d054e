package multiraft

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/transport"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
)

// behind starts three replicas whose third is away and needs a snapshot of the group; it is not restarted. The
// group has bulk besides its sum, so that its snapshot has many chunks.
func behind(t *testing.T, seed uint64) (l *lab, g shard.GroupID, away *labNode, want uint64) {
	t.Helper()
	l = newLab(t, seed, 2)
	l.retain = 10
	l.snapshotChunk, l.snapshotFile = 4000, 20_000
	for id := ident.ReplicaID(1); id <= 3; id++ {
		l.add(id)
	}
	l.until(3000, "three voters everywhere", l.settled)
	g = shard.UserShard(0)
	away = l.nodes[3]
	away.crash()
	away.manager = nil
	for id := ident.ReplicaID(1); id <= 2; id++ {
		l.nodes[id].addBulk(g)
	}
	l.until(400, "a leader", func() bool { return l.leader(g) != nil })
	for i := range uint64(100) {
		if _, err := l.propose(g, l.id(), i); err != nil {
			t.Fatalf("propose: %v", err)
		}
		want += i
	}
	l.until(400, "the logs are cut past the node that is away", func() bool {
		for id := ident.ReplicaID(1); id <= 2; id++ {
			n := l.nodes[id]
			if err := errors.Join(n.store.Flush(), n.manager.Maintain()); err != nil {
				t.Fatal(err)
			}
			if n.manager.groups[g].log.FirstIndex() <= 60 {
				return false
			}
		}
		return true
	})
	return l, g, away, want
}

// addBulk writes the same keys on every replica, beside the log; they lie before the sum.
func (n *labNode) addBulk(g shard.GroupID) {
	n.lab.t.Helper()
	lo, _ := keys.GroupSpan(g)
	batch := n.store.NewBatch()
	for i := range 400 {
		value := make([]byte, 300)
		for j := range value {
			value[j] = byte((i*7919 + j*j*31 + i*j) >> 3)
		}
		if err := batch.Set(fmt.Appendf(slices.Clip(lo), "\xf0bulk%04d", i), value); err != nil {
			n.lab.t.Fatal(err)
		}
	}
	if err := errors.Join(n.store.Commit(batch), batch.Close()); err != nil {
		n.lab.t.Fatal(err)
	}
}

// span digests what a node has of a group.
func (n *labNode) span(g shard.GroupID) string {
	n.lab.t.Helper()
	lo, hi := keys.GroupSpan(g)
	it, err := n.store.Scan(lo, hi)
	if err != nil {
		n.lab.t.Fatal(err)
	}
	var all []byte
	for ok := it.First(); ok; ok = it.Next() {
		value, err := it.Value()
		if err != nil {
			n.lab.t.Fatal(err)
		}
		all = fmt.Appendf(all, "%x=%x\n", it.Key(), value)
	}
	if err := it.Close(); err != nil {
		n.lab.t.Fatal(err)
	}
	return string(all)
}

func TestSnapshotGoesOnAfterABrokenStreamAndRestarts(t *testing.T) {
	for _, restart := range []string{"nobody", "receiver", "sender"} {
		t.Run(restart, func(t *testing.T) {
			l, g, away, want := behind(t, 21)
			chunks, broken, afterwards := 0, false, 0
			l.network.SetCallFault(func(c *transport.Call) transport.CallVerdict {
				if c.Kind != transport.CallSnapshotChunk {
					return transport.DeliverCall
				}
				if broken {
					afterwards++
					return transport.DeliverCall
				}
				if chunks++; chunks > 25 {
					broken = true
					return transport.LoseRequest
				}
				return transport.DeliverCall
			})
			away.restart()
			for i := 0; i < 400 && !broken; i++ {
				l.tick()
			}
			if !broken {
				t.Fatal("no snapshot of so many chunks was sent")
			}
			if afterwards > 0 {
				t.Fatalf("%d chunks were sent before the restart", afterwards)
			}
			switch restart {
			case "receiver":
				away.crash()
				away.restart()
			case "sender":
				sender := l.leader(g)
				if err := sender.log.Flush(); err != nil { // or the entries may be back, and be sent instead
					t.Fatal(err)
				}
				sender.crash()
				sender.restart()
				sender.addBulk(g) // it was not in the log
			}
			l.until(3000, "the node caught up", func() bool { return away.sum(g) == want })
			if away.manager.groups[g].snapsTaken.Load() == 0 {
				t.Fatal("the node caught up without a snapshot")
			}
			if afterwards == 0 || afterwards >= chunks {
				t.Errorf("%d chunks came before the break and %d after it: it did not go on", chunks, afterwards)
			}
			l.until(400, "the leader and the node have the same", func() bool {
				lead := l.leader(g)
				return lead != nil && lead.span(g) == away.span(g)
			})
			if s := away.manager.groups[g].describe(away.manager); s.Snapshot == 0 {
				t.Error("the status does not tell of the snapshot")
			}
			active, bytes := away.manager.Snapshots()
			if len(active) != 0 || bytes.Received == 0 {
				t.Errorf("transfers = %v, %+v", active, bytes)
			}
		})
	}
}

// A snapshot that is on its way shows, and its bytes grow.
func TestSnapshotsShowWhileTheyRun(t *testing.T) {
	l, g, away, want := behind(t, 22)
	var seen []SnapshotTransfer
	l.network.SetCallFault(func(c *transport.Call) transport.CallVerdict {
		if c.Kind == transport.CallSnapshotChunk {
			active, _ := l.nodes[c.From].manager.Snapshots()
			seen = append(seen, active...)
			active, _ = l.nodes[c.To].manager.Snapshots()
			seen = append(seen, active...)
		}
		return transport.DeliverCall
	})
	away.restart()
	l.until(3000, "the node caught up", func() bool { return away.sum(g) == want })
	most := map[string]SnapshotTransfer{}
	percents := map[string][]int{}
	for _, s := range seen {
		if s.Group == g && s.Percent >= 0 {
			percents[s.Direction] = append(percents[s.Direction], s.Percent)
		}
		if s.Group == g && s.Bytes > most[s.Direction].Bytes {
			most[s.Direction] = s
		}
	}
	for direction, peer := range map[string]ident.ReplicaID{sent: 3, received: most[received].Peer} {
		s := most[direction]
		if s.Peer != peer || s.Index == 0 || s.Pairs < 300 || s.Started.IsZero() {
			t.Errorf("%s: %+v", direction, s)
		}
		done := percents[direction]
		if len(done) < 10 || !slices.IsSorted(done) || done[0] > 20 || done[len(done)-1] < 80 || done[len(done)-1] > 99 {
			t.Errorf("%s: percent done as it went on: %v", direction, done)
		}
	}
	for id, want := range map[ident.ReplicaID]SnapshotBytes{
		most[received].Peer: {Sent: most[sent].Bytes}, 3: {Received: most[received].Bytes},
	} {
		for _, o := range l.nodes[id].manager.Observe() {
			if o.Group == g && (o.Snapshots.Sent < want.Sent || o.Snapshots.Received < want.Received || o.Percent != -1) {
				t.Errorf("replica %d counts %+v for the group, want at least %+v, and none on its way: %d", id, o.Snapshots, want, o.Percent)
			}
		}
	}
}

// The crash points between an installed snapshot and the log's restart: whichever part is on disk, opening
// brings store and log together and the node catches up.
func TestCrashBetweenInstallAndTheLogsRestart(t *testing.T) {
	l, g, away, want := behind(t, 23)
	away.restart()
	var clones []*vfs.MemFS
	for range 400 {
		if away.sum(g) == want {
			break
		}
		l.clock.Advance(50 * time.Millisecond)
		for _, n := range l.nodes {
			n.manager.Tick()
		}
		for range 30 { // as pump, but every part of the node that was away by itself, with a crash between
			for id := ident.ReplicaID(1); id <= 2; id++ {
				if err := l.nodes[id].manager.Pump(); err != nil {
					t.Fatal(err)
				}
			}
			l.network.Deliver(1_000_000)
			if _, err := away.manager.workers[0].pass(); err != nil {
				t.Fatal(err)
			}
			if _, err := away.manager.apply.pass(); err != nil {
				t.Fatal(err)
			}
			group := away.manager.groups[g]
			if group.install != nil && group.state.Index > group.log.LastIndex() {
				clones = append(clones, away.fs.CrashClone(vfs.CrashCloneCfg{}))
			}
		}
	}
	if len(clones) == 0 {
		t.Fatal("the node was never between install and the log's restart")
	}
	away.halt()
	away.fs = clones[0]
	away.openStores()
	state, err := readApplied(away.store, g)
	if err != nil {
		t.Fatal(err)
	}
	if last := away.log.Group(g).LastIndex(); last >= state.Index {
		t.Fatalf("the log is at %d, the store at %d", last, state.Index)
	}
	away.open()
	if group := away.manager.groups[g]; group.log.LastIndex() != state.Index || group.log.FirstIndex() != state.Index+1 {
		t.Errorf("the log has %d to %d after opening, the store is at %d", group.log.FirstIndex(), group.log.LastIndex(), state.Index)
	}
	if left, err := away.store.FS().List("staging"); err == nil && len(left) > 0 {
		t.Errorf("staging holds %v", left)
	}
	if _, err := l.propose(g, l.id(), 1000); err != nil {
		t.Fatal(err)
	}
	l.until(3000, "the node caught up", func() bool { return away.sum(g) == want+1000 })
	l.until(400, "equal content", func() bool { return l.leader(g).span(g) == away.span(g) })
}

// Two senders together take the time that the rate allows.
func TestSnapshotRate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		rate := newByteRate(clock.Real{}, 1000)
		started := time.Now()
		done := make(chan error, 2)
		for range 2 {
			go func() {
				var err error
				for range 10 {
					err = errors.Join(err, rate.wait(t.Context(), 500))
				}
				done <- err
			}()
		}
		if err := errors.Join(<-done, <-done); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(started); took < 9*time.Second || took > 10*time.Second {
			t.Errorf("10,000 bytes at 1000 a second took %s", took)
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if err := rate.wait(ended, 1); !errors.Is(err, context.Canceled) {
			t.Errorf("error = %v, want canceled", err)
		}
		if err := newByteRate(clock.Real{}, 0).wait(t.Context(), 1<<40); err != nil {
			t.Error(err)
		}
	})
}

// Between any two chunks of a snapshot the other groups are written, on every node, the receiving one included.
func TestOtherGroupsGoOnDuringASnapshot(t *testing.T) {
	l, g, away, want := behind(t, 24)
	other := shard.UserShard(1)
	chunks, inside := 0, false
	var failed error
	var sum uint64
	l.network.SetCallFault(func(c *transport.Call) transport.CallVerdict {
		if c.Kind != transport.CallSnapshotChunk || inside {
			return transport.DeliverCall
		}
		if chunks++; chunks%10 == 5 && failed == nil {
			inside = true
			sum, failed = l.propose(other, l.id(), 1)
			inside = false
			if failed == nil && away.sum(other) == 0 && chunks > 15 {
				failed = errors.New("the receiving node applied nothing")
			}
		}
		return transport.DeliverCall
	})
	away.restart()
	l.until(3000, "the node caught up", func() bool { return away.sum(g) == want })
	if failed != nil || sum < 3 || chunks < 30 {
		t.Errorf("during %d chunks %d writes of another group ended, %v", chunks, sum, failed)
	}
}
