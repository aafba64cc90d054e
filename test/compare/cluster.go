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
	"strconv"
	"strings"
	"time"
)

// cluster is three nodes, the process of their clients where there is one, and the pipes to them.
type cluster struct {
	o       options
	dir     string
	common  workerConfig // what all are told
	nodes   []*process
	clients *process
}

type process struct {
	name    string
	command *exec.Cmd
	in      io.WriteCloser
	out     *bufio.Reader
	pipe    io.Closer // what out reads from
}

// startCluster returns once every group is led where it should be, and the clients know where.
func startCluster(ctx context.Context, o options) (*cluster, error) {
	dir, err := os.MkdirTemp("", "compare-")
	if err != nil {
		return nil, fmt.Errorf("make a directory: %w", err)
	}
	c := &cluster{o: o, dir: dir}
	if err = checkRoom(dir, o); err == nil {
		err = c.start(ctx)
	}
	if err != nil {
		c.stop()
		return nil, err
	}
	return c, nil
}

func (c *cluster) start(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	program := []string{self, "worker"}
	if c.o.Program != "" {
		program = []string{c.o.Program, "bench", "worker"}
	}
	c.common = workerConfig{
		Engine: c.o.Engine, Groups: engines[c.o.Engine].groups, GCPercent: c.o.GCPercent, Workers: c.o.Workers, AppendEntries: c.o.AppendEntries,
		Connections: c.o.Connections, Streams: c.o.Streams, Apply: "store", Log: "segments", Addresses: make(map[uint64]string), Service: make(map[uint64]string),
	}
	for i := range nodes {
		p, addresses, failed := startProcess(ctx, fmt.Sprint("node ", i+1), program)
		if failed != nil {
			return failed
		}
		c.nodes = append(c.nodes, p)
		// Where a node has one address, it serves both.
		c.common.Addresses[uint64(i+1)], c.common.Service[uint64(i+1)] = addresses[0], addresses[len(addresses)-1]
	}
	for i, p := range c.nodes {
		if err = p.configure(c.nodeConfig(i)); err != nil {
			return err
		}
	}
	if err = c.settle(); err != nil || c.o.Idle || engines[c.o.Engine].clients == nil {
		return err
	}
	if c.clients, _, err = startProcess(ctx, "clients", []string{self, "worker"}); err != nil {
		return err
	}
	return c.clients.configure(c.common)
}

// nodeConfig is what one node is told.
func (c *cluster) nodeConfig(i int) workerConfig {
	cfg := c.common
	cfg.Replica, cfg.Dir = uint64(i+1), filepath.Join(c.dir, strconv.Itoa(i+1)) //nolint:gosec // there are three
	return cfg
}

func (p *process) configure(cfg workerConfig) error {
	if err := printJSON(p.in, cfg); err != nil {
		return fmt.Errorf("configure %s: %w", p.name, err)
	}
	return nil
}

// startProcess returns what the process says first, too: its addresses.
func startProcess(ctx context.Context, name string, program []string) (*process, []string, error) {
	command := exec.CommandContext(ctx, program[0], program[1:]...) //nolint:gosec // this program, or the one that the caller names
	command.Stderr = os.Stderr
	in, err := command.StdinPipe()
	if err != nil {
		return nil, nil, fmt.Errorf("start %s: %w", name, err)
	}
	out, err := command.StdoutPipe()
	if err != nil {
		return nil, nil, fmt.Errorf("start %s: %w", name, err)
	}
	if err = command.Start(); err != nil {
		return nil, nil, fmt.Errorf("start %s: %w", name, err)
	}
	p := &process{name: name, command: command, in: in, out: bufio.NewReaderSize(out, 1<<20), pipe: out}
	said, err := p.out.ReadString('\n')
	addresses := strings.Fields(said)
	if err != nil || len(addresses) == 0 {
		p.end()
		return nil, nil, fmt.Errorf("%s did not start: it says %q, %w", name, said, err)
	}
	return p, addresses, nil
}

// settlePatience bounds the wait for leaders, in rounds of settleRound.
const (
	settlePatience = 150
	settleRound    = 200 * time.Millisecond
)

