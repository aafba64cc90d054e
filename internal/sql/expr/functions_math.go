package expr

import (
	"math"
	"strconv"

	"github.com/cockroachdb/apd/v3"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
)

// mathFunction holds the functions on numbers.
func mathFunction(name string) (definition, bool) {
	one := []operandClass{numberOperand}
	sameType := func(operands []Expr) datum.Type { return datum.Of(operands[0].Type().Kind) }
	switch name {
	case "abs":
		return definition{operands: one, resultOf: sameType, apply: func(_ *EvalContext, a arguments) (datum.Datum, error) {
			return absolute(a[0])
		}}, true
	case "ceil", "ceiling", "floor":
		return definition{operands: one, resultOf: wholeType, apply: func(_ *EvalContext, a arguments) (datum.Datum, error) {
			return rounded(name, a[0], 0)
		}}, true
	case "round", "trunc":
		return definition{
			operands: []operandClass{numberOperand, integerOperand}, optional: 1, resultOf: roundType,
			apply: func(_ *EvalContext, a arguments) (datum.Datum, error) {
				if len(a) == 1 {
					return rounded(name, a[0], 0)
				}
				exact, err := datum.Cast(a[0], datum.Of(datum.Decimal))
				if err != nil {
					return datum.Datum{}, err
				}
				places := max(min(a[1].Int(), datum.MaxDecimalDigits), -datum.MaxDecimalDigits)
				return rounded(name, exact, int32(places))
			},
		}, true
	case "sign":
		return definition{operands: one, resultOf: wholeType, apply: func(_ *EvalContext, a arguments) (datum.Datum, error) {
			return signOf(a[0])
		}}, true
	case "mod":
		return definition{
			operands: []operandClass{numberOperand, numberOperand}, resultOf: promotedType,
			apply: func(_ *EvalContext, a arguments) (datum.Datum, error) { return remainder(a) },
		}, true
	case "sqrt", "exp", "ln", "cbrt", "degrees", "radians", "sin", "cos", "tan", "asin", "acos", "atan", "log10", "log2":
		return doubleFunction(name), true
	case "power", "pow":
		return definition{operands: []operandClass{numberOperand, numberOperand}, resultOf: powerType, apply: power}, true
	case "log":
		return definition{
			operands: []operandClass{doubleOperand, doubleOperand}, optional: 1, result: datum.Of(datum.Double),
			apply: func(_ *EvalContext, a arguments) (datum.Datum, error) { return logarithm(a) },
		}, true
	case "atan2":
		return definition{
			operands: []operandClass{doubleOperand, doubleOperand}, result: datum.Of(datum.Double),
			apply: func(_ *EvalContext, a arguments) (datum.Datum, error) {
				return datum.NewDouble(math.Atan2(a[0].Float(), a[1].Float())), nil
			},
		}, true
	case "pi":
		return definition{result: datum.Of(datum.Double), apply: func(*EvalContext, arguments) (datum.Datum, error) {
			return datum.NewDouble(math.Pi), nil
		}}, true
	case "to_hex":
		return definition{operands: []operandClass{numberOperand}, result: datum.Of(datum.Text), check: onlyWhole, apply: hexText}, true
	case "greatest", "least":
		return definition{
			operands: []operandClass{anyOperand}, variadic: true, takesNull: true, common: true,
			apply: func(_ *EvalContext, a arguments) (datum.Datum, error) { return extreme(name == "greatest", a), nil },
		}, true
	}
	return definition{}, false
}

// wholeType is Decimal for a Decimal and Double for every other number, as PostgreSQL declares ceil and
// its kin; integers stay what they are, which loses nothing.
func wholeType(operands []Expr) datum.Type {
	k := operands[0].Type().Kind
	if k == datum.Float || k == datum.Null {
		return datum.Of(datum.Double)
	}
	return datum.Of(k)
}

func roundType(operands []Expr) datum.Type {
	if len(operands) == 2 {
		return datum.Of(datum.Decimal)
	}
	return wholeType(operands)
}

func promotedType(operands []Expr) datum.Type {
	return datum.Of(promote(operands[0].Type().Kind, operands[1].Type().Kind))
}

func powerType(operands []Expr) datum.Type {
	if promotedType(operands).Kind == datum.Decimal {
		return datum.Of(datum.Decimal)
	}
	return datum.Of(datum.Double)
}

func remainder(a arguments) (datum.Datum, error) {
	k := promote(a[0].Kind(), a[1].Kind())
	left, err := datum.Cast(a[0], datum.Of(k))
	if err != nil {
		return datum.Datum{}, err
	}
	right, err := datum.Cast(a[1], datum.Of(k))
	if err != nil {
		return datum.Datum{}, err
	}
	return arithmetic("%", k)(left, right)
}

