package expr

import (
	"strings"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
)

// caseExpr is a CASE whose conditions are Boolean; only what is needed is evaluated.
type caseExpr struct {
	conditions []Expr
	results    []Expr // one more than conditions: the last is ELSE
	typ        datum.Type
}

func (e *caseExpr) Type() datum.Type { return e.typ }
func (e *caseExpr) Eval(ctx *EvalContext, row []datum.Datum) (datum.Datum, error) {
	for i, condition := range e.conditions {
		holds, err := Test(condition, ctx, row)
		if err != nil {
			return datum.Datum{}, err
		}
		if holds {
			return e.results[i].Eval(ctx, row)
		}
	}
	return e.results[len(e.conditions)].Eval(ctx, row)
}

func (e *caseExpr) String() string {
	var b strings.Builder
	b.WriteString("CASE")
	for i, condition := range e.conditions {
		b.WriteString(" WHEN " + condition.String() + " THEN " + e.results[i].String())
	}
	b.WriteString(" ELSE " + e.results[len(e.conditions)].String() + " END")
	return b.String()
}

func (e *caseExpr) children() []Expr {
	return append(append(make([]Expr, 0, 2*len(e.results)), e.conditions...), e.results...)
}

func (e *caseExpr) rebuild(operands []Expr) Expr {
	n := len(e.conditions)
	return &caseExpr{conditions: operands[:n], results: operands[n:], typ: e.typ}
}
func (e *caseExpr) volatility() volatility { return immutable }

func (b *binder) bindCase(n *parse.Case) (Expr, error) {
	e := &caseExpr{}
	operand, err := b.bindOptional(n.Operand)
	if err != nil {
		return nil, err
	}
	if err = b.repeat(len(n.Whens)-1, []parse.Expr{n.Operand}, operand); err != nil {
		return nil, err
	}
	nodes := make([]parse.Expr, 0, len(n.Whens)+1)
	for _, when := range n.Whens {
		condition, whenErr := b.bindWhen(operand, n.Operand, when.Condition)
		if whenErr != nil {
			return nil, whenErr
		}
		result, resultErr := b.bind(when.Result)
		if resultErr != nil {
			return nil, resultErr
		}
		e.conditions = append(e.conditions, condition)
		e.results = append(e.results, result)
		nodes = append(nodes, when.Result)
	}
	otherwise, otherwiseNode := Expr(&constExpr{untyped: true}), parse.Expr(n)
	if n.Else != nil {
		if otherwise, err = b.bind(n.Else); err != nil {
			return nil, err
		}
		otherwiseNode = n.Else
	}
	e.results = append(e.results, otherwise)
	if e.typ, err = b.unify("CASE", e.results, append(nodes, otherwiseNode)); err != nil {
		return nil, err
	}
	return e, nil
}

// bindOptional binds a node that may be missing; nil then.
func (b *binder) bindOptional(node parse.Expr) (Expr, error) {
	if node == nil {
		return nil, nil
	}
	return b.bind(node)
}

// bindWhen makes the condition of one branch: the comparison with the operand when there is one.
func (b *binder) bindWhen(operand Expr, operandNode, node parse.Expr) (Expr, error) {
	if operandNode == nil {
		condition, err := b.bind(node)
		if err != nil {
			return nil, err
		}
		if condition.Type().Kind != datum.Boolean && !isUntyped(condition) {
			return nil, faultAt(node, fault.InvalidStatement, "argument of WHEN must be BOOLEAN, not %s", condition.Type())
		}
		return b.convert(condition, booleanType, node)
	}
	value, err := b.bind(node)
	if err != nil {
		return nil, err
	}
	left, right, err := b.matchSides(operand, value, operandNode, node)
	if err != nil {
		return nil, err
	}
	return fold(&compareExpr{op: EqualTo, left: left, right: right}), nil
}

// coalesceExpr gives the first value that is not NULL; what follows it is not evaluated.
type coalesceExpr struct {
	operands []Expr
	typ      datum.Type
}

func (e *coalesceExpr) Type() datum.Type { return e.typ }
func (e *coalesceExpr) Eval(ctx *EvalContext, row []datum.Datum) (datum.Datum, error) {
	for _, operand := range e.operands {
		value, err := operand.Eval(ctx, row)
		if err != nil || !value.IsNull() {
			return value, err
		}
	}
	return datum.Datum{}, nil
}
func (e *coalesceExpr) String() string   { return "coalesce(" + joinExprs(e.operands, ", ") + ")" }
func (e *coalesceExpr) children() []Expr { return e.operands }
func (e *coalesceExpr) rebuild(operands []Expr) Expr {
	return &coalesceExpr{operands: operands, typ: e.typ}
}
func (e *coalesceExpr) volatility() volatility { return immutable }

func (b *binder) coalesce(operands []Expr, node parse.Expr, nodes []parse.Expr) (Expr, error) {
	if len(operands) == 0 {
		return nil, faultAt(node, fault.InvalidStatement, "function coalesce takes at least 1 argument(s), got 0")
	}
	t, err := b.unify("COALESCE", operands, nodes)
	if err != nil {
		return nil, err
	}
	return fold(&coalesceExpr{operands: operands, typ: t}), nil
}

// nullif is CASE WHEN a = b THEN NULL ELSE a END.
func (b *binder) nullif(operands []Expr, node parse.Expr, nodes []parse.Expr) (Expr, error) {
	if len(operands) != 2 {
		return nil, faultAt(node, fault.InvalidStatement, "function nullif takes 2 argument(s), got %d", len(operands))
	}
	left, right, err := b.matchSides(operands[0], operands[1], nodes[0], nodes[1])
	if err != nil {
		return nil, err
	}
	first := operands[0]
	if isUntyped(first) {
		first = left
	}
	if err = b.repeat(1, nodes, first); err != nil {
		return nil, err
	}
	equal := &compareExpr{op: EqualTo, left: left, right: right}
	null := NewConst(datum.Datum{}, first.Type())
	return fold(&caseExpr{conditions: []Expr{equal}, results: []Expr{null, first}, typ: first.Type()}), nil
}
