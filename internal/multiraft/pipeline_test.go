package multiraft

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/raftlog"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/transport"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk/faultfs"
	nodev1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/node/v1"
)

// crew is three managers with their goroutines, on the real clock, whose messages arrive at once.
type crew struct {
	groups   []shard.GroupID
	managers [3]*Manager
	ready    atomic.Bool
	snapshot func(ident.ReplicaID) error // see crewOptions
}

// crewOptions is what the tests of a crew want differently.
type crewOptions struct {
	logWrites    int
	clock        clock.Clock    // nil is the real one
	apart        time.Duration  // how long after another the nodes start
	segmentBytes int64          // of the log; zero is 16 MiB
	onSync       [3]func()      // before each sync of a node's log; nil does nothing
	noRoom       [3]atomic.Bool // a node's log finds no room for another segment
	onTable      [3]func()      // before each sync of a table of a node's store; nil does nothing
	memTable     uint64         // bytes of the stores' memtables, into which commands go, too; zero is the default, and they do not

	snapshot func(from ident.ReplicaID) error // in place of sending one, for nobody in a crew is ever so far behind; nil is an error
}

// wire is a crew's network, as one of its members sees it.
type wire struct {
	crew *crew
	from ident.ReplicaID
}

// Send implements Transport.
func (w wire) Send(to ident.ReplicaID, messages []transport.Message) {
	if w.crew.ready.Load() {
		w.crew.managers[to-1].HandleMessages(w.from, messages)
	}
}

// SendSnapshot implements Transport.
func (w wire) SendSnapshot(context.Context, ident.ReplicaID, *nodev1.SnapshotHeader, func() ([]byte, error)) error {
	if w.crew.snapshot == nil {
		return transport.ErrStopped
	}
	return w.crew.snapshot(w.from)
}

func startCrew(tb testing.TB, options *crewOptions) *crew {
	tb.Helper()
	c := &crew{groups: shard.Map{UserShards: 4, SharedShards: 1}.Groups(), snapshot: options.snapshot}
	segmentBytes := cmp.Or(options.segmentBytes, 16<<20)
	wall := cmp.Or[clock.Clock](options.clock, clock.Real{})
	for i := range c.managers {
		fs := faultfs.Wrap(vfs.NewMem(), func(op faultfs.Op) error {
			if op.Kind == faultfs.Sync && strings.HasSuffix(op.Path, ".sst") && options.onTable[i] != nil {
				options.onTable[i]()
			}
			if !strings.HasPrefix(op.Path, "log/") || !c.ready.Load() {
				return nil
			}
			if op.Kind == faultfs.Sync && options.onSync[i] != nil {
				options.onSync[i]()
			}
			if op.Kind == faultfs.Create && options.noRoom[i].Load() {
				return syscall.ENOSPC
			}
			return nil
		})
		store, err := storage.Open(storage.Options{FS: fs, Dir: "store", MemTableBytes: options.memTable})
		if err != nil {
			tb.Fatal(err)
		}
		log, err := raftlog.Open(raftlog.Config{FS: fs, Dir: "log", SegmentBytes: segmentBytes, SpareSegments: 1})
		if err != nil {
			tb.Fatal(err)
		}
		if err = Found(store, LogOf(log), c.groups, 1, 2, 3); err != nil {
			tb.Fatal(err)
		}
		c.managers[i], err = Open(Config{
			Replica: ident.ReplicaID(i + 1), Groups: c.groups, Engine: store, Log: LogOf(log), Clock: wall,
			Logger: slog.New(slog.DiscardHandler), StateMachines: func(g shard.GroupID) StateMachine { return &tally{group: g, keeps: options.memTable > 0} },
			StagingDir: "staging", NoBalance: true, TickInterval: 20 * time.Millisecond, LogWrites: options.logWrites,
		}, wire{c, ident.ReplicaID(i + 1)})
		if err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(func() {
			if err := log.Close(); err != nil {
				tb.Error(err)
			}
			if err := store.Close(); err != nil {
				tb.Error(err)
			}
		})
	}
	c.ready.Store(true)
	for _, m := range c.managers {
		m.Start()
		pause(tb.Context(), options.apart)
	}
	tb.Cleanup(func() {
		for _, m := range c.managers {
			m.Stop()
		}
	})
	return c
}