func absolute(d datum.Datum) (datum.Datum, error) {
	switch k := d.Kind(); {
	case k.IsInteger():
		if d.Int() >= 0 {
			return d, nil
		}
		v, err := integerOperation("-", 0, d.Int(), k)
		return datum.NewInt(k, v), err
	case k == datum.Decimal:
		return datum.NewDecimal(new(apd.Decimal).Abs(d.Decimal())), nil
	case k == datum.Float:
		return datum.NewFloat(math.Abs(d.Float())), nil
	}
	return datum.NewDouble(math.Abs(d.Float())), nil
}

// rounded applies ceil, floor, round or trunc. Decimals keep the given number of places (negative ones
// round before the point); floats round half to even, decimals half away from zero.
func rounded(name string, d datum.Datum, places int32) (datum.Datum, error) {
	switch k := d.Kind(); {
	case k.IsInteger():
		return d, nil
	case k == datum.Decimal:
		return roundDecimal(name, d.Decimal(), places)
	}
	f := d.Float()
	switch name {
	case "ceil", "ceiling":
		f = math.Ceil(f)
	case "floor":
		f = math.Floor(f)
	case "trunc":
		f = math.Trunc(f)
	default:
		f = math.RoundToEven(f)
	}
	return datum.NewDouble(f), nil
}

// roundDecimal rounds to places behind the point; ceil and floor, which have none, go on from trunc by what is left over.
func roundDecimal(name string, d *apd.Decimal, places int32) (datum.Datum, error) {
	context := datum.ExactContext()
	context.Rounding = apd.RoundDown
	if name == "round" {
		context.Rounding = apd.RoundHalfUp
	}
	v := apd.New(0, min(-places, 0))
	if int64(-places) <= d.NumDigits()+int64(d.Exponent) { // otherwise nothing is left of the number
		if _, err := context.Quantize(v, d, -places); err != nil {
			return datum.Datum{}, numberFault(datum.Decimal)
		}
	}
	step := int64(0)
	switch left := d.Cmp(v); {
	case left > 0 && (name == "ceil" || name == "ceiling"):
		step = 1
	case left < 0 && name == "floor":
		step = -1
	}
	if step != 0 {
		if _, err := context.Add(v, v, apd.New(step, 0)); err != nil {
			return datum.Datum{}, numberFault(datum.Decimal)
		}
	}
	if v.IsZero() { // without the sign of a number that was below it
		v.Negative = false
	}
	return decimalResult(v)
}

func signOf(d datum.Datum) (datum.Datum, error) {
	switch k := d.Kind(); {
	case k.IsInteger():
		return datum.NewInt(k, int64(compareToZero(d))), nil
	case k == datum.Decimal:
		return datum.NewDecimal(apd.New(int64(d.Decimal().Sign()), 0)), nil
	case math.IsNaN(d.Float()):
		return datum.NewDouble(math.NaN()), nil
	}
	return datum.NewDouble(float64(compareToZero(d))), nil
}

func compareToZero(d datum.Datum) int { return datum.Compare(d, datum.NewBigInt(0)) }

func doubleFunction(name string) definition {
	return definition{
		operands: []operandClass{doubleOperand}, result: datum.Of(datum.Double),
		apply: func(_ *EvalContext, a arguments) (datum.Datum, error) {
			x := a[0].Float()
			v, ok := computeDouble(name, x)
			if !ok || math.IsNaN(v) && !math.IsNaN(x) {
				return datum.Datum{}, fault.New(fault.OutOfRange, "%s of %s is not defined", name, a[0])
			}
			return floatResult(v, datum.Double, false, math.IsInf(x, 0))
		},
	}
}

// computeDouble reports false where the function has a pole or no real value.
func computeDouble(name string, x float64) (float64, bool) {
	switch name {
	case "sqrt":
		return math.Sqrt(x), !(x < 0)
	case "cbrt":
		return math.Cbrt(x), true
	case "exp":
		return math.Exp(x), true
	case "ln":
		return math.Log(x), !(x <= 0)
	case "log10":
		return decimalLogarithm(x), !(x <= 0)
	case "log2":
		return math.Log2(x), !(x <= 0)
	case "degrees":
		return x * 180 / math.Pi, true
	case "radians":
		return x * math.Pi / 180, true
	case "sin":
		return math.Sin(x), true
	case "cos":
		return math.Cos(x), true
	case "tan":
		return math.Tan(x), true
	case "asin":
		return math.Asin(x), true
	case "acos":
		return math.Acos(x), true
	case "atan":
		return math.Atan(x), true
	}
	return 0, false
}

