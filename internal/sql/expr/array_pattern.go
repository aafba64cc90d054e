package expr

import (
	"strings"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
)

// patternsExpr is x LIKE ANY (array), or with another operator on texts: the test reads x and one element.
type patternsExpr struct {
	op          string
	all         bool
	left, array Expr
	test        Expr
}

func (e *patternsExpr) Type() datum.Type { return booleanType }
func (e *patternsExpr) Eval(ctx *EvalContext, row []datum.Datum) (datum.Datum, error) {
	array, err := e.array.Eval(ctx, row)
	if err != nil || array.IsNull() {
		return datum.Datum{}, err
	}
	pair := make([]datum.Datum, 2)
	if pair[0], err = e.left.Eval(ctx, row); err != nil {
		return datum.Datum{}, err
	}
	unknown := false
	for _, pair[1] = range array.Array() {
		found, err := e.test.Eval(ctx, pair)
		switch {
		case err != nil:
			return datum.Datum{}, err
		case found.IsNull():
			unknown = true
		case found.Bool() != e.all:
			return datum.NewBool(!e.all), nil
		}
	}
	if unknown {
		return datum.Datum{}, nil
	}
	return datum.NewBool(e.all), nil
}

func (e *patternsExpr) String() string {
	word := " ANY "
	if e.all {
		word = " ALL "
	}
	return "(" + e.left.String() + " " + e.op + word + "(" + e.array.String() + "))"
}
func (e *patternsExpr) children() []Expr { return []Expr{e.left, e.array} }
func (e *patternsExpr) rebuild(operands []Expr) Expr {
	return &patternsExpr{op: e.op, all: e.all, left: operands[0], array: operands[1], test: e.test}
}
func (e *patternsExpr) volatility() volatility { return stable }

// bindPatterns reads an operator on texts with ANY or ALL of an array.
func (b *binder) bindPatterns(n *parse.Quantified) (Expr, error) {
	text := datum.Of(datum.Text)
	value := &parse.ColumnRef{Pos: n.Pos, Name: "value"}
	pattern := &parse.ColumnRef{Pos: n.Pos, Name: "pattern"}
	var node parse.Expr
	op, negated := strings.CutPrefix(string(n.Op), "NOT ")
	switch op {
	case "LIKE", "ILIKE":
		like := &parse.Like{Pos: n.Pos, Not: negated, Expr: value, Pattern: pattern}
		if op == "ILIKE" {
			like.Kind = parse.LikeFold
		}
		node = like
	case "~", "~*", "!~", "!~*", "~~", "!~~", "~~*", "!~~*":
		node = &parse.Binary{Pos: n.Pos, Op: n.Op, Left: value, Right: pattern}
	default:
		return nil, faultAt(n, fault.Unsupported, "operator %s is not supported with ANY and ALL", n.Op)
	}
	test, err := Bind(node, NewScope(Column{Name: "value", Type: text}, Column{Name: "pattern", Type: text, Position: 1}), Options{Clause: b.options.Clause})
	if err != nil {
		return nil, err
	}
	left, err := b.bindTextual(n.Left, op)
	if err != nil {
		return nil, err
	}
	array, err := b.bind(n.Array)
	if err != nil {
		return nil, err
	}
	if array, err = b.convert(array, datum.Type{Kind: datum.Array, Elem: datum.Text}, n.Array); err != nil {
		return nil, err
	}
	return &patternsExpr{op: string(n.Op), all: n.All, left: left, array: array, test: test}, nil
}
