package plan

import (
	"strconv"

	"github.com/kalamdb/kalamdb-go/internal/sql/expr"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
)

// selectBody plans a SELECT with the ORDER BY of its query. The order of work is that of SQL: FROM,
// WHERE, GROUP BY, HAVING, the select list, DISTINCT, ORDER BY.
func (b *queryBuilder) selectBody(body *parse.Select, orderBy []parse.OrderItem, limit *Limit) (Node, []Column, error) {
	switch {
	case len(body.Items) == 0:
		return nil, nil, invalid(body, "the select list is empty")
	}
	body, err := withoutRows(body)
	if err != nil {
		return nil, nil, err
	}
	defer func() { b.over = nil }()
	from, err := b.relationOf(body.From)
	if err != nil {
		return nil, nil, err
	}
	if err = b.where(&from, body.Where); err != nil {
		return nil, nil, err
	}
	grouping, err := b.grouping(body, orderBy, from.scope)
	if err != nil {
		return nil, nil, err
	}
	b.over = b.windows(body, orderBy, &from, grouping)
	outputs, err := b.outputs(body.Items, &from, grouping)
	if err != nil {
		return nil, nil, err
	}
	root := from.node
	var having expr.Expr
	if body.Having != nil {
		options := b.scoped("HAVING", from.scope, grouping)
		if having, err = expr.BindCondition(body.Having, from.scope, options); err != nil {
			return nil, nil, err
		}
	}
	if grouping != nil {
		// The node shares the grouping, so calls that ORDER BY adds below are computed too.
		root = &Aggregate{Input: root, Grouping: grouping}
	}
	if having != nil {
		root = &Filter{Input: root, Condition: having}
	}
	if b.over != nil {
		root = &Window{Input: root, Windows: b.over}
	}
	if len(body.DistinctOn) > 0 {
		root, err = b.distinctOn(root, body, orderBy, outputs, from.scope, grouping)
		return project(root, outputs), columnsOf(outputs), err
	}
	if !body.Distinct {
		if root, err = b.sorted(root, orderBy, outputs, from.scope, grouping, limit); err != nil {
			return nil, nil, err
		}
		root = withoutSort(root)
		return project(root, outputs), columnsOf(outputs), nil
	}
	root = &Distinct{Input: project(root, outputs)}
	root, err = b.sortedDistinct(root, orderBy, outputs, from.scope, grouping, limit)
	return root, columnsOf(outputs), err
}

// where puts a condition on the rows of a FROM clause, inside the scan where there is one.
func (b *queryBuilder) where(from *relation, node parse.Expr) error {
	if node == nil {
		return nil
	}
	condition, err := expr.BindCondition(node, from.scope, b.scoped("WHERE", from.scope, nil))
	if err != nil {
		return err
	}
	from.filter(condition)
	return nil
}

// grouping binds GROUP BY; it is nil for a query without groups.
func (b *queryBuilder) grouping(body *parse.Select, orderBy []parse.OrderItem, scope *expr.Scope) (*expr.Grouping, error) {
	if len(body.GroupBy) == 0 && body.Having == nil && !aggregates(body, orderBy) {
		return nil, nil
	}
	keys := &groupingKeys{builder: b, items: body.Items, scope: scope, grouping: &expr.Grouping{}}
	return keys.grouping, keys.all(body)
}

// groupTarget resolves an item of GROUP BY: a column of the input, else the number or the alias of an
// output column, else the expression itself.
func groupTarget(node parse.Expr, items []parse.SelectItem, scope *expr.Scope) (parse.Expr, error) {
	switch item := node.(type) {
	case *parse.IntegerLiteral:
		if item.Value < 1 || item.Value > int64(len(items)) {
			return nil, invalid(item, "GROUP BY position %d is not in the select list", item.Value)
		}
		return items[item.Value-1].Expr, nil
	case *parse.ColumnRef:
		if _, err := scope.Resolve(item); err == nil || item.Table != "" {
			return node, nil
		}
		for i := range items {
			if items[i].Alias == item.Name {
				return items[i].Expr, nil
			}
		}
	}
	return node, nil
}

// outputs binds the select list.
func (b *queryBuilder) outputs(items []parse.SelectItem, from *relation, grouping *expr.Grouping) ([]output, error) {
	outputs := make([]output, 0, len(items))
	options := b.scoped("SELECT", from.scope, grouping)
	options.Windows = b.over
	for i := range items {
		if star, ok := items[i].Expr.(*parse.Star); ok {
			columns, err := from.scope.Expand(star)
			if err != nil {
				return nil, err
			}
			if len(columns) == 0 {
				return nil, invalid(star, "SELECT * needs a table in FROM")
			}
			if b.env.stars != nil {
				columns = b.env.spell(star, columns)
			}
			for _, column := range columns {
				ref := &parse.ColumnRef{Pos: star.Pos, Namespace: column.Namespace, Table: column.Table, Name: column.Name}
				bound := expr.NewColumn(column.Position, column.Type, column.Name)
				if grouping != nil {
					if bound, err = expr.Bind(ref, from.scope, options); err != nil {
						return nil, err
					}
				}
				outputs = append(outputs, output{expr: bound, name: column.Name, flags: from.flagsAt(column.Position)})
			}
			continue
		}
		bound, err := expr.Bind(items[i].Expr, from.scope, options)
		if err != nil {
			return nil, err
		}
		outputs = append(outputs, output{
			node: items[i].Expr, expr: expr.Displayed(bound), name: outputName(&items[i]), flags: from.flagsOf(items[i].Expr),
		})
	}
	return outputs, nil
}

