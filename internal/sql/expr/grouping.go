package expr

import (
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
)

// groupingName is the function that tells which keys a row is not grouped by.
const groupingName = "grouping"

// maxGroupingKeys is the number of bits of its result.
const maxGroupingKeys = 31

// bindGrouping types GROUPING(key, ..): a bit for each key, the last one the lowest, which is one where the rows of the group have
// the key in common by chance only, because it is not in their grouping set.
func (b *binder) bindGrouping(n *parse.FuncCall) (Expr, error) {
	grouping := b.options.Grouping
	switch {
	case n.Distinct || n.Star || n.Filter != nil || len(n.OrderBy) > 0 || len(n.WithinGroup) > 0 || len(n.Args) == 0:
		return nil, fault.New(fault.InvalidStatement, "GROUPING takes expressions of GROUP BY and nothing else")
	case len(n.Args) > maxGroupingKeys:
		return nil, fault.New(fault.LimitExceeded, "GROUPING takes at most %d expressions, got %d", maxGroupingKeys, len(n.Args))
	case b.inAggregate || grouping == nil:
		return nil, fault.New(fault.InvalidStatement, "GROUPING is not allowed %s of a query without GROUP BY, or in an aggregate", b.place())
	}
	call := &AggregateCall{Name: groupingName, Result: datum.Of(datum.Int)}
	for _, node := range n.Args {
		key, err := b.keyOf(node)
		if err != nil {
			return nil, err
		}
		call.Keys = append(call.Keys, key)
	}
	if grouping.Sets == nil {
		return NewConst(datum.NewInt(datum.Int, 0), call.Result), nil
	}
	return grouping.column(call), nil
}

// keyOf finds the key of GROUP BY that an expression is.
func (b *binder) keyOf(node parse.Expr) (int, error) {
	grouping := b.options.Grouping
	b.options.Grouping = nil
	e, err := b.bindRoot(node)
	b.options.Grouping = grouping
	if err != nil {
		return 0, err
	}
	text := e.String()
	for i, key := range grouping.Keys {
		if key.String() == text {
			return i, nil
		}
	}
	return 0, faultAt(node, fault.InvalidStatement, "%s is no expression of GROUP BY, which GROUPING asks for", parse.Print(node))
}

// InSet returns the call as it is computed in the groups of one grouping set.
func (c *AggregateCall) InSet(set []int) *AggregateCall {
	if c.Name != groupingName {
		return c
	}
	in := map[int]bool{}
	for _, key := range set {
		in[key] = true
	}
	bits := int64(0)
	for _, key := range c.Keys {
		bits <<= 1
		if !in[key] {
			bits |= 1
		}
	}
	filled := *c
	filled.Bits = datum.NewInt(datum.Int, bits)
	return &filled
}

// groupingBits is the aggregate that GROUPING is: rows do not change it.
type groupingBits struct{ value datum.Datum }

func (groupingBits) Add([]datum.Datum) error                    { return nil }
func (g groupingBits) Result(*EvalContext) (datum.Datum, error) { return g.value, nil }
