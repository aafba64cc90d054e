package multiraft

import (
	"encoding/binary"
	"slices"
	"sync"
	"time"

	"go.etcd.io/raft/v3"
	raftpb "go.etcd.io/raft/v3/raftpb"
	"go.etcd.io/raft/v3/tracker"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/transport"
)

// This file lets idle groups sleep: a sleeping replica does not tick, so it neither beats nor campaigns, and
// costs nothing. The leader of a group in which nothing has happened for a while offers sleep in place of a
// heartbeat: "at this term, everything up to this index is committed, and you have it". A follower for which
// all of that is true stops ticking and says so; once every voter has said so before the next heartbeat, the
// leader stops too. A heartbeat wakes a follower, so an offer that was not taken by all is undone by itself.
//
// Whatever reaches a sleeping group wakes it, a proposal, a read or a message, but for answers to heartbeats
// that were sent before it fell asleep. What a sleeping group cannot notice, its node does: nodes beat for all
// their groups together, each beat carries the number of the sender's run, and when a node falls silent or was
// restarted, the groups it leads wake with the ticks they have missed, so that they elect as soon as if they
// had never slept, and the groups it follows wake too.
//
// Nothing that is promised rests on sleep. A read at a sleeping leader asks the quorum as any other does. A
// leader that wakes counts as active the peers whose nodes are heard of, and no others, so CheckQuorum neither
// deposes it for the time it slept nor keeps it when it is cut off.
//
// An offer and its answer travel as heartbeat and heartbeat response with a context of nine bytes. A replica
// that does not know them answers an offer as a heartbeat, and the leader goes on beating.

// The first byte of the context of an offer and of its answer; the index follows in eight bytes.
const (
	offerMark  = 'q'
	answerMark = 'Q'
)

// quiet is what one replica knows of its sleep. Its worker owns it.
type quiet struct {
	asleep   bool
	active   int      // tick of the last thing that was more than a heartbeat
	offered  int      // tick of the offer that waits for answers, zero for none
	index    uint64   // the offer
	answered []uint64 // who has taken it
	phase    int      // of the leader's heartbeats when it fell asleep
}

// quietContext encodes an offer or its answer.
func quietContext(mark byte, index uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{mark}, index)
}

// parseQuiet reads the index of an offer or answer; ok is false for any other context.
func parseQuiet(mark byte, context []byte) (index uint64, ok bool) {
	if len(context) != 9 || context[0] != mark {
		return 0, false
	}
	return binary.BigEndian.Uint64(context[1:]), true
}

// silentAfter is how many ticks without a beat make a node silent: more than the time between two beats, and no
// more than what a follower waits at least before it campaigns.
func (c *Config) silentAfter() int { return max(c.ElectionTicks-1, c.HeartbeatTicks+1) }

// stir notes that something happened in a group.
func (w *worker) stir(g *group) {
	w.rouse(g)
	g.quiet.active, g.quiet.offered = w.tick, 0
}

// rouse lets a sleeping group tick again, and a follower as if it had counted for how long the leader's node was silent.
func (w *worker) rouse(g *group) { w.rouseAfter(g, w.silences[ident.ReplicaID(g.lead.Load())]) }

// rouseAfter lets a sleeping group tick again; a follower has missed so many ticks of a leader's silence.
func (w *worker) rouseAfter(g *group, missed int) {
	if !g.quiet.asleep {
		return
	}
	g.quiet.asleep = false
	w.sleeping--
	g.quiet.active, g.quiet.offered = w.tick, 0
	w.m.metrics.asleep.Dec()
	status := g.node.BasicStatus()
	if status.RaftState != raft.StateLeader {
		for range min(missed, w.m.cfg.silentAfter()) {
			g.node.Tick()
		}
	} else {
		for _, id := range g.confirmed.Conf.GetVoters() {
			if id != status.ID && w.m.peers.heardWithin(ident.ReplicaID(id), w.m.cfg.silentAfter()) {
				w.deliverOne(g, &raftpb.Message{
					Type: raftpb.MsgHeartbeatResp.Enum(), From: new(id), To: new(status.ID), Term: new(status.GetTerm()),
				})
			}
		}
		beat := w.m.cfg.HeartbeatTicks
		g.skipTicks = (g.quiet.phase - w.tick%beat + beat) % beat
	}
	w.mark(g)
}

// sleep stops the ticks of a group.
func (w *worker) sleep(g *group) {
	if g.quiet.asleep {
		return
	}
	g.quiet.asleep = true
	w.sleeping++
	g.quiet.phase = w.tick % w.m.cfg.HeartbeatTicks
	w.m.metrics.asleep.Inc()
}

