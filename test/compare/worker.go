package main

import (
	"bufio"
	"context"
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
)

// What the processes have alike.
const (
	nodes       = 3
	memoryLimit = 4 << 30 // of the Go runtime, soft
)

// patience bounds the wait for one proposal; its outcome is unknown then.
const patience = 10 * time.Second

// workerConfig is the first line a worker reads. A node of kalamdb knows some of these fields.
type workerConfig struct {
	Engine    string
	Replica   uint64 // zero for the process of the clients
	Dir       string
	Groups    uint64
	GCPercent int
	Addresses map[uint64]string // of the nodes for each other
	Service   map[uint64]string // of the nodes for clients
	Apply     string            // of kalamdb, as Log
	Log       string

	Workers       uint64
	AppendEntries int
	Connections   int
	Streams       bool
}

// roundOrder is one line; the worker answers with a roundResult. Without clients it rests.
type roundOrder struct {
	Settle   bool // give away what others should lead, before the rest
	Clients  int  // in this process
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
	Leading   int // groups that are led here, of those that should be
	Applied   int // commands since the start
	Unknown   int // proposals whose outcome did not become known
	Error     string
}

// engine is a node, or what the clients of nodes ask in a process of their own.
type engine interface {
	// settle gives the leaderships away that others should have; one that is refused is asked for again in the next round.
	settle()
	// led lists the groups that commands can be proposed to here, of those that should be led here.
	led() []uint64
	// propose waits until a command is committed by a majority and applied; known is false where its outcome is not. The payload is not kept.
	propose(ctx context.Context, client int, group uint64, payload []byte) (known bool, err error)
	// applied counts the commands.
	applied() (int, error)
	close() error
}

// engines open what a worker is asked to be; where clients have a process of their own, it is opened as well.
var engines = map[string]struct {
	groups        uint64
	node, clients func(context.Context, workerConfig) (engine, error)
}{
	"dragonboat": {groups: manyGroups, node: openDragonboat},
	"hashicorp":  {groups: 1, node: openHashicorp},
	"etcd":       {groups: 1, node: openEtcd, clients: openEtcdClients},
	"kalamdb":    {groups: manyGroups, clients: openKalamDBClients}, // its nodes are another program
}

// manyGroups is how many a node has by default.
const manyGroups = 34

// worker is one process of the cluster: it reads orders from in and answers on out until in ends.
func worker(ctx context.Context, in io.Reader, out io.Writer) (err error) {
	lines := bufio.NewReader(in)
	addresses, err := freeAddresses()
	if err != nil {
		return err
	}
	if _, err = fmt.Fprintln(out, strings.Join(addresses, " ")); err != nil {
		return err
	}
	var cfg workerConfig
	if err = readJSON(lines, &cfg); err != nil {
		return err
	}
	debug.SetGCPercent(cfg.GCPercent)
	debug.SetMemoryLimit(memoryLimit)
	open := engines[cfg.Engine].node
	if cfg.Replica == 0 {
		open = engines[cfg.Engine].clients
	}
	e, err := open(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.close()) }()
	for {
		var order roundOrder
		err = readJSON(lines, &order)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := printJSON(out, runRound(ctx, e, order)); err != nil {
			return err
		}
	}
}

// freeAddresses are two that nobody listened on a moment ago, for the other nodes and for clients: the engines take addresses, not listeners.
func freeAddresses() ([]string, error) {
	var found []string
	for range 2 {
		listener, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // it waits for nothing
		if err != nil {
			return nil, fmt.Errorf("listen: %w", err)
		}
		defer func() { _ = listener.Close() }() // the other one is to have another port
		found = append(found, listener.Addr().String())
	}
	return found, nil
}

// runRound rests, or drives the clients.
func runRound(ctx context.Context, e engine, order roundOrder) roundResult {
	if order.Settle {
		e.settle()
	}
	started, cpu := time.Now(), cpuTime()
	var result roundResult
	if order.Clients > 0 {
		result = load(ctx, e, order)
	} else {
		time.Sleep(order.Duration)
	}
	result.Seconds, result.CPU, result.RSSBytes = time.Since(started).Seconds(), cpuTime()-cpu, residentBytes()
	result.Leading = len(e.led())
	var err error
	if result.Applied, err = e.applied(); err != nil {
		result.Error = err.Error()
	}
	return result
}

// load drives the clients of a round: each proposes to the groups led here, one after the other.
func load(ctx context.Context, e engine, order roundOrder) roundResult {
	led := e.led()
	if len(led) == 0 {
		return roundResult{Error: "no group is led here"}
	}
	samples := make([][]time.Duration, order.Clients)
	end := time.Now().Add(order.Duration)
	var failed atomic.Pointer[string]
	var unknown atomic.Int64
	var clients sync.WaitGroup
	for i := range samples {
		clients.Go(func() {
			payload := make([]byte, order.Payload)
			for at, asked := i, time.Now(); asked.Before(end); at++ {
				binary.BigEndian.PutUint64(payload, lastNumber.Add(1))
				known, err := e.propose(ctx, i, led[at%len(led)], payload)
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
	result := roundResult{Unknown: int(unknown.Load()), Latencies: slices.Concat(samples...)}
	result.Ops = len(result.Latencies)
	if text := failed.Load(); text != nil {
		result.Error = *text
	}
	return result
}

// lastNumber is that of the newest command of this process. Those of all rounds differ, so that a store does not overwrite.
var lastNumber atomic.Uint64

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
