package multiraft

import (
	"log/slog"
	"math"
	"slices"

	"go.etcd.io/raft/v3"
	raftpb "go.etcd.io/raft/v3/raftpb"
	"go.etcd.io/raft/v3/tracker"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/shard"
)

// How often chores run, in ticks, and how close a replica must be to count as caught up, in entries.
const (
	reconcileEvery = 4
	truncateEvery  = 20
	balanceEvery   = 10
	balanceRest    = 60 // ticks a group rests after its leadership was moved
	caughtUpWithin = 64
	balanceAtOnce  = 4  // leaderships moved in one round of one worker, or
	balanceShare   = 16 // one in so many of its groups, whichever is more
)

// chores runs what hangs on time: membership, the balance of leaders, and the front of the log.
func (w *worker) chores() {
	if w.tick%reconcileEvery == 0 && w.m.cfg.Members != nil {
		members := w.m.cfg.Members()
		changed := !slices.EqualFunc(members, w.membersSeen, Member.equal)
		w.membersSeen = members
		if changed {
			w.noteObservers(members)
		}
		for _, g := range w.groups {
			g.agrees = g.agrees && !changed
			// A sleeping group that agreed with the record has nothing to do before the record changes.
			if g.leading.Load() && (!g.agrees || !g.quiet.asleep) {
				w.reconcile(g, members)
			}
		}
	}
	if w.m.order[0].lead.Load() != 0 {
		w.metaSeen = w.tick
	}
	switch {
	case w.tick%balanceEvery != 0:
	case w.tick-w.metaSeen > liveWithin:
		w.yield()
	case !w.m.cfg.NoBalance || w.m.health.cedes.Load():
		w.balance()
	}
	if w.tick%truncateEvery == 0 {
		for _, g := range w.groups {
			w.truncate(g)
		}
	}
}

// reconcile moves a group one step towards the membership that the meta group records: a missing member
// becomes a learner, a learner that caught up becomes a voter and at the same time takes the place of the
// replica it replaces, a removed member leaves, and a voter whose vote was taken becomes a learner for good. Every step can be repeated and any leader can go on with
// it, so nothing is lost when the leader changes half way.
func (w *worker) reconcile(g *group, members []Member) {
	status := g.node.Status()
	conf := g.confirmed.Conf
	if status.LeadTransferee != 0 || isJoint(conf) || len(members) == 0 {
		return
	}
	self := uint64(w.m.cfg.Replica)
	changes := membershipChanges(g.id, conf, members, w.present, func(id uint64) bool {
		progress, ok := status.Progress[id]
		return ok && progress.State == tracker.StateReplicate && progress.Match+caughtUpWithin >= g.log.LastIndex() && w.present(id)
	})
	if len(changes) == 0 {
		// What has to wait for somebody is not done: the group may sleep before it can be.
		always := func(uint64) bool { return true }
		g.agrees = g.agrees || len(membershipChanges(g.id, conf, members, always, always)) == 0
		return
	}
	g.agrees = false
	w.stir(g)
	own := func(c *raftpb.ConfChangeSingle) bool {
		return c.GetType() != raftpb.ConfChangeAddNode && c.GetNodeId() == self
	}
	if at := slices.IndexFunc(changes, own); at >= 0 {
		// A leader does not remove itself, nor give up its vote; its successor will see to it.
		// Nothing presses who only gives up his vote: he waits for one that can take over without a pause.
		to := w.bestSuccessor(g, status)
		if to != 0 && !w.leaves(to) {
			if changes[at].GetType() == raftpb.ConfChangeRemoveNode || w.canLead(status, to) {
				g.node.TransferLeader(to)
			}
			return
		}
		// Who could take over is in the rest of the changes, if anywhere.
		if changes = slices.Delete(changes, at, at+1); len(changes) == 0 {
			return
		}
	}
	change := &raftpb.ConfChangeV2{Changes: changes}
	if err := g.node.ProposeConfChange(change); err != nil {
		w.m.cfg.Logger.Debug("membership change was not proposed; it is tried again", slog.String("group", g.id.String()), slog.Any("error", err))
		return
	}
	w.mark(g)
}

