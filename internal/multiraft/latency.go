package multiraft

import (
	"sync/atomic"
	"time"
)

// latencyWeight is the weight of one more observation in what the latest took: one in so many.
const latencyWeight = 8

// latency is how long something took, of any goroutine. Two that end at the same moment may count as one in what the
// latest took, of which only the order of magnitude is of interest.
type latency struct {
	count, nanos atomic.Uint64
	latest       atomic.Int64 // nanoseconds
}

func (l *latency) add(took time.Duration) {
	took = max(took, 1)
	l.nanos.Add(uint64(took))
	latest := l.latest.Load()
	if l.count.Add(1) == 1 || latest == 0 {
		l.latest.Store(int64(took))
		return
	}
	l.latest.Store(latest + (int64(took)-latest)/latencyWeight)
}

// read returns how many there were, what they took together, and about what the latest took.
func (l *latency) read() (count uint64, total, latest time.Duration) {
	return l.count.Load(), time.Duration(l.nanos.Load()), time.Duration(l.latest.Load())
}
