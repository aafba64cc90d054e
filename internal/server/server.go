// Package server builds one node from its parts, runs it and takes it down.
//
// It is the only package that knows all others. Open wires the store, the log, the state machines, the
// replication engine (or its standalone form), the executor, the SQL engine, authentication and the HTTP
// listener, and returns a Node that serves; a node that still has to be admitted to its cluster answers
// health checks and refuses statements until it is.
//
// A data directory holds: node.id (who this store is), orders (what an operator asked of it), log/ (the Raft log),
// store/ (rows, catalog), staging/ (arriving snapshots), LOCK, and damaged-*/ while what was found wrong is being
// repaired. Nothing here decides about data; when a part can no longer keep its promises, the node stops and Wait
// says why.
package server

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/api/httpapi"
	"github.com/kalamdb/kalamdb-go/internal/auth"
	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/cold"
	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/config"
	"github.com/kalamdb/kalamdb-go/internal/executor"
	"github.com/kalamdb/kalamdb-go/internal/export"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/metrics"
	"github.com/kalamdb/kalamdb-go/internal/multiraft"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/transport"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/sql/exec"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
	"github.com/kalamdb/kalamdb-go/internal/storages"
)

// Options are what a caller of Open chooses beside the configuration.
type Options struct {
	Logger *slog.Logger // nil discards
	Build  httpapi.Build
	// APIListener and RPCListener replace the listeners that the configuration names; for callers that
	// let the kernel choose ports before all nodes' configurations are known. Nil means open them.
	APIListener net.Listener
	RPCListener net.Listener

	fs       disk.FS  // what tests put in the place of the machine's file system; nil is that one
	Resolver Resolver // looks up the names in cluster.join; nil asks the system
	oldLogs  bool     // tests: the program reads log entries of one command only
	// tests: for how long clients of live queries may take nothing, so that it does not matter how busy the machine is; zero is the standard
	livePatience time.Duration

	jobsByHand bool // tests: flushes, compactions and the like begin only when somebody asks

	clock clock.Clock // what tests put in the place of the machine's clock; nil is that one
}

// Node is one running node.
type Node struct {
	cfg     *config.Config
	logger  *slog.Logger
	build   httpapi.Build
	clock   clock.Clock
	random  io.Reader
	fs      *disk.Watched
	storeFS *disk.Waiting
	started time.Time
	// logFormat is the newest format of log entries that the program says it reads.
	logFormat  uint32
	jobsByHand bool // as in Options

	lock    io.Closer
	store   *storage.Engine
	log     multiraft.OwnLog
	catalog *catalog.Store
	metrics *metrics.Registry
	logs    logRing

	api      *httpapi.Server
	users    *auth.Service
	sql      *exec.Engine
	apiAddr  string
	rpcAddr  string
	network  *transport.GRPC // nil when standalone
	exec     *lateExecutor
	gossip   *gossip
	ways     ways
	live     *liveParts
	cold     *cold.Store // reads rows in segments
	exports  *export.Shelf
	memory   memoryKeeper // belongs to whoever keeps house
	joining  joinSeeds
	resolver Resolver
	orders   *orders
	jobs     *jobParts
	flushing flushTurns
	local    localParts
	storages *storages.Set

	becoming sync.Mutex // held while identity is replaced, on disk and here; taken before mu

	mu        sync.Mutex // guards identity, waiting, manager, solo, history and proposing
	identity  identity
	waiting   string // why the node is not admitted yet; "" once it is
	manager   *multiraft.Manager
	solo      *multiraft.Solo
	history   *executor.History
	proposing *executor.Raft // nil when standalone

	handOver time.Duration // how long Close waits for the leaderships to move
	stop     context.CancelFunc
	running  sync.WaitGroup
	failOnce sync.Once
	failed   chan struct{}
	failure  error         // set before failed is closed
	draining chan struct{} // closed when Close begins
	closed   chan struct{}
	closing  sync.Once
}

// Open starts a node. It returns once the listeners answer; a node that is new to its cluster goes on
// joining in the background. The error names what is wrong with the configuration, the data directory or
// an address. Damage that is found on the way and can be repaired from other nodes is: then the node starts
// as a new replica.
func Open(ctx context.Context, cfg *config.Config, opts Options) (*Node, error) {
	n, err := openOnce(ctx, cfg, opts)
	if errors.Is(err, ErrDamaged) {
		return openOnce(ctx, cfg, opts)
	}
	return n, err
}

