package e2e

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// TestDiskFullDuringFlush leaves a node less room than a segment takes: the flush says so, no row is lost and nothing of the segment
// stays; with room again the rows become cold, each once.
func TestDiskFullDuringFlush(t *testing.T) {
	c := prepareCluster(t, 1, settings{
		"storage.min_free_bytes": 2 << 20, "raft.log_segment_bytes": 1 << 20, "cluster.user_shards": 2,
	})
	n := c.nodes[0]
	n.smallDisk(t, 160<<20)
	c.start(t)
	root := n.root(t)
	root.must(t, "CREATE NAMESPACE app")
	root.must(t, "CREATE TABLE app.t (id INT PRIMARY KEY, body TEXT) WITH (TYPE = 'SHARED')")
	const statements, each = 100, 200
	for i := range statements {
		var rows []string
		for k := range each {
			body := make([]byte, 500)
			_, _ = rand.Read(body) // never fails
			rows = append(rows, fmt.Sprintf("(%d, '%x')", i*each+k, body))
		}
		root.must(t, "INSERT INTO app.t VALUES "+strings.Join(rows, ", "))
	}
	const sums = "SELECT count(*), count(DISTINCT id), sum(id), min(body), max(body) FROM app.t"
	want := fmt.Sprint(root.must(t, sums).rows())
	unchanged := func(when string) {
		t.Helper()
		if got := fmt.Sprint(root.soon(t, sums).rows()); got != want {
			t.Errorf("%s: %.200s, want %.200s", when, got, want)
		}
	}
	const leave = 5 << 20 // the segment has about twice as much
	free := n.fill(t, leave)
	stop := n.keepFull(t, leave)
	job := jobOf(t, root.must(t, "STORAGE FLUSH TABLE app.t"))
	eventually(t, "the flush finds no room", func() error {
		rows := root.soon(t, "SELECT status, exception_trace FROM system.jobs WHERE job_id = '"+job+"'").rows()
		if text := fmt.Sprint(rows); !strings.Contains(text, "no space left") {
			return fmt.Errorf("the job is %s", text)
		}
		return nil
	})
	eventually(t, "the job ends", func() error {
		if rows := root.soon(t, "SELECT status FROM system.jobs WHERE job_id = '"+job+"'").rows(); fmt.Sprint(rows) != "[[failed]]" {
			return fmt.Errorf("it is %v", rows)
		}
		return nil
	})
	stop()
	unchanged("with a full disk")
	if left := n.storedFiles(t); len(left) != 0 {
		t.Errorf("the flush that failed left %v", left)
	}
	free()
	waitCompleted(t, root, jobOf(t, root.soon(t, "STORAGE FLUSH TABLE app.t")))
	unchanged("with room again")
	if left := n.storedFiles(t); len(left) == 0 {
		t.Error("no row is cold")
	}
	n.stop(t)
	n.start(t)
	n.waitReady(t)
	root = n.root(t)
	unchanged("after a restart")
}

// storedFiles lists the files below a node's own storage, unfinished ones included, but not what describes segments.
func (n *node) storedFiles(t *testing.T) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(filepath.Join(n.dataDir(), "storage"), func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && !entry.IsDir() && entry.Name() != "manifest.json" {
			found = append(found, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
