package server

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/cold"
	"github.com/kalamdb/kalamdb-go/internal/config"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/flush"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	"github.com/kalamdb/kalamdb-go/internal/storage/manifest"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// tableDirectory is where a node has the segments of the shared table app.t in the local storage.
func tableDirectory(n *Node) string {
	return filepath.Join(n.cfg.Storage.DataPath, "storage", "app", "t")
}

// onlySegment is the name of the only segment in a directory.
func onlySegment(t *testing.T, directory string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(directory, "batch-*.parquet"))
	if err != nil || len(found) != 1 {
		t.Fatalf("%s has %q, %v", directory, found, err)
	}
	return filepath.Base(found[0])
}

// reopenSegments makes a node forget what it knows of files, as a restart does.
func reopenSegments(t *testing.T, nodes ...*Node) {
	t.Helper()
	for _, n := range nodes {
		if err := n.cold.Close(); err != nil {
			t.Fatal(err)
		}
		if err := n.cold.Forget(); err != nil {
			t.Fatal(err)
		}
	}
}

// wantRows reads app.t through a node.
func wantRows(t *testing.T, c client, n *Node, rows string) {
	t.Helper()
	c.url = "http://" + n.APIAddr()
	status, body := c.post("/v1/api/sql", map[string]any{"sql": "SELECT id, name FROM app.t ORDER BY id"})
	if !strings.Contains(string(body), rows) {
		t.Errorf("node %d: %d %s, want %s", n.cfg.Cluster.NodeID, status, body, rows)
	}
}

// TestTwoFlushesOnTwoNodes has a flush go on after its job moved to a node without its file: that one's flush must not
// replace the copies which the first is about to name.
func TestTwoFlushesOnTwoNodes(t *testing.T) {
	t.Parallel()
	nodes := openCluster(t)
	waitReady(t, nodes...)
	c := login(t, nodes[0], "root", rootPassword)
	c.sql("CREATE NAMESPACE app")
	c.sql("CREATE SHARED TABLE app.t (id BIGINT PRIMARY KEY, name TEXT)")
	c.sql("INSERT INTO app.t VALUES (1, 'one'), (2, 'two')")
	id := mustTable(t, nodes[0], "app", "t")
	stopped := errors.New("stopped")
	first := nodes[0].flusher()
	first.Step = func(at string) error {
		if at != "commit" {
			return nil
		}
		c.sql("INSERT INTO app.t VALUES (3, 'three')") // the second file differs
		err := os.Remove(filepath.Join(tableDirectory(nodes[2]), onlySegment(t, tableDirectory(nodes[0]))))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		second := nodes[2].flusher()
		second.Step = func(at string) error {
			if at == "commit" {
				return stopped
			}
			return nil
		}
		if _, err = second.Table(t.Context(), id, nil); !errors.Is(err, stopped) {
			t.Errorf("the second flush ends with %v before its commit", err)
		}
		return nil
	}
	if _, err := first.Table(t.Context(), id, nil); err != nil {
		t.Fatal(err)
	}
	reopenSegments(t, nodes...)
	for _, n := range nodes {
		wantRows(t, c, n, `[["1","one"],["2","two"],["3","three"]]`)
	}
}

// TestFlushTakesTheNextNumber has other files lie under the names that a flush would take, on the other members only.
func TestFlushTakesTheNextNumber(t *testing.T) {
	t.Parallel()
	nodes := openCluster(t)
	waitReady(t, nodes...)
	c := login(t, nodes[0], "root", rootPassword)
	c.sql("CREATE NAMESPACE app")
	c.sql("CREATE SHARED TABLE app.t (id BIGINT PRIMARY KEY, name TEXT)")
	c.sql("INSERT INTO app.t VALUES (1, 'one')")
	theirs, highest := map[string][]byte{}, uint64(0)
	w := nodes[0].flusher()
	w.Step = func(at string) error {
		if at != "keep" || len(theirs) > 0 {
			return nil
		}
		number, _ := flush.FileNumber(onlySegment(t, tableDirectory(nodes[0])))
		highest = number + 4
		for i, others := range [][]uint64{{}, {number, highest}, {number, highest + 1}} {
			directory := tableDirectory(nodes[i])
			if err := os.MkdirAll(directory, 0o700); err != nil {
				return err
			}
			for _, other := range others {
				path := filepath.Join(directory, flush.FileName(other))
				theirs[path] = []byte("the file of another flush, " + path)
				if err := os.WriteFile(path, theirs[path], 0o600); err != nil {
					return err
				}
			}
		}
		return nil
	}
	if _, err := w.Table(t.Context(), mustTable(t, nodes[0], "app", "t"), nil); err != nil {
		t.Fatal(err)
	}
	segments := segmentsOf(t, nodes[0])
	if len(segments) != 1 || len(theirs) != 4 || segments[0].GetNumber() <= highest {
		t.Fatalf("the table has segments %v, want one with a number above those on a majority", segments)
	}
	for path, want := range theirs {
		if got, err := os.ReadFile(path); filepath.Base(path) != flush.FileName(segments[0].GetNumber()) && (err != nil || !bytes.Equal(got, want)) {
			t.Errorf("%s was replaced by %d bytes (%v)", path, len(got), err)
		}
	}
	reopenSegments(t, nodes...)
	for _, n := range nodes {
		wantRows(t, c, n, `[["1","one"]]`)
	}
}

