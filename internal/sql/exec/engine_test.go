package exec_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/session"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/sql/exec"
)

func admin() session.Session { return caller("admin", session.RoleDBA) }

// fails runs statements that must fail with a code and a kind, and returns the message.
func (n *node) fails(t *testing.T, code exec.Code, kind fault.Kind, sql string, params ...datum.Datum) string {
	t.Helper()
	response, err := n.run(t, admin(), sql, params...)
	if err == nil {
		t.Fatalf("%s: got %+v, want an error", sql, response)
	}
	if got := exec.CodeOf(err); got != code {
		t.Errorf("%s: code %s, want %s (%v)", sql, got, code, err)
	}
	if got := fault.KindOf(err); got != kind {
		t.Errorf("%s: kind %s, want %s (%v)", sql, got, kind, err)
	}
	return err.Error()
}

func TestNewNamesTheMissingPart(t *testing.T) {
	t.Parallel()
	if _, err := exec.New(exec.Deps{}); err == nil || !strings.Contains(err.Error(), "Catalog") {
		t.Errorf("got %v, want an error that names Catalog", err)
	}
}

func TestParameters(t *testing.T) {
	t.Parallel()
	n := startNode(t, nil)
	n.must(t, "CREATE TABLE p (id BIGINT PRIMARY KEY, s TEXT, d DOUBLE, b BOOLEAN, m DECIMAL(10,2), ts TIMESTAMP)")
	n.must(t, "INSERT INTO p (id, s, d, b, m, ts) VALUES ($1, $2, $3, $4, $5, $6)",
		datum.NewBigInt(1), datum.NewText("'; DROP TABLE p; --"), datum.NewDouble(1.5), datum.NewBool(true),
		datum.NewText("-0.50"), datum.NewText("2024-01-02T03:04:05Z"))
	n.must(t, "INSERT INTO p VALUES ($1, $2)", datum.NewText("2"), datum.Datum{})

	cases := []struct {
		sql    string
		params []datum.Datum
		want   string
	}{
		{"SELECT s, d, b, m, ts FROM p WHERE id = $1", []datum.Datum{datum.NewBigInt(1)}, "'; DROP TABLE p; --|1.5|t|-0.50|2024-01-02 03:04:05\n"},
		{"SELECT id FROM p WHERE id = $1", []datum.Datum{datum.NewText("2")}, "2\n"},
		{"SELECT id FROM p WHERE id IN ($1, $2)", []datum.Datum{datum.NewBigInt(1), datum.NewBigInt(7)}, "1\n"},
		{"SELECT id FROM p WHERE id = $1", []datum.Datum{{}}, ""},
		{"SELECT id FROM p WHERE id = $1", []datum.Datum{datum.NewDouble(1.5)}, ""},
		{"SELECT id FROM p WHERE id > $1", []datum.Datum{datum.NewDouble(1.5)}, "2\n"},
		{"SELECT id FROM p ORDER BY id DESC LIMIT $1 OFFSET $2", []datum.Datum{datum.NewBigInt(1), datum.NewBigInt(1)}, "1\n"},
		{"SELECT id FROM p WHERE s IS NOT DISTINCT FROM $1", []datum.Datum{{}}, "2\n"},
		{"SELECT $1", []datum.Datum{datum.NewBigInt(4)}, "4\n"},
	}
	for _, c := range cases {
		if got := text(t, n.must(t, c.sql, c.params...)); got != c.want {
			t.Errorf("%s with %v: got %q, want %q", c.sql, c.params, got, c.want)
		}
	}
	n.fails(t, exec.CodeInvalidParameter, fault.InvalidParameter, "SELECT $2", datum.NewBigInt(1))
	n.fails(t, exec.CodeInvalidParameter, fault.InvalidParameter, "SELECT id FROM p WHERE id = $1 AND d = 1", datum.NewText("abc"))
	n.fails(t, exec.CodeParamsWithBatch, fault.InvalidParameter, "SELECT 1; SELECT $1", datum.NewBigInt(1))
	n.fails(t, exec.CodeInvalidParameter, fault.InvalidParameter, "SELECT 1; SELECT $1")
}

