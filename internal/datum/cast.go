package datum

import (
	"math"
	"strconv"

	"github.com/cockroachdb/apd/v3"

	"github.com/kalamdb/kalamdb-go/internal/fault"
)

// Cast converts a value to a type, as an assignment or CAST does in PostgreSQL: floats round half to even
// when they become integers, decimals half away from zero, numbers out of range are an error and never
// wrap, text is parsed by ParseText. Integers become Timestamp, DateTime and Time as microseconds and
// Date as days. NULL stays NULL, and every value is already of the type Null. Errors are *fault.Error:
// OutOfRange, or InvalidStatement when the types do not convert or the text is malformed.
func Cast(d Datum, t Type) (Datum, error) {
	if d.kind == Null || t.Kind == Null {
		return d, nil
	}
	if d.kind == t.Kind {
		return castSameKind(d, t)
	}
	if d.kind.IsString() && !t.Kind.IsString() {
		return ParseText(d.Str(), t)
	}
	switch t.Kind {
	case Boolean:
		if d.kind.IsInteger() {
			return NewBool(d.num != 0), nil
		}
	case SmallInt, Int, BigInt:
		return castToInteger(d, t)
	case Float, Double:
		return castToFloat(d, t)
	case Decimal:
		return castToDecimal(d, t)
	case Text, JSON, File:
		return castToString(d, t)
	case Bytes:
		if d.kind == UUID {
			return NewString(Bytes, d.Str()), nil
		}
	case UUID:
		if d.kind == Bytes && len(d.Str()) == uuidBytes {
			return NewString(UUID, d.Str()), nil
		}
	case Timestamp, DateTime:
		return castToInstant(d, t)
	case Date:
		return castToDate(d, t)
	case Time:
		return castToTime(d, t)
	case Embedding:
		return castToEmbedding(d, t)
	case Interval:
		if d.kind == Time {
			return NewInterval(Span{Micros: d.num}), nil
		}
	case Array, Null:
	}
	return Datum{}, castFault(d, t)
}

// castSameKind enforces the modifiers of the target.
func castSameKind(d Datum, t Type) (Datum, error) {
	switch t.Kind { //nolint:exhaustive // the kinds not named share the last case
	case Decimal:
		return castDecimal(d.Decimal(), t)
	case Embedding:
		if t.Dims != 0 && len(d.Embedding()) != int(t.Dims) {
			return checkEmbedding(d.Embedding(), t)
		}
	case Array:
		if t.Elem == Null {
			return d, nil
		}
		values := make([]Datum, len(d.Array()))
		for i, v := range d.Array() {
			converted, err := Cast(v, Of(t.Elem))
			if err != nil {
				return Datum{}, err
			}
			values[i] = converted
		}
		return NewArray(values), nil
	default:
	}
	return d, nil
}

// castDecimal rounds to the scale of t and checks its precision.
func castDecimal(d *apd.Decimal, t Type) (Datum, error) {
	if d == nil || d.Form != apd.Finite {
		return Datum{}, fault.New(fault.OutOfRange, "a value that is not finite is out of range for %s", t)
	}
	if t.Precision == 0 || (-d.Exponent == int32(t.Scale) && d.NumDigits() <= int64(t.Precision)) {
		return NewDecimal(d), nil
	}
	rounded := new(apd.Decimal)
	if !Rescale(rounded, d, int32(t.Scale)) || rounded.NumDigits() > int64(t.Precision) {
		return Datum{}, rangeFault(d.Text('f'), t)
	}
	return NewDecimal(rounded), nil
}

func castToInteger(d Datum, t Type) (Datum, error) {
	low, high := integerRange(t.Kind)
	var v int64
	switch d.kind { //nolint:exhaustive // the kinds not named share the last case
	case Boolean, SmallInt, Int, BigInt, Date:
		v = d.num
	case Timestamp, DateTime, Time:
		v = d.num
		if t.Kind != BigInt {
			return Datum{}, castFault(d, t)
		}
	case Float, Double:
		f := math.RoundToEven(d.Float())
		if math.IsNaN(f) || f < -1<<63 || f >= 1<<63 {
			return Datum{}, rangeFault(d.String(), t)
		}
		v = int64(f)
	case Decimal:
		rounded := new(apd.Decimal)
		if !Rescale(rounded, d.Decimal(), 0) || !rounded.Coeff.IsInt64() && rounded.NumDigits() > 19 {
			return Datum{}, rangeFault(d.String(), t)
		}
		whole, err := rounded.Int64()
		if err != nil {
			return Datum{}, rangeFault(d.String(), t)
		}
		v = whole
	default:
		return Datum{}, castFault(d, t)
	}
	if v < low || v > high {
		return Datum{}, rangeFault(d.String(), t)
	}
	return NewInt(t.Kind, v), nil
}

