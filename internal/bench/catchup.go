package bench

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/config"
)

// catchUpCase is the line of `bench catchup`.
type catchUpCase struct {
	Bytes          int64   `json:"bytes"` // of values in the group that is sent
	FillS          float64 `json:"fill_s"`
	CatchUpS       float64 `json:"catch_up_s"` // from the start of the emptied server until it is ready
	CompareS       float64 `json:"compare_s"`  // from then on until digests showed that it has the same rows
	MiBPerS        float64 `json:"mib_per_s"`
	SenderGrowth   float64 `json:"sender_heap_growth_mib"`        // of what is in use, the store's caches included
	ReceiverGrowth float64 `json:"receiver_heap_growth_mib"`      // likewise, from the start of its process on
	SenderPeak     float64 `json:"sender_heap_peak_growth_mib"`   // with garbage
	ReceiverPeak   float64 `json:"receiver_heap_peak_growth_mib"` // with garbage
	CalmPerS       float64 `json:"writes_per_s_calm"`             // to another group, with all three servers
	DuringPerS     float64 `json:"writes_per_s_during"`           // the same while the server catches up
	WorstMillis    float64 `json:"worst_wait_ms"`                 // of a writer from then on
	ReceivedMiB    float64 `json:"snapshot_mib_received"`         // compressed
}

// The fill of a table: rows with values that a snapshot compresses to about a fifth, written by a few clients. What is sent is
// read and checked uncompressed, so that the transfer is of all bytes. Each of the three stores takes as much room on the disk as the
// table has bytes, and its log 1 GiB more.
const (
	catchUpValue = 192 << 10 // bytes of one value, a third more as text
	catchUpPiece = 12 << 10  // of them are random, and repeated three times: what compresses looks back 64 KiB
	catchUpFill  = 6
)

// CatchUp fills a user's table of three real servers with about so many bytes, takes the disk of one away, lets writers
// go on in another group, and measures how the server comes back through snapshots. The servers run with a GOGC of 100: they
// collect garbage when the heap is twice what was in use at the last collection, which tells how much that was.
func CatchUp(ctx context.Context, bytes int64, clients int, out io.Writer) (err error) {
	defaults := config.Default().Cluster
	o := FailoverOptions{
		Clients: clients, HeartbeatMillis: defaults.HeartbeatIntervalMillis, ElectionMillis: defaults.ElectionTimeoutMillis, gcPercent: 100,
	}
	c, err := startServers(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.stop()) }()
	c.http.Timeout = 30 * time.Second
	result := &catchUpCase{}
	begun := time.Now()
	if result.Bytes, err = c.fill(ctx, bytes); err != nil {
		return fmt.Errorf("fill the table: %w", err)
	}
	result.FillS = round(time.Since(begun).Seconds())
	if err := c.catchUp(ctx, o, result); err != nil {
		return err
	}
	result.MiBPerS = round(float64(result.Bytes) / (1 << 20) / result.CatchUpS)
	return printJSON(out, result)
}

// fill writes the big table.
func (c *serverCluster) fill(ctx context.Context, bytes int64) (int64, error) {
	if _, err := c.sql(ctx, c.servers[0], "CREATE TABLE bench.big (id BIGINT PRIMARY KEY, v TEXT) WITH (TYPE = 'USER')"); err != nil {
		return 0, err
	}
	rows := bytes/int64(base64.StdEncoding.EncodedLen(catchUpValue)) + 1
	var running sync.WaitGroup
	failures := make([]error, catchUpFill)
	for i := range catchUpFill {
		running.Go(func() {
			random := rand.NewChaCha8([32]byte{byte(i)})
			value := make([]byte, catchUpValue)
			for id := int64(i); id < rows && failures[i] == nil; id += catchUpFill {
				if failures[i] = fillValue(random, value); failures[i] == nil {
					failures[i] = c.insertBig(ctx, c.servers[i%nodes], id, base64.StdEncoding.EncodeToString(value))
				}
			}
		})
	}
	running.Wait()
	return rows * int64(base64.StdEncoding.EncodedLen(catchUpValue)), errors.Join(failures...)
}

// fillValue makes a value.
func fillValue(random io.Reader, value []byte) error {
	for at := 0; at < len(value); at += 4 * catchUpPiece {
		piece := value[at : at+catchUpPiece]
		if _, err := random.Read(piece); err != nil {
			return err
		}
		for n := 1; n < 4; n++ {
			copy(value[at+n*catchUpPiece:], piece)
		}
	}
	return nil
}

