package expr

import (
	"slices"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
)

// Comparison is one of the six comparisons.
type Comparison uint8

// The comparisons.
const (
	EqualTo Comparison = iota
	NotEqualTo
	LessThan
	LessOrEqual
	GreaterThan
	GreaterOrEqual
)

// String spells the comparison as SQL does.
func (c Comparison) String() string {
	return [...]string{"=", "<>", "<", "<=", ">", ">="}[c]
}

// holds interprets the result of datum.Compare.
func (c Comparison) holds(order int) bool {
	switch c {
	case EqualTo:
		return order == 0
	case NotEqualTo:
		return order != 0
	case LessThan:
		return order < 0
	case LessOrEqual:
		return order <= 0
	case GreaterThan:
		return order > 0
	case GreaterOrEqual:
		return order >= 0
	}
	return false
}

// mirrored is the comparison with its sides exchanged.
func (c Comparison) mirrored() Comparison {
	switch c {
	case LessThan:
		return GreaterThan
	case LessOrEqual:
		return GreaterOrEqual
	case GreaterThan:
		return LessThan
	case GreaterOrEqual:
		return LessOrEqual
	case EqualTo, NotEqualTo:
	}
	return c
}

func comparisonOf(op parse.Operator) (Comparison, bool) {
	switch op {
	case "=":
		return EqualTo, true
	case "<>", "!=":
		return NotEqualTo, true
	case "<":
		return LessThan, true
	case "<=":
		return LessOrEqual, true
	case ">":
		return GreaterThan, true
	case ">=":
		return GreaterOrEqual, true
	}
	return 0, false
}

// compareExpr compares two values of one family; NULL on either side gives NULL.
type compareExpr struct {
	op          Comparison
	left, right Expr
}

func (e *compareExpr) Type() datum.Type { return booleanType }
func (e *compareExpr) Eval(ctx *EvalContext, row []datum.Datum) (datum.Datum, error) {
	left, err := e.left.Eval(ctx, row)
	if err != nil || left.IsNull() {
		return datum.Datum{}, err
	}
	right, err := e.right.Eval(ctx, row)
	if err != nil || right.IsNull() {
		return datum.Datum{}, err
	}
	return datum.NewBool(e.op.holds(datum.Compare(left, right))), nil
}

func (e *compareExpr) String() string {
	return "(" + e.left.String() + " " + e.op.String() + " " + e.right.String() + ")"
}
func (e *compareExpr) children() []Expr { return []Expr{e.left, e.right} }
func (e *compareExpr) rebuild(operands []Expr) Expr {
	return &compareExpr{op: e.op, left: operands[0], right: operands[1]}
}
func (e *compareExpr) volatility() volatility { return immutable }

// matchSides converts two expressions so that datum.Compare orders their values by meaning.
func (b *binder) matchSides(left, right Expr, leftNode, rightNode parse.Expr) (l, r Expr, err error) {
	switch {
	case isUntyped(left) && isUntyped(right):
		pair := []Expr{left, right}
		if _, err = b.unify("comparison", pair, []parse.Expr{leftNode, rightNode}); err != nil {
			return nil, nil, err
		}
		return pair[0], pair[1], nil
	case isUntyped(left):
		left, err = b.meet(left, right.Type(), leftNode)
		return left, right, err
	case isUntyped(right):
		right, err = b.meet(right, left.Type(), rightNode)
		return left, right, err
	}
	lt, rt := left.Type(), right.Type()
	switch {
	case lt.Kind == rt.Kind, lt.Kind == datum.Null, rt.Kind == datum.Null:
		return left, right, nil
	case lt.Kind == datum.Decimal && rt.Kind.IsFloat():
		return NewCast(left, datum.Of(datum.Double)), right, nil
	case lt.Kind.IsFloat() && rt.Kind == datum.Decimal:
		return left, NewCast(right, datum.Of(datum.Double)), nil
	}
	if _, ok := commonType(lt, rt); ok {
		return left, right, nil
	}
	// What one statement computes once as text or a whole number may stand for the other side's type.
	if bridges(right, lt) {
		r, err = b.convert(right, lt, rightNode)
		return left, r, err
	}
	if bridges(left, rt) {
		l, err = b.convert(left, rt, leftNode)
		return l, right, err
	}
	return nil, nil, faultAt(rightNode, fault.InvalidStatement, "cannot compare %s with %s; cast one of them", lt, rt)
}

// bridges reports whether a row-independent text or integer may be compared with a value of type t.
func bridges(e Expr, t datum.Type) bool {
	k := e.Type().Kind
	bridge := k == datum.Text && t.Kind != datum.Null || k == datum.BigInt && (t.Kind.IsInstant() || t.Kind == datum.Time)
	return bridge && castExists(e.Type(), t) && IsRowIndependent(e)
}

// meet types an untyped expression by what it is compared with. A parameter beside a whole number may be
// any number, because comparing is exact.
func (b *binder) meet(e Expr, t datum.Type, node parse.Expr) (Expr, error) {
	if p, ok := e.(*paramExpr); ok && t.Kind.IsInteger() {
		return &paramExpr{index: p.index, typ: t, typed: true, numeric: true}, nil
	}
	if t.Kind == datum.Decimal { // without rounding to the other side's scale
		t = datum.Of(datum.Decimal)
	}
	return b.convert(e, t, node)
}

func (b *binder) bindComparison(op Comparison, n *parse.Binary) (Expr, error) {
	switch spelled, err := b.spelledRows(n); {
	case err != nil:
		return nil, err
	case spelled != nil:
		return b.bind(spelled)
	}
	left, err := b.bind(n.Left)
	if err != nil {
		return nil, err
	}
	right, err := b.bind(n.Right)
	if err != nil {
		return nil, err
	}
	left, right, err = b.matchSides(left, right, n.Left, n.Right)
	if err != nil {
		return nil, err
	}
	return &compareExpr{op: op, left: left, right: right}, nil
}

