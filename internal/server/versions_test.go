package server

import (
	"strings"
	"testing"
)

// TestSchemasHaveARowForEachVersion: every change of a table leaves the version before it in system.schemas, on the node after a restart
// too; a change that changes nothing leaves none, and a table that is dropped has no history for the next one of its name.
func TestSchemasHaveARowForEachVersion(t *testing.T) {
	t.Parallel()
	config := testConfig(t.TempDir())
	n := openNode(t, config, Options{})
	waitReady(t, n)
	root := login(t, n, "root", rootPassword)
	root.sql("CREATE NAMESPACE app")
	root.sql("CREATE SHARED TABLE app.items (id BIGINT PRIMARY KEY, name TEXT) WITH (ACCESS_LEVEL = 'public')")
	root.sql("ALTER TABLE app.items ADD COLUMN price INT DEFAULT 3")
	root.sql("ALTER TABLE app.items RENAME COLUMN name TO title")
	root.sql("ALTER TABLE app.items RENAME COLUMN title TO title")
	root.sql("CREATE INDEX by_price ON app.items (price)") // leaves the columns, and so the version, as they are, or is one itself
	root.sql("ALTER TABLE app.items SET ACCESS LEVEL dba")

	const versions = `SELECT schema_version, is_latest, access_level, columns FROM system.schemas WHERE table_id = 'app.items' ORDER BY schema_version`
	before := root.grid(versions)
	lines := strings.Split(before, "\n")
	for i, line := range lines {
		latest := "false"
		if i == len(lines)-1 {
			latest = "true"
		}
		if !strings.HasPrefix(line, string(rune('1'+i))+"|"+latest+"|") {
			t.Fatalf("version %d is %s\nof\n%s", i+1, line, before)
		}
	}
	if len(lines) < 4 {
		t.Fatalf("versions:\n%s", before)
	}
	for i, want := range []struct{ has, hasNot string }{
		{`"column_name":"name"`, "price"}, {`"column_name":"price"`, "title"}, {`"column_name":"title"`, `"column_name":"name"`},
	} {
		if !strings.Contains(lines[i], want.has) || strings.Contains(lines[i], want.hasNot) {
			t.Errorf("version %d is %s", i+1, lines[i])
		}
	}
	if !strings.Contains(lines[0], "|public|") || !strings.Contains(lines[len(lines)-1], "|dba|") {
		t.Errorf("access levels:\n%s", before)
	}

	closeNode(t, n)
	n = openNode(t, config, Options{})
	waitReady(t, n)
	root = login(t, n, "root", rootPassword)
	if after := root.grid(versions); after != before {
		t.Errorf("after a restart:\n%s\nwant\n%s", after, before)
	}
	root.sql("DROP TABLE app.items")
	root.sql("CREATE SHARED TABLE app.items (id BIGINT PRIMARY KEY)")
	if got := root.grid("SELECT schema_version, is_latest FROM system.schemas WHERE table_id = 'app.items'"); got != "1|true" {
		t.Errorf("of a new table:\n%s", got)
	}
}
