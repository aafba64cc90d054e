package bench

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"runtime/pprof"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/config"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/multiraft"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/transport"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
	nodev1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/node/v1"
)

// workerConfig is the first line a worker reads.
type workerConfig struct {
	Replica   ident.ReplicaID
	Dir       string
	Groups    int
	Apply     string // count or store
	Log       string // segments or pebble
	One       bool   // all groups are led by replica 1
	Addresses map[ident.ReplicaID]string
}

// round of load, as one line; the worker answers with a roundResult.
type roundOrder struct {
	Clients  int
	Payload  int
	Duration time.Duration
	Profile  string // prefix of the file that takes the CPU profile of this round; empty takes none
}

// roundResult is what one worker measured.
type roundResult struct {
	Ops       int
	Seconds   float64
	Latencies latencies
	CPU       time.Duration
	Syncs     uint64 // of the log
	Switches  int64  // voluntary context switches of the process
	RSSBytes  int64
	Leading   int
	Unknown   int // proposals whose leader moved away before the result was known
	Error     string
}

// Worker is one process of a benchmark cluster: it reads orders from in and answers on out until in ends. It
// collects garbage as a server with the default configuration does.
func Worker(ctx context.Context, in io.Reader, out io.Writer) error {
	defaults := config.Default().Performance
	debug.SetGCPercent(defaults.GCPercent)
	debug.SetMemoryLimit(defaults.MemoryLimitBytes)
	lines := bufio.NewReader(in)
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	if _, err = fmt.Fprintln(out, listener.Addr().String()); err != nil {
		return err
	}
	var cfg workerConfig
	if err = readJSON(lines, &cfg); err != nil {
		return err
	}
	node, err := openWorker(cfg, listener)
	if err != nil {
		return err
	}
	defer node.close()
	for {
		var order roundOrder
		err = readJSON(lines, &order)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := printJSON(out, node.run(ctx, order)); err != nil {
			return err
		}
	}
}

func readJSON(lines *bufio.Reader, into any) error {
	line, err := lines.ReadBytes('\n')
	if err != nil {
		return err
	}
	return json.Unmarshal(line, into)
}

// workerNode is the replication engine with a state machine that only counts, or that stores.
type workerNode struct {
	cfg     workerConfig
	store   *storage.Engine
	log     multiraft.OwnLog
	network *transport.GRPC
	manager *multiraft.Manager
	groups  []shard.GroupID
	next    atomic.Uint64
	guard   *disk.Guard // nil where there is none
}

// guardLimit is how long a worker may stand still, which is longer than any round takes.
const guardLimit = 10 * time.Minute

func openWorker(cfg workerConfig, listener net.Listener) (*workerNode, error) {
	n := &workerNode{cfg: cfg, groups: benchGroups(cfg.Groups)}
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	var err error
	fsys := disk.Watch(disk.Local(), clock.Real{})
	if n.guard, err = fsys.Guard(guardLimit); err != nil {
		logger.Warn("writes of the log are not waited for in place", slog.Any("error", err))
	}
	if n.store, err = storage.Open(storage.Options{FS: fsys, Dir: filepath.Join(cfg.Dir, "store")}); err != nil {
		return nil, err
	}
	if n.log, err = openLog(cfg.Log, fsys, filepath.Join(cfg.Dir, "log")); err != nil {
		return nil, err
	}
	if err = multiraft.Found(n.store, n.log, n.groups, 1, 2, 3); err != nil {
		return nil, err
	}
	n.network, err = transport.NewGRPC(transport.GRPCConfig{Resolver: n, Clock: clock.Real{}, Logger: logger}, workerHandler{n})
	if err != nil {
		return nil, err
	}
	settings := multiraft.Config{
		Replica: cfg.Replica, Groups: n.groups, Engine: n.store, Log: n.log, Clock: clock.Real{}, Logger: logger,
		StateMachines: n.machine, StagingDir: filepath.Join(cfg.Dir, "staging"), NoBalance: cfg.One,
		Packs: func() bool { return true },
	}
	if n.manager, err = multiraft.Open(settings, n.network); err != nil {
		return nil, err
	}
	n.network.SetIdentity(transport.Identity{ClusterUID: ident.ClusterUID{1}, Replica: cfg.Replica})
	go func() {
		// It ends when the worker does; an error then has nobody to tell.
		_ = n.network.Serve(listener)
	}()
	n.manager.Start()
	return n, nil
}

