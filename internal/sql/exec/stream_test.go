package exec_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/session"
	"github.com/kalamdb/kalamdb-go/internal/sql/exec"
)

// countingSink counts what it is given.
type countingSink struct {
	begins, rows int
	asUser       ident.UserID
	columns      int
	stopAt       int // the row at which it wants no more; zero for never
}

var errEnough = errors.New("enough")

func (s *countingSink) Begin(columns []exec.Column, asUser ident.UserID) error {
	s.begins, s.rows, s.asUser, s.columns = s.begins+1, 0, asUser, len(columns)
	return nil
}

func (s *countingSink) Row([]datum.Datum) error {
	if s.rows++; s.rows == s.stopAt {
		return errEnough
	}
	return nil
}

// TestStreamedRowsTakeNoMemory: a query whose rows are many times what it may hold succeeds when they are streamed.
func TestStreamedRowsTakeNoMemory(t *testing.T) {
	t.Parallel()
	n := startNode(t, func(deps *exec.Deps) { deps.Limits = exec.Limits{QueryMemoryBytes: 256 << 10} })
	n.must(t, "CREATE SHARED TABLE t (id INT PRIMARY KEY, v TEXT)")
	for first := 0; first < 2000; first += 500 {
		values := make([]string, 500)
		for i := range values {
			values[i] = "(" + datum.NewBigInt(int64(first+i)).String() + ", '" + strings.Repeat("x", 100) + "')"
		}
		n.must(t, "INSERT INTO t VALUES "+strings.Join(values, ", "))
	}
	as := caller("admin", session.RoleDBA)
	const query = "SELECT l.id, l.v || r.v FROM t l JOIN t r ON r.id = l.id + 0 WHERE l.id < 1000 UNION ALL SELECT id, v FROM t"
	if _, err := n.run(t, as, query); fault.KindOf(err) != fault.LimitExceeded {
		t.Fatalf("collected: %v, want the limit of memory", err)
	}
	for range 2 { // planned, then from the cache
		sink := &countingSink{}
		response, err := n.engine.Execute(t.Context(), exec.Request{SQL: "SELECT id, v || v FROM t", Session: as, Rows: sink})
		if err != nil {
			t.Fatal(err)
		}
		result := response.Results[0]
		if sink.rows != 2000 || sink.begins != 1 || sink.columns != 2 || sink.asUser != "admin" || !result.Streamed || result.RowCount != 2000 || result.Rows != nil {
			t.Errorf("sink %+v, result of %d rows, streamed %v", sink, result.RowCount, result.Streamed)
		}
	}
	if _, memory := n.engine.Usage(); memory != 0 {
		t.Errorf("%d bytes are still accounted for", memory)
	}
}

// TestSinkEndsTheQuery: what the sink refuses ends the query with that error; several statements are collected.
func TestSinkEndsTheQuery(t *testing.T) {
	t.Parallel()
	n := startNode(t, nil)
	n.must(t, "CREATE SHARED TABLE t (id INT PRIMARY KEY); INSERT INTO t VALUES (1), (2), (3)")
	as := caller("admin", session.RoleDBA)
	sink := &countingSink{stopAt: 2}
	if _, err := n.engine.Execute(t.Context(), exec.Request{SQL: "SELECT id FROM t", Session: as, Rows: sink}); !errors.Is(err, errEnough) || sink.rows != 2 {
		t.Errorf("after %d rows: %v", sink.rows, err)
	}
	sink = &countingSink{}
	response, err := n.engine.Execute(t.Context(), exec.Request{SQL: "SELECT id FROM t; SELECT 1", Session: as, Rows: sink})
	if err != nil || sink.begins != 0 || len(response.Results[0].Rows) != 3 {
		t.Errorf("two statements: %v, %+v", err, sink)
	}
}