// settle waits until the groups are led evenly.
func (c *cluster) settle() error {
	groups := int(engines[c.o.Engine].groups) //nolint:gosec // at most 34
	for range settlePatience {
		results, err := c.rest(settleRound, true)
		if err != nil {
			return err
		}
		total, least := 0, groups
		for _, r := range results {
			total += r.Leading
			least = min(least, r.Leading)
		}
		if total == groups && least >= groups/nodes-1 {
			return nil
		}
	}
	return errors.New("the groups found no leaders in time")
}

// rest lets the nodes rest for a while.
func (c *cluster) rest(d time.Duration, settle bool) ([]roundResult, error) {
	orders := make([]roundOrder, len(c.nodes))
	for i := range orders {
		orders[i] = roundOrder{Settle: settle, Duration: d}
	}
	return c.round(c.nodes, orders)
}

// load runs clients: in the process they have, or in those of the nodes that lead. Results are those of the nodes and then that of the clients' process.
func (c *cluster) load(clients, payload int, d time.Duration) ([]roundResult, error) {
	all := c.nodes
	orders := make([]roundOrder, nodes, nodes+1)
	for i := range orders {
		orders[i] = roundOrder{Payload: payload, Duration: d}
	}
	switch {
	case c.clients != nil:
		all = append(all[:nodes:nodes], c.clients)
		// To `kalamdb bench worker`, a rest is an order without a payload.
		for i := range orders {
			orders[i].Payload = 0
		}
		orders = append(orders, roundOrder{Clients: clients, Payload: payload, Duration: d})
	case engines[c.o.Engine].groups == 1:
		leader, err := c.leader()
		if err != nil {
			return nil, err
		}
		orders[leader].Clients = clients
	default:
		for i := range orders {
			orders[i].Clients = share(i+1, clients)
		}
	}
	return c.round(all, orders)
}

// leader is the node that leads the only group.
func (c *cluster) leader() (int, error) {
	results, err := c.rest(time.Millisecond, false)
	if err != nil {
		return 0, err
	}
	for i, r := range results {
		if r.Leading == 1 {
			return i, nil
		}
	}
	return 0, errors.New("the group has no leader")
}

// share is how many of the clients run in the process of a replica.
func share(replica, clients int) int {
	if replica <= clients%nodes {
		return clients/nodes + 1
	}
	return clients / nodes
}

// round gives one order to every process and collects the answers.
func (c *cluster) round(processes []*process, orders []roundOrder) ([]roundResult, error) {
	for i, p := range processes {
		if err := printJSON(p.in, orders[i]); err != nil {
			return nil, fmt.Errorf("order %s: %w", p.name, err)
		}
	}
	results := make([]roundResult, len(processes))
	for i, p := range processes {
		answer, err := p.out.ReadBytes('\n')
		if err != nil {
			return nil, fmt.Errorf("%s ended: %w", p.name, err)
		}
		if err = json.Unmarshal(answer, &results[i]); err != nil { //nolint:musttag // both ends are this program
			return nil, fmt.Errorf("%s: %w", p.name, err)
		}
		if results[i].Error != "" {
			return nil, fmt.Errorf("%s: %s", p.name, results[i].Error)
		}
	}
	return results, nil
}

// endPatience bounds how long a process may take to end by itself.
const endPatience = 20 * time.Second

// stop ends the processes and removes their data.
func (c *cluster) stop() {
	if c.clients != nil {
		c.clients.end()
	}
	// Their pipes are closed before the first is waited for: none is to wait for those that have gone.
	for _, p := range c.nodes {
		p.hangUp()
	}
	for _, p := range c.nodes {
		p.end()
	}
	if err := os.RemoveAll(c.dir); err != nil { //nolint:gosec // made by startCluster
		fmt.Fprintln(os.Stderr, "remove the data:", err)
	}
}

// hangUp tells the process to end: its input does. One that is writing an answer has no reader any more.
func (p *process) hangUp() {
	_ = p.in.Close()
	_ = p.pipe.Close()
}

func (p *process) end() {
	p.hangUp()
	timer := time.AfterFunc(endPatience, func() {
		_ = p.command.Process.Kill() // it may have ended this moment
	})
	defer timer.Stop()
	if err := p.command.Wait(); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", p.name, err)
	}
}
