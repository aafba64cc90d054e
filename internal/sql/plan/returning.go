package plan

import (
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/sql/expr"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
)

// Returning is what a change gives for each row: computed over the declared columns of the new version, or
// of the removed one.
type Returning struct {
	Exprs   []expr.Expr
	Columns []Column
}

// Conflict is what an INSERT does with a row that has what another row has already, in one of the arbiters: the primary key or unique
// indexes. A conflict in what is none of them is an error.
type Conflict struct {
	// Update is false for DO NOTHING.
	Update bool
	// Any says that everything that is unique is an arbiter: DO NOTHING without a target.
	Any bool
	// Key says that the primary key is one.
	Key bool
	// Indexes are the ids of the unique indexes that are.
	Indexes []uint32
	// Assignments and Where read the row that is there, with _seq and _deleted, followed by the declared
	// columns of the row that was to be inserted.
	Assignments []Assignment
	Where       expr.Expr // nil is always
}

// returningOf binds RETURNING over the columns of a table.
func (b *queryBuilder) returningOf(items []parse.SelectItem, found *schema.Table, alias string) (*Returning, error) {
	scope, flags := tableScope(found, alias)
	return b.returning(items, found, &relation{scope: scope, flags: flags})
}

// returning binds RETURNING over rows that begin with the columns of the changed table; it is nil when there is none. Subqueries see what was
// there before the statement.
func (b *queryBuilder) returning(items []parse.SelectItem, found *schema.Table, rows *relation) (*Returning, error) {
	if len(items) == 0 {
		return nil, nil
	}
	outputs, err := b.outputs(items, &relation{scope: withoutSystem(rows.scope, found), flags: rows.flags}, nil)
	if err != nil {
		return nil, err
	}
	returning := &Returning{Columns: columnsOf(outputs)}
	for i := range outputs {
		returning.Exprs = append(returning.Exprs, outputs[i].expr)
	}
	return returning, nil
}

// conflict binds ON CONFLICT; it is nil when there is none.
func (b *queryBuilder) conflict(node *parse.Insert, found *schema.Table) (*Conflict, error) {
	clause := node.OnConflict
	if clause == nil {
		return nil, nil
	}
	conflict := &Conflict{Update: len(clause.Set) > 0}
	if err := b.arbiters(conflict, clause, found, node.Alias); err != nil {
		return nil, err
	}
	if !conflict.Update {
		return conflict, nil
	}
	existing, _ := tableScope(found, node.Alias)
	columns := existing.Columns()
	width := len(columns)
	columns = columns[:width:width]
	for i := range found.Columns {
		columns = append(columns, expr.Column{
			Table: "excluded", Name: found.Columns[i].Name, Type: found.Columns[i].Type, Position: width + i, Qualified: true,
		})
	}
	scope := expr.NewScope(columns...)
	var err error
	if conflict.Assignments, err = b.assignments(clause.Set, found, scope); err != nil {
		return nil, err
	}
	if clause.Where != nil {
		conflict.Where, err = expr.BindCondition(clause.Where, scope, b.scoped("WHERE", scope, nil))
	}
	return conflict, err
}

// assignments binds the SET list of a change.
func (b *queryBuilder) assignments(list []parse.Assignment, found *schema.Table, scope *expr.Scope) ([]Assignment, error) {
	seen := make([]bool, len(found.Columns))
	assignments := make([]Assignment, 0, len(list))
	list, err := oneByOne(list)
	if err != nil {
		return nil, err
	}
	for i := range list {
		assignment, err := b.assignment(&list[i], found, scope)
		if err != nil {
			return nil, err
		}
		if seen[assignment.Position] {
			return nil, invalid(&list[i], "column '%s' is assigned twice", found.Columns[assignment.Position].Name)
		}
		seen[assignment.Position] = true
		assignments = append(assignments, assignment)
	}
	return assignments, nil
}

// oneByOne takes (a, b) = (x, y) apart.
func oneByOne(list []parse.Assignment) ([]parse.Assignment, error) {
	var out []parse.Assignment
	for i := range list {
		row, ok := list[i].Value.(*parse.Row)
		if query, isQuery := list[i].Value.(*parse.Subquery); isQuery && list[i].Tuple {
			var err error
			if row, err = fromQuery(&list[i], query); err != nil {
				return nil, err
			}
			ok = true
		}
		if !list[i].Tuple || !ok {
			out = append(out, list[i])
			continue
		}
		if len(row.Elements) != len(list[i].Columns) {
			return nil, invalid(&list[i], "%d columns are assigned %d values", len(list[i].Columns), len(row.Elements))
		}
		for k, column := range list[i].Columns {
			out = append(out, parse.Assignment{Pos: column.Pos, Columns: []parse.Ident{column}, Value: row.Elements[k]})
		}
	}
	return out, nil
}

// fromQuery takes (a, b) = (SELECT x, y ..) apart: each column has a query of its own, which gives one of the values.
func fromQuery(assignment *parse.Assignment, value *parse.Subquery) (*parse.Row, error) {
	if width := queryWidth(value.Query.Body); width != len(assignment.Columns) {
		if width < 0 {
			return nil, unsupported(value, "a query that is assigned to several columns must name its columns instead of *")
		}
		return nil, invalid(assignment, "%d columns are assigned %d values", len(assignment.Columns), width)
	}
	const name = "assigned"
	alias := parse.TableAlias{Pos: value.Pos, Name: name}
	for i := range assignment.Columns {
		alias.Columns = append(alias.Columns, parse.Ident{Pos: value.Pos, Name: columnLabel(i)})
	}
	row := &parse.Row{Pos: value.Pos}
	for _, column := range alias.Columns {
		item := parse.SelectItem{Pos: value.Pos, Expr: &parse.ColumnRef{Pos: value.Pos, Table: name, Name: column.Name}}
		from := []parse.TableExpr{&parse.SubqueryRef{Pos: value.Pos, Query: value.Query, Alias: alias}}
		query := &parse.Query{Pos: value.Pos, Body: &parse.Select{Pos: value.Pos, Items: []parse.SelectItem{item}, From: from}}
		row.Elements = append(row.Elements, &parse.Subquery{Pos: value.Pos, Query: query})
	}
	return row, nil
}

// queryWidth is the number of columns that a query is written with, -1 when a * stands among them.
func queryWidth(body parse.QueryBody) int {
	switch n := body.(type) {
	case *parse.Select:
		for i := range n.Items {
			if _, star := n.Items[i].Expr.(*parse.Star); star {
				return -1
			}
		}
		return len(n.Items)
	case *parse.Values:
		return len(n.Rows[0])
	case *parse.SetOperation:
		return queryWidth(n.Left)
	case *parse.Query:
		return queryWidth(n.Body)
	}
	return -1
}

// Compute evaluates RETURNING for a row.
func (r *Returning) Compute(eval *expr.EvalContext, row []datum.Datum) ([]datum.Datum, error) {
	result := make([]datum.Datum, len(r.Exprs))
	for i, e := range r.Exprs {
		value, err := e.Eval(eval, row)
		if err != nil {
			return nil, err
		}
		result[i] = value
	}
	return result, nil
}
