package expr

import (
	"math"
	"slices"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
)

// maxArrayElements bounds an array; together with the bound of each value it bounds memory.
const maxArrayElements = 100_000

// ArrayOf makes an array, unless it would have more elements, or more bytes in them, than a value may have. Elements count as
// often as they are there, shared or not: whoever prints or stores the array writes each of them.
func ArrayOf(elements []datum.Datum) (datum.Datum, error) {
	if len(elements) > maxArrayElements {
		return datum.Datum{}, fault.New(fault.LimitExceeded, "an array of %d elements exceeds the limit of %d", len(elements), maxArrayElements)
	}
	size := 0
	for _, element := range elements {
		size += valueBytes(element)
	}
	if err := limitBytes(size); err != nil {
		return datum.Datum{}, err
	}
	return datum.NewArray(elements), nil
}

// ArrayOfArrays refuses an array as an element of one.
const ArrayOfArrays = "arrays of arrays are not supported; use JSON: json_build_array, or json_agg"

func (b *binder) bindArray(n *parse.Array) (Expr, error) {
	if n.Query != nil {
		return b.bindSubquery(n)
	}
	elements := make([]Expr, len(n.Elements))
	for i, node := range n.Elements {
		e, err := b.bind(node)
		if err != nil {
			return nil, err
		}
		if e.Type().Kind == datum.Array {
			return nil, faultAt(node, fault.Unsupported, "%s", ArrayOfArrays)
		}
		elements[i] = e
	}
	t, err := b.unify("ARRAY", elements, n.Elements)
	if err != nil {
		return nil, err
	}
	build := definition{takesNull: true, apply: func(_ *EvalContext, a arguments) (datum.Datum, error) {
		return ArrayOf(slices.Clone(a))
	}}
	return &callExpr{name: "array", operands: elements, typ: datum.Type{Kind: datum.Array, Elem: t.Kind}, function: build}, nil
}

func (b *binder) bindSubscript(n *parse.Subscript) (Expr, error) {
	if n.Slice {
		return b.bindSlice(n)
	}
	operand, err := b.bind(n.Expr)
	if err != nil {
		return nil, err
	}
	index, err := b.bind(n.Index)
	if err != nil {
		return nil, err
	}
	if operand.Type().Kind == datum.JSON {
		if index, err = b.pathStep(index, n.Index); err != nil {
			return nil, err
		}
		return b.callBuiltin("json_get", []Expr{operand, index}, n, []parse.Expr{n.Expr, n.Index})
	}
	if operand, err = b.declaredArray(operand, n.Expr); err != nil {
		return nil, err
	}
	if operand.Type().Kind != datum.Array {
		return nil, faultAt(n.Expr, fault.InvalidStatement, "cannot subscript a value of type %s", operand.Type())
	}
	if index, err = b.operand(index, roundedOperand, "a subscript", 0, n.Index); err != nil {
		return nil, err
	}
	return &binaryExpr{op: "[]", left: operand, right: index, typ: datum.Of(operand.Type().Elem), apply: element}, nil
}

// declaredArray makes an array of texts of a text, which columns that are declared as arrays hold.
func (b *binder) declaredArray(operand Expr, node parse.Expr) (Expr, error) {
	if operand.Type().Kind != datum.Text || isUntyped(operand) {
		return operand, nil
	}
	return b.convert(operand, datum.Type{Kind: datum.Array, Elem: datum.Text}, node)
}

// element is the one of an array at a place, NULL outside.
func element(x, y datum.Datum) (datum.Datum, error) {
	if y.Int() < 1 || y.Int() > int64(len(x.Array())) {
		return datum.Datum{}, nil
	}
	return x.Array()[y.Int()-1], nil
}

