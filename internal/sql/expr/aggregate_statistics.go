package expr

import (
	"math"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
)

// isStatistic reports whether a name is that of an aggregate of statistics over numbers; pairs says that it takes two.
func isStatistic(name string) (pairs, ok bool) {
	switch name {
	case "stddev", "stddev_samp", "stddev_pop", "variance", "var_samp", "var_pop":
		return false, true
	case "corr", "covar_pop", "covar_samp", "regr_slope", "regr_intercept", "regr_r2", "regr_avgx", "regr_avgy", "regr_sxx", "regr_syy",
		"regr_sxy", "regr_count":
		return true, true
	}
	return false, false
}

// statistics keeps the moments of numbers, or of pairs of them, of which the second is the independent one. They are those of Welford,
// in binary64: close values far from zero lose no digits.
type statistics struct {
	name                string
	pairs               bool
	n                   float64
	meanX, meanY        float64
	sumXX, sumYY, sumXY float64 // of products of what lies between a number and the mean
}

func newStatistics(name string) *statistics {
	pairs, _ := isStatistic(name)
	return &statistics{name: name, pairs: pairs}
}

func (a *statistics) Add(values []datum.Datum) error {
	if values[0].IsNull() || a.pairs && values[1].IsNull() {
		return nil
	}
	x := values[0].Float()
	y := x
	if a.pairs {
		x = values[1].Float()
	}
	a.n++
	dx, dy := x-a.meanX, y-a.meanY
	a.meanX += dx / a.n
	a.meanY += dy / a.n
	a.sumXX += dx * (x - a.meanX)
	a.sumYY += dy * (y - a.meanY)
	a.sumXY += dx * (y - a.meanY)
	return nil
}

func (a *statistics) Result(*EvalContext) (datum.Datum, error) {
	if a.name == "regr_count" {
		return datum.NewBigInt(int64(a.n)), nil
	}
	value, ok := a.value()
	if a.n == 0 || !ok {
		return datum.Datum{}, nil
	}
	if math.IsInf(value, 0) && !math.IsInf(a.sumXX, 0) && !math.IsInf(a.sumYY, 0) {
		return datum.Datum{}, fault.New(fault.OutOfRange, "the result of %s is out of range", a.name)
	}
	return datum.NewDouble(value), nil
}

// value is what the aggregate asks for; it reports false where too few numbers, or equal ones, say nothing.
func (a *statistics) value() (value float64, ok bool) {
	switch a.name {
	case "var_pop":
		return a.sumXX / a.n, true
	case "stddev_pop":
		return math.Sqrt(a.sumXX / a.n), true
	case "variance", "var_samp":
		return a.sumXX / (a.n - 1), a.n > 1
	case "stddev", "stddev_samp":
		return math.Sqrt(a.sumXX / (a.n - 1)), a.n > 1
	case "covar_pop":
		return a.sumXY / a.n, true
	case "covar_samp":
		return a.sumXY / (a.n - 1), a.n > 1
	case "corr":
		return a.sumXY / math.Sqrt(a.sumXX*a.sumYY), a.sumXX != 0 && a.sumYY != 0
	case "regr_avgx":
		return a.meanX, true
	case "regr_avgy":
		return a.meanY, true
	case "regr_sxx":
		return a.sumXX, true
	case "regr_syy":
		return a.sumYY, true
	case "regr_sxy":
		return a.sumXY, true
	case "regr_slope":
		return a.sumXY / a.sumXX, a.sumXX != 0
	case "regr_intercept":
		return a.meanY - a.meanX*a.sumXY/a.sumXX, a.sumXX != 0
	case "regr_r2":
		if a.sumYY == 0 {
			return 1, a.sumXX != 0
		}
		return a.sumXY * a.sumXY / (a.sumXX * a.sumYY), a.sumXX != 0
	}
	return 0, false
}

// bitAggregate joins whole numbers bit by bit.
type bitAggregate struct {
	name  string
	value datum.Datum
}

func (a *bitAggregate) Add(values []datum.Datum) error {
	value := values[0]
	switch {
	case value.IsNull():
		return nil
	case a.value.IsNull():
		a.value = value
		return nil
	}
	x, y := a.value.Int(), value.Int()
	switch a.name {
	case "bit_and":
		x &= y
	case "bit_or":
		x |= y
	default:
		x ^= y
	}
	a.value = datum.NewInt(value.Kind(), x)
	return nil
}

func (a *bitAggregate) Result(*EvalContext) (datum.Datum, error) { return a.value, nil }

// anyAggregate gives the first value that is not NULL.
type anyAggregate struct{ value datum.Datum }

func (a *anyAggregate) Add(values []datum.Datum) error {
	if a.value.IsNull() {
		a.value = values[0]
	}
	return nil
}

func (a *anyAggregate) Result(*EvalContext) (datum.Datum, error) { return a.value, nil }
