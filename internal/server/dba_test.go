package server

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestTablesOfDBAAreThere reads and writes the tables that a cluster is founded with, with every role that may and may not.
func TestTablesOfDBAAreThere(t *testing.T) {
	t.Parallel()
	_, root, callers := rolesNode(t)
	const columns = "SELECT table_name, column_name, data_type, nullable FROM system.columns WHERE namespace_id = 'dba' " +
		"AND column_name NOT LIKE '\\_%' ORDER BY table_name, ordinal"
	want := strings.Join([]string{
		"notifications|id|TEXT|false", "notifications|user_id|TEXT|false", "notifications|title|TEXT|false", "notifications|body|TEXT|true",
		"notifications|is_read|BOOLEAN|false", "notifications|created_at|TIMESTAMP|false", "notifications|updated_at|TIMESTAMP|false",
		"stats|id|TEXT|false", "stats|node_id|TEXT|false", "stats|metric_name|TEXT|false", "stats|metric_value|DOUBLE|false",
		"stats|metric_unit|TEXT|true", "stats|sampled_at|TIMESTAMP|false",
	}, "\n")
	if got := root.grid(columns); got != want {
		t.Errorf("the columns are\n%s\nwant\n%s", got, want)
	}
	if got := root.grid("SELECT table_name, access_level, table_type FROM system.schemas WHERE namespace_id = 'dba' ORDER BY table_name"); got !=
		"notifications|public|shared\nstats|dba|shared" {
		t.Errorf("the tables are\n%s", got)
	}
	for i, want := range []struct{ stats, notify, read int }{
		{http.StatusBadRequest, http.StatusForbidden, http.StatusOK}, // for these the table of statistics does not exist
		{http.StatusBadRequest, http.StatusOK, http.StatusOK},
		{http.StatusOK, http.StatusOK, http.StatusOK},
		{http.StatusOK, http.StatusOK, http.StatusOK},
	} {
		caller := callers[i]
		for sql, want := range map[string]int{
			"SELECT * FROM dba.stats": want.stats,
			"INSERT INTO dba.notifications (user_id, title) VALUES ('alice', 'A title')": want.notify,
			"SELECT title, body, is_read FROM dba.notifications":                         want.read,
		} {
			if status, a := caller.ask(sql); status != want {
				t.Errorf("%s as %s: %d %+v, want %d", sql, roleNames()[i], status, a.Error, want)
			}
		}
	}
	if got := root.grid("SELECT DISTINCT user_id, title, body, is_read, created_at = updated_at FROM dba.notifications"); got != "alice|A title|null|false|true" {
		t.Errorf("notifications are %q", got)
	}
}

// TestStatsAreSampled writes samples: those of one period are one row for each statistic, and another period's stand beside them.
func TestStatsAreSampled(t *testing.T) {
	t.Parallel()
	n := openNode(t, testConfig(t.TempDir()), Options{})
	waitReady(t, n)
	root := login(t, n, "root", rootPassword)
	at := time.Unix(1_800_000_000, 0)
	sample := func(at time.Time) {
		t.Helper()
		if err := n.sampleStats(t.Context(), at); err != nil {
			t.Fatal(err)
		}
	}
	sample(at)
	numbers := root.grid("SELECT count(*), count(DISTINCT metric_name), min(sampled_at) = max(sampled_at) FROM dba.stats")
	sample(at.Add(time.Second))
	if got := root.grid("SELECT count(*), count(DISTINCT metric_name), min(sampled_at) = max(sampled_at) FROM dba.stats"); got != numbers {
		t.Errorf("a second sample of the period left %s, the first %s", got, numbers)
	}
	if got := root.grid("SELECT metric_name, metric_unit, metric_value > 0, node_id FROM dba.stats WHERE metric_name IN " +
		"('log_syncs', 'memory_usage_mb') ORDER BY metric_name"); got != "log_syncs|null|true|1\nmemory_usage_mb|mb|true|1" {
		t.Errorf("samples are\n%s", got)
	}
	sample(at.Add(statsPeriod))
	sample(at.Add(statsSamples * statsPeriod)) // in the place of the first
	if got := root.grid("SELECT count(*), count(DISTINCT sampled_at) FROM dba.stats WHERE metric_name = 'log_syncs'"); got != "2|2" {
		t.Errorf("after a day there are %s samples", got)
	}
	root.sql("DROP TABLE dba.stats")
	sample(at)
	root.sql("CREATE SHARED TABLE dba.stats (id INT PRIMARY KEY)")
	sample(at) // somebody else's table is left alone
	if got := root.grid("SELECT count(*) FROM dba.stats"); got != "0" {
		t.Errorf("a table of that name that somebody made has %s rows", got)
	}
}

// TestRestoreLeavesTablesOfDBAOut restores into a cluster whose own tables of dba have rows: these stay, those of the backup are not
// in it, and a table that somebody made under such a name takes the place of the cluster's own.
func TestRestoreLeavesTablesOfDBAOut(t *testing.T) {
	t.Parallel()
	n := openNode(t, testConfig(t.TempDir()), Options{})
	waitReady(t, n)
	root := login(t, n, "root", rootPassword)
	place := filepath.Join(t.TempDir(), "backup")
	root.sql("CREATE NAMESPACE app")
	root.sql("CREATE SHARED TABLE app.t (id INT PRIMARY KEY)")
	root.sql("INSERT INTO app.t VALUES (1), (2)")
	root.sql("INSERT INTO dba.notifications (user_id, title) VALUES ('alice', 'of the old cluster')")
	root.sql("ALTER TABLE dba.notifications ADD COLUMN severity INT") // there is a replaced version now
	root.sql("DROP TABLE dba.stats")
	root.sql("CREATE SHARED TABLE dba.stats (id INT PRIMARY KEY, what TEXT)")
	root.sql("INSERT INTO dba.stats VALUES (1, 'mine')")
	completed(t, n, root, "BACKUP DATABASE TO '"+place+"'")

	fresh := openNode(t, testConfig(t.TempDir()), Options{})
	waitReady(t, fresh)
	there := login(t, fresh, "root", rootPassword)
	there.sql("INSERT INTO dba.notifications (user_id, title) VALUES ('bob', 'of the new cluster')")
	there.sql("INSERT INTO dba.stats (node_id, metric_name, metric_value) VALUES ('1', 'a', 1)")
	completed(t, fresh, there, "RESTORE DATABASE FROM '"+place+"'")
	for sql, want := range map[string]string{
		"SELECT count(*) FROM app.t":                                    "2",
		"SELECT user_id, title FROM dba.notifications":                  "bob|of the new cluster",
		"SELECT id, what FROM dba.stats":                                "1|mine",
		"SELECT count(*) FROM system.tables WHERE namespace_id = 'dba'": "2",
	} {
		if got := there.grid(sql); got != want {
			t.Errorf("%s gives %q, want %q", sql, got, want)
		}
	}
	there.sql("CREATE SHARED TABLE app.more (id INT PRIMARY KEY)")
	if id := mustTable(t, fresh, "app", "more"); id.Reserved() || id <= mustTable(t, fresh, "dba", "stats") {
		t.Errorf("a new table has id %d", id)
	}
}