func openOnce(ctx context.Context, cfg *config.Config, opts Options) (*Node, error) {
	n := &Node{
		cfg: cfg, logger: opts.Logger, build: opts.Build, clock: clock.Real{}, random: rand.Reader,
		started: time.Now(), catalog: catalog.NewStore(),
		metrics: metrics.New(metrics.Build{Version: opts.Build.Version}),
		exec:    &lateExecutor{}, failed: make(chan struct{}), waiting: notAnnounced,
		draining: make(chan struct{}), closed: make(chan struct{}), logFormat: command.LogFormat,
		flushing: newFlushTurns(), handOver: drainPatience,
	}
	if opts.oldLogs {
		n.logFormat = 0
	}
	if opts.clock != nil {
		n.clock = opts.clock
	}
	if opts.fs == nil {
		opts.fs = disk.Local()
	}
	n.fs = disk.Watch(opts.fs, n.clock)
	if n.logger == nil {
		n.logger = slog.New(slog.DiscardHandler)
	}
	if n.resolver = opts.Resolver; n.resolver == nil {
		n.resolver = net.DefaultResolver
	}
	n.logger = slog.New(n.logs.handler(n.logger.Handler()))
	n.gossip = newGossip(n)
	n.live = newLiveParts(n.cfg, opts.livePatience)
	n.jobsByHand = opts.jobsByHand
	if err := n.open(ctx, opts); err != nil {
		err = n.noteDamage(err)
		n.abandon()
		return nil, err
	}
	return n, nil
}

func (n *Node) open(ctx context.Context, opts Options) error {
	if err := n.openDirectory(); err != nil {
		return err
	}
	if err := n.buildStorages(); err != nil {
		return err
	}
	background, cancel := context.WithCancel(context.WithoutCancel(ctx))
	n.stop = cancel
	n.spawn(func() { n.watchDisk(background) })
	if err := n.openNetwork(ctx, opts.RPCListener); err != nil {
		return err
	}
	if err := n.openAPI(ctx, opts.APIListener); err != nil {
		return err
	}
	n.startJobs(background)
	n.spawn(func() { n.tendCold(background) })
	n.spawn(func() { n.sweepCold(background) })
	n.spawn(func() { n.tendExports(background) })
	if n.cfg.Standalone() {
		if err := n.runAlone(); err != nil {
			return err
		}
		n.spawn(func() { n.afterAdmission(background) })
		return nil
	}
	switch n.who().State {
	case stateMember:
		if err := n.runClustered(); err != nil {
			return err
		}
		n.spawn(func() { n.afterAdmission(background) })
		return nil
	case stateDamaged:
		return ErrDamaged // a read in the background has found it meanwhile
	}
	n.spawn(func() {
		if err := n.seekAdmission(background); err != nil {
			if background.Err() == nil {
				n.fail(err)
			}
			return
		}
		n.afterAdmission(background)
	})
	return nil
}

// openDirectory locks the data directory and opens the store and the log.
func (n *Node) openDirectory() error {
	dir := n.cfg.Storage.DataPath
	if err := n.fs.MkdirAll(dir, 0o750); err != nil {
		return fmt.Errorf("storage.data_path = %q: %w", dir, err)
	}
	lock, err := n.fs.Lock(filepath.Join(dir, "LOCK"))
	if err != nil {
		return fmt.Errorf("storage.data_path = %q: another process uses it: %w", dir, err)
	}
	n.lock = lock
	if n.identity, err = loadIdentity(n.fs, dir, n.random); err != nil {
		return err
	}
	if err = n.identity.check(n.cfg); err != nil {
		return err
	}
	if err = n.makeReady(); err != nil {
		return err
	}
	if n.orders, err = loadOrders(n.fs, dir); err != nil {
		return err
	}
	return n.openStores()
}

// makeReady brings the directory into the state in which log and store are opened.
func (n *Node) makeReady() error {
	if n.identity.State == stateDamaged {
		if err := n.putAside(); err != nil {
			return err
		}
	}
	if n.identity.State == stateFounding {
		// Founding was interrupted: nothing was acknowledged, so it starts over.
		if err := n.wipe(); err != nil {
			return err
		}
	}
	if err := n.chooseLog(); err != nil {
		return err
	}
	return n.identity.raise(n.fs, n.cfg.Storage.DataPath, n.build.Version)
}

func (n *Node) wipe() error {
	for _, name := range []string{"log", "store", "staging"} {
		path := filepath.Join(n.cfg.Storage.DataPath, name)
		if err := n.fs.RemoveAll(path); err != nil {
			return fmt.Errorf("empty %s: %w", path, err)
		}
	}
	return disk.SyncDir(n.fs, n.cfg.Storage.DataPath)
}

