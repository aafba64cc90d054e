package exec_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/session"
	"github.com/kalamdb/kalamdb-go/internal/sql/exec"
)

// fillEvents makes a shared table of n rows with ids from 1.
func fillEvents(b *testing.B, n *node, rows int) {
	b.Helper()
	n.must(b, "CREATE TABLE events (id BIGINT PRIMARY KEY, kind TEXT NOT NULL, amount BIGINT, score DOUBLE, note TEXT)")
	const perStatement = 1000
	for first := 1; first <= rows; first += perStatement {
		values := make([]string, 0, perStatement)
		for id := first; id < first+perStatement && id <= rows; id++ {
			values = append(values, fmt.Sprintf("(%d, 'kind %d', %d, %d.5, 'a note of some length for row %d')", id, id%10, id*7919%1000, id%100, id))
		}
		n.must(b, "INSERT INTO events VALUES "+strings.Join(values, ", "))
	}
	if err := n.storage.Flush(); err != nil {
		b.Fatalf("flush: %v", err)
	}
}

func benchmark(b *testing.B, rows int, want int, sql string, params ...datum.Datum) {
	b.Helper()
	n := startNode(b, func(deps *exec.Deps) { deps.Limits = exec.Limits{} })
	fillEvents(b, n, rows)
	as := caller("admin", session.RoleDBA)
	request := exec.Request{SQL: sql, Params: params, Session: as}
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		response, err := n.engine.Execute(b.Context(), request)
		if err != nil {
			b.Fatalf("%s: %v", sql, err)
		}
		if got := len(response.Results[0].Rows); got != want {
			b.Fatalf("%s: %d rows, want %d", sql, got, want)
		}
	}
}

func BenchmarkPointRead(b *testing.B) {
	benchmark(b, 1000, 1, "SELECT id, kind, amount FROM events WHERE id = $1", datum.NewBigInt(500))
}

func BenchmarkFilterTop20(b *testing.B) {
	benchmark(b, 1000, 20, "SELECT id, amount FROM events WHERE amount < 900 ORDER BY amount DESC LIMIT 20")
}

func BenchmarkAggregate100k(b *testing.B) {
	benchmark(b, 100_000, 10, "SELECT kind, COUNT(*), SUM(amount) FROM events GROUP BY kind")
}

func BenchmarkCount100k(b *testing.B) {
	benchmark(b, 100_000, 1, "SELECT COUNT(*) FROM events")
}

// BenchmarkHashJoin joins 100,000 rows with 1,000.
func BenchmarkHashJoin100k(b *testing.B) {
	n := startNode(b, func(deps *exec.Deps) { deps.Limits = exec.Limits{} })
	fillEvents(b, n, 100_000)
	n.must(b, "CREATE TABLE names (amount BIGINT PRIMARY KEY, name TEXT NOT NULL)")
	values := make([]string, 1000)
	for i := range values {
		values[i] = fmt.Sprintf("(%d, 'name %d')", i, i%7)
	}
	n.must(b, "INSERT INTO names VALUES "+strings.Join(values, ", "))
	request := exec.Request{
		SQL:     "SELECT COUNT(*), MAX(name) FROM events JOIN names ON names.amount = events.amount",
		Session: caller("admin", session.RoleDBA),
	}
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		response, err := n.engine.Execute(b.Context(), request)
		if err != nil {
			b.Fatalf("join: %v", err)
		}
		if got := response.Results[0].Rows[0][0].Int(); got != 100_000 {
			b.Fatalf("join: %d rows", got)
		}
	}
}

func BenchmarkInsertRow(b *testing.B) {
	n := startNode(b, nil)
	fillEvents(b, n, 1)
	as := caller("admin", session.RoleDBA)
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		if _, err := n.engine.Execute(b.Context(), exec.Request{
			SQL: "INSERT INTO events (id, kind, amount) VALUES ($1, 'k', 7)", Params: []datum.Datum{datum.NewBigInt(int64(i) + 100)}, Session: as,
		}); err != nil {
			b.Fatalf("insert: %v", err)
		}
	}
}

