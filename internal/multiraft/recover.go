package multiraft

import (
	"errors"
	"fmt"
	"slices"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/raftlog"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
)

// This file is the way out when a majority is lost for good. It breaks a promise on purpose: what the lost
// majority had acknowledged and the survivors never received is gone. It works on a directory whose node
// does not run, and an interrupted recovery is repeated.

// Recovery is a stopped node's store and log on their way to other voters.
type Recovery struct {
	engine   *storage.Engine
	log      Log
	apply    *applyLoop
	replicas []*replica
}

// RecoveredGroup is what a recovery finds in one group.
type RecoveredGroup struct {
	Group   shard.GroupID
	Applied uint64 // everything up to here is known to be committed and is applied
	Last    uint64 // the entries behind Applied may or may not have been acknowledged
	Voters  []ident.ReplicaID
	Members []ident.ReplicaID // in order: voters, those that are about to be none any more, and learners
	Learner bool              // the replica had not caught up yet when it was stopped
}

// OpenRecovery loads every group and applies what the log knows to be committed. Nothing else is changed
// before Rewrite. It fails when the replica has no state of some group: it never was a member of it.
func OpenRecovery(engine *storage.Engine, log Log, groups []shard.GroupID, machines func(shard.GroupID) StateMachine) (*Recovery, error) {
	r := &Recovery{engine: engine, log: log}
	for i, id := range groups {
		one := newReplica(id, machines(id))
		if i == 0 {
			r.apply = newApplyLoop(engine, one)
		}
		if err := one.load(engine); err != nil {
			return nil, err
		}
		if one.state.Index == 0 {
			return nil, fmt.Errorf("%s: this node never received the state of the group", id)
		}
		if err := reconcileLog(log, log.Group(id), one); err != nil {
			return nil, err
		}
		r.replicas = append(r.replicas, one)
	}
	return r, r.applyCommitted()
}

// applyCommitted applies entries up to each group's commit index, a piece of every group at a time: a data
// group may have to wait for the meta group.
func (r *Recovery) applyCommitted() error {
	const pieceBytes = 8 << 20
	for {
		var tasks []*applyTask
		for _, one := range r.replicas {
			log := r.log.Group(one.id)
			upto := min(log.HardState().Commit, log.LastIndex())
			if len(one.pending) > 0 || one.state.Index >= upto {
				continue
			}
			entries, err := log.Entries(one.state.Index+1, upto+1, pieceBytes)
			if err != nil {
				return fmt.Errorf("read the log of %s: %w", one.id, err)
			}
			tasks = append(tasks, &applyTask{
				replica: one, entries: entries, done: func() {},
				configured: func(*raftpb.ConfChangeV2, *raftpb.ConfState) {},
			})
		}
		r.apply.push(tasks)
		worked := false
		for {
			did, err := r.apply.pass()
			if err != nil {
				return err
			}
			if !did {
				break
			}
			worked = true
		}
		if !worked {
			return nil // done, or what is left waits for a meta entry that is not known to be committed
		}
	}
}

// Groups tells what was found.
func (r *Recovery) Groups(self ident.ReplicaID) []RecoveredGroup {
	groups := make([]RecoveredGroup, len(r.replicas))
	for i, one := range r.replicas {
		groups[i] = RecoveredGroup{
			Group: one.id, Applied: one.state.Index, Last: max(r.log.Group(one.id).LastIndex(), one.state.Index),
			Voters: replicaIDs(one.state.Conf.GetVoters()), Members: configured(one.state.Conf), Learner: !isVoter(one.state.Conf, uint64(self)),
		}
	}
	return groups
}

// configured lists everybody in a configuration once, in order.
func configured(conf *raftpb.ConfState) []ident.ReplicaID {
	all := slices.Concat(conf.GetVoters(), conf.GetVotersOutgoing(), conf.GetLearners())
	slices.Sort(all)
	return replicaIDs(slices.Compact(all))
}

// MaxSurvivors is how many replicas can survive the loss of a majority together: as many as a configuration can need all of. Only a cluster of ten
// voters or more, or one with observers, can lose its majority with more of them left.
const MaxSurvivors = 4

