package jobs

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// probe is a kind whose runs the test ends by hand.
type probe struct {
	started chan *Work
	end     chan error
	ended   chan error // why the context of a run ended
}

func newProbe() *probe {
	return &probe{started: make(chan *Work, 100), end: make(chan error), ended: make(chan error, 100)}
}

func (p *probe) kind(name string, limit int) Kind {
	return Kind{Type: name, Limit: limit, Run: func(ctx context.Context, work *Work) error {
		p.started <- work
		select {
		case err := <-p.end:
			return err
		case <-ctx.Done():
			p.ended <- context.Cause(ctx)
			return ctx.Err()
		}
	}}
}

func receive[T any](t *testing.T, from chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(10 * time.Second):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

func TestJobRunsToItsEndWithProgress(t *testing.T) {
	t.Parallel()
	l, p := newJobLab(t), newProbe()
	r := l.runner(1, nil, 0, p.kind("probe", 0))
	number := l.create(&commandv1.Job{})
	l.step(r)
	work := receive(t, p.started)
	l.expect(number, catalog.JobRunning)
	work.Report(40, "two of five")
	l.waitTimer(labHold / 6)
	l.wall.Advance(labHold / 6)
	l.waitTimer(labHold / 6) // the next one is asked for when the heartbeat is in
	if job := l.expect(number, catalog.JobRunning); job.GetPercent() != 40 || job.GetMessage() != "two of five" {
		t.Errorf("while it runs: %d%% %q", job.GetPercent(), job.GetMessage())
	}
	work.Report(100, "all five")
	p.end <- nil
	r.Wait()
	if job := l.expect(number, catalog.JobCompleted); job.GetMessage() != "all five" || job.GetPercent() != 100 {
		t.Errorf("at the end: %d%% %q", job.GetPercent(), job.GetMessage())
	}
}

func TestFailedJobIsTriedAgainLaterAndLater(t *testing.T) {
	t.Parallel()
	l, p := newJobLab(t), newProbe()
	r := l.runner(1, nil, 0, p.kind("probe", 0))
	number := l.create(&commandv1.Job{MaxRetries: 3})
	for try, pause := range []time.Duration{100 * time.Millisecond, 200 * time.Millisecond, 400 * time.Millisecond} {
		l.step(r)
		receive(t, p.started)
		p.end <- fmt.Errorf("failure %d", try)
		r.Wait()
		job := l.expect(number, catalog.JobRetrying)
		if wait := time.Duration(job.GetNotBeforeMicros()-l.wall.Now().UnixMicro()) * time.Microsecond; wait != pause || job.GetRetries() != uint32(try+1) {
			t.Errorf("after failure %d: %d retries, the next in %s, want %s", try, job.GetRetries(), wait, pause)
		}
		l.wall.Advance(pause - time.Microsecond)
		l.step(r)
		l.expect(number, catalog.JobRetrying)
		l.wall.Advance(time.Microsecond)
	}
	l.step(r)
	receive(t, p.started)
	p.end <- errors.New("the last one")
	r.Wait()
	if job := l.expect(number, catalog.JobFailed); job.GetError() != "the last one" {
		t.Errorf("error %q", job.GetError())
	}
}

// TestRunThatDoesNotReturn: work that ends without returning, as a panic does while the process goes down with it, is not said to be
// done: the job goes on once the claim is over.
func TestRunThatDoesNotReturn(t *testing.T) {
	t.Parallel()
	l, runs := newJobLab(t), 0
	kind := Kind{Type: "probe", Run: func(context.Context, *Work) error {
		if runs++; runs == 1 {
			runtime.Goexit()
		}
		return nil
	}}
	r := l.runner(1, leads, 0, kind)
	number := l.create(&commandv1.Job{MaxRetries: 3})
	l.step(r)
	r.Wait()
	l.expect(number, catalog.JobRunning)
	l.wall.Advance(labHold)
	l.step(r) // the claim is over
	l.step(r)
	r.Wait()
	if l.expect(number, catalog.JobCompleted); runs != 2 {
		t.Errorf("the work ran %d times", runs)
	}
}

func TestEndsThatAreNoFailures(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err  error
		want catalog.JobState
	}{
		{fmt.Errorf("%w: all is done", ErrNothingToDo), catalog.JobSkipped},
		{Permanent(errors.New("never")), catalog.JobFailed},
		{nil, catalog.JobCompleted},
	} {
		l, p := newJobLab(t), newProbe()
		r := l.runner(1, nil, 0, p.kind("probe", 0))
		number := l.create(&commandv1.Job{MaxRetries: 3})
		l.step(r)
		receive(t, p.started)
		p.end <- c.err
		r.Wait()
		l.expect(number, c.want)
	}
}

