package exec_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/executor"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/session"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/sql/exec"
	"github.com/kalamdb/kalamdb-go/internal/statemachine"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
	"github.com/kalamdb/kalamdb-go/internal/table"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// node is an engine over a real store and real state machines. Commands are applied as soon as they are
// proposed, one at a time.
type node struct {
	engine  *exec.Engine
	catalog *catalog.Store
	storage *storage.Engine

	mu       sync.Mutex // guards the fields below
	machines map[shard.GroupID]statemachine.Machine
	applied  map[shard.GroupID]uint64
	barriers []shard.GroupID
	// before is called with each data command before it is applied, outside the lock.
	before func()
	// atBarrier is called once, outside the lock, when somebody waits for a data group: after a statement was planned
	// and before it reads.
	atBarrier func()
}

// Propose implements executor.Proposer.
func (n *node) Propose(_ context.Context, _ executor.Mode, group shard.GroupID, id ident.RequestID, data []byte) executor.Attempt {
	if hook := n.takeHook(group); hook != nil {
		hook()
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	machine := n.machines[group]
	if machine == nil {
		return executor.Attempt{Outcome: executor.Stopped, Err: fmt.Errorf("no group %s", group)}
	}
	index := n.applied[group] + 1
	batch := n.storage.NewBatch()
	outcome, err := machine.Apply(batch, []command.Entry{{Index: index, Term: 1, RequestID: id, Data: data}})
	if err == nil && outcome.WaitMeta != 0 {
		err = fmt.Errorf("waits for meta index %d", outcome.WaitMeta)
	}
	if err = errors.Join(err, n.storage.Commit(batch), batch.Close()); err != nil {
		return executor.Attempt{Outcome: executor.Stopped, Err: err}
	}
	n.applied[group] = index
	machine.Publish()
	machine.Announce()
	return executor.Attempt{Outcome: executor.Done, Result: outcome.Results[0], Index: index}
}

func (n *node) takeHook(group shard.GroupID) func() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if group == shard.Meta {
		return nil
	}
	hook := n.before
	n.before = nil
	return hook
}

// Barrier implements executor.Proposer.
func (n *node) Barrier(_ context.Context, group shard.GroupID) (uint64, error) {
	n.mu.Lock()
	if hook := n.atBarrier; hook != nil && group != shard.Meta {
		n.atBarrier = nil
		n.mu.Unlock()
		hook()
		n.mu.Lock()
	}
	defer n.mu.Unlock()
	n.barriers = append(n.barriers, group)
	return n.applied[group], nil
}

// Applied implements executor.Proposer.
func (n *node) Applied(group shard.GroupID) uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.applied[group]
}

// Nodes implements table.ClusterView.
func (n *node) Nodes(context.Context) ([]table.ClusterNode, error) {
	return []table.ClusterNode{{ClusterID: "test", NodeID: 1, Role: "leader", Status: "active", IsSelf: true}}, nil
}

// Groups implements table.ClusterView.
func (n *node) Groups(context.Context) ([]table.ClusterGroup, error) {
	return []table.ClusterGroup{{GroupID: shard.Meta, ClusterID: "test", NodeID: 1, GroupType: "meta"}}, nil
}

// plainPasswords stores a marked copy instead of a hash, so that tests see what was stored.
type plainPasswords struct{}

func (plainPasswords) Check(plain string) error {
	if len(plain) < 4 {
		return fault.New(fault.InvalidStatement, "the password is too short")
	}
	return nil
}

func (plainPasswords) Hash(_ context.Context, plain string) (string, error) {
	return "hashed:" + plain, nil
}

// startNode founds a cluster of one node with 2 user shards and 1 shared shard, the namespace app and the
// limits of a default server.
func startNode(tb testing.TB, adjust func(*exec.Deps)) *node {
	tb.Helper()
	return startNodeOn(tb, openStore(tb), adjust)
}

