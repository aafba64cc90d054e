package server

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/backup"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
	"github.com/kalamdb/kalamdb-go/internal/storage/objstore"
)

// TestFirstFormatOfBackups: a backup that the program wrote before chunks were table files is whole, can be put back, and another
// one beside it shares the place.
func TestFirstFormatOfBackups(t *testing.T) {
	t.Parallel()
	place := t.TempDir()
	if err := os.CopyFS(place, os.DirFS(filepath.Join("testdata", "backup-format-1"))); err != nil {
		t.Fatal(err)
	}
	store, err := objstore.OpenDir(disk.Local(), place)
	if err != nil {
		t.Fatal(err)
	}
	whole := func(name string, format int) {
		t.Helper()
		report, failed := backup.Verify(t.Context(), store, name, func(uint32, string) {})
		if failed != nil || len(report.Problems) > 0 || report.Manifest.Format != format || report.Manifest.Totals.Rows != 4 {
			t.Fatalf("%q: %+v, %v", name, report, failed)
		}
	}
	names, err := backup.List(t.Context(), store)
	if err != nil || len(names) != 1 {
		t.Fatal(names, err)
	}
	whole(names[0], 1)
	n, root := oneNode(t, withShards(3, 1))
	completed(t, n, root, "RESTORE DATABASE FROM '"+place+"'")
	alice := login(t, n, "alice", "Secret-of-a-user-1")
	for sql, want := range map[string]string{
		"SELECT id, body FROM app.notes ORDER BY id":                         `"rows":[["1","one"],["2","two"]]`,
		"SELECT id, price FROM app.prices WHERE id IN (1, 3) ORDER BY id":    `"rows":[["1","1.50"],["3","3.00"]]`,
		"SELECT count(*) FROM app.prices WHERE id = 2 AND price IS NOT NULL": `"rows":[["0"]]`,
	} {
		c := root
		if strings.Contains(sql, "notes") {
			c = alice
		}
		if _, answer := c.post("/v1/api/sql", map[string]any{"sql": sql}); !strings.Contains(string(answer), want) {
			t.Errorf("%s: %s, want %s", sql, answer, want)
		}
	}
	completed(t, n, root, "BACKUP DATABASE TO '"+place+"'")
	if names, err = backup.List(t.Context(), store); err != nil || len(names) != 2 {
		t.Fatal(names, err)
	}
	whole(names[0], 1)
	whole(names[1], 2)
}
