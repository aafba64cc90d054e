package expr

import (
	"math"
	"slices"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
)

// isOrderedSet reports whether a name is that of an aggregate with WITHIN GROUP.
func isOrderedSet(name string) bool {
	return name == "percentile_cont" || name == "percentile_disc" || name == "mode"
}

// orderedSetCall binds an aggregate over values in an order: name(fraction) WITHIN GROUP (ORDER BY value).
func (b *binder) orderedSetCall(name string, n *parse.FuncCall) (*AggregateCall, error) {
	direct := 1
	if name == "mode" {
		direct = 0
	}
	switch {
	case len(n.WithinGroup) != 1 || n.Distinct || len(n.OrderBy) > 0 || n.Star:
		return nil, fault.New(fault.InvalidStatement, "%s needs WITHIN GROUP (ORDER BY value), with one value", name)
	case len(n.Args) != direct:
		return nil, fault.New(fault.InvalidStatement, "function %s takes %d argument(s), got %d", name, direct, len(n.Args))
	}
	item := n.WithinGroup[0]
	value, err := b.bind(item.Expr)
	if err != nil {
		return nil, err
	}
	call := &AggregateCall{Name: name}
	if value, err = b.orderedValue(name, value, item.Expr); err != nil {
		return nil, err
	}
	order := NewOrder(value, item.Descending, item.Nulls)
	call.Args, call.Within, call.Result = []Expr{value}, &order, value.Type()
	if direct > 0 {
		if err = b.fraction(call, n.Args[0]); err != nil {
			return nil, err
		}
	}
	return call, b.aggregateFilter(call, n.Filter)
}

// orderedValue types the value that is ordered. What lies between two values is a DOUBLE or an interval.
func (b *binder) orderedValue(name string, value Expr, node parse.Expr) (Expr, error) {
	t := value.Type()
	untyped := isUntyped(value) && !isNull(value)
	if untyped {
		t = b.fallbackType(value)
	}
	switch {
	case name == "percentile_cont" && (t.Kind.IsNumeric() || untyped || isNull(value)):
		t = datum.Of(datum.Double)
	case name == "percentile_cont" && t.Kind != datum.Interval, t.Kind == datum.Embedding:
		return nil, faultAt(node, fault.InvalidStatement, "function %s does not apply to %s", name, t)
	}
	value, err := b.convert(value, t, node)
	if err != nil {
		return nil, err
	}
	return b.finish(value)
}

// fraction binds the fraction, or the array of fractions, that a percentile is asked for.
func (b *binder) fraction(call *AggregateCall, node parse.Expr) error {
	e, err := b.bind(node)
	if err != nil {
		return err
	}
	t := datum.Of(datum.Double)
	if e.Type().Kind == datum.Array {
		t = datum.Type{Kind: datum.Array, Elem: datum.Double}
		if call.Result.Kind == datum.Array {
			return faultAt(node, fault.Unsupported, "%s of arrays for an array of fractions is not supported", call.Name)
		}
		call.Result = datum.Type{Kind: datum.Array, Elem: call.Result.Kind}
	}
	if e, err = b.convert(e, t, node); err != nil {
		return err
	}
	if call.Direct, err = b.finish(e); err != nil {
		return err
	}
	if len(Columns(call.Direct, nil)) > 0 {
		return faultAt(node, fault.Unsupported, "the fraction of %s must not read columns", call.Name)
	}
	return nil
}

// orderedSet keeps the values that are not NULL and orders them at the end.
type orderedSet struct {
	call   *AggregateCall
	values []datum.Datum
	bytes  int
}

func (a *orderedSet) Add(values []datum.Datum) error {
	if values[0].IsNull() {
		return nil
	}
	a.bytes += valueBytes(values[0])
	if err := limitAggregate(a.bytes); err != nil {
		return err
	}
	a.values = append(a.values, values[0])
	return nil
}

func (a *orderedSet) Result(ctx *EvalContext) (datum.Datum, error) {
	var fractions datum.Datum
	if a.call.Direct != nil {
		var err error
		if fractions, err = a.call.Direct.Eval(ctx, nil); err != nil {
			return datum.Datum{}, err
		}
		if err = checkFractions(a.call.Name, fractions); err != nil {
			return datum.Datum{}, err
		}
	}
	if len(a.values) == 0 {
		return datum.Datum{}, nil
	}
	if err := sortStably(ctx, a.values, a.call.Within.Compare); err != nil {
		return datum.Datum{}, err
	}
	switch {
	case a.call.Direct == nil:
		return a.mode(), nil
	case fractions.Kind() != datum.Array:
		return a.percentile(fractions)
	}
	list := make([]datum.Datum, len(fractions.Array()))
	for i, fraction := range fractions.Array() {
		var err error
		if list[i], err = a.percentile(fraction); err != nil {
			return datum.Datum{}, err
		}
	}
	return datum.NewArray(list), nil
}

// checkFractions refuses what is not between 0 and 1; NULL asks for nothing.
func checkFractions(name string, fractions datum.Datum) error {
	list := []datum.Datum{fractions}
	if fractions.Kind() == datum.Array {
		list = fractions.Array()
	}
	for _, fraction := range list {
		if f := fraction; !f.IsNull() && (f.Float() < 0 || f.Float() > 1 || math.IsNaN(f.Float())) {
			return fault.New(fault.OutOfRange, "the fraction %s of %s is not between 0 and 1", f, name)
		}
	}
	return nil
}

// mode is the value that is there most often, the first of them in the order.
func (a *orderedSet) mode() datum.Datum {
	best, most := 0, 0
	for low := 0; low < len(a.values); {
		high := low + 1
		for high < len(a.values) && datum.Compare(a.values[low], a.values[high]) == 0 {
			high++
		}
		if high-low > most {
			best, most = low, high-low
		}
		low = high
	}
	return a.values[best]
}

// percentile is the value at a fraction of the way from the first one to the last.
func (a *orderedSet) percentile(fraction datum.Datum) (datum.Datum, error) {
	if fraction.IsNull() {
		return datum.Datum{}, nil
	}
	count := len(a.values)
	if a.call.Name == "percentile_disc" {
		at := int(math.Ceil(fraction.Float()*float64(count))) - 1
		return a.values[min(max(at, 0), count-1)], nil
	}
	place := fraction.Float() * float64(count-1)
	low, high := a.values[int(math.Floor(place))], a.values[min(int(math.Ceil(place)), count-1)]
	share := place - math.Floor(place)
	if share == 0 {
		return low, nil
	}
	if low.Kind() != datum.Interval {
		return datum.NewDouble(low.Float() + share*(high.Float()-low.Float())), nil
	}
	between, err := addSpans(high.Interval(), low.Interval(), true)
	if err == nil {
		between, err = scaleSpan(between, datum.NewDouble(share))
	}
	if err != nil {
		return datum.Datum{}, err
	}
	return addSpans(low.Interval(), between.Interval(), false)
}

// pacedComparisons is the number of comparisons after which a sort asks whether its statement is still wanted.
const pacedComparisons = 4096

// sortStably sorts, and ends soon after the statement has: from then on everything compares as equal, which the sort ends with
// quickly.
func sortStably[T any](ctx *EvalContext, rows []T, compare func(a, b T) int) error {
	compared := 0
	var ended error
	slices.SortStableFunc(rows, func(a, b T) int {
		if compared++; compared%pacedComparisons == 0 && ended == nil {
			ended = ctx.stopped()
		}
		if ended != nil {
			return 0
		}
		return compare(a, b)
	})
	return ended
}