// bindSlice is array[low:high]; a bound that is left out is the array's own.
func (b *binder) bindSlice(n *parse.Subscript) (Expr, error) {
	operand, err := b.bind(n.Expr)
	if err != nil {
		return nil, err
	}
	if operand, err = b.declaredArray(operand, n.Expr); err != nil {
		return nil, err
	}
	if operand.Type().Kind != datum.Array {
		return nil, faultAt(n.Expr, fault.InvalidStatement, "cannot take a slice of a value of type %s", operand.Type())
	}
	operands := []Expr{operand, NewConst(datum.NewBigInt(1), datum.Of(datum.BigInt)), NewConst(datum.NewBigInt(math.MaxInt64), datum.Of(datum.BigInt))}
	for i, node := range []parse.Expr{n.Index, n.High} {
		if node == nil {
			continue
		}
		bound, err := b.bind(node)
		if err != nil {
			return nil, err
		}
		if operands[i+1], err = b.operand(bound, roundedOperand, "a slice", i, node); err != nil {
			return nil, err
		}
	}
	slice := definition{apply: func(_ *EvalContext, a arguments) (datum.Datum, error) { return sliceOf(a) }}
	return &callExpr{name: "array_slice", operands: operands, typ: operand.Type(), function: slice}, nil
}

// quantifiedExpr is x op ANY (array) or x op ALL (array).
type quantifiedExpr struct {
	op          Comparison
	all         bool
	left, array Expr
}

func (e *quantifiedExpr) Type() datum.Type { return booleanType }
func (e *quantifiedExpr) Eval(ctx *EvalContext, row []datum.Datum) (datum.Datum, error) {
	array, err := e.array.Eval(ctx, row)
	if err != nil || array.IsNull() {
		return datum.Datum{}, err
	}
	value, err := e.left.Eval(ctx, row)
	if err != nil {
		return datum.Datum{}, err
	}
	unknown := false
	for _, element := range array.Array() {
		if value.IsNull() || element.IsNull() {
			unknown = true
			continue
		}
		if e.op.holds(datum.Compare(value, element)) != e.all {
			return datum.NewBool(!e.all), nil
		}
	}
	if unknown {
		return datum.Datum{}, nil
	}
	return datum.NewBool(e.all), nil
}

func (e *quantifiedExpr) String() string {
	word := " ANY "
	if e.all {
		word = " ALL "
	}
	return "(" + e.left.String() + " " + e.op.String() + word + "(" + e.array.String() + "))"
}
func (e *quantifiedExpr) children() []Expr { return []Expr{e.left, e.array} }
func (e *quantifiedExpr) rebuild(operands []Expr) Expr {
	return &quantifiedExpr{op: e.op, all: e.all, left: operands[0], array: operands[1]}
}
func (e *quantifiedExpr) volatility() volatility { return immutable }

// textArray is the type of an array that is written as a text and compared with a value.
func textArray(value Expr) datum.Type {
	if isUntyped(value) {
		return datum.Type{Kind: datum.Array, Elem: datum.Text}
	}
	return datum.Type{Kind: datum.Array, Elem: value.Type().Kind}
}

func (b *binder) bindQuantified(n *parse.Quantified) (Expr, error) {
	if row, ok := n.Left.(*parse.Row); ok && n.Query != nil {
		if n.Op == "=" && !n.All || n.Op == "<>" && n.All {
			return b.bindSubquery(&parse.In{Pos: n.Pos, Not: n.All, Expr: row, Query: n.Query})
		}
		return nil, fault.New(fault.Unsupported, "a row value is compared with a query by IN, NOT IN, = ANY or <> ALL")
	}
	if n.Query != nil {
		return b.bindSubquery(n)
	}
	op, ok := comparisonOf(n.Op)
	if !ok {
		return b.bindPatterns(n)
	}
	left, err := b.bind(n.Left)
	if err != nil {
		return nil, err
	}
	array, err := b.bind(n.Array)
	if err != nil {
		return nil, err
	}
	if array.Type().Kind == datum.Text { // as columns that are declared as arrays are
		if array, err = b.convert(array, textArray(left), n.Array); err != nil {
			return nil, err
		}
	}
	if array.Type().Kind != datum.Array {
		return nil, faultAt(n.Array, fault.InvalidStatement, "ANY and ALL take an array, not %s", array.Type())
	}
	element := datum.Of(array.Type().Elem)
	if element.Kind != datum.Null && left.Type() != element {
		probe := NewColumn(0, element, "element")
		typed, _, err := b.matchSides(left, probe, n.Left, n.Array)
		if err != nil {
			return nil, err
		}
		if left = typed; left.Type().Kind.IsFloat() && element.Kind == datum.Decimal {
			array = NewCast(array, datum.Type{Kind: datum.Array, Elem: datum.Double})
		}
	}
	return &quantifiedExpr{op: op, all: n.All, left: left, array: array}, nil
}