func castToFloat(d Datum, t Type) (Datum, error) {
	var f float64
	switch d.kind { //nolint:exhaustive // the kinds not named share the last case
	case SmallInt, Int, BigInt:
		f = float64(d.num)
	case Float, Double:
		f = d.Float()
	case Decimal:
		converted, err := d.Decimal().Float64()
		if err != nil {
			return Datum{}, rangeFault(d.String(), t)
		}
		f = converted
	default:
		return Datum{}, castFault(d, t)
	}
	if t.Kind == Double {
		return NewDouble(f), nil
	}
	if narrow := float64(float32(f)); math.IsInf(narrow, 0) && !math.IsInf(f, 0) || narrow == 0 && f != 0 {
		return Datum{}, rangeFault(d.String(), t)
	}
	return NewFloat(f), nil
}

// castToDecimal keeps 6 digits of a binary32 and 15 of a binary64, all that they hold for certain.
func castToDecimal(d Datum, t Type) (Datum, error) {
	switch d.kind { //nolint:exhaustive // the kinds not named share the last case
	case SmallInt, Int, BigInt:
		return castDecimal(apd.New(d.num, 0), t)
	case Float, Double:
		digits := 15
		if d.kind == Float {
			digits = 6
		}
		f := d.Float()
		if math.IsNaN(f) || math.IsInf(f, 0) {
			return Datum{}, rangeFault(d.String(), t)
		}
		exact, err := parseDecimal(strconv.FormatFloat(f, 'g', digits, 64), t)
		if err != nil {
			return Datum{}, err
		}
		return castDecimal(exact, t)
	default:
		return Datum{}, castFault(d, t)
	}
}

// castToString prints booleans as words, which AppendText does not, because PostgreSQL's cast does.
func castToString(d Datum, t Type) (Datum, error) {
	switch {
	case d.kind.IsString() && t.Kind == JSON:
		return ParseText(d.Str(), t)
	case d.kind.IsString():
		return NewString(t.Kind, d.Str()), nil
	case d.kind == Boolean && t.Kind != File:
		return NewString(t.Kind, strconv.FormatBool(d.Bool())), nil
	case t.Kind == Text:
		return NewText(string(AppendText(nil, d))), nil
	}
	return Datum{}, castFault(d, t)
}

func castToInstant(d Datum, t Type) (Datum, error) {
	switch d.kind { //nolint:exhaustive // the kinds not named share the last case
	case SmallInt, Int, BigInt, Timestamp, DateTime:
		return NewInt(t.Kind, d.num), nil
	case Date:
		return instantFromDays(t, d.num, 0, d.String())
	default:
		return Datum{}, castFault(d, t)
	}
}

func castToDate(d Datum, t Type) (Datum, error) {
	switch d.kind { //nolint:exhaustive // the kinds not named share the last case
	case SmallInt, Int, BigInt:
		if d.num < math.MinInt32 || d.num > math.MaxInt32 {
			return Datum{}, rangeFault(d.String(), t)
		}
		return NewInt(Date, d.num), nil
	case Timestamp, DateTime:
		days, _ := splitInstant(d)
		return NewInt(Date, days), nil
	default:
		return Datum{}, castFault(d, t)
	}
}

func castToTime(d Datum, t Type) (Datum, error) {
	switch d.kind { //nolint:exhaustive // the kinds not named share the last case
	case SmallInt, Int, BigInt:
		if d.num < 0 || d.num > microsPerDay {
			return Datum{}, rangeFault(d.String(), t)
		}
		return NewInt(Time, d.num), nil
	case Timestamp, DateTime:
		_, micros := splitInstant(d)
		return NewInt(Time, micros), nil
	case Interval:
		_, micros := floorDivide(d.Interval().Micros, microsPerDay)
		return NewInt(Time, micros), nil
	default:
		return Datum{}, castFault(d, t)
	}
}

func castToEmbedding(d Datum, t Type) (Datum, error) {
	if d.kind != Array {
		return Datum{}, castFault(d, t)
	}
	values := make([]float32, len(d.Array()))
	for i, v := range d.Array() {
		element, err := Cast(v, Of(Float))
		if err != nil {
			return Datum{}, err
		}
		if element.IsNull() || math.IsNaN(element.Float()) || math.IsInf(element.Float(), 0) {
			return Datum{}, fault.New(fault.InvalidStatement, "element %d of an embedding must be a finite number", i+1)
		}
		values[i] = float32(element.Float())
	}
	return checkEmbedding(values, t)
}
