package e2e

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	kalam "github.com/kalamdb/kalamdb-go/client"
)

// liveTables makes the tables that watchers follow, with one row.
func (c *cluster) liveTables(t *testing.T) *client {
	t.Helper()
	root := c.nodes[0].root(t)
	root.soon(t, "CREATE NAMESPACE app")
	for _, table := range []string{"live (id BIGINT PRIMARY KEY, n BIGINT, body TEXT)", "a (id BIGINT PRIMARY KEY, n BIGINT)", "b (id BIGINT PRIMARY KEY, n BIGINT)"} {
		root.must(t, "CREATE TABLE app."+table+" WITH (TYPE = 'SHARED')")
	}
	root.must(t, "INSERT INTO app.live VALUES (1, 2, '')")
	return root
}

// watched is a cluster whose clients follow live queries at every node while others write.
type watched struct {
	c            *cluster
	watchers     []*watcher
	slowly       int           // so many of the first read slowly
	slow         chan struct{} // closed when those that read slowly read on
	acknowledged atomic.Int64
	stopWriting  context.CancelFunc

	reading, writing sync.WaitGroup
}

// watch lets nine clients have their initial rows, batch by batch; zero is the usual size. So many of the first do not read on
// until the end.
func (c *cluster) watch(ctx context.Context, t *testing.T, batchSize, slow int) *watched {
	t.Helper()
	m := &watched{c: c, watchers: make([]*watcher, 9), slowly: slow, slow: make(chan struct{})}
	for i := range m.watchers {
		w := &watcher{sql: "SELECT * FROM app.live", view: kalam.NewView("id"), begun: make(chan struct{})}
		if i%3 == 2 {
			w.sql += " WHERE n % 2 = 0 OR id = " + sentinel
		}
		m.watchers[i] = w
		live := c.liveClient(t, i).Subscribe(kalam.Live{SQL: w.sql, BatchSize: batchSize})
		m.reading.Go(func() {
			defer live.Close()
			err := w.run(ctx, live, func(event int) {
				if i < slow && event == 3 {
					<-m.slow
				}
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	return m
}

// write begins to write. A version that is replaced while initial rows are on their way is left out of them, and only the change
// that replaced it is told. So nothing is written until everybody has the initial rows: from there on every change must be told.
func (m *watched) write(ctx context.Context, t *testing.T, writer func(context.Context, *testing.T, *kalam.Client, int, *atomic.Int64)) {
	t.Helper()
	for i, w := range m.watchers {
		select {
		case <-w.begun:
		case <-ctx.Done():
			t.Fatalf("client %d has no initial rows: %v", i, ctx.Err())
		}
	}
	writing, stop := context.WithCancel(ctx)
	m.stopWriting = stop
	for number := 1; number <= 2; number++ {
		m.writing.Go(func() { writer(writing, t, m.c.liveClient(t, number), number, &m.acknowledged) })
	}
}

// more waits until so many more changes are acknowledged.
func (m *watched) more(t *testing.T, n int64) {
	t.Helper()
	target := m.acknowledged.Load() + n
	eventually(t, "more is written", func() error {
		if got := m.acknowledged.Load(); got < target {
			return fmt.Errorf("%d of %d", got, target)
		}
		return nil
	})
}

// end writes more than anybody's queue holds, ends the writing with the row that all wait for, and waits until all have it.
func (m *watched) end(ctx context.Context, t *testing.T, root *client, before func()) {
	t.Helper()
	writer := m.c.liveClient(t, 0)
	for i := range 60 {
		if _, err := writer.Exec(ctx, "INSERT INTO app.live VALUES ($1, 1, repeat('x', 200000))", 5000+i); err != nil {
			t.Fatal(err)
		}
	}
	// Those that read slowly read on once their nodes, which may be behind, have had all of it for them.
	eventually(t, "quick clients have the large rows", func() error {
		for i, w := range m.watchers {
			if i >= m.slowly && i%3 != 2 && !w.large.Load() {
				return fmt.Errorf("client %d has not", i)
			}
		}
		return nil
	})
	close(m.slow)
	m.stopWriting()
	m.writing.Wait()
	root.soon(t, "INSERT INTO app.live VALUES ("+sentinel+", 0, '')")
	if before != nil {
		before()
	}
	m.reading.Wait()
}
