package exec_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/session"
	"github.com/kalamdb/kalamdb-go/internal/sql/exec"
)

// numbers is a table of a thousand rows in memory.
const numbers = "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 1000)"

// endlessQueries would each run for minutes.
func endlessQueries() map[string]string {
	return map[string]string{
		"cross":    numbers + " SELECT count(*) FROM r a CROSS JOIN r b CROSS JOIN r c CROSS JOIN r d",
		"loop":     numbers + " SELECT count(*) FROM r a JOIN r b ON a.n < b.n JOIN r c ON b.n + a.n > c.n JOIN r d ON c.n > d.n",
		"hash":     numbers + ", s AS (SELECT n % 2 AS m FROM r) SELECT count(*) FROM s a JOIN s b ON a.m = b.m JOIN s c ON c.m = b.m JOIN s d ON d.m = c.m",
		"subquery": numbers + " SELECT count(*) FROM r a CROSS JOIN r b WHERE (SELECT count(*) FROM r c WHERE c.n <> a.n * b.n) = 0",
		"filter":   numbers + " SELECT a.n FROM r a CROSS JOIN r b CROSS JOIN r c CROSS JOIN r d WHERE a.n + b.n + c.n < 0",
		"top":      numbers + " SELECT a.n FROM r a CROSS JOIN r b CROSS JOIN r c CROSS JOIN r d ORDER BY a.n * b.n % 17, c.n LIMIT 3",
		"regular":  numbers + " SELECT repeat('a', 8000000) ~ '([a-z]?){500}b' FROM r WHERE n = 1",
		"replace":  numbers + " SELECT regexp_replace(repeat('ab', 4000000), '(a[ab]*c)|([ab]*[ab]*[ab]*d)', 'x', 'g') FROM r WHERE n = 1",
		"pattern":  numbers + " SELECT repeat('a', 8000000) LIKE '%' || repeat('a', 100000) || '_b%' FROM r WHERE n = 1",
		"path":     numbers + " SELECT count(*) FROM r WHERE jsonb_path_exists('[' || repeat('1,', 3000) || n || ']', '$[*] ? (exists($[*] ? (@ == -2)))')",
		"union":    numbers + " SELECT a.n FROM r a CROSS JOIN r b CROSS JOIN r c UNION SELECT a.n FROM r a CROSS JOIN r b CROSS JOIN r c CROSS JOIN r d",
	}
}

// TestQueriesStop cancels queries that would run for minutes.
func TestQueriesStop(t *testing.T) {
	t.Parallel()
	n := startNode(t, nil)
	for name, sql := range endlessQueries() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() {
				_, err := n.engine.Execute(ctx, exec.Request{SQL: sql, Session: caller(name, session.RoleDBA)})
				done <- err
			}()
			waitForOne(t, n, "SELECT count(*) FROM system.sessions WHERE last_method = 'WITH' AND user_id = '"+name+"'")
			cancel()
			cancelled := time.Now()
			if err := <-done; fault.KindOf(err) != fault.Timeout {
				t.Errorf("a cancelled query: %v", err)
			}
			t.Logf("stopped after %s", time.Since(cancelled))
		})
	}
}

// countedClock ends a context when it has been asked for the time often enough. Every row that makes an id asks for it.
type countedClock struct {
	clock.Clock
	asked  atomic.Int64
	cancel context.CancelFunc
}

// rowsBeforeTheEnd is the number of rows after which a countedClock ends its context.
const rowsBeforeTheEnd = 20_000

func (c *countedClock) Now() time.Time {
	if c.asked.Add(1) == rowsBeforeTheEnd {
		c.cancel()
	}
	return c.Clock.Now()
}

