package exec

import (
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/sql/expr"
	"github.com/kalamdb/kalamdb-go/internal/sql/plan"
)

// limits evaluates LIMIT and OFFSET under the default and the cap. A count of -1 has no end.
func (r *run) limits(n *plan.Limit) (skip, count int64, err error) {
	if skip, err = r.rowCount(n.Offset, 0, "OFFSET"); err != nil {
		return 0, 0, err
	}
	unstated := int64(-1)
	if n.Count == nil && n.Default > 0 {
		unstated = n.Default
	}
	if count, err = r.rowCount(n.Count, unstated, "LIMIT"); err != nil {
		return 0, 0, err
	}
	if n.Max > 0 && (count < 0 || count > n.Max) {
		count = n.Max
	}
	return skip, count, nil
}

// rowCount evaluates a number of rows; nil and NULL give the fallback.
func (r *run) rowCount(e expr.Expr, fallback int64, clause string) (int64, error) {
	if e == nil {
		return fallback, nil
	}
	value, err := e.Eval(r.eval, nil)
	if err != nil {
		return 0, err
	}
	if value.IsNull() {
		return fallback, nil
	}
	if value.Int() < 0 {
		return 0, fault.New(fault.InvalidStatement, "%s must not be negative, got %d", clause, value.Int())
	}
	return value.Int(), nil
}
