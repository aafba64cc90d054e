package bench

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/kalamdb/kalamdb-go/internal/applier"
	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/cold"
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/executor"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/multiraft"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/raftlog"
	"github.com/kalamdb/kalamdb-go/internal/session"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/sql/exec"
	"github.com/kalamdb/kalamdb-go/internal/statemachine"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
	"github.com/kalamdb/kalamdb-go/internal/storages"
	"github.com/kalamdb/kalamdb-go/internal/table"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// sqlEvents and sqlNames are the rows of the tables of the engine cases.
const (
	sqlEvents = 100_000
	sqlNames  = 1000
)

// sqlEngine is a standalone node in this process, without its listeners.
type sqlEngine struct {
	dir    string
	store  *storage.Engine
	log    *raftlog.Log
	solo   *multiraft.Solo
	engine *exec.Engine
	caller session.Session
	params [1]datum.Datum // of the statement under way; there is one client

	tables   *catalog.Store
	direct   executor.CommandExecutor
	cold     *cold.Store
	storages *storages.Set
}

// openSQLEngine starts a node; the publisher is told of its changes and may be nil.
func openSQLEngine(ctx context.Context, publisher applier.Publisher) (e *sqlEngine, err error) {
	e = &sqlEngine{caller: session.Session{User: "bench", Role: session.RoleDBA, Namespace: "bench"}}
	if e.dir, err = os.MkdirTemp("", "kalamdb-sql-"); err != nil {
		return nil, fmt.Errorf("make a directory: %w", err)
	}
	if err = e.open(ctx, publisher); err != nil {
		return nil, errors.Join(err, e.close())
	}
	return e, nil
}

// withSQLEngine does something with a node that nothing listens to, and takes it away again.
func withSQLEngine(ctx context.Context, do func(*sqlEngine) error) (err error) {
	e, err := openSQLEngine(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.close()) }()
	return do(e)
}

func (e *sqlEngine) open(ctx context.Context, publisher applier.Publisher) (err error) {
	if e.store, err = storage.Open(storage.Options{FS: disk.Local(), Dir: filepath.Join(e.dir, "store")}); err != nil {
		return err
	}
	if e.log, err = raftlog.Open(raftlog.Config{FS: disk.Local(), Dir: filepath.Join(e.dir, "log"), Background: true}); err != nil {
		return err
	}
	shards, tables := shard.Default(), catalog.NewStore()
	if err = multiraft.Found(e.store, multiraft.LogOf(e.log), shards.Groups(), 1); err != nil {
		return err
	}
	machines := map[shard.GroupID]multiraft.StateMachine{}
	for _, group := range shards.Groups() {
		if machines[group], err = statemachine.NewWith(group, tables, statemachine.Options{Publisher: publisher}); err != nil {
			return err
		}
	}
	e.solo, err = multiraft.OpenSolo(multiraft.Config{
		Replica: 1, Groups: shards.Groups(), Engine: e.store, Log: multiraft.LogOf(e.log), Clock: clock.Real{}, Logger: slog.New(slog.DiscardHandler),
		StateMachines: func(g shard.GroupID) multiraft.StateMachine { return machines[g] },
	})
	if err != nil {
		return err
	}
	e.solo.Start()
	direct := executor.NewDirect(benchProposer{e.solo}, clock.Real{}, rand.Reader, nil)
	e.tables, e.direct = tables, direct
	e.storages = storages.NewSet(storages.Config{DataPath: e.dir, FS: disk.Local(), Clock: clock.Real{}})
	e.cold = cold.New(cold.Config{Catalog: tables, Storages: e.storages, FS: disk.Local(), ReadAhead: max(1, runtime.GOMAXPROCS(0)-1)})
	e.engine, err = exec.New(exec.Deps{
		Cold: e.cold, Catalog: tables, Storage: e.store, Executor: direct, Clock: clock.Real{}, Cluster: loneNode{}, Passwords: noPasswords{},
		Random: rand.Reader, Node: 1,
	})
	if err != nil {
		return err
	}
	_, err = direct.Execute(ctx, shard.Meta, &commandv1.Command{Body: &commandv1.Command_Found{Found: &commandv1.Found{
		ClusterUid: make([]byte, 16), ClusterId: "bench", UserShards: shards.UserShards, SharedShards: shards.SharedShards,
		Member: &commandv1.Member{NodeId: 1, StoreId: []byte("a bench has one."), RpcAddr: "127.0.0.1:1", ApiAddr: "127.0.0.1:2"},
	}}})
	return err
}

