package multiraft

import (
	"errors"
	"fmt"
	"log/slog"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/confchange"
	raftpb "go.etcd.io/raft/v3/raftpb"
	"go.etcd.io/raft/v3/tracker"

	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/snapshot"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	nodev1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/node/v1"
)

// This file keeps what a peer sends from ending this node. The library takes a peer for a replica that follows the protocol,
// and panics where one does not: a commit index beyond the log, entries with a gap, a vote without a term. A peer that holds
// a certificate and is broken, or in foreign hands, so could end every node that it reaches. What no replica that follows
// the protocol would send is refused here, counted and logged; the group goes on as if it had been lost.
//
// What is not judged is what a peer makes of the protocol while it keeps to it: a member may stand for election, and what a
// leader replicates in due form is believed.

// farthest is beyond every term and index that a cluster will reach, and so far from the end of the numbers that nothing
// is counted over it.
const farthest = 1 << 62

// errNonsense is wrapped by every refusal.
var errNonsense = errors.New("multiraft: no replica sends this")

func nonsense(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errNonsense, fmt.Sprintf(format, args...))
}

// vet refuses a peer's message that no replica sends. It runs on the worker, before Raft sees the message.
func (g *group) vet(m *raftpb.Message) error {
	for _, number := range [...]uint64{m.GetTerm(), m.GetIndex(), m.GetLogTerm(), m.GetCommit(), m.GetRejectHint()} {
		if number >= farthest {
			return nonsense("number %d", number)
		}
	}
	if kind := m.GetType(); kind == raftpb.MsgReadIndex {
		// It is the one message that has no term: a follower may pass it on as it is.
		if m.GetTerm() != 0 || len(m.GetEntries()) != 1 {
			return nonsense("question for a read index with %d entries in term %d", len(m.GetEntries()), m.GetTerm())
		}
		return nil
	} else if m.GetTerm() == 0 {
		return nonsense("%v without a term", kind)
	}
	switch kind := m.GetType(); kind { //nolint:exhaustive // the others do not travel
	case raftpb.MsgApp:
		return g.vetAppend(m)
	case raftpb.MsgHeartbeat:
		if m.GetTerm() >= g.term.Load() && m.GetCommit() > g.handed {
			return nonsense("heartbeat tells of commit %d, and this replica, which ends at %d, has acknowledged less", m.GetCommit(), g.handed)
		}
	case raftpb.MsgAppResp:
		if !m.GetReject() && m.GetTerm() == g.term.Load() && g.leading.Load() && m.GetIndex() > g.handed {
			return nonsense("entry %d is acknowledged, and %d is the last that was sent", m.GetIndex(), g.handed)
		}
	case raftpb.MsgHeartbeatResp:
		if size := len(m.GetContext()); size > 0 && size < 8 {
			return nonsense("answer to a heartbeat with a context of %d bytes", size)
		}
	case raftpb.MsgTransferLeader:
		if status := g.node.BasicStatus(); status.RaftState != raft.StateLeader && status.Lead != 0 {
			return nonsense("leadership is asked of replica %d, which follows in term %d", status.ID, status.GetTerm())
		}
	case raftpb.MsgVote, raftpb.MsgPreVote, raftpb.MsgVoteResp, raftpb.MsgPreVoteResp, raftpb.MsgTimeoutNow, raftpb.MsgReadIndexResp:
	default:
		return nonsense("%v, which does not come as a message", kind)
	}
	return nil
}

// vetAppend refuses entries that have gaps, terms that fall, or data that nothing here could be applied from.
func (g *group) vetAppend(m *raftpb.Message) error {
	last, term := m.GetIndex(), m.GetLogTerm()
	largest := int(g.worker.m.cfg.Log.MaxEntryBytes())
	for _, e := range m.GetEntries() {
		if last++; e.GetIndex() != last {
			return nonsense("entry %d where %d was due", e.GetIndex(), last)
		}
		if e.GetTerm() == 0 || e.GetTerm() < term || e.GetTerm() > m.GetTerm() {
			return nonsense("entry %d of term %d behind term %d, sent in term %d", last, e.GetTerm(), term, m.GetTerm())
		}
		term = e.GetTerm()
		if len(e.GetData()) > largest {
			return nonsense("entry %d of %d bytes, at most %d are written", last, len(e.GetData()), largest)
		}
		if err := vetEntry(e); err != nil {
			return nonsense("%v", err)
		}
	}
	return nil
}

