package exec_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/session"
	"github.com/kalamdb/kalamdb-go/internal/sql/exec"
	"github.com/kalamdb/kalamdb-go/internal/txn"
)

// conversation is a transaction over several requests.
type conversation struct {
	t  *testing.T
	n  *node
	as session.Session
	id string
}

func (n *node) begin(t *testing.T) *conversation {
	t.Helper()
	c := &conversation{t: t, n: n, as: caller("admin", session.RoleDBA), id: exec.NewTransaction}
	c.must("BEGIN")
	if c.id == "" {
		t.Fatal("BEGIN left no transaction open")
	}
	return c
}

func (c *conversation) run(sql string) (*exec.Response, error) {
	c.t.Helper()
	response, err := c.n.engine.Execute(c.t.Context(), exec.Request{SQL: sql, Session: c.as, Transaction: c.id})
	if err == nil {
		c.id = response.Transaction
	}
	return response, err
}

func (c *conversation) must(sql string) *exec.Response {
	c.t.Helper()
	response, err := c.run(sql)
	if err != nil {
		c.t.Fatalf("%s: %v", sql, err)
	}
	return response
}

// text runs a query and prints its rows in one line.
func (c *conversation) text(sql string) string {
	c.t.Helper()
	return strings.ReplaceAll(strings.TrimSpace(text(c.t, c.must(sql))), "\n", " ")
}

// conflicts fails the test unless the commit is refused as a conflict that may be sent again.
func (c *conversation) conflicts() {
	c.t.Helper()
	_, err := c.run("COMMIT")
	if exec.CodeOf(err) != exec.CodeTransactionConflict || !fault.KindOf(err).Retryable() {
		c.t.Fatalf("COMMIT: %v (%s), want a conflict", err, exec.CodeOf(err))
	}
}

