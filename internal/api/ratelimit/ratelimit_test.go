package ratelimit_test

import (
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/api/ratelimit"
	"github.com/kalamdb/kalamdb-go/internal/clock"
)

func newClock() *clock.Manual { return clock.NewManual(time.Unix(1_000_000, 0)) }

func TestLimiterRefusesAndRefills(t *testing.T) {
	t.Parallel()
	wall := newClock()
	limiter := ratelimit.NewLimiter(wall, 4, 10)
	take := func(key string) bool {
		ok, _ := limiter.Allow(key)
		return ok
	}
	for i := range 4 {
		if !take("a") {
			t.Fatalf("action %d of the burst is refused", i+1)
		}
	}
	ok, wait := limiter.Allow("a")
	if ok || wait != 250*time.Millisecond {
		t.Fatalf("fifth action: %v, wait %v; want a wait of 250ms", ok, wait)
	}
	if !take("b") {
		t.Fatal("one key's actions count for another")
	}
	wall.Advance(wait - time.Millisecond)
	if take("a") {
		t.Fatal("allowed before the wait was over")
	}
	wall.Advance(time.Millisecond)
	if !take("a") || take("a") {
		t.Fatal("want exactly one action after the wait")
	}
	wall.Advance(time.Hour)
	for range 4 {
		if !take("a") {
			t.Fatal("rest does not fill the bucket")
		}
	}
	if take("a") {
		t.Fatal("rest fills the bucket beyond its size")
	}
}

func TestLimiterAllowsEverythingAtZero(t *testing.T) {
	t.Parallel()
	limiter := ratelimit.NewLimiter(newClock(), 0, 1)
	for range 1000 {
		if ok, _ := limiter.Allow("a"); !ok {
			t.Fatal("refused")
		}
	}
	if limiter.Keys() != 0 {
		t.Errorf("%d keys are remembered for nothing", limiter.Keys())
	}
}

func TestLimiterIsBoundedAndForgetsTheIdleKey(t *testing.T) {
	t.Parallel()
	limiter := ratelimit.NewLimiter(newClock(), 1, 3)
	for _, key := range []string{"a", "b", "c"} {
		limiter.Allow(key)
	}
	if ok, _ := limiter.Allow("a"); ok {
		t.Fatal("a has no action left")
	}
	// b was idle longest; a was used last and stays.
	limiter.Allow("d")
	if limiter.Keys() != 3 {
		t.Fatalf("%d keys, want 3", limiter.Keys())
	}
	if ok, _ := limiter.Allow("a"); ok {
		t.Error("the key used last was forgotten")
	}
	if ok, _ := limiter.Allow("b"); !ok {
		t.Error("the idle key was not forgotten")
	}
	for i := range 1000 {
		limiter.Allow(strconv.Itoa(i))
	}
	if limiter.Keys() != 3 {
		t.Errorf("%d keys, want 3", limiter.Keys())
	}
}

func TestLimiterIsNotFooledByAClockThatSteppedBack(t *testing.T) {
	t.Parallel()
	wall := newClock()
	limiter := ratelimit.NewLimiter(wall, 1, 3)
	limiter.Allow("a")
	wall.Advance(-time.Hour)
	if ok, _ := limiter.Allow("a"); ok {
		t.Error("a step back gave an action")
	}
}

func TestLimiterUnderConcurrency(t *testing.T) {
	t.Parallel()
	limiter := ratelimit.NewLimiter(newClock(), 100, 10)
	var group sync.WaitGroup
	allowed := make(chan bool, 400)
	for range 8 {
		group.Go(func() {
			for range 50 {
				ok, _ := limiter.Allow("a")
				allowed <- ok
			}
		})
	}
	group.Wait()
	close(allowed)
	count := 0
	for ok := range allowed {
		if ok {
			count++
		}
	}
	if count != 100 {
		t.Errorf("%d of 400 actions were allowed, want 100", count)
	}
}

func TestGate(t *testing.T) {
	t.Parallel()
	gate := ratelimit.NewGate(2, 3)
	steps := []struct {
		key   string
		enter bool // else leave
		want  bool
	}{
		{"a", true, true},
		{"a", true, true},
		{"a", true, false}, // two of one key
		{"", true, true},
		{"b", true, false}, // three in all
		{"a", false, true},
		{"b", true, true},
		{"a", true, false},
		{"", false, true},
		{"a", true, true},
	}
	for i, step := range steps {
		if !step.enter {
			gate.Leave(step.key)
			continue
		}
		if got := gate.Enter(step.key); got != step.want {
			t.Fatalf("step %d: Enter(%q) = %v", i+1, step.key, got)
		}
	}
	for _, key := range []string{"a", "a", "b"} {
		gate.Leave(key)
	}
	if gate.Open() != 0 {
		t.Errorf("%d are open at the end", gate.Open())
	}
}

func TestGateWithoutBounds(t *testing.T) {
	t.Parallel()
	gate := ratelimit.NewGate(0, 0)
	for range 100 {
		if !gate.Enter("a") {
			t.Fatal("refused")
		}
	}
}
