package plan

import (
	"slices"

	"github.com/kalamdb/kalamdb-go/internal/sql/expr"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
)

// aggregates reports whether a select list, or the ORDER BY over it, calls an aggregate, which makes the
// query a grouped one even without GROUP BY.
func aggregates(body *parse.Select, orderBy []parse.OrderItem) bool {
	for i := range body.Items {
		if callsAggregate(body.Items[i].Expr) {
			return true
		}
	}
	for i := range orderBy {
		if callsAggregate(orderBy[i].Expr) {
			return true
		}
	}
	return false
}

func callsAggregate(node parse.Expr) bool {
	if node == nil {
		return false
	}
	if call, ok := node.(*parse.FuncCall); ok && call.Over == nil && expr.IsAggregateName(call.Name.Name) {
		return true
	}
	return slices.ContainsFunc(operands(node), callsAggregate)
}

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
		return n.Args
	}
	return nil
}
