package e2e

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestConcurrentIncrementsLoseNone lets clients on all nodes add one to the same row.
func TestConcurrentIncrementsLoseNone(t *testing.T) {
	c := startCluster(t, nil)
	root := c.nodes[0].root(t)
	root.must(t, "CREATE NAMESPACE app")
	root.must(t, "CREATE TABLE app.counter (id INT PRIMARY KEY, n BIGINT NOT NULL) WITH (TYPE = 'SHARED')")
	root.must(t, "INSERT INTO app.counter (id, n) VALUES (1, 0)")
	const clients, each = 9, 20
	var running sync.WaitGroup
	var mu sync.Mutex // guards the counts
	applied, unknown := int64(0), int64(0)
	for i := range clients {
		running.Go(func() {
			at := root.at(c.nodes[i%len(c.nodes)])
			for range each {
				for {
					got, err := at.sql(t.Context(), "UPDATE app.counter SET n = n + 1 WHERE id = 1")
					mu.Lock()
					switch {
					case err != nil || got.Error != nil && got.Error.Code == "INTERNAL_ERROR":
						unknown++
						t.Errorf("increment at %s: %v, %v", at.base, got, err)
					case got.ok() && got.Results[0].RowCount == 1:
						applied++
					}
					mu.Unlock()
					if err != nil || got.ok() {
						break
					}
				}
			}
		})
	}
	running.Wait()
	for _, n := range c.nodes {
		if got := root.at(n).number(t, "SELECT n FROM app.counter WHERE id = 1"); got < applied || got > applied+unknown {
			t.Errorf("%v reads %d after %d acknowledged increments (%d with unknown outcome)", n, got, applied, unknown)
		}
	}
	if applied+unknown != clients*each {
		t.Errorf("%d of %d increments ended", applied+unknown, clients*each)
	}
}

// TestAbandonedRequestsRetryElsewhere gives requests up while they are under way and repeats them at
// another node, as a client does that lost its connection. Each row must exist exactly once.
func TestAbandonedRequestsRetryElsewhere(t *testing.T) {
	c := startCluster(t, nil)
	root := c.nodes[0].root(t)
	root.must(t, "CREATE NAMESPACE app")
	root.must(t, "CREATE TABLE app.orders (id BIGINT PRIMARY KEY, body TEXT) WITH (TYPE = 'SHARED')")
	const rows = 150
	abandoned := 0
	for id := range rows {
		body := fmt.Sprintf("order %d", id)
		patience, cancel := context.WithTimeout(t.Context(), time.Duration(id%15)*500*time.Microsecond)
		first, err := root.at(c.nodes[id%3]).sql(patience, "INSERT INTO app.orders (id, body) VALUES ($1, $2)", id, body)
		cancel()
		if err != nil {
			abandoned++
		} else if first.ok() {
			continue
		}
		eventually(t, "the retry of "+body, func() error {
			got, err := root.at(c.nodes[(id+1)%3]).sql(t.Context(), "INSERT INTO app.orders (id, body) VALUES ($1, $2)", id, body)
			if err != nil {
				return err
			}
			if !got.ok() && !got.duplicate() {
				return fmt.Errorf("%v", got)
			}
			return nil
		})
	}
	if abandoned == 0 {
		t.Error("no request was given up: the test has shown nothing")
	}
	for _, n := range c.nodes {
		if count := root.at(n).number(t, "SELECT COUNT(*) FROM app.orders"); count != rows {
			t.Errorf("%v has %d rows, want %d (%d requests were given up)", n, count, rows, abandoned)
		}
	}
	c.wantEqualDigests(t, root, "orders", rows)
}

