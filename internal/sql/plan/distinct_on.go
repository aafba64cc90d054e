package plan

import (
	"github.com/kalamdb/kalamdb-go/internal/sql/expr"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
)

// DistinctOn keeps the first row of each group of rows with equal keys. NULLs are equal here.
type DistinctOn struct {
	Input Node
	Keys  []expr.Expr
}

// Width implements Node.
func (d *DistinctOn) Width() int { return d.Input.Width() }

func (d *DistinctOn) describe(p *printer) {
	p.line("DistinctOn: %s", list(d.Keys))
	p.child(d.Input)
}

// distinctOn orders rows and keeps the first ones of DISTINCT ON. ORDER BY must begin with its expressions,
// so that it decides which row is first and nothing else does.
func (b *queryBuilder) distinctOn(
	root Node, body *parse.Select, orderBy []parse.OrderItem, outputs []output, scope *expr.Scope, grouping *expr.Grouping,
) (Node, error) {
	root, err := b.sorted(root, orderBy, outputs, scope, grouping, nil)
	if err != nil {
		return nil, err
	}
	keys, known := make([]expr.Expr, len(body.DistinctOn)), map[string]bool{}
	options := b.scoped("DISTINCT ON", scope, grouping)
	options.Windows = b.over
	for i, node := range body.DistinctOn {
		target, err := orderTarget(&parse.OrderItem{Expr: node}, outputs)
		if err != nil {
			return nil, err
		}
		if target >= 0 {
			keys[i] = outputs[target].expr
		} else if keys[i], err = expr.Bind(node, scope, options); err != nil {
			return nil, err
		}
		known[keys[i].String()] = true
	}
	if sort, ok := root.(*Sort); ok {
		for i := range min(len(known), len(sort.Keys)) {
			if !known[sort.Keys[i].Expr.String()] {
				return nil, invalid(&orderBy[i], "ORDER BY must begin with the expressions of DISTINCT ON")
			}
		}
	}
	return &DistinctOn{Input: root, Keys: keys}, nil
}