// TestAnomalies plays the classic histories with two transactions at a time. None may end as it would without
// isolation.
func TestAnomalies(t *testing.T) {
	t.Parallel()
	start := func(t *testing.T) (*node, *conversation, *conversation) {
		t.Helper()
		n := startNode(t, nil)
		n.must(t, "CREATE TABLE app.accounts (id BIGINT PRIMARY KEY, owner TEXT, balance INT)")
		n.must(t, "INSERT INTO app.accounts VALUES (1, 'ann', 50), (2, 'ann', 50), (3, 'bob', 0)")
		return n, n.begin(t), n.begin(t)
	}
	t.Run("dirty read", func(t *testing.T) {
		t.Parallel()
		n, a, b := start(t)
		a.must("UPDATE app.accounts SET balance = 0 WHERE id = 1")
		if got := b.text("SELECT balance FROM app.accounts WHERE id = 1"); got != "50" {
			t.Errorf("the other transaction sees %s before the commit", got)
		}
		if got := text(t, n.must(t, "SELECT balance FROM app.accounts WHERE id = 1")); got != "50\n" {
			t.Errorf("everybody sees %s before the commit", got)
		}
		a.must("ROLLBACK")
		b.must("COMMIT")
	})
	t.Run("non-repeatable read", func(t *testing.T) {
		t.Parallel()
		_, a, b := start(t)
		before := b.text("SELECT sum(balance) FROM app.accounts")
		a.must("UPDATE app.accounts SET balance = 7 WHERE id = 1")
		a.must("COMMIT")
		if got := b.text("SELECT sum(balance) FROM app.accounts"); got != before {
			t.Errorf("the sum was %s and is %s within one transaction", before, got)
		}
		b.must("COMMIT") // it only read, so it ran before the other one
	})
	t.Run("lost update", func(t *testing.T) {
		t.Parallel()
		n, a, b := start(t)
		for _, c := range []*conversation{a, b} {
			c.must("SELECT balance FROM app.accounts WHERE id = 1")
			c.must("UPDATE app.accounts SET balance = balance + 10 WHERE id = 1")
		}
		a.must("COMMIT")
		b.conflicts()
		again := n.begin(t)
		again.must("UPDATE app.accounts SET balance = balance + 10 WHERE id = 1; COMMIT")
		if got := text(t, n.must(t, "SELECT balance FROM app.accounts WHERE id = 1")); got != "70\n" {
			t.Errorf("two increments give %s", got)
		}
	})
	t.Run("write skew over rows", func(t *testing.T) {
		t.Parallel()
		n, a, b := start(t)
		for i, c := range []*conversation{a, b} {
			c.must("SELECT balance FROM app.accounts WHERE id = 1")
			c.must("SELECT balance FROM app.accounts WHERE id = 2")
			c.must(fmt.Sprintf("UPDATE app.accounts SET balance = balance - 100 WHERE id = %d", i+1))
		}
		a.must("COMMIT")
		b.conflicts()
		if got := text(t, n.must(t, "SELECT sum(balance) FROM app.accounts WHERE owner = 'ann'")); got != "0\n" {
			t.Errorf("ann has %s: both withdrew what one had", got)
		}
	})
	t.Run("write skew over a scan", func(t *testing.T) {
		t.Parallel()
		_, a, b := start(t)
		for i, c := range []*conversation{a, b} {
			c.must("SELECT sum(balance) FROM app.accounts WHERE owner = 'ann'")
			c.must(fmt.Sprintf("UPDATE app.accounts SET balance = balance - 100 WHERE id = %d", i+1))
		}
		a.must("COMMIT")
		b.conflicts()
	})
	t.Run("write skew through a subquery", func(t *testing.T) {
		t.Parallel()
		_, a, b := start(t)
		for i, c := range []*conversation{a, b} {
			c.must(fmt.Sprintf("UPDATE app.accounts SET balance = (SELECT max(balance) FROM app.accounts) - 50 WHERE id = %d", i+1))
		}
		a.must("COMMIT")
		b.conflicts()
	})
	t.Run("write skew through a join", func(t *testing.T) {
		t.Parallel()
		_, a, b := start(t)
		for i, c := range []*conversation{a, b} {
			c.must("UPDATE app.accounts SET balance = 1 WHERE id = 3")
			if got := c.text(fmt.Sprintf("UPDATE app.accounts SET balance = o.balance - 50 FROM app.accounts o WHERE o.id = 3 AND accounts.id = %d RETURNING o.balance",
				i+1)); got != "1" {
				t.Errorf("the join sees %s instead of what the transaction wrote", got)
			}
		}
		a.must("COMMIT")
		b.conflicts()
	})
	t.Run("phantom", func(t *testing.T) {
		t.Parallel()
		n, a, b := start(t)
		count := "SELECT count(*) FROM app.accounts WHERE owner = 'bob'"
		before := b.text(count)
		a.must("INSERT INTO app.accounts VALUES (4, 'bob', 0)")
		a.must("COMMIT")
		if got := b.text(count); got != before {
			t.Errorf("%s rows became %s within one transaction", before, got)
		}
		b.must("UPDATE app.accounts SET balance = 1 WHERE id = 3")
		b.conflicts()
		if got := text(t, n.must(t, count)); got != "2\n" {
			t.Errorf("%s rows of bob", got)
		}
	})
	t.Run("phantom of a missing key", func(t *testing.T) {
		t.Parallel()
		_, a, b := start(t)
		b.must("SELECT id FROM app.accounts WHERE id = 9")
		b.must("UPDATE app.accounts SET balance = 1 WHERE id = 3")
		a.must("INSERT INTO app.accounts VALUES (9, 'eve', 0); COMMIT")
		b.conflicts()
	})
	t.Run("phantoms of a range of keys", func(t *testing.T) {
		t.Parallel()
		for _, change := range []string{
			"INSERT INTO app.accounts VALUES (15, 'eve', 0)", "UPDATE app.accounts SET balance = 1 WHERE id = 12",
			"DELETE FROM app.accounts WHERE id = 12",
		} {
			n, a, _ := start(t)
			n.must(t, "INSERT INTO app.accounts VALUES (12, 'max', 0)")
			a.must("SELECT count(*) FROM app.accounts WHERE id >= 10 AND id < 20")
			a.must("UPDATE app.accounts SET balance = 1 WHERE id = 3")
			n.must(t, change)
			a.conflicts()
		}
	})
	t.Run("changes outside the ranges that were read", func(t *testing.T) {
		t.Parallel()
		n, a, b := start(t)
		n.must(t, "INSERT INTO app.accounts VALUES (12, 'max', 0)")
		a.must("SELECT count(*) FROM app.accounts WHERE id >= 10 AND id < 20")
		a.must("UPDATE app.accounts SET balance = balance + 1 WHERE id > 10 AND id < 15")
		b.must("UPDATE app.accounts SET balance = balance + 1 WHERE id < 10")
		b.must("INSERT INTO app.accounts VALUES (20, 'eve', 0)")
		a.must("COMMIT")
		b.must("COMMIT")
	})
	t.Run("one key inserted twice", func(t *testing.T) {
		t.Parallel()
		_, a, b := start(t)
		a.must("INSERT INTO app.accounts VALUES (9, 'eve', 0)")
		b.must("INSERT INTO app.accounts VALUES (9, 'mallory', 0)")
		a.must("COMMIT")
		b.conflicts()
	})
	t.Run("a single statement against a transaction", func(t *testing.T) {
		t.Parallel()
		n, a, _ := start(t)
		a.must("UPDATE app.accounts SET balance = balance + 1 WHERE id = 1")
		n.must(t, "UPDATE app.accounts SET balance = balance + 5 WHERE id = 1")
		a.conflicts()
	})
	t.Run("rows apart do not conflict", func(t *testing.T) {
		t.Parallel()
		_, a, b := start(t)
		a.must("UPDATE app.accounts SET balance = balance + 1 WHERE id = 1")
		b.must("UPDATE app.accounts SET balance = balance + 1 WHERE id IN (2, 3)")
		b.must("SELECT balance FROM app.accounts WHERE id = 2")
		a.must("COMMIT")
		b.must("COMMIT")
	})
}

