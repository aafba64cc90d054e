package main

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/lni/dragonboat/v4"
	"github.com/lni/dragonboat/v4/client"
	"github.com/lni/dragonboat/v4/config"
	"github.com/lni/dragonboat/v4/logger"
	"github.com/lni/dragonboat/v4/statemachine"
)

// What both systems have alike.
const (
	nodes       = 3
	groups      = 34
	memoryLimit = 4 << 30 // of the Go runtime, soft
	tick        = 50      // milliseconds
	electionMin = 10      // ticks; the longest is twice that
	heartbeat   = 4       // ticks; fewer than half of electionMin are wanted
)

// defaultWorkers is how many step, commit and apply workers and log stores dragonboat has by itself.
const defaultWorkers = 16

// proposalPatience bounds the wait for one proposal; its outcome is unknown then.
const proposalPatience = 10 * time.Second

// workerConfig is the first line a worker reads.
type workerConfig struct {
	Replica   uint64
	Dir       string
	Workers   uint64
	GCPercent int
	Addresses map[uint64]string
}

// roundOrder is one line; the worker answers with a roundResult. Without clients it gives away what others should lead, and rests.
type roundOrder struct {
	Clients  int
	Payload  int
	Duration time.Duration
}

// roundResult is what one worker measured.
type roundResult struct {
	Ops       int
	Seconds   float64
	Latencies []time.Duration
	CPU       time.Duration
	RSSBytes  int64
	AtHome    int // groups that are led here and should be
	Unknown   int // proposals whose outcome did not become known
	Error     string
}

// worker is one process of the cluster: it reads orders from in and answers on out until in ends.
func worker(in io.Reader, out io.Writer) error {
	lines := bufio.NewReader(in)
	address, err := freeAddress()
	if err != nil {
		return err
	}
	if _, err = fmt.Fprintln(out, address); err != nil {
		return err
	}
	var cfg workerConfig
	if err = readJSON(lines, &cfg); err != nil {
		return err
	}
	debug.SetGCPercent(cfg.GCPercent)
	debug.SetMemoryLimit(memoryLimit)
	n, err := open(cfg)
	if err != nil {
		return err
	}
	defer n.host.Close()
	for {
		var order roundOrder
		err = readJSON(lines, &order)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		do := n.load
		if order.Clients == 0 {
			do = n.settle
		}
		if err := printJSON(out, do(order)); err != nil {
			return err
		}
	}
}

// freeAddress is one that nobody listened on a moment ago: dragonboat takes an address, not a listener.
func freeAddress() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // it waits for nothing
	if err != nil {
		return "", fmt.Errorf("listen: %w", err)
	}
	return listener.Addr().String(), listener.Close()
}

// node is one host of dragonboat with a replica of every group.
type node struct {
	cfg      workerConfig
	host     *dragonboat.NodeHost
	sessions map[uint64]*client.Session
}

func open(cfg workerConfig) (*node, error) {
	for _, name := range []string{"raft", "rsm", "transport", "dragonboat", "logdb", "pebblekv", "config", "settings", "server", "registry", "LogDB"} {
		logger.GetLogger(name).SetLevel(logger.ERROR)
	}
	engine := config.GetDefaultEngineConfig()
	if cfg.Workers != defaultWorkers {
		engine.ExecShards, engine.CommitShards, engine.ApplyShards = cfg.Workers, cfg.Workers, cfg.Workers
	}
	host, err := dragonboat.NewNodeHost(config.NodeHostConfig{
		NodeHostDir: cfg.Dir, RTTMillisecond: tick, RaftAddress: cfg.Addresses[cfg.Replica],
		Expert: config.ExpertConfig{Engine: engine, LogDB: logStores(cfg.Workers)},
	})
	if err != nil {
		return nil, fmt.Errorf("open the host: %w", err)
	}
	n := &node{cfg: cfg, host: host, sessions: make(map[uint64]*client.Session)}
	create := func(uint64, uint64) statemachine.IStateMachine { return &counter{} }
	for group := uint64(1); group <= groups; group++ {
		err := host.StartReplica(cfg.Addresses, false, create, config.Config{
			ReplicaID: cfg.Replica, ShardID: group, ElectionRTT: electionMin, HeartbeatRTT: heartbeat, CheckQuorum: true, PreVote: true,
		})
		if err != nil {
			host.Close()
			return nil, fmt.Errorf("start group %d: %w", group, err)
		}
		n.sessions[group] = host.GetNoOPSession(group)
	}
	return n, nil
}

// logStores is the configuration of the log. A store keeps some files, each as large from its first byte as the largest buffer: with the
// default of 128 MiB, 16 of them on three nodes take more than 20 GB. Buffers begin with 256 KiB and double, whatever the largest; 16 stores have
// 16 MiB, to which none comes in three seconds, so that they flush as they would with the default.
func logStores(workers uint64) config.LogDBConfig {
	if workers == defaultWorkers {
		return config.GetSmallMemLogDBConfig()
	}
	logs := config.GetDefaultLogDBConfig()
	logs.Shards = workers
	return logs
}

