package exec_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/sql/exec"
)

// TestColdRowsCountAsMemory reads eight segments of long texts, which lie over each other in one table and one behind the other in another. A
// statement holds a block of each in the first case and of one in the second, and the bound of its memory knows.
func TestColdRowsCountAsMemory(t *testing.T) {
	t.Parallel()
	var f *flusher
	n := startNode(t, func(deps *exec.Deps) {
		deps.Limits.QueryMemoryBytes = 1 << 20
		f = withColdRows(t, deps)
	})
	const segments, rows = 8, 300
	for name, id := range map[string]func(segment, row int) int{
		"layers": func(segment, row int) int { return row*segments + segment },
		"turns":  func(segment, row int) int { return segment*rows + row },
	} {
		n.must(t, "CREATE TABLE "+name+" (id INT PRIMARY KEY, note TEXT)")
		for segment := range segments {
			values := make([]string, rows)
			for row := range values {
				values[row] = fmt.Sprintf("(%d, '%s')", id(segment, row), strings.Repeat("a note ", 100))
			}
			n.must(t, "INSERT INTO "+name+" VALUES "+strings.Join(values, ","))
			f.rounds = 0 // no compaction
			f.flush(t)
		}
	}
	for _, sql := range []string{"SELECT COUNT(note) FROM turns", "SELECT COUNT(*) FROM turns WHERE note LIKE 'b%'", "SELECT note FROM turns WHERE id = 7"} {
		n.must(t, sql)
	}
	for _, sql := range []string{"SELECT COUNT(note) FROM layers", "SELECT COUNT(*) FROM layers WHERE note LIKE 'b%'"} {
		n.fails(t, "SQL_EXECUTION_ERROR", fault.LimitExceeded, sql)
	}
}

// TestUserStorageIsThatOfTheTable flushes a table whose rows are to lie in the storages of their users, of whom none has one.
func TestUserStorageIsThatOfTheTable(t *testing.T) {
	t.Parallel()
	var f *flusher
	n := startNode(t, func(deps *exec.Deps) { f = withColdRows(t, deps) })
	n.must(t, "CREATE USER TABLE own (id INT PRIMARY KEY, note TEXT) WITH (USE_USER_STORAGE = true)")
	n.must(t, "INSERT INTO own VALUES (1, 'a'), (2, 'b')")
	f.flush(t)
	if f.moved != 2 {
		t.Errorf("%d rows became cold", f.moved)
	}
	if got := n.must(t, "SELECT note FROM own").Results[0].RowCount; got != 2 {
		t.Errorf("%d rows are read", got)
	}
}
