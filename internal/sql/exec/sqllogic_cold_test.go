package exec_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/cold"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/flush"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/sql/exec"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
	"github.com/kalamdb/kalamdb-go/internal/storages"
)

// flusher makes the rows of a node cold.
type flusher struct {
	catalog *catalog.Store
	worker  *flush.Worker
	rounds  int
	moved   int64
	merged  int
}

// withColdRows gives a node segments, in a directory of the test.
func withColdRows(t *testing.T, deps *exec.Deps) *flusher {
	t.Helper()
	set := storages.NewSet(storages.Config{DataPath: t.TempDir(), FS: disk.Local(), Keys: &storages.Keyring{}, Clock: deps.Clock})
	deps.Cold = cold.New(cold.Config{Catalog: deps.Catalog, Storages: set, FS: disk.Local(), ReadAhead: 1})
	t.Cleanup(func() {
		if err := deps.Cold.Close(); err != nil {
			t.Errorf("close segments: %v", err)
		}
		set.Close()
	})
	return &flusher{catalog: deps.Catalog, worker: &flush.Worker{
		Catalog: deps.Catalog, Storage: deps.Storage, Executor: deps.Executor, Cold: deps.Cold, Clock: deps.Clock, Applied: deps.AppliedIndex,
	}}
}

// flush makes all rows cold, and merges segments every third time.
func (f *flusher) flush(t *testing.T) {
	t.Helper()
	f.rounds++
	current := f.catalog.Current()
	for _, table := range current.Tables() {
		if flush.Flushable(current, table.ID) == nil {
			f.flushTable(t, table)
		}
	}
}

// flushOf makes the rows of one table cold and says how many have become so.
func (f *flusher) flushOf(t *testing.T, name string) int64 {
	t.Helper()
	for _, table := range f.catalog.Current().Tables() {
		if table.Name == name {
			before := f.moved
			f.flushTable(t, table)
			return f.moved - before
		}
	}
	t.Fatalf("no table %s", name)
	return 0
}

func (f *flusher) flushTable(t *testing.T, table *schema.Table) {
	t.Helper()
	moved, err := f.worker.Table(t.Context(), table.ID, nil)
	if err != nil && fault.KindOf(err) != fault.LimitExceeded {
		t.Fatalf("flush %s: %v", table.FullName(), err)
	}
	f.moved += moved.Rows
	if f.rounds%3 != 0 {
		return
	}
	did, err := f.worker.Compact(t.Context(), table.ID, false, nil)
	if err != nil {
		t.Fatalf("compact %s: %v", table.FullName(), err)
	}
	f.merged += did.Merged
}

// mayChange reports whether a record may have changed rows: RETURNING and WITH make queries of changes.
func (r *logicRecord) mayChange() bool {
	first, _, _ := strings.Cut(strings.ToUpper(r.sql), " ")
	return r.words[0] == "statement" || first == "INSERT" || first == "UPDATE" || first == "DELETE" || first == "WITH"
}

// TestSQLLogicOnColdRows runs the scripts of TestSQLLogic with every row cold: after every statement that changed something, all
// tables are flushed before the next record runs, and their segments merged every third time. The answers must be those of hot rows.
func TestSQLLogicOnColdRows(t *testing.T) {
	t.Parallel()
	for _, file := range logicFiles(t) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			records, err := readLogic(file)
			if err != nil {
				t.Fatal(err)
			}
			var f *flusher
			n := startNode(t, func(deps *exec.Deps) {
				deps.Limits = exec.Limits{}
				f = withColdRows(t, deps)
			})
			changed := false
			for _, record := range records {
				if changed {
					f.flush(t)
				}
				changed = record.mayChange()
				if message := record.check(t, n); message != "" {
					t.Errorf("%s:%d: %s\n%s", file, record.line, message, record.sql)
				}
			}
			t.Logf("%d rows became cold, %d segments were merged", f.moved, f.merged)
		})
	}
}
