package exec

import (
	"context"
	"fmt"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/sql/expr"
)

// mergeSide goes through the right input of a join beside the left one: both ascend by the key, and no two right rows have the
// same. No row is kept.
type mergeSide struct {
	right  operator
	key    expr.Expr
	eval   *expr.EvalContext
	row    joinRow     // at hand; its values are nil before the first and after the last one
	at     datum.Datum // its key
	wanted datum.Datum // the last one that was sought
	ended  bool
}

// seek goes on to the row that has a key, which is not less than the last one that was sought; found is false when there is none.
func (m *mergeSide) seek(ctx context.Context, key datum.Datum) (found bool, err error) {
	if !m.wanted.IsNull() && datum.Compare(key, m.wanted) < 0 {
		return false, fmt.Errorf("merge join: left key %s comes after %s", key, m.wanted)
	}
	m.wanted = key
	for !m.ended && (m.row.values == nil || datum.Compare(m.at, key) < 0) {
		before := m.at
		if m.row.values, err = m.right.next(ctx); err != nil {
			return false, err
		}
		if m.ended = m.row.values == nil; m.ended {
			return false, nil
		}
		if m.at, err = m.key.Eval(m.eval, m.row.values); err != nil {
			return false, err
		}
		if !before.IsNull() && datum.Compare(m.at, before) <= 0 {
			return false, fmt.Errorf("merge join: right key %s comes after %s", m.at, before)
		}
	}
	return !m.ended && datum.Compare(m.at, key) == 0, nil
}
