package server

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/executor"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/jobs"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
	nodev1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/node/v1"
)

// waitJob polls a node's records until a job is as wanted.
func waitJob(t *testing.T, n *Node, number uint64, what string, wanted func(job *commandv1.Job) bool) *commandv1.Job {
	t.Helper()
	deadline := time.Now().Add(tooLong)
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		job, _, err := catalog.LoadJob(n.store, number)
		if err != nil {
			t.Fatal(err)
		}
		if job != nil && wanted(job) {
			return job
		}
		if time.Now().After(deadline) {
			t.Fatalf("job %d is not %s: %v", number, what, job)
		}
		<-ticker.C
	}
}

func inState(state catalog.JobState) func(*commandv1.Job) bool {
	return func(job *commandv1.Job) bool { return catalog.JobState(job.GetState()) == state }
}

// TestDropTableNamesItsCleanupJob follows the job that DROP TABLE names to its end, on a node that did not get the
// statement.
func TestDropTableNamesItsCleanupJob(t *testing.T) {
	t.Parallel()
	nodes := openCluster(t)
	waitReady(t, nodes...)
	c := login(t, nodes[0], "root", rootPassword)
	c.sql("CREATE NAMESPACE shop")
	c.sql("CREATE TABLE shop.t (id BIGINT PRIMARY KEY) WITH (TYPE='USER')")
	c.sql("INSERT INTO shop.t VALUES (1), (2)")
	var answer struct {
		Results []struct {
			Message string `json:"message"`
		} `json:"results"`
	}
	if err := json.Unmarshal([]byte(c.sql("DROP TABLE shop.t")), &answer); err != nil {
		t.Fatal(err)
	}
	_, id, found := strings.Cut(answer.Results[0].Message, "Cleanup job: ")
	_, number, ok := catalog.ParseJobID(id)
	if !found || !ok {
		t.Fatalf("message %q", answer.Results[0].Message)
	}
	for _, n := range nodes {
		job := waitJob(t, n, number, "completed", inState(catalog.JobCompleted))
		if catalog.JobID(job) != id || job.GetPercent() != 100 || len(job.GetRuns()) != 1 {
			t.Errorf("job %v, want id %s", job, id)
		}
	}
	if left := nodes[1].catalog.Current().Cleanups(); len(left) > 0 {
		t.Errorf("%d tables are not cleaned up", len(left))
	}
}

// severed is an executor that stops answering, as that of a node that is cut off.
type severed struct {
	executor.CommandExecutor
	cut atomic.Bool
}

func (s *severed) Execute(ctx context.Context, group shard.GroupID, cmd *commandv1.Command) (*commandv1.Response, error) {
	if s.cut.Load() {
		return nil, fault.New(fault.Unavailable, "cut off")
	}
	return s.CommandExecutor.Execute(ctx, group, cmd)
}

// probeRunner is a second runner of a node, for one kind of job that the server does not know.
func probeRunner(n *Node, exec executor.CommandExecutor, run func(context.Context, *jobs.Work) error) *jobs.Runner {
	return jobs.New(jobs.Config{
		Executor: exec, Store: n.store, Catalog: n.catalog, Clock: n.clock, Logger: n.logger, Leadership: n.metaLeadership,
		Node:  func() ident.NodeID { return ident.NodeID(n.cfg.Cluster.NodeID) },
		Kinds: []jobs.Kind{{Type: "probe", Run: run}}, Hold: 2 * time.Second,
	})
}

