package expr

import (
	"slices"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
)

// MaxAggregateBytes bounds what one aggregate of one group keeps (distinct values, values to be sorted);
// beyond it Add gives fault.LimitExceeded.
const MaxAggregateBytes = 64 << 20

// Aggregate computes one aggregate of one group.
type Aggregate interface {
	// Add takes the operands of one row: none for count(*), otherwise as many as AggregateCall.Args,
	// followed by those of OrderBy.
	Add(values []datum.Datum) error
	// Result is the value over what was added. After it Add may follow only where neither DISTINCT nor an order is part of the call.
	// A long one asks ctx whether the statement is still wanted.
	Result(ctx *EvalContext) (datum.Datum, error)
}

// NewAggregate starts an aggregate. The filter is the caller's; Accumulator applies it.
func NewAggregate(call *AggregateCall) Aggregate {
	a := plainAggregate(call)
	if call.Distinct {
		a = &distinctAggregate{inner: a, operands: len(call.Args), seen: map[string]struct{}{}}
	}
	if len(call.OrderBy) > 0 { // an ordered set has its order in Within
		a = &orderedAggregate{inner: a, call: call}
	}
	return a
}

func plainAggregate(call *AggregateCall) Aggregate {
	switch call.Name {
	case "count":
		return &countAggregate{star: call.Star}
	case "sum", "avg":
		return newSum(call)
	case "min", "max":
		return &extremeAggregate{greatest: call.Name == "max"}
	case "bool_and", "bool_or":
		return &boolAggregate{or: call.Name == "bool_or"}
	case "string_agg":
		return &stringAggregate{}
	case "bit_and", "bit_or", "bit_xor":
		return &bitAggregate{name: call.Name}
	case "any_value":
		return &anyAggregate{}
	case "json_agg", "jsonb_agg":
		return &jsonAggregate{}
	case "json_object_agg", "jsonb_object_agg":
		return &jsonAggregate{object: true}
	case "percentile_cont", "percentile_disc", "mode":
		return &orderedSet{call: call}
	case groupingName:
		return groupingBits{call.Bits}
	}
	if _, ok := isStatistic(call.Name); ok {
		return newStatistics(call.Name)
	}
	return &arrayAggregate{}
}

// Accumulator evaluates the operands of an aggregate over input rows.
type Accumulator struct {
	call      *AggregateCall
	aggregate Aggregate
	values    []datum.Datum
	// count or sum is the aggregate itself when nothing stands between it and the rows but at most one plain
	// column, at place; place is negative otherwise and for count(*).
	count *countAggregate
	sum   *sumAggregate
	place int
}

// NewAccumulator starts one aggregate of one group.
func NewAccumulator(call *AggregateCall) *Accumulator {
	a := &Accumulator{
		call: call, aggregate: NewAggregate(call), values: make([]datum.Datum, len(call.Args)+len(call.OrderBy)), place: -1,
	}
	if call.Filter != nil {
		return a
	}
	if len(call.Args) == 1 {
		if a.place, _ = columnPlace(call.Args[0]); a.place < 0 {
			return a
		}
	}
	switch aggregate := a.aggregate.(type) { // of DISTINCT and ORDER BY it is neither
	case *countAggregate:
		a.count = aggregate
	case *sumAggregate:
		a.sum = aggregate
	}
	return a
}

// columnPlace returns the position of a plain column, or -1.
func columnPlace(e Expr) (place int, ok bool) {
	if place, ok = ColumnPosition(e); !ok {
		place = -1
	}
	return place, ok
}

// AddRow takes one input row, unless the filter leaves it out.
func (a *Accumulator) AddRow(ctx *EvalContext, row []datum.Datum) error {
	if a.place < len(row) { // else evaluating reports it
		switch {
		case a.count != nil:
			if a.place < 0 || !row[a.place].IsNull() {
				a.count.n++
			}
			return nil
		case a.sum != nil:
			return a.sum.add(row[a.place])
		}
	}
	if a.call.Filter != nil {
		keep, err := Test(a.call.Filter, ctx, row)
		if err != nil || !keep {
			return err
		}
	}
	for i, operand := range a.call.Args {
		value, err := operand.Eval(ctx, row)
		if err != nil {
			return err
		}
		a.values[i] = value
	}
	for i, item := range a.call.OrderBy {
		value, err := item.Expr.Eval(ctx, row)
		if err != nil {
			return err
		}
		a.values[len(a.call.Args)+i] = value
	}
	return a.aggregate.Add(a.values)
}

// Result is the value over the rows that were added.
func (a *Accumulator) Result(ctx *EvalContext) (datum.Datum, error) { return a.aggregate.Result(ctx) }

type countAggregate struct {
	star bool
	n    int64
}

