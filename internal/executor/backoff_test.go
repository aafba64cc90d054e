package executor

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// paces is a clock whose timers fire at once and are written down, and what had been attempted by then.
type paces struct {
	*clock.Manual
	s        *script
	pauses   []time.Duration
	attempts []int
}

func newPaces(s *script) *paces {
	return &paces{Manual: clock.NewManual(time.Unix(1_700_000_000, 0)), s: s}
}

func (p *paces) NewTimer(d time.Duration) clock.Timer {
	p.pauses, p.attempts = append(p.pauses, d), append(p.attempts, len(p.s.asked))
	return p.Manual.NewTimer(0)
}

func purge(ctx context.Context, r *Raft) error {
	_, err := r.Execute(ctx, shard.UserShard(3), &commandv1.Command{
		Header: &commandv1.Header{Actor: "alice"},
		Body:   &commandv1.Command_PurgeTable{PurgeTable: &commandv1.PurgeTable{TableId: 9}},
	})
	return err
}

// TestPausesGrowWithJitter reads the pauses between attempts at a leader that is not there, of many callers: each is twice the one before
// it up to the longest, less a part of its upper half that differs from caller to caller.
func TestPausesGrowWithJitter(t *testing.T) {
	t.Parallel()
	var ceilings []time.Duration
	for ceiling := firstPause; len(ceilings) < 9; ceiling = min(2*ceiling, lastPause) {
		ceilings = append(ceilings, ceiling)
	}
	if ceilings[len(ceilings)-1] != lastPause {
		t.Fatalf("the ceilings are %v: too few to reach the longest pause", ceilings)
	}
	lowest, highest := make([]time.Duration, len(ceilings)), make([]time.Duration, len(ceilings))
	for caller := range byte(64) {
		s := &script{t: t, self: 1, leader: 2}
		for range ceilings {
			s.answers = append(s.answers, Attempt{Outcome: Unreachable})
		}
		s.answers = append(s.answers, done(t, &commandv1.Response{}))
		p := newPaces(s)
		if err := purge(t.Context(), NewRaft(s, s, p, rand.NewChaCha8([32]byte{caller}), time.Hour, Modes{}, nil)); err != nil {
			t.Fatal(err)
		}
		if len(p.pauses) != len(ceilings) {
			t.Fatalf("%d pauses between %d attempts", len(p.pauses), len(s.asked))
		}
		for i, pause := range p.pauses {
			if pause < ceilings[i]/2 || pause > ceilings[i] {
				t.Errorf("caller %d: pause %d is %v, want %v to %v", caller, i, pause, ceilings[i]/2, ceilings[i])
			}
			if caller == 0 || pause < lowest[i] {
				lowest[i] = pause
			}
			highest[i] = max(highest[i], pause)
		}
	}
	for i, ceiling := range ceilings {
		if highest[i]-lowest[i] < ceiling/4 {
			t.Errorf("pause %d is %v to %v over all callers: they come back together", i, lowest[i], highest[i])
		}
	}
}