// decimalLogarithm is a whole number for each power of ten that is one in binary64.
func decimalLogarithm(x float64) float64 {
	v := math.Log10(x)
	if whole := math.Round(v); math.Abs(whole) <= 400 && math.Pow10(int(whole)) == x {
		return whole
	}
	return v
}

// logarithm is log(x) to base 10, or log(base, x).
func logarithm(a arguments) (datum.Datum, error) {
	for _, operand := range a {
		if operand.Float() <= 0 {
			return datum.Datum{}, fault.New(fault.OutOfRange, "log of %s is not defined", operand)
		}
	}
	if len(a) == 1 {
		return datum.NewDouble(decimalLogarithm(a[0].Float())), nil
	}
	if a[0].Float() == 1 {
		return datum.Datum{}, divisionByZero()
	}
	return floatResult(math.Log(a[1].Float())/math.Log(a[0].Float()), datum.Double, false, false)
}

// power computes whole powers of decimals exactly and everything else in binary64.
func power(_ *EvalContext, a arguments) (datum.Datum, error) {
	k := promote(a[0].Kind(), a[1].Kind())
	base, err := datum.Cast(a[0], datum.Of(datum.Double))
	if err != nil {
		return datum.Datum{}, err
	}
	exponent, err := datum.Cast(a[1], datum.Of(datum.Double))
	if err != nil {
		return datum.Datum{}, err
	}
	x, y := base.Float(), exponent.Float()
	switch {
	case x == 0 && y < 0:
		return datum.Datum{}, fault.New(fault.OutOfRange, "zero raised to a negative power is not defined")
	case x < 0 && y != math.Trunc(y):
		return datum.Datum{}, fault.New(fault.OutOfRange, "a negative number raised to a fraction is not a real number")
	}
	if k == datum.Decimal {
		return decimalPower(a, x, y)
	}
	v := math.Pow(x, y)
	return floatResult(v, datum.Double, v == 0 && x != 0 && !math.IsInf(y, 0), math.IsInf(x, 0) || math.IsInf(y, 0))
}

func decimalPower(a arguments, x, y float64) (datum.Datum, error) {
	const digits = 60
	if x != 0 && math.Abs(y*math.Log10(math.Abs(x))) > datum.MaxDecimalDigits {
		return datum.Datum{}, numberFault(datum.Decimal)
	}
	base, err := datum.Cast(a[0], datum.Of(datum.Decimal))
	if err != nil {
		return datum.Datum{}, err
	}
	exponent, err := datum.Cast(a[1], datum.Of(datum.Decimal))
	if err != nil {
		return datum.Datum{}, err
	}
	context := datum.ExactContext()
	if context.Precision = digits; y == math.Trunc(y) && y >= 0 {
		context.Precision = 2 * datum.MaxDecimalDigits
	}
	v := new(apd.Decimal)
	if _, err := context.Pow(v, base.Decimal(), exponent.Decimal()); err != nil {
		return datum.Datum{}, numberFault(datum.Decimal)
	}
	if v.Exponent < 0 && (y != math.Trunc(y) || y < 0) {
		const places = 16
		if !datum.Rescale(v, v, max(places, -base.Decimal().Exponent)) {
			return datum.Datum{}, numberFault(datum.Decimal)
		}
	}
	return decimalResult(v)
}

// extreme ignores NULLs; only NULLs give NULL.
func extreme(greatest bool, values []datum.Datum) datum.Datum {
	var best datum.Datum
	for _, value := range values {
		if value.IsNull() {
			continue
		}
		if best.IsNull() || (datum.Compare(value, best) > 0) == greatest {
			best = value
		}
	}
	return best
}

// onlyWhole refuses operands of to_hex that are no whole numbers, as PostgreSQL does.
func onlyWhole(operands []Expr) error {
	if k := operands[0].Type().Kind; !k.IsInteger() && !isNull(operands[0]) {
		return fault.New(fault.InvalidStatement, "to_hex takes a whole number, not %s", operands[0].Type())
	}
	return nil
}

// hexText writes a number in the digits of its type's two's complement: 32 bits, or 64 of a BIGINT.
func hexText(_ *EvalContext, a arguments) (datum.Datum, error) {
	bits := uint64(a[0].Int()) //nolint:gosec // the bits, whatever they stand for
	if a[0].Kind() != datum.BigInt {
		bits &= math.MaxUint32
	}
	return datum.NewText(strconv.FormatUint(bits, 16)), nil
}
