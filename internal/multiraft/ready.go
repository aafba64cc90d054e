package multiraft

import (
	"fmt"
	"slices"

	"go.etcd.io/raft/v3"
	raftpb "go.etcd.io/raft/v3/raftpb"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/raftlog"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/transport"
)

// output collects what one pass has to do outside of Raft.
type output struct {
	updates   []raftlog.Update
	sync      bool
	responses []response
	messages  map[ident.ReplicaID][]transport.Message
	peers     []ident.ReplicaID // keys of messages, in order
	tasks     []*applyTask
}

// collect takes from Raft what every dirty group wants done.
func (w *worker) collect() error {
	dirty := w.dirty
	w.dirty, w.clean = w.clean[:0], dirty
	for _, g := range dirty {
		g.dirty = false
		g.flushProposals(maxProposalsPerPass)
		g.flushReads(w.m.nextRead, w.tick)
		if len(g.proposals) > 0 {
			w.mark(g)
		}
		// A group that installs a snapshot keeps its next storage message until that is recorded.
		if g.install != nil || !g.node.HasReady() {
			continue
		}
		if err := w.take(g, g.node.Ready()); err != nil {
			return fmt.Errorf("%s: %w", g.id, err)
		}
	}
	return nil
}

func (w *worker) take(g *group, rd raft.Ready) error {
	if rd.HardState != nil {
		if term := rd.GetTerm(); term != g.term.Load() {
			g.term.Store(term)
			if g.leading.Load() && rd.SoftState == nil {
				g.fail(ErrOutcomeUnknown, false)
			}
		}
	}
	if rd.SoftState != nil {
		g.follow(rd.SoftState)
		g.noteState(rd.RaftState, w.tick)
		if len(g.reads) > 0 {
			w.mark(g)
		}
		g.alignHeartbeats(w.tick, w.m.cfg.HeartbeatTicks)
	}
	g.answerReads(rd.ReadStates)
	waits := false // messages wait for the end of the apply task
	for i, m := range rd.Messages {
		switch m.GetTo() {
		case raft.LocalAppendThread:
			if err := w.takeAppend(g, m); err != nil {
				return err
			}
		case raft.LocalApplyThread:
			w.out.tasks = append(w.out.tasks, w.applyTask(g, m, waits))
			w.out.sync = w.out.sync || changesMembers(m.GetEntries())
		default:
			if isEmptyAppend(m) && isOutdone(rd.Messages, i) {
				continue
			}
			if w.keepBack(g, m, &rd) {
				waits = true
				continue
			}
			w.post(g, m)
		}
	}
	g.tacit = 0
	g.discardStale(w.m)
	return nil
}

// takeAppend turns a storage message into an update of the log, or starts the install of a snapshot.
func (w *worker) takeAppend(g *group, m *raftpb.Message) error {
	if !raft.IsEmptySnap(m.GetSnapshot()) {
		return w.beginInstall(g, m)
	}
	update := raftlog.Update{Group: g.id, Entries: m.GetEntries(), Hard: hardState(m)}
	if n := len(update.Entries); n > 0 {
		g.handed = update.Entries[n-1].GetIndex()
	}
	if update.Hard != nil || len(update.Entries) > 0 {
		w.out.updates = append(w.out.updates, update)
	}
	before := len(w.out.responses)
	for _, r := range m.GetResponses() {
		if !g.isTacit(r) {
			w.out.responses = append(w.out.responses, response{group: g, message: r})
		}
	}
	w.out.sync = w.out.sync || len(w.out.responses) > before && g.binds(update)
	return nil
}

// binds reports whether an answer that goes with an update may depend on it, so that the update must be durable first:
// it adds entries, or a term or a vote. A commit index binds nobody, and what earlier passes wrote is durable, or will
// be before a later write is finished. A follower that only hears of a commit, which is half of what it hears while
// there is little to do, so answers without a sync.
func (g *group) binds(update raftlog.Update) bool {
	if update.Hard == nil || len(update.Entries) > 0 {
		return len(update.Entries) > 0
	}
	durable := g.log.HardState()
	return update.Hard.Term != durable.Term || update.Hard.Vote != durable.Vote
}

// changesMembers reports whether there is a change of members among entries that are committed. Such a commit is made durable at once, in
// whichever pass the log heard of it: a replica that forgot it would go on to need the votes of those that the change has let go, and that
// may be gone for good since.
func changesMembers(entries []*raftpb.Entry) bool {
	return slices.ContainsFunc(entries, func(e *raftpb.Entry) bool { return e.GetType() != raftpb.EntryNormal })
}

// hardState reads the hard state that a storage message carries, nil when it is unchanged.
func hardState(m *raftpb.Message) *raftlog.HardState {
	if m.Term == nil && m.Vote == nil && m.Commit == nil {
		return nil
	}
	if m.GetTerm() == 0 && m.GetVote() == 0 && m.GetCommit() == 0 {
		return nil
	}
	return &raftlog.HardState{Term: m.GetTerm(), Vote: m.GetVote(), Commit: m.GetCommit()}
}

// idleApplyBytes is up to which size the end of an apply task is no reason for a pass. Raft hands out
// maxCommittedPerReady before it has to hear of an end.
const idleApplyBytes = 256 << 10

// applyTask makes the task that applies committed entries; the answers come back through the inbox.
func (w *worker) applyTask(g *group, m *raftpb.Message, waits bool) *applyTask {
	tell := w.enqueueIdly
	if waits {
		tell = w.enqueue
	}
	bytes := 0
	for _, e := range m.GetEntries() {
		if bytes += len(e.GetData()); bytes > idleApplyBytes || e.GetType() != raftpb.EntryNormal {
			tell = w.enqueue
			break
		}
	}
	return &applyTask{
		replica: g.replica,
		entries: m.GetEntries(),
		configured: func(change *raftpb.ConfChangeV2, conf *raftpb.ConfState) {
			w.enqueue(item{group: g, do: func(g *group) { w.m.reconfigure(g, change, conf) }})
		},
		done: func() {
			state := g.state
			tell(item{group: g, do: func(g *group) {
				if state.Index > g.confirmed.Index {
					g.confirm(state)
				}
				w.release = w.release || waits
				w.deliver(g, m.GetResponses())
			}})
		},
	}
}
