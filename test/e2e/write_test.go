package e2e

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
)

// TestWriteThroughEveryNode writes, changes and deletes through each node and reads the result at once
// through every other.
func TestWriteThroughEveryNode(t *testing.T) {
	c := startCluster(t, nil)
	root := c.nodes[0].root(t)
	root.must(t, "CREATE NAMESPACE app")
	root.at(c.nodes[1]).must(t, "CREATE TABLE app.notes (id BIGINT PRIMARY KEY, body TEXT NOT NULL, stars INT) WITH (TYPE = 'SHARED')")
	root.at(c.nodes[2]).must(t, "CREATE TABLE app.mine (id BIGINT PRIMARY KEY, body TEXT) WITH (TYPE = 'USER')")
	rows := int64(0)
	for i, n := range c.nodes {
		base := i * 100
		got := root.at(n).must(t, "INSERT INTO app.notes (id, body, stars) VALUES ($1, $2, 1), ($3, $4, 2), ($5, $6, NULL)",
			base+1, "one", base+2, "two", base+3, "three")
		if result := got.Results[0]; result.RowCount != 3 || result.Message != "Inserted 3 row(s)" {
			t.Errorf("INSERT at %v: %v", n, got)
		}
		root.at(n).must(t, "INSERT INTO app.mine (id, body) VALUES ($1, 'private')", base)
		rows += 3
		for _, other := range c.nodes {
			if count := root.at(other).number(t, "SELECT COUNT(*) FROM app.notes"); count != rows {
				t.Errorf("%v counts %d rows after %d were written through %v", other, count, rows, n)
			}
			if count := root.at(other).number(t, "SELECT COUNT(*) FROM app.mine"); count != int64(i+1) {
				t.Errorf("%v counts %d private rows, want %d", other, count, i+1)
			}
		}
	}
	for i, n := range c.nodes {
		next := c.nodes[(i+1)%len(c.nodes)]
		got := root.at(next).must(t, "UPDATE app.notes SET stars = stars + 10 WHERE id >= $1 AND id < $2", i*100, i*100+100)
		if result := got.Results[0]; result.RowCount != 2 || result.Message != "Updated 2 row(s)" {
			t.Errorf("UPDATE at %v: %v", next, got)
		}
		if sum := root.at(n).number(t, "SELECT SUM(stars) FROM app.notes WHERE id >= $1 AND id < $2", i*100, i*100+100); sum != 23 {
			t.Errorf("%v sums %d after an UPDATE through %v, want 23", n, sum, next)
		}
		got = root.at(n).must(t, "DELETE FROM app.notes WHERE id = $1", i*100+3)
		if result := got.Results[0]; result.RowCount != 1 || result.Message != "Deleted 1 row(s)" {
			t.Errorf("DELETE at %v: %v", n, got)
		}
		rows--
		if count := root.at(next).number(t, "SELECT COUNT(*) FROM app.notes"); count != rows {
			t.Errorf("%v counts %d rows, want %d", next, count, rows)
		}
	}
	grouped := root.must(t, "SELECT body, COUNT(*) FROM app.notes GROUP BY body ORDER BY body")
	if got := fmt.Sprint(grouped.rows()); got != "[[one 3] [two 3]]" {
		t.Errorf("GROUP BY: %s", got)
	}
	c.wantEqualDigests(t, root, "notes", rows)
	c.wantEqualDigests(t, root, "mine", int64(len(c.nodes)))
}

// TestTableIsThereForEveryNodeAtOnce creates tables on one node and uses and drops them on others without
// a pause in between.
func TestTableIsThereForEveryNodeAtOnce(t *testing.T) {
	c := startCluster(t, nil)
	root := c.nodes[0].root(t)
	root.must(t, "CREATE NAMESPACE app")
	for i := range 15 {
		table := fmt.Sprintf("app.t%d", i)
		here, there, yonder := root.at(c.nodes[i%3]), root.at(c.nodes[(i+1)%3]), root.at(c.nodes[(i+2)%3])
		kind := []string{"SHARED", "USER"}[i%2]
		here.must(t, "CREATE TABLE "+table+" (id INT PRIMARY KEY, v TEXT) WITH (TYPE = '"+kind+"')")
		there.must(t, "INSERT INTO "+table+" (id, v) VALUES (1, 'a'), (2, 'b')")
		if count := yonder.number(t, "SELECT COUNT(*) FROM "+table); count != 2 {
			t.Fatalf("%s has %d rows on the third node, want 2", table, count)
		}
		yonder.must(t, "DROP TABLE "+table)
		for _, c := range []*client{here, there, yonder} {
			got, err := c.sql(t.Context(), "INSERT INTO "+table+" (id, v) VALUES (3, 'c')")
			if err != nil || got.ok() {
				t.Fatalf("INSERT into the dropped %s at %s: %v, %v", table, c.base, got, err)
			}
		}
		here.must(t, "CREATE TABLE "+table+" (id INT PRIMARY KEY) WITH (TYPE = '"+kind+"')")
		if count := there.number(t, "SELECT COUNT(*) FROM "+table); count != 0 {
			t.Fatalf("%s has %d rows after it was created again, want none", table, count)
		}
	}
}

