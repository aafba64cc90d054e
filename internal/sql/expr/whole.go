package expr

import (
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
)

// wholeExpr makes a BigInt of a decimal or a float that is an argument counting something. What has a fraction is refused:
// rounded it would be an answer to another question. 2024 as extract gives it is good.
type wholeExpr struct {
	operand Expr
	name    string // of the function
	index   int    // of the argument, from 1
	node    parse.Expr
}

// counting makes a BigInt of an argument.
func (b *binder) counting(e Expr, class operandClass, name string, index int, node parse.Expr) (Expr, error) {
	k, untyped := e.Type().Kind, isUntyped(e)
	switch {
	case !untyped && !k.IsNumeric():
		return nil, mismatched(e, name, index, node)
	case class == integerOperand && !untyped && !k.IsInteger():
		return newWhole(e, name, index+1, node)
	}
	return b.convert(e, datum.Of(datum.BigInt), node)
}

// newWhole refuses a constant with a fraction before anything runs.
func newWhole(e Expr, name string, index int, node parse.Expr) (Expr, error) {
	whole := &wholeExpr{operand: e, name: name, index: index, node: node}
	if _, isConst := e.(*constExpr); isConst {
		if _, err := whole.Eval(nil, nil); err != nil {
			return nil, err
		}
	}
	return fold(whole), nil
}

func (e *wholeExpr) Type() datum.Type { return datum.Of(datum.BigInt) }
func (e *wholeExpr) Eval(ctx *EvalContext, row []datum.Datum) (datum.Datum, error) {
	value, err := e.operand.Eval(ctx, row)
	if err != nil || value.IsNull() {
		return datum.Datum{}, err
	}
	whole, err := datum.Cast(value, datum.Of(datum.BigInt))
	if err != nil {
		return datum.Datum{}, positioned(err, e.node)
	}
	if !datum.Equal(whole, value) {
		return datum.Datum{}, faultAt(e.node, fault.InvalidStatement, "argument %d of %s must be a whole number, not %s", e.index, e.name, value)
	}
	return whole, nil
}

func (e *wholeExpr) String() string   { return "WHOLE(" + e.operand.String() + ")" }
func (e *wholeExpr) children() []Expr { return []Expr{e.operand} }
func (e *wholeExpr) rebuild(operands []Expr) Expr {
	return &wholeExpr{operand: operands[0], name: e.name, index: e.index, node: e.node}
}
func (e *wholeExpr) volatility() volatility { return immutable }
