package server

import (
	"encoding/base64"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/cold"
	"github.com/kalamdb/kalamdb-go/internal/config"
	"github.com/kalamdb/kalamdb-go/internal/storage/objstore"
	"github.com/kalamdb/kalamdb-go/internal/storage/objstore/objstoretest"
)

func withKey(cfg *config.Config) {
	cfg.Storage.CredentialsKey = base64.StdEncoding.EncodeToString([]byte(strings.Repeat("k", 32)))
}

// bucketFiles lists the segments of app.t in storage "archive".
func bucketFiles(t *testing.T, n *Node) (found []string) {
	t.Helper()
	objects, err := n.cold.Objects("archive")
	if err == nil {
		err = objects.List(t.Context(), "app/t/", func(o objstore.ObjectInfo) error {
			if strings.HasSuffix(o.Key, ".parquet") {
				found = append(found, o.Key)
			}
			return nil
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// TestColdRowsInABucket has a table whose segments lie in S3: written once, read by every node, merged, and swept by one.
func TestColdRowsInABucket(t *testing.T) {
	t.Parallel()
	server := objstoretest.NewServer(t)
	nodes := openCluster(t, withKey)
	waitReady(t, nodes...)
	c := login(t, nodes[0], "root", rootPassword)
	c.sql(s3Statement("archive", server))
	c.sql("CREATE NAMESPACE app")
	c.sql("CREATE TABLE app.t (id BIGINT PRIMARY KEY, name TEXT) WITH (TYPE = 'SHARED', STORAGE_ID = 'archive')")
	writes := 0
	server.Fail(func(r *http.Request) http.Handler {
		if r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, ".parquet") {
			writes++
		}
		return nil
	})
	for round, row := range []string{"(1, 'one'), (2, 'two')", "(3, 'three')", "(4, 'four')"} {
		c.sql("INSERT INTO app.t VALUES " + row)
		flushTable(t, c, nodes[round], "app.t")
	}
	c.sql("UPDATE app.t SET name = 'zwei' WHERE id = 2")
	flushTable(t, c, nodes[0], "app.t")
	const rows = `[["1","one"],["2","zwei"],["3","three"],["4","four"]]`
	for _, n := range nodes {
		wantRows(t, c, n, rows)
		if _, err := os.Stat(tableDirectory(n)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("node %d has files of the table: %v", n.cfg.Cluster.NodeID, err)
		}
	}
	if got := bucketFiles(t, nodes[0]); len(got) != 4 || writes != 4 {
		t.Errorf("%d files after four flushes, and %d requests that wrote: %v", len(got), writes, got)
	}
	before := server.Requests()
	wantRows(t, c, nodes[1], rows)
	if after := server.Requests(); after != before {
		t.Errorf("a query that was just run asks the bucket %d times", after-before)
	}
	compactTable(t, c, nodes[0], "app.t")
	reopenSegments(t, nodes...)
	for _, n := range nodes {
		wantRows(t, c, n, rows)
	}
	if got := bucketFiles(t, nodes[0]); len(got) != 5 {
		t.Errorf("%v, want what was merged to be there for whoever reads an older manifest", got)
	}
	later := clock.NewManual(time.Now())
	var sweepers []*cold.Sweeper
	for _, n := range nodes {
		sweepers = append(sweepers, n.sweeper(later))
	}
	deleted := 0
	for range 3 {
		for _, s := range sweepers {
			swept, err := s.Sweep(t.Context())
			if err != nil {
				t.Error(err)
			}
			deleted += swept
		}
		later.Advance(time.Hour)
	}
	if got := bucketFiles(t, nodes[0]); len(got) != 1 || deleted != 4 {
		t.Errorf("%v after %d files were swept, want one of five", got, deleted)
	}
	reopenSegments(t, nodes...)
	wantRows(t, c, nodes[2], rows)
}

// TestBucketThatDoesNotAnswer takes the bucket away from under a table: writes and hot rows go on, cold ones answer an error
// that says to try again, and everything is as before when the bucket is back.
func TestBucketThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	server := objstoretest.NewServer(t)
	n, c := oneNode(t, withKey)
	c.sql(s3Statement("archive", server))
	c.sql("CREATE NAMESPACE app")
	c.sql("CREATE TABLE app.t (id BIGINT PRIMARY KEY, name TEXT) WITH (TYPE = 'SHARED', STORAGE_ID = 'archive')")
	c.sql("CREATE SHARED TABLE app.other (id BIGINT PRIMARY KEY, name TEXT)")
	c.sql("INSERT INTO app.t VALUES (1, 'one'), (2, 'two')")
	throttled := 0
	server.Fail(func(*http.Request) http.Handler {
		if throttled++; throttled%2 == 1 {
			return objstoretest.Answer(http.StatusServiceUnavailable, "SlowDown")
		}
		return nil
	})
	if _, err := n.flusher().Table(t.Context(), mustTable(t, n, "app", "t"), nil); err != nil {
		t.Fatalf("a bucket that throttles: %v", err)
	}
	c.sql("INSERT INTO app.t VALUES (10, 'hot')")
	reopenSegments(t, n)
	server.Fail(func(*http.Request) http.Handler {
		return objstoretest.Answer(http.StatusInternalServerError, "InternalError")
	})
	c.sql("INSERT INTO app.t VALUES (11, 'written meanwhile')")
	c.sql("INSERT INTO app.other VALUES (1, 'x')")
	if got := c.grid("SELECT name FROM app.t WHERE id = 10"); got != "hot" {
		t.Errorf("a hot row: %s", got)
	}
	status, body := c.post("/v1/api/sql", map[string]any{"sql": "SELECT name FROM app.t WHERE id = 1"})
	if status != http.StatusServiceUnavailable || !strings.Contains(string(body), "storage 'archive' does not answer") {
		t.Errorf("a cold row: %d %s, want 503 and what does not answer", status, body)
	}
	server.Fail(nil)
	if got := c.grid("SELECT id, name FROM app.t"); got != "1|one\n2|two\n10|hot\n11|written meanwhile" {
		t.Errorf("when the bucket is back: %s", got)
	}
	// Bytes that are damaged on the way are asked for again; those that are damaged for good are never shown.
	reopenSegments(t, n)
	damage := objstoretest.Wrap(func(w http.ResponseWriter, r *http.Request, s3 http.Handler) {
		s3.ServeHTTP(&flipping{ResponseWriter: w}, r)
	})
	reads := func(r *http.Request) bool {
		return r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, ".parquet")
	}
	server.Fail(objstoretest.First(1, reads, damage))
	if got := c.grid("SELECT name FROM app.t WHERE id = 1"); got != "one" {
		t.Errorf("damaged once on the way: %s", got)
	}
	reopenSegments(t, n)
	server.Fail(objstoretest.First(1000, reads, damage))
	if status, body = c.post("/v1/api/sql", map[string]any{"sql": "SELECT name FROM app.t WHERE id = 1"}); status == http.StatusOK {
		t.Errorf("damaged for good: %d %s", status, body)
	}
}

// flipping flips a bit of what passes.
type flipping struct{ http.ResponseWriter }

func (f *flipping) Write(p []byte) (int, error) {
	changed := append([]byte(nil), p...)
	changed[len(changed)/2] ^= 8
	return f.ResponseWriter.Write(changed)
}

// TestFlushOfADroppedUser drops an account after a flush has read its rows and before the flush says so: the next account of
// the name sees none of them.
func TestFlushOfADroppedUser(t *testing.T) {
	t.Parallel()
	for _, writes := range []string{"", "(2, 'mine')", "(11, 'mine'), (12, 'mine'), (13, 'mine'), (14, 'mine')"} {
		n, root := oneNode(t, func(cfg *config.Config) {
			withShards(1, 1)(cfg)
			cfg.Auth.UserCleanupDelaySecs = 1
		})
		root.sql("CREATE NAMESPACE app")
		root.sql("CREATE USER TABLE app.t (id BIGINT PRIMARY KEY, name TEXT)")
		account := func() client {
			root.sql("CREATE USER ann WITH PASSWORD 'Secret-of-a-user-1' ROLE user")
			return login(t, n, "ann", "Secret-of-a-user-1")
		}
		account().sql("INSERT INTO app.t VALUES (1, 'secret'), (2, 'secret'), (30, 'secret')")
		var again client
		w := n.flusher()
		w.Step = func(at string) error {
			if at == "commit" && again.url == "" {
				root.sql("DROP USER ann")
				waitJob(t, n, cleanupOfUser(t, n), "completed", inState(catalog.JobCompleted))
				if again = account(); writes != "" {
					again.sql("INSERT INTO app.t VALUES " + writes)
				}
			}
			return nil
		}
		_, err := w.Table(t.Context(), mustTable(t, n, "app", "t"), nil)
		want := strings.NewReplacer("(", "", ", 'mine'), ", "|mine\n", ", 'mine')", "|mine").Replace(writes)
		if got := again.grid("SELECT id, name FROM app.t ORDER BY id"); got != want || err != nil {
			t.Errorf("the new account, which has written %s: %q, want %q (%v)", writes, got, want, err)
		}
	}
}

// waitPurged returns when no dropped table is left.
func waitPurged(t *testing.T, n *Node) {
	t.Helper()
	deadline, ticker := time.Now().Add(tooLong), time.NewTicker(20*time.Millisecond)
	defer ticker.Stop()
	for len(n.catalog.Current().Cleanups()) > 0 {
		if time.Now().After(deadline) {
			t.Fatal("a dropped table was not purged")
		}
		<-ticker.C
	}
}

// TestCleanupSparesFilesOfOtherClusters has two clusters with a user of one name keep rows in one place of a bucket, as they do when one was restored from
// a backup of the other: the one that drops him leaves the files of the other alone, and says so.
func TestCleanupSparesFilesOfOtherClusters(t *testing.T) {
	t.Parallel()
	server := objstoretest.NewServer(t)
	cluster := func() (*Node, client, client) {
		n, root := oneNode(t, func(cfg *config.Config) {
			withShards(1, 1)(cfg)
			withKey(cfg)
			cfg.Auth.UserCleanupDelaySecs = 1
		})
		root.sql(s3Statement("archive", server))
		root.sql("CREATE NAMESPACE app")
		root.sql("CREATE USER TABLE app.t (id BIGINT PRIMARY KEY, name TEXT) WITH (STORAGE_ID = 'archive')")
		root.sql("CREATE USER ann WITH PASSWORD 'Secret-of-ann-1' ROLE user")
		ann := login(t, n, "ann", "Secret-of-ann-1")
		ann.sql("INSERT INTO app.t VALUES (1, 'one')")
		if _, err := n.flusher().Table(t.Context(), mustTable(t, n, "app", "t"), nil); err != nil {
			t.Fatal(err)
		}
		return n, root, ann
	}
	ours, root, _ := cluster()
	theirs, _, ann := cluster()
	if files := bucketFiles(t, ours); len(files) != 2 {
		t.Fatalf("the bucket has %q", files)
	}
	root.sql("DROP USER ann")
	job := waitJob(t, ours, cleanupOfUser(t, ours), "completed", inState(catalog.JobCompleted))
	if !strings.Contains(job.GetMessage(), "that another cluster wrote, and that stay: 1") {
		t.Errorf("the job says %q", job.GetMessage())
	}
	reopenSegments(t, theirs)
	if got := ann.grid("SELECT id, name FROM app.t"); got != "1|one" {
		t.Errorf("the other cluster's user has %q", got)
	}
	if files := bucketFiles(t, ours); len(files) != 1 || files[0] != segmentsOf(t, theirs)[0].GetPath() {
		t.Errorf("the bucket has %q", files)
	}
}
