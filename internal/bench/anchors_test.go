package bench

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"math"
	"strings"
	"testing"
	"time"
)

// TestMachinePrintsAnchors measures what needs no other process, briefly.
func TestMachinePrintsAnchors(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	cases := []string{"overwrite_sync_4kib", "append_sync_4kib", "raft_batch_16", "store_batch_256_128b"}
	if err := Machine(t.Context(), MachineOptions{Cases: cases, Passes: 1, Duration: 4 * time.Millisecond}, &out); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != len(cases) {
		t.Fatalf("%d lines for %d cases:\n%s", len(lines), len(cases), &out)
	}
	for i, line := range lines {
		var one anchorCase
		if err := json.Unmarshal([]byte(line), &one); err != nil {
			t.Fatal(err)
		}
		if one.Case != cases[i] || one.Value <= 0 || math.Abs(one.Ratio-one.Value/one.Anchor) > 0.01 {
			t.Errorf("%+v, want %s with a value and its ratio", one, cases[i])
		}
	}
	for _, o := range []MachineOptions{{Passes: 0, Duration: time.Second}, {Passes: 1}, {Passes: 1, Duration: time.Second, Cases: []string{"x"}}} {
		if err := Machine(t.Context(), o, &out); err == nil {
			t.Errorf("%+v was accepted", o)
		}
	}
}

// TestEchoRoundTrips: every message that is sent comes back, whatever the window, and both ends tell their processor time.
func TestEchoRoundTrips(t *testing.T) {
	t.Parallel()
	orders, in := io.Pipe()
	answers, out := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := Echo(t.Context(), orders, out)
		ended <- err
		_ = out.CloseWithError(err) // nobody reads any more unless it failed
	}()
	p := &echoPeer{in: in, out: bufio.NewReader(answers), wait: func() error { return <-ended }}
	if err := p.open(context.Background()); err != nil {
		t.Fatal(err)
	}
	for _, window := range []int{1, 64} {
		before, err := p.cpu()
		if err != nil {
			t.Fatal(err)
		}
		ops, err := p.roundTrips(window, []byte("message"), time.Now().Add(10*time.Millisecond))
		if err != nil || ops < window {
			t.Errorf("window %d: %d round trips, %v", window, ops, err)
		}
		after, err := p.cpu()
		if err != nil || after <= before {
			t.Errorf("window %d: processor time went from %v to %v, %v", window, before, after, err)
		}
	}
	if err := p.close(); err != nil {
		t.Error(err)
	}
}

// TestMachineRatio is the geometric mean over the parts, and not known without one of them.
func TestMachineRatio(t *testing.T) {
	t.Parallel()
	var chosen []anchor
	var results []anchorCase
	for _, a := range anchors() {
		if a.part == "" {
			continue
		}
		ratio := 2.0
		if a.part == "sync" {
			ratio = 32
		}
		chosen, results = append(chosen, a), append(results, anchorCase{Ratio: ratio})
	}
	if got, ok := machineRatio(chosen, results); !ok || got != 4 { // 2, 2, 2 and 32
		t.Errorf("the ratio is %v, %v, want 4", got, ok)
	}
	if got, ok := machineRatio(chosen[1:2], results[1:2]); ok {
		t.Errorf("a ratio of one part: %v", got)
	}
}
