package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// LiveOptions say what of live queries to measure.
type LiveOptions struct {
	Cases    []string      // names of liveCases; none means all
	Duration time.Duration // of each case under load
	// Connections and Subscriptions are of the cases that hold many of them.
	Connections, Subscriptions int
}

// Validate reports the first option that cannot work.
func (o LiveOptions) Validate() error {
	if o.Duration < 100*time.Millisecond || o.Connections < 1 || o.Subscriptions < 1 {
		return errors.New("want a duration of at least 100ms, connections and subscriptions")
	}
	for _, name := range o.Cases {
		if !slices.ContainsFunc(liveCases, func(c liveCaseOf) bool { return c.name == name }) {
			return fmt.Errorf("case %q is none of %s", name, strings.Join(LiveCases(), ", "))
		}
	}
	return nil
}

// LiveCases are the names of all cases.
func LiveCases() []string {
	names := make([]string, len(liveCases))
	for i, c := range liveCases {
		names[i] = c.name
	}
	return names
}

// liveCase is one line of output. Rate is what was asked of the writers, per second; zero is as fast as they can.
type liveCase struct {
	Case          string  `json:"case"`
	Connections   int     `json:"connections"`
	Subscriptions int     `json:"subscriptions"`
	Rate          int     `json:"rate"`
	Value         float64 `json:"value"`
	Unit          string  `json:"unit"`
	P50           float64 `json:"p50_us"`
	P99           float64 `json:"p99_us"`
	CPU           float64 `json:"cpu_us_per_frame"` // of the server, or of all servers
	// AckP50 is until the writer has its answer: an event may come before, and hardly after.
	AckP50 float64 `json:"ack_p50_us,omitempty"`
	// CPUPerInsert is what an INSERT takes of the server in all.
	CPUPerInsert float64 `json:"cpu_us_per_insert,omitempty"`
}

// liveCaseOf is one case; each has servers of its own. Without nodes it is a process that is a node up to its live
// queries, see LiveNode.
type liveCaseOf struct {
	name  string
	nodes int
	run   func(*liveLab) error
}

var liveCases = []liveCaseOf{
	{"idle_connections", 1, (*liveLab).idleConnections},
	{"subscribe", 1, (*liveLab).subscribeMany},
	{"fan_out", 1, (*liveLab).fanOut},
	{"one_to_10000", 1, (*liveLab).oneToMany},
	{"change_ready_1000_per_s_to_10", 0, (*liveLab).readyToEvent},
	{"event_1000_per_s_to_10", 1, func(l *liveLab) error { return l.insertToEvent(10, 1000, 10) }},
	{"event_100_per_s_to_1", 1, func(l *liveLab) error { return l.insertToEvent(1, 100, 1) }},
	{"event_100_per_s_to_100", 1, func(l *liveLab) error { return l.insertToEvent(100, 100, 100) }},
	{"insert_kept", 1, (*liveLab).insertsKept},
	{"match_curve", 1, (*liveLab).matchCurve},
	{"select", 1, (*liveLab).selects},
	{"follower", nodes, func(l *liveLab) error { return l.insertToEvent(1000, 1000, 1) }},
}

// Live measures live queries of real servers over real sockets and prints one JSON object for each case. The
// servers are processes of this program; the clients are this process.
func Live(ctx context.Context, o LiveOptions, out io.Writer) error {
	if err := o.Validate(); err != nil {
		return err
	}
	if err := raiseOpenFiles(2*o.Connections + 2048); err != nil {
		return err
	}
	for _, c := range liveCases {
		if len(o.Cases) > 0 && !slices.Contains(o.Cases, c.name) {
			continue
		}
		if err := runLiveCase(ctx, o, c, out); err != nil {
			return fmt.Errorf("case %s: %w", c.name, err)
		}
	}
	return nil
}

func runLiveCase(ctx context.Context, o LiveOptions, c liveCaseOf, out io.Writer) (err error) {
	var servers *serverCluster
	var node *liveNodeProcess
	if c.nodes > 0 {
		servers, err = startLiveServers(ctx, c.nodes)
	} else {
		servers, node, err = startLiveNode(ctx)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, servers.stop()) }()
	l := &liveLab{serverCluster: servers, node: node, ctx: ctx, options: o, name: c.name, out: out}
	defer l.disconnect()
	defer l.writers.close()
	return c.run(l)
}

// liveLab is the clients of one case.
type liveLab struct {
	*serverCluster
	node    *liveNodeProcess // of the cases without servers
	ctx     context.Context  //nolint:containedctx // a case is one call
	options LiveOptions
	name    string
	out     io.Writer
	target  int // the server of the sockets
	sockets []*liveSocket
	readers liveReaders
	writers liveWriters
	nextID  atomic.Int64
	untimed bool // sockets count events and do not look when they come
}

func (l *liveLab) print(c liveCase) error {
	if c.Case == "" {
		c.Case = l.name
	}
	if c.Connections == 0 {
		c.Connections = len(l.sockets)
	}
	c.Value, c.P50, c.P99, c.CPU, c.CPUPerInsert = round(c.Value), round(c.P50), round(c.P99), round(c.CPU), round(c.CPUPerInsert)
	return printJSON(l.out, c)
}

// idleConnections is what an authenticated connection costs that does nothing.
func (l *liveLab) idleConnections() error {
	if err := l.connect(64); err != nil { // what the first connections need once
		return err
	}
	before, err := l.settledRSS()
	if err != nil {
		return err
	}
	if err = l.connect(l.options.Connections); err != nil {
		return err
	}
	after, err := l.settledRSS()
	if err != nil {
		return err
	}
	return l.print(liveCase{Value: float64(after-before) / float64(l.options.Connections), Unit: "B_rss_per_connection"})
}

