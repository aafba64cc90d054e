package server

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kalamdb/kalamdb-go/internal/backup"
	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/config"
	"github.com/kalamdb/kalamdb-go/internal/executor"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk/faultfs"
	"github.com/kalamdb/kalamdb-go/internal/storage/objstore"
	"github.com/kalamdb/kalamdb-go/internal/storage/objstore/objstoretest"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

func quiet(uint32, string) {}

// TestBackupFailsAtEveryStepOfTheDisk lets every change of the file system fail in turn, and looks at the place as it is and as it is after a
// loss of power: there is no backup, or one that verifies, and one that was reported is there.
func TestBackupFailsAtEveryStepOfTheDisk(t *testing.T) {
	t.Parallel()
	n, root := oneNode(t, withShards(1, 1))
	root.sql("CREATE NAMESPACE app")
	root.sql("CREATE SHARED TABLE app.t (id BIGINT PRIMARY KEY, body TEXT)")
	root.sql("INSERT INTO app.t VALUES (1, 'a'), (2, 'b')")
	root.sql("INSERT INTO app.t VALUES (3, 'c')")
	source := backupSource(n)
	injected := errors.New("injected")
	failed := 0
	for step := int64(1); ; step++ {
		mem := vfs.NewCrashableMem()
		var calls atomic.Int64
		place, err := objstore.OpenDir(faultfs.Wrap(mem, func(faultfs.Op) error {
			if calls.Add(1) >= step {
				return injected // the process is gone: nothing works any more
			}
			return nil
		}), "/backups")
		if err == nil {
			_, err = backup.Write(t.Context(), source, place, quiet)
		}
		if err != nil && !errors.Is(err, injected) {
			t.Fatalf("step %d: %v", step, err)
		}
		for name, seen := range map[string]disk.FS{"running": mem, "after a loss of power": mem.CrashClone(vfs.CrashCloneCfg{})} {
			after, openErr := objstore.OpenDir(seen, "/backups")
			if openErr != nil {
				t.Fatal(openErr)
			}
			report, verifyErr := backup.Verify(t.Context(), after, "", quiet)
			switch {
			case err == nil && verifyErr != nil:
				t.Errorf("step %d, %s: the backup that was reported: %v", step, name, verifyErr)
			case verifyErr != nil && !errors.Is(verifyErr, backup.ErrNoBackup):
				t.Errorf("step %d, %s: %v", step, name, verifyErr)
			case verifyErr == nil && (len(report.Problems) > 0 || report.Manifest.Totals.Rows != 3):
				t.Errorf("step %d, %s: %v", step, name, report.Problems)
			}
			if err != nil { // what is left serves the next one
				if _, againErr := backup.Write(t.Context(), source, after, quiet); againErr != nil {
					t.Errorf("step %d, %s: the next backup: %v", step, name, againErr)
				}
			}
		}
		if err == nil {
			break
		}
		failed++
	}
	if failed < 20 {
		t.Errorf("there were %d steps", failed)
	}
}

// dyingExecutor is the executor of a process that is killed at one of its proposals: before it is replicated, or after it was and before
// anybody heard of it.
type dyingExecutor struct {
	executor.CommandExecutor

	left  atomic.Int64
	after bool
}

func (d *dyingExecutor) Execute(ctx context.Context, group shard.GroupID, cmd *commandv1.Command) (*commandv1.Response, error) {
	left := d.left.Add(-1)
	if left < 0 && (!d.after || left < -1) {
		return nil, errKilled
	}
	response, err := d.CommandExecutor.Execute(ctx, group, cmd)
	if left < 0 {
		return nil, errKilled
	}
	return response, err
}

