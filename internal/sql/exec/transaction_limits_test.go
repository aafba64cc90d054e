package exec_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/sql/exec"
	"github.com/kalamdb/kalamdb-go/internal/txn"
)

// TestTransactionsEnd covers the bounds: time, idle time, number, bytes, and KILL.
func TestTransactionsEnd(t *testing.T) {
	t.Parallel()
	var wall *clock.Manual
	n := startNode(t, func(deps *exec.Deps) {
		wall, _ = deps.Clock.(*clock.Manual)
		deps.Transactions = txn.Limits{PerUser: 2, PerNode: 3, MaxBytes: 2000}
	})
	n.must(t, "CREATE TABLE app.t (id BIGINT PRIMARY KEY, v TEXT)")
	a := n.begin(t)
	a.must("INSERT INTO app.t VALUES (1, 'x')")
	wall.Advance(59 * time.Second)
	a.must("SELECT 1")
	wall.Advance(60 * time.Second)
	if _, err := a.run("COMMIT"); exec.CodeOf(err) != exec.CodeNoTransaction {
		t.Errorf("after a minute without a request: %v", err)
	}
	a = n.begin(t)
	for range 5 {
		wall.Advance(59 * time.Second)
		a.must("SELECT 1")
	}
	wall.Advance(10 * time.Second)
	if _, err := a.run("COMMIT"); exec.CodeOf(err) != exec.CodeNoTransaction {
		t.Errorf("after 305 seconds: %v", err)
	}
	a, b := n.begin(t), n.begin(t)
	if _, err := n.run(t, a.as, "BEGIN; COMMIT"); fault.KindOf(err) != fault.Overloaded {
		t.Errorf("a third transaction of one user: %v", err)
	}
	b.must("INSERT INTO app.t VALUES (5, 'x')")
	_, err := b.run("INSERT INTO app.t VALUES (6, repeat('x', 2000))")
	if fault.KindOf(err) != fault.LimitExceeded || !strings.Contains(err.Error(), "transaction.max_bytes") || !strings.Contains(err.Error(), "split it") {
		t.Errorf("more bytes than allowed: %v", err)
	}
	c := n.begin(t)
	c.must("INSERT INTO app.t VALUES (7, repeat('x', 500)); SAVEPOINT s")
	var full error
	for i := 0; i < 10 && full == nil; i++ {
		_, full = c.run(fmt.Sprintf("UPDATE app.t SET v = repeat('%d', 500) WHERE id = 7", i))
	}
	if fault.KindOf(full) != fault.LimitExceeded || !strings.Contains(full.Error(), "savepoints") {
		t.Errorf("a row that changes again and again behind a savepoint: %v", full)
	}
	c.must("ROLLBACK TO s; UPDATE app.t SET v = 'y' WHERE id = 7; ROLLBACK")
	n.must(t, "KILL TRANSACTION '"+a.id+"'")
	if _, err := a.run("SELECT 1"); exec.CodeOf(err) != exec.CodeNoTransaction {
		t.Errorf("a killed transaction: %v", err)
	}
	if got := text(t, n.must(t, "SELECT count(*) FROM system.transactions")); got != "0\n" {
		t.Errorf("%s transactions are left", got)
	}
	if got := text(t, n.must(t, "SELECT count(*) FROM app.t")); got != "0\n" {
		t.Errorf("%s rows of transactions that never committed", got)
	}
}

// TestBulkInsertDependsOnItsKeysAlone: many rows must not make the transaction depend on its whole table.
func TestBulkInsertDependsOnItsKeysAlone(t *testing.T) {
	t.Parallel()
	n := startNode(t, nil)
	n.must(t, "CREATE TABLE app.t (id BIGINT PRIMARY KEY, v INT)")
	c := n.begin(t)
	c.must("INSERT INTO app.t " + numbers + " SELECT a.n * 10 + b.n, 0 FROM r a CROSS JOIN r b WHERE b.n <= 6")
	c.must("INSERT INTO app.t VALUES (1, 1) ON CONFLICT (id) DO UPDATE SET v = 2")
	n.must(t, "INSERT INTO app.t VALUES (-1, 1)")
	c.must("COMMIT")
	if got := text(t, n.must(t, "SELECT count(*) FROM app.t")); got != "6002\n" {
		t.Errorf("%s rows, want 6002", got)
	}
	// A row that was left out because of what is there depends on it.
	c = n.begin(t)
	c.must("INSERT INTO app.t VALUES (-1, 5) ON CONFLICT DO NOTHING; INSERT INTO app.t VALUES (-2, 5)")
	n.must(t, "DELETE FROM app.t WHERE id = -1")
	c.conflicts()
}

// TestOpenTransactionsCountAsMemory: what transactions keep between their requests is within the bound of the node, and is
// given back when they end, however they do.
func TestOpenTransactionsCountAsMemory(t *testing.T) {
	t.Parallel()
	n := startNode(t, func(deps *exec.Deps) { deps.Limits = exec.Limits{NodeMemoryBytes: 4 << 20} })
	n.must(t, "CREATE TABLE app.t (id BIGINT PRIMARY KEY, v TEXT)")
	fill := func(c *conversation, id int) error {
		_, err := c.run(fmt.Sprintf("INSERT INTO app.t VALUES (%d, repeat('x', 600000))", id))
		return err
	}
	var open []*conversation
	var full error
	for id := range 12 {
		c := n.begin(t)
		open = append(open, c)
		if full = fill(c, id); full != nil {
			break
		}
	}
	if fault.KindOf(full) != fault.Overloaded || len(open) < 3 {
		t.Fatalf("%d open transactions of 600 kB each: %v, want the bound of 4 MiB", len(open), full)
	}
	_, held := n.engine.Usage()
	if least := int64(len(open)-1) * 600_000; held < least {
		t.Errorf("%d bytes are accounted for, transactions hold %d", held, least)
	}
	open[0].must("ROLLBACK")
	n.must(t, "KILL TRANSACTION '"+open[1].id+"'")
	again := n.begin(t)
	if err := fill(again, 100); err != nil {
		t.Errorf("after two have ended: %v", err)
	}
	again.must("SAVEPOINT s")
	for value := range 8 {
		if _, full = again.run(fmt.Sprintf("UPDATE app.t SET v = repeat('%d', 600000) WHERE id = 100", value)); full != nil {
			break
		}
	}
	if fault.KindOf(full) != fault.Overloaded {
		t.Errorf("what a savepoint keeps: %v, want the bound of the node", full)
	}
	for _, c := range append(open[2:len(open)-1], again) {
		c.must("ROLLBACK")
	}
	if _, held = n.engine.Usage(); held != 0 {
		t.Errorf("%d bytes are accounted for after all have ended", held)
	}
}

// TestTransactionFitsOneLogEntry: the refusal names the limit.
func TestTransactionFitsOneLogEntry(t *testing.T) {
	t.Parallel()
	n := startNode(t, nil)
	n.must(t, "CREATE TABLE app.t (id BIGINT PRIMARY KEY, v TEXT)")
	c := n.begin(t)
	var full error
	for id := 0; id < 10 && full == nil; id++ {
		_, full = c.run(fmt.Sprintf("INSERT INTO app.t VALUES (%d, repeat('x', 900000))", id))
	}
	if fault.KindOf(full) != fault.LimitExceeded || !strings.Contains(full.Error(), "4 MiB") || !strings.Contains(full.Error(), "log entry") {
		t.Errorf("a transaction of more than a log entry: %v", full)
	}
}
