package expr

import (
	"strings"

	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
)

// IsAggregateCall reports whether a call is one of an aggregate over groups.
func IsAggregateCall(call *parse.FuncCall) bool {
	return call.Over == nil && (IsAggregateName(call.Name.Name) || isHypothetical(call))
}

// isHypothetical reports whether a call asks where a row would stand among those of its group: rank(x) WITHIN GROUP (ORDER BY y).
func isHypothetical(call *parse.FuncCall) bool {
	if len(call.WithinGroup) == 0 {
		return false
	}
	switch strings.ToLower(call.Name.Name) {
	case "rank", "dense_rank", "percent_rank", "cume_dist":
		return true
	}
	return false
}

// bindHypothetical reads such a call as counts of the rows that stand before the one that is thought of.
func (b *binder) bindHypothetical(name string, n *parse.FuncCall) (Expr, error) {
	switch {
	case n.Distinct || n.Star || len(n.OrderBy) > 0:
		return nil, faultAt(n, fault.InvalidStatement, "%s takes values and WITHIN GROUP (ORDER BY ..) alone", name)
	case len(n.Args) != len(n.WithinGroup):
		return nil, faultAt(n, fault.InvalidStatement, "%s is given %d value(s) for %d of WITHIN GROUP", name, len(n.Args), len(n.WithinGroup))
	}
	before := b.hypotheticalBefore(n, 0)
	one := &parse.IntegerLiteral{Pos: n.Pos, Value: 1}
	plus := func(x, y parse.Expr) parse.Expr { return &parse.Binary{Pos: n.Pos, Op: "+", Left: x, Right: y} }
	double := func(x parse.Expr) parse.Expr {
		return &parse.Cast{Pos: n.Pos, Expr: x, Type: parse.TypeName{Pos: n.Pos, Name: "float8"}}
	}
	switch name {
	case "rank":
		return b.bind(plus(hypotheticalCount(n, before), one))
	case "dense_rank":
		// Combinations of values count once, those with NULL too: what nobody can write, count(DISTINCT *) of some values.
		distinct := hypotheticalCount(n, before)
		distinct.Distinct = true
		for i := range n.WithinGroup {
			distinct.Args = append(distinct.Args, n.WithinGroup[i].Expr)
		}
		return b.bind(plus(distinct, one))
	case "percent_rank":
		all := &parse.FuncCall{Pos: n.Pos, Name: parse.ObjectName{Name: "greatest"}, Args: []parse.Expr{hypotheticalCount(n, nil), one}}
		return b.bind(&parse.Binary{Pos: n.Pos, Op: "/", Left: double(hypotheticalCount(n, before)), Right: double(all)})
	}
	same := []parse.Expr{}
	for i := range n.Args {
		same = append(same, &parse.IsDistinct{Pos: n.Pos, Not: true, Left: n.WithinGroup[i].Expr, Right: n.Args[i]})
	}
	upTo := &parse.Logical{Pos: n.Pos, Or: true, Operands: []parse.Expr{before, allOf(n.Pos, same)}}
	return b.bind(&parse.Binary{
		Pos: n.Pos, Op: "/", Left: double(plus(hypotheticalCount(n, upTo), one)), Right: double(plus(hypotheticalCount(n, nil), one)),
	})
}

// hypotheticalCount counts the rows of the call that meet a condition; nil is all of them.
func hypotheticalCount(n *parse.FuncCall, condition parse.Expr) *parse.FuncCall {
	parts := []parse.Expr{}
	for _, part := range []parse.Expr{n.Filter, condition} {
		if part != nil {
			parts = append(parts, part)
		}
	}
	count := &parse.FuncCall{Pos: n.Pos, Name: parse.ObjectName{Name: "count"}, Star: true}
	if len(parts) > 0 {
		count.Filter = allOf(n.Pos, parts)
	}
	return count
}

func allOf(at parse.Pos, parts []parse.Expr) parse.Expr {
	if len(parts) == 1 {
		return parts[0]
	}
	return &parse.Logical{Pos: at, Operands: parts}
}

// hypotheticalBefore is the condition that a row stands before the one that is thought of, by the values from one on.
func (b *binder) hypotheticalBefore(n *parse.FuncCall, from int) parse.Expr {
	item, thought := &n.WithinGroup[from], n.Args[from]
	order := NewOrder(nil, item.Descending, item.Nulls)
	op := parse.Operator("<")
	if item.Descending {
		op = ">"
	}
	early, late := thought, item.Expr // which of both is NULL, and which is not, when NULL makes the difference
	if order.NullsFirst {
		early, late = item.Expr, thought
	}
	byNull := allOf(n.Pos, []parse.Expr{
		&parse.Is{Pos: n.Pos, Kind: parse.IsNull, Expr: early}, &parse.Is{Pos: n.Pos, Kind: parse.IsNull, Not: true, Expr: late},
	})
	before := &parse.Logical{Pos: n.Pos, Or: true, Operands: []parse.Expr{
		&parse.Binary{Pos: n.Pos, Op: op, Left: item.Expr, Right: thought}, byNull,
	}}
	if from+1 < len(n.Args) {
		same := &parse.IsDistinct{Pos: n.Pos, Not: true, Left: item.Expr, Right: thought}
		before.Operands = append(before.Operands, allOf(n.Pos, []parse.Expr{same, b.hypotheticalBefore(n, from+1)}))
	}
	return before
}
