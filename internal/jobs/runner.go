package jobs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/executor"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// Leadership is what a node knows of the meta group's leader.
type Leadership struct {
	Term    uint64
	Leading bool // this node leads in that term
}

// Config is what a Runner works with. All fields are required but those with a meaning for zero.
type Config struct {
	Executor   executor.CommandExecutor
	Store      storage.Reader
	Catalog    *catalog.Store
	Clock      clock.Clock
	Logger     *slog.Logger
	Node       func() ident.NodeID // zero as long as the node is no member
	Leadership func() Leadership
	Kinds      []Kind
	// Concurrency is the most jobs that run here at once; zero means 4. Others wait in their records.
	Concurrency int
	Hold        time.Duration // how long a claim lasts without a heartbeat; zero means 30 s
	Poll        time.Duration // pause between two looks at the records; zero means 1 s
	// ByHand leaves it to callers to ask for flushes, for compactions and for looking for old deletions, which the leader else begins when they are due.
	ByHand bool
}

// Reasons for which a run's context ends.
var (
	errClaimLost  = errors.New("the claim is lost")
	errStopped    = errors.New("the node stops")
	errLeaderOnly = errors.New("this node does not lead any more")
)

// Runner runs jobs on one node. Step and Run belong to one goroutine.
type Runner struct {
	cfg    Config
	kinds  map[string]Kind
	chores chores

	mu      sync.Mutex // guards active
	active  map[uint64]*run
	running sync.WaitGroup
}

// run is one claim at work.
type run struct {
	work   *Work
	claim  *commandv1.JobClaim
	index  uint64 // of the claim in the meta group's log
	until  time.Time
	cancel context.CancelCauseFunc
}

// New makes a runner that does nothing yet.
func New(cfg Config) *Runner {
	if cfg.Concurrency == 0 {
		cfg.Concurrency = 4
	}
	if cfg.Hold == 0 {
		cfg.Hold = 30 * time.Second
	}
	if cfg.Poll == 0 {
		cfg.Poll = time.Second
	}
	r := &Runner{cfg: cfg, kinds: map[string]Kind{}, active: map[uint64]*run{}}
	for _, kind := range cfg.Kinds {
		r.kinds[kind.Type] = kind
	}
	return r
}

// Run looks for work until the context ends, and returns when nothing runs any more.
func (r *Runner) Run(ctx context.Context) {
	for ctx.Err() == nil {
		if err := r.Step(ctx); err != nil && ctx.Err() == nil {
			r.cfg.Logger.Info("jobs are looked at again later", slog.Any("error", err))
		}
		_ = clock.Pause(ctx, r.cfg.Clock, r.cfg.Poll) // the loop looks at ctx next
	}
	r.Wait()
}

// Wait returns when no job runs here.
func (r *Runner) Wait() { r.running.Wait() }

// Step looks at the records once: it stops work whose claim is gone, does the leader's chores when this node leads,
// and starts what is due. Work goes on after it returned, until it is done or ctx ends.
func (r *Runner) Step(ctx context.Context) error {
	node, lead := r.cfg.Node(), r.cfg.Leadership()
	if node == 0 {
		return nil
	}
	seen := r.cfg.Catalog.Index() // before the records are read: they show at least this much
	jobs, err := catalog.LoadLiveJobs(r.cfg.Store)
	if err != nil {
		return err
	}
	r.stopLost(jobs, seen, lead)
	if lead.Leading {
		if err := r.keepHouse(ctx, jobs); err != nil {
			return err
		}
	}
	now := r.cfg.Clock.Now().UnixMicro()
	for _, job := range jobs {
		kind, known := r.kinds[job.GetType()]
		if !known || !claimable(job, node, lead, now) || !r.hasRoom(job, kind) {
			continue
		}
		if err := r.claim(ctx, job, kind, node, lead); err != nil {
			return err
		}
	}
	return nil
}

