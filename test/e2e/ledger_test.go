package e2e

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"
)

// ledger is a set of writers that insert rows as fast as they are answered, and remember which rows were
// acknowledged. Even writers write to the shared table app.ledger as root, odd ones to the private table
// app.diary as users of their own.
type ledger struct {
	writers []*writer
	stopped context.CancelFunc
	running sync.WaitGroup
}

// writer is one client with its own range of ids.
type writer struct {
	client *client
	nodes  []*node
	table  string
	first  int64 // its ids begin here

	mu           sync.Mutex // guards the fields below
	acknowledged []int64    // ascending
	attempted    int64      // ids first..first+attempted-1 were sent
	broken       []string   // answers that must never be given
}

const idsPerWriter = 1_000_000

// createLedger makes the tables and users of a ledger with this number of writers.
func createLedger(t *testing.T, root *client, writers int) {
	t.Helper()
	root.must(t, "CREATE NAMESPACE app")
	root.must(t, "CREATE TABLE app.ledger (id BIGINT PRIMARY KEY, note TEXT NOT NULL) WITH (TYPE = 'SHARED')")
	root.must(t, "CREATE TABLE app.diary (id BIGINT PRIMARY KEY, note TEXT NOT NULL) WITH (TYPE = 'USER')")
	for w := 1; w < writers; w += 2 {
		root.must(t, fmt.Sprintf("CREATE USER writer%d WITH PASSWORD 'password-%d' ROLE user", w, w))
	}
}

// openLedger prepares writers for tables that exist; write starts them.
func openLedger(t *testing.T, c *cluster, root *client, writers int) *ledger {
	t.Helper()
	l := &ledger{}
	for w := range writers {
		next := &writer{client: root, nodes: c.nodes, table: "app.ledger", first: int64(w)*idsPerWriter + 1}
		if w%2 == 1 {
			name, password := fmt.Sprintf("writer%d", w), fmt.Sprintf("password-%d", w)
			next.client, next.table = c.nodes[0].login(t, name, password), "app.diary"
		}
		l.writers = append(l.writers, next)
	}
	t.Cleanup(l.stop)
	return l
}

// write starts the writers; each begins at another node and moves on when a node does not answer well.
func (l *ledger) write(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	l.stopped = cancel
	for i, w := range l.writers {
		l.running.Go(func() { w.run(ctx, i) })
	}
}

// stop ends the writers and waits for them. A statement that is under way is given up; its row may exist.
func (l *ledger) stop() {
	if l.stopped != nil {
		l.stopped()
	}
	l.running.Wait()
}

func (w *writer) run(ctx context.Context, node int) {
	for ctx.Err() == nil {
		w.mu.Lock()
		id := w.first + w.attempted
		w.attempted++
		w.mu.Unlock()
		node = w.insert(ctx, id, node)
	}
}

// insert sends one row until it is acknowledged or the ledger stops, and returns the node that answered.
func (w *writer) insert(ctx context.Context, id int64, node int) int {
	pause := time.NewTicker(20 * time.Millisecond)
	defer pause.Stop()
	for attempt := 0; ctx.Err() == nil; attempt++ {
		at := w.nodes[node%len(w.nodes)]
		bounded, cancel := context.WithTimeout(ctx, 3*time.Second)
		got, err := w.client.at(at).sql(bounded, "INSERT INTO "+w.table+" (id, note) VALUES ($1, $2)", id, note(id))
		cancel()
		switch {
		case err == nil && (got.ok() || attempt > 0 && got.duplicate()):
			w.mu.Lock()
			w.acknowledged = append(w.acknowledged, id)
			w.mu.Unlock()
			return node
		case err == nil && got.duplicate():
			w.mu.Lock()
			w.broken = append(w.broken, fmt.Sprintf("first INSERT of %d at %v: %v", id, at, got))
			w.mu.Unlock()
			return node
		}
		node++
		select {
		case <-pause.C:
		case <-ctx.Done():
		}
	}
	return node
}

func note(id int64) string { return fmt.Sprintf("row %d", id) }

// acknowledged counts the rows of all writers.
func (l *ledger) acknowledged() int {
	total := 0
	for _, w := range l.writers {
		w.mu.Lock()
		total += len(w.acknowledged)
		w.mu.Unlock()
	}
	return total
}

// waitFor returns once every writer has had this many more rows acknowledged.
func (l *ledger) waitFor(t *testing.T, more int) {
	t.Helper()
	before := make([]int, len(l.writers))
	for i, w := range l.writers {
		w.mu.Lock()
		before[i] = len(w.acknowledged)
		w.mu.Unlock()
	}
	eventually(t, fmt.Sprintf("%d more rows of every writer", more), func() error {
		for i, w := range l.writers {
			w.mu.Lock()
			done := len(w.acknowledged) - before[i]
			w.mu.Unlock()
			if done < more {
				return fmt.Errorf("writer %d has %d", i, done)
			}
		}
		return nil
	})
}

// rows returns the ids that the writer's user sees in its table at the node.
func (w *writer) rows(t *testing.T, at *node) []int64 {
	t.Helper()
	const page = 1000
	reader := w.client.at(at)
	ids := []int64{}
	last := w.first - 1
	for {
		got := reader.soon(t, "SELECT id, note FROM "+w.table+" WHERE id > $1 AND id < $2 ORDER BY id LIMIT 1000",
			last, w.first+idsPerWriter)
		for _, row := range got.rows() {
			last = integer(t, row[0])
			ids = append(ids, last)
			if row[1] != note(last) {
				t.Errorf("%v: row %d of %s holds %v, want %q", at, last, w.table, row[1], note(last))
			}
		}
		if len(got.rows()) < page {
			return ids
		}
	}
}

// wantAll checks at every given node that each acknowledged row is there, once, and no row that was
// never sent. The ledger must be stopped.
func (l *ledger) wantAll(t *testing.T, nodes []*node) {
	t.Helper()
	for i, w := range l.writers {
		for _, broken := range w.broken {
			t.Errorf("writer %d: %s", i, broken)
		}
		for _, n := range nodes {
			ids := w.rows(t, n)
			var missing []int64
			for _, id := range w.acknowledged {
				if _, found := slices.BinarySearch(ids, id); !found {
					missing = append(missing, id)
				}
			}
			if len(missing) > 0 {
				t.Errorf("%v lost %d of %d acknowledged rows of writer %d, first %d",
					n, len(missing), len(w.acknowledged), i, missing[0])
			}
			if len(ids) > 0 && ids[len(ids)-1] >= w.first+w.attempted {
				t.Errorf("%v has row %d of writer %d, which was never sent", n, ids[len(ids)-1], i)
			}
		}
	}
	if !t.Failed() {
		t.Logf("%d acknowledged rows found on %v", l.acknowledged(), nodes)
	}
}
