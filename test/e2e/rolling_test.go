package e2e

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	kalam "github.com/kalamdb/kalamdb-go/client"
)

// follower writes and reads through the client library, which follows what the documentation says about answers that
// may be repeated and about connections that end.
type follower struct {
	db       *kalam.Client
	table    string
	requests int
	worst    time.Duration
	failures []string
}

func newFollower(t *testing.T, c *cluster, user, password, table string) *follower {
	t.Helper()
	urls := make([]string, len(c.nodes))
	for i, n := range c.nodes {
		urls[i] = n.url()
	}
	db, err := kalam.New(kalam.Config{URLs: urls, User: user, Password: password, Attempts: 40, Pause: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	return &follower{db: db, table: table}
}

// do runs one statement; want is the number of rows that it must say.
func (f *follower) do(ctx context.Context, want int, text string, params ...any) {
	started := time.Now()
	results, err := f.db.Exec(ctx, text, params...)
	if ctx.Err() != nil {
		return // the test ends
	}
	f.requests++
	f.worst = max(f.worst, time.Since(started))
	if err != nil || len(results) != 1 || results[0].RowCount != want {
		f.failures = append(f.failures, fmt.Sprintf("%s %v: %+v, %v", text, params, results, err))
	}
}

// TestRollingRestartFailsNoRequest restarts three nodes one after the other while clients read and write, as
// an upgrade does. No request of the client library fails, and each INSERT says that it inserted its row.
func TestRollingRestartFailsNoRequest(t *testing.T) {
	c := startCluster(t, nil)
	finish := keepBusy(t, c)
	for _, n := range c.nodes {
		n.stop(t)
		n.start(t)
		n.waitReady(t)
	}
	finish()
}

// TestUpgrade does the same with three nodes of an older program, which KALAMDB_E2E_FROM names, that come back with this one:
// make upgrade. Afterwards all replicas have the same rows.
func TestUpgrade(t *testing.T) {
	from := os.Getenv("KALAMDB_E2E_FROM")
	if from == "" {
		t.Skip("KALAMDB_E2E_FROM names no older program; make upgrade FROM=<revision> builds one")
	}
	c := prepareCluster(t, 3, nil)
	for _, n := range c.nodes {
		n.program = from
	}
	c.start(t)
	finish := keepBusy(t, c)
	for _, n := range c.nodes {
		n.stop(t)
		n.program = serverBinary
		n.start(t)
		n.waitReady(t)
	}
	finish()
	root := c.nodes[0].root(t)
	c.wantEqualDigests(t, root, "ledger", 50)
	c.wantEqualDigests(t, root, "diary", 50)
}

// keepBusy makes tables and clients that write and read until the function that it returns is called, which reports what failed.
func keepBusy(t *testing.T, c *cluster) (finish func()) {
	t.Helper()
	root := c.nodes[0].root(t)
	root.must(t, "CREATE NAMESPACE app")
	root.must(t, "CREATE TABLE app.ledger (id BIGINT PRIMARY KEY, note TEXT NOT NULL) WITH (TYPE = 'SHARED')")
	root.must(t, "CREATE TABLE app.diary (id BIGINT PRIMARY KEY, note TEXT NOT NULL) WITH (TYPE = 'USER')")
	root.must(t, "CREATE USER ann WITH PASSWORD 'password-of-ann' ROLE user")

	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	followers := make([]*follower, 8)
	for i := range followers {
		f := newFollower(t, c, "root", rootPassword, "app.ledger")
		if i%2 == 1 {
			f = newFollower(t, c, "ann", "password-of-ann", "app.diary")
		}
		followers[i] = f
		running.Go(func() {
			for id := int64(i) * idsPerWriter; ctx.Err() == nil; id++ {
				f.do(ctx, 1, "INSERT INTO "+f.table+" (id, note) VALUES ($1, $2)", id, note(id))
				f.do(ctx, 1, "SELECT note FROM "+f.table+" WHERE id = $1", id)
			}
		})
	}
	return func() {
		t.Helper()
		cancel()
		running.Wait()
		report(t, followers)
	}
}

// report tells what the followers met.
func report(t *testing.T, followers []*follower) {
	t.Helper()
	requests, worst := 0, time.Duration(0)
	for i, f := range followers {
		requests, worst = requests+f.requests, max(worst, f.worst)
		for _, failure := range f.failures {
			t.Errorf("client %d: %s", i, failure)
		}
		if f.requests < 50 {
			t.Errorf("client %d made only %d requests", i, f.requests)
		}
	}
	t.Logf("%d requests, slowest %v", requests, worst.Round(time.Millisecond))
}