// offerSleep lets the leader of an idle group offer sleep, one tick after each heartbeat: the answers must be back
// before the next one.
func (w *worker) offerSleep(g *group) {
	cfg := &w.m.cfg
	if cfg.QuietTicks < 0 || !g.leading.Load() || w.tick-g.quiet.active < cfg.QuietTicks || w.tick%cfg.HeartbeatTicks != 1 {
		return
	}
	last := g.log.LastIndex()
	if !w.canSleep(g, last) {
		return
	}
	status := g.node.BasicStatus()
	g.quiet.offered, g.quiet.index, g.quiet.answered = w.tick, last, g.quiet.answered[:0]
	for _, id := range g.everybody() {
		if id != status.ID {
			w.post(g, &raftpb.Message{
				Type: raftpb.MsgHeartbeat.Enum(), From: new(status.ID), To: new(id), Term: new(status.GetTerm()),
				Commit: new(last), Context: quietContext(offerMark, last),
			})
		}
	}
	w.sleepIfAllDo(g)
}

// canSleep reports whether nothing is under way in a group that is led here, and every replica has everything.
func (w *worker) canSleep(g *group, last uint64) bool {
	status := g.node.BasicStatus()
	if status.RaftState != raft.StateLeader || status.LeadTransferee != 0 || !g.rests(status, last) {
		return false
	}
	ok := true
	g.node.WithProgress(func(id uint64, _ raft.ProgressType, progress tracker.Progress) {
		if id != status.ID && (progress.State != tracker.StateReplicate ||
			progress.Match != last || !w.m.peers.heardWithin(ident.ReplicaID(id), w.m.cfg.silentAfter())) {
			ok = false
		}
	})
	return ok
}

// rests reports whether this replica has applied exactly the entries up to last and waits for nothing.
func (g *group) rests(status raft.BasicStatus, last uint64) bool {
	conf := g.confirmed.Conf
	return status.GetCommit() == last && g.log.LastIndex() == last && g.confirmed.Index == last &&
		!isJoint(conf) && g.worker.onlyObservers(g.id, conf.GetLearners()) && slices.Contains(g.everybody(), status.ID) &&
		len(g.proposals) == 0 && len(g.reads) == 0 && len(g.batches) == 0 && len(g.staged) == 0 && g.install == nil
}

// takeQuiet handles the messages that belong to sleep. It reports whether Raft need not see the message.
func (w *worker) takeQuiet(g *group, m *raftpb.Message) bool {
	switch m.GetType() { //nolint:exhaustive // every other type is Raft's
	case raftpb.MsgHeartbeat:
		if index, ok := parseQuiet(offerMark, m.GetContext()); ok {
			return w.takeOffer(g, m, index)
		}
	case raftpb.MsgHeartbeatResp:
		if index, ok := parseQuiet(answerMark, m.GetContext()); ok {
			w.takeAnswer(g, m, index)
			return true
		}
		// The answer to a heartbeat that was sent before the group fell asleep.
		return g.quiet.asleep && m.GetTerm() == g.node.BasicStatus().GetTerm()
	}
	return false
}

// takeOffer falls asleep when everything that the offer says is true here; else the offer is a heartbeat.
func (w *worker) takeOffer(g *group, m *raftpb.Message, index uint64) bool {
	status := g.node.BasicStatus()
	if status.RaftState != raft.StateFollower || status.GetTerm() != m.GetTerm() || status.Lead != m.GetFrom() ||
		!g.rests(status, index) || w.m.cfg.QuietTicks < 0 {
		m.Context = nil
		return false
	}
	w.sleep(g)
	w.post(g, &raftpb.Message{
		Type: raftpb.MsgHeartbeatResp.Enum(), From: new(status.ID), To: new(m.GetFrom()), Term: new(status.GetTerm()),
		Context: quietContext(answerMark, index),
	})
	return true
}

// takeAnswer counts who has fallen asleep. To Raft it is the answer to a heartbeat.
func (w *worker) takeAnswer(g *group, m *raftpb.Message, index uint64) {
	if g.quiet.asleep {
		return
	}
	m.Context = nil
	w.deliverOne(g, m)
	w.mark(g)
	status := g.node.BasicStatus()
	// Once the next heartbeat is out, whoever has answered is awake again.
	inTime := w.tick-g.quiet.offered < w.m.cfg.HeartbeatTicks-1
	if g.quiet.offered == 0 || !inTime || status.GetTerm() != m.GetTerm() || g.quiet.index != index {
		return
	}
	if !slices.Contains(g.quiet.answered, m.GetFrom()) {
		g.quiet.answered = append(g.quiet.answered, m.GetFrom())
	}
	w.sleepIfAllDo(g)
}

// sleepIfAllDo lets the leader fall asleep when all others have, and nothing has happened since.
func (w *worker) sleepIfAllDo(g *group) {
	self := uint64(w.m.cfg.Replica)
	for _, id := range g.everybody() {
		if id != self && !slices.Contains(g.quiet.answered, id) {
			return
		}
	}
	if w.canSleep(g, g.quiet.index) {
		g.quiet.offered = 0
		w.sleep(g)
	}
}