// raftWorkers is how many workers step groups: as configured, or one for every four processors, since a second
// worker halves the batches of the first.
func raftWorkers(configured int) int {
	if configured > 0 {
		return configured
	}
	return max(runtime.GOMAXPROCS(0)/4, 1)
}

// engineConfig is what both forms of the replication engine are opened with.
func (n *Node) engineConfig(id identity) multiraft.Config {
	cluster := n.cfg.Cluster
	tick := max(cluster.HeartbeatInterval()/5, 10*time.Millisecond)
	least, greatest := cluster.ElectionTimeout()
	return n.bounds(multiraft.Config{
		Replica: id.Replica, Groups: id.Shards.Groups(), Engine: n.store, Log: n.log,
		StateMachines: n.newStateMachine,
		Clock:         n.clock, Logger: n.logger.With(slog.String("part", "raft")),
		StagingDir:     filepath.Join(n.cfg.Storage.DataPath, "staging"),
		Members:        n.members,
		Registerer:     n.metrics.Registerer(),
		TickInterval:   tick,
		HeartbeatTicks: max(int(cluster.HeartbeatInterval()/tick), 1),
		ElectionTicks:  max(int(least/tick), 2), MaxElectionTicks: max(int(greatest/tick), int(least/tick)+1, 3),
		Workers:     raftWorkers(n.cfg.Raft.Workers),
		LogWrites:   n.cfg.Raft.LogWrites,
		Packs:       n.packs,
		Understands: func(data []byte) error { _, err := command.Decode(data); return err },
	})
}

// bounds adds what an operator may set of retention, back-pressure and balance.
func (n *Node) bounds(c multiraft.Config) multiraft.Config {
	r := n.cfg.Raft
	retain, byClass := n.retention()
	c.RetainEntries, c.RetainBytes, c.Retain = retain.Entries, retain.Bytes, byClass
	c.MinFreeBytes, c.FreeBytes, c.FreesSpace = n.cfg.Storage.MinFreeBytes, n.freeBytes, command.FreesSpace
	c.DiskHangs = n.diskHangs
	c.NoBalance, c.MaxFollowerLag = !r.BalanceLeaders, r.MaxFollowerLag
	c.MaxWaiting, c.MaxWaitingBytes = r.MaxWaitingProposals, r.MaxWaitingBytes
	c.SnapshotReceive, c.SnapshotBytesPerSecond = max(n.cfg.Cluster.MaxSnapshotsToKeep, 1), r.SnapshotBytesPerSec
	return c
}

// retention is how much of the logs is kept, for all groups and by class. A snapshot policy of Never keeps
// everything.
func (n *Node) retention() (all multiraft.Retention, byClass map[shard.Class]multiraft.Retention) {
	r, policy := n.cfg.Raft, n.cfg.Cluster.SnapshotPolicy.LogsSinceLast
	if policy == 0 {
		return multiraft.Retention{Entries: 1 << 62, Bytes: 1 << 62}, nil
	}
	all = multiraft.Retention{
		Entries: max(min(r.LogRetentionEntries, policy), 1), Bytes: uint64(max(r.LogRetentionBytes, 1)),
	}
	return all, map[shard.Class]multiraft.Retention{
		shard.ClassMeta:   {Entries: r.MetaRetentionEntries, Bytes: uint64(r.MetaRetentionBytes)},
		shard.ClassUser:   {Entries: r.UserRetentionEntries, Bytes: uint64(r.UserRetentionBytes)},
		shard.ClassShared: {Entries: r.SharedRetentionEntries, Bytes: uint64(r.SharedRetentionBytes)},
	}
}

func (n *Node) spawn(run func()) {
	n.running.Go(func() {
		run()
	})
}

// fail records why the node must stop; Wait returns it.
func (n *Node) fail(err error) {
	n.failOnce.Do(func() {
		err = n.noteDamage(err)
		n.failure = err
		n.logger.Error("the node stops", slog.Any("error", err))
		close(n.failed)
	})
}

// Wait blocks until the node was closed, or cannot go on; then it says why.
func (n *Node) Wait() error {
	select {
	case <-n.failed:
		return n.failure
	case <-n.closed:
		return nil
	}
}

// APIAddr returns host:port of the listener for clients.
func (n *Node) APIAddr() string { return n.apiAddr }

// RPCAddr returns host:port of the listener for peers, "" when standalone.
func (n *Node) RPCAddr() string { return n.rpcAddr }

// who returns the node's identity.
func (n *Node) who() identity {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.identity
}

// engine returns the replication engine, nil before admission and when standalone.
func (n *Node) engine() *multiraft.Manager {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.manager
}

// self returns this node's replica id, zero before admission.
func (n *Node) self() ident.ReplicaID { return n.who().Replica }
