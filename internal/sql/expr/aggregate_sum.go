package expr

import (
	"math"

	"github.com/cockroachdb/apd/v3"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
)

// sumAggregate adds up numbers or intervals, and divides by their count for avg. Integers add in 64 bits
// and spill into an exact decimal.
type sumAggregate struct {
	average  bool
	result   datum.Type
	count    int64
	whole    int64
	spilled  apd.Decimal
	float    float64
	span     datum.Span
	infinite bool // an operand was infinite, so that the sum may be
	kind     datum.Kind
	context  *apd.Context
}

func newSum(call *AggregateCall) *sumAggregate {
	return &sumAggregate{
		average: call.Name == "avg", result: call.Result, kind: call.Args[0].Type().Kind, context: datum.ExactContext(),
	}
}

func (a *sumAggregate) Add(values []datum.Datum) error { return a.add(values[0]) }

func (a *sumAggregate) add(value datum.Datum) error {
	if value.IsNull() {
		return nil
	}
	a.count++
	switch k := value.Kind(); {
	case k.IsInteger():
		v := value.Int()
		sum := a.whole + v
		if (sum > a.whole) == (v > 0) {
			a.whole = sum
			return nil
		}
		if _, err := a.context.Add(&a.spilled, &a.spilled, apd.New(a.whole, 0)); err != nil {
			return numberFault(datum.Decimal)
		}
		a.whole = v
	case k == datum.Decimal:
		if _, err := a.context.Add(&a.spilled, &a.spilled, value.Decimal()); err != nil {
			return numberFault(datum.Decimal)
		}
	case k.IsFloat():
		a.infinite = a.infinite || math.IsInf(value.Float(), 0)
		a.float += value.Float()
	case k == datum.Interval:
		sum, err := addSpans(a.span, value.Interval(), false)
		if err != nil {
			return err
		}
		a.span = sum.Interval()
	default:
		return fault.New(fault.Internal, "sum of a %s", k)
	}
	return nil
}

func (a *sumAggregate) Result(*EvalContext) (datum.Datum, error) {
	if a.count == 0 {
		return datum.Datum{}, nil
	}
	switch {
	case a.kind == datum.Interval:
		return datum.NewInterval(a.span), nil
	case a.kind.IsFloat():
		sum := a.float
		if a.average {
			sum /= float64(a.count)
		}
		return floatResult(sum, a.result.Kind, false, a.infinite)
	}
	total := new(apd.Decimal)
	if _, err := a.context.Add(total, &a.spilled, apd.New(a.whole, 0)); err != nil {
		return datum.Datum{}, numberFault(datum.Decimal)
	}
	if a.average {
		return a.averageOf(total)
	}
	sum, err := decimalResult(total)
	if err != nil {
		return datum.Datum{}, err
	}
	return datum.Cast(sum, a.result)
}

// averageOf divides an exact total; the average has the scale that its type promises.
func (a *sumAggregate) averageOf(total *apd.Decimal) (datum.Datum, error) {
	if a.kind.IsInteger() {
		sum, err := total.Float64()
		if err != nil {
			return datum.Datum{}, numberFault(datum.Double)
		}
		return floatResult(sum/float64(a.count), datum.Double, false, false)
	}
	average, err := datum.DivideDecimals(total, apd.New(a.count, 0))
	if err != nil {
		return datum.Datum{}, err
	}
	return datum.Cast(datum.NewDecimal(average), a.result)
}
