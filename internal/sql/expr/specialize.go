package expr

import (
	"cmp"

	"github.com/kalamdb/kalamdb-go/internal/datum"
)

// specialize replaces a prepared node by one that computes the same faster, where there is one.
func specialize(e Expr) Expr {
	if comparison, ok := e.(*compareExpr); ok {
		return specializeComparison(comparison)
	}
	return e
}

// wholeComparison compares a column with a constant where both are whole numbers, or instants of one kind. All else
// about it is the comparison that it stands for.
type wholeComparison struct {
	*compareExpr
	place    int
	op       Comparison // of the column with the constant
	constant int64
}

func specializeComparison(e *compareExpr) Expr {
	column, isColumn := e.left.(*columnExpr)
	constant, isConst := e.right.(*constExpr)
	op := e.op
	if !isColumn || !isConst {
		column, isColumn = e.right.(*columnExpr)
		constant, isConst = e.left.(*constExpr)
		op = op.mirrored()
	}
	if !isColumn || !isConst || constant.value.IsNull() {
		return e
	}
	kind, other := column.typ.Kind, constant.value.Kind()
	switch {
	case kind.IsInteger() && other.IsInteger():
	case kind == other && (kind == datum.Timestamp || kind == datum.DateTime || kind == datum.Date || kind == datum.Time):
	default:
		return e
	}
	return &wholeComparison{compareExpr: e, place: column.position, op: op, constant: constant.value.Int()}
}

// Eval implements Expr.
func (e *wholeComparison) Eval(ctx *EvalContext, row []datum.Datum) (datum.Datum, error) {
	if uint(e.place) >= uint(len(row)) {
		return e.compareExpr.Eval(ctx, row) // reports it
	}
	value := &row[e.place]
	if value.IsNull() {
		return datum.Datum{}, nil
	}
	return datum.NewBool(e.op.holds(cmp.Compare(value.Int(), e.constant))), nil
}