// traffic counts what was applied to all groups.
func (e *sqlEngine) traffic() uint64 {
	sum := uint64(0)
	for _, group := range shard.Default().Groups() {
		sum += e.solo.Applied(group)
	}
	return sum
}

func (e *sqlEngine) close() error {
	var errs []error
	if e.solo != nil {
		e.solo.Stop()
	}
	if e.cold != nil {
		errs = append(errs, e.cold.Close())
		e.storages.Close()
	}
	if e.log != nil {
		errs = append(errs, e.log.Close())
	}
	if e.store != nil {
		errs = append(errs, e.store.Close())
	}
	return errors.Join(append(errs, os.RemoveAll(e.dir))...)
}

// fill makes the tables and moves them from memory to the store's files.
func (e *sqlEngine) fill(ctx context.Context) error {
	statements := []string{
		"CREATE NAMESPACE bench",
		"CREATE TABLE events (id BIGINT PRIMARY KEY, kind TEXT NOT NULL, amount BIGINT, score DOUBLE, note TEXT) WITH (TYPE = 'SHARED')",
		"CREATE TABLE names (amount BIGINT PRIMARY KEY, name TEXT NOT NULL) WITH (TYPE = 'SHARED')",
	}
	const perStatement = 1000
	for first := 1; first <= sqlEvents; first += perStatement {
		values := make([]string, perStatement)
		for i := range values {
			id := first + i
			values[i] = fmt.Sprintf("(%d, 'kind %d', %d, %d.5, 'a note of some length for row %d')", id, id%10, id*7919%sqlNames, id%100, id)
		}
		statements = append(statements, "INSERT INTO events VALUES "+strings.Join(values, ", "))
	}
	names := make([]string, sqlNames)
	for i := range names {
		names[i] = fmt.Sprintf("(%d, 'name %d')", i, i%7)
	}
	for _, sql := range append(statements, "INSERT INTO names VALUES "+strings.Join(names, ", ")) {
		if err := e.statement(ctx, sql); err != nil {
			return err
		}
	}
	return e.store.Flush()
}

// statement executes a statement whose answer does not matter.
func (e *sqlEngine) statement(ctx context.Context, sql string, params ...datum.Datum) error {
	if _, err := e.engine.Execute(ctx, exec.Request{SQL: sql, Session: e.caller, Params: params}); err != nil {
		return fmt.Errorf("%.60s: %w", sql, err)
	}
	return nil
}

// run executes a statement; $1 is a key that differs from call to call.
func (e *sqlEngine) run(ctx context.Context, sql string, n int) error {
	request := exec.Request{SQL: sql, Session: e.caller}
	if strings.Contains(sql, "$1") {
		e.params[0] = datum.NewBigInt(int64(n*7919%sqlEvents) + 1)
		request.Params = e.params[:]
	}
	response, err := e.engine.Execute(ctx, request)
	if err != nil {
		return err
	}
	if len(response.Results) != 1 || len(response.Results[0].Rows) == 0 {
		return fmt.Errorf("%s gave no rows", sql)
	}
	return nil
}

// benchProposer proposes to a standalone engine.
type benchProposer struct{ *multiraft.Solo }

// Propose implements executor.Proposer.
func (p benchProposer) Propose(ctx context.Context, _ executor.Mode, group shard.GroupID, id ident.RequestID, data []byte) executor.Attempt {
	result, index, err := p.Solo.Propose(ctx, group, id, data)
	if err != nil {
		return executor.Attempt{Outcome: executor.Unknown, Err: err}
	}
	return executor.Attempt{Outcome: executor.Done, Result: result, Index: index}
}

// loneNode is a cluster without members, whose views are empty.
type loneNode struct{}

// Nodes implements table.ClusterView.
func (loneNode) Nodes(context.Context) ([]table.ClusterNode, error) { return nil, nil }

// Groups implements table.ClusterView.
func (loneNode) Groups(context.Context) ([]table.ClusterGroup, error) { return nil, nil }

// noPasswords refuses every password: a benchmark makes no users.
type noPasswords struct{}

// Check implements exec.Passwords.
func (noPasswords) Check(string) error { return errors.New("a benchmark makes no users") }

// Hash implements exec.Passwords.
func (noPasswords) Hash(context.Context, string) (string, error) {
	return "", errors.New("a benchmark makes no users")
}