// distinctExpr is IS [NOT] DISTINCT FROM; NULL equals NULL.
type distinctExpr struct {
	negated     bool
	left, right Expr
}

func (e *distinctExpr) Type() datum.Type { return booleanType }
func (e *distinctExpr) Eval(ctx *EvalContext, row []datum.Datum) (datum.Datum, error) {
	left, err := e.left.Eval(ctx, row)
	if err != nil {
		return datum.Datum{}, err
	}
	right, err := e.right.Eval(ctx, row)
	if err != nil {
		return datum.Datum{}, err
	}
	return datum.NewBool(datum.Equal(left, right) == e.negated), nil
}

func (e *distinctExpr) String() string {
	word := " IS DISTINCT FROM "
	if e.negated {
		word = " IS NOT DISTINCT FROM "
	}
	return "(" + e.left.String() + word + e.right.String() + ")"
}
func (e *distinctExpr) children() []Expr { return []Expr{e.left, e.right} }
func (e *distinctExpr) rebuild(operands []Expr) Expr {
	return &distinctExpr{negated: e.negated, left: operands[0], right: operands[1]}
}
func (e *distinctExpr) volatility() volatility { return immutable }

func (b *binder) bindIsDistinct(n *parse.IsDistinct) (Expr, error) {
	if left, ok := n.Left.(*parse.Row); ok {
		if right, also := n.Right.(*parse.Row); also {
			return b.bindRowsDistinct(n, left.Elements, right.Elements)
		}
	}
	left, err := b.bind(n.Left)
	if err != nil {
		return nil, err
	}
	right, err := b.bind(n.Right)
	if err != nil {
		return nil, err
	}
	if left, right, err = b.matchSides(left, right, n.Left, n.Right); err != nil {
		return nil, err
	}
	return &distinctExpr{negated: n.Not, left: left, right: right}, nil
}

// inExpr is x IN (list). sorted holds the list when it is all constants, in Compare order without NULLs.
type inExpr struct {
	operand Expr
	list    []Expr
	sorted  []datum.Datum
	hasNull bool // with sorted: the list holds NULL, so that a miss is unknown
	fixed   bool // sorted is in use
}

func newIn(operand Expr, list []Expr) *inExpr {
	e := &inExpr{operand: operand, list: list, fixed: true}
	for _, item := range list {
		c, ok := item.(*constExpr)
		if !ok {
			return &inExpr{operand: operand, list: list}
		}
		if c.value.IsNull() {
			e.hasNull = true
			continue
		}
		e.sorted = append(e.sorted, c.value)
	}
	slices.SortFunc(e.sorted, datum.Compare)
	e.sorted = slices.CompactFunc(e.sorted, datum.Equal)
	return e
}

func (e *inExpr) Type() datum.Type { return booleanType }
func (e *inExpr) Eval(ctx *EvalContext, row []datum.Datum) (datum.Datum, error) {
	value, err := e.operand.Eval(ctx, row)
	if err != nil || value.IsNull() {
		return datum.Datum{}, err
	}
	unknown := e.hasNull
	if e.fixed {
		if _, found := slices.BinarySearchFunc(e.sorted, value, datum.Compare); found {
			return datum.NewBool(true), nil
		}
	} else {
		for _, item := range e.list {
			other, err := item.Eval(ctx, row)
			if err != nil {
				return datum.Datum{}, err
			}
			if other.IsNull() {
				unknown = true
			} else if datum.Equal(value, other) {
				return datum.NewBool(true), nil
			}
		}
	}
	if unknown {
		return datum.Datum{}, nil
	}
	return datum.NewBool(false), nil
}

func (e *inExpr) String() string {
	return "(" + e.operand.String() + " IN (" + joinExprs(e.list, ", ") + "))"
}
func (e *inExpr) children() []Expr             { return append([]Expr{e.operand}, e.list...) }
func (e *inExpr) rebuild(operands []Expr) Expr { return newIn(operands[0], operands[1:]) }
func (e *inExpr) volatility() volatility       { return immutable }

func (b *binder) bindIn(n *parse.In) (Expr, error) {
	if n.Query != nil {
		return b.bindSubquery(n)
	}
	if row, ok := n.Expr.(*parse.Row); ok {
		return b.bindRowIn(n, row)
	}
	operand, err := b.bind(n.Expr)
	if err != nil {
		return nil, err
	}
	list := make([]Expr, len(n.List))
	for i, node := range n.List {
		if list[i], err = b.bind(node); err != nil {
			return nil, err
		}
	}
	if isUntyped(operand) {
		all := append([]Expr{operand}, list...)
		if _, err := b.unify("IN", all, append([]parse.Expr{n.Expr}, n.List...)); err != nil {
			return nil, err
		}
		operand, list = all[0], all[1:]
	}
	asDouble := false
	for i, item := range list {
		left, right, err := b.matchSides(operand, item, n.Expr, n.List[i])
		if err != nil {
			return nil, err
		}
		if left != operand {
			if left.Type().Kind != datum.Double {
				return nil, faultAt(n.List[i], fault.InvalidStatement, "cannot compare %s with %s; cast one of them", operand.Type(), item.Type())
			}
			asDouble = true
		}
		list[i] = right
	}
	if asDouble { // some item made the operand a Double; the others must meet it there
		operand = NewCast(operand, datum.Of(datum.Double))
		for i, item := range list {
			if item.Type().Kind == datum.Decimal {
				list[i] = NewCast(item, datum.Of(datum.Double))
			}
		}
	}
	return not(fold(newIn(operand, list)), n.Not), nil
}
