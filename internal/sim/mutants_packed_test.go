package sim

import (
	"slices"

	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/statemachine"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// This file has the bugs of entries that hold several commands.

// shortOfMemory forgets who asked for the commands of an entry, but for the first.
func shortOfMemory(n *simNode, group shard.GroupID) (statemachine.Machine, error) {
	return bend(n, group, func(e *command.Entry) {
		if e.Position == 0 {
			return
		}
		e.RequestID = ident.RequestID{}
		e.Data = rewrite(e.Data, func(cmd *commandv1.Command) { cmd.Header.RequestId = nil })
	})
}

// impatientWithin holds an entry for the meta index of its first command only.
func impatientWithin(n *simNode, group shard.GroupID) (statemachine.Machine, error) {
	return bend(n, group, func(e *command.Entry) {
		if e.Position > 0 {
			e.Data = rewrite(e.Data, func(cmd *commandv1.Command) { cmd.Header.MetaIndex = 0 })
		}
	})
}

// swapped answers the commands of an entry in the opposite order, at all replicas alike.
type swapped struct{ statemachine.Machine }

func mixingUp(n *simNode, group shard.GroupID) (statemachine.Machine, error) {
	inner, err := realMachine(n, group)
	return &swapped{inner}, err
}

// Apply implements statemachine.Machine.
func (s *swapped) Apply(batch *storage.Batch, entries []command.Entry) (command.Outcome, error) {
	outcome, err := s.Machine.Apply(batch, entries)
	first := 0
	for i := range outcome.Results {
		if !entries[i].More {
			slices.Reverse(outcome.Results[first : i+1])
			first = i + 1
		}
	}
	return outcome, err
}
