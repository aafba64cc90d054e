package server

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/table"
)

// answer is the envelope of the SQL route.
type answer struct {
	Status  string `json:"status"`
	Results []struct {
		Schema []struct {
			Name string `json:"name"`
		} `json:"schema"`
		Rows    [][]any `json:"rows"`
		Message string  `json:"message"`
	} `json:"results"`
	Error *struct {
		Code    string `json:"code"`
		Message string `json:"message"`
		Details string `json:"details"`
	} `json:"error"`
}

// ask runs SQL and returns the status and the envelope.
func (c client) ask(sql string) (int, answer) {
	c.t.Helper()
	status, body := c.post("/v1/api/sql", map[string]any{"sql": sql})
	var a answer
	if err := json.Unmarshal(body, &a); err != nil {
		c.t.Fatalf("%s: %d %s: %v", sql, status, body, err)
	}
	return status, a
}

// grid runs SQL that gives rows and prints them, columns behind bars.
func (c client) grid(sql string) string {
	c.t.Helper()
	status, a := c.ask(sql)
	if status != http.StatusOK || len(a.Results) != 1 {
		c.t.Fatalf("%s: %d %+v", sql, status, a.Error)
	}
	var lines []string
	for _, row := range a.Results[0].Rows {
		cells := make([]string, len(row))
		for i, cell := range row {
			if text, ok := cell.(string); ok {
				cells[i] = text
				continue
			}
			encoded, err := json.Marshal(cell)
			if err != nil {
				c.t.Fatal(err)
			}
			cells[i] = string(encoded)
		}
		lines = append(lines, strings.Join(cells, "|"))
	}
	return strings.Join(lines, "\n")
}

// systemNode is a standalone node with the users ann (user) and sam (service).
func systemNode(t *testing.T) (n *Node, root, ann client) {
	t.Helper()
	n = openNode(t, testConfig(t.TempDir()), Options{})
	waitReady(t, n)
	root = login(t, n, "root", rootPassword)
	root.sql("CREATE USER ann WITH PASSWORD 'Secret-of-ann-1' ROLE user")
	root.sql("CREATE NAMESPACE app")
	root.sql("CREATE USER TABLE app.notes (id BIGINT PRIMARY KEY, body TEXT DEFAULT 'none')")
	root.sql("CREATE SHARED TABLE app.hidden (id BIGINT PRIMARY KEY)")
	return n, root, login(t, n, "ann", "Secret-of-ann-1")
}

// TestEveryViewIsReadOverHTTP reads every computed table with the columns that it declares. Those of system are for
// administrators alone, the others for everybody.
func TestEveryViewIsReadOverHTTP(t *testing.T) {
	t.Parallel()
	_, root, ann := systemNode(t)
	for _, view := range table.NewSystem(table.SystemOptions{}).Views() {
		status, a := root.ask("SELECT * FROM " + view.FullName())
		if status != http.StatusOK {
			t.Errorf("%s: %d %+v", view.FullName(), status, a.Error)
			continue
		}
		for i, column := range a.Results[0].Schema {
			if column.Name != view.Columns[i].Name {
				t.Errorf("%s: column %d is %s, want %s", view.FullName(), i, column.Name, view.Columns[i].Name)
			}
		}
		status, a = ann.ask("SELECT * FROM " + view.FullName())
		if view.Namespace != table.SystemNamespace {
			if status != http.StatusOK {
				t.Errorf("%s for a user: %d %+v", view.FullName(), status, a.Error)
			}
			continue
		}
		if status != http.StatusForbidden || a.Error == nil || a.Error.Code != "PERMISSION_DENIED" {
			t.Errorf("%s for a user: %d %+v", view.FullName(), status, a.Error)
		}
	}
	for _, alias := range []string{"system.table_schemas", "system.live_queries"} {
		if status, a := root.ask("SELECT * FROM " + alias); status != http.StatusOK {
			t.Errorf("%s: %d %+v", alias, status, a.Error)
		}
	}
}