func TestTransactionAcrossRequests(t *testing.T) {
	t.Parallel()
	n := startNode(t, nil)
	n.must(t, "CREATE TABLE app.t (id BIGINT PRIMARY KEY, v INT)")
	c := n.begin(t)
	c.must("INSERT INTO app.t VALUES (1, 1)")
	c.must("SAVEPOINT s")
	if _, err := c.run("INSERT INTO app.t VALUES (1, 2)"); fault.KindOf(err) != fault.DuplicateKey {
		t.Fatalf("a taken key: %v", err)
	}
	if _, err := c.run("SELECT 1"); err == nil || !strings.Contains(err.Error(), "ROLLBACK TO SAVEPOINT") {
		t.Fatalf("a statement after one that failed: %v", err)
	}
	c.must("ROLLBACK TO s")
	stranger := &conversation{t: t, n: n, as: caller("eve", session.RoleDBA), id: c.id}
	if _, err := stranger.run("SELECT 1"); exec.CodeOf(err) != exec.CodeNoTransaction {
		t.Errorf("another user in the transaction: %v", err)
	}
	c.must("INSERT INTO app.t VALUES (2, 2)")
	id := c.id
	c.must("COMMIT")
	if c.id != "" {
		t.Errorf("transaction %s is open after COMMIT", c.id)
	}
	if got := text(t, n.must(t, "SELECT id, v FROM app.t")); got != "1|1\n2|2\n" {
		t.Errorf("committed: %q", got)
	}
	c.id = id
	if _, err := c.run("SELECT 1"); exec.CodeOf(err) != exec.CodeNoTransaction {
		t.Errorf("a transaction that has ended: %v", err)
	}
	// Without a savepoint a failure ends the transaction.
	c = n.begin(t)
	c.must("INSERT INTO app.t VALUES (3, 3)")
	if _, err := c.run("INSERT INTO app.t VALUES (1, 2)"); err == nil {
		t.Fatal("a taken key is taken")
	}
	if _, err := c.run("COMMIT"); exec.CodeOf(err) != exec.CodeNoTransaction {
		t.Errorf("COMMIT after a failure: %v", err)
	}
	c.id = "2-0193"
	if _, err := c.run("SELECT 1"); fault.KindOf(err) != fault.NotLeader || !strings.Contains(err.Error(), "node 2") {
		t.Errorf("a transaction of another node: %v", err)
	}
}

