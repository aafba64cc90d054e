package sim

import (
	"slices"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/multiraft/transport"
	"github.com/kalamdb/kalamdb-go/internal/shard"
)

// plan says which faults a run has, and how often. Zero rates mean that a fault does not exist: a run with few
// kinds of faults gets further into each of them than one with all.
type plan struct {
	w      *world
	active bool

	// Of one packet.
	drop, duplicate, overtake, late float64
	latest                          time.Duration // of a late packet
	loss                            float64       // of a call, or of one chunk of a snapshot
	scramble                        bool          // engines and messages take turns in small portions

	// Of one step.
	crash, crashAtSync, tear, breakDisk, restart, pauses, cutTwoWay, cutOneWay, wipe, remove, jump, transfer, flush float64
	breakFlush, slow, crashReceiver, garble, flipBits, drain                                                        float64
	slowDisk, hangDisk, fillDisk, failSync, breakReads, flipSegment, crashWriter, votes, hangStore                  float64

	healAt  int              // step at which partitions end
	wakeAt  map[*simNode]int // paused and stopped nodes
	leaving *simNode         // its replica is being removed
}

// calmPlan has no faults.
func calmPlan() *plan { return &plan{wakeAt: make(map[*simNode]int)} }

// drawPlan draws which faults exist. Each exists in every second run or so.
func (w *world) drawPlan() {
	p, rng := w.plan, w.rng
	maybe := func(rate float64) float64 {
		if rng.IntN(2) == 0 {
			return 0
		}
		return rate * (0.3 + 1.4*rng.Float64())
	}
	p.drop, p.duplicate, p.overtake, p.late = maybe(0.02), maybe(0.02), maybe(0.02), maybe(0.1)
	p.latest = time.Duration(rng.Int64N(int64(400 * time.Millisecond)))
	p.loss, p.scramble = maybe(0.05), rng.IntN(2) == 0
	p.crash, p.crashAtSync, p.tear = maybe(0.003), maybe(0.004), maybe(0.002)
	p.breakDisk, p.restart, p.pauses = maybe(0.001), maybe(0.001), maybe(0.002)
	p.cutTwoWay, p.cutOneWay = maybe(0.003), maybe(0.003)
	p.wipe, p.remove = maybe(0.003), maybe(0.004)
	p.jump, p.transfer, p.flush = maybe(0.005), maybe(0.02), maybe(0.02)
	p.breakFlush, p.slow, p.crashReceiver, p.garble = maybe(0.001), maybe(0.002), maybe(0.05), maybe(0.02)
	p.flipBits, p.drain = maybe(0.016), maybe(0.004)
	if len(w.nodes) == 1 {
		p.wipe, p.flipBits = 0, 0 // nobody has another copy
	}
	p.slowDisk, p.hangDisk, p.fillDisk = maybe(0.002), maybe(0.001), maybe(0.001)
	p.failSync, p.breakReads = maybe(0.001), maybe(0.001)
	p.flipSegment, p.crashWriter = maybe(0.02), maybe(0.3)
	if w.opt.votes {
		p.votes = 0.06
	}
	if w.opt.hangStore && !w.opt.solo {
		p.hangStore = 0.003
	}
}

func (p *plan) chance(rate float64) bool { return rate > 0 && p.w.rng.Float64() < rate }

// packet judges a frame when it is sent.
func (p *plan) packet(frame *transport.Packet) transport.Verdict {
	var v transport.Verdict
	if p.active {
		v.Drop = p.chance(p.drop)
		v.Overtake = p.chance(p.overtake)
		if p.chance(p.duplicate) {
			v.Copies = 1
		}
		if p.chance(p.late) {
			v.Delay = time.Duration(p.w.rng.Int64N(int64(p.latest) + 1))
		}
		if p.chance(p.garble) {
			frame.Frame = p.flip(frame.Frame)
			p.w.saw(frameGarbled)
		}
	}
	p.w.sawVerdict(&v)
	p.w.trace.bytes('p', uint64(frame.From)<<32|uint64(frame.To), uint64(v.Delay), frame.Frame)
	return v
}

// call judges a snapshot, or one chunk of it.
func (p *plan) call(c *transport.Call) transport.CallVerdict {
	p.w.trace.bytes('c', uint64(c.From)<<32|uint64(c.To), uint64(c.Kind), c.Wire)
	if !p.active {
		return transport.DeliverCall
	}
	if c.Kind == transport.CallSnapshotChunk && p.chance(p.crashReceiver) {
		// The power fails while the snapshot lies half written beside the store, or with the next change of the log.
		if n := p.w.nodeAt(c.ToAddress); n.up && n.disk.crashIn == 0 {
			p.w.stats.crashes++
			n.disk.crashIn = 1 + p.w.rng.IntN(2)
			p.w.saw(powerInSnapshot)
			return transport.LoseRequest
		}
	}
	if c.Kind == transport.CallSnapshotChunk && p.chance(p.garble) {
		c.Wire = p.flip(c.Wire)
	}
	if p.chance(p.loss) {
		p.w.saw(callLost)
		return transport.LoseRequest
	}
	return transport.DeliverCall
}

