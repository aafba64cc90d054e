package demo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/clock"
)

// Bounds of the writer.
const (
	lanes          = 8               // inserts under way at once
	maxLatencies   = 1 << 16         // measurements kept between two status lines; further ones are dropped
	attemptTimeout = 5 * time.Second // of one INSERT
	retryPause     = 50 * time.Millisecond
)

// writer inserts rows through all nodes in turn. Lane n of it owns the ids base+n, base+n+lanes, … and
// repeats each id until it is acknowledged, so a count for each lane says which rows must exist.
type writer struct {
	session *session
	urls    []string
	base    int64
	pace    time.Duration // between two inserts of one lane

	mu           sync.Mutex // guards the fields below
	acknowledged [lanes]int64
	latencies    []time.Duration // since the last report
	reported     int64           // rows acknowledged at the last report
}

// newWriter prepares a writer whose ids follow those that are there.
func newWriter(ctx context.Context, s *session, c *cluster, perSecond int) (*writer, error) {
	rows, err := s.query(ctx, c.url(0), "SELECT MAX(id) FROM "+sampleTable)
	if err != nil {
		return nil, fmt.Errorf("read the newest row: %w", err)
	}
	if len(rows) != 1 || len(rows[0]) != 1 {
		return nil, fmt.Errorf("read the newest row: got %d rows", len(rows))
	}
	newest, err := whole(rows[0][0])
	if err != nil {
		return nil, fmt.Errorf("read the newest row: %w", err)
	}
	w := &writer{session: s, base: newest + 1, pace: lanes * time.Second / time.Duration(perSecond)}
	for node := range c.nodes {
		w.urls = append(w.urls, c.url(node))
	}
	return w, nil
}

// start begins to write and returns a channel that is closed when ctx has ended and every lane is done.
func (w *writer) start(ctx context.Context) <-chan struct{} {
	var running sync.WaitGroup
	for lane := range lanes {
		running.Go(func() { w.write(ctx, lane) })
	}
	done := make(chan struct{})
	go func() {
		running.Wait()
		close(done)
	}()
	return done
}

func (w *writer) write(ctx context.Context, lane int) {
	tick := time.NewTicker(max(w.pace, time.Microsecond))
	defer tick.Stop()
	for node := lane; ; node++ {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		w.mu.Lock()
		id := w.base + int64(lane) + lanes*w.acknowledged[lane]
		w.mu.Unlock()
		took, ok := w.insert(ctx, id, node)
		if !ok {
			return
		}
		w.mu.Lock()
		w.acknowledged[lane]++
		if len(w.latencies) < maxLatencies {
			w.latencies = append(w.latencies, took)
		}
		w.mu.Unlock()
	}
}

// insert repeats one row at one node after the other until it is acknowledged; ok is false when ctx ended
// first. A row that is there on a repeat was written by an attempt whose answer was lost. An attempt
// under way when ctx ends is finished.
func (w *writer) insert(ctx context.Context, id int64, node int) (took time.Duration, ok bool) {
	for attempt := 0; ; attempt++ {
		started := time.Now()
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), attemptTimeout)
		_, err := w.session.query(bounded, w.urls[(node+attempt)%len(w.urls)],
			"INSERT INTO "+sampleTable+" (id, body) VALUES ($1, $2)", id, fmt.Sprintf("note %d", id))
		cancel()
		var refused *refusal
		repeated := attempt > 0 && errors.As(err, &refused) && strings.Contains(refused.message, "Primary key violation")
		if err == nil || repeated {
			return time.Since(started), true
		}
		if clock.Pause(ctx, clock.Real{}, retryPause) != nil {
			return 0, false
		}
	}
}

// total counts the acknowledged rows.
func (w *writer) total() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.sum()
}

// sum is total for callers that hold mu.
func (w *writer) sum() int64 {
	total := int64(0)
	for _, count := range w.acknowledged {
		total += count
	}
	return total
}

// report returns the rows acknowledged since the last report and the 99th percentile of their latency.
func (w *writer) report() (rows int64, p99 time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	total := w.sum()
	rows, w.reported = total-w.reported, total
	if len(w.latencies) > 0 {
		slices.Sort(w.latencies)
		p99 = w.latencies[len(w.latencies)*99/100]
	}
	w.latencies = w.latencies[:0]
	return rows, p99
}

// owns reports whether an id was acknowledged.
func (w *writer) owns(id int64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	offset := id - w.base
	return offset >= 0 && offset/lanes < w.acknowledged[offset%lanes]
}
