package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/config"
	"github.com/kalamdb/kalamdb-go/internal/ident"
)

// RaftOptions are the flags of `kalamdb bench raft`.
type RaftOptions struct {
	Groups   int           // groups in all: one, or at least 3
	Payload  int           // bytes of one command, at least 8
	Clients  []int         // one case for each number of closed-loop clients
	Apply    string        // count or store
	Log      string        // what the log is kept in: segments or pebble
	Leaders  string        // spread or one
	Duration time.Duration // of each case
	Profiles string        // directory for CPU profiles of the processes, one file per case and node; empty takes none
}

// Validate names the first flag that cannot be used.
func (o RaftOptions) Validate() error {
	switch {
	case o.Groups < 3 && o.Groups != 1:
		return fmt.Errorf("--groups = %d: want 1, or at least 3", o.Groups)
	case o.Payload < 8:
		return fmt.Errorf("--payload = %d: want at least 8 bytes", o.Payload)
	case o.Apply != "count" && o.Apply != "store":
		return fmt.Errorf("--apply = %q: want count or store", o.Apply)
	case o.Leaders != "spread" && o.Leaders != "one":
		return fmt.Errorf("--leaders = %q: want spread or one", o.Leaders)
	case o.Duration < 100*time.Millisecond:
		return fmt.Errorf("--duration = %v: want at least 100ms", o.Duration)
	}
	if err := checkLog(o.Log); err != nil {
		return err
	}
	for _, n := range o.Clients {
		if n < 1 {
			return fmt.Errorf("--clients: %d is not a number of clients", n)
		}
	}
	return nil
}

// raftCase is one line of output.
type raftCase struct {
	Case          string  `json:"case"`
	Groups        int     `json:"groups"`
	Nodes         int     `json:"nodes"`
	Clients       int     `json:"clients"`
	PayloadBytes  int     `json:"payload_bytes"`
	Apply         string  `json:"apply"`
	Log           string  `json:"log"`
	OpsPerS       float64 `json:"ops_per_s"`
	P50Millis     float64 `json:"p50_ms"`
	P99Millis     float64 `json:"p99_ms"`
	CPUPer100k    float64 `json:"cpu_s_per_100k"`
	RSSMiBPerNode float64 `json:"rss_mib_per_node"`
	// SyncsPerOp and SwitchesPerOp count, over all nodes, syncs of the log and voluntary context switches for one command.
	// They hold on a machine that is too busy for times to mean anything.
	SyncsPerOp    float64 `json:"syncs_per_op"`
	SwitchesPerOp float64 `json:"switches_per_op"`
	// MachineRatio is what the machine took just before and after the case for work that does not depend on this program, by
	// what the machine took on which goals were set, see `kalamdb bench machine`. No other number is scaled by it.
	MachineRatio float64 `json:"machine_ratio"`
	// Unknown counts proposals whose leader moved away before the result was known; they are in no other number.
	Unknown int `json:"unknown,omitempty"`
}

// idleCase is the line of `bench idle`.
type idleCase struct {
	Groups            int     `json:"groups"`
	CPUPercentPerNode float64 `json:"cpu_percent_per_node"`
	RSSMiBPerNode     float64 `json:"rss_mib_per_node"`
}

// Raft measures replication and prints one JSON object for each case.
func Raft(ctx context.Context, o RaftOptions, out io.Writer) error {
	if err := o.Validate(); err != nil {
		return err
	}
	c, err := startCluster(ctx, o)
	if err != nil {
		return err
	}
	defer c.stop()
	machine, err := newGauge(ctx)
	if err != nil {
		return err
	}
	defer machine.close()
	for _, clients := range o.Clients {
		// A short round warms connections, caches and the log's spare segments.
		if _, err := c.round(roundOrder{Clients: clients, Payload: o.Payload, Duration: o.Duration / 4}); err != nil {
			return err
		}
		order := roundOrder{Clients: clients, Payload: o.Payload, Duration: o.Duration}
		if o.Profiles != "" {
			order.Profile = filepath.Join(o.Profiles, fmt.Sprintf("%s-%d-%d", o.Apply, o.Payload, clients))
		}
		before, err := machine.ratio()
		if err != nil {
			return err
		}
		results, err := c.round(order)
		if err != nil {
			return err
		}
		after, err := machine.ratio()
		if err != nil {
			return err
		}
		one := summarise(o, clients, results)
		one.MachineRatio = round(math.Sqrt(before * after))
		if err := printJSON(out, one); err != nil {
			return err
		}
	}
	return nil
}

