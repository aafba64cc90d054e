package server

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/config"
	"github.com/kalamdb/kalamdb-go/internal/export"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// TestExportHasALimit exports more than what the node has room for: the job fails with a word for it, and nothing stays on the disk.
func TestExportHasALimit(t *testing.T) {
	t.Parallel()
	n, root := oneNode(t, func(cfg *config.Config) {
		withShards(1, 1)(cfg)
		cfg.Storage.ExportMaxBytes = 1 << 20
	})
	root.sql("CREATE NAMESPACE app")
	root.sql("CREATE USER TABLE app.t (id BIGINT PRIMARY KEY, body TEXT)")
	random := rand.NewChaCha8([32]byte{7})
	for i := range 20 {
		var rows []string
		for k := range 100 {
			row := make([]byte, 400)
			_, _ = random.Read(row)
			rows = append(rows, fmt.Sprintf("(%d, '%x')", i*100+k, row))
		}
		root.sql("INSERT INTO app.t VALUES " + strings.Join(rows, ", "))
	}
	job := startJob(t, n, root, "EXPORT USER DATA")
	if catalog.JobState(job.GetState()) != catalog.JobFailed || !strings.Contains(job.GetError(), "storage.export_max_bytes") || job.GetRetries() != 0 {
		t.Errorf("%s: %s", catalog.JobState(job.GetState()), job.GetError())
	}
	if left := exportFiles(t, n); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// TestExportIsStreamed looks at how much is written while rows are read: bytes leave long before the last row is read.
func TestExportIsStreamed(t *testing.T) {
	t.Parallel()
	n, root := oneNode(t, withShards(1, 1))
	root.sql("CREATE NAMESPACE app")
	root.sql("CREATE USER TABLE app.t (id BIGINT PRIMARY KEY, body TEXT)")
	random := rand.NewChaCha8([32]byte{7})
	for i := range 40 {
		var rows []string
		for k := range 200 {
			row := make([]byte, 200)
			_, _ = random.Read(row)
			rows = append(rows, fmt.Sprintf("(%d, '%x')", i*200+k, row))
		}
		root.sql("INSERT INTO app.t VALUES " + strings.Join(rows, ", "))
	}
	source := n.exportSource()
	var out countingWriter
	var seen []int64
	about, err := export.Write(t.Context(), source, "root", &out, func(uint32, string) { seen = append(seen, int64(out)) })
	if err != nil || about.Tables[0].Rows != 8000 {
		t.Fatal(about, err)
	}
	// Every thousandth row asks for progress, in both passes; half of the calls belong to the JSON.
	if quarter := seen[len(seen)/4]; quarter < int64(out)/8 {
		t.Errorf("after a quarter of the rows %d of %d bytes were written: %v", quarter, int64(out), seen)
	}
}

type countingWriter int64

func (w *countingWriter) Write(p []byte) (int, error) {
	*w += countingWriter(len(p))
	return len(p), nil
}

// TestExportsDoNotFillTheJobs asks for more exports than may wait; asking again for the own one is no further one.
func TestExportsDoNotFillTheJobs(t *testing.T) {
	t.Parallel()
	n, root := oneNode(t, withShards(1, 1))
	_, people := fillDatabase(t, n, 1)
	for i := range 128 {
		_, err := n.exec.Execute(t.Context(), shard.Meta, &commandv1.Command{Body: &commandv1.Command_CreateJob{CreateJob: &commandv1.CreateJob{Job: &commandv1.Job{
			Type: catalog.TypeUserExport, IdPrefix: "UE", User: fmt.Sprintf("nobody%d", i), OnlyNode: 99,
		}}}})
		if err != nil {
			t.Fatal(err)
		}
	}
	if status, a := people[0].ask("EXPORT USER DATA"); status != http.StatusServiceUnavailable {
		t.Errorf("one too many: %d %+v", status, a.Error)
	}
	if got := root.grid("SELECT count(*) FROM system.exports"); got != "0" { // nobody has those accounts
		t.Errorf("system.exports has %s rows", got)
	}
}

// TestDroppedUsersColdRowsAreGone drops a user whose rows lie in segments and whose export lies on the disk: no file of his is left.
func TestDroppedUsersColdRowsAreGone(t *testing.T) {
	t.Parallel()
	n, root := oneNode(t, func(cfg *config.Config) {
		withShards(2, 1)(cfg)
		cfg.Auth.UserCleanupDelaySecs = 1
	})
	_, people := fillDatabase(t, n, 2)
	completed(t, n, root, "STORAGE FLUSH TABLE app.notes")
	completed(t, n, people[0], "EXPORT USER DATA")
	files := func(user string) int {
		found, err := filepath.Glob(filepath.Join(n.cfg.Storage.DataPath, "storage", "app", "notes", user, "*.parquet"))
		if err != nil {
			t.Fatal(err)
		}
		return len(found)
	}
	if files("user0") == 0 || files("user1") == 0 || len(exportFiles(t, n)) != 1 {
		t.Fatalf("before: %d and %d segments, exports %v", files("user0"), files("user1"), exportFiles(t, n))
	}
	root.sql("DROP USER user0")
	waitJob(t, n, cleanupOfUser(t, n), "completed", inState(catalog.JobCompleted))
	if _, err := n.exports.Tend(t.Context()); err != nil {
		t.Fatal(err)
	}
	if files("user0") != 0 || files("user1") == 0 || len(exportFiles(t, n)) != 0 {
		t.Errorf("after: %d and %d segments, exports %v", files("user0"), files("user1"), exportFiles(t, n))
	}
	if got := people[1].grid("SELECT count(*) FROM app.notes"); got != "39" {
		t.Errorf("the other user has %s rows", got)
	}
}
