package multiraft

import (
	"errors"
	"fmt"

	raftpb "go.etcd.io/raft/v3/raftpb"

	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/raftlog"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
)

// foundIndex and foundTerm are the log position at which every group of a new cluster starts. It is not
// zero, so that a replica without any state is told apart from it and always begins with a snapshot.
const (
	foundIndex = 1
	foundTerm  = 1
)

// Found writes the first state of every group into an empty store and log. A cluster is founded with one
// voter, which the others join; when several are given, all of them must be founded with the same list. It
// is durable when it returns. A directory in which it was interrupted must be emptied and founded again.
func Found(engine *storage.Engine, log Log, groups []shard.GroupID, voters ...ident.ReplicaID) error {
	return foundAt(engine, log, foundIndex, groups, voters...)
}

// FoundLocal writes the first state of a group that has this replica alone on every node, unless it is there. An interrupted call
// can be repeated.
func FoundLocal(engine *storage.Engine, log Log, group shard.GroupID, replica ident.ReplicaID) error {
	state, err := readApplied(engine, group)
	if err != nil || state.Index > 0 {
		return err
	}
	start, err := command.LocalStart(replica)
	if err != nil {
		return err
	}
	return foundAt(engine, log, start, []shard.GroupID{group}, replica)
}

func foundAt(engine *storage.Engine, log Log, index uint64, groups []shard.GroupID, voters ...ident.ReplicaID) (err error) {
	conf := &raftpb.ConfState{}
	for _, voter := range voters {
		conf.Voters = append(conf.Voters, uint64(voter))
	}
	state, err := encodeApplied(AppliedState{Index: index, Term: foundTerm, Conf: conf})
	if err != nil {
		return err
	}
	batch := engine.NewBatch()
	defer func() { err = errors.Join(err, batch.Close()) }()
	updates := make([]raftlog.Update, 0, len(groups))
	for _, id := range groups {
		if err := batch.Set(keys.Applied(id), state); err != nil {
			return fmt.Errorf("found %s: %w", id, err)
		}
		updates = append(updates, raftlog.Update{
			Group: id,
			Reset: &raftlog.Marker{Index: index, Term: foundTerm},
			Hard:  &raftlog.HardState{Term: foundTerm, Commit: index},
		})
	}
	if err := engine.Commit(batch); err != nil {
		return fmt.Errorf("found groups: %w", err)
	}
	if err := engine.Flush(); err != nil {
		return fmt.Errorf("found groups: %w", err)
	}
	if err := log.Append(updates, true); err != nil {
		return fmt.Errorf("found groups: %w", err)
	}
	return nil
}
