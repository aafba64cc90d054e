package expr

import (
	"slices"

	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
)

// compareRows writes a comparison of two row values as comparisons of their elements: all equal, one different, or, for an
// order, the first pair that differs decides. NULLs give what those comparisons give.
func (b *binder) compareRows(n *parse.Binary, op parse.Operator, left, right []parse.Expr) (parse.Expr, error) {
	if len(left) != len(right) || len(left) == 0 {
		return nil, faultAt(n, fault.InvalidStatement, "a row of %d values cannot be compared with one of %d", len(left), len(right))
	}
	pair := func(op parse.Operator, i int) parse.Expr {
		return &parse.Binary{Pos: n.Pos, Op: op, Left: left[i], Right: right[i]}
	}
	strict := map[parse.Operator]parse.Operator{"<": "<", "<=": "<", ">": ">", ">=": ">"}[op]
	if strict == "" {
		pairs := make([]parse.Expr, len(left))
		for i := range pairs {
			pairs[i] = pair(op, i)
		}
		return chainOf(n.Pos, op != "=", pairs), nil
	}
	last := len(left) - 1
	for _, element := range slices.Concat(left[:last], right[:last]) {
		if err := b.respell(element, 1); err != nil {
			return nil, err
		}
	}
	decided := pair(op, last)
	for i := last - 1; i >= 0; i-- {
		decided = chainOf(n.Pos, true, []parse.Expr{pair(strict, i), chainOf(n.Pos, false, []parse.Expr{pair("=", i), decided})})
	}
	return decided, nil
}

// chainOf is AND or OR of at least one expression.
func chainOf(pos parse.Pos, or bool, parts []parse.Expr) parse.Expr {
	if len(parts) == 1 {
		return parts[0]
	}
	return &parse.Logical{Pos: pos, Or: or, Operands: parts}
}

// bindRowIn is IN with a list of row values.
func (b *binder) bindRowIn(n *parse.In, row *parse.Row) (Expr, error) {
	for _, element := range row.Elements {
		if err := b.respell(element, len(n.List)-1); err != nil {
			return nil, err
		}
	}
	choices := make([]parse.Expr, len(n.List))
	for i, item := range n.List {
		other, ok := item.(*parse.Row)
		if !ok {
			return nil, faultAt(item, fault.InvalidStatement, "a row of %d values is compared with rows only", len(row.Elements))
		}
		same, err := b.compareRows(&parse.Binary{Pos: n.Pos}, "=", row.Elements, other.Elements)
		if err != nil {
			return nil, err
		}
		choices[i] = same
	}
	e, err := b.bind(chainOf(n.Pos, true, choices))
	return not(e, n.Not), err
}

// bindRowsDistinct is IS DISTINCT FROM between row values, which differ when some of their elements do.
func (b *binder) bindRowsDistinct(n *parse.IsDistinct, left, right []parse.Expr) (Expr, error) {
	if len(left) != len(right) || len(left) == 0 {
		return nil, faultAt(n, fault.InvalidStatement, "a row of %d values cannot be compared with one of %d", len(left), len(right))
	}
	pairs := make([]parse.Expr, len(left))
	for i := range pairs {
		pairs[i] = &parse.IsDistinct{Pos: n.Pos, Left: left[i], Right: right[i]}
	}
	e, err := b.bind(chainOf(n.Pos, true, pairs))
	return not(e, n.Not), err
}

// spelledRows is a comparison between two row values as one of their elements, and nil for every other one. It refuses a row beside a query.
func (b *binder) spelledRows(n *parse.Binary) (parse.Expr, error) {
	left, rowLeft := n.Left.(*parse.Row)
	right, rowRight := n.Right.(*parse.Row)
	_, queryLeft := n.Left.(*parse.Subquery)
	_, queryRight := n.Right.(*parse.Subquery)
	switch {
	case rowLeft && rowRight:
		return b.compareRows(n, n.Op, left.Elements, right.Elements)
	case rowLeft && queryRight, rowRight && queryLeft:
		return nil, faultAt(n, fault.Unsupported, "a row is compared with a query by (a, b) IN (SELECT ...), = ANY or <> ALL; "+
			"otherwise put the query into FROM and compare with its columns")
	}
	return nil, nil
}
