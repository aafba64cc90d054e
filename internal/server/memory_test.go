package server

import (
	"testing"
	"time"
)

// TestMemoryIsHandedBackAfterABurst: once, when it is over, and not too often.
func TestMemoryIsHandedBackAfterABurst(t *testing.T) {
	t.Parallel()
	var k memoryKeeper
	start := time.Unix(1_700_000_000, 0)
	for i, step := range []struct {
		opened uint64
		second int
		want   bool
	}{
		{0, 0, false},
		{500, 1, false},
		{1500, 2, false},
		{1500, 3, true},
		{1500, 4, false},
		{2400, 40, false},
		{2400, 41, false},
		{2500, 42, false},
		{2500, 43, true},
		{9000, 44, false},
		{9000, 45, false},
		{9000, 80, true},
	} {
		if got := k.tend(step.opened, start.Add(time.Duration(step.second)*time.Second)); got != step.want {
			t.Errorf("step %d: %v, want %v", i, got, step.want)
		}
	}
}
