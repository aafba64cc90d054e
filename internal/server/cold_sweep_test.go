package server

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/cold"
	"github.com/kalamdb/kalamdb-go/internal/storage/objstore"
)

// TestSweepDeletesOnlyWhatNobodyNames leaves files in all ways in which they can be left, and looks for them again and again.
func TestSweepDeletesOnlyWhatNobodyNames(t *testing.T) {
	t.Parallel()
	n := openNode(t, testConfig(t.TempDir()), Options{})
	waitReady(t, n)
	c := login(t, n, "root", rootPassword)
	c.sql("CREATE NAMESPACE app")
	c.sql("CREATE SHARED TABLE app.t (id BIGINT PRIMARY KEY, name TEXT)")
	c.sql("CREATE SHARED TABLE app.gone (id BIGINT PRIMARY KEY, name TEXT)")
	id := mustTable(t, n, "app", "t")
	stopped := errors.New("the node dies here")
	die := func(step string) func(string) error {
		return func(at string) error {
			if at == step {
				return stopped
			}
			return nil
		}
	}
	for i := range 3 {
		c.sql(fmt.Sprintf("INSERT INTO app.t VALUES (%d, 'row')", i))
		w := n.flusher()
		w.Step = die("commit") // between file and command
		if _, err := w.Table(t.Context(), id, nil); !errors.Is(err, stopped) {
			t.Fatal(err)
		}
		flushTable(t, c, n, "app.t")
	}
	w := n.flusher()
	w.Step = die("replace")
	if _, err := w.Compact(t.Context(), id, false, nil); !errors.Is(err, stopped) {
		t.Fatal(err)
	}
	w.Step = nil
	if _, err := w.Compact(t.Context(), id, false, nil); err != nil {
		t.Fatal(err)
	}
	c.sql("INSERT INTO app.gone VALUES (1, 'row')")
	flushTable(t, c, n, "app.gone")
	tendFiles(t, n)
	c.sql("DROP TABLE app.gone")
	files := func() (found int) {
		t.Helper()
		objects, err := n.cold.Objects("local")
		if err == nil {
			err = objects.List(t.Context(), "", func(o objstore.ObjectInfo) error {
				if strings.HasSuffix(o.Key, ".parquet") {
					found++
				}
				return nil
			})
		}
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	if got := files(); got != 3+3+2+1 {
		t.Fatalf("%d files, want those of three flushes that died, three that did not, two compactions and a dropped table", got)
	}
	later := clock.NewManual(time.Now())
	s := n.sweeper(later)
	sweep := func(what string, want int) {
		t.Helper()
		if _, err := s.Sweep(t.Context()); err != nil && !errors.Is(err, stopped) {
			t.Fatal(err)
		}
		if got := files(); got != want {
			t.Errorf("%s: %d files, want %d", what, got, want)
		}
	}
	waitPurged(t, n)
	sweep("at first sight", 9)
	later.Advance(time.Hour - time.Second)
	sweep("before the grace is over", 9)
	later.Advance(time.Second)
	busy := s.Busy
	s.Busy = func() (bool, error) { return true, nil }
	sweep("while a backup runs", 9)
	s.Busy = busy
	deletions := 0
	s.Step = func(string) error {
		if deletions++; deletions == 5 { // one of them is the manifest.json of the dropped table
			return stopped
		}
		return nil
	}
	sweep("until the node dies", 6)
	s.Step = nil
	// A file that somebody names after all, however late, stays.
	late := n.flusher()
	c.sql("INSERT INTO app.t VALUES (100, 'late')")
	late.Step = func(at string) error {
		if at == "commit" {
			sweep("with a new file", 7-5)
			later.Advance(time.Hour)
		}
		return nil
	}
	if _, err := late.Table(t.Context(), id, nil); err != nil {
		t.Fatal(err)
	}
	sweep("when it is named", 2)
	for name, wanted := range map[string]bool{"gone": false, "t": true} {
		_, err := os.Stat(filepath.Join(n.cfg.Storage.DataPath, "storage", "app", name, cold.ManifestName))
		if (err == nil) != wanted {
			t.Errorf("the manifest.json of %s is there: %v, want %v", name, err, wanted)
		}
	}
	reopenSegments(t, n)
	wantRows(t, c, n, `[["0","row"],["1","row"],["2","row"],["100","late"]]`)
}

// TestSweepSparesManifestsOfOthers puts manifest.json of other writers into a storage that is not the node's own: only what this cluster wrote
// goes when its table is dropped.
func TestSweepSparesManifestsOfOthers(t *testing.T) {
	t.Parallel()
	n, c := oneNode(t, withShards(1, 1))
	base := t.TempDir()
	c.sql("CREATE STORAGE elsewhere TYPE filesystem NAME 'x' BASE_DIRECTORY '" + base + "'")
	c.sql("CREATE NAMESPACE app")
	c.sql("CREATE TABLE app.t (id BIGINT PRIMARY KEY, name TEXT) WITH (TYPE = 'SHARED', STORAGE_ID = 'elsewhere')")
	c.sql("INSERT INTO app.t VALUES (1, 'one')")
	flushTable(t, c, n, "app.t")
	tendFiles(t, n)
	foreign := map[string]string{"a/manifest.json": `{"name": "a web page"}`, "b/manifest.json": "no JSON", "c/manifest.json": `{"cluster": "another one"}`}
	for name, content := range foreign {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(base, name)), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(base, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c.sql("DROP TABLE app.t")
	waitPurged(t, n)
	later := clock.NewManual(time.Now())
	s := n.sweeper(later)
	deleted := 0
	for range 3 {
		swept, err := s.Sweep(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		deleted += swept
		later.Advance(time.Hour)
	}
	if deleted != 2 {
		t.Errorf("%d files went, want the segment and its manifest.json", deleted)
	}
	for name := range foreign {
		if _, err := os.Stat(filepath.Join(base, name)); err != nil {
			t.Error(err)
		}
	}
}

// TestSweepSparesFilesOfStoragesThatShareADirectory looks for files from storages whose directories lie above, below and at the
// one in which a table has its segments.
func TestSweepSparesFilesOfStoragesThatShareADirectory(t *testing.T) {
	t.Parallel()
	n, c := oneNode(t, withShards(1, 1))
	base := t.TempDir()
	for _, s := range [][2]string{{"above", base}, {"here", base + "/mid"}, {"again", base + "/mid"}, {"below", base + "/mid/app/t"}} {
		c.sql("CREATE STORAGE " + s[0] + " TYPE filesystem NAME 'x' BASE_DIRECTORY '" + s[1] + "'")
	}
	c.sql("CREATE NAMESPACE app")
	c.sql("CREATE TABLE app.t (id BIGINT PRIMARY KEY, name TEXT) WITH (TYPE = 'SHARED', STORAGE_ID = 'here')")
	c.sql("INSERT INTO app.t VALUES (1, 'one')")
	flushTable(t, c, n, "app.t")
	later := clock.NewManual(time.Now())
	s := n.sweeper(later)
	for range 3 {
		if deleted, err := s.Sweep(t.Context()); deleted > 0 || err != nil {
			t.Errorf("%d files were swept that a manifest names: %v", deleted, err)
		}
		later.Advance(time.Hour)
	}
	reopenSegments(t, n)
	wantRows(t, c, n, `[["1","one"]]`)
}
