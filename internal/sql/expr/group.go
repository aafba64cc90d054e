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
	text := e.String()
	for i, key := range b.options.Grouping.Keys {
		if key.String() == text {
			return &columnExpr{position: i, typ: key.Type(), name: "key " + text}
		}
	}
	return e
}