func summarise(o RaftOptions, clients int, results []roundResult) raftCase {
	one := raftCase{
		Case: "raft-" + o.Leaders, Groups: o.Groups, Nodes: nodes, Clients: clients, PayloadBytes: o.Payload, Apply: o.Apply, Log: o.Log,
	}
	var cpu time.Duration
	var samples []latencies
	ops, syncs, switches := 0, 0.0, 0.0
	for _, r := range results {
		ops += r.Ops
		syncs += float64(r.Syncs)
		switches += float64(r.Switches)
		one.Unknown += r.Unknown
		one.OpsPerS += float64(r.Ops) / r.Seconds
		cpu += r.CPU
		one.RSSMiBPerNode += float64(r.RSSBytes) / (1 << 20) / nodes
		samples = append(samples, r.Latencies)
	}
	all := merge(samples)
	one.P50Millis, one.P99Millis = all.quantile(0.5), all.quantile(0.99)
	one.OpsPerS, one.RSSMiBPerNode = round(one.OpsPerS), round(one.RSSMiBPerNode)
	if ops > 0 {
		one.CPUPer100k = round(cpu.Seconds() / float64(ops) * 100_000)
		one.SyncsPerOp, one.SwitchesPerOp = round(syncs/float64(ops)), round(switches/float64(ops))
	}
	return one
}

// Idle measures a cluster without load and prints one JSON object.
func Idle(ctx context.Context, groups int, duration time.Duration, profiles string, out io.Writer) error {
	o := RaftOptions{Groups: groups, Payload: 8, Apply: "count", Log: config.LogSegments, Leaders: "spread", Duration: duration}
	if err := o.Validate(); err != nil {
		return err
	}
	c, err := startCluster(ctx, o)
	if err != nil {
		return err
	}
	defer c.stop()
	// The first rest lets what starting left behind come to an end, and the groups fall asleep.
	if _, err = c.round(roundOrder{Duration: 6 * time.Second}); err != nil {
		return err
	}
	order := roundOrder{Duration: duration}
	if profiles != "" {
		order.Profile = filepath.Join(profiles, fmt.Sprintf("idle-%d", groups))
	}
	results, err := c.round(order)
	if err != nil {
		return err
	}
	idle := idleCase{Groups: groups}
	for _, r := range results {
		idle.CPUPercentPerNode += 100 * r.CPU.Seconds() / r.Seconds / nodes
		idle.RSSMiBPerNode += float64(r.RSSBytes) / (1 << 20) / nodes
	}
	idle.CPUPercentPerNode, idle.RSSMiBPerNode = round(idle.CPUPercentPerNode), round(idle.RSSMiBPerNode)
	return printJSON(out, idle)
}

// cluster is three workers and the pipes to them.
type cluster struct {
	dir     string
	workers []*workerProcess
}

type workerProcess struct {
	command *exec.Cmd
	in      io.WriteCloser
	out     *bufio.Reader
	pipe    io.Closer // what out reads from
}

// startCluster starts the workers and waits until every group has a leader where it should be.
func startCluster(ctx context.Context, o RaftOptions) (*cluster, error) {
	dir, err := os.MkdirTemp("", "kalamdb-bench-")
	if err != nil {
		return nil, fmt.Errorf("make a directory: %w", err)
	}
	c := &cluster{dir: dir}
	if err := c.start(ctx, o); err != nil {
		c.stop()
		return nil, err
	}
	return c, nil
}