// TestRestoreThatIsKilledAtEveryProposal kills one run of a restore after the other, each one proposal later, before and after the
// proposal is applied; then the job runs to its end, once more after that, and the rows are those of the backup.
func TestRestoreThatIsKilledAtEveryProposal(t *testing.T) {
	t.Parallel()
	const users = 2
	n, _ := oneNode(t, withShards(2, 1))
	root, people := fillDatabase(t, n, users)
	completed(t, n, root, "STORAGE FLUSH TABLE app.notes")
	people[0].sql("UPDATE app.notes SET body = 'hot again' WHERE id = 5")
	place, err := objstore.OpenDir(disk.Local(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	m, err := backup.Write(t.Context(), backupSource(n), place, quiet)
	if err != nil {
		t.Fatal(err)
	}
	want := userView(t, n, root, users)
	fresh, there := oneNode(t, withShards(3, 2))
	_, target := fresh.backupParts()
	target.Job = 77
	kills := 0
	for step := int64(0); ; step++ {
		dying := &dyingExecutor{CommandExecutor: fresh.exec, after: step%2 == 1}
		dying.left.Store(step / 2)
		target.Executor = dying
		if _, err = backup.Restore(t.Context(), target, place, m.Name, quiet); err == nil {
			break
		}
		if !errors.Is(err, errKilled) {
			t.Fatalf("step %d: %v", step, err)
		}
		kills++
	}
	if kills < 8 {
		t.Errorf("it was killed %d times", kills)
	}
	if got := userView(t, fresh, there, users); got != want {
		t.Errorf("it holds\n%s\nwant\n%s", got, want)
	}
	// The job runs again because nobody heard of its end. The cluster is in use by then.
	there.sql("DELETE FROM app.prices WHERE id = 7")
	target.Executor = fresh.exec
	if _, err = backup.Restore(t.Context(), target, place, m.Name, quiet); err != nil {
		t.Errorf("the same job once more: %v", err)
	}
	if got := there.grid("SELECT count(*) FROM app.prices"); got != "299" {
		t.Errorf("a deleted row came back: %s", got)
	}
	target.Job = 78
	if _, err = backup.Restore(t.Context(), target, place, m.Name, quiet); err == nil || !strings.Contains(err.Error(), "empty cluster") {
		t.Errorf("another job: %v", err)
	}
}

// TestBackupWithAFullDisk backs up to a place that is full: the job fails and says so, there is no backup, and there is one when there
// is room again.
func TestBackupWithAFullDisk(t *testing.T) {
	t.Parallel()
	place := filepath.Join(t.TempDir(), "backups")
	var full atomic.Bool
	fs := faultfs.Wrap(disk.Local(), func(op faultfs.Op) error {
		if full.Load() && op.Kind == faultfs.Write && strings.HasPrefix(op.Path, place) {
			return &faultfs.TornError{Bytes: op.Bytes / 2, Err: syscall.ENOSPC}
		}
		return nil
	})
	cfg := testConfig(t.TempDir())
	withShards(2, 1)(cfg)
	n := openNode(t, cfg, Options{fs: fs})
	waitReady(t, n)
	root, _ := fillDatabase(t, n, 1)
	full.Store(true)
	job := startJob(t, n, root, "BACKUP DATABASE TO '"+place+"'")
	if catalog.JobState(job.GetState()) != catalog.JobFailed || !strings.Contains(job.GetError(), "no space left") || job.GetRetries() != 3 {
		t.Errorf("on a full disk: %s after %d retries: %s", catalog.JobState(job.GetState()), job.GetRetries(), job.GetError())
	}
	if got := root.grid("SELECT count(*) FROM system.backups"); got != "0" {
		t.Errorf("system.backups has %s rows", got)
	}
	store, err := objstore.OpenDir(disk.Local(), place)
	if err != nil {
		t.Fatal(err)
	}
	if names, listErr := backup.List(t.Context(), store); listErr != nil || len(names) > 0 {
		t.Errorf("there are backups: %v, %v", names, listErr)
	}
	full.Store(false)
	completed(t, n, root, "BACKUP DATABASE TO '"+place+"'")
	if report, err := backup.Verify(t.Context(), store, "", quiet); err != nil || len(report.Problems) > 0 {
		t.Errorf("%+v, %v", report, err)
	}
}

// hurryingClock lets no timer wait: asking for one moves the time to its end.
type hurryingClock struct {
	*clock.Manual

	mu sync.Mutex // one timer at a time
}

func (c *hurryingClock) NewTimer(d time.Duration) clock.Timer {
	c.mu.Lock()
	defer c.mu.Unlock()
	timer := c.Manual.NewTimer(d)
	c.Advance(d)
	return timer
}

// TestBackupOverAnOutageOfS3 has the object store answer nothing for a minute in the middle of a backup, and of a restore: both wait and
// end well. One that is down for longer than anybody waits is an error, and no backup.
func TestBackupOverAnOutageOfS3(t *testing.T) {
	t.Parallel()
	server := objstoretest.NewServer(t)
	wall := &hurryingClock{Manual: clock.NewManual(time.Now())}
	store, err := objstore.OpenS3(objstore.S3Config{
		Endpoint: server.URL, Region: "eu-west-1", Bucket: objstoretest.Bucket, AccessKey: "AKIA-TEST", SecretKey: "a secret", PathStyle: true, Clock: wall,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	// down begins an outage with the given request of a method.
	down := func(method string, request int, length time.Duration) (refused *atomic.Int64) {
		var seen atomic.Int64
		refused = &atomic.Int64{}
		var until atomic.Pointer[time.Time]
		server.Fail(func(r *http.Request) http.Handler {
			if r.Method == method && seen.Add(1) == int64(request) {
				end := wall.Now().Add(length)
				until.Store(&end)
			}
			if end := until.Load(); end == nil || !wall.Now().Before(*end) {
				return nil
			}
			refused.Add(1)
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body) // the client may be writing
				w.WriteHeader(http.StatusServiceUnavailable)
			})
		})
		return refused
	}
	n, _ := oneNode(t, withShards(2, 1))
	root, _ := fillDatabase(t, n, 2)
	source := backupSource(n)
	source.Clock = wall
	refused := down(http.MethodPut, 1, 24*time.Hour)
	if _, err = backup.Write(t.Context(), source, store, quiet); !errors.Is(err, objstore.ErrUnavailable) || refused.Load() == 0 {
		t.Errorf("an outage without an end: %v, %d requests were refused", err, refused.Load())
	}
	server.Fail(nil)
	if names, listErr := backup.List(t.Context(), store); listErr != nil || len(names) > 0 {
		t.Errorf("a backup that failed is there: %v, %v", names, listErr)
	}
	for _, request := range []int{1, 2, 4} { // the last one is the manifest
		before := wall.Now()
		refused = down(http.MethodPut, request, time.Minute)
		m, writeErr := backup.Write(t.Context(), source, objstore.Under(store, "place"+string(rune('0'+request))), quiet)
		if writeErr != nil || m.Totals.Rows == 0 {
			t.Fatalf("request %d: %v", request, writeErr)
		}
		if refused.Load() == 0 || wall.Now().Sub(before) < time.Minute {
			t.Errorf("request %d: %d requests were refused in %s", request, refused.Load(), wall.Now().Sub(before))
		}
	}
	server.Fail(nil)
	place := objstore.Under(store, "place4")
	if report, verifyErr := backup.Verify(t.Context(), place, "", quiet); verifyErr != nil || len(report.Problems) > 0 {
		t.Errorf("%+v, %v", report, verifyErr)
	}
	want := userView(t, n, root, 2)
	fresh, there := oneNode(t, withShards(1, 1))
	_, target := fresh.backupParts()
	target.Clock = wall
	refused = down(http.MethodGet, 3, time.Minute)
	if _, err = backup.Restore(t.Context(), target, place, "", quiet); err != nil || refused.Load() == 0 {
		t.Fatalf("restore: %v, %d requests were refused", err, refused.Load())
	}
	if got := userView(t, fresh, there, 2); got != want {
		t.Errorf("it holds\n%s\nwant\n%s", got, want)
	}
}

// TestBackupInS3FromOneNodeIntoThree takes the whole way through statements: cold and hot rows of one node, a bucket, three nodes with other
// numbers of shards. The second backup writes what changed and little more.
func TestBackupInS3FromOneNodeIntoThree(t *testing.T) {
	t.Parallel()
	const users = 4
	server := objstoretest.NewServer(t)
	withKey := func(cfg *config.Config) {
		cfg.Storage.CredentialsKey = base64.StdEncoding.EncodeToString([]byte(strings.Repeat("k", 32)))
	}
	n, _ := oneNode(t, func(cfg *config.Config) { withShards(5, 2)(cfg); withKey(cfg) })
	root, people := fillDatabase(t, n, users)
	root.sql(s3Statement("archive", server))
	completed(t, n, root, "STORAGE FLUSH TABLE app.notes")
	completed(t, n, root, "STORAGE FLUSH TABLE app.prices")
	people[0].sql("UPDATE app.notes SET body = 'hot again' WHERE id = 5")
	people[1].sql("DELETE FROM app.notes WHERE id = 6")
	first := completed(t, n, root, "BACKUP DATABASE TO 'archive/nightly'")
	people[2].sql("UPDATE app.notes SET body = 'later' WHERE id = 9")
	completed(t, n, root, "BACKUP DATABASE TO 'archive/nightly'")
	sizes := root.grid("SELECT total_bytes, written_bytes, node_id FROM system.backups")
	lines := strings.Split(sizes, "\n")
	if len(lines) != 2 || !strings.HasSuffix(lines[0], "|0") {
		t.Fatalf("system.backups: %q (%s)", sizes, first.GetMessage())
	}
	total, written, _ := strings.Cut(lines[1], "|")
	written, _, _ = strings.Cut(written, "|")
	if number(t, written) == 0 || number(t, written)*2 > number(t, total) {
		t.Errorf("the second backup wrote %s of %s bytes", written, total)
	}
	want := userView(t, n, root, users)
	nodes := openCluster(t, withShards(2, 3), withKey)
	waitReady(t, nodes...)
	there := login(t, nodes[1], "root", rootPassword)
	there.sql(s3Statement("archive", server))
	job := completed(t, nodes[1], there, "RESTORE DATABASE FROM 'archive/nightly'")
	if !strings.Contains(job.GetMessage(), "digests equal") {
		t.Errorf("the job says %q", job.GetMessage())
	}
	for i, node := range nodes {
		if got := userView(t, node, login(t, node, "root", rootPassword), users); got != want {
			t.Errorf("node %d holds\n%s\nwant\n%s", i+1, got, want)
		}
	}
}
