package expr

import (
	"math"

	"github.com/cockroachdb/apd/v3"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
)

// binaryExpr applies a function to two values that are not NULL; NULL on either side gives NULL.
type binaryExpr struct {
	op          string
	left, right Expr
	typ         datum.Type
	apply       func(left, right datum.Datum) (datum.Datum, error)
}

func (e *binaryExpr) Type() datum.Type { return e.typ }
func (e *binaryExpr) Eval(ctx *EvalContext, row []datum.Datum) (datum.Datum, error) {
	left, err := e.left.Eval(ctx, row)
	if err != nil || left.IsNull() {
		return datum.Datum{}, err
	}
	right, err := e.right.Eval(ctx, row)
	if err != nil || right.IsNull() {
		return datum.Datum{}, err
	}
	return e.apply(left, right)
}

func (e *binaryExpr) String() string {
	return "(" + e.left.String() + " " + e.op + " " + e.right.String() + ")"
}
func (e *binaryExpr) children() []Expr { return []Expr{e.left, e.right} }
func (e *binaryExpr) rebuild(operands []Expr) Expr {
	return &binaryExpr{op: e.op, left: operands[0], right: operands[1], typ: e.typ, apply: e.apply}
}
func (e *binaryExpr) volatility() volatility { return immutable }

// numberFault is the error of a result that its type cannot hold.
func numberFault(k datum.Kind) error { return fault.New(fault.OutOfRange, "%s out of range", k) }

// decimalOperation computes decimals exactly.
func decimalOperation(op parse.Operator, a, b *apd.Decimal) (datum.Datum, error) {
	v, err := datum.ComputeDecimal(string(op), a, b)
	if err != nil {
		return datum.Datum{}, err
	}
	return datum.NewDecimal(v), nil
}

func decimalResult(v *apd.Decimal) (datum.Datum, error) {
	if !datum.BoundDecimal(v) {
		return datum.Datum{}, numberFault(datum.Decimal)
	}
	return datum.NewDecimal(v), nil
}

func divisionByZero() error { return fault.New(fault.OutOfRange, "division by zero") }

// arithmetic returns the function of an operator on two values of one numeric kind; nil when there is none.
func arithmetic(op parse.Operator, k datum.Kind) func(a, b datum.Datum) (datum.Datum, error) {
	switch {
	case k.IsInteger():
		return func(a, b datum.Datum) (datum.Datum, error) {
			v, err := integerOperation(op, a.Int(), b.Int(), k)
			if err != nil {
				return datum.Datum{}, err
			}
			return datum.NewInt(k, v), nil
		}
	case k.IsFloat():
		return func(a, b datum.Datum) (datum.Datum, error) { return floatOperation(op, a.Float(), b.Float(), k) }
	case k == datum.Decimal:
		return func(a, b datum.Datum) (datum.Datum, error) { return decimalOperation(op, a.Decimal(), b.Decimal()) }
	}
	return nil
}

func integerOperation(op parse.Operator, a, b int64, k datum.Kind) (int64, error) {
	var v int64
	ok := true
	switch op {
	case "+":
		v = a + b
		ok = (v > a) == (b > 0)
	case "-":
		v = a - b
		ok = (v < a) == (b > 0)
	case "*":
		v = a * b
		ok = a == 0 || v/a == b && (a != -1 || b != math.MinInt64)
	case "/":
		if b == 0 {
			return 0, divisionByZero()
		}
		if ok = a != math.MinInt64 || b != -1; ok {
			v = a / b
		}
	case "%":
		if b == 0 {
			return 0, divisionByZero()
		}
		if b != -1 { // every number is divisible by -1, and the least one must not be divided by it
			v = a % b
		}
	}
	if !ok || !fitsInteger(v, k) {
		return 0, numberFault(k)
	}
	return v, nil
}

func fitsInteger(v int64, k datum.Kind) bool {
	switch k { //nolint:exhaustive // the kinds not named share the last case
	case datum.SmallInt:
		return v == int64(int16(v)) //nolint:gosec // truncation is what is asked about
	case datum.Int:
		return v == int64(int32(v)) //nolint:gosec // bounded where it was made
	default:
		return true
	}
}

