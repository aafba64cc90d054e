package bench

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// idsPerRound and idsPerClient keep the rows of rounds and clients apart.
const (
	idsPerClient = 1_000_000
	idsPerRound  = 1_000_000_000
)

// load is closed-loop clients that write rows and remember which were acknowledged and how long each had to
// wait from one acknowledgement to the next.
type load struct {
	cluster *serverCluster
	cancel  context.CancelFunc
	running sync.WaitGroup
	clients []*loadClient
}

type loadClient struct {
	first int64

	mu    sync.Mutex // guards all below
	acked []int64
	last  time.Time     // of the last acknowledgement, or of the last reset
	worst time.Duration // longest wait since the last reset
	since int           // acknowledgements since the last reset
}

func (c *serverCluster) startLoad(ctx context.Context, o FailoverOptions, first int64) *load {
	ctx, cancel := context.WithCancel(ctx)
	l := &load{cluster: c, cancel: cancel}
	for i := range o.Clients {
		client := &loadClient{first: first + int64(i)*idsPerClient, last: time.Now()}
		l.clients = append(l.clients, client)
		l.running.Go(func() { l.run(ctx, client, i) })
	}
	return l
}

// run writes one row after the other; a row is sent until it is acknowledged, to the next server whenever
// one does not answer well.
func (l *load) run(ctx context.Context, client *loadClient, at int) {
	for id := client.first; ctx.Err() == nil; id++ {
		statement := map[string]string{"sql": fmt.Sprintf("INSERT INTO bench.failover (id) VALUES (%d)", id)}
		for attempt := 0; ctx.Err() == nil; attempt++ {
			status, body, err := l.cluster.post(ctx, l.cluster.servers[at%nodes], "/v1/api/sql", statement)
			// A row that an earlier attempt wrote is there.
			if err == nil && (status == http.StatusOK || attempt > 0 && strings.Contains(string(body), "Primary key violation")) {
				client.acknowledge(id)
				break
			}
			at++
			if rest(ctx, 5*time.Millisecond) != nil {
				return
			}
		}
	}
}

func (c *loadClient) acknowledge(id int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	c.worst = max(c.worst, now.Sub(c.last))
	c.last = now
	c.acked = append(c.acked, id)
	c.since++
}

// resetGaps begins to measure anew.
func (l *load) resetGaps() {
	for _, c := range l.clients {
		c.mu.Lock()
		c.worst, c.since = 0, 0
		c.mu.Unlock()
	}
}

// worstGap is the longest wait of any client since the last reset.
func (l *load) worstGap() time.Duration {
	worst := time.Duration(0)
	for _, c := range l.clients {
		c.mu.Lock()
		worst = max(worst, c.worst)
		c.mu.Unlock()
	}
	return worst
}

// settle returns once every client was served several times since it was called.
func (l *load) settle(ctx context.Context) error {
	const served = 20
	before := make([]int, len(l.clients))
	for i, c := range l.clients {
		c.mu.Lock()
		before[i] = len(c.acked)
		c.mu.Unlock()
	}
	deadline := time.Now().Add(failoverRecover)
	for {
		behind := 0
		for i, c := range l.clients {
			c.mu.Lock()
			if len(c.acked) < before[i]+served {
				behind++
			}
			c.mu.Unlock()
		}
		if behind == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%d of %d clients are not served after %v", behind, len(l.clients), failoverRecover)
		}
		if err := rest(ctx, 10*time.Millisecond); err != nil {
			return err
		}
	}
}

// stop ends the clients. What they are just writing is not acknowledged.
func (l *load) stop() {
	l.cancel()
	l.running.Wait()
}

// count is how many writes were acknowledged so far.
func (l *load) count() int {
	total := 0
	for _, c := range l.clients {
		c.mu.Lock()
		total += len(c.acked)
		c.mu.Unlock()
	}
	return total
}

func (l *load) acknowledged() int {
	total := 0
	for _, c := range l.clients {
		total += len(c.acked)
	}
	return total
}

// countLost reads every row back and counts the acknowledged ones that are missing. The load has stopped.
func (c *serverCluster) countLost(ctx context.Context, l *load) (int, error) {
	lost := 0
	for i, client := range l.clients {
		found := map[int64]bool{}
		last := client.first - 1
		for {
			rows, err := c.sql(ctx, c.servers[i%nodes], fmt.Sprintf("SELECT id FROM bench.failover WHERE id > %d AND id < %d "+
				"ORDER BY id LIMIT 1000", last, client.first+idsPerClient))
			if err != nil {
				return 0, err
			}
			for _, row := range rows {
				id, err := strconv.ParseInt(fmt.Sprint(row[0]), 10, 64)
				if err != nil {
					return 0, errors.Join(errors.New("an id that is no number"), err)
				}
				found[id], last = true, id
			}
			if len(rows) < 1000 {
				break
			}
		}
		lost += len(slices.DeleteFunc(slices.Clone(client.acked), func(id int64) bool { return found[id] }))
	}
	return lost, nil
}
