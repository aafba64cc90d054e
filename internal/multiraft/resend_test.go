package multiraft

import (
	"math"
	"strings"
	"testing"
	"time"
)

// TestResendPause doubles the pause with each failure up to the longest, and draws at most a quarter of it.
func TestResendPause(t *testing.T) {
	want := firstResend
	for failures := 1; failures < 100; failures++ {
		if got := resendPause(failures, 0); got != want {
			t.Errorf("after %d failures the pause is %s, want %s", failures, got, want)
		}
		if got := resendPause(failures, math.MaxUint16); got > want || got < want-want/4 {
			t.Errorf("after %d failures the shortest pause is %s, want three quarters of %s", failures, got, want)
		}
		want = min(2*want, longestResend)
	}
}

// TestSnapshotToAFullDisk has a node without room for a snapshot: its leader tries again after longer and longer pauses,
// which shows, and soon enough when there is room.
func TestSnapshotToAFullDisk(t *testing.T) {
	l, g, away, want := behind(t, 26)
	away.narrow = true
	away.restart()
	const ticks = 600
	for range ticks {
		l.tick()
	}
	failing, total := l.leader(g).manager.SnapshotFailures()
	if len(failing) == 0 {
		t.Fatal("no snapshot failed")
	}
	f := failing[0]
	if f.Group != g || f.Peer != away.replica || !strings.Contains(f.Reason, "no space left") || !f.Next.After(l.clock.Now()) {
		t.Errorf("the failure is %+v, want one of %s and replica %d for want of space, and another attempt", f, g, away.replica)
	}
	// 250 ms, 500 ms, 1, 2, 4, 8 and 15 s, three quarters of each at the least.
	if f.Failures < 5 || f.Failures > 9 || total < uint64(f.Failures) {
		t.Errorf("%d attempts in %s, %d counted, want 5 to 9", f.Failures, ticks*l.leader(g).manager.cfg.TickInterval, total)
	}
	away.narrow = false
	l.until(int((longestResend+5*time.Second)/(50*time.Millisecond)), "the node caught up", func() bool { return away.sum(g) == want })
	if failing, _ := l.leader(g).manager.SnapshotFailures(); len(failing) > 0 {
		t.Errorf("after the delivery failures are shown: %+v", failing)
	}
}

// TestSnapshotIsDueAfterTheClockWasSetBack sets the clock back by an hour while a snapshot waits for its next attempt.
func TestSnapshotIsDueAfterTheClockWasSetBack(t *testing.T) {
	planned := time.Unix(1_700_000_000, 0)
	job := snapshotJob{due: planned.Add(longestResend)}
	if job.isDue(planned) || !job.isDue(planned.Add(longestResend)) {
		t.Error("the snapshot is due before its pause is over, or not behind it")
	}
	if !job.isDue(planned.Add(-time.Hour)) {
		t.Error("the snapshot waits for an hour, because the clock was set back")
	}
}