// insertBig writes one row; a server that is overloaded is asked again, and a repeat finds the row there.
func (c *serverCluster) insertBig(ctx context.Context, s *server, id int64, value string) error {
	body := map[string]any{"sql": "INSERT INTO bench.big (id, v) VALUES ($1, $2)", "params": []any{id, value}}
	for attempt := 0; ; attempt++ {
		status, answer, err := c.post(ctx, s, "/v1/api/sql", body)
		switch {
		case err == nil && (status == http.StatusOK || attempt > 0 && strings.Contains(string(answer), "Primary key violation")):
			return nil
		case attempt == 100:
			return fmt.Errorf("row %d: %d %.200s %w", id, status, answer, err)
		}
		if err := rest(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
}

// catchUp empties the last server and lets it come back under load.
func (c *serverCluster) catchUp(ctx context.Context, o FailoverOptions, result *catchUpCase) error {
	load := c.startLoad(ctx, o, 0)
	defer load.stop()
	if err := load.settle(ctx); err != nil {
		return err
	}
	const calm = 3 * time.Second
	before := load.count()
	if err := rest(ctx, calm); err != nil {
		return err
	}
	result.CalmPerS = round(float64(load.count()-before) / calm.Seconds())

	late := c.servers[nodes-1]
	late.kill()
	if err := os.RemoveAll(strings.TrimSuffix(late.config, ".toml")); err != nil {
		return fmt.Errorf("empty a server: %w", err)
	}
	if err := load.settle(ctx); err != nil {
		return err
	}
	heaps := c.watchHeaps(ctx)
	load.resetGaps()
	before, begun := load.count(), time.Now()
	if err := late.start(ctx); err != nil {
		return err
	}
	// Only then is it read: what a query takes is not the transfer's.
	if err := c.serves(ctx, late); err != nil {
		return err
	}
	result.CatchUpS = round(time.Since(begun).Seconds())
	result.DuringPerS = round(float64(load.count()-before) / time.Since(begun).Seconds())
	result.WorstMillis = round(float64(load.worstGap().Microseconds()) / 1000)
	used, peak := heaps()
	result.SenderGrowth, result.ReceiverGrowth = round(max(used[0], used[1])/2), round(used[nodes-1]/2)
	result.SenderPeak, result.ReceiverPeak = round(max(peak[0], peak[1])), round(peak[nodes-1])
	received, err := c.metric(ctx, late, `kalamdb_snapshot_bytes_total{direction="received"}`)
	result.ReceivedMiB = round(received / (1 << 20))
	begun = time.Now()
	err = errors.Join(err, c.level(ctx, late))
	result.CompareS = round(time.Since(begun).Seconds())
	return err
}

// serves waits until a server says that it serves every group, or 20 minutes.
func (c *serverCluster) serves(ctx context.Context, s *server) error {
	deadline := time.Now().Add(20 * time.Minute)
	for {
		err := c.get(ctx, "http://"+s.api+"/readyz")
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the server is not ready: %w", err)
		}
		if err := rest(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
}

// level waits until a server has the rows of the big table that another one has.
func (c *serverCluster) level(ctx context.Context, s *server) error {
	deadline := time.Now().Add(10 * time.Minute)
	for {
		here, err := c.bigDigest(ctx, s)
		if err == nil {
			var there [][]any
			if there, err = c.bigDigest(ctx, c.servers[0]); err == nil && len(there) > 0 && fmt.Sprint(here) == fmt.Sprint(there) {
				return nil
			}
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the server did not catch up: %w", err)
		}
		if err := rest(ctx, 200*time.Millisecond); err != nil {
			return err
		}
	}
}

func (c *serverCluster) bigDigest(ctx context.Context, s *server) ([][]any, error) {
	return c.sql(ctx, s, "SELECT group_id, row_count, digest FROM system.table_digests WHERE namespace_id = 'bench' "+
		"AND table_name = 'big' AND row_count > 0 ORDER BY group_id")
}

// The measures of the servers' heaps that are watched: what was in use at the last collection, times two, and what there is, with
// garbage.
const (
	heapGoal = "go_memstats_next_gc_bytes"
	heapNow  = "go_memstats_heap_alloc_bytes"
)

// watchHeaps samples the servers' heaps until the function that it returns is called, which tells by how many MiB each measure
// grew at most since it was first seen. Once a second is seldom enough to take no processor from the servers: a page of metrics
// is some ten thousand bytes of text.
func (c *serverCluster) watchHeaps(ctx context.Context) func() (goal, now [nodes]float64) {
	ctx, cancel := context.WithCancel(ctx)
	var first, most [nodes][2]float64
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for rest(ctx, time.Second) == nil {
			for i, s := range c.servers {
				seen, err := c.metrics(ctx, s, heapGoal, heapNow)
				if err != nil {
					continue // it is starting
				}
				for k, heap := range seen {
					if first[i][k] == 0 {
						first[i][k] = heap
					}
					most[i][k] = max(most[i][k], heap-first[i][k])
				}
			}
		}
	}()
	return func() (goal, now [nodes]float64) {
		cancel()
		<-ended
		for i := range most {
			goal[i], now[i] = most[i][0]/(1<<20), most[i][1]/(1<<20)
		}
		return goal, now
	}
}

// metric reads one series of a server.
func (c *serverCluster) metric(ctx context.Context, s *server, series string) (float64, error) {
	found, err := c.metrics(ctx, s, series)
	return found[0], err
}

// metrics reads up to two series of a server.
func (c *serverCluster) metrics(ctx context.Context, s *server, series ...string) (found [2]float64, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.api+"/metrics", nil)
	if err != nil {
		return found, err
	}
	answer, err := c.http.Do(request)
	if err != nil {
		return found, err
	}
	defer func() { _ = answer.Body.Close() }() // it was read
	missing := len(series)
	lines := bufio.NewScanner(answer.Body)
	for lines.Scan() {
		for i, name := range series {
			if value, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
				if found[i], err = strconv.ParseFloat(value, 64); err != nil {
					return found, fmt.Errorf("read %s: %w", name, err)
				}
				missing--
			}
		}
	}
	if missing > 0 {
		err = fmt.Errorf("the metrics of a server do not show %s", strings.Join(series, ", "))
	}
	return found, errors.Join(err, lines.Err())
}
