package plan

import (
	"github.com/kalamdb/kalamdb-go/internal/sql/expr"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
)

// Window computes window functions over all rows of its input and puts their results behind each row, from Windows.Width on.
// Groups may be narrower: what lies between is NULL, and nothing reads it.
type Window struct {
	Input   Node
	Windows *expr.Windows
}

// Width implements Node.
func (w *Window) Width() int { return w.Windows.Width + len(w.Windows.Calls) }

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
func (b *queryBuilder) windows(body *parse.Select, orderBy []parse.OrderItem, from *relation, grouping *expr.Grouping) *expr.Windows {
	calls := countCalls(body, orderBy, isWindow)
	if calls == 0 {
		return nil
	}
	width := from.node.Width()
	if grouping != nil {
		// Which aggregates there are turns out while the select list is bound, and the results of windows stand behind all of them:
		// room is left for each that is written. A named window is bound for each function that goes over it.
		width = len(grouping.Keys) + countCalls(body, orderBy, isAggregate) + calls*callsInNamed(body.Windows, isAggregate)
	}
	return &expr.Windows{Width: width, Named: body.Windows}
}
