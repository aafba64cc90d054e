package server

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
)

// compactTable compacts a table through SQL and waits for the job; it returns how it ended.
func compactTable(t *testing.T, c client, n *Node, name string) string {
	t.Helper()
	answer := c.sql("STORAGE COMPACT TABLE " + name)
	_, number, ok := catalog.ParseJobID(regexp.MustCompile(`Job ID: ([A-Z]+-[0-9]+)`).FindString(answer)[len("Job ID: "):])
	if !ok {
		t.Fatalf("no job in %s", answer)
	}
	waitJob(t, n, number, "completed", inState(catalog.JobCompleted))
	return c.grid(fmt.Sprintf("SELECT job_type, message FROM system.jobs WHERE job_id = 'CO-%d'", number))
}

// TestCompactTable merges the segments of a table through SQL: every node reads the same rows before and after, from fewer
// files, with what is hot on top.
func TestCompactTable(t *testing.T) {
	t.Parallel()
	nodes := openCluster(t)
	waitReady(t, nodes...)
	c := login(t, nodes[0], "root", rootPassword)
	c.sql("CREATE NAMESPACE app")
	c.sql("CREATE TABLE app.t (id BIGINT PRIMARY KEY, name TEXT, n INT UNIQUE) WITH (TYPE = 'SHARED', DELETED_RETENTION_HOURS = '0')")
	if got := c.sql("STORAGE COMPACT TABLE app.t"); !strings.Contains(got, "skipped") {
		t.Errorf("without segments: %s", got)
	}
	for round := range 5 {
		for id := range 12 {
			c.sql(fmt.Sprintf("INSERT INTO app.t VALUES (%d, 'r%d', %d) ON CONFLICT (id) DO UPDATE SET name = excluded.name", id, round, 100+id))
		}
		c.sql(fmt.Sprintf("DELETE FROM app.t WHERE id IN (%d, 11)", round))
		if round == 2 {
			c.sql("ALTER TABLE app.t ADD COLUMN extra TEXT DEFAULT 'x'")
		}
		flushTable(t, c, nodes[round%3], "app.t")
	}
	c.sql("UPDATE app.t SET name = 'hot' WHERE id = 5")
	c.sql("DELETE FROM app.t WHERE id = 6")
	const all = "SELECT id, name, n, extra FROM app.t ORDER BY id"
	want := c.grid(all)
	ended := compactTable(t, c, nodes[0], "app.t")
	if !strings.HasPrefix(ended, "compact|merged 5 segments of 1 scopes into 1, ") {
		t.Errorf("the job says %s", ended)
	}
	reopenSegments(t, nodes...)
	for _, n := range nodes {
		if hot := hotVersions(t, n, "t"); hot != 2 {
			t.Errorf("%d versions are hot, want 2", hot)
		}
		c.url = "http://" + n.APIAddr()
		if got := c.grid(all); got != want {
			t.Errorf("node %d\ngot  %s\nwant %s", n.cfg.Cluster.NodeID, got, want)
		}
		if got := c.grid("SELECT id FROM app.t WHERE n = 107"); got != "7" {
			t.Errorf("by the index: %s", got)
		}
		segments := segmentsOf(t, n)
		if len(segments) != 1 || segments[0].GetDeletions() != 0 || segments[0].GetRows() != 10 { // 4 and 11 are gone for good
			t.Errorf("segments %v", segments)
		}
	}
	if got := c.sql("STORAGE COMPACT ALL IN app"); !strings.Contains(got, "skipped") {
		t.Errorf("when nothing is left to merge: %s", got)
	}
	status, body := c.post("/v1/api/sql", map[string]any{"sql": "INSERT INTO app.t (id, name) VALUES (7, 'again')"})
	if status == 200 {
		t.Errorf("a key of a merged segment was taken again: %s", body)
	}
	c.sql("INSERT INTO app.t (id, name) VALUES (11, 'anew')")
}