// TestCatalogViewsShowWhatTheCallerMayKnow asks as drivers and the command line do.
func TestCatalogViewsShowWhatTheCallerMayKnow(t *testing.T) {
	t.Parallel()
	_, root, ann := systemNode(t)
	tables := "SELECT table_schema, table_name, table_type FROM information_schema.tables WHERE table_schema = 'app' ORDER BY table_name"
	if got, want := root.grid(tables), "app|hidden|BASE TABLE\napp|notes|BASE TABLE"; got != want {
		t.Errorf("tables for root:\n%s\nwant\n%s", got, want)
	}
	if got, want := ann.grid(tables), "app|notes|BASE TABLE"; got != want {
		t.Errorf("tables for ann:\n%s\nwant\n%s", got, want)
	}
	columns := "SELECT table_schema, table_name, column_name, data_type, is_nullable, column_default, ordinal_position " +
		"FROM information_schema.columns WHERE table_name IN ('notes', 'hidden') ORDER BY table_name, ordinal_position"
	if got, want := ann.grid(columns), "app|notes|id|BIGINT|NO|null|1\napp|notes|body|TEXT|YES|none|2"; got != want {
		t.Errorf("columns for ann:\n%s\nwant\n%s", got, want)
	}
	classes := `SELECT n.nspname, c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull
		FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid
		WHERE c.relkind = 'r' AND pg_catalog.pg_table_is_visible(c.oid) AND a.attnum > 0 AND n.nspname = 'app' ORDER BY 2, a.attnum`
	if got, want := ann.grid(classes), "app|notes|id|bigint|true\napp|notes|body|text|false"; got != want {
		t.Errorf("classes for ann:\n%s\nwant\n%s", got, want)
	}
	if got, want := ann.grid("SELECT current_database(), current_schema(), version() LIKE 'PostgreSQL%'"), "kalam|default|true"; got != want {
		t.Errorf("session functions: %s, want %s", got, want)
	}
	if got := ann.grid("SHOW TABLES IN app"); !strings.Contains(got, "notes") || strings.Contains(got, "hidden") {
		t.Errorf("SHOW TABLES for ann: %s", got)
	}
	if got, want := ann.grid("SHOW STATS FOR TABLE app.notes"), "app|notes|user|1|2|0"; got != want {
		t.Errorf("SHOW STATS: %s, want %s", got, want)
	}
	if got := ann.grid("DESCRIBE TABLE app.notes"); !strings.HasPrefix(got, "id|1|1|BIGINT|false|true|null|null|1|true\nbody|2|2|TEXT|true|false|none|") {
		t.Errorf("DESCRIBE: %s", got)
	}
	if status, a := ann.ask("DESCRIBE TABLE app.hidden"); status != http.StatusBadRequest || strings.Contains(a.Error.Message, "hidden") {
		t.Errorf("DESCRIBE of a hidden table: %d %+v", status, a.Error)
	}
}

// TestWhatTheNodeServes shows live queries, connections and log lines as they are.
func TestWhatTheNodeServes(t *testing.T) {
	t.Parallel()
	n, root, ann := systemNode(t)
	if got := root.grid("SELECT live_id FROM system.live"); got != "" {
		t.Errorf("live queries before there are any: %s", got)
	}
	s := watch(t, n, ann)
	s.subscribe("mine", "SELECT * FROM app.notes WHERE id > 3", "")
	ann.sql("INSERT INTO app.notes VALUES (4, 'x'), (1, 'y')")
	if f := s.next(); f.ChangeType != "insert" {
		t.Fatalf("the change: %+v", f)
	}
	got := root.grid("SELECT subscription_id, namespace_id, table_name, user_id, query, status, changes FROM system.live")
	if want := "mine|app|notes|ann|SELECT * FROM app.notes WHERE id > 3|active|1"; got != want {
		t.Errorf("system.live shows %s, want %s", got, want)
	}
	got = root.grid("SELECT s.state, s.client_addr, s.transport, s.last_method FROM system.sessions s JOIN system.live l ON l.connection_id = s.session_id")
	if want := "active|127.0.0.1|websocket|subscribe"; got != want {
		t.Errorf("system.sessions shows %s, want %s", got, want)
	}
	before := time.Now().UTC().Truncate(time.Microsecond)
	n.logger.Warn("something odd", slog.Int("count", 3))
	if got, want := root.grid("SELECT level, message FROM system.server_logs WHERE message LIKE 'something%'"), "warn|something odd count=3"; got != want {
		t.Errorf("system.server_logs shows %s, want %s", got, want)
	}
	logged, err := time.Parse(time.RFC3339, root.grid("SELECT timestamp FROM system.server_logs WHERE message LIKE 'something%'"))
	if err != nil || logged.Before(before) {
		t.Errorf("the line was logged at %v, %v; it was written after %v", logged, err, before)
	}
}

