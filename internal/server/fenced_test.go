package server

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/applier"
	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/config"
	"github.com/kalamdb/kalamdb-go/internal/executor"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/jobs"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage/objstore"
	"github.com/kalamdb/kalamdb-go/internal/storage/objstore/objstoretest"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// TestRestoreThatLostItsJobIsRefused claims a job twice, as two nodes do: what the first run of its restore, or of a backup, sends afterwards is refused, and
// the job knows which backup the first one began with.
func TestRestoreThatLostItsJobIsRefused(t *testing.T) {
	t.Parallel()
	n, _ := oneNode(t, withShards(1, 1))
	execute := func(cmd *commandv1.Command) (*commandv1.Response, error) {
		return n.exec.Execute(t.Context(), shard.Meta, cmd)
	}
	must := func(response *commandv1.Response, err error) uint64 {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return response.GetObjectId()
	}
	number := must(execute(&commandv1.Command{Body: &commandv1.Command_CreateJob{CreateJob: &commandv1.CreateJob{
		Job: &commandv1.Job{Type: "a kind that no node runs", IdPrefix: "XX", MaxRetries: 3},
	}}}))
	claim := func() uint64 {
		t.Helper()
		return must(execute(&commandv1.Command{Body: &commandv1.Command_ClaimJob{ClaimJob: &commandv1.ClaimJob{
			Number: number, NodeId: 1, Term: 1 << 40, HoldMicros: 1 << 40,
		}}}))
	}
	restore := func(token uint64) error {
		_, err := execute(&commandv1.Command{Body: &commandv1.Command_RestoreCatalog{RestoreCatalog: &commandv1.RestoreCatalog{
			Backup: "cluster/the-first", Job: number, Token: token,
		}}})
		return err
	}
	first := claim()
	if err := restore(first); err != nil {
		t.Fatal(err)
	}
	job, _, err := catalog.LoadJob(n.store, number)
	if err != nil || job.GetRestoring() != "cluster/the-first" {
		t.Errorf("the job restores %q, %v", job.GetRestoring(), err)
	}
	must(execute(&commandv1.Command{Body: &commandv1.Command_ReleaseJob{ReleaseJob: &commandv1.ReleaseJob{Claim: job.GetClaim()}}}))
	if err := restore(first); fault.KindOf(err) != fault.Conflict {
		t.Errorf("a run that gave its job back: %v", err)
	}
	second := claim()
	if err := restore(first); fault.KindOf(err) != fault.Conflict {
		t.Errorf("a run that lost its job: %v", err)
	}
	if err := restore(second); err != nil {
		t.Errorf("the run that has the job: %v", err)
	}
	record := func(token uint64, name string) error {
		_, err := execute(&commandv1.Command{Body: &commandv1.Command_RecordBackup{RecordBackup: &commandv1.RecordBackup{
			Backup: &commandv1.Backup{Name: name, Location: "x", Job: number}, Token: token,
		}}})
		return err
	}
	if err := record(second, "of the second"); err != nil {
		t.Errorf("the run that has the job records a backup: %v", err)
	}
	if err := record(first, "of the first"); fault.KindOf(err) != fault.Conflict {
		t.Errorf("a run that lost its job records a backup: %v", err)
	}
	if known, err := catalog.LoadBackups(n.store); err != nil || len(known) != 1 || known[0].GetName() != "of the second" {
		t.Errorf("the cluster remembers %v, %v", known, err)
	}
}

// haltedExecutor does something in front of the first purge of a user, as if the process had stood still there.
type haltedExecutor struct {
	executor.CommandExecutor
	before func()
}

func (l *haltedExecutor) Execute(ctx context.Context, group shard.GroupID, cmd *commandv1.Command) (*commandv1.Response, error) {
	if before := l.before; before != nil && cmd.GetPurgeUser() != nil {
		l.before = nil
		before()
	}
	return l.CommandExecutor.Execute(ctx, group, cmd)
}

