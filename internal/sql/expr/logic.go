package expr

import (
	"slices"
	"strings"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
)

var booleanType = datum.Of(datum.Boolean)

// logicalExpr is a chain of AND or OR in three-valued logic.
type logicalExpr struct {
	or       bool
	operands []Expr
}

// NewAnd joins conditions with AND; none is true, nil ones are left out.
func NewAnd(conditions ...Expr) Expr {
	kept := slices.DeleteFunc(slices.Clone(conditions), func(e Expr) bool { return e == nil })
	switch len(kept) {
	case 0:
		return NewConst(datum.NewBool(true), booleanType)
	case 1:
		return kept[0]
	}
	return &logicalExpr{operands: kept}
}

func (e *logicalExpr) Type() datum.Type { return booleanType }

func (e *logicalExpr) Eval(ctx *EvalContext, row []datum.Datum) (datum.Datum, error) {
	unknown := false
	for _, operand := range e.operands {
		value, err := operand.Eval(ctx, row)
		if err != nil {
			return datum.Datum{}, err
		}
		if value.IsNull() {
			unknown = true
			continue
		}
		if value.Bool() == e.or {
			return value, nil
		}
	}
	if unknown {
		return datum.Datum{}, nil
	}
	return datum.NewBool(!e.or), nil
}

func (e *logicalExpr) String() string {
	word := " AND "
	if e.or {
		word = " OR "
	}
	return "(" + joinExprs(e.operands, word) + ")"
}
func (e *logicalExpr) children() []Expr { return e.operands }
func (e *logicalExpr) rebuild(operands []Expr) Expr {
	return &logicalExpr{or: e.or, operands: operands}
}
func (e *logicalExpr) volatility() volatility { return immutable }

func joinExprs(exprs []Expr, separator string) string {
	var b strings.Builder
	for i, e := range exprs {
		if i > 0 {
			b.WriteString(separator)
		}
		b.WriteString(e.String())
	}
	return b.String()
}

func (b *binder) bindLogical(n *parse.Logical) (Expr, error) {
	operands := make([]Expr, 0, len(n.Operands))
	for _, operand := range n.Operands {
		e, err := b.bind(operand)
		if err != nil {
			return nil, err
		}
		if e.Type().Kind != datum.Boolean && !isUntyped(e) {
			return nil, faultAt(operand, fault.InvalidStatement, "argument of %s must be BOOLEAN, not %s", logicalWord(n.Or), e.Type())
		}
		if e, err = b.convert(e, booleanType, operand); err != nil {
			return nil, err
		}
		if inner, ok := e.(*logicalExpr); ok && inner.or == n.Or {
			operands = append(operands, inner.operands...)
			continue
		}
		if c, ok := e.(*constExpr); ok && !c.value.IsNull() && c.value.Bool() != n.Or {
			continue // true in AND and false in OR change nothing
		}
		operands = append(operands, e)
	}
	switch len(operands) {
	case 0:
		return NewConst(datum.NewBool(!n.Or), booleanType), nil
	case 1:
		return operands[0], nil
	}
	return &logicalExpr{or: n.Or, operands: operands}, nil
}

func logicalWord(or bool) string {
	if or {
		return "OR"
	}
	return "AND"
}

// notExpr is NOT.
type notExpr struct{ operand Expr }

func (e *notExpr) Type() datum.Type { return booleanType }
func (e *notExpr) Eval(ctx *EvalContext, row []datum.Datum) (datum.Datum, error) {
	value, err := e.operand.Eval(ctx, row)
	if err != nil || value.IsNull() {
		return datum.Datum{}, err
	}
	return datum.NewBool(!value.Bool()), nil
}
func (e *notExpr) String() string               { return "(NOT " + e.operand.String() + ")" }
func (e *notExpr) children() []Expr             { return []Expr{e.operand} }
func (e *notExpr) rebuild(operands []Expr) Expr { return &notExpr{operand: operands[0]} }
func (e *notExpr) volatility() volatility       { return immutable }

func (b *binder) bindNot(n *parse.Not) (Expr, error) {
	e, err := b.bind(n.Expr)
	if err != nil {
		return nil, err
	}
	if e.Type().Kind != datum.Boolean && !isUntyped(e) {
		return nil, faultAt(n.Expr, fault.InvalidStatement, "argument of NOT must be BOOLEAN, not %s", e.Type())
	}
	if e, err = b.convert(e, booleanType, n.Expr); err != nil {
		return nil, err
	}
	return &notExpr{operand: e}, nil
}

// not negates e when wanted.
func not(e Expr, wanted bool) Expr {
	if !wanted {
		return e
	}
	return fold(&notExpr{operand: e})
}

// isExpr is IS NULL, TRUE, FALSE or UNKNOWN; it is never NULL itself.
type isExpr struct {
	kind    parse.IsKind
	negated bool
	operand Expr
}

func (e *isExpr) Type() datum.Type { return booleanType }
func (e *isExpr) Eval(ctx *EvalContext, row []datum.Datum) (datum.Datum, error) {
	value, err := e.operand.Eval(ctx, row)
	if err != nil {
		return datum.Datum{}, err
	}
	holds := value.IsNull()
	switch e.kind {
	case parse.IsTrue:
		holds = !holds && value.Bool()
	case parse.IsFalse:
		holds = !holds && !value.Bool()
	case parse.IsNull, parse.IsUnknown:
	}
	return datum.NewBool(holds != e.negated), nil
}

func (e *isExpr) String() string {
	word := " IS "
	if e.negated {
		word = " IS NOT "
	}
	names := [...]string{"NULL", "TRUE", "FALSE", "UNKNOWN"}
	return "(" + e.operand.String() + word + names[e.kind] + ")"
}
func (e *isExpr) children() []Expr { return []Expr{e.operand} }
func (e *isExpr) rebuild(operands []Expr) Expr {
	return &isExpr{kind: e.kind, negated: e.negated, operand: operands[0]}
}
func (e *isExpr) volatility() volatility { return immutable }

func (b *binder) bindIs(n *parse.Is) (Expr, error) {
	if row, ok := n.Expr.(*parse.Row); ok && n.Kind == parse.IsNull {
		return b.bindRowIsNull(n, row)
	}
	e, err := b.bind(n.Expr)
	if err != nil {
		return nil, err
	}
	if n.Kind != parse.IsNull {
		if e.Type().Kind != datum.Boolean && !isUntyped(e) {
			return nil, faultAt(n.Expr, fault.InvalidStatement, "argument of IS TRUE, FALSE or UNKNOWN must be BOOLEAN, not %s", e.Type())
		}
		if e, err = b.convert(e, booleanType, n.Expr); err != nil {
			return nil, err
		}
	}
	return &isExpr{kind: n.Kind, negated: n.Not, operand: e}, nil
}

// bindRowIsNull is (a, b) IS NULL, true when all are NULL, and IS NOT NULL, true when none is.
func (b *binder) bindRowIsNull(n *parse.Is, row *parse.Row) (Expr, error) {
	tests := make([]Expr, len(row.Elements))
	for i, element := range row.Elements {
		e, err := b.bind(element)
		if err != nil {
			return nil, err
		}
		tests[i] = &isExpr{kind: n.Kind, negated: n.Not, operand: e}
	}
	return NewAnd(tests...), nil
}
