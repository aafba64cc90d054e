package expr

import (
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
)

// IsAggregateName reports whether a lower-case name is that of an aggregate.
func IsAggregateName(name string) bool {
	switch name {
	case "count", "sum", "avg", "min", "max", "bool_and", "bool_or", "every", "string_agg", "array_agg":
		return true
	case "bit_and", "bit_or", "bit_xor", "any_value":
		return true
	}
	if _, ok := isStatistic(name); ok {
		return true
	}
	return isOrderedSet(name) || isJSONAggregate(name)
}

// bindAggregate registers a call in the Grouping and reads its result from the grouped row.
func (b *binder) bindAggregate(name string, n *parse.FuncCall) (Expr, error) {
	if name == "every" {
		name = "bool_and"
	}
	switch {
	case b.inAggregate:
		return nil, fault.New(fault.InvalidStatement, "aggregate calls cannot be nested")
	case b.options.Grouping == nil:
		return nil, fault.New(fault.InvalidStatement, "aggregate functions are not allowed %s", b.place())
	case len(n.WithinGroup) > 0 && !isOrderedSet(name):
		return nil, fault.New(fault.InvalidStatement, "%s is no ordered-set aggregate, so WITHIN GROUP does not follow it", name)
	case n.Star && name != "count":
		return nil, fault.New(fault.InvalidStatement, "%s(*) does not exist; only count(*) does", name)
	}
	b.inAggregate = true
	bind := b.aggregateCall
	if isOrderedSet(name) {
		bind = b.orderedSetCall
	}
	call, err := bind(name, n)
	b.inAggregate = false
	if err != nil {
		return nil, err
	}
	return b.options.Grouping.column(call), nil
}

// column is the column of the grouped row that holds the result of a call, which is computed once.
func (g *Grouping) column(call *AggregateCall) Expr {
	text := call.String()
	for i, known := range g.Calls {
		if known.String() == text {
			return NewColumn(len(g.Keys)+i, known.Result, text)
		}
	}
	g.Calls = append(g.Calls, call)
	return NewColumn(len(g.Keys)+len(g.Calls)-1, call.Result, text)
}

func (b *binder) aggregateCall(name string, n *parse.FuncCall) (*AggregateCall, error) {
	n = b.withRows(name, n)
	call := &AggregateCall{Name: name, Star: n.Star, Distinct: n.Distinct}
	wanted := 1
	switch {
	case n.Star:
		wanted = 0
		if n.Distinct {
			wanted = len(n.Args) // of dense_rank(..) WITHIN GROUP
		}
	case name == "string_agg", name == "json_object_agg", name == "jsonb_object_agg":
		wanted = 2
	}
	if pairs, _ := isStatistic(name); pairs {
		wanted = 2
	}
	if len(n.Args) != wanted {
		return nil, fault.New(fault.InvalidStatement, "function %s takes %d argument(s), got %d", name, wanted, len(n.Args))
	}
	for i, node := range n.Args {
		e, err := b.bind(node)
		if err != nil {
			return nil, err
		}
		if e, err = b.aggregateOperand(name, i, e, node); err != nil {
			return nil, err
		}
		call.Args = append(call.Args, e)
	}
	for _, item := range n.OrderBy {
		e, err := b.bind(item.Expr)
		if err != nil {
			return nil, err
		}
		if e, err = b.finish(e); err != nil {
			return nil, err
		}
		call.OrderBy = append(call.OrderBy, NewOrder(e, item.Descending, item.Nulls))
	}
	if err := b.aggregateFilter(call, n.Filter); err != nil {
		return nil, err
	}
	result, err := aggregateType(name, call.Args)
	if err != nil {
		return nil, err
	}
	call.Result = result
	return call, nil
}

// aggregateFilter binds FILTER, which may be nil.
func (b *binder) aggregateFilter(call *AggregateCall, node parse.Expr) error {
	if node == nil {
		return nil
	}
	clause := b.options.Clause
	b.options.Clause = "FILTER"
	e, err := b.bindBoolean(node)
	b.options.Clause = clause
	if err != nil {
		return err
	}
	call.Filter, err = b.finish(e)
	return err
}