// benchGroups are those of a node with one shared shard; a group that is alone is the meta group.
func benchGroups(count int) []shard.GroupID {
	if count == 1 {
		return []shard.GroupID{shard.Meta}
	}
	return shard.Map{UserShards: uint32(count - 2), SharedShards: 1}.Groups()
}

func (n *workerNode) close() {
	n.manager.Stop()
	n.network.Stop(context.Background())
	if err := errors.Join(n.log.Close(), n.store.Close()); err != nil {
		fmt.Fprintln(os.Stderr, "close:", err)
	}
}

// Address implements transport.Resolver.
func (n *workerNode) Address(id ident.ReplicaID) (string, bool) {
	addr, ok := n.cfg.Addresses[id]
	return addr, ok
}

// run drives one round: every client proposes to the groups led here, one after the other.
func (n *workerNode) run(ctx context.Context, order roundOrder) roundResult {
	if n.guard != nil {
		if err := n.guard.Extend(); err != nil {
			return roundResult{Error: err.Error()}
		}
	}
	endProfile, err := n.profile(order.Profile)
	if err != nil {
		return roundResult{Error: err.Error()}
	}
	result := n.load(ctx, order)
	if err := endProfile(); err != nil {
		result.Error = err.Error()
	}
	return result
}

// load drives the clients of a round; without any it rests.
func (n *workerNode) load(ctx context.Context, order roundOrder) roundResult {
	if order.Clients == 0 && order.Payload == 0 {
		return n.idle(ctx, order.Duration)
	}
	led := n.led()
	samples := make([]latencies, n.share(order.Clients, len(led)))
	started, cpu, syncs, switches := time.Now(), cpuTime(), n.log.Stats().Syncs, voluntarySwitches()
	end := started.Add(order.Duration)
	var failed atomic.Pointer[string]
	var unknown atomic.Int64
	var clients sync.WaitGroup
	for i := range samples {
		clients.Go(func() {
			payload := make([]byte, max(order.Payload, 8))
			// A context of its own, as each request of a server has: one for all is a lock that all wait for.
			own, done := context.WithCancel(ctx)
			defer done()
			// One look at the clock for each command: it ends one and begins the next.
			for at, asked := i, time.Now(); asked.Before(end); at++ {
				err := n.propose(own, led[at%len(led)], payload)
				answered := time.Now()
				_, moved := errors.AsType[*multiraft.NotLeaderError](err)
				switch {
				case err == nil:
					samples[i] = append(samples[i], answered.Sub(asked))
				case moved: // the balancer moved the group away; others are still led here
				case errors.Is(err, multiraft.ErrOutcomeUnknown):
					unknown.Add(1) // the same, while this proposal was under way
				default:
					text := err.Error()
					failed.Store(&text)
					return
				}
				asked = answered
			}
		})
	}
	clients.Wait()
	result := roundResult{
		Seconds: time.Since(started).Seconds(), CPU: cpuTime() - cpu,
		Syncs: n.log.Stats().Syncs - syncs, Switches: voluntarySwitches() - switches,
		RSSBytes: residentBytes(), Leading: len(led), Unknown: int(unknown.Load()),
	}
	result.Latencies = merge(samples)
	result.Ops = len(result.Latencies)
	if text := failed.Load(); text != nil {
		result.Error = *text
	}
	return result
}

