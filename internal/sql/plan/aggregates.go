package plan

import (
	"slices"

	"github.com/kalamdb/kalamdb-go/internal/sql/expr"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
)

// aggregates reports whether a select list, its windows, or the ORDER BY over it, calls an aggregate, which
// makes the query a grouped one even without GROUP BY.
func aggregates(body *parse.Select, orderBy []parse.OrderItem) bool {
	return countCalls(body, orderBy, isAggregate) > 0
}

// countCalls counts the calls of one sort in the parts of a query that read groups: everything but FROM,
// WHERE and GROUP BY.
func countCalls(body *parse.Select, orderBy []parse.OrderItem, counts func(*parse.FuncCall) bool) int {
	n := callsIn(body.Having, counts)
	for i := range body.Items {
		n += callsIn(body.Items[i].Expr, counts)
	}
	for _, node := range body.DistinctOn {
		n += callsIn(node, counts)
	}
	for i := range orderBy {
		n += callsIn(orderBy[i].Expr, counts)
	}
	return n + callsInNamed(body.Windows, counts)
}

// callsInNamed counts calls in the windows of a WINDOW clause.
func callsInNamed(windows []parse.NamedWindow, counts func(*parse.FuncCall) bool) int {
	n := 0
	for i := range windows {
		for _, node := range windowOperands(windows[i].Window) {
			n += callsIn(node, counts)
		}
	}
	return n
}

func callsIn(node parse.Expr, counts func(*parse.FuncCall) bool) int {
	if node == nil {
		return 0
	}
	n := 0
	if call, ok := node.(*parse.FuncCall); ok && counts(call) {
		n++
	}
	for _, operand := range operands(node) {
		n += callsIn(operand, counts)
	}
	return n
}

func isAggregate(call *parse.FuncCall) bool {
	return expr.IsAggregateCall(call)
}

func isWindow(call *parse.FuncCall) bool { return call.Over != nil }

// operands returns the expressions directly below a node; queries below it are not entered. Entries may
// be nil.
func operands(node parse.Expr) []parse.Expr {
	switch n := node.(type) {
	case *parse.Unary:
		return []parse.Expr{n.Expr}
	case *parse.Not:
		return []parse.Expr{n.Expr}
	case *parse.Binary:
		return []parse.Expr{n.Left, n.Right}
	case *parse.Logical:
		return n.Operands
	case *parse.Quantified:
		return []parse.Expr{n.Left, n.Array}
	case *parse.In:
		return append([]parse.Expr{n.Expr}, n.List...)
	case *parse.Between:
		return []parse.Expr{n.Expr, n.Low, n.High}
	case *parse.Like:
		return []parse.Expr{n.Expr, n.Pattern, n.Escape}
	case *parse.Is:
		return []parse.Expr{n.Expr}
	case *parse.IsDistinct:
		return []parse.Expr{n.Left, n.Right}
	case *parse.Array:
		return n.Elements
	case *parse.Row:
		return n.Elements
	case *parse.GroupingSets:
		return n.Items
	case *parse.Field:
		return []parse.Expr{n.Expr}
	case *parse.Subscript:
		return []parse.Expr{n.Expr, n.Index, n.High}
	case *parse.Case:
		list := []parse.Expr{n.Operand, n.Else}
		for i := range n.Whens {
			list = append(list, n.Whens[i].Condition, n.Whens[i].Result)
		}
		return list
	case *parse.Cast:
		return []parse.Expr{n.Expr}
	case *parse.Collate:
		return []parse.Expr{n.Expr}
	case *parse.FuncCall:
		return callOperands(n)
	}
	return nil
}

// callOperands are the arguments of a call and what stands in the clauses behind it.
func callOperands(call *parse.FuncCall) []parse.Expr {
	if len(call.OrderBy) == 0 && len(call.WithinGroup) == 0 && call.Filter == nil && call.Over == nil {
		return call.Args
	}
	list := append(slices.Clone(call.Args), call.Filter)
	for _, items := range [][]parse.OrderItem{call.OrderBy, call.WithinGroup} {
		for i := range items {
			list = append(list, items[i].Expr)
		}
	}
	return append(list, windowOperands(call.Over)...)
}

// windowOperands are the expressions of a window; a nil window has none.
func windowOperands(window *parse.Window) []parse.Expr {
	if window == nil {
		return nil
	}
	list := slices.Clone(window.PartitionBy)
	for i := range window.OrderBy {
		list = append(list, window.OrderBy[i].Expr)
	}
	if window.Frame != nil {
		list = append(list, window.Frame.Start.Offset, window.Frame.End.Offset)
	}
	return list
}
