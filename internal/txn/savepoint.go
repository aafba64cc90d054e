package txn

import (
	"slices"

	"github.com/kalamdb/kalamdb-go/internal/fault"
)

// maxSavepoints bounds the savepoints of a transaction.
const maxSavepoints = 1000

// Savepoint names the present state. A name that is used again hides the older one.
func (t *Transaction) Savepoint(name string) error {
	if len(t.savepoints) == maxSavepoints {
		return fault.New(fault.LimitExceeded, "a transaction may have %d savepoints; release some", maxSavepoints)
	}
	t.savepoints = append(t.savepoints, savepoint{name, len(t.undo)})
	return nil
}

// RollbackTo undoes the writes since a savepoint, which stays. What was read in between is still depended on:
// the caller has seen it.
func (t *Transaction) RollbackTo(name string) error {
	found, err := t.find(name)
	if err != nil {
		return err
	}
	point := t.savepoints[found]
	for _, u := range slices.Backward(t.undo[point.undo:]) {
		t.restore(u)
		t.undoBytes -= u.bytes()
	}
	t.undo = slices.Delete(t.undo, point.undo, len(t.undo))
	t.savepoints = t.savepoints[:found+1]
	t.Failed = false
	return nil
}

func (t *Transaction) restore(u undo) {
	row := t.rows[u.place]
	t.bytes -= rowBytes(row)
	if u.before != nil {
		t.bytes += rowBytes(u.before)
		t.rows[u.place] = u.before
		return
	}
	// Rows are added at the end, so the row that was added last is the last one.
	scope := rowScope(row)
	delete(t.places[scope], string(row.GetPrimaryKey()))
	delete(t.sorted, scope)
	t.rows = t.rows[:u.place]
}

// Release forgets a savepoint and those made after it; their writes stay.
func (t *Transaction) Release(name string) error {
	found, err := t.find(name)
	if err != nil {
		return err
	}
	t.savepoints = t.savepoints[:found]
	if found == 0 {
		t.undo, t.undoBytes = nil, 0
	}
	return nil
}

// HasSavepoints reports whether a failed statement leaves something to go back to.
func (t *Transaction) HasSavepoints() bool { return len(t.savepoints) > 0 }

func (t *Transaction) find(name string) (int, error) {
	for i, point := range slices.Backward(t.savepoints) {
		if point.name == name {
			return i, nil
		}
	}
	return 0, fault.New(fault.InvalidStatement, "savepoint '%s' does not exist in this transaction", name)
}