// TestCleanupThatLostItsJobSparesTheNextAccount stops a run of the job that cleans up after a dropped user in front of its purge. Another run does the job
// meanwhile, and a new account gets the name and writes; then the first run goes on.
func TestCleanupThatLostItsJobSparesTheNextAccount(t *testing.T) {
	t.Parallel()
	n, root := oneNode(t, func(cfg *config.Config) {
		withShards(1, 1)(cfg)
		cfg.Auth.UserCleanupDelaySecs = 3600
	})
	root.sql("CREATE NAMESPACE app")
	root.sql("CREATE USER TABLE app.own (id BIGINT PRIMARY KEY, body TEXT)")
	create := func() client {
		root.sql("CREATE USER ann WITH PASSWORD 'Secret-of-ann-1' ROLE user")
		return login(t, n, "ann", "Secret-of-ann-1")
	}
	create().sql("INSERT INTO app.own VALUES (1, 'of the first'), (2, 'of the first')")
	root.sql("DROP USER ann")
	account, _ := n.catalog.Current().UserOrDeleted("ann")
	parameters, err := json.Marshal(applier.UserCleanupParameters{User: "ann", DeletedMicros: account.DeletedMicros})
	if err != nil {
		t.Fatal(err)
	}
	run := func(exec executor.CommandExecutor) error {
		kind := jobs.UserCleanup(n.catalog, n.store, exec, n.cold, nil, n.fencesJobs)
		return kind.Run(t.Context(), &jobs.Work{Job: &commandv1.Job{Parameters: string(parameters)}})
	}
	var second client
	stale := run(&haltedExecutor{n.exec, func() {
		if err := run(n.exec); err != nil {
			t.Error(err)
		}
		second = create()
		if got := second.grid("SELECT count(*) FROM app.own"); got != "0" {
			t.Errorf("the new account has %s rows", got)
		}
		second.sql("INSERT INTO app.own VALUES (2, 'of the second'), (3, 'of the second')")
	}})
	if !errors.Is(stale, jobs.ErrNothingToDo) {
		t.Errorf("the first run ends with %v", stale)
	}
	if got := second.grid("SELECT id, body FROM app.own ORDER BY id"); got != "2|of the second\n3|of the second" {
		t.Errorf("the new account has %q", got)
	}
}

// TestCleanupWaitsForLateWrites lets a statement of the dropped user write in front of the purge: the run looks again, and nothing is left.
func TestCleanupWaitsForLateWrites(t *testing.T) {
	t.Parallel()
	n, root := oneNode(t, func(cfg *config.Config) {
		withShards(1, 1)(cfg)
		cfg.Auth.UserCleanupDelaySecs = 3600
	})
	root.sql("CREATE NAMESPACE app")
	root.sql("CREATE USER TABLE app.own (id BIGINT PRIMARY KEY)")
	root.sql("CREATE USER ann WITH PASSWORD 'Secret-of-ann-1' ROLE user")
	login(t, n, "ann", "Secret-of-ann-1").sql("INSERT INTO app.own VALUES (1)")
	group := n.catalog.Current().Cluster().Shards.RouteUser("ann")
	root.sql("DROP USER ann")
	account, _ := n.catalog.Current().UserOrDeleted("ann")
	parameters, err := json.Marshal(applier.UserCleanupParameters{User: "ann", DeletedMicros: account.DeletedMicros})
	if err != nil {
		t.Fatal(err)
	}
	id := mustTable(t, n, "app", "own")
	late := &haltedExecutor{n.exec, func() {
		if _, err := n.exec.Execute(t.Context(), group, &commandv1.Command{Body: &commandv1.Command_WriteRows{WriteRows: &commandv1.WriteRows{
			Rows: []*commandv1.RowWrite{{TableId: uint64(id), User: "ann", PrimaryKey: []byte{1}, Row: []byte{1, 1}}},
		}}}); err != nil {
			t.Error(err)
		}
	}}
	kind := jobs.UserCleanup(n.catalog, n.store, late, n.cold, nil, n.fencesJobs)
	if err := kind.Run(t.Context(), &jobs.Work{Job: &commandv1.Job{Parameters: string(parameters)}}); err != nil {
		t.Fatal(err)
	}
	if _, there := n.catalog.Current().UserOrDeleted("ann"); there || hotVersions(t, n, "own") != 0 {
		t.Errorf("the account is there: %v, with %d rows", there, hotVersions(t, n, "own"))
	}
}