// startNodeOn is startNode over a store.
func startNodeOn(tb testing.TB, store *storage.Engine, adjust func(*exec.Deps)) *node {
	tb.Helper()
	n := &node{
		catalog: catalog.NewStore(), storage: store, machines: map[shard.GroupID]statemachine.Machine{},
		applied: map[shard.GroupID]uint64{},
	}
	shards := shard.Map{UserShards: 2, SharedShards: 1}
	n.startMachines(tb, shards)
	// The clock stands still: what a statement stores and shows is the same in every run.
	wall := clock.NewManual(time.Date(2026, 1, 2, 3, 4, 5, 678_000, time.UTC))
	direct := executor.NewDirect(n, wall, rand.Reader, nil)
	deps := exec.Deps{
		Catalog: n.catalog, Storage: store, Executor: direct, Clock: wall, Cluster: n, Passwords: plainPasswords{},
		Random: rand.Reader, Node: 1, Limits: exec.DefaultLimits(),
		AppliedIndex: func(_ storage.Reader, group shard.GroupID) (uint64, error) { return n.Applied(group), nil },
	}
	if adjust != nil {
		adjust(&deps)
	}
	var err error
	if n.engine, err = exec.New(deps); err != nil {
		tb.Fatalf("new engine: %v", err)
	}
	found := &commandv1.Command{Body: &commandv1.Command_Found{Found: &commandv1.Found{
		ClusterUid: make([]byte, 16), ClusterId: "test", UserShards: shards.UserShards, SharedShards: shards.SharedShards,
		Member: &commandv1.Member{NodeId: 1, StoreId: []byte("0123456789abcdef"), RpcAddr: "127.0.0.1:1", ApiAddr: "127.0.0.1:2"},
	}}}
	if _, err := direct.Execute(tb.Context(), shard.Meta, found); err != nil {
		tb.Fatalf("found the cluster: %v", err)
	}
	n.must(tb, "CREATE NAMESPACE app")
	return n
}

func openStore(tb testing.TB) *storage.Engine {
	tb.Helper()
	store, err := storage.Open(storage.Options{FS: disk.Local(), Dir: tb.TempDir()})
	if err != nil {
		tb.Fatalf("open store: %v", err)
	}
	tb.Cleanup(func() {
		if failed := store.Close(); failed != nil {
			tb.Errorf("close store: %v", failed)
		}
	})
	return store
}

func (n *node) startMachines(tb testing.TB, shards shard.Map) {
	tb.Helper()
	for _, group := range shards.Groups() {
		machine, err := statemachine.New(group, n.catalog)
		if err != nil {
			tb.Fatalf("state machine of %s: %v", group, err)
		}
		if err = machine.Restore(n.storage); err != nil {
			tb.Fatalf("restore %s: %v", group, err)
		}
		n.machines[group] = machine
	}
}

func caller(user string, role session.Role) session.Session {
	return session.Session{User: ident.UserID(user), Role: role, Namespace: "app"}
}

func (n *node) run(tb testing.TB, as session.Session, sql string, params ...datum.Datum) (*exec.Response, error) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), time.Minute)
	defer cancel()
	return n.engine.Execute(ctx, exec.Request{SQL: sql, Params: params, Session: as})
}

// must runs statements as a dba.
func (n *node) must(tb testing.TB, sql string, params ...datum.Datum) *exec.Response {
	tb.Helper()
	return n.mustAs(tb, caller("admin", session.RoleDBA), sql, params...)
}

func (n *node) mustAs(tb testing.TB, as session.Session, sql string, params ...datum.Datum) *exec.Response {
	tb.Helper()
	response, err := n.run(tb, as, sql, params...)
	if err != nil {
		tb.Fatalf("%s: %v", sql, err)
	}
	return response
}

// text prints the rows of the only result, one line each, values separated by a bar.
func text(tb testing.TB, response *exec.Response) string {
	tb.Helper()
	if len(response.Results) != 1 {
		tb.Fatalf("got %d results, want 1: %+v", len(response.Results), response.Results)
	}
	return rowsText(response.Results[0].Rows)
}

func rowsText(rows [][]datum.Datum) string {
	var b strings.Builder
	for _, row := range rows {
		for i, value := range row {
			if i > 0 {
				b.WriteByte('|')
			}
			if value.IsNull() {
				b.WriteString("NULL")
				continue
			}
			b.WriteString(value.String())
		}
		b.WriteByte('\n')
	}
	return b.String()
}
