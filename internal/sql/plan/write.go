package plan

import (
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/sql/expr"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
)

// target finds the table of a change and checks that the caller may change it.
func (e *Environment) target(name parse.ObjectName) (*schema.Table, error) {
	found, err := e.lookup(name)
	if err != nil {
		return nil, err
	}
	switch {
	case found.Kind == schema.KindView:
		return nil, invalid(name, "'%s' is a view; change the tables that it reads", found.FullName())
	case found.Kind == schema.KindSystem:
		return nil, at(name, fault.New(fault.PermissionDenied, "access denied: %s is read only", found.FullName()))
	case !canWrite(e.Caller.Role, found):
		return nil, at(name, fault.New(fault.PermissionDenied,
			"access denied: role %s cannot write to this table", e.Caller.Role))
	case found.Kind == schema.KindShared && e.impersonating:
		return nil, at(name, impersonatedShared())
	}
	return found, nil
}

func impersonatedShared() *fault.Error {
	return fault.New(fault.PermissionDenied, "access denied: EXECUTE AS USER cannot be used on SHARED tables")
}

func (b *queryBuilder) insert(node *parse.Insert) (Statement, error) {
	e := b.env
	found, err := e.target(node.Table)
	if err != nil {
		return nil, err
	}
	insert := &Insert{Table: found}
	if err = b.with(node.With); err != nil {
		return nil, err
	}
	if insert.Conflict, err = b.conflict(node, found); err != nil {
		return nil, err
	}
	if insert.Returning, err = b.returningOf(node.Returning, found, node.Alias); err != nil {
		return nil, err
	}
	insert.Scans = b.scans
	if insert.Targets, err = insertTargets(node, found); err != nil {
		return nil, err
	}
	if node.Source == nil {
		insert.Targets, insert.Values = nil, [][]expr.Expr{{}}
		return insert, nil
	}
	values, isValues := node.Source.Body.(*parse.Values)
	if isValues && len(node.Source.OrderBy) == 0 && node.Source.Limit == nil && node.Source.Offset == nil && node.Source.With == nil {
		return insert, b.insertValues(insert, node, values)
	}
	return insert, b.insertQuery(insert, node)
}

// insertTargets resolves the column list; without one, the declared columns in order.
func insertTargets(node *parse.Insert, found *schema.Table) ([]int, error) {
	if len(node.Columns) == 0 {
		targets := make([]int, len(found.Columns))
		for i := range targets {
			targets[i] = i
		}
		return targets, nil
	}
	targets := make([]int, len(node.Columns))
	seen := make([]bool, len(found.Columns))
	for i, column := range node.Columns {
		position, err := assignable(column, found)
		if err != nil {
			return nil, err
		}
		if seen[position] {
			return nil, invalid(column, "column '%s' is named twice", column.Name)
		}
		seen[position], targets[i] = true, position
	}
	return targets, nil
}

// assignable finds a declared column by name.
func assignable(column parse.Ident, found *schema.Table) (int, error) {
	if column.Name == schema.SeqColumn || column.Name == schema.DeletedColumn {
		return 0, invalid(column, "system column '%s' cannot be assigned", column.Name)
	}
	position, ok := found.Column(column.Name)
	if !ok {
		return 0, invalid(column, "column '%s' not found in table '%s'", column.Name, found.FullName())
	}
	return position, nil
}

func (b *queryBuilder) insertValues(insert *Insert, node *parse.Insert, values *parse.Values) error {
	options := b.scoped("VALUES", nil, nil)
	// Fewer values than columns are allowed only when the columns are not listed.
	maxWidth, minWidth := len(insert.Targets), len(insert.Targets)
	if len(node.Columns) == 0 {
		minWidth = 1
	}
	width := len(values.Rows[0])
	insert.Values = make([][]expr.Expr, len(values.Rows))
	cells := make([]expr.Expr, width*len(values.Rows))
	for i, row := range values.Rows {
		switch {
		case len(row) != width:
			return invalid(row[0], "VALUES lists must all have the same length: %d and %d", width, len(row))
		case len(row) > maxWidth || len(row) < minWidth:
			return invalid(row[0], "INSERT has %d target columns but %d values", maxWidth, len(row))
		}
		bound := cells[i*width : (i+1)*width : (i+1)*width]
		for j, cell := range row {
			if _, isDefault := cell.(*parse.DefaultValue); isDefault {
				continue
			}
			var err error
			column := &insert.Table.Columns[insert.Targets[j]]
			if bound[j], err = expr.BindAs(cell, nil, options, column.Type); err != nil {
				return inColumn(err, column.Name)
			}
		}
		insert.Values[i] = bound
	}
	insert.Targets, insert.Scans = insert.Targets[:width], b.scans
	return nil
}

// inColumn names the column that a value was meant for.
func inColumn(err error, name string) error {
	kind := fault.KindOf(err)
	if kind != fault.InvalidStatement && kind != fault.OutOfRange {
		return err
	}
	return wrapFault(err, "column '"+name+"': ")
}