// TestOperatorsStopWithinRows ends the context of queries that would each run for hours in the middle of a row, and counts the rows
// that come after it.
func TestOperatorsStopWithinRows(t *testing.T) {
	t.Parallel()
	const pairs = "(SELECT a.n AS x, b.n AS y FROM r a CROSS JOIN r b CROSS JOIN r c CROSS JOIN r d WHERE snowflake_id() > 0)"
	for name, sql := range map[string]string{
		"loop":        "SELECT count(*) FROM " + pairs + " p",
		"distinct":    "SELECT count(*) FROM (SELECT DISTINCT x FROM " + pairs + " p OFFSET 0) q",
		"distinct on": "SELECT count(*) FROM (SELECT DISTINCT ON (x) x, y FROM " + pairs + " p OFFSET 0) q",
		"except":      "SELECT n FROM r EXCEPT SELECT x FROM " + pairs + " p",
		"group":       "SELECT x, count(*), string_agg(DISTINCT 'a', 'b') FROM " + pairs + " p GROUP BY x",
		"offset":      "SELECT x FROM " + pairs + " p LIMIT 1 OFFSET 100000000000",
		"lateral":     "SELECT count(*) FROM r, LATERAL (SELECT p.x FROM " + pairs + " p WHERE p.x > r.n) l",
		"function":    "SELECT count(*) FROM generate_series(1, 100000000000) g WHERE snowflake_id() > 0",
		"exists":      "SELECT count(*) FROM r WHERE NOT EXISTS (SELECT 1 FROM (SELECT * FROM " + pairs + " p OFFSET 0) q WHERE q.x < r.n - 2000)",
		"in":          "SELECT count(*) FROM " + pairs + " p WHERE (x, y) IN (SELECT n, n + 2000 FROM r WHERE n < 3)",
		"sort":        "SELECT x FROM " + pairs + " p ORDER BY y",
		"first rows":  "SELECT x FROM " + pairs + " p ORDER BY y LIMIT 5",
		"window":      "SELECT rank() OVER (ORDER BY y) FROM " + pairs + " p",
		"kept":        "SELECT count(*) FROM r JOIN " + pairs + " p ON p.x > r.n",
		"hash":        "SELECT count(*) FROM r JOIN " + pairs + " p ON p.x = r.n",
		"full":        "SELECT count(*) FROM r FULL JOIN " + pairs + " p ON p.x = r.n + 2000",
		"patterns":    "SELECT count(*) FROM (SELECT * FROM " + pairs + " p OFFSET 0) q WHERE repeat('a', x) LIKE '%a%b%' OR 'x' || y ~ 'z+$'",
		"table":       "SELECT count(*) FROM app.stored a CROSS JOIN app.stored b CROSS JOIN app.stored c WHERE snowflake_id() > 0",
		"change":      "UPDATE app.stored SET v = (SELECT count(*) FROM " + pairs + " p) WHERE true",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			counted := &countedClock{cancel: cancel}
			n := startNode(t, func(deps *exec.Deps) {
				counted.Clock, deps.Clock = deps.Clock, counted
				deps.Limits = exec.Limits{QueryMemoryBytes: 1 << 30, NodeMemoryBytes: 1 << 32}
			})
			n.must(t, "CREATE TABLE app.stored (id INT PRIMARY KEY, v BIGINT)")
			n.must(t, "INSERT INTO app.stored SELECT i, i FROM generate_series(1, 3000) g(i)")
			if name == "change" {
				sql = strings.ReplaceAll(sql, "r a CROSS JOIN r b CROSS JOIN r c CROSS JOIN r d", "app.stored s, (SELECT id AS n FROM app.stored) a, (SELECT id AS n FROM app.stored) b")
			} else {
				sql = numbers + " " + sql
			}
			_, err := n.engine.Execute(ctx, exec.Request{SQL: sql, Session: caller("admin", session.RoleDBA)})
			if fault.KindOf(err) != fault.Timeout {
				t.Errorf("a query whose context has ended: %v", err)
			}
			if asked := counted.asked.Load(); asked < rowsBeforeTheEnd || asked > rowsBeforeTheEnd+600 {
				t.Errorf("there were %d rows, and the context ended with row %d", asked, rowsBeforeTheEnd)
			}
		})
	}
}

// TestKillQuery finds a query by what system.sessions says and ends it.
func TestKillQuery(t *testing.T) {
	t.Parallel()
	n := startNode(t, nil)
	done := make(chan error, 1)
	go func() {
		_, err := n.engine.Execute(t.Context(), exec.Request{SQL: slowQuery, Session: caller("slow", session.RoleDBA)})
		done <- err
	}()
	running := "  FROM system.sessions WHERE user_id = 'slow' AND last_method = 'WITH'"
	waitForOne(t, n, "SELECT count(*) "+running)
	id := strings.TrimSpace(text(t, n.must(t, "SELECT session_id "+running)))
	for wrong, want := range map[string]fault.Kind{"1/999": fault.InvalidStatement, "2/1": fault.NotLeader, "x": fault.InvalidStatement} {
		if _, err := n.run(t, caller("admin", session.RoleDBA), "KILL QUERY '"+wrong+"'"); fault.KindOf(err) != want {
			t.Errorf("KILL QUERY %s: %v, want %s", wrong, err, want)
		}
	}
	n.must(t, fmt.Sprintf("KILL QUERY '%s'", id))
	if err := <-done; err == nil || !strings.Contains(err.Error(), "stopped by an administrator") {
		t.Errorf("a killed query: %v", err)
	}
}

