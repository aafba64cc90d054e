package exec

import (
	"errors"

	"github.com/kalamdb/kalamdb-go/internal/cold"
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	"github.com/kalamdb/kalamdb-go/internal/storage/rowvalue"
	"github.com/kalamdb/kalamdb-go/internal/txn"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// coldFacts is what a write set knows of the cold rows of its scope.
type coldFacts struct {
	asked bool
	view  *cold.View // nil when there are none
}

// lookCold says in a write what is cold under its key, which the group that applies it cannot know. old is the live
// version that the statement saw.
func (s *writeSet) lookCold(write *commandv1.RowWrite, old []datum.Datum) error {
	if !s.cold.asked {
		if err := s.findCold(); err != nil {
			return err
		}
	}
	if s.cold.view == nil {
		return nil
	}
	snapshot := s.run.openSnapshot()
	value, hot, err := snapshot.Get(keys.Row(s.scope.Group, s.scope.Table.ID, s.scope.User, write.GetPrimaryKey()))
	if err != nil {
		return err
	}
	if hot {
		return sayTaken(write, value)
	}
	found, err := s.cold.view.Find(write.GetPrimaryKey(), nil)
	if err != nil || found == nil {
		return err
	}
	deleted, err := found.Deleted()
	if err == nil && !deleted {
		write.ColdSeq, err = found.Seq()
	}
	if err = errors.Join(err, found.Close()); err != nil || deleted || old == nil {
		return err
	}
	write.ColdRow = schema.EncodeRow(s.scope.Table, old[:len(s.scope.Table.Columns)])
	return nil
}

// sayTaken says of a row that must be new that its key is taken by a hot row. That row may be cold when the command is
// applied, and then nothing else tells the group of it.
func sayTaken(write *commandv1.RowWrite, hot []byte) error {
	if write.GetExpect() != commandv1.Expect_EXPECT_ABSENT {
		return nil
	}
	seq, deleted, _, err := rowvalue.Decode(hot)
	if err == nil && !deleted {
		write.ColdSeq = seq
	}
	return err
}

// findCold looks whether the scope has cold rows. An INSERT reads nothing else: only then it needs a picture of the store.
func (s *writeSet) findCold() error {
	r := s.run
	if r.tx == nil && r.snapshot == nil {
		var reader storage.Reader = r.engine.deps.Storage
		if view, err := s.scope.View(reader); err != nil || view == nil {
			s.cold.asked = true
			return err
		}
	}
	snapshot := r.openSnapshot()
	view, err := s.scope.View(snapshot)
	if err != nil {
		return err
	}
	s.cold = coldFacts{asked: true, view: view}
	if view == nil {
		return nil
	}
	if r.tx != nil {
		return r.tx.LookedCold(&s.scope)
	}
	read, err := txn.ColdRead(snapshot, &s.scope)
	if err == nil && read != nil {
		s.body.Cold = append(s.body.Cold, read)
	}
	return err
}
