package jobs

import (
	"context"
	"crypto/rand"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/executor"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/statemachine"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

const labHold = 6 * time.Second // a heartbeat each second

// lab is the meta group without replication, on a clock that is moved by hand: the real store and state machine. Runners of
// several nodes share it, as if all of them had applied everything.
type lab struct {
	t       *testing.T
	wall    *watchedClock
	store   *storage.Engine
	catalog *catalog.Store
	direct  *executor.Direct
	hold    time.Duration // of claims

	mu      sync.Mutex // guards what is below
	machine statemachine.Machine
	applied uint64
	cut     map[ident.NodeID]bool // nodes whose commands do not get through
}

// watchedClock tells of the timers that are asked for.
type watchedClock struct {
	*clock.Manual
	timers chan time.Duration
}

func (c *watchedClock) NewTimer(d time.Duration) clock.Timer {
	timer := c.Manual.NewTimer(d)
	c.timers <- d
	return timer
}

// waitTimer returns when a timer of a length was asked for.
func (l *lab) waitTimer(length time.Duration) {
	l.t.Helper()
	deadline := time.After(10 * time.Second)
	for {
		select {
		case d := <-l.wall.timers:
			if d == length {
				return
			}
		case <-deadline:
			l.t.Fatalf("nobody asked for a timer of %s", length)
		}
	}
}

func newJobLab(t *testing.T) *lab {
	t.Helper()
	l := &lab{
		t: t, hold: labHold, catalog: catalog.NewStore(), cut: map[ident.NodeID]bool{},
		wall: &watchedClock{Manual: clock.NewManual(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)), timers: make(chan time.Duration, 1000)},
	}
	var err error
	l.store, err = storage.Open(storage.Options{FS: vfs.NewMem(), Dir: "store"})
	l.must(err)
	t.Cleanup(func() { l.must(l.store.Close()) })
	l.machine, err = statemachine.New(shard.Meta, l.catalog)
	l.must(err)
	l.must(l.machine.Restore(l.store))
	l.direct = executor.NewDirect(l, l.wall, rand.Reader, nil)
	l.run(&commandv1.Command{Body: &commandv1.Command_Found{Found: &commandv1.Found{
		ClusterUid: make([]byte, 16), ClusterId: "test", UserShards: 1, SharedShards: 1,
		Member: &commandv1.Member{NodeId: 1, StoreId: []byte("0123456789abcdef"), RpcAddr: "127.0.0.1:1", ApiAddr: "127.0.0.1:2"},
	}}})
	return l
}

func (l *lab) must(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) run(cmd *commandv1.Command) *commandv1.Response {
	l.t.Helper()
	response, err := l.direct.Execute(l.t.Context(), shard.Meta, cmd)
	l.must(err)
	return response
}

// create makes a job and returns its number.
func (l *lab) create(job *commandv1.Job) uint64 {
	l.t.Helper()
	job.IdPrefix = "PR"
	if job.GetType() == "" {
		job.Type = "probe"
	}
	return l.run(create(job)).GetObjectId()
}

func (l *lab) job(number uint64) *commandv1.Job {
	l.t.Helper()
	job, _, err := catalog.LoadJob(l.store, number)
	l.must(err)
	if job == nil {
		l.t.Fatalf("there is no job %d", number)
	}
	return job
}

func (l *lab) expect(number uint64, want catalog.JobState) *commandv1.Job {
	l.t.Helper()
	job := l.job(number)
	if got := catalog.JobState(job.GetState()); got != want {
		l.t.Fatalf("job %d is %s, want %s: %s %s", number, got, want, job.GetMessage(), job.GetError())
	}
	return job
}

// Propose implements executor.Proposer.
func (l *lab) Propose(_ context.Context, _ executor.Mode, _ shard.GroupID, id ident.RequestID, data []byte) executor.Attempt {
	l.mu.Lock()
	defer l.mu.Unlock()
	batch := l.store.NewBatch()
	defer batch.Close() //nolint:errcheck // a committed batch holds nothing
	outcome, err := l.machine.Apply(batch, []command.Entry{{Index: l.applied + 1, Term: 1, RequestID: id, Data: data}})
	if err == nil {
		err = l.store.Commit(batch)
	}
	if err != nil {
		return executor.Attempt{Outcome: executor.Unknown, Err: err}
	}
	l.applied++
	l.machine.Publish()
	l.machine.Announce()
	return executor.Attempt{Outcome: executor.Done, Result: outcome.Results[0], Index: l.applied}
}

// Barrier implements executor.Proposer.
func (l *lab) Barrier(_ context.Context, group shard.GroupID) (uint64, error) {
	return l.Applied(group), nil
}

// Applied implements executor.Proposer.
func (l *lab) Applied(shard.GroupID) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.applied
}

// node is the executor of one node; it can be cut off.
type node struct {
	*executor.Direct
	lab *lab
	id  ident.NodeID
}

func (n node) Execute(ctx context.Context, group shard.GroupID, cmd *commandv1.Command) (*commandv1.Response, error) {
	n.lab.mu.Lock()
	cut := n.lab.cut[n.id]
	n.lab.mu.Unlock()
	if cut {
		return nil, context.DeadlineExceeded
	}
	return n.Direct.Execute(ctx, group, cmd)
}

func (l *lab) setCut(id ident.NodeID, cut bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut[id] = cut
}

// runner makes the runner of a node. The node leads when leading says so.
func (l *lab) runner(id ident.NodeID, leading func() Leadership, concurrency int, kinds ...Kind) *Runner {
	if leading == nil {
		leading = func() Leadership { return Leadership{Term: 1} }
	}
	return New(Config{
		Executor: node{l.direct, l, id}, Store: l.store, Catalog: l.catalog, Clock: l.wall, Logger: slog.New(slog.DiscardHandler),
		Node: func() ident.NodeID { return id }, Leadership: leading, Kinds: kinds, Hold: l.hold, Concurrency: concurrency,
	})
}

func leads() Leadership { return Leadership{Term: 1, Leading: true} }

func (l *lab) step(r *Runner) {
	l.t.Helper()
	l.must(r.Step(l.t.Context()))
}
