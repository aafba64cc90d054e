package expr

import (
	"slices"
	"strings"

	"github.com/kalamdb/kalamdb-go/internal/datum"
)

// arrayEditFunction holds the functions that make arrays of arrays and elements.
func arrayEditFunction(name string) (definition, bool) {
	two := []operandClass{anyOperand, anyOperand}
	ofFirst := func(operands []Expr) datum.Type { return arrayTypeOf(operands[0], operands[len(operands)-1]) }
	switch name {
	case "array_append":
		return definition{operands: two, takesNull: true, resultOf: ofFirst, apply: func(_ *EvalContext, a arguments) (datum.Datum, error) {
			return extended(name, a[0], a[1], false)
		}}, true
	case "array_prepend":
		return definition{
			operands: two, takesNull: true, resultOf: func(operands []Expr) datum.Type { return arrayTypeOf(operands[1], operands[0]) },
			apply: func(_ *EvalContext, a arguments) (datum.Datum, error) { return extended(name, a[1], a[0], true) },
		}, true
	case "array_remove":
		return definition{operands: two, takesNull: true, resultOf: ofFirst, apply: func(_ *EvalContext, a arguments) (datum.Datum, error) {
			return removed(name, a)
		}}, true
	case "array_replace":
		return definition{
			operands: []operandClass{anyOperand, anyOperand, anyOperand}, takesNull: true, resultOf: ofFirst,
			apply: func(_ *EvalContext, a arguments) (datum.Datum, error) { return substituted(name, a) },
		}, true
	case "array_position":
		return definition{operands: two, takesNull: true, result: datum.Of(datum.Int), apply: func(_ *EvalContext, a arguments) (datum.Datum, error) {
			return placeOf(name, a)
		}}, true
	case "array_upper", "array_lower":
		return definition{operands: []operandClass{anyOperand, integerOperand}, result: datum.Of(datum.Int), apply: func(_ *EvalContext, a arguments) (datum.Datum, error) {
			elements, err := elementsOf(name, a[0])
			if err != nil || len(elements) == 0 || a[1].Int() != 1 {
				return datum.Datum{}, err
			}
			if name == "array_lower" {
				return datum.NewInt(datum.Int, 1), nil
			}
			return datum.NewInt(datum.Int, int64(len(elements))), nil
		}}, true
	case "array_subscripts": // what generate_subscripts gives, as an array
		return definition{
			operands: []operandClass{anyOperand, integerOperand}, result: datum.Type{Kind: datum.Array, Elem: datum.Int},
			apply: func(_ *EvalContext, a arguments) (datum.Datum, error) {
				elements, err := elementsOf(name, a[0])
				if err != nil || a[1].Int() != 1 {
					return datum.NewArray(nil), err
				}
				subscripts := make([]datum.Datum, len(elements))
				for i := range subscripts {
					subscripts[i] = datum.NewInt(datum.Int, int64(i)+1)
				}
				return datum.NewArray(subscripts), nil
			},
		}, true
	case "array_ndims":
		return definition{operands: []operandClass{anyOperand}, result: datum.Of(datum.Int), apply: func(_ *EvalContext, a arguments) (datum.Datum, error) {
			if elements, err := elementsOf(name, a[0]); err != nil || len(elements) == 0 {
				return datum.Datum{}, err
			}
			return datum.NewInt(datum.Int, 1), nil
		}}, true
	case "string_to_array":
		return definition{
			operands: []operandClass{textOperand, textOperand, textOperand}, optional: 1, takesNull: true,
			result: datum.Type{Kind: datum.Array, Elem: datum.Text},
			apply:  func(_ *EvalContext, a arguments) (datum.Datum, error) { return stringToArray(a) },
		}, true
	}
	return definition{}, false
}