// TestStatementsAreAtomic changes all rows of a table at once from every node, and single rows beside that,
// while readers look: no reader may see a statement half done, and no change may be lost.
func TestStatementsAreAtomic(t *testing.T) {
	c := startCluster(t, nil)
	root := c.nodes[0].root(t)
	root.must(t, "CREATE NAMESPACE app")
	root.must(t, "CREATE TABLE app.cells (id INT PRIMARY KEY, wide BIGINT NOT NULL, narrow BIGINT NOT NULL) WITH (TYPE = 'SHARED')")
	const cells, each = 40, 15
	for id := range cells {
		root.must(t, "INSERT INTO app.cells (id, wide, narrow) VALUES ($1, 0, 0)", id)
	}
	reading, stopReading := context.WithCancel(t.Context())
	var readers, writers sync.WaitGroup
	for _, n := range c.nodes {
		readers.Go(func() {
			for reading.Err() == nil {
				got, err := root.at(n).sql(reading, "SELECT MIN(wide), MAX(wide), COUNT(*) FROM app.cells")
				if err != nil || !got.ok() {
					continue
				}
				if row := got.rows()[0]; row[0] != row[1] || row[2] != strconv.Itoa(cells) {
					t.Errorf("%v sees a statement half done: %v", n, row)
				}
			}
		})
	}
	// repeat runs a change until it is acknowledged; a conflict has changed nothing.
	repeat := func(at *client, rows int64, text string, params ...any) {
		for attempt := range 1000 {
			got, err := at.sql(t.Context(), text, params...)
			switch {
			case err == nil && got.ok() && got.Results[0].RowCount == rows:
				return
			case err != nil || got.HTTP != http.StatusConflict || attempt == 999:
				t.Errorf("%s at %s: %v, %v", text, at.base, got, err)
				return
			}
		}
	}
	for i, n := range c.nodes {
		at := root.at(n)
		writers.Go(func() {
			for range each {
				repeat(at, cells, "UPDATE app.cells SET wide = wide + 1 WHERE id >= 0")
			}
		})
		writers.Go(func() {
			for k := range each {
				repeat(at, 1, "UPDATE app.cells SET narrow = narrow + 1 WHERE id = $1", (i+k)%cells)
			}
		})
	}
	writers.Wait()
	stopReading()
	readers.Wait()
	want := fmt.Sprintf("[[%d %d %d]]", 3*each, 3*each, 3*each)
	for _, n := range c.nodes {
		if got := fmt.Sprint(root.at(n).must(t, "SELECT MIN(wide), MAX(wide), SUM(narrow) FROM app.cells").rows()); got != want {
			t.Errorf("%v has %s, want %s", n, got, want)
		}
	}
}

// TestModeAllWaitsForEveryNode acknowledges a write only when every node has applied it, and refuses clearly
// while one is away.
func TestModeAllWaitsForEveryNode(t *testing.T) {
	c := startCluster(t, settings{"cluster.replication_mode": "all", "cluster.replication_timeout_ms": 1500})
	root := c.nodes[0].root(t)
	root.must(t, "CREATE NAMESPACE app")
	root.must(t, "CREATE TABLE app.notes (id INT PRIMARY KEY) WITH (TYPE = 'SHARED')")
	const insert = "INSERT INTO app.notes (id) VALUES ($1)"
	const rows = 30
	applied := make([]int64, rows)
	for id := range applied {
		root.at(c.nodes[id%3]).must(t, insert, id)
		groups, err := root.at(c.nodes[(id+1)%3]).groups(t)
		if err != nil {
			t.Fatal(err)
		}
		applied[id] = groups[sharedGroup].applied
	}
	for _, row := range root.must(t, "SELECT id, _seq FROM app.notes ORDER BY id").rows() {
		id, index := integer(t, row[0]), integer(t, row[1])>>16
		if applied[id] < index {
			t.Errorf("row %d at index %d was acknowledged while another node had applied %d", id, index, applied[id])
		}
	}
	away := c.nodes[2]
	away.signal(t, syscall.SIGSTOP)
	if got, err := root.sql(t.Context(), insert, rows); err != nil || got.ok() || got.Error == nil || got.Error.Code == "INTERNAL_ERROR" {
		t.Errorf("INSERT while %v is paused: %v, %v; want a clear refusal", away, got, err)
	}
	away.signal(t, syscall.SIGCONT)
	root.soon(t, "DELETE FROM app.notes WHERE id = $1", rows) // it may have been committed

	away.kill(t)
	eventually(t, "an INSERT is refused and names the node that is away", func() error {
		got, err := root.sql(t.Context(), insert, rows+1)
		if err != nil {
			return err
		}
		if got.ok() || got.HTTP != http.StatusServiceUnavailable || !strings.Contains(got.Error.Message, "node 3") {
			return fmt.Errorf("%v", got)
		}
		return nil
	})
	if count := root.soonNumber(t, "SELECT COUNT(*) FROM app.notes"); count < rows {
		t.Errorf("%d rows can be read while a node is away, want %d", count, rows)
	}
	away.start(t)
	away.waitReady(t)
	root.soon(t, insert, rows+2)
}
