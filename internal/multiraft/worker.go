package multiraft

import (
	"runtime"
	"sync"

	raftpb "go.etcd.io/raft/v3/raftpb"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/transport"
	"github.com/kalamdb/kalamdb-go/internal/shard"
)

// worker steps the groups that are pinned to it. It is gated by the log: while its last write is being
// synced it does not even look at its inbox, so that everything that arrives meanwhile becomes one batch.
type worker struct {
	m      *Manager
	groups []*group
	byID   map[shard.GroupID]*group

	mu       sync.Mutex // guards the fields below
	inbox    []item
	messages int        // Raft messages among inbox
	ticks    int        // ticks that have passed since the last pass
	stood    int        // the same, also those that are not made up for
	written  []logWrite // durable, not yet finished by a pass
	noRoom   bool       // the log has no room for a write, which is held, by the pass or by writeLog
	wake     chan struct{}

	writes  chan logWrite // to the goroutine that writes the log; nil while passes write it themselves
	again   chan struct{} // has room for one; lets that goroutine try again what found no room
	writing *heldWrite    // what Pump is writing in that goroutine's place

	// Owned by pass.
	spare []item
	dirty []*group
	clean []*group // room for the next dirty ones
	tick  int      // ticks of this worker so far
	out   output
	props propBlock

	sleeping int  // of groups
	resting  bool // all groups sleep and nothing is under way, as peers knows

	held    map[ident.ReplicaID][]transport.Message // kept back for a later frame, see keepBack
	release bool                                    // this pass sends it even where nothing else goes

	underWay    int                        // writes that were handed over and not finished
	backAt      int                        // tick at which a write last came back, or none was under way
	metaSeen    int                        // tick at which a leader of the meta group was last known
	membersSeen []Member                   // what the groups' memberships were last held against
	runs        map[ident.ReplicaID]uint64 // the run of each peer that was last heard of
	silences    map[ident.ReplicaID]int    // ticks since each peer was last heard, as of the current tick

	blocked bool // it is out that the log has no room for; nothing else is done until it has
}

func newWorker(m *Manager) *worker {
	return &worker{
		m: m, byID: make(map[shard.GroupID]*group), wake: make(chan struct{}, 1),
		runs: make(map[ident.ReplicaID]uint64), silences: make(map[ident.ReplicaID]int),
		out:  output{messages: make(map[ident.ReplicaID][]transport.Message)},
		held: make(map[ident.ReplicaID][]transport.Message),
	}
}

// pass does everything that waits for this worker once and reports whether there was anything.
func (w *worker) pass() (bool, error) {
	if w.roomless() {
		if err := w.waitForRoom(); err != nil || w.roomless() {
			return false, err
		}
	}
	rested := w.resting
	if rested && w.hasItems() {
		w.endRest()
	}
	w.mu.Lock()
	written := w.written
	w.written = nil
	if w.waitsForLog(len(written)) {
		w.mu.Unlock()
		return false, nil
	}
	items, ticks := w.inbox, w.ticks
	w.inbox, w.spare = w.spare[:0], items
	w.messages, w.ticks, w.stood = 0, 0, 0
	w.mu.Unlock()
	if len(items) == 0 && ticks == 0 && len(w.dirty) == 0 && len(written) == 0 {
		return false, nil
	}
	for i := range written {
		w.finish(&written[i])
	}
	if rested {
		w.passTimes(&ticks)
	}
	for i := range items {
		w.handle(&items[i])
	}
	clear(items)
	w.passTimes(&ticks)
	if err := w.collect(); err != nil {
		return false, err
	}
	w.transmit()
	w.m.apply.push(w.out.tasks)
	clear(w.out.tasks)
	w.out.tasks = w.out.tasks[:0]
	if w.out.sync && !w.m.pumped {
		// The frames leave and the commands are applied before this goroutine waits for the disk. Work that waited for a
		// processor whose thread waits in a system call also keeps the runtime's monitor awake, every 20 us.
		runtime.Gosched()
	}
	if err := w.persist(); err != nil {
		return false, err
	}
	w.comeToRest()
	return true, nil
}

// passTimes lets the ticks pass, of which none are left then.
func (w *worker) passTimes(ticks *int) {
	for ; *ticks > 0; *ticks-- {
		w.passTime()
	}
}

func (w *worker) handle(it *item) {
	g := it.group
	if it.message != nil {
		if err := g.vet(it.message); err != nil {
			w.refuse(g, it.message, err)
			return
		}
	}
	if g != nil && !g.active(it) {
		if w.takeQuiet(g, it.message) {
			return
		}
		w.rouse(g)
	} else if g != nil {
		w.stir(g)
	}
	switch {
	case it.message != nil && (w.takeLeaseRead(g, it.message) || w.keepsPromise(it.message)):
	case it.message != nil:
		g.noteHeard(it.message, w.tick)
		// An error says that the message means nothing to this group (an unknown peer, a stale response);
		// Raft's answer to that is to ignore it.
		g.hearCommit(it.message)
		if err := g.node.Step(it.message); err != nil {
			w.m.stats.ignoredMessages.Add(1)
		}
	case it.proposal != nil:
		g.proposals = append(g.proposals, it.proposal)
	case it.read != nil:
		g.reads = append(g.reads, it.read)
	case it.do != nil:
		it.do(g)
	}
	if g != nil {
		w.mark(g)
	}
}

// active reports whether an item is more than the heartbeats by which a leader keeps its place.
func (g *group) active(it *item) bool {
	kind := it.message.GetType()
	return it.message == nil || kind != raftpb.MsgHeartbeat && kind != raftpb.MsgHeartbeatResp
}

func (w *worker) mark(g *group) {
	if !g.dirty {
		g.dirty = true
		w.dirty = append(w.dirty, g)
	}
}

// passTime is one tick of every group, and the chores that hang on it.
func (w *worker) passTime() {
	w.tick++
	w.m.peers.silences(w.silences)
	w.release = true
	w.watch()
	for _, g := range w.groups {
		if g.quiet.asleep {
			continue
		}
		if g.skipTicks > 0 {
			g.skipTicks--
		} else {
			g.node.Tick()
		}
		w.succeed(g)
		g.retryReads(w.tick, w.m.cfg.ElectionTicks)
		if w.tick%pressureEvery == 0 {
			w.feelPressure(g)
		}
		w.offerSleep(g)
		if g.node.HasReady() || len(g.reads) > 0 {
			w.mark(g)
		}
	}
	w.chores()
}

// deliver steps storage responses that are meant for this replica.
func (w *worker) deliver(g *group, responses []*raftpb.Message) {
	for _, r := range responses {
		w.deliverOne(g, r)
	}
}

func (w *worker) deliverOne(g *group, m *raftpb.Message) {
	if err := g.node.Step(m); err != nil {
		w.m.stats.ignoredMessages.Add(1)
	}
}

// post queues a message for its peer; a snapshot goes to the sender instead. A follower that is asked for a read index
// passes the question on to its leader as the asker's; peers take from each other only what is their own, and the asker
// asks again as soon as it hears who leads.
func (w *worker) post(g *group, m *raftpb.Message) {
	if m.GetFrom() != uint64(w.m.cfg.Replica) {
		w.m.stats.ignoredMessages.Add(1)
		return
	}
	if m.GetType() == raftpb.MsgSnap {
		w.m.sender.request(g, m)
		return
	}
	if m.GetType() == raftpb.MsgTimeoutNow {
		g.lease.barred = m.GetTerm()
	}
	to := ident.ReplicaID(m.GetTo())
	w.out.know(to)
	w.out.messages[to] = append(w.out.messages[to], g.message(m))
}
