package exec_test

import (
	cryptorand "crypto/rand"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/executor"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/sql/exec"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// direct applies a command behind the engine's back.
func (n *node) direct(t *testing.T, cmd *commandv1.Command) {
	t.Helper()
	direct := executor.NewDirect(n, clock.NewManual(time.Unix(1, 0)), cryptorand.Reader, nil)
	if _, err := direct.Execute(t.Context(), shard.SharedShard(0), cmd); err != nil {
		t.Fatal(err)
	}
}

// purgeIndex takes all entries of a table's first index away.
func (n *node) purgeIndex(t *testing.T, table *schema.Table) {
	t.Helper()
	n.direct(t, &commandv1.Command{Body: &commandv1.Command_PurgeIndex{PurgeIndex: &commandv1.PurgeIndex{
		TableId: uint64(table.ID), IndexId: table.Indexes[0].ID,
	}}})
}

// indexRows gives entries of a table's first index to its first rows, by primary key, of those that satisfy a condition. The
// table has the columns id and a, both INT, and an index on a.
func (n *node) indexRows(t *testing.T, table *schema.Table, where string, count int) {
	t.Helper()
	found := n.must(t, fmt.Sprintf("SELECT id, a, _seq FROM %s WHERE %s AND id > -1 ORDER BY id LIMIT %d", table.Name, where, count))
	body := &commandv1.IndexRows{TableId: uint64(table.ID)}
	positions, _ := table.Positions(&table.Indexes[0])
	for _, row := range found.Results[0].Rows {
		key, unique := schema.AppendIndexKey(nil, &table.Indexes[0], positions, row)
		body.Rows = append(body.Rows, &commandv1.IndexRow{
			PrimaryKey: datum.AppendKey(nil, row[0]), ExpectSeq: uint64(row[2].Int()),
			Entry: &commandv1.IndexEntry{IndexId: table.Indexes[0].ID, Key: key, Unique: unique},
		})
	}
	n.direct(t, &commandv1.Command{Body: &commandv1.Command_IndexRows{IndexRows: body}})
}

// TestFrequentValuesAreNotReadByIndex leaves an index with only a part of the entries of a value: what reads it finds that
// part, what goes through the table finds all rows. An index pays while it has less than a sixteenth of the rows.
func TestFrequentValuesAreNotReadByIndex(t *testing.T) {
	t.Parallel()
	for _, flushed := range []bool{false, true} {
		t.Run(fmt.Sprintf("flushed %v", flushed), func(t *testing.T) {
			t.Parallel()
			n := startNode(t, func(deps *exec.Deps) { deps.Limits = exec.Limits{} })
			n.must(t, "CREATE SHARED TABLE t (id INT PRIMARY KEY, a INT, b TEXT); CREATE INDEX by_a ON t (a)")
			const rows, chunk = 16_000, 2_000
			for first := 0; first < rows; first += chunk {
				values := make([]string, chunk)
				for i := range values {
					values[i] = fmt.Sprintf("(%d, %d, 'text of row %d')", first+i, (first+i)%2, first+i)
				}
				n.must(t, "INSERT INTO t VALUES "+strings.Join(values, ", "))
			}
			table := n.catalog.Current().TablesIn("app")[0]
			n.purgeIndex(t, table)
			n.indexRows(t, table, "a + 0 = 1", 700)
			n.indexRows(t, table, "a + 0 = 0", 2_000)
			if flushed {
				if err := n.storage.Flush(); err != nil {
					t.Fatal(err)
				}
			}
			if got := text(t, n.must(t, "SELECT count(*) FROM t WHERE a = 1")); got != "700\n" {
				t.Errorf("counted %q of a value with few entries, want the 700 that the index has", got)
			}
			if got := text(t, n.must(t, "SELECT count(*) FROM t WHERE a = 0")); got != "8000\n" {
				t.Errorf("counted %q of a value with many entries, want the 8000 that the table has", got)
			}
		})
	}
}

// TestOrderingsAndJoinsReadIndexes takes the entries of an index away: what reads it finds nothing.
func TestOrderingsAndJoinsReadIndexes(t *testing.T) {
	t.Parallel()
	n := startNode(t, nil)
	n.must(t, "CREATE SHARED TABLE t (id INT PRIMARY KEY, a INT, b INT); CREATE INDEX by_a ON t (a, b)")
	n.must(t, "INSERT INTO t VALUES (1, 5, 1), (2, 5, 2), (3, 6, 3), (4, NULL, 4)")
	n.purgeIndex(t, n.catalog.Current().TablesIn("app")[0])
	for sql, reads := range map[string]bool{
		"SELECT id FROM t ORDER BY a LIMIT 2":                                true,
		"SELECT id FROM t ORDER BY a DESC LIMIT 2":                           true,
		"SELECT id FROM t WHERE a > 1 ORDER BY a, b LIMIT 2":                 true,
		"SELECT id FROM t WHERE a = 5 AND id > 0 ORDER BY b DESC LIMIT 2":    true,
		"SELECT b FROM t ORDER BY a, id DESC LIMIT 2 OFFSET 1":               true,
		"SELECT l.b FROM t l JOIN t r ON l.b = r.a WHERE l.id < 3":           false, // 5 and 6 are no b
		"SELECT l.b FROM t l LEFT JOIN t r ON l.id + 4 = r.a WHERE l.id = 1": true,
		"SELECT id FROM t ORDER BY b LIMIT 2":                                false,
		"SELECT id FROM t ORDER BY a NULLS FIRST LIMIT 2":                    false,
		"SELECT id FROM t ORDER BY a DESC NULLS LAST LIMIT 2":                false,
		"SELECT id FROM t WHERE b IN (1, 2) ORDER BY b LIMIT 2":              false,
		"SELECT id FROM t WHERE _deleted = false ORDER BY a LIMIT 2":         false,
	} {
		plan := text(t, n.must(t, "EXPLAIN "+sql))
		if strings.Contains(sql, "JOIN") {
			if !strings.Contains(plan, "index=by_a") {
				t.Errorf("%s: EXPLAIN names no index:\n%s", sql, plan)
			}
			continue
		}
		if got := strings.Contains(plan, "index=by_a"); got != reads {
			t.Errorf("%s: EXPLAIN names the index: %v, want %v\n%s", sql, got, reads, plan)
		}
		if got := text(t, n.must(t, sql)); (got == "") != reads {
			t.Errorf("%s: found %q without the index", sql, got)
		}
	}
	if got := text(t, n.must(t, "SELECT r.id FROM t l JOIN t r ON l.id + 4 = r.a")); got != "" {
		t.Errorf("a join found %q without the index", got)
	}
	if got := text(t, n.must(t, "EXPLAIN SELECT b FROM t ORDER BY id LIMIT 1")); strings.Contains(got, "Sort") {
		t.Errorf("rows in order of their key are sorted:\n%s", got)
	}
}