// home is the replica that should lead a group.
func home(group uint64) uint64 { return group%nodes + 1 }

// led lists the groups that this node leads.
func (n *node) led() []uint64 {
	var led []uint64
	for group := uint64(1); group <= groups; group++ {
		leader, _, known, err := n.host.GetLeaderID(group)
		if err == nil && known && leader == n.cfg.Replica {
			led = append(led, group)
		}
	}
	return led
}

// settle gives leadership away to where it should be: dragonboat itself does not spread it.
func (n *node) settle(order roundOrder) roundResult {
	for _, group := range n.led() {
		if home(group) == n.cfg.Replica {
			continue
		}
		// Refused while another transfer runs; the next round asks again.
		_ = n.host.RequestLeaderTransfer(group, home(group))
	}
	time.Sleep(order.Duration)
	led := n.led()
	return roundResult{AtHome: len(slices.DeleteFunc(led, func(group uint64) bool { return home(group) != n.cfg.Replica }))}
}

// load drives the clients of a round: each proposes to the groups led here, one after the other.
func (n *node) load(order roundOrder) roundResult {
	led := n.led()
	if len(led) == 0 {
		return roundResult{Error: "no group is led here"}
	}
	samples := make([][]time.Duration, share(int(n.cfg.Replica), order.Clients)) //nolint:gosec // one of three
	started, cpu := time.Now(), cpuTime()
	end := started.Add(order.Duration)
	var next atomic.Uint64
	var failed atomic.Pointer[string]
	var unknown atomic.Int64
	var clients sync.WaitGroup
	for i := range samples {
		clients.Go(func() {
			payload := make([]byte, order.Payload)
			for at, asked := i, time.Now(); asked.Before(end); at++ {
				binary.BigEndian.PutUint64(payload, next.Add(1))
				known, err := n.propose(led[at%len(led)], payload)
				answered := time.Now()
				switch {
				case err != nil:
					text := err.Error()
					failed.Store(&text)
					return
				case known:
					samples[i] = append(samples[i], answered.Sub(asked))
				default:
					unknown.Add(1)
				}
				asked = answered
			}
		})
	}
	clients.Wait()
	result := roundResult{
		Seconds: time.Since(started).Seconds(), CPU: cpuTime() - cpu, RSSBytes: residentBytes(), Unknown: int(unknown.Load()),
	}
	result.Latencies = slices.Concat(samples...)
	result.Ops = len(result.Latencies)
	if text := failed.Load(); text != nil {
		result.Error = *text
	}
	return result
}

// share is how many of the clients run in the process of a replica.
func share(replica, clients int) int {
	if replica <= clients%nodes {
		return clients/nodes + 1
	}
	return clients / nodes
}

// propose waits until a command is applied; known is false where its outcome is not.
func (n *node) propose(group uint64, payload []byte) (known bool, err error) {
	state, err := n.host.Propose(n.sessions[group], payload, proposalPatience)
	if err != nil {
		return false, fmt.Errorf("propose to group %d: %w", group, err)
	}
	result := <-state.AppliedC()
	state.Release()
	switch {
	case result.Completed():
		return true, nil
	case result.Timeout(), result.Dropped(): // the leader moved
		return false, nil
	}
	return false, fmt.Errorf("group %d answers %v", group, result)
}

// counter is the state machine of a group.
type counter struct{ count uint64 }

// Update implements statemachine.IStateMachine.
func (c *counter) Update(statemachine.Entry) (statemachine.Result, error) {
	c.count++
	return statemachine.Result{Value: c.count}, nil
}

// Lookup implements statemachine.IStateMachine.
func (c *counter) Lookup(any) (any, error) { return c.count, nil }

// SaveSnapshot implements statemachine.IStateMachine.
func (c *counter) SaveSnapshot(w io.Writer, _ statemachine.ISnapshotFileCollection, _ <-chan struct{}) error {
	return binary.Write(w, binary.BigEndian, c.count)
}

// RecoverFromSnapshot implements statemachine.IStateMachine.
func (c *counter) RecoverFromSnapshot(r io.Reader, _ []statemachine.SnapshotFile, _ <-chan struct{}) error {
	return binary.Read(r, binary.BigEndian, &c.count)
}

// Close implements statemachine.IStateMachine.
func (c *counter) Close() error { return nil }

func cpuTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
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

func readJSON(lines *bufio.Reader, into any) error {
	line, err := lines.ReadBytes('\n')
	if err != nil {
		return err
	}
	return json.Unmarshal(line, into)
}

func printJSON(out io.Writer, result any) error {
	line, err := json.Marshal(result)
	if err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	_, err = fmt.Fprintf(out, "%s\n", line)
	return err
}