// flip returns a copy with one bit changed.
func (p *plan) flip(data []byte) []byte {
	data = slices.Clone(data)
	if len(data) > 0 {
		data[p.w.rng.IntN(len(data))] ^= 1 << p.w.rng.IntN(8)
	}
	return data
}

// loseCall judges one way of a forwarded proposal.
func (p *plan) loseCall() bool {
	lost := p.active && p.chance(p.loss)
	if lost {
		p.w.saw(callLost)
	}
	return lost
}

// delay is how long one way of a forwarded proposal takes.
func (p *plan) delay() time.Duration {
	if p.active && p.chance(p.late) {
		return time.Duration(p.w.rng.Int64N(int64(p.latest) + 1))
	}
	return 0
}

// pick returns a random node that fits, nil when none does.
func (p *plan) pick(fits func(*simNode) bool) *simNode {
	var fitting []*simNode
	for _, n := range p.w.nodes {
		if fits(n) {
			fitting = append(fitting, n)
		}
	}
	if len(fitting) == 0 {
		return nil
	}
	return fitting[p.w.rng.IntN(len(fitting))]
}

func running(n *simNode) bool { return n.up && !n.paused && n.manager != nil }
func upright(n *simNode) bool { return n.up }

// after draws a step in the future.
func (p *plan) after(least, most time.Duration) int {
	return p.w.step + int(least/stepTime) + p.w.rng.IntN(int((most-least)/stepTime))
}

// strike lets this step's faults happen.
func (p *plan) strike() {
	p.wake()
	if !p.active {
		return
	}
	p.strikeProcesses()
	p.strikeDisks()
	p.strikeSlowly()
	p.strikeBits()
	p.strikeSegments()
	p.strikeDrain()
	p.strikeVotes()
	p.strikeNetwork()
	p.strikeGroups()
	p.w.bucket.strike()
}

// wake brings back what was stopped or paused for long enough.
func (p *plan) wake() {
	w := p.w
	for _, n := range w.nodes {
		if n.disk.healAt != 0 && w.step >= n.disk.healAt {
			n.healDisk()
		}
		switch at, waiting := p.wakeAt[n]; {
		case !n.up && !waiting && w.step > 0 && n.life > 0:
			p.wakeAt[n] = p.after(100*time.Millisecond, 5*time.Second)
		case !waiting || w.step < at:
		case n.paused:
			delete(p.wakeAt, n)
			w.trace.event("node %d goes on", n.id)
			n.paused = false
			w.readAtOnce(n)
		case !n.up && !n.disk.answers():
			p.wakeAt[n] = w.step + 10 // a process that starts would wait, too
		case !n.up:
			delete(p.wakeAt, n)
			w.boot(n)
		default:
			delete(p.wakeAt, n)
		}
	}
	if p.healAt != 0 && w.step >= p.healAt {
		p.healAt = 0
		w.trace.event("the network is whole")
		w.healNetwork()
	}
}

// complete reports that no member is on its way in or out of any group, as far as the leaders know. A disk may be
// lost only then: to lose two copies at once is to lose data.
func (p *plan) complete() bool {
	if p.leaving != nil || p.w.hurt != nil || p.w.votes.ordered {
		return false
	}
	for _, n := range p.w.nodes {
		if n.flipped {
			return false // what is on its disk may be lost, and nobody knows yet
		}
	}
	for _, g := range p.w.groups {
		if !p.w.settled(g) {
			return false
		}
	}
	return true
}

// settled reports that a group has a leader, and that exactly the nodes' present replicas are in it: those that are to vote there do, and
// the others observe it.
func (w *world) settled(g shard.GroupID) bool {
	var newest *simNode
	term := uint64(0)
	for _, n := range w.nodes {
		if n.self.Replica == 0 {
			return false
		}
		if n.manager == nil {
			continue
		}
		if seen := n.manager.Glance(g); seen.Leading && seen.Term > term {
			newest, term = n, seen.Term
		}
	}
	if newest == nil {
		return false
	}
	seen := newest.manager.Glance(g)
	if seen.Joint || len(seen.Learners)+len(seen.Voters) != len(w.nodes) {
		return false
	}
	for _, n := range w.nodes {
		here := seen.Voters
		if w.votes.observes(n, g) {
			here = seen.Learners
		}
		if !slices.Contains(here, n.self.Replica) {
			return false
		}
	}
	return true
}

// quicken lets no node lose ticks any more; one of those that lose every one would stand still for ever.
func (w *world) quicken() {
	for _, n := range w.nodes {
		n.lag = 0
	}
}

// stopFaults makes the world kind again.
func (p *plan) stopFaults() {
	w := p.w
	w.trace.event("the faults stop")
	p.active = false
	p.healAt = 0
	w.healNetwork()
	w.quicken()
	for _, n := range w.nodes {
		n.healDisk()
		if n.up && n.torn == "" && n.disk.crashed == nil {
			n.disk.mend()
		}
		if n.paused || !n.up {
			p.wakeAt[n] = w.step
		}
	}
}