// TestJobMovesFromANodeThatIsCutOff cuts a node off while it runs a job. It must notice and stop the work, another node
// must do it, and the first node's claim must be worth nothing.
func TestJobMovesFromANodeThatIsCutOff(t *testing.T) {
	t.Parallel()
	nodes := openCluster(t)
	waitReady(t, nodes...)
	ctx, cancel := context.WithTimeout(t.Context(), tooLong)
	defer cancel()
	created, err := nodes[0].exec.Execute(ctx, shard.Meta, &commandv1.Command{Body: &commandv1.Command_CreateJob{
		CreateJob: &commandv1.CreateJob{Job: &commandv1.Job{Type: "probe", IdPrefix: "PR", MaxRetries: 3}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	number := created.GetObjectId()
	waitJob(t, nodes[0], number, "queued", inState(catalog.JobQueued))
	cutOff := &severed{CommandExecutor: nodes[0].exec}
	stopped := make(chan error, 1)
	first := probeRunner(nodes[0], cutOff, func(ctx context.Context, _ *jobs.Work) error {
		<-ctx.Done()
		stopped <- context.Cause(ctx)
		return nil // it says that it is done, and must not be believed
	})
	if err = first.Step(ctx); err != nil {
		t.Fatal(err)
	}
	running := waitJob(t, nodes[1], number, "running", inState(catalog.JobRunning))
	cutOff.cut.Store(true)
	waitJob(t, nodes[1], number, "expired", inState(catalog.JobRetrying))
	second := probeRunner(nodes[1], nodes[1].exec, func(context.Context, *jobs.Work) error { return nil })
	if err = second.Step(ctx); err != nil {
		t.Fatal(err)
	}
	second.Wait()
	first.Wait()
	if cause := <-stopped; cause == nil {
		t.Error("the work on the node that was cut off was not stopped")
	}
	done := waitJob(t, nodes[2], number, "completed", inState(catalog.JobCompleted))
	runs := done.GetRuns()
	if len(runs) != 2 || runs[0].GetNodeId() != 1 || runs[1].GetNodeId() != 2 || runs[1].GetToken() <= runs[0].GetToken() {
		t.Errorf("runs %v", runs)
	}
	_, err = nodes[2].exec.Execute(ctx, shard.Meta, &commandv1.Command{Body: &commandv1.Command_CompleteJob{
		CompleteJob: &commandv1.CompleteJob{Claim: running.GetClaim()},
	}})
	if fault.KindOf(err) != fault.Conflict {
		t.Errorf("a completion with the first claim gives %v", err)
	}
}

// TestScheduleRunsItsStatement goes through the life of a schedule in SQL, and through KILL JOB.
func TestScheduleRunsItsStatement(t *testing.T) {
	t.Parallel()
	n := openNode(t, testConfig(t.TempDir()), Options{})
	waitReady(t, n)
	c := login(t, n, "root", rootPassword)
	c.sql("CREATE NAMESPACE shop")
	c.sql("CREATE TABLE shop.log (id BIGINT PRIMARY KEY DEFAULT SNOWFLAKE_ID(), who TEXT) WITH (TYPE='SHARED')")
	for _, wrong := range []string{
		"CREATE SCHEDULE s EVERY '0s' DO SELECT 1", "CREATE SCHEDULE s CRON '0 0 31 2 *' DO SELECT 1",
		"CREATE SCHEDULE s EVERY '1h' DO DROP TABLE shop.log", "ALTER SCHEDULE s PAUSE", "DROP SCHEDULE s", "KILL JOB 'CL-999'",
	} {
		if status, body := c.post("/v1/api/sql", map[string]any{"sql": wrong}); status == http.StatusOK {
			t.Errorf("%s: %s", wrong, body)
		}
	}
	c.sql("CREATE SCHEDULE s EVERY '1 second' DO INSERT INTO shop.log (who) VALUES (CURRENT_USER())")
	deadline := time.Now().Add(tooLong)
	for !strings.Contains(c.sql("SELECT job_type FROM system.jobs WHERE job_type = 'statement' AND status = 'completed'"), "statement") {
		if time.Now().After(deadline) {
			t.Fatalf("no job ran: %s", c.sql("SELECT * FROM system.jobs"))
		}
	}
	if got := c.sql("SELECT DISTINCT who FROM shop.log"); !strings.Contains(got, `["root"]`) {
		t.Errorf("rows %s", got)
	}
	c.sql("ALTER SCHEDULE s PAUSE")
	if got := c.sql("SHOW SCHEDULES"); !strings.Contains(got, "INSERT INTO shop.log") || !strings.Contains(got, "SC-") {
		t.Errorf("schedules %s", got)
	}
	c.sql("DROP SCHEDULE s")
	created, err := n.exec.Execute(t.Context(), shard.Meta, &commandv1.Command{Body: &commandv1.Command_CreateJob{
		CreateJob: &commandv1.CreateJob{Job: &commandv1.Job{Type: "probe", IdPrefix: "PR"}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	id := fmt.Sprint("PR-", created.GetObjectId())
	if got := c.sql("KILL JOB '" + id + "'"); !strings.Contains(got, "Job "+id+" killed: cancelled") {
		t.Errorf("answer %s", got)
	}
	if got := c.sql("SELECT status FROM system.jobs WHERE job_id = '" + id + "'"); !strings.Contains(got, "cancelled") {
		t.Errorf("status %s", got)
	}
	if got := c.sql("SELECT job_id, status FROM system.job_nodes"); !strings.Contains(got, "completed") {
		t.Errorf("runs %s", got)
	}
}

// TestOneOfTwoRunnersGetsAJob lets the runners of all nodes race.
func TestOneOfTwoRunnersGetsAJob(t *testing.T) {
	t.Parallel()
	nodes := openCluster(t)
	waitReady(t, nodes...)
	ctx, cancel := context.WithTimeout(t.Context(), tooLong)
	defer cancel()
	const count = 10
	var last uint64
	for range count {
		created, err := nodes[0].exec.Execute(ctx, shard.Meta, &commandv1.Command{Body: &commandv1.Command_CreateJob{
			CreateJob: &commandv1.CreateJob{Job: &commandv1.Job{Type: "probe", IdPrefix: "PR"}},
		}})
		if err != nil {
			t.Fatal(err)
		}
		last = created.GetObjectId()
	}
	var ran atomic.Int64
	var racing sync.WaitGroup
	for _, n := range nodes {
		waitJob(t, n, last, "queued", inState(catalog.JobQueued))
	}
	for _, n := range nodes {
		runner := probeRunner(n, n.exec, func(context.Context, *jobs.Work) error { ran.Add(1); return nil })
		racing.Go(func() {
			for range count {
				if err := runner.Step(ctx); err != nil {
					t.Error(err)
				}
				runner.Wait()
			}
		})
	}
	racing.Wait()
	waitJob(t, nodes[0], last, "completed", inState(catalog.JobCompleted))
	if ran.Load() != count {
		t.Errorf("%d jobs ran %d times", count, ran.Load())
	}
}

// TestLeaderOnlyJobSurvivesAFlap moves the leadership of the meta group while its leader runs a job for leaders.
func TestLeaderOnlyJobSurvivesAFlap(t *testing.T) {
	t.Parallel()
	nodes := openCluster(t)
	waitReady(t, nodes...)
	ctx, cancel := context.WithTimeout(t.Context(), tooLong)
	defer cancel()
	created, err := nodes[0].exec.Execute(ctx, shard.Meta, &commandv1.Command{Body: &commandv1.Command_CreateJob{
		CreateJob: &commandv1.CreateJob{Job: &commandv1.Job{Type: "probe", IdPrefix: "PR", MaxRetries: 3, LeaderOnly: true}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	number := created.GetObjectId()
	var runners []*jobs.Runner
	flapped := make(chan struct{})
	for _, n := range nodes {
		runners = append(runners, probeRunner(n, n.exec, func(ctx context.Context, _ *jobs.Work) error {
			select {
			case <-flapped:
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}))
	}
	stepUntil := func(what string, wanted func(*commandv1.Job) bool) *commandv1.Job {
		for {
			for i, r := range runners {
				if err := r.Step(ctx); err != nil && ctx.Err() == nil {
					t.Logf("step of node %d: %v", i+1, err)
				}
			}
			job, _, err := catalog.LoadJob(nodes[0].store, number)
			if err != nil || ctx.Err() != nil {
				t.Fatalf("job %d is not %s: %v, %v, %v", number, what, job, err, ctx.Err())
			}
			if job != nil && wanted(job) {
				return job
			}
		}
	}
	before := stepUntil("running", inState(catalog.JobRunning))
	leader := nodes[before.GetClaim().GetNodeId()-1]
	answer := leader.operate(ctx, leader.self(), &nodev1.OperateRequest{Order: nodev1.Order_ORDER_DRAIN})
	if answer.GetRefused() != "" {
		t.Fatal(answer.GetRefused())
	}
	after := stepUntil("running elsewhere", func(job *commandv1.Job) bool {
		return inState(catalog.JobRunning)(job) && job.GetClaim().GetNodeId() != before.GetClaim().GetNodeId()
	})
	if after.GetClaim().GetTerm() <= before.GetClaim().GetTerm() || after.GetClaim().GetToken() <= before.GetClaim().GetToken() {
		t.Errorf("claim %v after %v", after.GetClaim(), before.GetClaim())
	}
	close(flapped)
	stepUntil("completed", inState(catalog.JobCompleted))
	for _, r := range runners {
		r.Wait()
	}
}
