package sim

import (
	"math"
	"slices"

	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/statemachine"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

func impatient(n *simNode, group shard.GroupID) (statemachine.Machine, error) {
	always := func() uint64 { return math.MaxUint64 }
	switch group.Class() { //nolint:exhaustive // no node of a simulation has local rows
	case shard.ClassUser:
		return statemachine.NewUserData(group, always, n.live.publisher), nil
	case shard.ClassShared:
		return statemachine.NewSharedData(group, always, n.live.publisher), nil
	case shard.ClassMeta:
	}
	return realMachine(n, group)
}

// bent is a state machine that sees other entries than the log has.
type bent struct {
	statemachine.Machine
	bend func(*command.Entry)
}

func bend(n *simNode, group shard.GroupID, change func(*command.Entry)) (statemachine.Machine, error) {
	inner, err := realMachine(n, group)
	return &bent{inner, change}, err
}

// Apply implements statemachine.Machine.
func (b *bent) Apply(batch *storage.Batch, entries []command.Entry) (command.Outcome, error) {
	bentEntries := slices.Clone(entries)
	for i := range bentEntries {
		if len(bentEntries[i].Data) > 0 {
			b.bend(&bentEntries[i])
		}
	}
	return b.Machine.Apply(batch, bentEntries)
}

func anonymous(n *simNode, group shard.GroupID) (statemachine.Machine, error) {
	return bend(n, group, func(e *command.Entry) {
		e.RequestID = ident.RequestID{}
		e.Data = rewrite(e.Data, func(cmd *commandv1.Command) { cmd.Header.RequestId = nil })
	})
}

func clockwork(n *simNode, group shard.GroupID) (statemachine.Machine, error) {
	return bend(n, group, func(e *command.Entry) {
		e.Data = rewrite(e.Data, func(cmd *commandv1.Command) { cmd.Header.NowMicros = n.Now().UnixMicro() })
	})
}

func careless(n *simNode, group shard.GroupID) (statemachine.Machine, error) {
	return bend(n, group, func(e *command.Entry) {
		e.Data = rewrite(e.Data, func(cmd *commandv1.Command) {
			for _, row := range cmd.GetWriteRows().GetRows() {
				row.Expect = commandv1.Expect_EXPECT_ANY
			}
			if write := cmd.GetWriteRows(); write != nil {
				write.Scopes = nil
			}
		})
	})
}

// halfHearted drops the last row of every fourth command that writes several, at all replicas alike.
func halfHearted(n *simNode, group shard.GroupID) (statemachine.Machine, error) {
	return bend(n, group, func(e *command.Entry) {
		if e.Index%4 != 0 {
			return
		}
		e.Data = rewrite(e.Data, func(cmd *commandv1.Command) {
			if write := cmd.GetWriteRows(); len(write.GetRows()) > 1 {
				write.Rows = write.Rows[:len(write.Rows)-1]
			}
		})
	})
}

// indexless forgets to change the indexes with every fourth command, at all replicas alike.
func indexless(n *simNode, group shard.GroupID) (statemachine.Machine, error) {
	return bend(n, group, func(e *command.Entry) {
		if e.Index%4 != 0 {
			return
		}
		e.Data = rewrite(e.Data, func(cmd *commandv1.Command) {
			for _, row := range cmd.GetWriteRows().GetRows() {
				row.Index, row.Unindex = nil, nil
			}
		})
	})
}

// numb fails to apply one entry in a hundred at one replica, and says that it did.
type numb struct {
	statemachine.Machine
	n *simNode
}

func swallowing(n *simNode, group shard.GroupID) (statemachine.Machine, error) {
	inner, err := realMachine(n, group)
	return &numb{inner, n}, err
}

// Apply implements statemachine.Machine.
func (b *numb) Apply(batch *storage.Batch, entries []command.Entry) (command.Outcome, error) {
	seen := slices.Clone(entries)
	lost := make(map[int]bool)
	for i := range seen {
		if len(seen[i].Data) > 0 && b.n.w.rng.IntN(100) == 0 {
			seen[i].Data, lost[i] = nil, true
		}
	}
	outcome, err := b.Machine.Apply(batch, seen)
	for i := range outcome.Results {
		if !lost[i] {
			continue
		}
		if outcome.Results[i], err = command.EncodeResponse(&commandv1.Response{Index: seen[i].Index, Affected: 1}); err != nil {
			return outcome, err
		}
	}
	return outcome, err
}

func astray(w *world, c cell) shard.GroupID {
	if c.user == "" || w.rng.IntN(50) > 0 {
		return c.group
	}
	return shard.UserShard(w.rng.Uint32N(w.shards.UserShards))
}
