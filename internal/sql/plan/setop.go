package plan

import (
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/sql/expr"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
)

// SetOperation combines the rows of two nodes that have the same types. NULLs are equal here.
type SetOperation struct {
	Left, Right Node
	Op          parse.SetOperator
	All         bool // a row counts as often as it is there
}

// Width implements Node.
func (s *SetOperation) Width() int { return s.Left.Width() }

// body plans an operand of a set operation.
func (b *queryBuilder) body(node parse.QueryBody) (Node, []Column, error) {
	switch n := node.(type) {
	case *parse.Select:
		return b.selectBody(n, nil, nil)
	case *parse.Values:
		return b.valuesBody(n, nil, nil)
	case *parse.SetOperation:
		return b.setOperation(n)
	case *parse.Query:
		inner := &queryBuilder{env: b.env, outer: b.outer, named: b.named, relations: b.relations, repeats: b.repeats}
		root, columns, err := inner.query(n)
		b.scans = append(b.scans, inner.scans...)
		return root, columns, err
	}
	return nil, nil, unsupported(node, "this query is not supported")
}

func (b *queryBuilder) setOperation(node *parse.SetOperation) (Node, []Column, error) {
	left, leftColumns, err := b.body(node.Left)
	if err != nil {
		return nil, nil, err
	}
	right, rightColumns, err := b.body(node.Right)
	if err != nil {
		return nil, nil, err
	}
	if len(leftColumns) != len(rightColumns) {
		return nil, nil, invalid(node, "the sides of a set operation have %d and %d columns", len(leftColumns), len(rightColumns))
	}
	columns := make([]Column, len(leftColumns))
	for i := range columns {
		t, ok := expr.CommonType(leftColumns[i].Type, rightColumns[i].Type)
		if !ok {
			return nil, nil, invalid(node, "column %d of a set operation is %s on one side and %s on the other; cast one of them",
				i+1, leftColumns[i].Type, rightColumns[i].Type)
		}
		columns[i] = Column{Name: leftColumns[i].Name, Type: t}
	}
	operation := &SetOperation{
		Left: castColumns(left, leftColumns, columns), Right: castColumns(right, rightColumns, columns), Op: node.Op, All: node.All,
	}
	return operation, columns, nil
}

// castColumns gives rows the types of columns.
func castColumns(node Node, from, to []Column) Node {
	exprs, differs := make([]expr.Expr, len(from)), false
	for i := range from {
		column := expr.NewColumn(i, from[i].Type, from[i].Name)
		exprs[i] = column
		if from[i].Type.Kind != datum.Null {
			exprs[i] = expr.NewCast(column, to[i].Type)
		}
		differs = differs || exprs[i] != column
	}
	if !differs {
		return node
	}
	return &Project{Input: node, Exprs: exprs}
}

// orderedBody orders rows whose columns are all that ORDER BY may name.
func (b *queryBuilder) orderedBody(root Node, columns []Column, orderBy []parse.OrderItem, limit *Limit) (Node, error) {
	names := make([]expr.Column, len(columns))
	outputs := make([]output, len(columns))
	for i := range columns {
		names[i] = expr.Column{Name: columns[i].Name, Type: columns[i].Type, Position: i}
		outputs[i] = output{expr: expr.NewColumn(i, columns[i].Type, columns[i].Name), name: columns[i].Name}
	}
	return b.sorted(root, orderBy, outputs, expr.NewScope(names...), nil, limit)
}