// TestStatsAreThere reads the figures of a node by the names that clients know.
func TestStatsAreThere(t *testing.T) {
	t.Parallel()
	n, root, ann := systemNode(t)
	s := watch(t, n, ann)
	s.subscribe("mine", "SELECT * FROM app.notes WHERE id > 3", "")
	root.sql("CREATE SCHEDULE later EVERY '12 hours' DO SELECT 1")
	within(t, "the node has tidied up, for the next hour", func() bool {
		return root.grid("SELECT job_type, status FROM system.jobs") == "job_cleanup|completed"
	})
	figures := map[string]string{}
	for line := range strings.Lines(root.grid("SELECT metric_name, metric_value FROM system.stats")) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "|")
		if _, twice := figures[name]; twice {
			t.Errorf("%s is there twice", name)
		}
		figures[name] = value
	}
	for name, want := range map[string]string{
		"total_users": "2", "total_namespaces": "3", "total_tables": "4", "total_storages": "1", "total_jobs": "1", "jobs_queued": "0", "jobs_running": "0",
		"jobs_failed": "0", "total_live_queries": "1", "active_subscriptions": "1", "active_subscriptions_peak": "1", "websocket_sessions": "1",
		"websocket_sessions_peak": "1", "schema_cache_size": "4", "node_id": "1", "cluster_mode": "false",
	} {
		if figures[name] != want {
			t.Errorf("%s is %q, want %s", name, figures[name], want)
		}
	}
	for _, name := range []string{
		"active_connections", "active_connections_peak", "plan_cache_size", "plan_cache_hits", "plan_cache_misses", "memory_usage_mb", "cpu_usage_percent", "uptime_seconds", "open_files_total",
	} {
		value, err := strconv.ParseFloat(figures[name], 64)
		if err != nil || value < 0 || strings.HasPrefix(name, "active") && value < 1 {
			t.Errorf("%s is %q", name, figures[name])
		}
	}
}

// TestLogRingIsBounded shows that the oldest line makes room.
func TestLogRingIsBounded(t *testing.T) {
	t.Parallel()
	var ring logRing
	for i := range maxLogLines + 10 {
		ring.add(table.LogLine{AtMicros: int64(i)})
	}
	lines := ring.list()
	if len(lines) != maxLogLines || lines[0].AtMicros != 10 || lines[len(lines)-1].AtMicros != maxLogLines+9 {
		t.Errorf("%d lines from %d to %d", len(lines), lines[0].AtMicros, lines[len(lines)-1].AtMicros)
	}
}

