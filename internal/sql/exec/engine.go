package exec

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/cold"
	"github.com/kalamdb/kalamdb-go/internal/executor"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/schemachange"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/table"
	"github.com/kalamdb/kalamdb-go/internal/txn"
)

// Limits bound what one statement may return and hold.
type Limits struct {
	DefaultRows      int64 // rows of a SELECT without LIMIT; zero means no limit
	MaxRows          int64 // rows of any SELECT, whatever its LIMIT; zero means no limit
	QueryMemoryBytes int64 // memory of sorts, groups, results and write sets; zero means 256 MiB
	NodeMemoryBytes  int64 // the same of all requests under way and of all open transactions together; zero means 1 GiB
	PlanCacheEntries int   // plans that are kept to be used again; zero means 1024, less keeps none
	ConflictAttempts int   // how often a change is run before a conflict is returned; zero means 32
}

const (
	defaultQueryMemoryBytes = 256 << 20
	defaultNodeMemoryBytes  = 1 << 30
	defaultConflictAttempts = 32
)

// DefaultLimits are the limits of a server whose configuration says nothing.
func DefaultLimits() Limits { return Limits{DefaultRows: 50, MaxRows: 1000} }

// Passwords turns what a user types into what is stored.
type Passwords interface {
	// Check refuses a password that the policy does not allow, with a *fault.Error that says why.
	Check(plain string) error
	// Hash returns the form that is stored. It may take a while; it fails when ctx ends.
	Hash(ctx context.Context, plain string) (string, error)
}

// Deps are the parts an Engine works with. All are required unless said otherwise.
type Deps struct {
	Catalog   *catalog.Store
	Storage   *storage.Engine
	Executor  executor.CommandExecutor
	Clock     clock.Clock
	Cluster   table.ClusterView
	Passwords Passwords
	Admin     ClusterAdmin // carries out CLUSTER statements; nil refuses them
	Live      LiveQueries  // carries out statements about live queries; nil refuses them
	Random    io.Reader    // entropy of generated ids; crypto/rand.Reader
	Node      ident.NodeID // this server's number; part of generated ids
	Limits    Limits       // zero fields have the meaning stated there
	// Transactions bound explicit transactions; zero fields have the meaning stated there.
	Transactions txn.Limits
	Settings     []table.Setting            // rows of system.settings; may be nil
	Stats        func() []table.Stat        // further rows of system.stats; may be nil
	Sockets      func() []table.OpenSession // live connections, for system.sessions; may be nil
	// Elsewhere lists what is open on other nodes, for the same view; may be nil.
	Elsewhere func(ctx context.Context) []table.OpenSession
	Logs      func() []table.LogLine // rows of system.server_logs; may be nil
	// LocalElsewhere reaches the node-local rows of other nodes; nil for a node that has none.
	LocalElsewhere schemachange.Elsewhere

	Cold         *cold.Store   // reads rows in segments; nil fails statements about tables that have some
	Storages     StorageProber // tries storages; nil refuses statements that need it
	AuditEntries uint32        // entries that the audit log keeps; zero means no audit log
	UserCleanup  time.Duration // after which the rows of a dropped user are removed; zero means never
	Logger       *slog.Logger  // says what could not be audited; nil discards
	// AppliedIndex reads a group's applied index from a reader, for system.table_digests. Nil leaves it NULL.
	AppliedIndex func(reader storage.Reader, group shard.GroupID) (uint64, error)
}

func (d *Deps) validate() error {
	var missing string
	switch {
	case d.Catalog == nil:
		missing = "Catalog"
	case d.Storage == nil:
		missing = "Storage"
	case d.Executor == nil:
		missing = "Executor"
	case d.Clock == nil:
		missing = "Clock"
	case d.Cluster == nil:
		missing = "Cluster"
	case d.Passwords == nil:
		missing = "Passwords"
	case d.Random == nil:
		missing = "Random"
	default:
		return nil
	}
	return fmt.Errorf("sql engine: %s is required", missing)
}

// Engine runs SQL on one node. All methods may be called from any goroutine.
type Engine struct {
	deps  Deps
	views *table.System
	ids   *identifiers
	// snowflake makes the ids of the function of that name.
	snowflake func() int64
	plans     *planCache

	transactions *txn.Registry
	running      runningRequests
	memory       nodeMemory
	statistics   *statistics
	uses         *uses
	// changes finishes what a changed descriptor leaves to be done.
	changes *schemachange.Worker
}

// New makes an engine; the error names the part that is missing.
func New(deps Deps) (*Engine, error) {
	if err := deps.validate(); err != nil {
		return nil, err
	}
	if deps.Limits.QueryMemoryBytes == 0 {
		deps.Limits.QueryMemoryBytes = defaultQueryMemoryBytes
	}
	if deps.Limits.NodeMemoryBytes == 0 {
		deps.Limits.NodeMemoryBytes = defaultNodeMemoryBytes
	}
	if deps.Limits.PlanCacheEntries == 0 {
		deps.Limits.PlanCacheEntries = defaultCachedPlans
	}
	if deps.Logger == nil {
		deps.Logger = slog.New(slog.DiscardHandler)
	}
	if deps.Limits.ConflictAttempts == 0 {
		deps.Limits.ConflictAttempts = defaultConflictAttempts
	}
	e := &Engine{deps: deps}
	e.memory.limitBytes = deps.Limits.NodeMemoryBytes
	e.running.open = map[uint64]*runningRequest{}
	e.transactions = txn.NewRegistry(deps.Clock, deps.Random, deps.Node, deps.Transactions, &e.memory)
	e.plans, e.statistics = newPlanCache(deps.Limits.PlanCacheEntries), newStatistics(deps.Clock)
	e.uses = newUses(deps.Clock)
	e.ids = &identifiers{clock: deps.Clock, random: deps.Random, node: deps.Node}
	e.snowflake = func() int64 { return e.ids.snowflake(0) }
	e.views = table.NewSystem(table.SystemOptions{
		Cluster: deps.Cluster, Node: deps.Node, Settings: deps.Settings, Stats: deps.Stats, AppliedIndex: deps.AppliedIndex,
		Live: liveRows(deps.Live), Transactions: e.openTransactions, Sessions: e.allSessions, Logs: deps.Logs,
	})
	e.changes = &schemachange.Worker{
		Catalog: deps.Catalog, Storage: deps.Storage, Executor: deps.Executor, Cold: deps.Cold, Elsewhere: deps.LocalElsewhere,
	}
	return e, nil
}

// Usage is what the requests of this node hold: open transactions, and bytes of memory that are accounted for.
func (e *Engine) Usage() (transactions int, memoryBytes int64) {
	return e.transactions.Len(), e.memory.usedBytes.Load()
}

// CachedPlans is the number of plans that are kept.
func (e *Engine) CachedPlans() int { return e.plans.size() }

// PlanUse counts the requests that found their plan in the cache, and the plans that were made for it.
func (e *Engine) PlanUse() (hits, made uint64) { return e.plans.hits.Load(), e.plans.made.Load() }

// Tend ends transactions whose time is over. It is to be called now and then.
func (e *Engine) Tend() { e.transactions.Sweep() }

// Close ends all open transactions. It comes before the store is closed.
func (e *Engine) Close() { e.transactions.Close() }
