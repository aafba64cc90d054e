package exec

import (
	"fmt"

	"github.com/kalamdb/kalamdb-go/internal/ident"
)

// changeKind is what a statement does to rows.
type changeKind uint8

const (
	noChange changeKind = iota
	inserted
	updated
	deleted

	changeKinds
)

// String is the first word of the message.
func (k changeKind) String() string {
	switch k {
	case inserted:
		return "Inserted"
	case updated:
		return "Updated"
	case deleted:
		return "Deleted"
	case noChange, changeKinds:
	}
	return "Changed"
}

// outcome is the result of one statement before those of a batch are merged.
type outcome struct {
	Result

	change changeKind
	// keptBytes is the memory of the rows, which stay until the whole request has run.
	keptBytes int64
}

// changeResult is the entry of an INSERT, UPDATE or DELETE.
func changeResult(kind changeKind, rows int, user ident.UserID) Result {
	return Result{RowCount: rows, Message: fmt.Sprintf("%s %d row(s)", kind, rows), AsUser: user}
}

// changeTotals adds up the changes of a batch.
type changeTotals struct {
	user ident.UserID
	rows [changeKinds]int
}

// results returns the totals that are above zero.
func (t *changeTotals) results() []Result {
	var results []Result
	for _, kind := range []changeKind{inserted, updated, deleted} {
		if t.rows[kind] > 0 {
			results = append(results, changeResult(kind, t.rows[kind], t.user))
		}
	}
	return results
}