func (c *cluster) start(ctx context.Context, o RaftOptions) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	addresses := make(map[ident.ReplicaID]string)
	for i := range nodes {
		w, err := startWorker(ctx, self)
		if err != nil {
			return err
		}
		c.workers = append(c.workers, w)
		line, err := w.out.ReadString('\n')
		if err != nil {
			return fmt.Errorf("worker %d did not start: %w", i+1, err)
		}
		addresses[ident.ReplicaID(i+1)] = line[:len(line)-1]
	}
	for i, w := range c.workers {
		err := printJSON(w.in, workerConfig{
			Replica: ident.ReplicaID(i + 1), Dir: filepath.Join(c.dir, strconv.Itoa(i+1)), Groups: o.Groups,
			Apply: o.Apply, Log: o.Log, One: o.Leaders == "one", Addresses: addresses,
		})
		if err != nil {
			return fmt.Errorf("configure worker %d: %w", i+1, err)
		}
	}
	return c.settle(o)
}

func startWorker(ctx context.Context, program string) (*workerProcess, error) {
	command := exec.CommandContext(ctx, program, "bench", "worker")
	command.Stderr = os.Stderr
	in, err := command.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start a worker: %w", err)
	}
	out, err := command.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start a worker: %w", err)
	}
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("start a worker: %w", err)
	}
	return &workerProcess{command: command, in: in, out: bufio.NewReaderSize(out, 1<<20), pipe: out}, nil
}

// settlePatience bounds the wait for leaders, in rounds of settleRound.
const (
	settlePatience = 150
	settleRound    = 200 * time.Millisecond
)

// settle waits until the groups are led evenly.
func (c *cluster) settle(o RaftOptions) error {
	for range settlePatience {
		results, err := c.round(roundOrder{Duration: settleRound})
		if err != nil {
			return err
		}
		total, least := 0, o.Groups
		for _, r := range results {
			total += r.Leading
			least = min(least, r.Leading)
		}
		if total == o.Groups && (o.Leaders == "one" || least >= o.Groups/nodes-1) {
			return nil
		}
	}
	return errors.New("the groups found no leaders in time")
}

// round gives one order to every worker and collects the answers.
func (c *cluster) round(order roundOrder) ([]roundResult, error) {
	for i, w := range c.workers {
		if err := printJSON(w.in, order); err != nil {
			return nil, fmt.Errorf("order worker %d: %w", i+1, err)
		}
	}
	results := make([]roundResult, len(c.workers))
	for i, w := range c.workers {
		line, err := w.out.ReadBytes('\n')
		if err != nil {
			return nil, fmt.Errorf("worker %d ended: %w", i+1, err)
		}
		if err = json.Unmarshal(line, &results[i]); err != nil { //nolint:musttag // both ends are this program
			return nil, fmt.Errorf("worker %d: %w", i+1, err)
		}
		if results[i].Error != "" {
			return nil, fmt.Errorf("worker %d: %s", i+1, results[i].Error)
		}
	}
	return results, nil
}

// stop ends the workers and removes their data. Nobody reads their answers any more: one that is just writing
// an answer larger than the pipe would wait for a reader for ever, so its pipe is closed first.
func (c *cluster) stop() {
	for _, w := range c.workers {
		// The worker ends with its input; what it says then does not matter any more.
		_ = w.in.Close()
		_ = w.pipe.Close()
	}
	for _, w := range c.workers {
		w.end()
	}
	if err := os.RemoveAll(c.dir); err != nil {
		fmt.Fprintln(os.Stderr, "remove the data:", err)
	}
}

// endPatience bounds how long a worker may take to end by itself.
const endPatience = 20 * time.Second

// end waits for the process and kills one that does not end; it says so, because a node must be able to stop.
func (w *workerProcess) end() {
	var killed atomic.Bool
	timer := time.AfterFunc(endPatience, func() {
		killed.Store(true)
		_ = w.command.Process.Kill() // it may have ended this moment
	})
	defer timer.Stop()
	err := w.command.Wait()
	switch {
	case killed.Load():
		fmt.Fprintf(os.Stderr, "worker %d did not end within %v and was killed\n", w.command.Process.Pid, endPatience)
	case err != nil:
		fmt.Fprintln(os.Stderr, "worker:", err)
	}
}
