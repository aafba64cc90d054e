//go:build unix

package sim

import (
	"syscall"
	"testing"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/shard"
)

// processorTime is what this process has used of the processors, garbage collections included.
func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		t.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// TestDefaultCluster runs three nodes with all 34 groups under the traffic of every seed, without faults, for SECONDS of
// simulated time, and prints how much faster than life that is. Founding and the judgement at the end count.
func TestDefaultCluster(t *testing.T) {
	seconds := envNumber(t, "SECONDS", 60)
	began, used := time.Now(), processorTime(t)
	scenario(t, 3, func(o *options) {
		o.shards, o.noBalance, o.segmentBytes = shard.Default(), false, 64<<10
	}, func(l *lab) {
		l.c.begin()
		l.run(time.Duration(seconds) * time.Second)
		simulated := l.clock.Now().Sub(l.start).Seconds()
		t.Logf("34 groups on 3 nodes under traffic: %.0f s simulated, %.1f for each second, %.1f for each second of processor time; %+v",
			simulated, simulated/time.Since(began).Seconds(), simulated/(processorTime(t)-used).Seconds(), l.stats)
	})
}
