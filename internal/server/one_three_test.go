package server

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// statements draws statements over two tables: good ones, and such as fail in every way that data can make them fail.
type statements struct{ random *rand.Rand }

func (s statements) one(of ...string) string { return of[s.random.IntN(len(of))] }

func (s statements) table() string { return s.one("app.pub", "app.own") }

func (s statements) value() string {
	return s.one("NULL", "0", "1", "-3", "7", "2147483647", "12", "5", "9", "40 / 8")
}

func (s statements) text() string {
	return s.one("NULL", "''", "'a'", "'b'", "'Ä'", "'a' || 'b'", "'long'", "'7'")
}

func (s statements) condition() string {
	return s.one(
		"id < 10", "id = 3", "id IN (1, 4, 9, 16)", "n > 2", "n IS NULL", "t LIKE 'a%'", "t = 'b' OR n < 0", "NOT (n = 1)", "id BETWEEN 5 AND 12",
		"n = (SELECT max(n) FROM app.pub)", "id IN (SELECT id FROM app.own WHERE n > 0)", "d > 1.5", "coalesce(n, 0) % 2 = 0", "t ~ '^[ab]'", "true",
		"10 / n > 1", "t::int > 3", "EXISTS (SELECT 1 FROM app.pub p WHERE p.id = id)", "n * 2147483647 > 5", "id = 1 AND id = 2",
	)
}

func (s statements) write() string {
	table, id := s.table(), s.random.IntN(25)
	switch s.random.IntN(8) {
	case 0, 1:
		return fmt.Sprintf("INSERT INTO %s (id, n, t, d) VALUES (%d, %s, %s, %d.25)", table, id, s.value(), s.text(), s.random.IntN(4))
	case 2:
		return fmt.Sprintf("INSERT INTO %s (id, n) VALUES (%d, 1), (%d, 2), (%d, %s)", table, id, id+1, s.random.IntN(25), s.value())
	case 3:
		return fmt.Sprintf("INSERT INTO %s (id, n, t) VALUES (%d, %s, %s) ON CONFLICT (id) DO UPDATE SET n = excluded.n, t = 'again' RETURNING id, n, t",
			table, id, s.value(), s.text())
	case 4:
		return fmt.Sprintf("UPDATE %s SET n = %s, t = %s WHERE %s", table, s.one("n + 1", s.value(), "id * 2", "(SELECT count(*) FROM app.own)"), s.text(), s.condition())
	case 5:
		return fmt.Sprintf("DELETE FROM %s WHERE %s RETURNING id", table, s.condition())
	case 6:
		return fmt.Sprintf("INSERT INTO %s (id, n, t) SELECT id + %d, n, t FROM %s WHERE %s", table, s.random.IntN(30), s.table(), s.condition())
	}
	return fmt.Sprintf("BEGIN; UPDATE %s SET n = %s WHERE id = %d; INSERT INTO app.pub (id, n) VALUES (%d, 1); %s", "app.pub", s.value(), id, s.random.IntN(30),
		s.one("COMMIT", "ROLLBACK"))
}

func (s statements) read() string {
	table := s.table()
	switch s.random.IntN(6) {
	case 0:
		return fmt.Sprintf("SELECT id, n, t, d FROM %s WHERE %s ORDER BY id LIMIT %d", table, s.condition(), 1+s.random.IntN(20))
	case 1:
		return fmt.Sprintf("SELECT t, count(*), sum(n), avg(d), min(id), max(t) FROM %s WHERE %s GROUP BY t ORDER BY t NULLS FIRST", table, s.condition())
	case 2:
		return fmt.Sprintf("SELECT p.id, p.n, o.t FROM app.pub p %s JOIN app.own o ON p.%s = o.%s ORDER BY 1, 2, 3, p.id, o.id",
			s.one("", "LEFT", "RIGHT", "FULL"), s.one("id", "n"), s.one("id", "n"))
	case 3:
		return fmt.Sprintf("SELECT id, rank() OVER (PARTITION BY t ORDER BY n, id), sum(n) OVER (ORDER BY id ROWS 2 PRECEDING) FROM %s ORDER BY id", table)
	case 4:
		return "SELECT id, n FROM app.pub " + s.one("UNION", "UNION ALL", "EXCEPT", "INTERSECT") + " SELECT id, n FROM app.own ORDER BY 1, 2"
	}
	return fmt.Sprintf("WITH RECURSIVE r(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r WHERE i < %d) SELECT r.i, x.t FROM r LEFT JOIN %s x ON x.id = r.i ORDER BY 1",
		s.random.IntN(20), table)
}

