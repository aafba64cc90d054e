package live

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/changefeed"
	"github.com/kalamdb/kalamdb-go/internal/changelog"
	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/executor"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/session"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/sql/exec"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
	"github.com/kalamdb/kalamdb-go/internal/statemachine"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/table"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// lab is a node without replication: the real store, state machines, SQL engine and live queries. A command is
// applied as soon as it is proposed.
type lab struct {
	tb      testing.TB
	store   *storage.Engine
	catalog *catalog.Store
	feed    *changefeed.Feed
	service *Service
	engine  *exec.Engine
	direct  *executor.Direct
	looks   atomic.Int64 // queries that were run for results that are kept

	mu       sync.Mutex // guards what is below
	machines map[shard.GroupID]statemachine.Machine
	applied  map[shard.GroupID]uint64
}

func newLab(tb testing.TB, feed changefeed.Config) *lab {
	tb.Helper()
	return newLabAt(tb, feed, clock.Real{}) // statements that meet a conflict pause
}

func newLabAt(tb testing.TB, feed changefeed.Config, wall clock.Clock) *lab {
	tb.Helper()
	l := &lab{
		tb: tb, catalog: catalog.NewStore(), feed: changefeed.New(feed),
		machines: make(map[shard.GroupID]statemachine.Machine), applied: make(map[shard.GroupID]uint64),
	}
	var err error
	l.store, err = storage.Open(storage.Options{FS: vfs.NewMem(), Dir: "store"})
	l.must(err)
	shards := shard.Map{UserShards: 1, SharedShards: 1}
	for _, group := range shards.Groups() {
		machine, unknown := statemachine.NewWith(group, l.catalog, statemachine.Options{Publisher: l.feed})
		l.must(unknown)
		l.must(machine.Restore(l.store))
		l.machines[group] = machine
	}
	l.direct = executor.NewDirect(l, wall, rand.Reader, nil)
	l.engine, err = exec.New(exec.Deps{
		Catalog: l.catalog, Storage: l.store, Executor: l.direct, Clock: wall, Cluster: noCluster{}, Passwords: noPasswords{},
		Random: rand.Reader, Node: 1, Limits: exec.DefaultLimits(),
	})
	l.must(err)
	l.service, err = New(Config{
		Catalog: l.catalog, Store: l.store, Barrier: l.direct, Feed: l.feed, Clock: wall, Engine: l,
		Logger: slog.New(slog.DiscardHandler),
	})
	l.must(err)
	tb.Cleanup(func() {
		l.service.Close()
		l.must(l.store.Close())
	})
	_, err = l.direct.Execute(tb.Context(), shard.Meta, &commandv1.Command{Body: &commandv1.Command_Found{Found: &commandv1.Found{
		ClusterUid: make([]byte, 16), ClusterId: "test", UserShards: 1, SharedShards: 1,
		Member: &commandv1.Member{NodeId: 1, StoreId: []byte("0123456789abcdef"), RpcAddr: "127.0.0.1:1", ApiAddr: "127.0.0.1:2"},
	}}})
	l.must(err)
	for _, user := range []string{"alice", "bob", "bot", "admin"} {
		_, err = l.direct.Execute(tb.Context(), shard.Meta, &commandv1.Command{Body: &commandv1.Command_CreateUser{
			CreateUser: &commandv1.CreateUser{User: &commandv1.User{Id: user, PasswordHash: "h", Role: uint32(roleOf(user))}},
		}})
		l.must(err)
	}
	return l
}

func roleOf(user string) session.Role {
	switch user {
	case "admin":
		return session.RoleDBA
	case "bot":
		return session.RoleService
	}
	return session.RoleUser
}

func (l *lab) must(err error) {
	l.tb.Helper()
	if err != nil {
		l.tb.Fatal(err)
	}
}

// leaving is the key of a function that ends a request while its query runs.
type leaving struct{}

// Look implements Engine.
func (l *lab) Look(
	ctx context.Context, caller session.Session, query *parse.Query, snapshot *storage.Snapshot, maxRows int,
) (exec.Result, error) {
	l.looks.Add(1)
	if leave, ok := ctx.Value(leaving{}).(context.CancelFunc); ok {
		leave()
	}
	return l.engine.Look(ctx, caller, query, snapshot, maxRows)
}

type noCluster struct{ table.ClusterView }

type noPasswords struct{}

func (noPasswords) Check(string) error { return nil }

func (noPasswords) Hash(_ context.Context, plain string) (string, error) { return plain, nil }

// Propose implements executor.Proposer.
func (l *lab) Propose(_ context.Context, _ executor.Mode, group shard.GroupID, id ident.RequestID, data []byte) executor.Attempt {
	l.mu.Lock()
	defer l.mu.Unlock()
	batch := l.store.NewBatch()
	defer batch.Close() //nolint:errcheck // a committed batch holds nothing
	index := l.applied[group] + 1
	outcome, err := l.machines[group].Apply(batch, []command.Entry{{Index: index, Term: 1, RequestID: id, Data: data}})
	if err == nil {
		err = l.store.Commit(batch)
	}
	if err != nil {
		return executor.Attempt{Outcome: executor.Unknown, Err: err}
	}
	l.applied[group] = index
	l.machines[group].Publish()
	l.machines[group].Announce()
	return executor.Attempt{Outcome: executor.Done, Result: outcome.Results[0], Index: index}
}

// Barrier implements executor.Proposer.
func (l *lab) Barrier(_ context.Context, group shard.GroupID) (uint64, error) {
	return l.Applied(group), nil
}

// Applied implements executor.Proposer.
func (l *lab) Applied(group shard.GroupID) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.applied[group]
}

func callerOf(user string) session.Session {
	return session.Session{User: ident.UserID(user), Role: roleOf(user), Namespace: "default"}
}

// sql runs statements as a user.
func (l *lab) sql(user, text string) {
	l.tb.Helper()
	if _, err := l.engine.Execute(l.tb.Context(), exec.Request{SQL: text, Session: callerOf(user)}); err != nil {
		l.tb.Fatalf("%s: %v", text, err)
	}
}

// settle waits until every stream has given what is committed.
func (l *lab) settle() {
	l.tb.Helper()
	deadline := time.Now().Add(10 * time.Second)
	l.service.mu.Lock()
	streams := make([]*stream, 0, len(l.service.streams))
	for _, st := range l.service.streams {
		streams = append(streams, st)
	}
	l.service.mu.Unlock()
	for _, st := range streams {
		last, err := changelog.Last(l.store, st.group)
		l.must(err)
		for {
			st.mu.Lock()
			position := st.position
			st.mu.Unlock()
			if position >= last {
				break
			}
			if time.Now().After(deadline) {
				l.tb.Fatalf("the stream of %s stands at %d, the log at %d", st.group, position, last)
			}
			runtime.Gosched()
		}
	}
}

// tape is a Sink that writes down what it is given.
type tape struct {
	mu    sync.Mutex // guards lines and runs
	lines []string
	runs  int
}

// Deliver implements Sink.
func (r *tape) Deliver(notifications []Notification) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.runs++
	for _, n := range notifications {
		r.lines = append(r.lines, fmt.Sprintf("%s: %s", n.Sub.ID, n.Event.JSON))
	}
}

// Ended implements Sink.
func (r *tape) Ended(sub *Subscription, why *Error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, fmt.Sprintf("%s: ended, %s", sub.ID, why))
}

// take returns what was written down since the last call.
func (r *tape) take() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	text := strings.Join(r.lines, "\n")
	r.lines = nil
	return text
}

func noPace(context.Context) error { return nil }