func TestOpenTransactionsAreListed(t *testing.T) {
	t.Parallel()
	n := startNode(t, nil)
	n.must(t, "CREATE TABLE app.t (id BIGINT PRIMARY KEY)")
	c := n.begin(t)
	c.must("INSERT INTO app.t VALUES (1), (2)")
	got := text(t, n.must(t, "SELECT owner_id, origin, state, write_count, touched_tables_count FROM system.transactions"))
	if got != "admin|session|open|2|1\n" {
		t.Errorf("system.transactions: %s", got)
	}
	got = text(t, n.must(t, "SELECT state, last_method, transaction_has_writes FROM system.sessions"))
	if got != "active|SELECT|f\nidle in transaction|NULL|t\n" {
		t.Errorf("system.sessions: %s", got)
	}
	for _, sql := range []string{"SELECT * FROM system.transactions", "KILL TRANSACTION '" + c.id + "'"} {
		if _, err := n.run(t, caller("bob", session.RoleUser), sql); fault.KindOf(err) != fault.PermissionDenied {
			t.Errorf("%s as a user: %v", sql, err)
		}
	}
	c.must("ROLLBACK")
}

// TestBusyTransaction sends two requests of one transaction at once, and kills the one that runs.
func TestBusyTransaction(t *testing.T) {
	t.Parallel()
	n := startNode(t, nil)
	n.must(t, "CREATE TABLE app.t (id BIGINT PRIMARY KEY)")
	c := n.begin(t)
	id, done := c.id, make(chan error, 1)
	go func() {
		_, err := n.engine.Execute(context.WithoutCancel(t.Context()), exec.Request{
			SQL: slowQuery, Session: c.as, Transaction: id,
		})
		done <- err
	}()
	waitForOne(t, n, "SELECT count(*) FROM system.transactions WHERE state = 'active'")
	if _, err := c.run("SELECT 1"); exec.CodeOf(err) != exec.CodeTransactionBusy {
		t.Errorf("a second request at the same time: %v", err)
	}
	n.must(t, "KILL TRANSACTION '"+id+"'")
	if err := <-done; !errors.Is(err, txn.ErrKilled) {
		t.Errorf("the request of a killed transaction: %v", err)
	}
}

// slowQuery runs until it is stopped.
const slowQuery = `WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 1000)
SELECT count(*) FROM r a CROSS JOIN r b CROSS JOIN r c CROSS JOIN r d`

// waitForOne asks until a query answers as wanted.
func waitForOne(tb testing.TB, n *node, query string) {
	tb.Helper()
	for tb.Context().Err() == nil {
		if text(tb, n.must(tb, query)) == "1\n" {
			return
		}
		runtime.Gosched()
	}
}

// TestTransactionsAreNotRepeated: what a key promises does not hold for a transaction, so it is refused.
func TestTransactionsAreNotRepeated(t *testing.T) {
	t.Parallel()
	n := startNode(t, nil)
	for _, id := range []string{"", exec.NewTransaction} {
		_, err := n.engine.Execute(t.Context(), exec.Request{
			SQL: "BEGIN; COMMIT", Session: caller("admin", session.RoleDBA), RepeatKey: "k", Transaction: id,
		})
		if exec.CodeOf(err) != exec.CodeInvalidParameter {
			t.Errorf("with X-Transaction-ID %q: %v", id, err)
		}
	}
}