func (r *relation) flagsAt(position int) Flags {
	if position < len(r.flags) {
		return r.flags[position]
	}
	return 0
}

// flagsOf returns the flags of an output that is a plain column.
func (r *relation) flagsOf(node parse.Expr) Flags {
	ref, ok := node.(*parse.ColumnRef)
	if !ok {
		return 0
	}
	column, err := r.scope.Resolve(ref)
	if err != nil {
		return 0
	}
	return r.flagsAt(column.Position)
}

// outputName is the alias, the column's name, or the expression as text.
func outputName(item *parse.SelectItem) string {
	if item.Alias != "" {
		return item.Alias
	}
	switch e := item.Expr.(type) {
	case *parse.ColumnRef:
		return e.Name
	case *parse.Field:
		return e.Name
	}
	return parse.Print(item.Expr)
}

func columnLabel(i int) string { return "column" + strconv.Itoa(i+1) }

func project(input Node, outputs []output) Node {
	exprs := make([]expr.Expr, len(outputs))
	for i := range outputs {
		exprs[i] = outputs[i].expr
	}
	return &Project{Input: input, Exprs: exprs}
}

func columnsOf(outputs []output) []Column {
	columns := make([]Column, len(outputs))
	for i := range outputs {
		columns[i] = Column{Name: outputs[i].name, Type: outputs[i].expr.Type(), Flags: outputs[i].flags, Fields: expr.FieldsOf(outputs[i].expr)}
	}
	return columns
}

// sorted orders rows before the select list is computed, so that ORDER BY sees the columns of the input
// as well as those of the output.
func (b *queryBuilder) sorted(
	root Node, orderBy []parse.OrderItem, outputs []output, scope *expr.Scope, grouping *expr.Grouping, limit *Limit,
) (Node, error) {
	if len(orderBy) == 0 {
		return root, nil
	}
	options := b.scoped("ORDER BY", scope, grouping)
	options.Windows = b.over
	keys := make([]expr.Order, len(orderBy))
	for i := range orderBy {
		target, err := orderTarget(&orderBy[i], outputs)
		if err != nil {
			return nil, err
		}
		var key expr.Expr
		if target >= 0 {
			key = outputs[target].expr
		} else if key, err = expr.Bind(orderBy[i].Expr, scope, options); err != nil {
			return nil, err
		}
		keys[i] = orderOf(&orderBy[i], key)
	}
	return &Sort{Input: root, Keys: keys, Top: limit}, nil
}

// sortedDistinct orders the distinct rows of a select list; ORDER BY may only name what is in it.
func (b *queryBuilder) sortedDistinct(
	root Node, orderBy []parse.OrderItem, outputs []output, scope *expr.Scope, grouping *expr.Grouping, limit *Limit,
) (Node, error) {
	if len(orderBy) == 0 {
		return root, nil
	}
	options := b.scoped("ORDER BY", scope, grouping)
	options.Windows = b.over
	keys := make([]expr.Order, len(orderBy))
	for i := range orderBy {
		target, err := orderTarget(&orderBy[i], outputs)
		if err != nil {
			return nil, err
		}
		if target < 0 {
			bound, err := expr.Bind(orderBy[i].Expr, scope, options)
			if err != nil {
				return nil, err
			}
			if target = sameOutput(bound, outputs); target < 0 {
				return nil, invalid(&orderBy[i], "for SELECT DISTINCT, ORDER BY expressions must appear in the select list")
			}
		}
		keys[i] = orderOf(&orderBy[i], expr.NewColumn(target, outputs[target].expr.Type(), outputs[target].name))
	}
	return &Sort{Input: root, Keys: keys, Top: limit}, nil
}

func sameOutput(bound expr.Expr, outputs []output) int {
	text := bound.String()
	for i := range outputs {
		if outputs[i].expr.String() == text {
			return i
		}
	}
	return -1
}

// orderTarget finds the output column that an item of ORDER BY names by number or by name; -1 when it is
// an expression over the input.
func orderTarget(item *parse.OrderItem, outputs []output) (int, error) {
	switch node := item.Expr.(type) {
	case *parse.IntegerLiteral:
		if node.Value < 1 || node.Value > int64(len(outputs)) {
			return -1, invalid(node, "ORDER BY position %d is not in the select list", node.Value)
		}
		return int(node.Value - 1), nil
	case *parse.ColumnRef:
		if node.Table != "" {
			return -1, nil
		}
		target := -1
		for i := range outputs {
			if outputs[i].name != node.Name {
				continue
			}
			if target >= 0 && outputs[i].expr.String() != outputs[target].expr.String() {
				return -1, invalid(node, "ORDER BY %q is ambiguous", node.Name)
			}
			target = i
		}
		return target, nil
	}
	return -1, nil
}

// orderOf applies the default that NULL sorts as the greatest value.
func orderOf(item *parse.OrderItem, key expr.Expr) expr.Order {
	nullsFirst := item.Descending
	switch item.Nulls {
	case parse.NullsFirst:
		nullsFirst = true
	case parse.NullsLast:
		nullsFirst = false
	case parse.NullsDefault:
	}
	return expr.Order{Expr: key, Descending: item.Descending, NullsFirst: nullsFirst}
}
