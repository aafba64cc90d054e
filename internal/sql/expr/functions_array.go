package expr

import (
	"strings"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
)

// arrayFunction holds the functions of arrays.
func arrayFunction(name string) (definition, bool) {
	whole := datum.Of(datum.Int)
	switch name {
	case "cardinality":
		return definition{operands: []operandClass{anyOperand}, result: whole, apply: func(_ *EvalContext, args arguments) (datum.Datum, error) {
			elements, err := elementsOf(name, args[0])
			return datum.NewInt(datum.Int, int64(len(elements))), err
		}}, true
	case "array_length":
		return definition{operands: []operandClass{anyOperand, integerOperand}, result: whole, apply: func(_ *EvalContext, args arguments) (datum.Datum, error) {
			elements, err := elementsOf(name, args[0])
			if err != nil || len(elements) == 0 || args[1].Int() != 1 {
				return datum.Datum{}, err
			}
			return datum.NewInt(datum.Int, int64(len(elements))), nil
		}}, true
	case "array_to_string":
		return definition{
			operands: []operandClass{anyOperand, textOperand, textOperand}, optional: 1, takesNull: true, result: datum.Of(datum.Text),
			apply: arrayToString,
		}, true
	}
	return definition{}, false
}

func elementsOf(name string, value datum.Datum) ([]datum.Datum, error) {
	if value.Kind() != datum.Array {
		return nil, fault.New(fault.InvalidStatement, "function %s needs an array", name)
	}
	return value.Array(), nil
}

// arrayToString joins the elements; NULL is left out unless a text for it is given.
func arrayToString(_ *EvalContext, args arguments) (datum.Datum, error) {
	if args[0].IsNull() || args[1].IsNull() {
		return datum.Datum{}, nil
	}
	elements, err := elementsOf("array_to_string", args[0])
	if err != nil {
		return datum.Datum{}, err
	}
	parts, size := make([]string, 0, len(elements)), 0
	for _, element := range elements {
		text := element.String()
		if element.IsNull() {
			if len(args) < 3 || args[2].IsNull() {
				continue
			}
			text = args[2].Str()
		}
		size += len(text) + len(args[1].Str())
		if err := limitBytes(size); err != nil {
			return datum.Datum{}, err
		}
		parts = append(parts, text)
	}
	return datum.NewText(strings.Join(parts, args[1].Str())), nil
}