func floatOperation(op parse.Operator, a, b float64, k datum.Kind) (datum.Datum, error) {
	var v float64
	switch op {
	case "+":
		v = a + b
	case "-":
		v = a - b
	case "*":
		v = a * b
	case "/", "%":
		if b == 0 {
			return datum.Datum{}, divisionByZero()
		}
		if op == "%" {
			v = math.Mod(a, b)
			break
		}
		v = a / b
	}
	vanished := v == 0 && (op == "*" && a != 0 && b != 0 || op == "/" && a != 0 && !math.IsInf(b, 0))
	return floatResult(v, k, vanished, math.IsInf(a, 0) || math.IsInf(b, 0))
}

// floatResult refuses infinities that finite operands gave, and results that vanished.
func floatResult(v float64, k datum.Kind, vanished, infiniteOperand bool) (datum.Datum, error) {
	narrow := v
	if k == datum.Float {
		narrow = float64(float32(v))
		vanished = vanished || narrow == 0 && v != 0
	}
	if math.IsInf(narrow, 0) && !infiniteOperand || vanished {
		return datum.Datum{}, numberFault(k)
	}
	if k == datum.Float {
		return datum.NewFloat(v), nil
	}
	return datum.NewDouble(v), nil
}

func (b *binder) bindUnary(n *parse.Unary) (Expr, error) {
	e, err := b.bind(n.Expr)
	if err != nil {
		return nil, err
	}
	if isUntyped(e) {
		t := b.fallbackType(e)
		if t.Kind == datum.Text {
			t = datum.Of(datum.Double)
		}
		if e, err = b.convert(e, t, n.Expr); err != nil {
			return nil, err
		}
	}
	k := e.Type().Kind
	switch {
	case n.Op == "-" && k.IsNumeric():
		zero, err := datum.Cast(datum.NewInt(datum.SmallInt, 0), datum.Of(k))
		if err != nil {
			return nil, err
		}
		if k.IsFloat() { // 0 - 0 would lose the sign of zero
			zero, err = datum.Cast(datum.NewDouble(math.Copysign(0, -1)), datum.Of(k))
			if err != nil {
				return nil, err
			}
		}
		return &binaryExpr{op: "-", left: NewConst(zero, datum.Of(k)), right: e, typ: e.Type(), apply: arithmetic("-", k)}, nil
	case n.Op == "-" && k == datum.Interval:
		return &binaryExpr{
			op: "*", left: e, right: NewConst(datum.NewDouble(-1), datum.Of(datum.Double)), typ: e.Type(), apply: scaleSpan,
		}, nil
	case n.Op == "~" && k.IsInteger():
		minusOne := NewConst(datum.NewInt(k, -1), datum.Of(k))
		return &binaryExpr{op: "#", left: e, right: minusOne, typ: e.Type(), apply: bitOperation("#", k)}, nil
	}
	return nil, faultAt(n, fault.InvalidStatement, "operator %s does not apply to %s", n.Op, e.Type())
}

