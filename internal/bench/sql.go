package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"time"
)

// SQLOptions say which cases to run and for how long.
type SQLOptions struct {
	Cases    []string // names; none means all
	Duration time.Duration
}

// Validate reports the first option that cannot work.
func (o SQLOptions) Validate() error {
	for _, name := range o.Cases {
		if !slices.Contains(SQLCases(), name) {
			return fmt.Errorf("case %q is none of %v", name, SQLCases())
		}
	}
	if o.Duration <= 0 {
		return errors.New("want a duration above zero")
	}
	return nil
}

// sqlCase is one printed result. CPU is that of the servers; allocations are those of the engine cases, whose engine
// is in this process.
type sqlCase struct {
	Case      string  `json:"case"`
	OpsPerSec float64 `json:"ops_per_s"`
	// LeastMicros is the fastest one, which hardly depends on what else the machine does.
	LeastMicros float64 `json:"least_us"`
	P50Micros   float64 `json:"p50_us"`
	P99Micros   float64 `json:"p99_us"`
	Allocs      float64 `json:"allocs_per_op,omitempty"`
	CPUMicros   float64 `json:"cpu_us_per_op,omitempty"`
	// NodeMicros is CPUMicros by node, that which leads the group of the table first; LoadMicros is what the clients took.
	NodeMicros []float64 `json:"node_cpu_us_per_op,omitempty"`
	LoadMicros float64   `json:"load_cpu_us_per_op,omitempty"`
	Clients    int       `json:"clients"`
	Nodes      int       `json:"nodes"`
}

// sqlCaseOf is a case before it runs.
type sqlCaseOf struct {
	name    string
	nodes   int // zero: the engine alone, in this process
	clients int
	// sql is the statement of an engine case; request makes the body of a client's n-th request.
	sql     string
	request func(client, n int) string
	follow  bool // clients go to the node that leads what they change, as those of package client do
}

// requestsPerClient keeps the keys of clients apart.
const requestsPerClient = 10_000_000

var sqlCases = []sqlCaseOf{
	{name: "point_read_engine", clients: 1, sql: "SELECT id, kind, amount FROM events WHERE id = $1"},
	{name: "filter_top20_engine", clients: 1, sql: "SELECT id, amount FROM events WHERE id <= 1000 AND amount < 900 ORDER BY amount DESC LIMIT 20"},
	{name: "aggregate_100k_engine", clients: 1, sql: "SELECT kind, COUNT(*), SUM(amount) FROM events GROUP BY kind"},
	{
		name: "hash_join_100k_engine", clients: 1,
		sql: "SELECT COUNT(*), MAX(name) FROM events JOIN names ON names.amount = events.amount",
	},
	{name: "insert_http_1_client", nodes: 1, clients: 1, request: insertRequest},
	{name: "insert_http_256_clients_3_nodes", nodes: nodes, clients: 256, request: insertRequest, follow: true},
	{name: "insert_http_256_clients_any_of_3_nodes", nodes: nodes, clients: 256, request: insertRequest},
	{name: "point_select_http_64_clients", nodes: 1, clients: 64, request: func(client, n int) string {
		return `{"sql":"SELECT id, body FROM bench.rows WHERE id = $1","params":[` + strconv.Itoa((client*31+n)%sqlRows) + `]}`
	}},
	{name: "select_1_http_64_clients", nodes: 1, clients: 64, request: selectOne},
	{name: "select_1_http_1_client", nodes: 1, clients: 1, request: selectOne},
}

func selectOne(int, int) string { return `{"sql":"SELECT 1"}` }

func insertRequest(client, n int) string {
	return `{"sql":"INSERT INTO bench.rows (id, body) VALUES ($1, 'the body of a row that is not very long')","params":[` +
		strconv.Itoa((client+1)*requestsPerClient+n) + `]}`
}

// SQLCases lists the names of the cases.
func SQLCases() []string {
	names := make([]string, len(sqlCases))
	for i := range sqlCases {
		names[i] = sqlCases[i].name
	}
	return names
}

// SQL measures statements: the engine in this process over a store on disk, and real servers over HTTP on loopback
// with real sync. It prints one JSON object for each case.
func SQL(ctx context.Context, o SQLOptions, out io.Writer) error {
	if err := o.Validate(); err != nil {
		return err
	}
	for i := range sqlCases {
		c := &sqlCases[i]
		if len(o.Cases) > 0 && !slices.Contains(o.Cases, c.name) {
			continue
		}
		run := runHTTPCase
		if c.nodes == 0 {
			run = runEngineCase
		}
		result, err := run(ctx, o, c)
		if err != nil {
			return fmt.Errorf("case %s: %w", c.name, err)
		}
		if err := printJSON(out, result); err != nil {
			return err
		}
	}
	return nil
}