// TestCleanupThatLostItsJobSparesTheNextFiles stops a run of the job that cleans up after a dropped user in front of its list of files in a bucket, or when it
// was told that they may go and asks the bucket to delete the first. By the time that it goes on, the files are those of the next account of the name.
func TestCleanupThatLostItsJobSparesTheNextFiles(t *testing.T) {
	t.Parallel()
	for at, halts := range map[string]func(r *http.Request) bool{
		"list": func(r *http.Request) bool { return strings.HasSuffix(r.URL.Query().Get("prefix"), "app/t/ann/") },
		"delete": func(r *http.Request) bool {
			return r.Method == http.MethodDelete && strings.Contains(r.URL.Path, "app/t/ann/")
		},
	} {
		t.Run(at, func(t *testing.T) {
			t.Parallel()
			cleanupThatIsOvertaken(t, halts)
		})
	}
}

func cleanupThatIsOvertaken(t *testing.T, halts func(r *http.Request) bool) {
	t.Helper()
	server := objstoretest.NewServer(t)
	n, root := oneNode(t, func(cfg *config.Config) {
		withShards(1, 1)(cfg)
		withKey(cfg)
		cfg.Auth.UserCleanupDelaySecs = 3600
	})
	root.sql(s3Statement("archive", server))
	root.sql("CREATE NAMESPACE app")
	root.sql("CREATE USER TABLE app.t (id BIGINT PRIMARY KEY, body TEXT) WITH (STORAGE_ID = 'archive')")
	write := func(body string) client {
		t.Helper()
		root.sql("CREATE USER ann WITH PASSWORD 'Secret-of-ann-1' ROLE user")
		ann := login(t, n, "ann", "Secret-of-ann-1")
		ann.sql("INSERT INTO app.t VALUES (1, '" + body + "')")
		if _, err := n.flusher().Table(t.Context(), mustTable(t, n, "app", "t"), nil); err != nil {
			t.Fatal(err)
		}
		tendFiles(t, n)
		return ann
	}
	files := func() (found []string) {
		t.Helper()
		objects, err := n.cold.Objects("archive")
		if err == nil {
			err = objects.List(t.Context(), "app/t/ann/", func(o objstore.ObjectInfo) error { found = append(found, o.Key); return nil })
		}
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	write("of the first")
	firsts := files()
	root.sql("DROP USER ann")
	account, _ := n.catalog.Current().UserOrDeleted("ann")
	parameters, err := json.Marshal(applier.UserCleanupParameters{User: "ann", DeletedMicros: account.DeletedMicros})
	if err != nil {
		t.Fatal(err)
	}
	run := func() error {
		kind := jobs.UserCleanup(n.catalog, n.store, n.exec, n.cold, nil, n.fencesJobs)
		return kind.Run(t.Context(), &jobs.Work{Job: &commandv1.Job{Parameters: string(parameters)}})
	}
	halted, goOn := make(chan struct{}), make(chan struct{})
	server.Fail(objstoretest.First(1, halts, objstoretest.Wrap(func(w http.ResponseWriter, r *http.Request, s3 http.Handler) {
		close(halted)
		<-goOn
		s3.ServeHTTP(w, r)
	})))
	ended := make(chan error, 1)
	go func() { ended <- run() }()
	<-halted
	if err := run(); err != nil {
		t.Error(err)
	}
	if left := files(); len(left) != 0 {
		t.Errorf("the second run leaves %q", left)
	}
	ann := write("of the second")
	close(goOn)
	if err := <-ended; !errors.Is(err, jobs.ErrNothingToDo) {
		t.Errorf("the first run ends with %v", err)
	}
	reopenSegments(t, n)
	if got := ann.grid("SELECT id, body FROM app.t"); got != "1|of the second" {
		t.Errorf("the new account has %q", got)
	}
	if seconds := files(); len(firsts) != 2 || len(seconds) != 2 || firsts[0] == seconds[0] {
		t.Errorf("the bucket had %q, and has %q; want a segment and a manifest of each, and no name of a segment twice", firsts, seconds)
	}
}