func (b *binder) bindBinary(n *parse.Binary) (Expr, error) {
	if comparison, ok := comparisonOf(n.Op); ok {
		return b.bindComparison(comparison, n)
	}
	left, err := b.bind(n.Left)
	if err != nil {
		return nil, err
	}
	right, err := b.bind(n.Right)
	if err != nil {
		return nil, err
	}
	switch n.Op {
	case "&&":
		return b.bindArraySets(n, left, right)
	case "-", "||":
		if takesJSON(n.Op, left, right) {
			return b.bindJSONChange(n, left, right)
		}
	}
	switch n.Op {
	case "+", "-", "*", "/", "%":
		return b.bindArithmetic(n, left, right)
	case "^":
		return b.callBuiltin("power", []Expr{left, right}, n, []parse.Expr{n.Left, n.Right})
	case "||":
		return b.bindConcat(n, left, right)
	case "&", "|", "#", "<<", ">>":
		return b.bindBits(n, left, right)
	case "~", "~*", "!~", "!~*":
		return b.bindRegular(n, left, right)
	case "->", "->>", "#>", "#>>", "?", "?|", "?&", "@>", "<@", "#-", "@?", "@@":
		return b.bindJSONOperator(n, left, right)
	case "<=>":
		return b.callBuiltin("cosine_distance", []Expr{left, right}, n, []parse.Expr{n.Left, n.Right})
	case "<->":
		return b.callBuiltin("l2_distance", []Expr{left, right}, n, []parse.Expr{n.Left, n.Right})
	case "<#>":
		return b.callBuiltin("negative_inner_product", []Expr{left, right}, n, []parse.Expr{n.Left, n.Right})
	}
	return nil, faultAt(n, fault.Unsupported, "operator %s is not supported", n.Op)
}

func (b *binder) bindArithmetic(n *parse.Binary, left, right Expr) (Expr, error) {
	left, right, err := b.typeArithmetic(n, left, right)
	if err != nil {
		return nil, err
	}
	lt, rt := left.Type(), right.Type()
	if lt.Kind.IsNumeric() && rt.Kind.IsNumeric() {
		k := promote(lt.Kind, rt.Kind)
		l, r := NewCast(left, numericType(left, k)), NewCast(right, numericType(right, k))
		return &binaryExpr{op: string(n.Op), left: l, right: r, typ: datum.Of(k), apply: arithmetic(n.Op, k)}, nil
	}
	if e := temporalArithmetic(n.Op, left, right); e != nil {
		return e, nil
	}
	return nil, faultAt(n, fault.InvalidStatement, "operator %s does not apply to %s and %s", n.Op, lt, rt)
}

// numericType keeps the scale of an operand that is a Decimal already.
func numericType(e Expr, k datum.Kind) datum.Type {
	if e.Type().Kind == k {
		return e.Type()
	}
	return datum.Of(k)
}

// typeArithmetic gives untyped operands a type: a number's for numbers (the parameter's own when it is
// known to be one), an interval beside an instant, BigInt when nothing is known.
func (b *binder) typeArithmetic(n *parse.Binary, left, right Expr) (l, r Expr, err error) {
	choose := func(e Expr, other Expr) datum.Type {
		t := other.Type()
		if hint, ok := b.hint(e); ok && hint.Kind.IsNumeric() && (isUntyped(other) || t.Kind.IsNumeric() || t.Kind == datum.Date) {
			return hint
		}
		switch {
		case isUntyped(other), t.Kind == datum.Null:
			return datum.Of(datum.BigInt)
		case t.Kind == datum.Decimal:
			return datum.Of(datum.Decimal)
		case t.Kind.IsInstant() && n.Op == "+", t.Kind == datum.Time, t.Kind.IsInstant() && e == right && isIntervalText(e):
			return datum.Of(datum.Interval)
		case t.Kind == datum.Interval && (n.Op == "*" || n.Op == "/"):
			return datum.Of(datum.Double)
		}
		return t
	}
	lt, rt := choose(left, right), choose(right, left)
	if isUntyped(left) && !isNull(left) {
		if left, err = b.convert(left, lt, n.Left); err != nil {
			return nil, nil, err
		}
	}
	if isUntyped(right) && !isNull(right) {
		if right, err = b.convert(right, rt, n.Right); err != nil {
			return nil, nil, err
		}
	}
	if isUntyped(left) {
		left = NewConst(datum.Datum{}, lt)
	}
	if isUntyped(right) {
		right = NewConst(datum.Datum{}, rt)
	}
	return left, right, nil
}

// isIntervalText reports whether a literal reads as an interval and not as an instant.
func isIntervalText(e Expr) bool {
	c, ok := e.(*constExpr)
	if !ok || c.value.IsNull() {
		return false
	}
	_, err := datum.ParseText(c.value.Str(), datum.Of(datum.Timestamp))
	return err != nil
}