// summarize makes the result of a case from what every client measured.
func (c *sqlCaseOf) summarize(took []latencies, elapsed time.Duration) *sqlCase {
	all := merge(took)
	return &sqlCase{
		Case: c.name, OpsPerSec: round(float64(len(all)) / elapsed.Seconds()), Clients: c.clients, Nodes: max(1, c.nodes),
		LeastMicros: round(1000 * all.quantile(0)), P50Micros: round(1000 * all.quantile(0.5)), P99Micros: round(1000 * all.quantile(0.99)),
	}
}

// closedLoops runs clients until the time is over. Each is asked again and again with the number of its request.
func closedLoops(ctx context.Context, clients int, duration time.Duration, ask func(client, n int) error) ([]latencies, error) {
	took, failed := make([]latencies, clients), make([]error, clients)
	deadline := time.Now().Add(duration)
	var running sync.WaitGroup
	for client := range clients {
		running.Go(func() {
			started := time.Now()
			for n := 0; started.Before(deadline) && ctx.Err() == nil; n++ {
				if failed[client] = ask(client, n); failed[client] != nil {
					return
				}
				now := time.Now()
				took[client] = append(took[client], now.Sub(started))
				started = now
			}
		})
	}
	running.Wait()
	return took, errors.Join(append(failed, ctx.Err())...)
}

// runEngineCase runs a statement in this process.
func runEngineCase(ctx context.Context, o SQLOptions, c *sqlCaseOf) (result *sqlCase, err error) {
	engine, err := openSQLEngine(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, engine.close()) }()
	if err = engine.fill(ctx); err != nil {
		return nil, err
	}
	ask := func(_, n int) error { return engine.run(ctx, c.sql, n) }
	if _, err = closedLoops(ctx, 1, o.Duration/10, ask); err != nil { // the plan is cached, the store is warm
		return nil, err
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	started := time.Now()
	took, err := closedLoops(ctx, c.clients, o.Duration, ask)
	if err != nil {
		return nil, err
	}
	elapsed := time.Since(started)
	runtime.ReadMemStats(&after)
	result = c.summarize(took, elapsed)
	result.Allocs = round(float64(after.Mallocs-before.Mallocs) / float64(len(merge(took))))
	return result, nil
}

// runHTTPCase asks real servers, each client one of them over a connection of its own: of several nodes the next one in turn, where it
// stays, or from which it goes on to the node that the answers name.
func runHTTPCase(ctx context.Context, o SQLOptions, c *sqlCaseOf) (result *sqlCase, err error) {
	servers, err := startLiveServers(ctx, c.nodes)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, servers.stop()) }()
	if err = servers.fillRows(ctx); err != nil {
		return nil, err
	}
	clients, err := newSQLLoad(c.clients)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, clients.close()) }()
	asks := sqlAsks{c.request, func(api string) (*sqlConnection, error) { return dialSQL(ctx, api, servers.token, c.follow) }}
	for i := range c.clients {
		connection, failed := asks.dial(servers.servers[i%c.nodes].api)
		if failed != nil {
			return nil, failed
		}
		if err = clients.add(connection); err != nil {
			return nil, err
		}
	}
	if _, err = clients.run(ctx, o.Duration/10, requestsPerClient/2, asks); err != nil {
		return nil, err
	}
	leader := 0
	if c.nodes > 1 {
		if leader, err = servers.leader(ctx); err != nil {
			return nil, err
		}
	}
	load, before := cpuTime(), servers.cpuByServer()
	started := time.Now()
	took, err := clients.run(ctx, o.Duration, 0, asks)
	if err != nil {
		return nil, err
	}
	elapsed := time.Since(started)
	load, after := cpuTime()-load, servers.cpuByServer()
	result = c.summarize(took, elapsed)
	each := func(d time.Duration) float64 { return round(float64(d.Microseconds()) / float64(len(merge(took)))) }
	result.LoadMicros = each(load)
	for i := range after {
		after[i] -= before[i]
		result.CPUMicros += each(after[i])
	}
	result.CPUMicros = round(result.CPUMicros)
	after[0], after[leader] = after[leader], after[0]
	for _, spent := range after {
		result.NodeMicros = append(result.NodeMicros, each(spent))
	}
	return result, nil
}