// TestCompactionThatStopsAnywhereLosesNothing ends compactions at every step, as a crash of the node would, while rows are
// changed and flushed, and compacts again.
func TestCompactionThatStopsAnywhereLosesNothing(t *testing.T) {
	t.Parallel()
	n := openNode(t, testConfig(t.TempDir()), Options{})
	waitReady(t, n)
	c := login(t, n, "root", rootPassword)
	c.sql("CREATE NAMESPACE app")
	c.sql("CREATE SHARED TABLE app.t (id BIGINT PRIMARY KEY, name TEXT) WITH (DELETED_RETENTION_HOURS = '0')")
	id := mustTable(t, n, "app", "t")
	flushNow := func() {
		t.Helper()
		if _, err := n.flusher().Table(t.Context(), id, nil); err != nil {
			t.Fatal(err)
		}
	}
	stopped := errors.New("the node dies here")
	rows := 4
	c.sql("INSERT INTO app.t VALUES (1, 'one'), (2, 'two'), (3, 'three'), (4, 'four')")
	for round, step := range []string{"write", "keep", "replace", "replaced"} {
		for change := range 3 {
			c.sql(fmt.Sprintf("UPDATE app.t SET name = 'v%d' WHERE id = 2", change))
			c.sql("DELETE FROM app.t WHERE id = 3")
			flushNow()
			c.sql(fmt.Sprintf("INSERT INTO app.t VALUES (3, 'anew %d')", change))
			flushNow()
		}
		c.sql("DELETE FROM app.t WHERE id = 3")
		check := func(when string) {
			t.Helper()
			want := fmt.Sprintf(`[["1","one"],["2","changed %d"],["4","four"]`, round)
			if got := c.sql("SELECT id, name FROM app.t ORDER BY id"); !strings.Contains(got, want) || !strings.Contains(got, fmt.Sprintf(`"row_count":%d`, rows)) {
				t.Fatalf("%s %s: %s, want %s and %d rows", step, when, got, want, rows)
			}
		}
		w := n.flusher()
		w.Step = func(at string) error {
			if at != step {
				return nil
			}
			rows++
			c.sql(fmt.Sprintf("INSERT INTO app.t VALUES (%d, 'new')", 10+rows))
			c.sql(fmt.Sprintf("UPDATE app.t SET name = 'changed %d' WHERE id = 2", round))
			flushNow() // the scope's manifest changes under the merge, and takes the next number
			return stopped
		}
		rows-- // 3 is gone
		if _, err := w.Compact(t.Context(), id, false, nil); !errors.Is(err, stopped) {
			t.Fatalf("step %s: %v", step, err)
		}
		check("stopped")
		again := n.flusher()
		interfered := false
		again.Step = func(at string) error {
			if at != "replace" || interfered {
				return nil
			}
			interfered = true
			rows++
			c.sql(fmt.Sprintf("INSERT INTO app.t VALUES (%d, 'new')", 10+rows))
			flushNow()
			return nil
		}
		if _, err := again.Compact(t.Context(), id, false, nil); err != nil {
			t.Fatalf("after the stop at %s: %v", step, err)
		}
		check("compacted again")
		reopenSegments(t, n)
		check("opened again")
		if segments := segmentsOf(t, n); len(segments) != 1 || segments[0].GetRows() != uint64(rows) {
			t.Fatalf("segments %v after a whole compaction, want one of %d rows", segments, rows)
		}
		rows++
		c.sql("INSERT INTO app.t VALUES (3, 'for the next round')")
	}
}

// TestTwoCompactionsAtOnce has one node compact while another one, which took the job over, does the same.
func TestTwoCompactionsAtOnce(t *testing.T) {
	t.Parallel()
	nodes := openCluster(t)
	waitReady(t, nodes...)
	c := login(t, nodes[0], "root", rootPassword)
	c.sql("CREATE NAMESPACE app")
	c.sql("CREATE SHARED TABLE app.t (id BIGINT PRIMARY KEY, name TEXT)")
	for _, row := range []string{"(1, 'one')", "(2, 'two')", "(3, 'three')"} {
		c.sql("INSERT INTO app.t VALUES " + row)
		flushTable(t, c, nodes[0], "app.t")
	}
	id := mustTable(t, nodes[0], "app", "t")
	first, second := nodes[0].flusher(), nodes[1].flusher()
	first.Step = func(at string) error {
		if at != "replace" || second == nil {
			return nil
		}
		w := second
		second = nil
		_, err := w.Compact(t.Context(), id, false, nil)
		return err
	}
	if _, err := first.Compact(t.Context(), id, false, nil); err != nil {
		t.Fatal(err)
	}
	reopenSegments(t, nodes...)
	for _, n := range nodes {
		wantRows(t, c, n, `[["1","one"],["2","two"],["3","three"]]`)
	}
	if segments := segmentsOf(t, nodes[0]); len(segments) != 1 {
		t.Errorf("segments %v", segments)
	}
}
