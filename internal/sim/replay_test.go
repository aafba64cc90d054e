package sim

import "testing"

// TestSameSeedSameRun runs seeds twice: every frame on the wire, every write to the log, every applied entry and
// every event must be the same. Without that, no failure could be repeated.
func TestSameSeedSameRun(t *testing.T) {
	for _, seed := range []uint64{501, 502, 503, 504, 506, 508} { // 506 keeps its logs in pairs, 508 restores what it has backed up
		announceSeed(seed)
		first, err := simulate(t, seed, nil)
		if err != nil {
			t.Fatal(first.report(err))
		}
		second, err := simulate(t, seed, nil)
		if err != nil {
			t.Fatal(second.report(err))
		}
		if first.trace.sum() != second.trace.sum() || first.trace.count != second.trace.count {
			t.Errorf("seed %d: %d events with hash %x, then %d with %x", seed, first.trace.count, first.trace.sum(),
				second.trace.count, second.trace.sum())
		}
		other, err := simulate(t, seed+1000, nil)
		if err != nil {
			t.Fatal(other.report(err))
		}
		if first.trace.sum() == other.trace.sum() {
			t.Errorf("seeds %d and %d have the same hash: the hash sees nothing", seed, seed+1000)
		}
	}
}