// NewOrder makes an item of an ordering; without a stated place NULLs are last ascending and first
// descending.
func NewOrder(e Expr, descending bool, nulls parse.NullsOrder) Order {
	nullsFirst := descending
	if nulls != parse.NullsDefault {
		nullsFirst = nulls == parse.NullsFirst
	}
	return Order{Expr: e, Descending: descending, NullsFirst: nullsFirst}
}

func (b *binder) aggregateOperand(name string, index int, e Expr, node parse.Expr) (Expr, error) {
	var err error
	_, statistic := isStatistic(name)
	switch {
	case statistic:
		e, err = b.operand(e, doubleOperand, name, index, node)
	case name == "bool_and", name == "bool_or":
		e, err = b.operand(e, booleanOperand, name, index, node)
	case name == "string_agg":
		if e.Type().Kind == datum.Bytes {
			return nil, faultAt(node, fault.InvalidStatement, "argument %d of string_agg must not be %s", index+1, e.Type())
		}
		e, err = b.convert(e, datum.Of(datum.Text), node)
	case isUntyped(e) && (name == "sum" || name == "avg"):
		t := b.fallbackType(e)
		if !t.Kind.IsNumeric() {
			t = datum.Of(datum.Double)
		}
		e, err = b.convert(e, t, node)
	case isUntyped(e) && !isNull(e):
		e, err = b.convert(e, b.fallbackType(e), node)
	}
	if err != nil {
		return nil, err
	}
	return b.finish(e)
}

// averageDigits is by how many digits behind the point the average of a declared decimal is finer.
const averageDigits = 4

// aggregateType is the result type that clients of the SQL route decode by: a sum of integers is a BIGINT,
// which fails when it overflows, and an average of integers is a DOUBLE; those of decimals are exact.
func aggregateType(name string, args []Expr) (datum.Type, error) {
	if name == "count" {
		return datum.Of(datum.BigInt), nil
	}
	t := args[0].Type()
	unfit := fault.New(fault.InvalidStatement, "function %s does not apply to %s", name, t)
	switch name {
	case "sum":
		switch {
		case t.Kind.IsInteger():
			return datum.Of(datum.BigInt), nil
		case t.Kind == datum.Decimal && t.Precision > 0:
			return datum.Type{Kind: datum.Decimal, Precision: datum.MaxPrecision, Scale: t.Scale}, nil
		case t.Kind.IsFloat(), t.Kind == datum.Interval, t.Kind == datum.Decimal:
			return t, nil
		}
		return datum.Type{}, unfit
	case "avg":
		switch {
		case t.Kind == datum.Decimal && t.Precision > 0:
			scale := min(t.Scale+averageDigits, datum.MaxPrecision)
			return datum.Type{Kind: datum.Decimal, Precision: datum.MaxPrecision, Scale: scale}, nil
		case t.Kind == datum.Decimal:
			return t, nil
		case t.Kind.IsInteger(), t.Kind.IsFloat():
			return datum.Of(datum.Double), nil
		}
		return datum.Type{}, unfit
	case "min", "max":
		if t.Kind == datum.Boolean || t.Kind == datum.Embedding {
			return datum.Type{}, unfit
		}
		return t, nil
	case "bool_and", "bool_or":
		return booleanType, nil
	case "bit_and", "bit_or", "bit_xor":
		if !t.Kind.IsInteger() {
			return datum.Type{}, unfit
		}
		return t, nil
	case "any_value":
		return t, nil
	case "regr_count":
		return datum.Of(datum.BigInt), nil
	case "json_agg", "jsonb_agg", "json_object_agg", "jsonb_object_agg":
		return datum.Of(datum.JSON), nil
	case "array_agg":
		if t.Kind == datum.Array {
			return datum.Type{}, fault.New(fault.Unsupported, "%s", ArrayOfArrays)
		}
		return datum.Type{Kind: datum.Array, Elem: t.Kind}, nil
	}
	if _, ok := isStatistic(name); ok {
		return datum.Of(datum.Double), nil
	}
	return datum.Of(datum.Text), nil // string_agg
}