// vetEntry refuses what could not be opened when it is applied. The common entry takes a look at its first byte.
func vetEntry(e *raftpb.Entry) error {
	if e.GetType() != raftpb.EntryNormal {
		_, err := decodeConfChange(e)
		return err
	}
	if data := e.GetData(); len(data) > 0 && data[0] == packedVersion {
		var room [64]command.Entry
		_, err := openEntry(room[:0], e)
		return err
	}
	_, err := openEnvelope(e)
	return err
}

// vetSnapshot refuses a snapshot that says of itself what is not so.
func (m *Manager) vetSnapshot(g *group, h *nodev1.SnapshotHeader, conf *raftpb.ConfState, files *snapshot.Staged) error {
	if h.GetTerm() == 0 || h.GetTerm() >= farthest || h.GetIndex() == 0 || h.GetIndex() >= farthest ||
		h.GetIndexTerm() == 0 || h.GetIndexTerm() > h.GetTerm() {
		return nonsense("snapshot at %d in term %d, sent in term %d", h.GetIndex(), h.GetIndexTerm(), h.GetTerm())
	}
	if err := vetConf(conf); err != nil {
		return err
	}
	key, value, err := files.First()
	if err != nil {
		return err
	}
	if string(key) != string(keys.Applied(g.id)) {
		return nonsense("snapshot does not begin with the applied state but with key %x", key)
	}
	state, err := decodeApplied(value)
	if err != nil {
		return nonsense("%v", err)
	}
	if state.Index != h.GetIndex() || state.Term != h.GetIndexTerm() {
		return nonsense("snapshot announced as %d in term %d contains %d in term %d", h.GetIndex(), h.GetIndexTerm(), state.Index, state.Term)
	}
	if err := state.Conf.Equivalent(conf); err != nil {
		return nonsense("snapshot contains other members than it announces: %v", err)
	}
	return nil
}

// vetConf refuses members of whom Raft could make no configuration.
func vetConf(conf *raftpb.ConfState) error {
	if len(conf.GetVoters()) == 0 {
		return nonsense("configuration without voters")
	}
	progress := tracker.MakeProgressTracker(1, 0)
	cfg, peers, err := confchange.Restore(confchange.Changer{Tracker: progress}, conf)
	if err != nil {
		return nonsense("configuration %v: %v", conf, err)
	}
	progress.Config, progress.Progress = cfg, peers
	if err := conf.Equivalent(progress.ConfState()); err != nil {
		return nonsense("configuration: %v", err)
	}
	return nil
}

// refuse notes nonsense. The log gets one line for each group and election timeout, so that a peer cannot fill it.
func (w *worker) refuse(g *group, m *raftpb.Message, why error) {
	w.m.metrics.nonsense.Add(1)
	if g.refusedAt != 0 && w.tick-g.refusedAt < w.m.cfg.ElectionTicks {
		return
	}
	g.refusedAt = max(w.tick, 1)
	w.m.cfg.Logger.Error("a peer's message was refused: the peer is broken or hostile, or this replica has lost what it had acknowledged",
		slog.String("group", g.id.String()), slog.Uint64("from", m.GetFrom()), slog.String("type", m.GetType().String()), slog.Any("error", why))
}

// refuseSnapshot is refuse for a snapshot. It runs on the goroutine that receives it.
func (m *Manager) refuseSnapshot(g *group, from ident.ReplicaID, why error) {
	m.metrics.nonsense.Add(1)
	m.cfg.Logger.Error("a peer's snapshot was refused: the peer is broken or hostile",
		slog.String("group", g.id.String()), slog.Uint64("from", uint64(from)), slog.Any("error", why))
}