// subscribeMany is how long subscriptions take to be made, and what one costs.
func (l *liveLab) subscribeMany() error {
	connections := max(1, l.options.Subscriptions/subscriptionsPerSocket)
	if err := l.connect(connections); err != nil {
		return err
	}
	heapBefore, err := l.liveHeap()
	if err != nil {
		return err
	}
	before, err := l.settledRSS()
	if err != nil {
		return err
	}
	cpu, begin := l.cpu(), time.Now()
	if err = l.subscribeRooms(l.options.Subscriptions, l.options.Subscriptions/10); err != nil {
		return err
	}
	took, cpu := time.Since(begin), l.cpu()-cpu
	after, err := l.settledRSS()
	if err != nil {
		return err
	}
	heapAfter, err := l.liveHeap()
	if err != nil {
		return err
	}
	n := float64(l.options.Subscriptions)
	err = l.print(liveCase{
		Case: "subscribe", Subscriptions: l.options.Subscriptions, Value: took.Seconds(), Unit: "s",
		CPU: float64(cpu.Microseconds()) / n,
	})
	return errors.Join(err, l.print(liveCase{
		Case: "subscription_heap", Subscriptions: l.options.Subscriptions, Value: (heapAfter - heapBefore) / n, Unit: "B_heap_per_subscription",
	}), l.print(liveCase{
		Case: "subscription_memory", Subscriptions: l.options.Subscriptions, Value: float64(after-before) / n, Unit: "B_rss_per_subscription",
	}))
}

// fanOut is bursts of changes that all of 1,000 connections see.
func (l *liveLab) fanOut() error {
	const receivers, burst = 1000, 500
	if err := l.connect(receivers); err != nil {
		return err
	}
	if err := l.subscribeAll(receivers); err != nil {
		return err
	}
	statement := func() string {
		rows := make([]string, burst)
		for i := range rows {
			rows[i] = fmt.Sprintf("(%d, 1, 0, '%s')", l.nextID.Add(1), liveBody)
		}
		return "INSERT INTO bench.live VALUES " + strings.Join(rows, ",")
	}
	frames, cpu := l.frames(), l.cpu()
	begin := time.Now()
	var delivering time.Duration
	for time.Since(begin) < l.options.Duration {
		want := l.frames() + receivers*burst
		text := statement()
		started := time.Now()
		if _, err := l.sql(l.ctx, l.servers[0], text); err != nil {
			return err
		}
		if err := l.await(want); err != nil {
			return err
		}
		delivering += time.Since(started)
	}
	frames = l.frames() - frames
	return l.print(liveCase{
		Subscriptions: receivers, Value: float64(frames) / delivering.Seconds(), Unit: "frames_per_s",
		CPU: float64((l.cpu() - cpu).Microseconds()) / float64(frames),
	})
}

// oneToMany is one change at a time to 10,000 subscriptions of 1,000 connections.
func (l *liveLab) oneToMany() error {
	const connections, subscriptions = 1000, 10_000
	if err := l.connect(connections); err != nil {
		return err
	}
	if err := l.subscribeAll(subscriptions); err != nil {
		return err
	}
	frames, cpu := l.frames(), l.cpu()
	var took latencies
	for begin := time.Now(); time.Since(begin) < l.options.Duration; {
		want := l.frames() + subscriptions
		started := time.Now()
		if err := l.insert(1); err != nil {
			return err
		}
		if err := l.await(want); err != nil {
			return err
		}
		took = append(took, time.Since(started))
	}
	slices.Sort(took)
	frames = l.frames() - frames
	return l.print(liveCase{
		Subscriptions: subscriptions, Value: float64(frames) / float64(len(took)), Unit: "frames_per_change",
		P50: 1000 * took.quantile(0.5), P99: 1000 * took.quantile(0.99), CPU: float64((l.cpu() - cpu).Microseconds()) / float64(frames),
	})
}

// insertToEvent is the time from the start of an INSERT to the event at each of those that see it.
func (l *liveLab) insertToEvent(subscriptions, rate, matching int) error {
	if len(l.servers) > 1 {
		leader, err := l.leader(l.ctx)
		if err != nil {
			return err
		}
		l.target = (leader + 1) % len(l.servers)
		l.servers[0], l.servers[leader] = l.servers[leader], l.servers[0]
		if l.target == 0 {
			l.target = leader
		}
	}
	if err := l.connect(subscriptions); err != nil {
		return err
	}
	rooms := subscriptions / matching
	if err := l.subscribeRooms(subscriptions, rooms); err != nil {
		return err
	}
	l.takeLatencies() // what came before does not count
	l.writers.takeWaits()
	frames, cpu := l.frames(), l.cpu()
	count, err := l.paced(rate, rooms)
	if err != nil {
		return err
	}
	if err := l.await(frames + int64(count*matching)); err != nil {
		return err
	}
	took := l.takeLatencies()
	frames = l.frames() - frames
	return l.print(liveCase{
		Subscriptions: subscriptions, Rate: rate, Value: float64(count) / l.options.Duration.Seconds(), Unit: "changes_per_s",
		P50: 1000 * took.quantile(0.5), P99: 1000 * took.quantile(0.99), CPU: float64((l.cpu() - cpu).Microseconds()) / float64(frames),
		AckP50: round(1000 * l.writers.takeWaits().quantile(0.5)),
	})
}
