package jsonpath

import (
	"errors"
	"math"
	"strconv"
	"strings"

	"github.com/cockroachdb/apd/v3"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
)

func wholeItem(n int64) Item { return numberItem(apd.New(n, 0)) }

// compute is an operator between two numbers.
func (e *evaluation) compute(n *node, i Item, visit Visit) error {
	left, err := e.operand(n, n.left, "left", i)
	if err != nil {
		return err
	}
	right, err := e.operand(n, n.right, "right", i)
	if err != nil {
		return err
	}
	result, err := datum.ComputeDecimal(symbols[n.kind], left, right)
	if err != nil {
		return refused(err)
	}
	return e.following(n, numberItem(result), visit)
}

// refused makes a refusal of what a computation said.
func refused(err error) error {
	if f, ok := errors.AsType[*fault.Error](err); ok {
		return &refusal{f}
	}
	return err
}

// operand is the one number that an operator takes.
func (e *evaluation) operand(operator, n *node, side string, i Item) (*apd.Decimal, error) {
	items, err := e.collect(n, i, true)
	if err != nil {
		return nil, err
	}
	if len(items) != 1 || items[0].kind() != numberValue {
		return nil, refuse("%s operand of jsonpath operator %s is not a single numeric value", side, symbols[operator.kind])
	}
	return bounded(items[0])
}

// bounded is a number to compute with.
func bounded(i Item) (*apd.Decimal, error) {
	d := i.number()
	if d == nil {
		return nil, &refusal{numberFault()}
	}
	if i.made != nil {
		return d, nil // it was bounded when it was made
	}
	if !datum.BoundDecimal(d) {
		return nil, &refusal{numberFault()}
	}
	return d, nil
}

// sign is + or - before numbers, as many as there are.
func (e *evaluation) sign(n *node, i Item, visit Visit) error {
	items, err := e.collect(n.left, i, true)
	if err != nil {
		return err
	}
	for _, item := range items {
		if item.kind() != numberValue {
			return refuse("operand of unary jsonpath operator %s is not a numeric value", symbols[n.kind])
		}
		d, err := bounded(item)
		if err != nil {
			return err
		}
		if n.kind == minusNode {
			d = negated(d)
		}
		if err := e.following(n, numberItem(d), visit); err != nil {
			return err
		}
	}
	return nil
}

// index is the whole number in a subscript.
func (e *evaluation) index(n *node, i Item) (int, error) {
	var found []Item
	err := e.item(n, i, func(i Item) (bool, error) {
		found = append(found, i)
		return len(found) < 2, nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return 0, err
	}
	if len(found) != 1 || found[0].kind() != numberValue {
		return 0, refuse("jsonpath array subscript is not a single numeric value")
	}
	d, err := bounded(found[0])
	if err != nil {
		return 0, err
	}
	context := datum.ExactContext()
	context.Rounding = apd.RoundDown
	whole := new(apd.Decimal)
	if _, err = context.RoundToIntegralValue(whole, d); err != nil {
		return 0, refuse("jsonpath array subscript is out of integer range")
	}
	index, err := whole.Int64()
	if err != nil || index > math.MaxInt32 || index < math.MinInt32 {
		return 0, refuse("jsonpath array subscript is out of integer range")
	}
	return int(index), nil
}

// method is an accessor that looks like a call.
func (e *evaluation) method(n *node, i Item, visit Visit) error {
	switch n.kind { //nolint:exhaustive // the methods
	case typeNode:
		return e.following(n, textItem(typeName(i)), visit)
	case sizeNode:
		size := int64(1)
		switch {
		case i.kind() == arrayValue:
			size = e.Walk.CountParts(i.written)
		case e.strict && e.strictNow:
			return refuse("jsonpath item method .size() can only be applied to an array")
		case e.strict:
			return nil
		}
		return e.following(n, wholeItem(size), visit)
	case absNode, floorNode, ceilingNode:
		return e.numeric(n, i, visit)
	case doubleNode:
		return e.double(n, i, visit)
	case datetimeNode:
		return e.datetime(n, i, visit)
	}
	return e.keyvalue(n, i, visit)
}

func typeName(i Item) string {
	switch i.kind() {
	case boolValue:
		return "boolean"
	case numberValue:
		return "number"
	case textValue:
		return "string"
	case timeValue:
		return timeType(i.made.time)
	case objectValue:
		return "object"
	case arrayValue:
		return "array"
	case nullValue:
	}
	return "null"
}

func (e *evaluation) numeric(n *node, i Item, visit Visit) error {
	if i.kind() != numberValue {
		return refuse("jsonpath item method .%s() can only be applied to a numeric value", methodName(n.kind))
	}
	d, err := bounded(i)
	if err != nil {
		return err
	}
	result := new(apd.Decimal)
	context := datum.ExactContext()
	switch n.kind { //nolint:exhaustive // the three methods of numbers
	case absNode:
		result.Abs(d)
	case floorNode:
		_, err = context.Floor(result, d)
	default:
		_, err = context.Ceil(result, d)
	}
	if err != nil || !datum.BoundDecimal(result) {
		return &refusal{numberFault()}
	}
	return e.following(n, numberItem(result), visit)
}

// double checks that a number fits into 64 bits, or reads one from a text.
func (e *evaluation) double(n *node, i Item, visit Visit) error {
	switch i.kind() { //nolint:exhaustive // all others are refused
	case numberValue:
		d, err := bounded(i)
		if err != nil {
			return err
		}
		if f, err := d.Float64(); err != nil || math.IsInf(f, 0) {
			return refuse("numeric argument of jsonpath item method .double() is out of range for type double precision")
		}
		return e.following(n, numberItem(d), visit)
	case textValue:
		text := strings.TrimSpace(i.text(e.Walk))
		f, err := strconv.ParseFloat(text, 64)
		if err != nil || strings.ContainsAny(text, "_xXpP") || math.IsInf(f, 0) || math.IsNaN(f) {
			return refuse("string argument of jsonpath item method .double() is not a valid representation of a double precision number")
		}
		d := readNumber(strconv.AppendFloat(nil, f, 'g', 15, 64))
		if d == nil || !datum.BoundDecimal(d) {
			return &refusal{numberFault()}
		}
		return e.following(n, numberItem(d), visit)
	}
	return refuse("jsonpath item method .double() can only be applied to a string or numeric value")
}

// keyvalue gives an object for each member of an object. The id is the same for members of one object, and of no other.
func (e *evaluation) keyvalue(n *node, i Item, visit Visit) error {
	if i.kind() != objectValue {
		return refuse("jsonpath item method .keyvalue() can only be applied to an object")
	}
	const perBase = 10_000_000_000
	id := e.base.id*perBase + e.offset(i)
	saved := e.base
	defer func() { e.base = saved }()
	return e.parts(i, func(key []byte, part Item) error {
		made := append([]byte(`{"id":`), strconv.FormatInt(id, 10)...)
		made = append(append(append(made, `,"key":`...), key...), `,"value":`...)
		made = append(append(made, part.written...), '}')
		e.base = base{id: e.nextID, document: made}
		e.nextID++
		err := e.following(n, pieceItem(made), visit)
		e.base = saved
		return err
	})
}