// TestHintsDoNotShortenPauses lets two replicas point at each other: their hints are followed, and counted, at most so many times in a row, and
// the pauses between grow to the longest as if nobody had given a hint.
func TestHintsDoNotShortenPauses(t *testing.T) {
	t.Parallel()
	s := &script{t: t, self: 1, leader: 2}
	const rests = 10
	for range rests * (maxHints + 1) {
		s.answers = append(s.answers, Attempt{Outcome: NotLeader, Leader: ident.ReplicaID(2 + (len(s.answers)+1)%2)})
	}
	s.answers = append(s.answers, done(t, &commandv1.Response{}))
	p := newPaces(s)
	r := NewRaft(s, s, p, rand.NewChaCha8([32]byte{1}), time.Hour, Modes{}, nil)
	if err := purge(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if len(p.pauses) != rests {
		t.Errorf("%d pauses in %d attempts, want %d", len(p.pauses), len(s.asked), rests)
	}
	before := 0
	for i, pause := range p.pauses {
		if made := p.attempts[i] - before; made > maxHints+1 {
			t.Errorf("%d attempts before pause %d", made, i)
		}
		before = p.attempts[i]
		if i > 0 && pause < p.pauses[i-1]/2 || i >= 2 && pause < lastPause/2 {
			t.Errorf("the pauses are %v: a hint has shortened number %d", p.pauses, i)
		}
	}
	if got := r.Telemetry().Hints; got != rests*maxHints {
		t.Errorf("%d hints are counted, want %d", got, rests*maxHints)
	}
}

// TestOnlyFollowedHintsAreCounted: a refusal without a hint, and a hint that comes when the time is up, are none.
func TestOnlyFollowedHintsAreCounted(t *testing.T) {
	t.Parallel()
	s := &script{t: t, self: 1, leader: 2, answers: []Attempt{
		{Outcome: NotLeader}, {Outcome: Unreachable, Leader: 3}, {Outcome: NotLeader, Leader: 3}, done(t, &commandv1.Response{}),
	}}
	r := NewRaft(s, s, newPaces(s), rand.NewChaCha8([32]byte{1}), time.Hour, Modes{}, nil)
	if err := purge(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	want := map[Outcome]uint64{NotLeader: 2, Unreachable: 1, Done: 1}
	telemetry := r.Telemetry()
	for outcome, count := range telemetry.Attempts {
		if count != want[outcome] {
			t.Errorf("%d attempts ended as %v, want %d", count, outcome, want[outcome])
		}
	}
	if telemetry.Hints != 1 || s.asked[3] != 3 {
		t.Errorf("%d hints are counted, and the attempts went to %v", telemetry.Hints, s.asked)
	}

	late, cancel := context.WithCancel(t.Context())
	cancel()
	s.answers = []Attempt{{Outcome: NotLeader, Leader: 3}}
	if err := purge(late, r); !errors.Is(err, context.Canceled) {
		t.Errorf("a caller that left is answered %v", err)
	}
	if got := r.Telemetry().Hints; got != 1 {
		t.Errorf("%d hints are counted after one that nobody followed", got)
	}
}

// hanging is a script whose peers answer only when the attempt's time is up, if it says so; and it keeps the deadlines of the attempts.
type hanging struct {
	script
	hangs     bool
	deadlines []time.Time
}

func (h *hanging) Forward(ctx context.Context, to ident.ReplicaID, mode Mode, g shard.GroupID, id ident.RequestID, data []byte) Attempt {
	deadline, _ := ctx.Deadline()
	h.deadlines = append(h.deadlines, deadline)
	if h.hangs {
		<-ctx.Done()
	}
	return h.script.Forward(ctx, to, mode, g, id, data)
}

// TestRetriesEndAtTheDeadline: attempts and pauses together take as long as the caller or the executor's patience allows, whichever is less, and
// not a nanosecond of the bubble's clock more; no attempt is given more.
func TestRetriesEndAtTheDeadline(t *testing.T) {
	nobody := func(int) Attempt { return Attempt{Outcome: Unreachable} }
	loop := func(i int) Attempt { return Attempt{Outcome: NotLeader, Leader: ident.ReplicaID(2 + (i+1)%2)} }
	unknown := func(int) Attempt { return Attempt{Outcome: Unknown} }
	tests := []struct {
		name             string
		answer           func(int) Attempt
		hangs            bool
		caller, patience time.Duration // caller: zero for no deadline
		mode             Mode
		want             time.Duration
		kind             fault.Kind
	}{
		{"the caller's, in the first pauses", nobody, false, 7 * time.Millisecond, time.Minute, Quorum, 7 * time.Millisecond, fault.Unavailable},
		{"the caller's, in the longest pauses", nobody, false, 1234 * time.Millisecond, time.Minute, Quorum, 1234 * time.Millisecond, fault.Unavailable},
		{"the executor's", nobody, false, 0, 3333 * time.Millisecond, Quorum, 3333 * time.Millisecond, fault.Unavailable},
		{"the executor's, less than one attempt's", nobody, false, time.Minute, 321 * time.Millisecond, Quorum, 321 * time.Millisecond, fault.Unavailable},
		{"under hints", loop, false, 1111 * time.Millisecond, time.Minute, Quorum, 1111 * time.Millisecond, fault.Unavailable},
		{"of a leader that hangs, the caller's", unknown, true, 5001 * time.Millisecond, time.Minute, Quorum, 5001 * time.Millisecond, fault.Timeout},
		{"of a leader that hangs, the executor's", unknown, true, time.Hour, 7001 * time.Millisecond, Quorum, 7001 * time.Millisecond, fault.Timeout},
		{"for all, the executor's", unknown, true, time.Hour, 7001 * time.Millisecond, All, 7001 * time.Millisecond, fault.Timeout},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := &hanging{script: script{t: t, self: 1, leader: 2}, hangs: test.hangs}
				for i := range 2000 {
					h.answers = append(h.answers, test.answer(i))
				}
				r := NewRaft(h, h, clock.Real{}, rand.NewChaCha8([32]byte{7}), test.patience, Modes{User: test.mode}, nil)
				ctx, begun := t.Context(), time.Now()
				if test.caller > 0 {
					bound, cancel := context.WithTimeout(ctx, test.caller)
					defer cancel()
					ctx = bound
				}
				err := purge(ctx, r)
				if took := time.Since(begun); took != test.want {
					t.Errorf("ended after %v, want %v", took, test.want)
				}
				if fault.KindOf(err) != test.kind {
					t.Errorf("error %v is %v, want %v", err, fault.KindOf(err), test.kind)
				}
				for i, deadline := range h.deadlines {
					if allowed := deadline.Sub(begun); allowed > test.want {
						t.Errorf("attempt %d may take until %v, %v are allowed", i, allowed, test.want)
					}
				}
			})
		})
	}
}