// BenchmarkCancel ends queries that would run for minutes, as a closed connection, a deadline and KILL do, and reports how long they go on:
// the middle one and the longest, in milliseconds.
func BenchmarkCancel(b *testing.B) {
	for _, way := range []string{"connection", "deadline", "kill"} {
		for name, sql := range endlessQueries() {
			b.Run(way+"/"+name, func(b *testing.B) {
				n := startNode(b, nil)
				b.ResetTimer()
				took := make([]time.Duration, b.N)
				for i := range took {
					took[i] = goesOn(b, n, way, sql)
				}
				slices.Sort(took)
				b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "ms-p50")
				b.ReportMetric(float64(took[len(took)-1].Microseconds())/1000, "ms-max")
			})
		}
	}
}

// goesOn runs a query, ends it and measures until it has ended.
func goesOn(b *testing.B, n *node, way, sql string) time.Duration {
	b.Helper()
	const deadline = 300 * time.Millisecond
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	began := time.Now()
	if way == "deadline" {
		ctx, cancel = context.WithTimeout(ctx, deadline)
		defer cancel()
	}
	done := make(chan error, 1)
	go func() {
		_, err := n.engine.Execute(ctx, exec.Request{SQL: sql, Session: caller("slow", session.RoleDBA)})
		done <- err
	}()
	left := began.Add(deadline)
	if way != "deadline" {
		running := " FROM system.sessions WHERE last_method = 'WITH' AND user_id = 'slow'"
		waitForOne(b, n, "SELECT count(*)"+running)
		id := strings.TrimSpace(text(b, n.must(b, "SELECT session_id"+running)))
		<-time.After(time.Until(left)) // it is in the midst of its work then
		if left = time.Now(); way == "kill" {
			n.must(b, "KILL QUERY '"+id+"'")
		} else {
			cancel()
		}
	}
	err := <-done
	ended := time.Since(left)
	if err == nil || way != "kill" && fault.KindOf(err) != fault.Timeout {
		b.Fatalf("a query that was ended: %v", err)
	}
	return ended
}

// BenchmarkThousandUsers lets a thousand users of one role say the statements of one application in turn, and reports how many of each
// hundred requests found their plan, and how many plans are kept.
func BenchmarkThousandUsers(b *testing.B) {
	statements := []string{
		"SELECT id, body FROM notes WHERE id = $1",
		"SELECT id, body, done FROM notes WHERE done = FALSE AND id >= $1 ORDER BY id LIMIT 20",
		"SELECT COUNT(*) FROM notes WHERE id > $1",
		"SELECT id, upper(body) AS title FROM notes WHERE body LIKE 'note%' AND id <> $1 ORDER BY body DESC LIMIT 10",
		"SELECT done, COUNT(*), MAX(id) FROM notes WHERE id >= $1 GROUP BY done ORDER BY done",
		"SELECT body FROM notes WHERE id = (SELECT MAX(id) FROM notes WHERE id >= $1)",
		"SELECT id FROM notes WHERE CURRENT_USER() <> body AND id IN (1, 2, $1)",
		"WITH open AS (SELECT * FROM notes WHERE NOT done) SELECT id, body FROM open WHERE id >= $1",
	}
	for _, said := range []int{1, len(statements)} {
		b.Run(fmt.Sprintf("statements=%d", said), func(b *testing.B) {
			n := startNode(b, nil)
			n.must(b, "CREATE USER TABLE notes (id BIGINT PRIMARY KEY, body TEXT, done BOOLEAN DEFAULT FALSE)")
			users := make([]session.Session, 1000)
			for i := range users {
				users[i] = caller(fmt.Sprintf("user%d", i), session.RoleUser)
				n.mustAs(b, users[i], "INSERT INTO notes (id, body) VALUES (1, 'note one'), (2, 'note two'), (3, 'note three')")
			}
			params := []datum.Datum{datum.NewBigInt(1)}
			hitsBefore, _ := n.engine.PlanUse()
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				// Neither users nor statements come in an order that follows the other's.
				request := exec.Request{SQL: statements[i*7919%said], Params: params, Session: users[i*7907/said%len(users)]}
				if _, err := n.engine.Execute(b.Context(), request); err != nil {
					b.Fatalf("%s: %v", request.SQL, err)
				}
			}
			hits, _ := n.engine.PlanUse()
			b.ReportMetric(100*float64(hits-hitsBefore)/float64(b.N), "hit-%")
			b.ReportMetric(float64(n.engine.CachedPlans()), "plans")
		})
	}
}
