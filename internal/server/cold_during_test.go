package server

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/cold"
)

// TestRowsThatChangeDuringAFlushStayHot changes rows between the picture and the commit.
func TestRowsThatChangeDuringAFlushStayHot(t *testing.T) {
	t.Parallel()
	n := openNode(t, testConfig(t.TempDir()), Options{})
	waitReady(t, n)
	c := login(t, n, "root", rootPassword)
	c.sql("CREATE NAMESPACE app")
	c.sql("CREATE SHARED TABLE app.t (id BIGINT PRIMARY KEY, name TEXT)")
	c.sql("INSERT INTO app.t VALUES (1, 'a'), (3, 'c'), (5, 'e'), (7, 'g')")
	w := n.flusher()
	w.Step = func(at string) error {
		if at == "commit" {
			c.sql("UPDATE app.t SET name = 'C' WHERE id = 3")
			c.sql("DELETE FROM app.t WHERE id = 5")
			c.sql("INSERT INTO app.t VALUES (2, 'b')")
		}
		return nil
	}
	if _, err := w.Table(t.Context(), mustTable(t, n, "app", "t"), nil); err != nil {
		t.Fatal(err)
	}
	if hot := hotVersions(t, n, "t"); hot != 3 {
		t.Errorf("%d versions are hot, want the three that were written meanwhile", hot)
	}
	if got := c.sql("SELECT id, name FROM app.t ORDER BY id"); !strings.Contains(got, `[["1","a"],["2","b"],["3","C"],["7","g"]]`) {
		t.Error(got)
	}
	// A second flush that began before the first was committed has nothing to say any more.
	second := n.flusher()
	second.Step = func(at string) error {
		if at != "commit" {
			return nil
		}
		second.Step = nil
		_, err := n.flusher().Table(t.Context(), mustTable(t, n, "app", "t"), nil)
		return err
	}
	if _, err := second.Table(t.Context(), mustTable(t, n, "app", "t"), nil); err != nil {
		t.Fatal(err)
	}
	if segments := segmentsOf(t, n); len(segments) != 2 {
		t.Errorf("%d segments, want 2: rows were moved twice", len(segments))
	}
	if got := c.sql("SELECT id, name FROM app.t ORDER BY id"); !strings.Contains(got, `[["1","a"],["2","b"],["3","C"],["7","g"]]`) {
		t.Error(got)
	}
}

// TestWipedStorageIsFilledAgain removes all files of cold rows of one node: without a single read they come back from the
// others, and manifests are beside them.
func TestWipedStorageIsFilledAgain(t *testing.T) {
	t.Parallel()
	nodes := openCluster(t)
	waitReady(t, nodes...)
	c := login(t, nodes[0], "root", rootPassword)
	c.sql("CREATE NAMESPACE app")
	c.sql("CREATE TABLE app.t (id BIGINT PRIMARY KEY, name TEXT) WITH (TYPE='USER')")
	c.sql("INSERT INTO app.t VALUES (1, 'one'), (2, 'two')")
	flushTable(t, c, nodes[0], "app.t")
	wiped := nodes[2]
	if hot := hotVersions(t, wiped, "t"); hot != 0 {
		t.Fatalf("%d rows are hot", hot)
	}
	directory := filepath.Join(wiped.cfg.Storage.DataPath, "storage", "app")
	if err := os.RemoveAll(directory); err != nil {
		t.Fatal(err)
	}
	fresh := cold.New(cold.Config{Catalog: wiped.catalog, Storages: wiped.storages, FS: wiped.fs.FS, Peers: coldPeers{wiped}.peers})
	scopes, err := cold.Scopes(wiped.catalog.Current(), wiped.store, dataGroups(wiped.who().Shards))
	if err != nil || len(scopes) != 1 {
		t.Fatalf("%d scopes have cold rows, %v", len(scopes), err)
	}
	if err = fresh.Tend(t.Context(), scopes); err != nil {
		t.Fatal(err)
	}
	if err = fresh.Ensure(scopes[0].Manifest.GetSegments()[0]); err != nil {
		t.Error(err)
	}
	if err = fresh.Close(); err != nil {
		t.Error(err)
	}
	raw, err := os.ReadFile(filepath.Join(directory, "t", "root", "manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		TableID  string `json:"table_id"`
		UserID   string `json:"user_id"`
		Segments []struct {
			Path string `json:"path"`
			Rows int    `json:"row_count"`
		} `json:"segments"`
	}
	if err = json.Unmarshal(raw, &file); err != nil || file.TableID != "app.t" || file.UserID != "root" || len(file.Segments) != 1 ||
		file.Segments[0].Path != onlySegment(t, filepath.Join(directory, "t", "root")) || file.Segments[0].Rows != 2 {
		t.Errorf("manifest.json is %s, %v", raw, err)
	}
	if got := c.sql("SELECT namespace_id, table_name, scope, sync_state FROM system.manifest"); !strings.Contains(got, `[["app","t","root","in_sync"]]`) {
		t.Error(got)
	}
}