// share is how many of the clients run in this process.
func (n *workerNode) share(clients, led int) int {
	switch {
	case led == 0:
		return 0
	case n.cfg.One:
		return clients
	case int(n.cfg.Replica) <= clients%nodes:
		return clients/nodes + 1
	}
	return clients / nodes
}

// propose sends one numbered command.
func (n *workerNode) propose(ctx context.Context, group shard.GroupID, payload []byte) error {
	number := n.next.Add(1)
	binary.BigEndian.PutUint64(payload, number)
	var id ident.RequestID
	binary.BigEndian.PutUint64(id[:], number)
	id[15] = byte(n.cfg.Replica)
	_, _, err := n.manager.Propose(ctx, group, id, payload)
	return err
}

// profile takes a CPU profile into a file with this prefix until the returned function is called.
func (n *workerNode) profile(prefix string) (end func() error, err error) {
	if prefix == "" {
		return func() error { return nil }, nil
	}
	file, err := os.Create(fmt.Sprintf("%s-node%d.pprof", prefix, n.cfg.Replica))
	if err != nil {
		return nil, fmt.Errorf("make a profile: %w", err)
	}
	if err = pprof.StartCPUProfile(file); err != nil {
		return nil, errors.Join(fmt.Errorf("make a profile: %w", err), file.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		return file.Close()
	}, nil
}

// idle measures a round without load.
func (n *workerNode) idle(ctx context.Context, d time.Duration) roundResult {
	started, cpu := time.Now(), cpuTime()
	_ = rest(ctx, d) // what was measured until then counts
	return roundResult{
		Seconds: time.Since(started).Seconds(), CPU: cpuTime() - cpu, RSSBytes: residentBytes(), Leading: len(n.led()),
	}
}

// led lists the groups that this node leads.
func (n *workerNode) led() []shard.GroupID {
	var led []shard.GroupID
	for _, g := range n.groups {
		if n.manager.Leader(g) == n.cfg.Replica {
			led = append(led, g)
		}
	}
	return led
}

func cpuTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// voluntarySwitches is how often a thread of this process has given up its processor to wait.
func voluntarySwitches() int64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return usage.Nvcsw
}

// residentBytes reads the resident set from /proc; zero where there is none.
func residentBytes() int64 {
	raw, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	var total, resident int64
	if _, err := fmt.Fscan(strings.NewReader(string(raw)), &total, &resident); err != nil {
		return 0
	}
	return resident * int64(os.Getpagesize())
}

// workerHandler passes the calls of peers to the engine.
type workerHandler struct{ n *workerNode }

// HandleMessages implements transport.Handler.
func (h workerHandler) HandleMessages(from ident.ReplicaID, messages []transport.Message) {
	h.n.manager.HandleMessages(from, messages)
}

// HandleUnreachable implements transport.Handler.
func (h workerHandler) HandleUnreachable(to ident.ReplicaID) { h.n.manager.HandleUnreachable(to) }

// HandleSnapshot implements transport.Handler.
func (h workerHandler) HandleSnapshot(ctx context.Context, header *nodev1.SnapshotHeader, next func() ([]byte, error)) error {
	return h.n.manager.HandleSnapshot(ctx, header, next)
}

// HandleForward implements transport.Handler.
func (h workerHandler) HandleForward(ctx context.Context, req *nodev1.ForwardRequest) *nodev1.ForwardResponse {
	return h.n.manager.HandleForward(ctx, req)
}

// HandleNodeInfo implements transport.Handler.
func (h workerHandler) HandleNodeInfo(context.Context, *nodev1.GetNodeInfoRequest) *nodev1.GetNodeInfoResponse {
	return &nodev1.GetNodeInfoResponse{ReplicaId: uint64(h.n.cfg.Replica)}
}

// HandleJoin implements transport.Handler.
func (h workerHandler) HandleJoin(context.Context, *nodev1.JoinRequest) *nodev1.JoinResponse {
	return &nodev1.JoinResponse{Refused: "a benchmark cluster does not grow"}
}
