package multiraft

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/ident"
)

// tickingTime is a time that stands still while anybody looks at it and does something with it.
type tickingTime struct {
	mu  sync.RWMutex // guards now
	now time.Time
}

// TestLullsUnderStress lets workers rest and end lulls, and peers be heard, while the timekeeper counts: every beat is due
// exactly once, the count is that of the clock, and a peer is noted at the tick at which it was heard.
func TestLullsUnderStress(t *testing.T) {
	const (
		interval, workers, beat, silent = time.Second, 3, 5, 9
		end                             = 20_000 // ticks
	)
	peers := newPeerClock(interval)
	begun := time.Unix(0, 0)
	wall := tickingTime{now: begun}
	elapsed := func(now time.Time) int64 { return int64(now.Sub(begun) / interval) }
	peers.start(begun)
	var over atomic.Bool
	var interrupted atomic.Int64
	var running sync.WaitGroup
	for i := range workers {
		running.Go(func() {
			for from := ident.ReplicaID(i + 1); !over.Load(); {
				peers.rest()
				wall.mu.RLock()
				before := elapsed(wall.now)
				peers.heard(from, wall.now)
				peers.mu.Lock()
				noted := peers.last[from]
				peers.mu.Unlock()
				wall.mu.RUnlock()
				// The newest tick may be due and not counted yet; in a lull it counts all the same.
				if noted > before || noted < before-1 {
					t.Errorf("a peer that was heard at tick %d is noted at %d", before, noted)
					over.Store(true)
				}
				for range i + 1 { // or there are no lulls
					runtime.Gosched()
				}
				wall.mu.RLock()
				if peers.rouse(wall.now) > 0 {
					interrupted.Add(1)
				}
				wall.mu.RUnlock()
			}
		})
	}
	keep := func() (due bool) {
		wall.mu.RLock()
		left := peers.plan(wall.now, workers, beat, silent)
		wall.mu.RUnlock()
		for ; left > 0; left -= interval {
			select {
			case <-peers.hurry:
				return false
			default:
			}
			wall.mu.Lock()
			wall.now = wall.now.Add(interval)
			wall.mu.Unlock()
		}
		return true
	}
	var beats, counted int64
	for counted < end && !over.Load() {
		if !keep() {
			continue
		}
		runtime.Gosched() // a worker may end the lull at the very moment
		_, all := peers.take(wall.now)
		if counted = all; counted%beat == 0 {
			beats++
		}
		if want := elapsed(wall.now); counted != want {
			t.Errorf("%d ticks are counted when %d have passed", counted, want)
			break
		}
		if beats != counted/beat {
			t.Errorf("at tick %d there were %d beats, want %d", counted, beats, counted/beat)
			break
		}
	}
	over.Store(true)
	running.Wait()
	if !t.Failed() && interrupted.Load() == 0 {
		t.Error("no lull was interrupted: nothing was tried")
	}
}