func (b *queryBuilder) insertQuery(insert *Insert, node *parse.Insert) error {
	inner := &queryBuilder{env: b.env, named: b.named, relations: b.relations}
	root, columns, err := inner.query(node.Source)
	if err != nil {
		return err
	}
	root = b.env.optimize(root)
	markNeeded(root)
	width := len(columns)
	if width > len(insert.Targets) || width < len(insert.Targets) && len(node.Columns) > 0 {
		return invalid(node.Source, "INSERT has %d target columns but the query gives %d", len(insert.Targets), width)
	}
	insert.Targets = insert.Targets[:width]
	insert.Source, insert.Scans = root, append(insert.Scans, inner.scans...)
	insert.Casts = make([]expr.Expr, width)
	for i, position := range insert.Targets {
		source := expr.NewColumn(i, columns[i].Type, columns[i].Name)
		insert.Casts[i] = expr.NewCast(source, insert.Table.Columns[position].Type)
	}
	return nil
}

func (b *queryBuilder) update(node *parse.Update) (Statement, error) {
	found, err := b.env.target(node.Table)
	if err != nil {
		return nil, err
	}
	if found.Kind == schema.KindStream {
		return nil, unsupported(node, "rows of STREAM tables cannot be updated; insert a new row")
	}
	if node.Where == nil {
		return nil, invalid(node, "UPDATE needs a WHERE clause; use WHERE true to change every row")
	}
	update := &Update{}
	if err = b.with(node.With); err != nil {
		return nil, err
	}
	scope, flags := tableScope(found, node.Alias)
	rows := relation{scope: scope, flags: flags}
	if len(node.From) > 0 {
		update.Scan, rows, err = b.joined(node.Table, found, node.Alias, node.From, node.Where)
	} else {
		update.Scan, err = b.changedRows(node.Table, found, scope, node.Where)
	}
	if err != nil {
		return nil, err
	}
	if update.Assignments, err = b.assignments(node.Set, found, rows.scope); err != nil {
		return nil, err
	}
	if update.Returning, err = b.returning(node.Returning, found, &rows); err != nil {
		return nil, err
	}
	if len(node.From) > 0 {
		update.Joined = b.finishJoined(rows, found, update.Assignments, update.Returning)
	}
	update.Sources = b.scans
	return update, nil
}

func (b *queryBuilder) assignment(node *parse.Assignment, found *schema.Table, scope *expr.Scope) (Assignment, error) {
	if node.Tuple || len(node.Columns) != 1 {
		return Assignment{}, unsupported(node, "assigning to a list of columns is not supported; assign them one by one")
	}
	position, err := assignable(node.Columns[0], found)
	if err != nil {
		return Assignment{}, err
	}
	column := &found.Columns[position]
	if column.PrimaryKey {
		return Assignment{}, invalid(node, "primary key column '%s' cannot be updated", column.Name)
	}
	if _, isDefault := node.Value.(*parse.DefaultValue); isDefault {
		assignment := Assignment{Position: position}
		assignment.Value, err = defaultExpr(column)
		return assignment, err
	}
	value, err := expr.BindAs(node.Value, scope, b.scoped("SET", scope, nil), column.Type)
	if err != nil {
		return Assignment{}, inColumn(err, column.Name)
	}
	return Assignment{Position: position, Value: value}, nil
}

// defaultExpr is a column's default as an expression.
func defaultExpr(column *schema.Column) (expr.Expr, error) {
	name := ""
	switch column.Default.Kind {
	case schema.DefaultNone:
		return expr.NewConst(datum.Datum{}, column.Type), nil
	case schema.DefaultLiteral:
		return expr.NewConst(column.Default.Literal, column.Type), nil
	case schema.DefaultNow:
		name = "now"
	case schema.DefaultSnowflake:
		name = "snowflake_id"
	case schema.DefaultUUIDv7:
		name = "uuid_v7"
	case schema.DefaultULID:
		name = "ulid"
	case schema.DefaultCurrentUser:
		name = "current_user"
	}
	call := &parse.FuncCall{Name: parse.ObjectName{Name: name}}
	return expr.BindAs(call, nil, expr.Options{Clause: "DEFAULT"}, column.Type)
}

func (b *queryBuilder) delete(node *parse.Delete) (Statement, error) {
	found, err := b.env.target(node.Table)
	if err != nil {
		return nil, err
	}
	if node.Where == nil {
		return nil, invalid(node, "DELETE needs a WHERE clause; use WHERE true to delete every row")
	}
	deletion := &Delete{}
	if err = b.with(node.With); err != nil {
		return nil, err
	}
	scope, flags := tableScope(found, node.Alias)
	rows := relation{scope: scope, flags: flags}
	if len(node.Using) > 0 {
		deletion.Scan, rows, err = b.joined(node.Table, found, node.Alias, node.Using, node.Where)
	} else {
		deletion.Scan, err = b.changedRows(node.Table, found, scope, node.Where)
	}
	if err != nil {
		return nil, err
	}
	if deletion.Returning, err = b.returning(node.Returning, found, &rows); err != nil {
		return nil, err
	}
	if len(node.Using) > 0 {
		deletion.Joined = b.finishJoined(rows, found, nil, deletion.Returning)
	}
	deletion.Sources = b.scans
	return deletion, nil
}

// changedRows scans the live rows that a change is about. A tombstone cannot be changed, whatever WHERE
// says of _deleted.
func (b *queryBuilder) changedRows(ref parse.Node, found *schema.Table, scope *expr.Scope, where parse.Expr) (*Scan, error) {
	scan, err := b.env.scan(ref, found)
	if err != nil {
		return nil, err
	}
	if scan.Condition, err = expr.BindCondition(where, scope, b.scoped("WHERE", scope, nil)); err != nil {
		return nil, err
	}
	scan.need(nil)
	return scan, nil
}
