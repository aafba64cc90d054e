package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"
)

// line is what both systems print for a case; ours prints more.
type line struct {
	System        string  `json:"system"`
	Workers       uint64  `json:"workers,omitempty"`
	GCPercent     int     `json:"gc_percent,omitempty"`
	Groups        int     `json:"groups"`
	Nodes         int     `json:"nodes"`
	Clients       int     `json:"clients"`
	PayloadBytes  int     `json:"payload_bytes"`
	Apply         string  `json:"apply"`
	OpsPerS       float64 `json:"ops_per_s"`
	P50Millis     float64 `json:"p50_ms"`
	P99Millis     float64 `json:"p99_ms"`
	CPUPer100k    float64 `json:"cpu_s_per_100k"`
	RSSMiBPerNode float64 `json:"rss_mib_per_node"`
	// Unknown counts proposals that were dropped or not answered in time; they are in no other number.
	Unknown int `json:"unknown,omitempty"`
}

// measure starts a cluster and prints one JSON object for each case.
func measure(ctx context.Context, o options, out io.Writer) error {
	dir, err := os.MkdirTemp("", "compare-")
	if err != nil {
		return fmt.Errorf("make a directory: %w", err)
	}
	c := &cluster{dir: dir}
	defer c.stop()
	if err := checkRoom(dir, o); err != nil {
		return err
	}
	if err := c.start(ctx, o); err != nil {
		return err
	}
	for _, clients := range o.Clients {
		// A short round warms up, as that of `kalamdb bench raft` does.
		if _, err := c.round(roundOrder{Clients: clients, Payload: o.Payload, Duration: o.Duration / 4}); err != nil {
			return err
		}
		results, err := c.round(roundOrder{Clients: clients, Payload: o.Payload, Duration: o.Duration})
		if err != nil {
			return err
		}
		if err := printJSON(out, summarise(o, clients, results)); err != nil {
			return err
		}
	}
	return nil
}

// Bounds of what a case takes of the disk: files of the size of a store's buffer, and what may be written beside them.
const (
	spareRoom    = 4 << 30
	filesOfStore = 8
	inMemory     = 0x01021994 // the type of tmpfs
)

// checkRoom refuses a file system in memory, and a disk that the logs might fill: dragonboat panics there, and others may need the disk. A store keeps up
// to filesOfStore files.
func checkRoom(dir string, o options) error {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil {
		return fmt.Errorf("ask for the room in %s: %w", dir, err)
	}
	if fs.Type == inMemory {
		return fmt.Errorf("%s is in memory, where a sync costs nothing; TMPDIR names another place", dir)
	}
	logs := logStores(o.Workers)
	wanted := filesOfStore*nodes*logs.Shards*logs.KVWriteBufferSize + spareRoom
	if free := fs.Bavail * uint64(fs.Bsize); free < wanted { //nolint:gosec // no disk has blocks of a negative size
		return fmt.Errorf("%s has room for %d MiB: want %d; TMPDIR names another place", dir, free>>20, wanted>>20)
	}
	return nil
}

func summarise(o options, clients int, results []roundResult) line {
	one := line{
		System: "dragonboat", Workers: o.Workers, GCPercent: o.GCPercent, Groups: groups, Nodes: nodes, Clients: clients,
		PayloadBytes: o.Payload, Apply: "count",
	}
	var all []time.Duration
	var cpu time.Duration
	for _, r := range results {
		all = append(all, r.Latencies...)
		cpu += r.CPU
		one.OpsPerS += float64(r.Ops) / r.Seconds
		one.RSSMiBPerNode += float64(r.RSSBytes) / (1 << 20) / nodes
		one.Unknown += r.Unknown
	}
	slices.Sort(all)
	one.P50Millis, one.P99Millis = quantile(all, 0.5), quantile(all, 0.99)
	one.OpsPerS, one.RSSMiBPerNode = round(one.OpsPerS), round(one.RSSMiBPerNode)
	if len(all) > 0 {
		one.CPUPer100k = round(cpu.Seconds() / float64(len(all)) * 100_000)
	}
	return one
}