// TestLargeStatements writes, changes and deletes thousands of rows at once: all of them or none.
func TestLargeStatements(t *testing.T) {
	c := startCluster(t, nil)
	root := c.nodes[0].root(t)
	root.must(t, "CREATE NAMESPACE app")
	root.must(t, "CREATE TABLE app.bulk (id BIGINT PRIMARY KEY, body TEXT, n INT) WITH (TYPE = 'SHARED')")
	const rows = 4000
	insert := func(first int) string {
		values := make([]string, rows)
		for i := range values {
			values[i] = fmt.Sprintf("(%d, '%0200d', 1)", first+i, i)
		}
		return "INSERT INTO app.bulk (id, body, n) VALUES " + strings.Join(values, ", ")
	}
	for i, n := range c.nodes {
		if got := root.at(n).must(t, insert(i*rows)); got.Results[0].RowCount != rows {
			t.Errorf("INSERT at %v: %v", n, got)
		}
	}
	if got, err := root.sql(t.Context(), insert(3*rows-1)); err != nil || !got.duplicate() {
		t.Errorf("INSERT whose first row exists: %v, %v", got, err)
	}
	for _, n := range c.nodes {
		if count := root.at(n).number(t, "SELECT COUNT(*) FROM app.bulk"); count != 3*rows {
			t.Errorf("%v counts %d rows, want %d", n, count, 3*rows)
		}
	}
	if got := root.at(c.nodes[1]).must(t, "UPDATE app.bulk SET n = n + 1 WHERE id < $1", 2*rows); got.Results[0].RowCount != 2*rows {
		t.Errorf("UPDATE: %v", got)
	}
	if sum := root.at(c.nodes[2]).number(t, "SELECT SUM(n) FROM app.bulk"); sum != 5*rows {
		t.Errorf("sum %d, want %d", sum, 5*rows)
	}
	if got := root.at(c.nodes[2]).must(t, "DELETE FROM app.bulk WHERE id >= $1", rows); got.Results[0].RowCount != 2*rows {
		t.Errorf("DELETE: %v", got)
	}
	if count := root.number(t, "SELECT COUNT(*) FROM app.bulk"); count != rows {
		t.Errorf("%d rows left, want %d", count, rows)
	}
	c.wantEqualDigests(t, root, "bulk", rows)
}

// TestDroppedTableTakesItsRowsAlong drops a table while clients write to it and creates it again at once: no
// row of the old one may ever be seen in the new one.
func TestDroppedTableTakesItsRowsAlong(t *testing.T) {
	c := startCluster(t, nil)
	root := c.nodes[0].root(t)
	root.must(t, "CREATE NAMESPACE app")
	const create = "CREATE TABLE app.brief (id BIGINT PRIMARY KEY, round INT) WITH (TYPE = 'SHARED')"
	root.must(t, create)
	for round := range 5 {
		writing, stop := context.WithCancel(t.Context())
		var writers sync.WaitGroup
		started := make(chan struct{}, len(c.nodes))
		for i, n := range c.nodes {
			writers.Go(func() {
				for id := i; writing.Err() == nil; id += len(c.nodes) {
					// Refusals are expected around the drop; what was acknowledged before it goes with it. A request is waited for, since one
					// that is given up may still be on its way to its node when the new table is there, and rightly write into that.
					_, _ = root.at(n).sql(t.Context(), "INSERT INTO app.brief (id, round) VALUES ($1, $2)", id, round)
					if id == i+20*len(c.nodes) {
						started <- struct{}{}
					}
				}
			})
		}
		for range c.nodes {
			<-started
		}
		root.at(c.nodes[round%3]).must(t, "DROP TABLE app.brief")
		stop()
		writers.Wait()
		root.at(c.nodes[(round+1)%3]).must(t, create)
		for _, n := range c.nodes {
			if got := root.at(n).must(t, "SELECT id, round FROM app.brief LIMIT 5"); len(got.rows()) != 0 {
				t.Fatalf("round %d: %v sees rows of the dropped table: %v", round, n, got.rows())
			}
		}
	}
	root.must(t, "INSERT INTO app.brief (id, round) VALUES (1, 99)")
	c.wantEqualDigests(t, root, "brief", 1)
}