// leader waits for the leader of a group.
func (c *crew) leader(ctx context.Context, tb testing.TB, g shard.GroupID) *Manager {
	tb.Helper()
	for ctx.Err() == nil {
		for _, m := range c.managers {
			if m.groups[g].leading.Load() {
				return m
			}
		}
		pause(ctx, time.Millisecond)
	}
	tb.Fatalf("%v has no leader", g)
	return nil
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// TestSecondLogWriteStartsBeforeTheFirstIsSynced holds the leader's sync and shows that later proposals reach the
// followers' logs meanwhile, that nothing is answered before the leader's own log has it, and everything after. The time stands still as long
// as anything runs: a leader whose log hangs for some ticks hands its groups over.
func TestSecondLogWriteStartsBeforeTheFirstIsSynced(t *testing.T) {
	synctest.Test(t, secondLogWrite)
}

func secondLogWrite(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var hold [3]atomic.Bool
	release, held := make(chan struct{}), make(chan struct{}, 1)
	var onSync [3]func()
	for i := range onSync {
		onSync[i] = func() {
			if hold[i].Load() {
				signal(held)
				<-release
			}
		}
	}
	c := startCrew(t, &crewOptions{logWrites: 2, onSync: onSync})
	g := c.groups[1]
	leader := c.leader(ctx, t, g)
	c.propose(ctx, t, leader, g, ident.RequestID{1}, amount(1))
	hold[leader.cfg.Replica-1].Store(true)
	first, err := leader.Submit(g, ident.RequestID{2}, binary.BigEndian.AppendUint64(nil, 2))
	if err != nil {
		t.Fatal(err)
	}
	<-held
	second, err := leader.Submit(g, ident.RequestID{3}, binary.BigEndian.AppendUint64(nil, 3))
	if err != nil {
		t.Fatal(err)
	}
	want := leader.groups[g].log.LastIndex() + 2
	for _, m := range c.managers {
		for m != leader && m.groups[g].log.LastIndex() < want {
			if pause(ctx, time.Millisecond); ctx.Err() != nil {
				t.Fatalf("replica %d has entries up to %d, want %d while the leader's log is being synced",
					m.cfg.Replica, m.groups[g].log.LastIndex(), want)
			}
		}
	}
	for i, s := range []*Submitted{first, second} {
		if _, _, done, _ := s.Poll(); done {
			t.Errorf("proposal %d was answered before the leader's log was synced", i+1)
		}
	}
	hold[leader.cfg.Replica-1].Store(false)
	close(release)
	for i, s := range []*Submitted{first, second} {
		for {
			if _, _, done, err := s.Poll(); done {
				if err != nil {
					t.Errorf("proposal %d: %v", i+1, err)
				}
				break
			}
			if pause(ctx, time.Millisecond); ctx.Err() != nil {
				t.Fatalf("proposal %d was never answered", i+1)
			}
		}
	}
}

// BenchmarkSlowDisk measures proposals on disks with slow syncs, by the number of log writes under way:
//
//	go test -run xxx -bench SlowDisk ./internal/multiraft
func BenchmarkSlowDisk(b *testing.B) {
	for _, delay := range []time.Duration{0, time.Millisecond, 3 * time.Millisecond, 10 * time.Millisecond} {
		for _, writes := range []int{1, 2, 8} {
			b.Run(fmt.Sprintf("sync=%v/writes=%d", delay, writes), func(b *testing.B) { slowDisk(b, delay, writes) })
		}
	}
}

func slowDisk(b *testing.B, delay time.Duration, writes int) {
	b.Helper()
	ctx := b.Context()
	var onSync [3]func()
	for i := range onSync {
		onSync[i] = func() {
			if delay > 0 {
				time.Sleep(delay) // the disk that is measured; nothing waits for something else here
			}
		}
	}
	c := startCrew(b, &crewOptions{logWrites: writes, onSync: onSync})
	leaders := make([]*Manager, len(c.groups))
	for i, g := range c.groups {
		leaders[i] = c.leader(ctx, b, g)
	}
	const clients = 64
	var next atomic.Int64
	var running sync.WaitGroup
	b.ResetTimer()
	for i := range clients {
		running.Go(func() {
			at := i % len(c.groups)
			for {
				n := next.Add(1)
				if n > int64(b.N) {
					return
				}
				var id ident.RequestID
				binary.BigEndian.PutUint64(id[:], uint64(n))
				if _, _, err := leaders[at].Propose(ctx, c.groups[at], id, binary.BigEndian.AppendUint64(nil, 1)); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	running.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ops/s")
}