func TestSingleRowsEnvelope(t *testing.T) {
	t.Parallel()
	n := startNode(t, nil)
	cases := []struct {
		sql  string
		want bool
	}{
		{"SELECT 1", true},
		{"SELECT 1;", true},
		{"SELECT 1; SELECT 2", false},
		{"CREATE TABLE e (id INT PRIMARY KEY)", false},
		{"INSERT INTO e VALUES (1)", false},
		{"SELECT * FROM e WHERE id = 9", true},
	}
	for _, c := range cases {
		if got := n.must(t, c.sql).SingleRows; got != c.want {
			t.Errorf("%s: SingleRows is %v, want %v", c.sql, got, c.want)
		}
	}
	empty := n.must(t, "SELECT * FROM e WHERE id = 9").Results[0]
	if empty.Rows == nil || len(empty.Columns) != 3 {
		t.Errorf("an empty SELECT has rows %v and %d columns, want an empty list and 3", empty.Rows, len(empty.Columns))
	}
}

func TestCancelledStatement(t *testing.T) {
	t.Parallel()
	n := startNode(t, nil)
	n.must(t, "CREATE TABLE rows1000 (id INT PRIMARY KEY)")
	values := make([]string, 1000)
	for i := range values {
		values[i] = fmt.Sprintf("(%d)", i)
	}
	n.must(t, "INSERT INTO rows1000 VALUES "+strings.Join(values, ","))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := n.engine.Execute(ctx, exec.Request{SQL: "SELECT COUNT(*) FROM rows1000", Session: admin()})
	if fault.KindOf(err) != fault.Timeout || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v (%s), want a timeout that wraps the context's error", err, fault.KindOf(err))
	}
}

// TestBarriers shows that a read waits for the groups it reads, and only for those.
func TestBarriers(t *testing.T) {
	t.Parallel()
	n := startNode(t, nil)
	n.must(t, "CREATE TABLE s (id INT PRIMARY KEY); CREATE USER TABLE u (id INT PRIMARY KEY)")
	users := n.catalog.Current().Cluster().Shards.RouteUser("admin")
	cases := []struct {
		sql  string
		want []shard.GroupID
	}{
		{"SELECT 1", nil},
		{"SELECT * FROM s", []shard.GroupID{shard.Meta, shard.SharedShard(0)}},
		{"SELECT * FROM u", []shard.GroupID{shard.Meta, users}},
		{"INSERT INTO s VALUES (1)", []shard.GroupID{shard.Meta}},
		{"UPDATE u SET id = id WHERE false", nil},
		{"DELETE FROM u WHERE id = 1", []shard.GroupID{shard.Meta, users}},
		{"INSERT INTO u SELECT id FROM s", []shard.GroupID{shard.Meta, shard.SharedShard(0)}},
	}
	for _, c := range cases {
		n.mu.Lock()
		n.barriers = nil
		n.mu.Unlock()
		if _, err := n.run(t, admin(), c.sql); err != nil {
			if c.want != nil {
				t.Errorf("%s: %v", c.sql, err)
			}
			continue
		}
		if !slices.Equal(n.barriers, c.want) {
			t.Errorf("%s: barriers on %v, want %v", c.sql, n.barriers, c.want)
		}
	}
}