// membershipChanges computes the next step from conf towards members; ready says that a learner has
// caught up, live that a replica answers. It returns nil when nothing can be done now.
func membershipChanges(group shard.GroupID, conf *raftpb.ConfState, members []Member, live, ready func(uint64) bool) []*raftpb.ConfChangeSingle {
	var promote, add, remove []*raftpb.ConfChangeSingle
	replacing := map[uint64]bool{} // removed replicas whose stand-in is not a voter yet
	single := func(kind raftpb.ConfChangeType, id uint64) *raftpb.ConfChangeSingle {
		return &raftpb.ConfChangeSingle{Type: kind.Enum(), NodeId: new(id)}
	}
	for _, member := range members {
		id := uint64(member.Replica)
		learns := slices.Contains(conf.GetLearners(), id)
		if member.Removed || slices.Contains(conf.GetVoters(), id) || learns && member.observes(group) {
			continue
		}
		replaces := uint64(member.Replaces)
		switch {
		case !learns:
			add = append(add, single(raftpb.ConfChangeAddLearnerNode, id))
			replacing[replaces] = true
		case !ready(id):
			replacing[replaces] = true
		default:
			promote = append(promote, single(raftpb.ConfChangeAddNode, id))
		}
	}
	for _, member := range members {
		id := uint64(member.Replica)
		present := slices.Contains(conf.GetVoters(), id) || slices.Contains(conf.GetLearners(), id)
		if member.Removed && present && !replacing[id] {
			remove = append(remove, single(raftpb.ConfChangeRemoveNode, id))
		}
	}
	remove = affordable(conf, promote, remove, live)
	switch {
	case len(promote) > 0:
		// One joint step: the stand-in votes from the moment the lost replica no longer does.
		return append(promote, remove...)
	case len(remove) > 0:
		return remove
	case len(add) > 0:
		return add
	}
	return demotion(group, conf, members, live)
}

// yield hands over every data group that this replica leads, because it has known no leader of the meta group for
// a while. It may never apply what needs newer meta entries, and then nothing that it commits is answered. A
// replica that was removed is in that place for good: the meta group let it go before it could learn so, and
// as a leader it would never remove itself. Its successor does.
func (w *worker) yield() {
	for _, g := range w.groups {
		if g.id == shard.Meta || !g.leading.Load() || w.tick-g.transferred < balanceRest {
			continue
		}
		status := g.node.Status()
		to := w.bestSuccessor(g, status)
		if to == 0 || status.LeadTransferee != 0 {
			continue
		}
		w.stir(g)
		g.transferred = w.tick
		g.node.TransferLeader(to)
		w.mark(g)
	}
}

// balance hands leaderships to the nodes that should have them, so that each live voter leads about as many
// groups as any other. Meta stays where it is, unless this replica wants no leaderships. Only a caught-up, live replica is
// handed anything. A node whose disk is nearly full, or whose store hangs, does not wait for a group to rest, nor for the membership to settle,
// as long as somebody has room and a store that works; if it hangs, nor for balancing to be wanted. One that ails and does not hand over, since others
// may be about to say that they ail or its store answers again, moves nothing.
func (w *worker) balance() {
	self := uint64(w.m.cfg.Replica)
	own := w.m.policy.reluctance(w.m.cfg.Replica)
	moved, most := 0, max(balanceAtOnce, len(w.groups)/balanceShare)
	switch {
	case w.m.health.cedes.Load():
		most = len(w.groups) // who is led from here waits, so nothing is gained by moving some at a time
	case own == tightDisk && !w.m.room.tight.Load():
		return
	}
	for _, g := range w.groups {
		if moved == most {
			return
		}
		if !g.leading.Load() {
			continue
		}
		to := w.preferredLeader(g)
		if own == tightDisk && to != self {
			to = w.relief(g, to)
		}
		if to == 0 || to == self {
			continue
		}
		relief := own == tightDisk && w.m.policy.reluctance(ident.ReplicaID(to)) < own
		if !relief && (w.m.cfg.NoBalance || w.tick-g.transferred < balanceRest || g.id == shard.Meta && own != drains) {
			continue
		}
		status := g.node.Status()
		if status.LeadTransferee != 0 || !w.canLead(status, to) {
			continue
		}
		w.stir(g)
		g.transferred = w.tick
		g.node.TransferLeader(to)
		w.mark(g)
		moved++
	}
}

// relief is the preferred leader of a group that is led by a node with a nearly full disk or a store that hangs, or another voter that wants
// leaderships more than this one, where the preferred one is none or could not take over without a pause.
func (w *worker) relief(g *group, preferred uint64) uint64 {
	status := g.node.Status()
	if preferred != 0 && w.canLead(status, preferred) {
		return preferred
	}
	if to := w.bestSuccessor(g, status); to != 0 && w.reluctance(to) < tightDisk {
		return to
	}
	return preferred
}

// preferredLeader spreads groups over the live voters by the group's place in the list of groups, as long as there are
// some over those with room on their disks. It is zero while the membership is changing.
func (w *worker) preferredLeader(g *group) uint64 {
	conf := g.confirmed.Conf
	if isJoint(conf) || !w.onlyObservers(g.id, conf.GetLearners()) {
		return 0
	}
	voters := slices.DeleteFunc(slices.Clone(conf.GetVoters()), func(id uint64) bool { return w.observer(g.id, id) })
	slices.Sort(voters)
	least := drains - 1 // a draining replica is not preferred even when all drain
	for _, id := range voters {
		if w.present(id) {
			least = min(least, w.reluctance(id))
		}
	}
	voters = slices.DeleteFunc(voters, func(id uint64) bool {
		return !w.present(id) || w.reluctance(id) > least
	})
	if len(voters) == 0 {
		return 0
	}
	return voters[g.place%len(voters)]
}