// survivorsConf is the configuration in which survivors begin. Any of them may be the only one that has what the lost majority acknowledged,
// so each of them has to vote for the first leader, which then has the longest log of all. Of two, both are a majority. Three and four begin in a
// joint configuration of pairs, as if the first pair was replacing the others; its leader leaves it by itself (the Raft dissertation, 4.3), the
// others are learners then, and become voters like any member that has caught up.
func survivorsConf(survivors []ident.ReplicaID) (*raftpb.ConfState, error) {
	ids := make([]uint64, len(survivors))
	for i, id := range survivors {
		ids[i] = uint64(id)
	}
	slices.Sort(ids)
	switch n := len(ids); {
	case n == 0:
		return nil, errors.New("a cluster without voters cannot work")
	case n > MaxSurvivors:
		return nil, fmt.Errorf("%d survivors are given, and at most %d can go on together: leave those out that are furthest behind, wipe them, and let them join",
			n, MaxSurvivors)
	case n <= 2:
		return &raftpb.ConfState{Voters: ids}, nil
	}
	return &raftpb.ConfState{Voters: ids[:2:2], VotersOutgoing: ids[2:], LearnersNext: ids[2:], AutoLeave: new(true)}, nil
}

// Rewrite makes survivors the only members of every group, durably; also adds to the same batch. When there
// are several survivors, each one's directory must be rewritten with the same list before any of them starts, and the first
// leader of a group needs all of them.
//
// Changes of membership that are still in the logs belong to the lost cluster. Those beyond the applied state
// become entries without effect; the log up to the last one before it is cut, so that a survivor that is
// behind receives a snapshot, which carries the new voters, instead of them.
func (r *Recovery) Rewrite(survivors []ident.ReplicaID, also func(batch *storage.Batch) error) (err error) {
	conf, err := survivorsConf(survivors)
	if err != nil {
		return err
	}
	batch := r.engine.NewBatch()
	defer func() { err = errors.Join(err, batch.Close()) }()
	cuts := make([]uint64, len(r.replicas))
	for i, one := range r.replicas {
		if cuts[i], err = r.neutralise(one); err != nil {
			return fmt.Errorf("rewrite the log of %s: %w", one.id, err)
		}
		state := one.state
		state.Conf = conf
		encoded, failure := encodeApplied(state)
		if failure != nil {
			return failure
		}
		if err = batch.Set(keys.Applied(one.id), encoded); err != nil {
			return fmt.Errorf("rewrite the members of %s: %w", one.id, err)
		}
	}
	if err = also(batch); err != nil {
		return err
	}
	if err = r.engine.Commit(batch); err != nil {
		return fmt.Errorf("rewrite the members: %w", err)
	}
	if err = r.engine.Flush(); err != nil {
		return fmt.Errorf("rewrite the members: %w", err)
	}
	for i, one := range r.replicas {
		if cuts[i] == 0 {
			continue
		}
		if err = r.log.Truncate(one.id, cuts[i]); err != nil {
			return fmt.Errorf("cut the log of %s: %w", one.id, err)
		}
	}
	return r.log.Flush()
}

// neutralise replaces the changes of membership behind a group's state by entries without effect, and returns
// the index of the last one at or before it, zero when there is none.
func (r *Recovery) neutralise(one *replica) (last uint64, err error) {
	const pieceBytes = 8 << 20
	log := r.log.Group(one.id)
	var tail []*raftpb.Entry // from the first change behind the state to the end
	for at := log.FirstIndex(); at <= log.LastIndex(); {
		entries, err := log.Entries(at, log.LastIndex()+1, pieceBytes)
		if err != nil {
			return 0, err
		}
		for _, e := range entries {
			isChange := e.GetType() != raftpb.EntryNormal
			if isChange && e.GetIndex() <= one.state.Index {
				last = e.GetIndex()
				continue
			}
			if isChange {
				e = &raftpb.Entry{Type: raftpb.EntryNormal.Enum(), Index: new(e.GetIndex()), Term: new(e.GetTerm())}
			}
			if isChange || len(tail) > 0 {
				tail = append(tail, e)
			}
		}
		at += uint64(len(entries))
	}
	if len(tail) == 0 {
		return last, nil
	}
	return last, r.log.Append([]raftlog.Update{{Group: one.id, Entries: tail}}, true)
}