// TestStorages makes, tries, uses and drops a storage.
func TestStorages(t *testing.T) {
	t.Parallel()
	_, root, ann := systemNode(t)
	directory := filepath.Join(t.TempDir(), "archive")
	root.sql("CREATE STORAGE archive TYPE filesystem NAME 'Old rows' PATH '" + directory + "'")
	got := root.grid("SELECT storage_id, storage_name, storage_type, base_directory, shared_tables_template, user_tables_template FROM system.storages")
	want := "local|Local storage|filesystem||{namespace}/{tableName}|{namespace}/{tableName}/{userId}\n" +
		"archive|Old rows|filesystem|" + directory + "|{namespace}/{tableName}|{namespace}/{tableName}/{userId}"
	if got != want {
		t.Errorf("system.storages:\n%s\nwant\n%s", got, want)
	}
	for _, id := range []string{"archive EXTENDED", "local"} {
		if got := root.grid("STORAGE CHECK " + id); !strings.Contains(got, "|healthy|true|true|true|true|") {
			t.Errorf("STORAGE CHECK %s: %s", id, got)
		}
	}
	root.sql("CREATE SHARED TABLE app.cold (id BIGINT PRIMARY KEY) WITH (STORAGE_ID = 'archive')")
	for sql, part := range map[string]string{
		"DROP STORAGE archive":                                                                      "used by table 'app.cold'",
		"ALTER STORAGE archive SET PATH '/tmp'":                                                     "used by table 'app.cold'",
		"DROP STORAGE local":                                                                        "always there",
		"DROP STORAGE nowhere":                                                                      "not found",
		"CREATE STORAGE archive TYPE filesystem PATH '/tmp'":                                        "already exists",
		"CREATE STORAGE s TYPE gcs BUCKET 'b'":                                                      "not supported",
		"CREATE STORAGE s TYPE filesystem PATH 'here'":                                              "absolute path",
		"CREATE STORAGE s TYPE filesystem PATH '/proc/nothing'":                                     "cannot be used from this node",
		"CREATE STORAGE s TYPE filesystem PATH '/tmp' CONFIG '['":                                   "JSON object",
		"CREATE TABLE app.x (id INT PRIMARY KEY) WITH (STORAGE_ID='no')":                            "storage 'no' not found",
		"ALTER STORAGE archive SET USER_TABLES_TEMPLATE '{namespace}'":                              "must hold {tableName} once",
		"ALTER STORAGE archive SET USER_TABLES_TEMPLATE '{namespace}/{tableName}-{userId}'":         "two placeholders in '{tableName}-{userId}'",
		"ALTER STORAGE archive SET USER_TABLES_TEMPLATE '{namespace}/{tableName}/{userId}/{shard}'": "must be a relative path of letters and {namespace}, {tableName}, {userId}",
		"ALTER STORAGE archive SET SHARED_TABLES_TEMPLATE '{namespace}/{tableName}/{userId}'":       "must be a relative path of letters and {namespace}, {tableName}",
		"ALTER STORAGE archive SET SHARED_TABLES_TEMPLATE '../{namespace}/{tableName}'":             "must be a relative path",
		"ALTER STORAGE archive SET SHARED_TABLES_TEMPLATE '/{namespace}/{tableName}'":               "must be a relative path",
		"CREATE STORAGE s TYPE filesystem PATH '/tmp/../etc'":                                       "without '..'",
	} {
		if status, a := root.ask(sql); status != http.StatusBadRequest || !strings.Contains(a.Error.Message, part) {
			t.Errorf("%s: %d %+v, want 400 with %q", sql, status, a.Error, part)
		}
	}
	if status, _ := ann.ask("STORAGE CHECK archive"); status != http.StatusForbidden {
		t.Errorf("STORAGE CHECK by a user: %d", status)
	}
	root.sql("ALTER STORAGE archive SET NAME 'Cold' DESCRIPTION 'd'")
	if got := root.grid("SELECT storage_name, description FROM system.storages WHERE storage_id = 'archive'"); got != "Cold|d" {
		t.Errorf("after ALTER: %s", got)
	}
	root.sql("DROP TABLE app.cold")
	root.sql("DROP STORAGE archive")
	root.sql("DROP STORAGE IF EXISTS archive")
}

// TestAuditOfLogins shows that counted failures and the lock are in the audit log, with the caller's address, and
// that neither unknown users nor a locked account can fill it.
func TestAuditOfLogins(t *testing.T) {
	t.Parallel()
	_, root, ann := systemNode(t)
	for range 8 {
		ann.post("/v1/api/auth/login", map[string]any{"user": "ann", "password": "wrong"})
		ann.post("/v1/api/auth/login", map[string]any{"user": "nobody", "password": "wrong"})
	}
	got := root.grid("SELECT action, count(*), min(ip_address), min(subject_user_id) FROM system.audit_log WHERE target IN ('ann', 'nobody') GROUP BY action ORDER BY action")
	if want := "ACCOUNT_LOCKED|1|127.0.0.1|ann\nCREATE_USER|1|127.0.0.1|ann\nLOGIN_FAILED|4|127.0.0.1|ann"; got != want {
		t.Errorf("the audit log has\n%s\nwant\n%s", got, want)
	}
	if status, _ := ann.post("/v1/api/auth/login", map[string]any{"user": "ann", "password": "Secret-of-ann-1"}); status != http.StatusUnauthorized {
		t.Errorf("a locked account logs in: %d", status)
	}
}