// watch wakes what depends on nodes that fell silent or were restarted.
func (w *worker) watch() {
	lost := w.m.peers.lost(w.runs, w.m.cfg.silentAfter())
	if len(lost) == 0 {
		return
	}
	for _, g := range w.groups {
		if !g.quiet.asleep {
			continue
		}
		if !g.leading.Load() {
			if slices.Contains(lost, ident.ReplicaID(g.lead.Load())) {
				w.rouseAfter(g, w.m.cfg.silentAfter())
			}
			continue
		}
		for _, id := range g.everybody() {
			if slices.Contains(lost, ident.ReplicaID(id)) {
				w.rouse(g)
			}
		}
	}
}

// beat tells every member of the meta group that this node runs, and which run this is. It goes out as the notice
// that nothing was applied, which says nothing to a node that does not know beats. As a refusal it says besides that the
// disk is nearly full or the store hangs, so that others lead. A node whose log hangs or is full
// sends none: it lives, but its groups need other leaders.
func (m *Manager) beat(tick int64) {
	if tick%int64(m.cfg.HeartbeatTicks) != 0 || slices.ContainsFunc(m.workers, (*worker).stands) {
		return
	}
	meta, tight := m.order[0], m.room.tight.Load() || m.Ailing()
	members := meta.members.Load()
	for _, ids := range [2][]uint64{members.voters, members.learners} {
		for _, id := range ids {
			if id != uint64(m.cfg.Replica) {
				m.transport.Send(ident.ReplicaID(id), []transport.Message{meta.message(&raftpb.Message{
					Type: raftpb.MsgStorageApplyResp.Enum(), To: new(id), From: new(uint64(m.cfg.Replica)), Commit: new(m.run), Reject: new(tight),
				})})
			}
		}
	}
	// Only now: whoever is handed a group knows why, and does not hand it back.
	m.policy.setTight(m.cfg.Replica, tight)
}

// peerClock remembers when each peer was last heard, in ticks, and which run of it. All groups share it: a node
// is alive or it is not.
type peerClock struct {
	interval time.Duration // of a tick
	hurry    chan struct{} // tells the timekeeper that a lull has ended

	mu sync.Mutex // guards all below
	pace
	now  int64 // ticks since the start
	last map[ident.ReplicaID]int64
	beat map[ident.ReplicaID]int64 // when its last beat came; a node whose disk hangs may send all else
	runs map[ident.ReplicaID]uint64
}

// liveWithin is how many ticks of silence a live peer may have: two of the longest default election timeouts.
const liveWithin = 40

// forgetAfter is how many ticks of silence make a peer forgotten: whatever depended on it was woken long before.
const forgetAfter = 1200

func newPeerClock(interval time.Duration) *peerClock {
	return &peerClock{
		interval: interval, hurry: make(chan struct{}, 1), last: make(map[ident.ReplicaID]int64), beat: make(map[ident.ReplicaID]int64), runs: make(map[ident.ReplicaID]uint64),
	}
}

// advance lets ticks pass and returns how many have passed in all.
func (p *peerClock) advance(ticks int) int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now += int64(ticks)
	return p.now
}

// heard notes a sign of life, at the tick of that moment, though a lull may not have counted it yet.
func (p *peerClock) heard(from ident.ReplicaID, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last[from] = p.now + p.uncounted(now)
}

// beaten notes which run of a peer a beat came from, as heard does.
func (p *peerClock) beaten(from ident.ReplicaID, run uint64, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.runs[from], p.beat[from] = run, p.now+p.uncounted(now)
}

// untilSilent is how many ticks there are until the next multiple of beat, or until the first one at which a peer has
// been silent for more than so many ticks, if that comes first. Peers that are silent already do not count.
// The caller holds mu.
func (p *peerClock) untilSilent(beat int64, ticks int) int64 {
	least := beat - p.now%beat
	for _, heard := range []map[ident.ReplicaID]int64{p.last, p.beat} {
		for _, last := range heard {
			if left := last + int64(ticks) + 1 - p.now; left > 0 {
				least = min(least, left)
			}
		}
	}
	return least
}

func (p *peerClock) live(id ident.ReplicaID) bool { return p.heardWithin(id, liveWithin) }

func (p *peerClock) heardWithin(id ident.ReplicaID, ticks int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	last, ok := p.last[id]
	return ok && p.now-last <= int64(ticks)
}

// lost lists the peers that were not heard for more than so many ticks, those that sent beats and have not for as long
// (one of their workers may hang while another one answers), and those whose run is another than the one
// in known, which it brings up to date.
func (p *peerClock) lost(known map[ident.ReplicaID]uint64, ticks int) []ident.ReplicaID {
	p.mu.Lock()
	defer p.mu.Unlock()
	var lost []ident.ReplicaID
	for id, last := range p.last {
		run, before := p.runs[id], known[id]
		known[id] = run
		beat, beats := p.beat[id]
		if p.now-last > int64(ticks) || beats && p.now-beat > int64(ticks) || before != 0 && run != before {
			lost = append(lost, id)
		}
		if p.now-last > forgetAfter {
			delete(p.last, id)
			delete(p.beat, id)
			delete(p.runs, id)
			delete(known, id)
		}
	}
	return lost
}
