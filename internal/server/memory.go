package server

import (
	"runtime/debug"
	"time"
)

// memoryKeeper hands memory back to the system when a burst of new connections is over. What opening them took is
// many times what they hold while they are idle; the heap would keep it until it has grown by as much again.
type memoryKeeper struct {
	seen, handedBack uint64 // connections that were opened
	when             time.Time
}

// Bounds of handing back: it costs a collection and the pages that are touched anew.
const (
	burstConnections = 1000
	handBackPeriod   = 30 * time.Second
)

// tend is called now and then with the number of connections that were ever opened. It reports whether memory was
// handed back.
func (k *memoryKeeper) tend(opened uint64, now time.Time) bool {
	quiet := opened == k.seen
	k.seen = opened
	if !quiet || opened-k.handedBack < burstConnections || now.Sub(k.when) < handBackPeriod {
		return false
	}
	k.handedBack, k.when = opened, now
	debug.FreeOSMemory()
	return true
}