func TestOneLiveJobPerKey(t *testing.T) {
	t.Parallel()
	l, p := newJobLab(t), newProbe()
	first, second := l.runner(1, nil, 0, p.kind("probe", 0)), l.runner(2, nil, 0, p.kind("probe", 0))
	number := l.create(&commandv1.Job{IdempotencyKey: "only"})
	if again := l.create(&commandv1.Job{IdempotencyKey: "only"}); again != number {
		t.Errorf("a second job %d", again)
	}
	l.step(first)
	l.step(second)
	l.step(first)
	receive(t, p.started)
	if len(p.started) > 0 {
		t.Error("it runs twice")
	}
	if again := l.create(&commandv1.Job{IdempotencyKey: "only"}); again != number {
		t.Errorf("a second job %d while the first runs", again)
	}
	p.end <- nil
	first.Wait()
	if again := l.create(&commandv1.Job{IdempotencyKey: "only"}); again == number {
		t.Error("no new job after the first ended")
	}
}

func TestLimitsOfConcurrency(t *testing.T) {
	t.Parallel()
	l, p := newJobLab(t), newProbe()
	r := l.runner(1, nil, 3, p.kind("single", 1), p.kind("probe", 0))
	for range 3 {
		l.create(&commandv1.Job{Type: "single"})
	}
	for range 4 {
		l.create(&commandv1.Job{})
	}
	l.step(r)
	l.step(r)
	types := map[string]int{}
	for range 3 {
		types[receive(t, p.started).Job.GetType()]++
	}
	if len(p.started) > 0 || types["single"] != 1 || types["probe"] != 2 {
		t.Errorf("run at once: %v and %d more", types, len(p.started))
	}
	for range 3 {
		p.end <- nil
	}
	r.Wait()
	l.step(r)
	types = map[string]int{}
	for range 3 {
		types[receive(t, p.started).Job.GetType()]++
	}
	if types["single"] != 1 || types["probe"] != 2 {
		t.Errorf("then: %v", types)
	}
	for range 3 {
		p.end <- nil
	}
	r.Wait()
}

func TestJobsForOneNodeAndForTheLeader(t *testing.T) {
	t.Parallel()
	l, p := newJobLab(t), newProbe()
	leading := false
	leadership := func() Leadership { return Leadership{Term: 1, Leading: leading} }
	first, second := l.runner(1, leadership, 0, p.kind("probe", 0)), l.runner(2, nil, 0, p.kind("probe", 0))
	mine := l.create(&commandv1.Job{OnlyNode: 2})
	leaders := l.create(&commandv1.Job{LeaderOnly: true, MaxRetries: 1})
	l.step(first)
	l.expect(mine, catalog.JobQueued)
	l.step(second)
	receive(t, p.started)
	l.expect(leaders, catalog.JobQueued)
	if job := l.expect(mine, catalog.JobRunning); job.GetClaim().GetNodeId() != 2 {
		t.Errorf("the job of node 2 runs on node %d", job.GetClaim().GetNodeId())
	}
	p.end <- nil
	second.Wait()
	leading = true
	l.step(first)
	for started := receive(t, p.started); started.Job.GetNumber() != leaders; started = receive(t, p.started) {
		p.end <- nil
	}
	leading = false // another node leads: the work is given back
	l.step(first)
	if err := receive(t, p.ended); !errors.Is(err, errLeaderOnly) {
		t.Errorf("the work ended because of %v", err)
	}
	first.Wait()
	l.expect(leaders, catalog.JobQueued)
}

