package oracle

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	_ "github.com/duckdb/duckdb-go/v2"

	"github.com/kalamdb/kalamdb-go/client"
	"github.com/kalamdb/kalamdb-go/internal/config"
	"github.com/kalamdb/kalamdb-go/internal/server"
)

const password = "a password of the oracle"

// answer is what a system says to a query: rows of texts, or an error.
type answer struct {
	rows [][]string
	err  error
}

// null is how NULL is printed; no text of the tables looks like it.
const null = "\x00"

func number(name string, otherwise uint64) uint64 {
	if n, err := strconv.ParseUint(os.Getenv(name), 10, 64); err == nil {
		return n
	}
	return otherwise
}

func TestDuckDBAgrees(t *testing.T) {
	seed, count := number("SEED", 1), number("N", 400)
	ours, theirs := openServer(t), openDuckDB(t)
	random := rand.New(rand.NewPCG(seed, 1))
	for _, statement := range tables(random) {
		if _, err := ours.Exec(t.Context(), strings.ReplaceAll(statement, "CREATE TABLE", "CREATE SHARED TABLE")); err != nil {
			t.Fatalf("%.80s: %v", statement, err)
		}
		if _, err := theirs.ExecContext(t.Context(), statement); err != nil {
			t.Fatalf("DuckDB: %.80s: %v", statement, err)
		}
	}
	s := &speaker{random: random}
	excused, failed, compared, rows := map[string]int{}, 0, 0, 0
	for range count {
		query, ordered := s.query()
		a, b := askServer(t.Context(), ours, query), askDuckDB(t.Context(), theirs, query)
		if a.err != nil && b.err != nil {
			failed++
			continue
		}
		if same(a, b, ordered) {
			compared++
			rows += len(a.rows)
			continue
		}
		if reason, ok := known(query, a, b); ok {
			excused[reason]++
			continue
		}
		t.Errorf("%s\nhere:   %s\nDuckDB: %s", query, show(a), show(b))
	}
	for reason, times := range excused {
		t.Logf("%d times: %s", times, reason)
	}
	t.Logf("seed %d: %d queries agree over %d rows, %d fail on both", seed, compared, rows, failed)
	if uint64(compared) < count/2 {
		t.Errorf("only %d of %d queries were compared", compared, count)
	}
}

func openServer(t *testing.T) *client.Client {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cfg := config.Default()
	cfg.Storage.DataPath = t.TempDir()
	cfg.Auth.RootPassword, cfg.Auth.BcryptCost = password, 4
	cfg.RateLimit.MaxQueriesPerSec, cfg.RateLimit.MaxRequestsPerIP = 0, 0
	cfg.Limits.DefaultQueryLimit, cfg.Limits.MaxQueryLimit = 100_000, 100_000
	node, err := server.Open(t.Context(), cfg, server.Options{APIListener: listener})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := node.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	c, err := client.New(client.Config{URLs: []string{"http://" + listener.Addr().String()}, User: "root", Password: password, Attempts: 20})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func openDuckDB(t *testing.T) *sql.DB {
	t.Helper()
	db, err := sql.Open("duckdb", "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

// tables makes two tables whose values repeat, with NULLs in every column but the key.
func tables(random *rand.Rand) []string {
	value := func(make func() string) string {
		if random.IntN(6) == 0 {
			return "NULL"
		}
		return make()
	}
	var statements []string
	for _, table := range []string{"t", "u"} {
		values := make([]string, map[string]int{"t": 60, "u": 25}[table])
		for id := range values {
			values[id] = fmt.Sprintf("(%d, %s, %s, %s, %s, %s)", id,
				value(func() string { return strconv.Itoa(random.IntN(14) - 3) }),
				value(func() string { return fmt.Sprintf("'text %d'", random.IntN(6)) }),
				value(func() string { return fmt.Sprintf("%d.25", random.IntN(9)-4) }),
				value(func() string { return strconv.FormatBool(random.IntN(2) == 0) }),
				value(func() string { return fmt.Sprintf("%d.%02d", random.IntN(40)-5, random.IntN(100)) }))
		}
		statements = append(statements,
			"CREATE TABLE "+table+" (id INT PRIMARY KEY, a INT, c TEXT, d DOUBLE, e BOOLEAN, m DECIMAL(10,2))",
			"INSERT INTO "+table+" VALUES "+strings.Join(values, ", "))
	}
	return statements
}

func askServer(ctx context.Context, c *client.Client, query string) answer {
	result, err := c.Query(ctx, query)
	if err != nil {
		return answer{err: err}
	}
	rows := make([][]string, len(result.Rows))
	for i, row := range result.Rows {
		for _, value := range row {
			switch v := value.(type) {
			case nil:
				rows[i] = append(rows[i], null)
			case json.Number:
				rows[i] = append(rows[i], v.String())
			default:
				rows[i] = append(rows[i], fmt.Sprint(v))
			}
		}
	}
	return answer{rows: rows}
}

func askDuckDB(ctx context.Context, db *sql.DB, query string) (a answer) {
	found, err := db.QueryContext(ctx, query)
	if err != nil {
		return answer{err: err}
	}
	defer func() {
		if err := found.Close(); err != nil && a.err == nil {
			a = answer{err: err}
		}
	}()
	columns, err := found.Columns()
	if err != nil {
		return answer{err: err}
	}
	for found.Next() {
		values, places := make([]any, len(columns)), make([]any, len(columns))
		for i := range values {
			places[i] = &values[i]
		}
		if err := found.Scan(places...); err != nil {
			return answer{err: err}
		}
		row := make([]string, len(values))
		for i, value := range values {
			row[i] = null
			if value != nil {
				row[i] = fmt.Sprint(value)
			}
		}
		a.rows = append(a.rows, row)
	}
	a.err = found.Err()
	return a
}

// same compares answers; without an order, rows are compared as a bag.
func same(a, b answer, ordered bool) bool {
	if a.err != nil || b.err != nil || len(a.rows) != len(b.rows) {
		return false
	}
	left, right := canonical(a.rows), canonical(b.rows)
	if !ordered {
		slices.Sort(left)
		slices.Sort(right)
	}
	return slices.Equal(left, right)
}

// canonical prints rows so that equal numbers look alike: to twelve digits, which leaves out the last bits of averages.
func canonical(rows [][]string) []string {
	lines := make([]string, len(rows))
	for i, row := range rows {
		for _, value := range row {
			if f, err := strconv.ParseFloat(value, 64); err == nil && !math.IsNaN(f) {
				value = strconv.FormatFloat(f+0, 'g', 12, 64)
			}
			lines[i] += value + "|"
		}
	}
	return lines
}

func show(a answer) string {
	if a.err != nil {
		return "error: " + a.err.Error()
	}
	lines := canonical(a.rows)
	slices.Sort(lines)
	return fmt.Sprintf("%d rows: %.400s", len(lines), strings.ReplaceAll(strings.Join(lines, " "), null, "NULL"))
}
