package server

import (
	"fmt"
	"strings"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/config"
)

// TestRestoreOfLargeRows backs up a row that grew when an index was made on its text later. A cluster whose log takes entries of that size restores it. Another one
// says which row is too large and which setting is too small, and is as empty as before; so does every one for a row that no log takes.
func TestRestoreOfLargeRows(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		text     int // bytes
		restored bool
		advice   string // of a cluster with small segments
	}{
		"fits elsewhere": {300_000, true, "raft.log_segment_bytes = 3145728 or more on every node"},
		"fits nowhere":   {2_400_000, false, "drop an index of the table, or make the row smaller, where it was backed up"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			large := func(cfg *config.Config) {
				withShards(1, 1)(cfg)
				cfg.Raft.LogSegmentBytes = 32 << 20
			}
			n, root := oneNode(t, large)
			root.sql("CREATE NAMESPACE app")
			root.sql("CREATE TABLE app.t (id BIGINT PRIMARY KEY, body TEXT) WITH (TYPE = 'SHARED')")
			root.sql(fmt.Sprintf("INSERT INTO app.t VALUES (1, 'small'), (2, repeat('large ', %d))", test.text/6))
			root.sql("CREATE INDEX by_body ON app.t (body)")
			place := t.TempDir()
			completed(t, n, root, "BACKUP DATABASE TO '"+place+"'")
			if test.restored {
				wide, there := oneNode(t, large)
				completed(t, wide, there, "RESTORE DATABASE FROM '"+place+"'")
				want := fmt.Sprintf("1|5\n2|%d", test.text/6*6)
				if got := there.grid("SELECT id, length(body) FROM app.t WHERE body > 'la' ORDER BY id"); got != want {
					t.Errorf("restored: %q, want %q", got, want)
				}
			}
			narrow, empty := oneNode(t, withShards(1, 1))
			job := startJob(t, narrow, empty, "RESTORE DATABASE FROM '"+place+"'")
			if catalog.JobState(job.GetState()) != catalog.JobFailed || job.GetRetries() > 1 {
				t.Errorf("the job is %s after %d tries", catalog.JobState(job.GetState()), job.GetRetries())
			}
			for _, word := range []string{"the row with id = 2 in table 'app.t'", test.advice} {
				if !strings.Contains(job.GetError(), word) {
					t.Errorf("the job says %q, which does not say %q", job.GetError(), word)
				}
			}
			if got := empty.grid("SELECT namespace_id, table_name FROM system.tables WHERE namespace_id = 'app'"); got != "" {
				t.Errorf("the refused restore leaves %q", got)
			}
		})
	}
}

// TestRestoreOfLongKeys: a list of small numbers is five times as long in the key of an index as in its row, and its row is found before anything
// is changed, too.
func TestRestoreOfLongKeys(t *testing.T) {
	t.Parallel()
	n, root := oneNode(t, func(cfg *config.Config) {
		withShards(1, 1)(cfg)
		cfg.Raft.LogSegmentBytes = 32 << 20
	})
	root.sql("CREATE NAMESPACE app")
	root.sql("CREATE TABLE app.t (id BIGINT PRIMARY KEY, list INT[]) WITH (TYPE = 'SHARED')")
	root.sql("INSERT INTO app.t VALUES (2, ARRAY[1" + strings.Repeat(",1", 72_000) + "])")
	root.sql("CREATE INDEX by_list ON app.t (list)")
	place := t.TempDir()
	completed(t, n, root, "BACKUP DATABASE TO '"+place+"'")
	narrow, empty := oneNode(t, withShards(1, 1))
	job := startJob(t, narrow, empty, "RESTORE DATABASE FROM '"+place+"'")
	if catalog.JobState(job.GetState()) != catalog.JobFailed || !strings.Contains(job.GetError(), "the row with id = 2 in table 'app.t'") {
		t.Errorf("the job is %s: %s", catalog.JobState(job.GetState()), job.GetError())
	}
	if got := empty.grid("SELECT namespace_id, table_name FROM system.tables WHERE namespace_id = 'app'"); got != "" {
		t.Errorf("the refused restore leaves %q", got)
	}
}
