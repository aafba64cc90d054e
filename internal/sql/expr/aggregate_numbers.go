package expr

import (
	"math"

	"github.com/kalamdb/kalamdb-go/internal/datum"
)

// addNumbers adds values that are kept as numbers. It is not done when the aggregate takes them one by one only.
func (a *Accumulator) addNumbers(kind datum.Kind, nums []int64, nulls []bool) (done bool, err error) {
	switch aggregate := a.aggregate.(type) {
	case *countAggregate:
		aggregate.n += int64(len(nums))
		for _, null := range nulls {
			if null {
				aggregate.n--
			}
		}
		return true, nil
	case *sumAggregate:
		switch {
		case kind.IsInteger():
			return true, aggregate.addIntegers(kind, nums, nulls)
		case kind.IsFloat():
			aggregate.addFloats(nums, nulls)
			return true, nil
		}
	case *extremeAggregate:
		switch {
		case kind.IsFloat():
			aggregate.addFloats(kind, nums, nulls)
			return true, nil
		case kind != datum.Boolean:
			aggregate.addIntegers(kind, nums, nulls)
			return true, nil
		}
	}
	return false, nil
}

// addIntegers adds integers up in one register as long as they fit. NULLs are zero and do not count.
func (a *sumAggregate) addIntegers(kind datum.Kind, nums []int64, nulls []bool) error {
	for _, v := range nums {
		if sum := a.whole + v; (sum > a.whole) == (v > 0) {
			a.whole = sum
			a.count++
			continue
		}
		if err := a.add(datum.NewInt(kind, v)); err != nil {
			return err
		}
	}
	a.discount(nulls)
	return nil
}

// discount takes NULLs off the count.
func (a *sumAggregate) discount(nulls []bool) {
	for _, null := range nulls {
		if null {
			a.count--
		}
	}
}

// addFloats adds in the order of the rows, which decides how sums are rounded.
func (a *sumAggregate) addFloats(nums []int64, nulls []bool) {
	for i, bits := range nums {
		if nulls != nil && nulls[i] {
			continue // adding zero would turn a sum of negative zeros
		}
		v := math.Float64frombits(uint64(bits)) //nolint:gosec // the bits are kept
		a.infinite = a.infinite || math.IsInf(v, 0)
		a.float += v
		a.count++
	}
}

// addIntegers finds the extreme of integers or times.
func (a *extremeAggregate) addIntegers(kind datum.Kind, nums []int64, nulls []bool) {
	found, best := !a.best.IsNull(), a.best.Int()
	for i, v := range nums {
		if found && (a.greatest && v <= best || !a.greatest && v >= best) || nulls != nil && nulls[i] {
			continue
		}
		found, best = true, v
	}
	if found {
		a.best = datum.NewInt(kind, best)
	}
}

// addFloats finds the extreme of numbers with fractions.
func (a *extremeAggregate) addFloats(kind datum.Kind, nums []int64, nulls []bool) {
	best := math.NaN()
	if !a.best.IsNull() {
		best = a.best.Float()
	}
	for i, bits := range nums {
		v := math.Float64frombits(uint64(bits)) //nolint:gosec // the bits are kept
		// False when one of them is no number, which is then compared as all values are.
		if a.greatest && v <= best || !a.greatest && v >= best || nulls != nil && nulls[i] {
			continue
		}
		value := datum.NewDouble(v)
		if kind == datum.Float {
			value = datum.NewFloat(v)
		}
		if !a.best.IsNull() {
			if c := datum.Compare(value, a.best); a.greatest && c <= 0 || !a.greatest && c >= 0 {
				continue
			}
		}
		a.best, best = value, v
	}
}