// claimable says what ClaimJob would say, as far as this node knows.
func claimable(job *commandv1.Job, node ident.NodeID, lead Leadership, nowMicros int64) bool {
	return catalog.JobState(job.GetState()) != catalog.JobRunning && job.GetNotBeforeMicros() <= nowMicros &&
		(lead.Leading || !job.GetLeaderOnly()) && (job.GetOnlyNode() == 0 || job.GetOnlyNode() == uint64(node))
}

func (r *Runner) hasRoom(job *commandv1.Job, kind Kind) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.active) >= r.cfg.Concurrency || r.active[job.GetNumber()] != nil {
		return false
	}
	same := 0
	for _, active := range r.active {
		if active.work.Job.GetType() == kind.Type {
			same++
		}
	}
	return kind.Limit == 0 || same < kind.Limit
}

// stopLost cancels the runs whose record says that they hold the job no more. A record that is older than the claim
// says nothing.
func (r *Runner) stopLost(jobs []*commandv1.Job, seen uint64, lead Leadership) {
	tokens := make(map[uint64]uint64, len(jobs))
	for _, job := range jobs {
		tokens[job.GetNumber()] = job.GetClaim().GetToken()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for number, active := range r.active {
		switch {
		case active.index <= seen && tokens[number] != active.claim.GetToken():
			active.cancel(errClaimLost)
		case active.work.Job.GetLeaderOnly() && !lead.Leading:
			active.cancel(errLeaderOnly)
		}
	}
}

// claim takes a job and starts it. To be too late is no error.
func (r *Runner) claim(ctx context.Context, job *commandv1.Job, kind Kind, node ident.NodeID, lead Leadership) error {
	until := r.cfg.Clock.Now().Add(r.cfg.Hold) // before the request: the claim cannot end earlier
	response, err := r.execute(ctx, &commandv1.Command{Body: &commandv1.Command_ClaimJob{ClaimJob: &commandv1.ClaimJob{
		Number: job.GetNumber(), NodeId: uint64(node), Term: lead.Term, Leader: lead.Leading, HoldMicros: r.cfg.Hold.Microseconds(),
	}}})
	if kind := fault.KindOf(err); err != nil && (kind == fault.Conflict || kind == fault.NotFound) {
		return nil // somebody else was faster
	}
	if err != nil {
		return fmt.Errorf("claim job %s: %w", catalog.JobID(job), err)
	}
	runCtx, cancel := context.WithCancelCause(ctx)
	active := &run{
		work: &Work{Job: job, Token: response.GetObjectId(), message: job.GetMessage()}, index: response.GetIndex(), until: until, cancel: cancel,
		claim: &commandv1.JobClaim{Number: job.GetNumber(), Token: response.GetObjectId(), NodeId: uint64(node), Term: lead.Term},
	}
	r.mu.Lock()
	r.active[job.GetNumber()] = active
	r.mu.Unlock()
	r.running.Go(func() { r.carryOut(runCtx, active, kind) })
	return nil
}

// carryOut runs a claimed job to its end.
func (r *Runner) carryOut(ctx context.Context, active *run, kind Kind) {
	defer func() {
		active.cancel(nil)
		r.mu.Lock()
		delete(r.active, active.claim.GetNumber())
		r.mu.Unlock()
	}()
	var err error
	returned := false
	finished := make(chan struct{})
	r.running.Go(func() {
		defer close(finished)
		err = kind.Run(ctx, active.work)
		returned = true
	})
	until := r.keepAlive(ctx, active, finished)
	<-finished
	if !returned {
		return // it panics, and the process with it. Nobody knows what was done: the claim ends by itself, and the job goes on
	}
	r.report(ctx, active, until, err)
}

// keepAlive sends heartbeats until the work ends, and cancels it when the claim is lost or may be. It returns the time
// at which the claim ends.
func (r *Runner) keepAlive(ctx context.Context, active *run, finished <-chan struct{}) time.Time {
	until := active.until
	for {
		timer := r.cfg.Clock.NewTimer(r.cfg.Hold / 6)
		select {
		case <-finished:
			timer.Stop()
			return until
		case <-ctx.Done():
			timer.Stop()
			return until
		case <-timer.C():
		}
		sent := r.cfg.Clock.Now()
		if !sent.Before(until) {
			active.cancel(errClaimLost)
			return until
		}
		percent, message, _ := active.work.progress()
		_, err := r.execute(ctx, &commandv1.Command{Body: &commandv1.Command_HeartbeatJob{HeartbeatJob: &commandv1.HeartbeatJob{
			Claim: active.claim, Percent: percent, Message: message, HoldMicros: r.cfg.Hold.Microseconds(),
		}}})
		switch {
		case err == nil:
			until = sent.Add(r.cfg.Hold)
		case refused(err):
			active.cancel(errClaimLost)
			return until
		}
	}
}

// refused reports whether the meta group decided against a claim.
func refused(err error) bool {
	kind := fault.KindOf(err)
	return kind == fault.Conflict || kind == fault.NotFound
}

// report tells the meta group how a run ended, again and again until it is heard or the claim is over. A lost
// claim has nothing to tell.
func (r *Runner) report(ctx context.Context, active *run, until time.Time, err error) {
	cause := context.Cause(ctx)
	lost := func() { r.cfg.Logger.Info("a job was taken away", slog.String("job", catalog.JobID(active.work.Job))) }
	if errors.Is(cause, errClaimLost) {
		lost()
		return
	}
	cmd := r.ending(active, err, ctx.Err() != nil)
	quiet := context.WithoutCancel(ctx)
	for r.cfg.Clock.Now().Before(until) {
		_, failure := r.execute(quiet, cmd)
		switch {
		case failure == nil:
			return
		case refused(failure):
			lost()
			return
		case ctx.Err() != nil:
			return // the node stops: the claim ends by itself
		}
		_ = clock.Pause(ctx, r.cfg.Clock, r.cfg.Poll) // a node that stops tells it once more
	}
	lost() // the claim is over, whoever has the job now
}

// ending is the command that ends a run.
func (r *Runner) ending(active *run, err error, interrupted bool) *commandv1.Command {
	_, message, result := active.work.progress()
	switch {
	case err == nil:
		return &commandv1.Command{Body: &commandv1.Command_CompleteJob{CompleteJob: &commandv1.CompleteJob{
			Claim: active.claim, Message: message, Result: result,
		}}}
	case errors.Is(err, ErrNothingToDo):
		return &commandv1.Command{Body: &commandv1.Command_SkipJob{SkipJob: &commandv1.SkipJob{
			Claim: active.claim, Message: err.Error(),
		}}}
	case interrupted:
		if active.work.Job.GetMaxRetries() > 0 {
			return &commandv1.Command{Body: &commandv1.Command_ReleaseJob{ReleaseJob: &commandv1.ReleaseJob{Claim: active.claim}}}
		}
		err = fmt.Errorf("interrupted, and not to be repeated: %w", err)
	}
	const firstPause, lastPause = 100 * time.Millisecond, time.Minute
	pause := min(firstPause<<min(active.work.Job.GetRetries(), 16), lastPause)
	return &commandv1.Command{Body: &commandv1.Command_FailJob{FailJob: &commandv1.FailJob{
		Claim: active.claim, Error: err.Error(), RetryAtMicros: r.cfg.Clock.Now().Add(pause).UnixMicro(),
		Final: errors.Is(err, errPermanent),
	}}}
}

// execute replicates a command in the meta group, within a third of what a claim holds.
func (r *Runner) execute(ctx context.Context, cmd *commandv1.Command) (*commandv1.Response, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, r.cfg.Hold/3, errStopped)
	defer cancel()
	return r.cfg.Executor.Execute(ctx, shard.Meta, cmd)
}
