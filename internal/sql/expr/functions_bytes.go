package expr

import (
	"slices"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
)

// bytesFunction holds the functions of BYTES: those that texts have too work on bytes here, not on how they are printed.
func bytesFunction(name string) (definition, bool) {
	whole, binary := datum.Of(datum.Int), datum.Of(datum.Bytes)
	switch name {
	case "substring", "substr":
		return definition{operands: []operandClass{bytesOperand, integerOperand, integerOperand}, optional: 1, result: binary, apply: bytesPart}, true
	case "strpos", "position":
		return definition{
			operands: []operandClass{bytesOperand, bytesOperand}, result: whole,
			apply: func(ctx *EvalContext, a arguments) (datum.Datum, error) {
				value, part := a[0].Str(), a[1].Str()
				if name == "position" {
					value, part = part, value
				}
				at, err := indexText(ctx, value, part)
				return datum.NewInt(datum.Int, int64(at)+1), err
			},
		}, true
	case "overlay":
		return definition{
			operands: []operandClass{bytesOperand, bytesOperand, integerOperand, integerOperand}, optional: 1, result: binary, apply: bytesOverlaid,
		}, true
	case "btrim", "ltrim", "rtrim":
		return definition{
			operands: []operandClass{bytesOperand, bytesOperand}, result: binary,
			apply: func(_ *EvalContext, a arguments) (datum.Datum, error) {
				return newBytes(bytesTrimmed(a[0].Str(), a[1].Str(), name != "rtrim", name != "ltrim")), nil
			},
		}, true
	case "md5":
		return definition{operands: []operandClass{bytesOperand}, result: datum.Of(datum.Text), apply: md5Of}, true
	case "get_byte":
		return definition{
			operands: []operandClass{bytesOperand, integerOperand}, result: whole,
			apply: func(_ *EvalContext, a arguments) (datum.Datum, error) {
				if err := byteExists(a); err != nil {
					return datum.Datum{}, err
				}
				return datum.NewInt(datum.Int, int64(a[0].Str()[a[1].Int()])), nil
			},
		}, true
	case "set_byte":
		return definition{
			operands: []operandClass{bytesOperand, integerOperand, integerOperand}, result: binary,
			apply: func(_ *EvalContext, a arguments) (datum.Datum, error) {
				if err := byteExists(a); err != nil {
					return datum.Datum{}, err
				}
				changed := []byte(a[0].Str())
				changed[a[1].Int()] = byte(a[2].Int() & 0xff)
				return newBytes(string(changed)), nil
			},
		}, true
	}
	return definition{}, false
}

// takesBytes reports whether a call is one of a function of BYTES.
func takesBytes(operands []Expr) bool {
	return slices.ContainsFunc(operands, func(e Expr) bool { return e.Type().Kind == datum.Bytes })
}

// printsBytes reports whether a function of texts takes BYTES as they are printed, as PostgreSQL's does.
func printsBytes(name string) bool { return name == "quote_literal" || name == "quote_nullable" }

func newBytes(value string) datum.Datum { return datum.NewString(datum.Bytes, value) }

// bytesPart is substring: places before the first byte count, though nothing is there.
func bytesPart(_ *EvalContext, a arguments) (datum.Datum, error) {
	value, from := a[0].Str(), a[1].Int()
	size := int64(len(value))
	to := size
	if len(a) == 3 {
		count := a[2].Int()
		switch {
		case count < 0:
			return datum.Datum{}, fault.New(fault.InvalidStatement, "negative substring length not allowed")
		case from < 1:
			to = min(max(from+count, 1)-1, size)
		case from <= size && count < size:
			to = min(from-1+count, size)
		}
	}
	from = max(from, 1) - 1
	if from >= to {
		return newBytes(""), nil
	}
	return newBytes(value[from:to]), nil
}

// bytesOverlaid puts the second value into the first from a place on, over as many bytes as it has or as are told.
func bytesOverlaid(_ *EvalContext, a arguments) (datum.Datum, error) {
	value, placed, from := a[0].Str(), a[1].Str(), a[2].Int()
	size, over := int64(len(value)), int64(len(placed))
	if len(a) == 4 {
		over = a[3].Int()
	}
	if from < 1 {
		return datum.Datum{}, fault.New(fault.InvalidStatement, "negative substring length not allowed")
	}
	if err := limitBytes(2*len(value) + len(placed)); err != nil {
		return datum.Datum{}, err
	}
	before := min(from-1, size)
	after := size
	switch {
	case over < 0:
		after = min(max(from-1+over, 0), size)
	case over < size-before:
		after = before + over
	}
	return newBytes(value[:before] + placed + value[after:]), nil
}

// bytesTrimmed leaves out the bytes of a set at the ends.
func bytesTrimmed(value, set string, front, back bool) string {
	var drop [256]bool
	for i := range len(set) {
		drop[set[i]] = true
	}
	for front && value != "" && drop[value[0]] {
		value = value[1:]
	}
	for back && value != "" && drop[value[len(value)-1]] {
		value = value[:len(value)-1]
	}
	return value
}

// byteExists refuses a place that a value does not have.
func byteExists(a arguments) error {
	if at, size := a[1].Int(), int64(len(a[0].Str())); at < 0 || at >= size {
		return fault.New(fault.OutOfRange, "index %d out of valid range, 0..%d", at, size-1)
	}
	return nil
}
