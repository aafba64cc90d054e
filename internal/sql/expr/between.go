package expr

import "github.com/kalamdb/kalamdb-go/internal/sql/parse"

func (b *binder) bindBetween(n *parse.Between) (Expr, error) {
	operand, err := b.bind(n.Expr)
	if err != nil {
		return nil, err
	}
	bounds := [2]Expr{}
	for i, node := range []parse.Expr{n.Low, n.High} {
		if bounds[i], err = b.bind(node); err != nil {
			return nil, err
		}
	}
	low, high := bounds[0], bounds[1]
	times, nodes := 1, []parse.Expr{n.Expr, n.Low, n.High}
	if n.Symmetric {
		times = 3
		if err = b.repeat(1, nodes[1:], low, high); err != nil {
			return nil, err
		}
	}
	if err = b.repeat(times, nodes, operand); err != nil {
		return nil, err
	}
	e, err := b.within(operand, low, high, n.Expr, n.Low, n.High)
	if err != nil {
		return nil, err
	}
	if n.Symmetric {
		swapped, err := b.within(operand, high, low, n.Expr, n.High, n.Low)
		if err != nil {
			return nil, err
		}
		e = &logicalExpr{or: true, operands: []Expr{fold(e), fold(swapped)}}
	}
	return not(fold(e), n.Not), nil
}

// within is operand >= low AND operand <= high.
func (b *binder) within(operand, low, high Expr, operandNode, lowNode, highNode parse.Expr) (Expr, error) {
	left, lowBound, err := b.matchSides(operand, low, operandNode, lowNode)
	if err != nil {
		return nil, err
	}
	right, highBound, err := b.matchSides(operand, high, operandNode, highNode)
	if err != nil {
		return nil, err
	}
	return &logicalExpr{operands: []Expr{
		fold(&compareExpr{op: GreaterOrEqual, left: left, right: lowBound}),
		fold(&compareExpr{op: LessOrEqual, left: right, right: highBound}),
	}}, nil
}
