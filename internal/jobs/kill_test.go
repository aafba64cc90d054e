package jobs

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

func kill(number uint64) *commandv1.Command {
	return &commandv1.Command{Body: &commandv1.Command_CancelJob{CancelJob: &commandv1.CancelJob{Id: fmt.Sprintf("PR-%d", number)}}}
}

// TestKillAtEveryState kills jobs that are new, queued, running and retrying; the key of each is free then. One that has ended is told so.
func TestKillAtEveryState(t *testing.T) {
	t.Parallel()
	l, p := newJobLab(t), newProbe()
	r := l.runner(1, nil, 0, p.kind("probe", 0))
	for _, state := range []catalog.JobState{catalog.JobNew, catalog.JobQueued, catalog.JobRunning, catalog.JobRetrying} {
		job := &commandv1.Job{IdempotencyKey: "key", MaxRetries: 3}
		if state == catalog.JobNew {
			job.NotBeforeMicros = l.wall.Now().Add(time.Hour).UnixMicro()
		}
		number := l.create(job)
		if state == catalog.JobRunning || state == catalog.JobRetrying {
			l.step(r)
			receive(t, p.started)
		}
		if state == catalog.JobRetrying {
			p.end <- errors.New("a failure")
			r.Wait()
		}
		l.expect(number, state)
		l.run(kill(number))
		if killed := l.expect(number, catalog.JobCancelled); killed.GetClaim() != nil || killed.GetFinishedMicros() == 0 {
			t.Errorf("%s: the record is %v", state, killed)
		}
		l.wall.Advance(time.Minute)
		l.step(r) // what waits is not claimed, what runs is stopped
		r.Wait()
		l.expect(number, catalog.JobCancelled)
		if _, err := l.direct.Execute(t.Context(), shard.Meta, kill(number)); fault.KindOf(err) != fault.InvalidStatement {
			t.Errorf("%s: killed twice: %v", state, err)
		}
		again := l.create(&commandv1.Job{IdempotencyKey: "key", OnlyNode: 9})
		if again == number {
			t.Errorf("%s: the key is not free", state)
		}
		l.run(kill(again))
	}
	if _, err := l.direct.Execute(t.Context(), shard.Meta, kill(999)); fault.KindOf(err) != fault.NotFound {
		t.Errorf("a job that is none: %v", err)
	}
}

// TestFlapsCompleteNothingTwice has three nodes that believe to lead in turn, or at once with terms that are over, nodes that are cut
// off, clocks that leap over claims, and runs that end in whatever order. Every job ends once, under its last token, and tokens only grow.
func TestFlapsCompleteNothingTwice(t *testing.T) {
	t.Parallel()
	const jobs = 40
	l, p := newJobLab(t), newProbe()
	rng := rand.New(rand.NewPCG(7, 11))
	stop := make(chan struct{})
	t.Cleanup(func() { close(stop) })
	go func() { // nobody waits for timers here
		for {
			select {
			case <-l.wall.timers:
			case <-p.started:
			case <-p.ended: //nolint:errcheck // any end is one
			case <-stop:
				return
			}
		}
	}()
	term := uint64(1)
	beliefs := make([]Leadership, 3)
	var runners []*Runner
	for i := range beliefs {
		runners = append(runners, l.runner(ident.NodeID(i+1), func() Leadership { return beliefs[i] }, 8, p.kind("probe", 0)))
	}
	var numbers []uint64
	for i := range jobs {
		numbers = append(numbers, l.create(&commandv1.Job{MaxRetries: 1 << 20, LeaderOnly: i%2 == 0}))
	}
	for range 600 {
		who := rng.IntN(len(runners))
		switch rng.IntN(6) {
		case 0: // another leader; the last one may not have heard of it
			term++
			if rng.IntN(2) == 0 {
				clear(beliefs)
			}
			beliefs[who] = Leadership{Term: term, Leading: true}
		case 1:
			l.setCut(ident.NodeID(who+1), rng.IntN(2) == 0)
		case 2:
			l.wall.Advance(time.Duration(rng.Int64N(int64(2 * labHold))))
		case 3:
			select {
			case p.end <- nil:
			default:
			}
		default:
			if err := runners[who].Step(t.Context()); err != nil && !errors.Is(err, context.DeadlineExceeded) { // who is cut off gets no answer
				t.Fatal(err)
			}
		}
	}
	for i := range beliefs { // all is well again
		l.setCut(ident.NodeID(i+1), false)
		beliefs[i] = Leadership{Term: term + 1, Leading: i == 0}
	}
	deadline := time.Now().Add(30 * time.Second)
	for _, number := range numbers {
		for !catalog.JobState(l.job(number).GetState()).Ended() {
			if time.Now().After(deadline) {
				t.Fatalf("job %d does not end: %v", number, l.job(number))
			}
			for _, r := range runners {
				l.step(r)
			}
			select {
			case p.end <- nil:
			case <-time.After(time.Millisecond):
				l.wall.Advance(time.Second)
			}
		}
		job := l.expect(number, catalog.JobCompleted)
		ends, last := 0, uint64(0)
		for i, run := range job.GetRuns() {
			if run.GetToken() <= last {
				t.Errorf("job %d: token %d follows %d", number, run.GetToken(), last)
			}
			last = run.GetToken()
			if catalog.JobState(run.GetState()) == catalog.JobCompleted {
				if ends++; i != len(job.GetRuns())-1 {
					t.Errorf("job %d was run after it had completed: %v", number, job.GetRuns())
				}
			}
		}
		if ends != 1 {
			t.Errorf("job %d completed %d times: %v", number, ends, job.GetRuns())
		}
	}
}
