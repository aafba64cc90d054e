package expr

import (
	"slices"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
)

// arrayShapeFunction holds the functions of the places and the length of an array.
func arrayShapeFunction(name string) (definition, bool) {
	switch name {
	case "array_positions":
		return definition{
			operands: []operandClass{anyOperand, anyOperand}, takesNull: true, result: datum.Type{Kind: datum.Array, Elem: datum.Int},
			apply: func(_ *EvalContext, a arguments) (datum.Datum, error) { return placesOf(name, a) },
		}, true
	case "array_dims":
		return definition{operands: []operandClass{anyOperand}, result: datum.Of(datum.Text), apply: func(_ *EvalContext, a arguments) (datum.Datum, error) {
			elements, err := elementsOf(name, a[0])
			if err != nil || len(elements) == 0 {
				return datum.Datum{}, err
			}
			return datum.NewText("[1:" + itoa(len(elements)) + "]"), nil
		}}, true
	case "trim_array":
		return definition{
			operands: []operandClass{anyOperand, integerOperand}, resultOf: func(operands []Expr) datum.Type { return operands[0].Type() },
			apply: func(_ *EvalContext, a arguments) (datum.Datum, error) {
				elements, err := elementsOf(name, a[0])
				if err != nil {
					return datum.Datum{}, err
				}
				if n := a[1].Int(); n < 0 || n > int64(len(elements)) {
					return datum.Datum{}, fault.New(fault.OutOfRange, "number of elements to trim must be between 0 and %d", len(elements))
				}
				return datum.NewArray(slices.Clone(elements[:int64(len(elements))-a[1].Int()])), nil
			},
		}, true
	}
	return definition{}, false
}

// placesOf are the places of a value in an array; none where it is not there.
func placesOf(name string, a arguments) (datum.Datum, error) {
	if a[0].IsNull() {
		return datum.Datum{}, nil
	}
	elements, err := elementsOf(name, a[0])
	if err != nil {
		return datum.Datum{}, err
	}
	places := []datum.Datum{}
	for i, element := range elements {
		if same(element, a[1]) {
			places = append(places, datum.NewInt(datum.Int, int64(i)+1))
		}
	}
	return datum.NewArray(places), nil
}
