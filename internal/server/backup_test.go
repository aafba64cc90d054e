package server

import (
	"bytes"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/backup"
	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/config"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	"github.com/kalamdb/kalamdb-go/internal/storage/objstore"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// startJob runs a statement that starts a job and returns the job's record when it has ended.
func startJob(t *testing.T, n *Node, c client, sql string) *commandv1.Job {
	t.Helper()
	status, a := c.ask(sql)
	if status != http.StatusOK || len(a.Results) != 1 {
		t.Fatalf("%s: %d %+v", sql, status, a.Error)
	}
	_, id, _ := strings.Cut(a.Results[0].Message, "Job ID: ")
	_, number, ok := catalog.ParseJobID(id)
	if !ok {
		t.Fatalf("%s: message %q", sql, a.Results[0].Message)
	}
	return waitJob(t, n, number, "ended", func(job *commandv1.Job) bool { return catalog.JobState(job.GetState()).Ended() })
}

// completed is startJob for a job that must succeed.
func completed(t *testing.T, n *Node, c client, sql string) *commandv1.Job {
	t.Helper()
	job := startJob(t, n, c, sql)
	if catalog.JobState(job.GetState()) != catalog.JobCompleted {
		t.Fatalf("%s: %s: %s %s", sql, catalog.JobState(job.GetState()), job.GetMessage(), job.GetError())
	}
	return job
}

// fillDatabase makes users, tables of all kinds, an index and rows.
func fillDatabase(t *testing.T, n *Node, users int) (root client, people []client) {
	t.Helper()
	root = login(t, n, "root", rootPassword)
	root.sql("CREATE NAMESPACE app")
	root.sql("CREATE USER TABLE app.notes (id BIGINT PRIMARY KEY, body TEXT, size INT)")
	root.sql("CREATE SHARED TABLE app.prices (id BIGINT PRIMARY KEY, price DECIMAL(10,2), code TEXT) WITH (ACCESS_LEVEL = 'public')")
	root.sql("CREATE UNIQUE INDEX by_code ON app.prices (code)")
	root.sql("CREATE STREAM TABLE app.events (id BIGINT PRIMARY KEY, what TEXT) WITH (TTL_SECONDS = 86400)")
	root.sql("CREATE SCHEDULE tidy EVERY '12 hours' DO DELETE FROM app.prices WHERE id < 0")
	for i := range users {
		name := fmt.Sprintf("user%d", i)
		root.sql("CREATE USER " + name + " WITH PASSWORD 'Secret-of-a-user-1' ROLE user")
		person := login(t, n, name, "Secret-of-a-user-1")
		var rows []string
		for k := range 40 {
			rows = append(rows, fmt.Sprintf("(%d, '%s of %s', %d)", k, strings.Repeat("text ", k), name, k%5))
		}
		person.sql("INSERT INTO app.notes VALUES " + strings.Join(rows, ", "))
		person.sql("UPDATE app.notes SET body = 'changed' WHERE id = 3")
		person.sql("DELETE FROM app.notes WHERE id = 7")
		person.sql("INSERT INTO app.events VALUES (1, 'seen')")
		people = append(people, person)
	}
	var rows []string
	for k := range 300 {
		rows = append(rows, fmt.Sprintf("(%d, %d.25, 'c%d')", k, k, k))
	}
	root.sql("INSERT INTO app.prices VALUES " + strings.Join(rows, ", "))
	return root, people
}

// userView prints what users see of a database.
func userView(t *testing.T, n *Node, root client, users int) string {
	t.Helper()
	var b strings.Builder
	for i := range users {
		person := login(t, n, fmt.Sprintf("user%d", i), "Secret-of-a-user-1")
		b.WriteString(person.grid("SELECT count(*), sum(id), sum(length(body)), min(body), max(body) FROM app.notes") + "\n")
		b.WriteString(person.grid("SELECT id, what FROM app.events") + "\n")
		b.WriteString(person.grid("SELECT id FROM app.notes WHERE _deleted = true") + "\n")
	}
	b.WriteString(root.grid("SELECT count(*), sum(price), max(code) FROM app.prices") + "\n")
	b.WriteString(root.grid("SELECT id FROM app.prices WHERE code = 'c77'") + "\n")
	b.WriteString(root.grid("SELECT schedule_name, statement FROM system.schedules") + "\n")
	b.WriteString(root.grid("SELECT namespace_id, table_name, table_type, version FROM system.tables WHERE namespace_id = 'app' ORDER BY table_name"))
	return b.String()
}

// withShards is a configuration of another division into groups.
func withShards(users, shared int) func(*config.Config) {
	return func(cfg *config.Config) { cfg.Cluster.UserShards, cfg.Cluster.SharedShards = users, shared }
}

// TestBackupUnderWritesIntoOtherClusters backs three nodes up while clients write, and restores into one node and into three with other
// numbers of shards. Everything that was acknowledged before is there, nothing is there by half, and digests are equal.
func TestBackupUnderWritesIntoOtherClusters(t *testing.T) {
	t.Parallel()
	const users = 6
	nodes := openCluster(t, withShards(4, 2))
	waitReady(t, nodes...)
	root, people := fillDatabase(t, nodes[0], users)
	place := filepath.Join(t.TempDir(), "backups")
	var stop atomic.Bool
	var writers sync.WaitGroup
	var acknowledged atomic.Int64
	for i, person := range people[:3] {
		writers.Go(func() {
			for k := 1000; !stop.Load(); k += 2 {
				// Both rows or none: a backup that is not of one index would show one of them.
				person.sql(fmt.Sprintf("INSERT INTO app.notes VALUES (%d, 'pair', 1), (%d, 'pair', 1)", k, k+1))
				if i == 0 {
					acknowledged.Add(2)
				}
			}
		})
	}
	for ticker := time.NewTicker(10 * time.Millisecond); acknowledged.Load() < 20; {
		select {
		case <-ticker.C:
		case <-t.Context().Done():
			t.Fatal("nobody writes")
		}
	}
	before := acknowledged.Load()
	first := completed(t, nodes[0], root, "BACKUP DATABASE TO '"+place+"'")
	stop.Store(true)
	writers.Wait()
	if !strings.Contains(first.GetMessage(), "rows") || first.GetPercent() != 100 {
		t.Errorf("the job says %q", first.GetMessage())
	}
	root.sql("DELETE FROM app.prices WHERE id = 299")
	completed(t, nodes[0], root, "BACKUP DATABASE TO '"+place+"'")
	want := userView(t, nodes[0], root, users)
	store, err := objstore.OpenDir(disk.Local(), place)
	if err != nil {
		t.Fatal(err)
	}
	names, err := backup.List(t.Context(), store)
	if err != nil || len(names) != 2 {
		t.Fatal(names, err)
	}
	for _, name := range names {
		report, err := backup.Verify(t.Context(), store, name, func(uint32, string) {})
		if err != nil || len(report.Problems) > 0 || len(report.Manifest.Groups) != 6 || report.Manifest.Groups[0].Applied == 0 {
			t.Fatalf("%s: %+v, %v", name, report, err)
		}
	}
	if got, line := root.grid("SELECT location, total_bytes > 0 FROM system.backups"), place+"|true"; got != line+"\n"+line {
		t.Errorf("system.backups: %q", got)
	}
	for _, c := range []struct {
		name  string
		nodes func() []*Node
	}{
		{"one node", func() []*Node {
			cfg := testConfig(t.TempDir())
			withShards(7, 1)(cfg)
			cfg.Raft.LogSegmentBytes = 64 << 10 // its log takes entries of a quarter of that
			return []*Node{openNode(t, cfg, Options{})}
		}},
		{"three nodes", func() []*Node { return openCluster(t, withShards(2, 3)) }},
	} {
		restored := c.nodes()
		waitReady(t, restored...)
		there := login(t, restored[0], "root", rootPassword)
		job := completed(t, restored[0], there, "RESTORE DATABASE FROM '"+place+"'")
		if !strings.Contains(job.GetMessage(), "digests equal") {
			t.Errorf("%s: the job says %q", c.name, job.GetMessage())
		}
		if got := userView(t, restored[0], there, users); got != want {
			t.Errorf("%s holds\n%s\nwant\n%s", c.name, got, want)
		}
		for i := range 3 {
			person := login(t, restored[0], fmt.Sprintf("user%d", i), "Secret-of-a-user-1")
			if got := person.grid("SELECT count(*) % 2 FROM app.notes WHERE body = 'pair'"); got != "0" {
				t.Errorf("%s: user %d has half of a pair", c.name, i)
			}
		}
		// The cluster is one to work with: keys are unique, ids are new.
		if status, a := there.ask("INSERT INTO app.prices VALUES (1000, 1, 'c1')"); status != http.StatusBadRequest || !strings.Contains(a.Error.Message, "nique") {
			t.Errorf("%s: the unique index lets a second row in: %d %+v", c.name, status, a.Error)
		}
		there.sql("CREATE SHARED TABLE app.more (id BIGINT PRIMARY KEY)")
		there.sql("INSERT INTO app.more VALUES (1)")
		if got := there.grid("SELECT count(*) FROM app.prices"); got != "299" {
			t.Errorf("%s: after another table was made: %s", c.name, got)
		}
		// Into a cluster with tables nothing is restored.
		if refused := startJob(t, restored[0], there, "RESTORE DATABASE FROM '"+place+"'"); catalog.JobState(refused.GetState()) != catalog.JobFailed ||
			!strings.Contains(refused.GetError(), "empty cluster") {
			t.Errorf("%s: restored twice: %v", c.name, refused)
		}
	}
	// The first backup holds what was acknowledged before it began.
	cfg := testConfig(t.TempDir())
	single := openNode(t, cfg, Options{})
	waitReady(t, single)
	there := login(t, single, "root", rootPassword)
	completed(t, single, there, "RESTORE DATABASE FROM '"+place+"' BACKUP '"+names[0]+"'")
	person := login(t, single, "user0", "Secret-of-a-user-1")
	got := person.grid("SELECT count(*) FROM app.notes WHERE body = 'pair'")
	if count := number(t, got); count < before || count%2 != 0 {
		t.Errorf("the first backup has %d rows of pairs, %d were acknowledged before", count, before)
	}
}

func number(t *testing.T, text string) (n int64) {
	t.Helper()
	if _, err := fmt.Sscan(text, &n); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return n
}

// TestDroppedUserIsGone drops a user and looks for what is left of him: rows, index entries, files, the account.
func TestDroppedUserIsGone(t *testing.T) {
	t.Parallel()
	n, root := oneNode(t, func(cfg *config.Config) {
		withShards(2, 1)(cfg)
		cfg.Auth.UserCleanupDelaySecs = 1
	})
	fillDatabase(t, n, 2)
	root.sql("CREATE INDEX by_size ON app.notes (size)")
	place := t.TempDir()
	completed(t, n, root, "BACKUP DATABASE TO '"+place+"'")
	local, _ := n.catalog.Current().Storage(catalog.LocalStorage)
	files, err := n.storages.Open(local)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"app/notes/user0/batch-1.parquet", "app/notes/user0/manifest.json", "app/notes/user00/batch-1.parquet"} {
		if _, err = files.Put(t.Context(), key, strings.NewReader("x"), 1, objstore.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	root.sql("DROP USER user0")
	number := cleanupOfUser(t, n)
	job := waitJob(t, n, number, "completed", inState(catalog.JobCompleted))
	if !strings.Contains(job.GetMessage(), "2 files") || !strings.Contains(job.GetMessage(), place) {
		t.Errorf("the job says %q", job.GetMessage())
	}
	if got := root.grid("SELECT count(*) FROM system.users WHERE user_id = 'user0'"); got != "0" {
		t.Errorf("the account is there: %s", got)
	}
	it, err := n.store.Scan(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer it.Close() //nolint:errcheck // it was only read
	others := 0
	for ok := it.First(); ok; ok = it.Next() {
		_, kind, _, err := keys.Split(it.Key())
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(it.Key(), []byte("user0\x00\x01")) {
			t.Errorf("key %x of kind %#x is left", it.Key(), kind)
		}
		if bytes.Contains(it.Key(), []byte("user1\x00\x01")) {
			others++
		}
	}
	if others < 80 {
		t.Errorf("the other user has %d keys", others)
	}
	var left []string
	if err := files.List(t.Context(), "app", func(info objstore.ObjectInfo) error { left = append(left, info.Key); return nil }); err != nil || len(left) != 1 {
		t.Errorf("files: %v, %v", left, err)
	}
	root.sql("CREATE USER user0 WITH PASSWORD 'Secret-of-a-user-1' ROLE user")
	if got := login(t, n, "user0", "Secret-of-a-user-1").grid("SELECT count(*) FROM app.notes"); got != "0" {
		t.Errorf("the new account sees %s rows", got)
	}
}

// cleanupOfUser returns the number of the newest job that cleans up after a user.
func cleanupOfUser(t *testing.T, n *Node) uint64 {
	t.Helper()
	live, err := catalog.LoadLiveJobs(n.store)
	if err != nil {
		t.Fatal(err)
	}
	ended, err := catalog.LoadDoneJobs(n.store)
	if err != nil {
		t.Fatal(err)
	}
	newest := uint64(0)
	for _, job := range append(live, ended...) {
		if job.GetType() == "user_cleanup" {
			newest = max(newest, job.GetNumber())
		}
	}
	if newest == 0 {
		t.Fatal("no job cleans up after a user")
	}
	return newest
}
