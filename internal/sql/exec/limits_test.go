package exec_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/sql/exec"
)

func TestRowLimits(t *testing.T) {
	t.Parallel()
	n := startNode(t, nil)
	n.must(t, "CREATE TABLE many (id INT PRIMARY KEY)")
	values := make([]string, 1200)
	for i := range values {
		values[i] = fmt.Sprintf("(%d)", i)
	}
	n.must(t, "INSERT INTO many VALUES "+strings.Join(values, ","))
	cases := []struct {
		sql  string
		want int
	}{
		{"SELECT id FROM many", 50},
		{"SELECT id FROM many ORDER BY id DESC", 50},
		{"SELECT id FROM many LIMIT 700", 700},
		{"SELECT id FROM many LIMIT 5000", 1000},
		{"SELECT id FROM many LIMIT ALL", 50},
		{"SELECT id FROM many LIMIT 1000 OFFSET 1000", 200},
		{"SELECT id FROM many LIMIT 0", 0},
		{"VALUES (1), (2)", 2},
		{"SELECT id FROM many ORDER BY id / 600 FETCH FIRST 5 ROWS WITH TIES", 600},
		{"SELECT id FROM many ORDER BY true FETCH FIRST 5 ROWS WITH TIES", 1000},
	}
	for _, c := range cases {
		if got := n.must(t, c.sql).Results[0].RowCount; got != c.want {
			t.Errorf("%s: %d rows, want %d", c.sql, got, c.want)
		}
	}
	n.must(t, "CREATE TABLE again (id INT PRIMARY KEY); INSERT INTO again SELECT id FROM many")
	if got := text(t, n.must(t, "SELECT COUNT(*) FROM again")); got != "1200\n" {
		t.Errorf("INSERT ... SELECT copied %q rows, want 1200", got)
	}
}

func TestQueryMemoryIsBounded(t *testing.T) {
	t.Parallel()
	n := startNode(t, func(deps *exec.Deps) { deps.Limits.QueryMemoryBytes = 1 << 20 })
	n.must(t, "CREATE TABLE wide (id INT PRIMARY KEY, s TEXT)")
	for i := range 40 {
		n.must(t, "INSERT INTO wide VALUES ($1, repeat('x', 65536))", datum.NewBigInt(int64(i)))
	}
	n.fails(t, "SQL_EXECUTION_ERROR", fault.LimitExceeded, "SELECT s FROM wide")
	n.fails(t, "SQL_EXECUTION_ERROR", fault.LimitExceeded, "SELECT s FROM wide ORDER BY s LIMIT 40")
	n.fails(t, "SQL_EXECUTION_ERROR", fault.LimitExceeded, "SELECT COUNT(*) FROM wide GROUP BY s || id")
	n.fails(t, "SQL_EXECUTION_ERROR", fault.LimitExceeded, "SELECT id, COUNT(DISTINCT s || id) FROM wide GROUP BY id")
	n.fails(t, "SQL_EXECUTION_ERROR", fault.LimitExceeded, "SELECT id, MAX(s || id) FROM wide GROUP BY id")
	n.fails(t, "SQL_EXECUTION_ERROR", fault.LimitExceeded, "DELETE FROM wide WHERE true")
	if got := text(t, n.must(t, "SELECT COUNT(*), MAX(length(s)) FROM wide")); got != "40|65536\n" {
		t.Errorf("a scan that keeps nothing: got %q", got)
	}
}

func TestStatementChangesAtMostMaxRows(t *testing.T) {
	t.Parallel()
	n := startNode(t, nil)
	n.must(t, "CREATE TABLE big (id INT PRIMARY KEY)")
	var b strings.Builder
	b.WriteString("INSERT INTO big VALUES (0)")
	for i := 1; i <= 65_536; i++ {
		fmt.Fprintf(&b, ",(%d)", i)
	}
	message := n.fails(t, "SQL_EXECUTION_ERROR", fault.LimitExceeded, b.String())
	if !strings.Contains(message, "65536") {
		t.Errorf("the message does not name the limit: %s", message)
	}
	if got := text(t, n.must(t, "SELECT COUNT(*) FROM big")); got != "0\n" {
		t.Errorf("a refused statement wrote %q rows", got)
	}
}

func TestResultsOfABatchAreBoundedTogether(t *testing.T) {
	t.Parallel()
	n := startNode(t, func(deps *exec.Deps) { deps.Limits.QueryMemoryBytes = 1 << 20 })
	const one = "SELECT repeat('x', 200000)"
	n.must(t, one)
	n.fails(t, "SQL_EXECUTION_ERROR", fault.LimitExceeded, strings.Repeat(one+";", 10))
}