// TestConflictRunsAgain lets another statement slip in between the read and the write of one.
func TestConflictRunsAgain(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name, between, sql, message, want string
	}{
		{"changed row", "UPDATE c SET v = 100 WHERE id = 1", "UPDATE c SET v = v + 1 WHERE id = 1", "Updated 1 row(s)", "1|101\n2|2\n"},
		{"deleted row", "DELETE FROM c WHERE id = 1", "UPDATE c SET v = v + 1 WHERE id = 1", "Updated 0 row(s)", "2|2\n"},
		{"new row matches", "INSERT INTO c VALUES (3, 3)", "UPDATE c SET v = v + 1 WHERE v > 0", "Updated 3 row(s)", "1|2\n2|3\n3|4\n"},
		{"new row is deleted too", "INSERT INTO c VALUES (3, 3)", "DELETE FROM c WHERE v > 1", "Deleted 2 row(s)", "1|1\n"},
		{"copied row", "INSERT INTO c VALUES (3, 3)", "INSERT INTO c SELECT id + 10, v FROM c", "Inserted 3 row(s)", "1|1\n2|2\n3|3\n11|1\n12|2\n13|3\n"},
		{"joined row changed", "UPDATE c SET v = 50 WHERE id = 2", "UPDATE c SET v = d.v FROM c d WHERE c.id = 1 AND d.id = 2", "Updated 1 row(s)", "1|50\n2|50\n"},
		{"joined row new", "INSERT INTO c VALUES (3, 2)", "DELETE FROM c USING c d WHERE d.id > c.id AND d.v >= c.v", "Deleted 2 row(s)", "3|2\n"},
		{"named row changed", "UPDATE c SET v = 7 WHERE id = 1", "WITH m AS (SELECT SUM(v)::int AS s FROM c) UPDATE c SET v = s FROM m WHERE c.id = 2", "Updated 1 row(s)", "1|7\n2|9\n"},
		{"other key", "INSERT INTO c VALUES (3, 3)", "DELETE FROM c WHERE id = 1", "Deleted 1 row(s)", "2|2\n3|3\n"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			n := startNode(t, func(deps *exec.Deps) { deps.Clock = clock.Real{} })
			n.must(t, "CREATE USER TABLE c (id INT PRIMARY KEY, v INT); INSERT INTO c VALUES (1, 1), (2, 2)")
			n.mu.Lock()
			n.before = func() { n.must(t, c.between) }
			n.mu.Unlock()
			if got := n.must(t, c.sql).Results[0].Message; got != c.message {
				t.Errorf("message %q, want %q", got, c.message)
			}
			if got := text(t, n.must(t, "SELECT id, v FROM c")); got != c.want {
				t.Errorf("rows\n%swant\n%s", got, c.want)
			}
		})
	}
}

func TestConflictsEnd(t *testing.T) {
	t.Parallel()
	n := startNode(t, func(deps *exec.Deps) {
		deps.Clock = clock.Real{}
		deps.Limits.ConflictAttempts = 3
	})
	n.must(t, "CREATE USER TABLE c (id INT PRIMARY KEY, v INT); INSERT INTO c VALUES (1, 0)")
	attempts := 0
	var interfere func()
	interfere = func() {
		attempts++
		n.must(t, "UPDATE c SET v = v - 1 WHERE id = 1")
		n.mu.Lock()
		n.before = interfere
		n.mu.Unlock()
	}
	n.mu.Lock()
	n.before = interfere
	n.mu.Unlock()
	n.fails(t, "SQL_EXECUTION_ERROR", fault.Conflict, "UPDATE c SET v = 1000 WHERE id = 1")
	if attempts != 3 {
		t.Errorf("the statement was tried %d times, want 3", attempts)
	}
}