// quantile returns the q-quantile of sorted samples in milliseconds.
func quantile(sorted []time.Duration, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return float64(sorted[min(int(q*float64(len(sorted))), len(sorted)-1)].Microseconds()) / 1000
}

// round keeps three decimals.
func round(v float64) float64 { return float64(int64(v*1000+0.5)) / 1000 }

// cluster is three workers and the pipes to them.
type cluster struct {
	dir     string
	workers []*process
}

type process struct {
	command *exec.Cmd
	in      io.WriteCloser
	out     *bufio.Reader
	pipe    io.Closer // what out reads from
}

func (c *cluster) start(ctx context.Context, o options) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	addresses := make(map[uint64]string)
	for i := range nodes {
		w, err := startProcess(ctx, self)
		if err != nil {
			return fmt.Errorf("start worker %d: %w", i+1, err)
		}
		c.workers = append(c.workers, w)
		address, err := w.out.ReadString('\n')
		if err != nil {
			return fmt.Errorf("worker %d did not start: %w", i+1, err)
		}
		addresses[uint64(i+1)] = address[:len(address)-1]
	}
	for i, w := range c.workers {
		cfg := workerConfig{
			Replica: uint64(i + 1), Dir: filepath.Join(c.dir, strconv.Itoa(i+1)), Workers: o.Workers, GCPercent: o.GCPercent, Addresses: addresses,
		}
		if err := printJSON(w.in, cfg); err != nil {
			return fmt.Errorf("configure worker %d: %w", i+1, err)
		}
	}
	return c.settle()
}

func startProcess(ctx context.Context, program string) (*process, error) {
	command := exec.CommandContext(ctx, program, "worker")
	command.Stderr = os.Stderr
	in, err := command.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := command.Start(); err != nil {
		return nil, err
	}
	return &process{command: command, in: in, out: bufio.NewReaderSize(out, 1<<20), pipe: out}, nil
}

// settlePatience bounds the wait for leaders, in rounds of settleRound.
const (
	settlePatience = 150
	settleRound    = 200 * time.Millisecond
)

// settle waits until every group is led where it should be.
func (c *cluster) settle() error {
	for range settlePatience {
		results, err := c.round(roundOrder{Duration: settleRound})
		if err != nil {
			return err
		}
		home := 0
		for _, r := range results {
			home += r.AtHome
		}
		if home == groups {
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
		answer, err := w.out.ReadBytes('\n')
		if err != nil {
			return nil, fmt.Errorf("worker %d ended: %w", i+1, err)
		}
		if err = json.Unmarshal(answer, &results[i]); err != nil { //nolint:musttag // both ends are this program
			return nil, fmt.Errorf("worker %d: %w", i+1, err)
		}
		if results[i].Error != "" {
			return nil, fmt.Errorf("worker %d: %s", i+1, results[i].Error)
		}
	}
	return results, nil
}

// endPatience bounds how long a worker may take to end by itself.
const endPatience = 20 * time.Second

// stop ends the workers and removes their data. Pipes are closed first: a worker that is writing an answer has no reader any more.
func (c *cluster) stop() {
	for _, w := range c.workers {
		_ = w.in.Close() // the worker ends with its input
		_ = w.pipe.Close()
	}
	for _, w := range c.workers {
		timer := time.AfterFunc(endPatience, func() {
			_ = w.command.Process.Kill() // it may have ended this moment
		})
		if err := w.command.Wait(); err != nil {
			fmt.Fprintln(os.Stderr, "worker:", err)
		}
		timer.Stop()
	}
	if err := os.RemoveAll(c.dir); err != nil {
		fmt.Fprintln(os.Stderr, "remove the data:", err)
	}
}
