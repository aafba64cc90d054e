package exec_test

import (
	"errors"
	"runtime"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/sql/exec"
)

// heapSink compares, when a row comes, what the heap has grown by since the statement began with what the engine accounts for.
type heapSink struct {
	engine    *exec.Engine
	at        int // which row
	before    uint64
	grown     int64
	accounted int64
}

var errMeasured = errors.New("measured")

func liveHeap() uint64 {
	runtime.GC()
	var now runtime.MemStats
	runtime.ReadMemStats(&now)
	return now.HeapAlloc
}

func (s *heapSink) Begin([]exec.Column, ident.UserID) error { return nil }

func (s *heapSink) Row([]datum.Datum) error {
	if s.at--; s.at > 0 {
		return nil
	}
	s.grown = int64(liveHeap() - s.before)
	_, s.accounted = s.engine.Usage()
	return errMeasured
}

// TestAccountIsTheHeap has queries keep many narrow rows, which are little beside what keeps them, and holds the account of memory to what
// the heap has really grown by. It is not parallel: nothing else may use the heap.
func TestAccountIsTheHeap(t *testing.T) { //nolint:paralleltest // it measures the heap of the process
	n := startNode(t, func(deps *exec.Deps) { deps.Limits = exec.Limits{NodeMemoryBytes: 4 << 30, QueryMemoryBytes: 4 << 30} })
	const rows, plain = 200_000, "generate_series(1, 200000)"
	const series = plain + " AS t(x)"
	for _, test := range []struct {
		name, sql string
		at        int
	}{
		{"sort", "SELECT x FROM " + series + " ORDER BY x DESC", 1},
		{"sort by three", "SELECT x FROM " + series + " ORDER BY x % 7, x % 11, x", 1},
		{"window, ordered", "SELECT x, row_number() OVER (ORDER BY x DESC) FROM " + series, 1},
		{"window, partitions", "SELECT x, sum(x) OVER (PARTITION BY x % 1000) FROM " + series, 1},
		{"two windows", "SELECT x, rank() OVER (ORDER BY x), lag(x, 2) OVER (PARTITION BY x % 10 ORDER BY x) FROM " + series, 1},
		{"join by numbers", "SELECT a.x FROM " + plain + " AS a(x) JOIN " + plain + " AS b(x) ON a.x = b.x", 1},
		{"join of few keys", "SELECT a.x FROM " + plain + " AS a(x) JOIN " + plain + " AS b(x) ON a.x = b.x % 10", 1},
		{"join by texts", "SELECT a.x FROM " + plain + " AS a(x) JOIN (SELECT x::text AS y FROM " + series + ") AS b ON a.x::text = b.y", 1},
		{"join without keys", "SELECT a.x FROM " + plain + " AS a(x) JOIN " + plain + " AS b(x) ON a.x < b.x", 1},
		{"group", "SELECT x, count(*) FROM " + series + " GROUP BY x", 1},
		{"group by two", "SELECT x % 2, x, count(*), sum(x) FROM " + series + " GROUP BY x % 2, x", 1},
		{"distinct", "SELECT DISTINCT x FROM " + series, rows},
		{"distinct on", "SELECT DISTINCT ON (x) x FROM " + series, rows},
		{"union", "SELECT x FROM " + series + " UNION SELECT x FROM " + series, rows},
		{"intersect", "SELECT x FROM " + series + " INTERSECT SELECT x FROM " + series, rows},
		{"except", "SELECT -x FROM " + series + " EXCEPT SELECT x FROM " + series, rows},
		{"shared", "WITH w AS MATERIALIZED (SELECT x FROM " + series + ") SELECT a.x FROM w AS a, w AS b", 1},
		{"subquery", "SELECT (SELECT count(*) FROM (SELECT x FROM " + series + " ORDER BY x DESC OFFSET 10) AS d) + x FROM " + series, 1},
	} {
		sink := &heapSink{engine: n.engine, at: test.at, before: liveHeap()}
		_, err := n.engine.Execute(t.Context(), exec.Request{Session: admin(), SQL: test.sql, Rows: sink})
		if !errors.Is(err, errMeasured) {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		t.Logf("%s: %d KiB of %d KiB", test.name, sink.accounted>>10, sink.grown>>10)
		if sink.accounted*10 < sink.grown*7 {
			t.Errorf("%s: the account has %d KiB, the heap has grown by %d KiB", test.name, sink.accounted>>10, sink.grown>>10)
		}
	}
}