// TestOneNodeEqualsThree runs the same drawn statements on a node alone and on three nodes, a different one each time: the answers
// are the same to the letter, those that fail included, and so is what the tables hold in the end.
func TestOneNodeEqualsThree(t *testing.T) {
	t.Parallel()
	alone := openNode(t, testConfig(t.TempDir()), Options{})
	nodes := openCluster(t)
	waitReady(t, append(nodes, alone)...)
	one := login(t, alone, "root", rootPassword)
	var three []client
	for _, n := range nodes {
		three = append(three, login(t, n, "root", rootPassword))
	}
	twinTables(one)
	twinTables(three[0])
	seed := rand.Uint64()
	s := statements{rand.New(rand.NewPCG(seed, 2))}
	failed := 0
	compare := func(sql string) {
		t.Helper()
		got, fine := plainAnswer(t, three[s.random.IntN(len(three))], sql)
		want, _ := plainAnswer(t, one, sql)
		if !fine {
			failed++
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("seed %d: %s\none node (-) and three (+):\n%s", seed, sql, diff)
		}
	}
	const drawn = 250
	for range drawn {
		if s.random.IntN(3) > 0 {
			compare(s.write())
		} else {
			compare(s.read())
		}
	}
	for _, table := range []string{"app.pub", "app.own"} {
		compare("SELECT id, n, t, d, _deleted FROM " + table + " ORDER BY id")
	}
	if failed < drawn/50 || failed > drawn/2 {
		t.Errorf("seed %d: %d of %d statements failed: they try too little", seed, failed, drawn)
	}
}

// plainAnswer is an answer without what differs from run to run: its duration, and the ids of transactions.
func plainAnswer(t *testing.T, c client, sql string) (answer map[string]any, fine bool) {
	t.Helper()
	status, body := c.post("/v1/api/sql", map[string]any{"sql": sql})
	if err := json.Unmarshal(body, &answer); err != nil {
		t.Fatalf("%s: %d %s: %v", sql, status, body, err)
	}
	delete(answer, "took")
	answer["http"] = status
	results, _ := answer["results"].([]any)
	for _, result := range results {
		if r, ok := result.(map[string]any); ok {
			if message, ok := r["message"].(string); ok && strings.HasPrefix(message, "Transaction ") {
				r["message"], _, _ = strings.Cut(message, " (")
			}
		}
	}
	return answer, status == http.StatusOK
}

// TestStatementsAreSerializableOnThreeNodes: single statements that decide by what others insert meanwhile, sent through three nodes
// at once. Whatever order they took effect in, it is one: no seat is given that the count forbade, and no row is claimed twice or by
// nobody who said so.
func TestStatementsAreSerializableOnThreeNodes(t *testing.T) {
	t.Parallel()
	nodes := openCluster(t)
	waitReady(t, nodes...)
	root := login(t, nodes[0], "root", rootPassword)
	root.sql("CREATE NAMESPACE app")
	root.sql("CREATE SHARED TABLE app.seats (id INT PRIMARY KEY, who INT)")
	root.sql("CREATE SHARED TABLE app.queue (id INT PRIMARY KEY, worker INT)")
	const workers, rounds, seats = 6, 8, 10
	var (
		group   sync.WaitGroup
		mu      sync.Mutex // guards claimed
		claimed = map[int]int{}
	)
	for w := range workers {
		c := login(t, nodes[w%len(nodes)], "root", rootPassword)
		group.Go(func() {
			for i := range rounds {
				number := w*rounds + i
				persist(t, c, fmt.Sprintf("INSERT INTO app.seats SELECT %d, %d WHERE (SELECT count(*) FROM app.seats) < %d", number, w, seats))
				persist(t, c, fmt.Sprintf("INSERT INTO app.queue VALUES (%d, NULL)", number))
				count := persist(t, c, fmt.Sprintf("UPDATE app.queue SET worker = %d WHERE worker IS NULL", w+1))
				mu.Lock()
				claimed[w+1] += count
				mu.Unlock()
			}
		})
	}
	group.Wait()
	if got := root.grid("SELECT count(*) FROM app.seats"); got != strconv.Itoa(seats) {
		t.Errorf("%s seats were given of %d", got, seats)
	}
	var want []string
	for w := range workers {
		if claimed[w+1] > 0 {
			want = append(want, fmt.Sprintf("%d|%d", w+1, claimed[w+1]))
		}
	}
	if got := root.grid("SELECT worker, count(*) FROM app.queue GROUP BY worker ORDER BY worker"); got != strings.Join(want, "\n") {
		t.Errorf("claimed rows:\n%s\nwant, as the answers said,\n%s", got, strings.Join(want, "\n"))
	}
}

// persist sends a statement until it is no conflict any more, and returns how many rows it changed.
func persist(t *testing.T, c client, sql string) int {
	t.Helper()
	for {
		status, body := c.post("/v1/api/sql", map[string]any{"sql": sql})
		if status == http.StatusConflict {
			continue
		}
		var a struct {
			Results []struct {
				Count int `json:"row_count"`
			} `json:"results"`
		}
		if err := json.Unmarshal(body, &a); err != nil || status != http.StatusOK {
			t.Errorf("%s: %d %s", sql, status, body)
			return 0
		}
		if len(a.Results) == 0 {
			return 0
		}
		return a.Results[0].Count
	}
}