func (a *countAggregate) Add(values []datum.Datum) error {
	if a.star || !values[0].IsNull() {
		a.n++
	}
	return nil
}

func (a *countAggregate) Result(*EvalContext) (datum.Datum, error) { return datum.NewBigInt(a.n), nil }

type extremeAggregate struct {
	greatest bool
	best     datum.Datum
}

func (a *extremeAggregate) Add(values []datum.Datum) error {
	value := values[0]
	if value.IsNull() {
		return nil
	}
	if a.best.IsNull() || a.greatest && datum.Compare(value, a.best) > 0 || !a.greatest && datum.Compare(value, a.best) < 0 {
		a.best = value
	}
	return nil
}
func (a *extremeAggregate) Result(*EvalContext) (datum.Datum, error) { return a.best, nil }

type boolAggregate struct {
	or    bool
	value datum.Datum
}

func (a *boolAggregate) Add(values []datum.Datum) error {
	value := values[0]
	if !value.IsNull() && (a.value.IsNull() || value.Bool() == a.or) {
		a.value = value
	}
	return nil
}
func (a *boolAggregate) Result(*EvalContext) (datum.Datum, error) { return a.value, nil }

type stringAggregate struct {
	text  []byte
	found bool
}

func (a *stringAggregate) Add(values []datum.Datum) error {
	if values[0].IsNull() {
		return nil
	}
	if a.found && !values[1].IsNull() {
		a.text = append(a.text, values[1].Str()...)
	}
	a.found = true
	a.text = append(a.text, values[0].Str()...)
	return limitBytes(len(a.text))
}

func (a *stringAggregate) Result(*EvalContext) (datum.Datum, error) {
	if !a.found {
		return datum.Datum{}, nil
	}
	return datum.NewText(string(a.text)), nil
}

type arrayAggregate struct {
	values []datum.Datum
	bytes  int
}

func (a *arrayAggregate) Add(values []datum.Datum) error {
	a.values = append(a.values, values[0])
	a.bytes += valueBytes(values[0])
	if len(a.values) > maxArrayElements {
		return fault.New(fault.LimitExceeded, "array_agg exceeds the limit of %d elements", maxArrayElements)
	}
	return limitBytes(a.bytes)
}

func (a *arrayAggregate) Result(*EvalContext) (datum.Datum, error) {
	if a.values == nil {
		return datum.Datum{}, nil
	}
	return datum.NewArray(a.values), nil
}

// valueBytes estimates the memory of a value.
func valueBytes(d datum.Datum) int {
	const header = 48
	return header + len(d.Str()) + 4*len(d.Embedding())
}

// limitAggregate refuses to keep more than MaxAggregateBytes.
func limitAggregate(bytes int) error {
	if bytes > MaxAggregateBytes {
		return fault.New(fault.LimitExceeded, "an aggregate would keep more than %d MiB of values", MaxAggregateBytes>>20)
	}
	return nil
}

// distinctAggregate passes every combination of operands on once.
type distinctAggregate struct {
	inner    Aggregate
	operands int
	seen     map[string]struct{}
	key      []byte
	bytes    int
}

func (a *distinctAggregate) Add(values []datum.Datum) error {
	a.key = a.key[:0]
	for _, value := range values[:a.operands] {
		a.key = datum.AppendKey(a.key, value)
	}
	if _, known := a.seen[string(a.key)]; known {
		return nil
	}
	const entryOverhead = 48
	a.bytes += len(a.key) + entryOverhead
	if err := limitAggregate(a.bytes); err != nil {
		return err
	}
	a.seen[string(a.key)] = struct{}{}
	return a.inner.Add(values)
}

func (a *distinctAggregate) Result(ctx *EvalContext) (datum.Datum, error) { return a.inner.Result(ctx) }

// orderedAggregate keeps the rows and adds them in order at the end.
type orderedAggregate struct {
	inner Aggregate
	call  *AggregateCall
	rows  [][]datum.Datum
	bytes int
}

func (a *orderedAggregate) Add(values []datum.Datum) error {
	for _, value := range values {
		a.bytes += valueBytes(value)
	}
	if err := limitAggregate(a.bytes); err != nil {
		return err
	}
	a.rows = append(a.rows, slices.Clone(values))
	return nil
}

func (a *orderedAggregate) Result(ctx *EvalContext) (datum.Datum, error) {
	first := len(a.call.Args)
	err := sortStably(ctx, a.rows, func(x, y []datum.Datum) int {
		for i, item := range a.call.OrderBy {
			if c := item.Compare(x[first+i], y[first+i]); c != 0 {
				return c
			}
		}
		return 0
	})
	if err != nil {
		return datum.Datum{}, err
	}
	for _, row := range a.rows {
		if err := a.inner.Add(row); err != nil {
			return datum.Datum{}, err
		}
	}
	return a.inner.Result(ctx)
}
