package expr

import (
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
)

// ungroupedExpr is a column that is no group key. It prints like the column, so that an expression over
// it can still equal a key; if it survives binding, the statement is refused.
type ungroupedExpr struct {
	columnExpr
	node *parse.ColumnRef
}

func (e *ungroupedExpr) rebuild([]Expr) Expr { return e }

// groupKey returns the column of the grouped row that holds e, or e itself.
func (b *binder) groupKey(e Expr) Expr {
	if c, ok := e.(*constExpr); ok {
		return c
	}
	// A key within a longer one is spelled as it reads input rows, as it is in the longer one: with grouping sets it is NULL in
	// other groups than the longer one, so it must not be taken for a part of it.
	text := written(e).String()
	for i, key := range b.options.Grouping.Keys {
		if key.String() == text {
			return &columnExpr{position: i, typ: key.Type(), name: "key " + text, key: key}
		}
	}
	return e
}

// written is an expression with the keys in it as they read input rows, for printing only.
func written(e Expr) Expr {
	if column, ok := e.(*columnExpr); ok && column.key != nil {
		return column.key
	}
	operands := e.children()
	if len(operands) == 0 {
		return e
	}
	replaced, differs := make([]Expr, len(operands)), false
	for i, operand := range operands {
		if operand != nil {
			replaced[i] = written(operand)
			differs = differs || replaced[i] != operand
		}
	}
	if !differs {
		return e
	}
	return e.rebuild(replaced)
}