// TestFetchAsksTheNextMemberWhenTheFirstHasADamagedFile: one copy is damaged, one is gone, one is good.
func TestFetchAsksTheNextMemberWhenTheFirstHasADamagedFile(t *testing.T) {
	t.Parallel()
	nodes := openCluster(t)
	waitReady(t, nodes...)
	c := login(t, nodes[0], "root", rootPassword)
	c.sql("CREATE NAMESPACE app")
	c.sql("CREATE SHARED TABLE app.t (id BIGINT PRIMARY KEY, name TEXT)")
	c.sql("INSERT INTO app.t VALUES (1, 'one'), (2, 'two'), (3, 'three')")
	flushTable(t, c, nodes[0], "app.t")
	const rows = `[["1","one"],["2","two"],["3","three"]]`
	for _, n := range nodes {
		wantRows(t, c, n, rows)
	}
	name := flush.FileName(segmentsOf(t, nodes[0])[0].GetNumber())
	path := func(n *Node) string { return filepath.Join(tableDirectory(n), name) }
	raw, err := os.ReadFile(path(nodes[0]))
	if err != nil {
		t.Fatal(err)
	}
	raw[len(raw)/3] ^= 4
	if err = os.WriteFile(path(nodes[0]), raw, 0o600); err != nil {
		t.Fatal(err)
	}
	if err = os.Remove(path(nodes[1])); err != nil {
		t.Fatal(err)
	}
	reopenSegments(t, nodes[1])
	wantRows(t, c, nodes[1], rows)
}

// TestFullScopeIsNotFlushed gives a scope the most segments that there may be.
func TestFullScopeIsNotFlushed(t *testing.T) {
	t.Parallel()
	n := openNode(t, testConfig(t.TempDir()), Options{})
	waitReady(t, n)
	c := login(t, n, "root", rootPassword)
	c.sql("CREATE NAMESPACE app")
	c.sql("CREATE SHARED TABLE app.t (id BIGINT PRIMARY KEY, name TEXT)")
	c.sql("INSERT INTO app.t VALUES (1, 'one')")
	id := mustTable(t, n, "app", "t")
	if _, err := n.flusher().Table(t.Context(), id, nil); err != nil {
		t.Fatal(err)
	}
	c.sql("INSERT INTO app.t VALUES (2, 'two')")
	batch := n.store.NewBatch()
	for _, group := range n.who().Shards.Groups() {
		lo, hi := keys.ManifestSpan(group, id)
		err := manifest.Each(n.store, lo, hi, func(key []byte, m *commandv1.Manifest) error {
			for len(m.GetSegments()) < manifest.MaxSegments {
				m.Segments = append(m.Segments, m.GetSegments()[0])
			}
			value, err := manifest.Encode(m)
			if err != nil {
				return err
			}
			return batch.Set(bytes.Clone(key), value)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(n.store.Commit(batch), batch.Close()); err != nil {
		t.Fatal(err)
	}
	reopenSegments(t, n)
	if _, err := n.flusher().Table(t.Context(), id, nil); fault.KindOf(err) != fault.LimitExceeded {
		t.Errorf("the flush ends with %v, want that a limit is exceeded", err)
	}
	onlySegment(t, tableDirectory(n)) // the flush wrote no other one
}

// tendFiles has nodes bring their storages in line with the manifests now.
func tendFiles(t *testing.T, nodes ...*Node) {
	t.Helper()
	for _, n := range nodes {
		scopes, err := cold.Scopes(n.catalog.Current(), n.store, dataGroups(n.who().Shards))
		if err == nil {
			err = n.cold.Tend(t.Context(), scopes)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestDroppedUsersFilesGoFromEveryNode drops a user whose cold rows lie on three nodes: when the job is done, no node has a file of his. A node that is
// away is named.
func TestDroppedUsersFilesGoFromEveryNode(t *testing.T) {
	t.Parallel()
	nodes := openCluster(t, func(cfg *config.Config) {
		withShards(1, 1)(cfg)
		cfg.Auth.UserCleanupDelaySecs = 1
	})
	waitReady(t, nodes...)
	root, _ := fillDatabase(t, nodes[0], 3)
	completed(t, nodes[0], root, "STORAGE FLUSH TABLE app.notes")
	for _, n := range nodes {
		if _, err := n.exec.Barrier(t.Context(), shard.UserShard(0)); err != nil {
			t.Fatal(err)
		}
	}
	tendFiles(t, nodes...)
	files := func(n *Node, user string) []string {
		found, err := filepath.Glob(filepath.Join(n.cfg.Storage.DataPath, "storage", "app", "notes", user, "*"))
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	for _, n := range nodes {
		if got := files(n, "user0"); len(got) != 2 {
			t.Fatalf("before: %v, want a segment and a manifest", got)
		}
	}
	root.sql("DROP USER user0")
	job := waitJob(t, nodes[0], cleanupOfUser(t, nodes[0]), "completed", inState(catalog.JobCompleted))
	if strings.Contains(job.GetMessage(), "may be left") {
		t.Errorf("with all nodes there the job says %q", job.GetMessage())
	}
	for _, n := range nodes {
		if left, others := files(n, "user0"), files(n, "user1"); len(left) != 0 || len(others) != 2 {
			t.Errorf("node %d has %v of the dropped user, and %v of another", n.cfg.Cluster.NodeID, left, others)
		}
	}
	if deleted, err := nodes[1].dropFiles(t.Context(), "user1", 1); err == nil || deleted > 0 {
		t.Errorf("files of an account that is not dropped: %d, %v", deleted, err)
	}
	if err := nodes[2].Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	root.sql("DROP USER user1")
	job = waitJob(t, nodes[0], cleanupOfUser(t, nodes[0]), "completed", inState(catalog.JobCompleted))
	if !strings.Contains(job.GetMessage(), "may be left") || !strings.Contains(job.GetMessage(), fmt.Sprintf("replica %d:", nodes[2].self())) {
		t.Errorf("with a node away the job says %q", job.GetMessage())
	}
}