// arrayJoinFunction holds array_cat.
func arrayJoinFunction(name string) (definition, bool) {
	if name != "array_cat" {
		return definition{}, false
	}
	return definition{
		operands: []operandClass{anyOperand, anyOperand}, takesNull: true,
		resultOf: func(operands []Expr) datum.Type { return arrayTypeOf(operands[0], operands[1]) },
		apply: func(_ *EvalContext, a arguments) (datum.Datum, error) {
			if a[0].IsNull() && a[1].IsNull() {
				return datum.Datum{}, nil
			}
			first, err := elementsOrNone(name, a[0])
			if err != nil {
				return datum.Datum{}, err
			}
			second, err := elementsOrNone(name, a[1])
			if err != nil {
				return datum.Datum{}, err
			}
			return ArrayOf(append(slices.Clone(first), second...))
		},
	}, true
}

// arrayTypeOf is the type of an array that an element goes into.
func arrayTypeOf(array, element Expr) datum.Type {
	if t := array.Type(); t.Kind == datum.Array && t.Elem != datum.Null {
		return t
	}
	return datum.Type{Kind: datum.Array, Elem: element.Type().Kind}
}

// elementsOrNone reads an array; NULL has no elements.
func elementsOrNone(name string, value datum.Datum) ([]datum.Datum, error) {
	if value.IsNull() {
		return nil, nil
	}
	return elementsOf(name, value)
}

func extended(name string, array, value datum.Datum, front bool) (datum.Datum, error) {
	elements, err := elementsOrNone(name, array)
	if err != nil {
		return datum.Datum{}, err
	}
	if front {
		return ArrayOf(append([]datum.Datum{value}, elements...))
	}
	return ArrayOf(append(slices.Clone(elements), value))
}

// same compares two elements; NULL is the same as NULL.
func same(a, b datum.Datum) bool {
	if a.IsNull() || b.IsNull() {
		return a.IsNull() && b.IsNull()
	}
	return datum.Compare(a, b) == 0
}

func removed(name string, a arguments) (datum.Datum, error) {
	if a[0].IsNull() {
		return datum.Datum{}, nil
	}
	elements, err := elementsOf(name, a[0])
	if err != nil {
		return datum.Datum{}, err
	}
	return datum.NewArray(slices.DeleteFunc(slices.Clone(elements), func(e datum.Datum) bool { return same(e, a[1]) })), nil
}

func substituted(name string, a arguments) (datum.Datum, error) {
	if a[0].IsNull() {
		return datum.Datum{}, nil
	}
	elements, err := elementsOf(name, a[0])
	if err != nil {
		return datum.Datum{}, err
	}
	out := slices.Clone(elements)
	for i := range out {
		if same(out[i], a[1]) {
			out[i] = a[2]
		}
	}
	return ArrayOf(out)
}

func placeOf(name string, a arguments) (datum.Datum, error) {
	elements, err := elementsOrNone(name, a[0])
	if err != nil {
		return datum.Datum{}, err
	}
	for i, element := range elements {
		if same(element, a[1]) {
			return datum.NewInt(datum.Int, int64(i+1)), nil
		}
	}
	return datum.Datum{}, nil
}

// stringToArray splits a text: between all characters when the separator is NULL. A part that equals the third operand is NULL.
func stringToArray(a arguments) (datum.Datum, error) {
	if a[0].IsNull() {
		return datum.Datum{}, nil
	}
	text := a[0].Str()
	var parts []string
	switch {
	case text == "":
	case a[1].IsNull():
		parts = strings.SplitN(text, "", maxArrayElements+1)
	case a[1].Str() == "":
		parts = []string{text}
	default:
		parts = strings.SplitN(text, a[1].Str(), maxArrayElements+1)
	}
	list, err := textsOf(parts)
	if err != nil || len(a) < 3 || a[2].IsNull() {
		return list, err
	}
	elements := list.Array()
	for i := range elements {
		if elements[i].Str() == a[2].Str() {
			elements[i] = datum.Datum{}
		}
	}
	return datum.NewArray(elements), nil
}

// sliceOf is array[low:high]; what lies outside of the array is left out.
func sliceOf(a arguments) (datum.Datum, error) {
	elements, low, high := a[0].Array(), max(a[1].Int(), 1), a[2].Int()
	high = min(high, int64(len(elements)))
	if low > high {
		return datum.NewArray(nil), nil
	}
	return datum.NewArray(slices.Clone(elements[low-1 : high])), nil
}
