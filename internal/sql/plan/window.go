package plan

import (
	"slices"

	"github.com/kalamdb/kalamdb-go/internal/sql/expr"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
)

// Window computes window functions over all rows of its input and puts their results behind each row.
type Window struct {
	Input   Node
	Windows *expr.Windows
}

// Width implements Node.
func (w *Window) Width() int { return w.Input.Width() + len(w.Windows.Calls) }

func (w *Window) describe(p *printer) {
	p.line("Window: %d function(s)", len(w.Windows.Calls))
	p.child(w.Input)
}

// reads returns everything that the functions read of the input.
func (w *Window) reads() []expr.Expr {
	var list []expr.Expr
	for _, call := range w.Windows.Calls {
		list = append(append(list, call.Args...), call.PartitionBy...)
		for i := range call.OrderBy {
			list = append(list, call.OrderBy[i].Expr)
		}
		if call.Aggregate != nil && call.Aggregate.Filter != nil {
			list = append(list, call.Aggregate.Filter)
		}
	}
	return list
}

// windows prepares for the window functions of a SELECT; it is nil when there are none.
func (b *queryBuilder) windows(body *parse.Select, orderBy []parse.OrderItem, from *relation, grouping *expr.Grouping) (*expr.Windows, error) {
	found := slices.ContainsFunc(body.Items, func(item parse.SelectItem) bool { return callsWindow(item.Expr) }) ||
		slices.ContainsFunc(orderBy, func(item parse.OrderItem) bool { return callsWindow(item.Expr) })
	switch {
	case !found:
		return nil, nil
	case grouping != nil:
		return nil, unsupported(body, "window functions over groups are not supported; group in a subquery in FROM")
	}
	return &expr.Windows{Width: from.node.Width(), Named: body.Windows}, nil
}

func callsWindow(node parse.Expr) bool {
	if node == nil {
		return false
	}
	if call, ok := node.(*parse.FuncCall); ok && call.Over != nil {
		return true
	}
	return slices.ContainsFunc(operands(node), callsWindow)
}