// TestMemoryIsBounded runs what would hold more than it may, in every operator that holds rows.
func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	wide := numbers + ", w AS (SELECT n, repeat('x', 4000) || CAST(n AS TEXT) AS t FROM r) "
	queries := map[string]string{
		"sort":           wide + "SELECT n FROM w ORDER BY t DESC",
		"group":          wide + "SELECT t, count(*) FROM w GROUP BY t",
		"distinct":       wide + "SELECT DISTINCT t FROM w",
		"join":           wide + "SELECT count(*) FROM w a JOIN w b ON a.t = b.t",
		"window":         wide + "SELECT n, row_number() OVER (ORDER BY t) FROM w",
		"set operation":  wide + "SELECT t FROM w EXCEPT SELECT t FROM w WHERE n < 5",
		"result":         wide + "SELECT t FROM w",
		"aggregate":      wide + "SELECT string_agg(t, ',') FROM w",
		"array":          wide + "SELECT array_agg(t) FROM w",
		"first rows":     numbers + " SELECT n FROM r ORDER BY CASE WHEN n > 100 THEN repeat('y', 40000 + n) ELSE '' END DESC LIMIT 100",
		"one row":        numbers + " SELECT max(length(a) + length(b) + length(c)) FROM (SELECT repeat('x', 1000000 + n) AS a, repeat('x', n + 1000000) AS b, repeat('z', 1000000 + n) AS c FROM r OFFSET 0) s",
		"one new row":    "INSERT INTO app.wide VALUES (1, repeat('x', 900000), repeat('x', 900000), repeat('x', 900000))",
		"recursion":      "WITH RECURSIVE g(n, t) AS (SELECT 1, 'x' UNION ALL SELECT n + 1, repeat('x', 1000) FROM g, generate_series(1, 4) WHERE n < 8) SELECT count(*) FROM g",
		"recursive set":  "WITH RECURSIVE g(n, t) AS (SELECT 1, 'x' UNION SELECT n + 1, repeat('x', n * 100) FROM g WHERE n < 1000) SELECT count(*) FROM g",
		"distinct on":    wide + "SELECT DISTINCT ON (t) n FROM w",
		"subquery":       wide + "SELECT count(*) FROM r WHERE 'x' || n IN (SELECT t FROM w)",
		"ordered values": wide + "SELECT length(string_agg(t, ',' ORDER BY t)) FROM w",
		"change":         "INSERT INTO app.t " + wide + "SELECT n, t FROM w",
	}
	// What one query may hold, and what all may hold together.
	for _, limits := range []exec.Limits{
		{QueryMemoryBytes: 2 << 20}, {QueryMemoryBytes: 1 << 30, NodeMemoryBytes: 2 << 20},
	} {
		n := startNode(t, func(deps *exec.Deps) { deps.Limits = limits })
		n.must(t, "CREATE TABLE app.t (id BIGINT PRIMARY KEY, v TEXT)")
		n.must(t, "CREATE TABLE app.wide (id BIGINT PRIMARY KEY, a TEXT, b TEXT, c TEXT)")
		want := fault.LimitExceeded
		if limits.NodeMemoryBytes > 0 {
			want = fault.Overloaded
		}
		for name, sql := range queries {
			if _, err := n.run(t, caller("admin", session.RoleDBA), sql); fault.KindOf(err) != want {
				t.Errorf("%s: %v (%s), want %s", name, err, fault.KindOf(err), want)
			}
		}
		// Nothing stays behind: what fits still fits.
		if got := text(t, n.must(t, numbers+" SELECT count(*) FROM r")); got != "1000\n" {
			t.Errorf("after the refusals: %s", got)
		}
	}
}