// TestConcurrentIncrements loses no update.
func TestConcurrentIncrements(t *testing.T) {
	t.Parallel()
	n := startNode(t, func(deps *exec.Deps) {
		deps.Clock = clock.Real{}
		deps.Limits.ConflictAttempts = 1000
	})
	n.must(t, "CREATE TABLE counter (id INT PRIMARY KEY, v INT); INSERT INTO counter VALUES (1, 0)")
	const workers, each = 4, 25
	var wg sync.WaitGroup
	errs := make(chan error, workers)
	for range workers {
		wg.Go(func() {
			for range each {
				if _, err := n.engine.Execute(t.Context(), exec.Request{
					SQL: "UPDATE counter SET v = v + 1 WHERE v >= 0", Session: admin(),
				}); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		t.Errorf("increment: %v", err)
	}
	if got, want := text(t, n.must(t, "SELECT v FROM counter")), fmt.Sprintf("%d\n", workers*each); got != want {
		t.Errorf("the counter is %q, want %q", got, want)
	}
}

// TestConcurrentInsertsOfOneKey lets exactly one of them win.
func TestConcurrentInsertsOfOneKey(t *testing.T) {
	t.Parallel()
	n := startNode(t, nil)
	n.must(t, "CREATE TABLE once (id INT PRIMARY KEY, v INT)")
	const workers = 8
	var wg sync.WaitGroup
	results := make([]error, workers)
	for i := range workers {
		wg.Go(func() {
			_, results[i] = n.engine.Execute(t.Context(), exec.Request{
				SQL: "INSERT INTO once VALUES (1, $1)", Params: []datum.Datum{datum.NewBigInt(int64(i))}, Session: admin(),
			})
		})
	}
	wg.Wait()
	won := 0
	for _, err := range results {
		switch {
		case err == nil:
			won++
		case fault.KindOf(err) != fault.DuplicateKey || !strings.Contains(err.Error(), "Primary key violation"):
			t.Errorf("got %v, want a primary key violation", err)
		}
	}
	if won != 1 {
		t.Errorf("%d inserts of one key succeeded, want 1", won)
	}
}

// TestEntropyFailureFailsTheStatement checks that no id without randomness is stored.
func TestEntropyFailureFailsTheStatement(t *testing.T) {
	t.Parallel()
	n := startNode(t, func(deps *exec.Deps) { deps.Random = strings.NewReader("") })
	n.must(t, "CREATE TABLE ids (id TEXT PRIMARY KEY DEFAULT ULID(), v INT)")
	n.fails(t, "INTERNAL_ERROR", fault.Internal, "INSERT INTO ids (v) VALUES (1)")
	n.fails(t, "INTERNAL_ERROR", fault.Internal, "SELECT UUID_V7()")
	if got := text(t, n.must(t, "SELECT COUNT(*) FROM ids")); got != "0\n" {
		t.Errorf("%q rows were stored", got)
	}
}

// TestGeneratedIDs checks which functions give one value for a statement and which one for a row.
func TestGeneratedIDs(t *testing.T) {
	t.Parallel()
	n := startNode(t, nil)
	n.must(t, `CREATE TABLE g (id BIGINT PRIMARY KEY DEFAULT SNOWFLAKE_ID(), u TEXT DEFAULT UUID_V7(), l TEXT DEFAULT ULID(), f TEXT)`)
	n.must(t, "INSERT INTO g (f) VALUES (UUID_V7()), (UUID_V7()), (UUID_V7())")
	got := text(t, n.must(t, "SELECT COUNT(DISTINCT id), COUNT(DISTINCT u), COUNT(DISTINCT l), COUNT(DISTINCT f), MIN(length(u)), MIN(length(l)) FROM g"))
	if got != "3|3|3|1|36|26\n" {
		t.Errorf("got %q, want distinct defaults and one UUID of the statement", got)
	}
}

// TestPlansAreNotSharedAcrossCallersOrCatalogs repeats one text under everything that its plan depends on.
func TestPlansAreNotSharedAcrossCallersOrCatalogs(t *testing.T) {
	t.Parallel()
	n := startNode(t, nil)
	n.must(t, "CREATE USER TABLE own (id INT PRIMARY KEY, v TEXT); CREATE NAMESPACE other")
	ann, bob := caller("ann", session.RoleUser), caller("bob", session.RoleUser)
	n.mustAs(t, ann, "INSERT INTO own VALUES (1, 'ann')")
	n.mustAs(t, bob, "INSERT INTO own VALUES (1, 'bob')")
	const query = "SELECT v FROM own WHERE id = $1"
	one := datum.NewBigInt(1)
	for range 3 {
		for want, as := range map[string]session.Session{"ann\n": ann, "bob\n": bob} {
			if got := text(t, n.mustAs(t, as, query, one)); got != want {
				t.Errorf("%s reads %q, want %q", as.User, got, want)
			}
		}
		if got := text(t, n.mustAs(t, ann, query, datum.NewText("1"))); got != "ann\n" {
			t.Errorf("with a text parameter: got %q", got)
		}
		elsewhere := ann
		elsewhere.Namespace = "other"
		if _, err := n.run(t, elsewhere, query, one); fault.KindOf(err) != fault.TableNotFound {
			t.Errorf("in another namespace: got %v, want table_not_found", err)
		}
		if _, err := n.run(t, ann, query); fault.KindOf(err) != fault.InvalidParameter {
			t.Errorf("without its parameter: got %v, want invalid_parameter", err)
		}
	}
	n.must(t, "DROP TABLE own")
	if _, err := n.run(t, ann, query, one); fault.KindOf(err) != fault.TableNotFound {
		t.Errorf("after DROP TABLE: got %v, want table_not_found", err)
	}
	n.must(t, "CREATE USER TABLE own (id INT PRIMARY KEY, v INT)")
	if got := text(t, n.mustAs(t, ann, query, one)); got != "" {
		t.Errorf("after the table was made anew: got %q, want nothing", got)
	}
	anonymous := ann
	anonymous.Role = session.RoleAnonymous
	if _, err := n.run(t, anonymous, query, one); fault.KindOf(err) != fault.PermissionDenied {
		t.Errorf("with another role: got %v, want permission_denied", err)
	}
}

// TestRepeatedStatementsGiveNewResults repeats a text whose plan is kept.
func TestRepeatedStatementsGiveNewResults(t *testing.T) {
	t.Parallel()
	n := startNode(t, nil)
	n.must(t, "CREATE TABLE r (id BIGINT PRIMARY KEY DEFAULT SNOWFLAKE_ID(), v INT)")
	for i := range 3 {
		n.must(t, "INSERT INTO r (v) VALUES ($1)", datum.NewBigInt(int64(i)))
		want := fmt.Sprintf("%d|%d\n", i+1, i)
		if got := text(t, n.must(t, "SELECT COUNT(*), MAX(v) FROM r")); got != want {
			t.Errorf("after %d inserts: got %q, want %q", i+1, got, want)
		}
		message := n.must(t, "UPDATE r SET v = v WHERE v > $1", datum.NewBigInt(-1)).Results[0].Message
		if message != "Updated 0 row(s)" {
			t.Errorf("an UPDATE that changes nothing says %q", message)
		}
	}
	n.fails(t, "SQL_EXECUTION_ERROR", fault.DuplicateKey, "INSERT INTO r SELECT * FROM (SELECT id, v FROM r) AS s WHERE v = $1", datum.NewBigInt(1))
	message := n.fails(t, "SQL_EXECUTION_ERROR", fault.DuplicateKey, "INSERT INTO r SELECT * FROM (SELECT id, v FROM r) AS s WHERE v = $1", datum.NewBigInt(1))
	if !strings.HasPrefix(message, "Statement 1 failed: Primary key violation") {
		t.Errorf("a kept plan fails with %q", message)
	}
}

// TestErrorsCarryTheStatementButNoSecret checks what an administrator is shown as details.
func TestErrorsCarryTheStatementButNoSecret(t *testing.T) {
	t.Parallel()
	n := startNode(t, nil)
	cases := []struct {
		sql, want string
		statement int
	}{
		{"SELECT 1; SELECT 1/0 ;", "SELECT 1/0", 2},
		{"ALTER USER nobody SET PASSWORD 'hunter22'", "", 1},
		{"CREATE USER kim WITH PASSWORD 'xyz' ROLE user", "", 1},
	}
	for _, c := range cases {
		_, err := n.run(t, admin(), c.sql)
		failure, ok := errors.AsType[*exec.Error](err)
		if !ok {
			t.Errorf("%s: got %v, want an *exec.Error", c.sql, err)
			continue
		}
		if failure.SQL != c.want || failure.Statement != c.statement {
			t.Errorf("%s: statement %d, text %q; want %d, %q", c.sql, failure.Statement, failure.SQL, c.statement, c.want)
		}
		if strings.Contains(failure.Error(), "hunter22") || strings.Contains(failure.Error(), "xyz") {
			t.Errorf("the message holds the password: %s", failure)
		}
	}
}