// present reports whether a replica is this one, or heard of.
func (w *worker) present(id uint64) bool {
	return id == uint64(w.m.cfg.Replica) || w.m.peers.live(ident.ReplicaID(id))
}

// canLead reports whether a voter has everything and can take over without a pause.
func (w *worker) canLead(status raft.Status, id uint64) bool {
	progress, ok := status.Progress[id]
	return ok && !progress.IsLearner && progress.State == tracker.StateReplicate &&
		progress.Match >= status.GetCommit() && w.m.peers.live(ident.ReplicaID(id))
}

// bestSuccessor is the voter to hand a group to, zero when no other one is live: the one that the balancer
// would choose if it could take over without a pause, else the one that is furthest along. One whose disk is nearly
// full comes behind those with room, one that is draining behind these, and one that is recorded as removed last.
func (w *worker) bestSuccessor(g *group, status raft.Status) uint64 {
	var ready []uint64
	best, match, least := uint64(0), uint64(0), drains+2
	voters := slices.Clone(g.confirmed.Conf.GetVoters())
	slices.Sort(voters)
	for _, id := range voters {
		progress, ok := status.Progress[id]
		if !ok || id == uint64(w.m.cfg.Replica) || !w.m.peers.live(ident.ReplicaID(id)) || w.observer(g.id, id) {
			continue
		}
		own := w.reluctance(id)
		if own == willing && w.canLead(status, id) {
			ready = append(ready, id)
		}
		if own < least || own == least && progress.Match > match {
			best, match, least = id, progress.Match, own
		}
	}
	if len(ready) > 0 {
		return ready[slices.Index(w.m.order, g)%len(ready)]
	}
	return best
}

// truncate drops the front of a group's log: what is durably in the store, is older than the retention, and
// no live follower still needs. A live voter is never passed: proposals are refused, in pressure.go, before what is kept
// for it becomes too much. Who gets a snapshot anyway holds no more than four times the retention.
func (w *worker) truncate(g *group) {
	cfg := &w.m.cfg
	upto, _ := retention(g.log, w.m.room.tightened(cfg.retain(g.id)), w.m.durable.index(g.id))
	if upto < g.log.FirstIndex() {
		return
	}
	// The state may be ahead of what Raft knows: of a run of entries that ends with one that waits for the meta
	// group, the front is applied and Raft hears of it only with the whole. It still reads from there.
	upto = min(upto, g.node.BasicStatus().Applied)
	first := g.log.FirstIndex()
	if upto < first {
		return
	}
	if g.leading.Load() {
		upto = min(upto, w.neededBy(g, withinFourfold(g.log, cfg.retain(g.id))))
	}
	if upto < first {
		return
	}
	if err := cfg.Log.Truncate(g.id, upto); err != nil {
		w.m.fail(err)
		return
	}
	w.m.stats.truncated.Add(upto - first + 1)
}

// retention says up to where a log may be dropped when its state is durable up to an index, and whether the
// store should be flushed because that alone makes the log twice as long as it should be.
func retention(log GroupLog, retain Retention, durable uint64) (upto uint64, flush bool) {
	first, last, bytes := log.FirstIndex(), log.LastIndex(), log.Bytes()
	if last < first {
		return 0, false
	}
	keep := retain.Entries
	if bytes > retain.Bytes {
		average := max(bytes/(last-first+1), 1)
		keep = min(keep, retain.Bytes/average)
	}
	flush = durable < last && (last-durable > 2*retain.Entries || bytes > 2*retain.Bytes)
	return min(last-min(last, keep), durable), flush
}

// withinFourfold reports whether a log holds less than four times what is to be kept of it.
func withinFourfold(log GroupLog, retain Retention) bool {
	return log.Bytes() < 4*retain.Bytes && log.LastIndex()-log.FirstIndex() < 4*retain.Entries
}

// slowestLive is the smallest index that every live follower has.
func (w *worker) slowestLive(g *group) uint64 { return w.neededBy(g, true) }

// neededBy is up to where the log may be dropped for the sake of live followers. Those that the log's front has no more
// use for, or that nobody is held back for, count only with patience: learners, who is being sent a snapshot, and who needs one
// already. Of which voters a new leader has not heard yet how far they are, it waits until all that live have had the time
// to say so.
func (w *worker) neededBy(g *group, patience bool) uint64 {
	needed, first := uint64(math.MaxUint64), g.log.FirstIndex()
	g.node.WithProgress(func(id uint64, kind raft.ProgressType, progress tracker.Progress) {
		if id == uint64(w.m.cfg.Replica) || !w.m.peers.live(ident.ReplicaID(id)) {
			return
		}
		served := kind == raft.ProgressTypePeer && progress.State != tracker.StateSnapshot &&
			(progress.Match+1 >= first || progress.Match == 0 && w.tick-g.ledSince < liveWithin)
		if served || patience {
			needed = min(needed, max(progress.Match, progress.PendingSnapshot))
		}
	})
	return needed
}