// TestClaimMovesAndTheOldOneIsWorthNothing cuts a node off while it runs a job. It stops by itself when its claim may be over; another node takes
// the job, and what the first says of it is refused.
func TestClaimMovesAndTheOldOneIsWorthNothing(t *testing.T) {
	t.Parallel()
	l, p := newJobLab(t), newProbe()
	first := l.runner(1, nil, 0, p.kind("probe", 0))
	second := l.runner(2, leads, 0, p.kind("probe", 0))
	number := l.create(&commandv1.Job{MaxRetries: 2})
	l.step(first)
	receive(t, p.started)
	old := l.expect(number, catalog.JobRunning).GetClaim()
	l.setCut(1, true)
	for range 6 {
		l.waitTimer(labHold / 6)
		l.step(second) // the claim holds as long as it was promised
		l.expect(number, catalog.JobRunning)
		l.wall.Advance(labHold / 6)
	}
	if err := receive(t, p.ended); !errors.Is(err, errClaimLost) {
		t.Errorf("the work of the node that is cut off ended because of %v", err)
	}
	first.Wait()
	l.step(second)
	l.step(second)
	receive(t, p.started)
	l.setCut(1, false)
	for name, cmd := range map[string]*commandv1.Command{
		"complete":  {Body: &commandv1.Command_CompleteJob{CompleteJob: &commandv1.CompleteJob{Claim: old}}},
		"heartbeat": {Body: &commandv1.Command_HeartbeatJob{HeartbeatJob: &commandv1.HeartbeatJob{Claim: old, HoldMicros: 1}}},
	} {
		if _, err := l.direct.Execute(t.Context(), shard.Meta, cmd); fault.KindOf(err) != fault.Conflict {
			t.Errorf("%s with the old claim: %v", name, err)
		}
	}
	p.end <- nil
	second.Wait()
	if job := l.expect(number, catalog.JobCompleted); len(job.GetRuns()) != 2 || job.GetRetries() != 1 {
		t.Errorf("runs %v, %d retries", job.GetRuns(), job.GetRetries())
	}
}

func TestKilledJobStops(t *testing.T) {
	t.Parallel()
	l, p := newJobLab(t), newProbe()
	r := l.runner(1, nil, 0, p.kind("probe", 0))
	number := l.create(&commandv1.Job{MaxRetries: 5})
	l.step(r)
	receive(t, p.started)
	l.run(&commandv1.Command{Body: &commandv1.Command_CancelJob{CancelJob: &commandv1.CancelJob{Id: fmt.Sprintf("PR-%d", number)}}})
	l.step(r)
	if err := receive(t, p.ended); !errors.Is(err, errClaimLost) {
		t.Errorf("it ended because of %v", err)
	}
	r.Wait()
	l.expect(number, catalog.JobCancelled)
}

// TestStoppedNodeGivesJobsBack ends the context of the runner, as a node that is stopped does.
func TestStoppedNodeGivesJobsBack(t *testing.T) {
	t.Parallel()
	l, p := newJobLab(t), newProbe()
	r := l.runner(1, nil, 0, p.kind("probe", 0))
	again := l.create(&commandv1.Job{MaxRetries: 1})
	once := l.create(&commandv1.Job{})
	ctx, cancel := context.WithCancel(t.Context())
	l.must(r.Step(ctx))
	receive(t, p.started)
	receive(t, p.started)
	cancel()
	r.Wait()
	l.expect(again, catalog.JobQueued)
	l.expect(once, catalog.JobFailed) // it may have run
}

// TestHistoryIsBounded runs more jobs than are remembered; those that are transient leave no record.
func TestHistoryIsBounded(t *testing.T) {
	t.Parallel()
	l := newJobLab(t)
	r := l.runner(1, nil, 64, Kind{Type: "probe", Run: func(context.Context, *Work) error { return nil }})
	oldest := l.create(&commandv1.Job{})
	for range (catalog.MaxDoneJobs + 100) / 50 {
		for range 50 {
			l.create(&commandv1.Job{})
		}
		l.create(&commandv1.Job{Transient: true})
		l.step(r)
		r.Wait()
		l.wall.Advance(time.Second)
		for len(l.wall.timers) > 0 {
			<-l.wall.timers
		}
	}
	done, err := catalog.LoadDoneJobs(l.store)
	l.must(err)
	if len(done) != catalog.MaxDoneJobs || done[0].GetNumber() == oldest {
		t.Errorf("%d ended jobs are kept, the oldest is %d", len(done), done[0].GetNumber())
	}
	for _, job := range done {
		if job.GetTransient() {
			t.Errorf("job %d is kept", job.GetNumber())
		}
	}
}
