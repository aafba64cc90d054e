package parse

// query adds a query.
func (w *printer) query(query *Query) {
	w.with(query.With)
	if inner, nested := query.Body.(*Query); nested {
		w.parenthesised(inner)
	} else {
		w.body(query.Body)
	}
	w.orderBy(query.OrderBy)
	if query.Limit != nil && !query.WithTies {
		w.text(" LIMIT ")
		w.expression(query.Limit, bindNothing)
	}
	if query.Offset != nil {
		w.text(" OFFSET ")
		w.expression(query.Offset, bindNothing)
	}
	if query.Limit != nil && query.WithTies {
		w.text(" FETCH FIRST (")
		w.expression(query.Limit, bindNothing)
		w.text(") ROWS WITH TIES")
	}
}

// with adds WITH and its common tables, with a space behind.
func (w *printer) with(with *With) {
	if with == nil {
		return
	}
	w.text("WITH ")
	w.when(with.Recursive, "RECURSIVE ")
	for i, table := range with.Tables {
		w.separated(i)
		w.name(table.Name)
		if len(table.Columns) > 0 {
			w.text(" ")
			w.names(table.Columns)
		}
		w.text(" AS ")
		w.when(table.Materialized == MaterializeAlways, "MATERIALIZED ")
		w.when(table.Materialized == MaterializeNever, "NOT MATERIALIZED ")
		if table.Change == nil {
			w.parenthesised(table.Query)
			continue
		}
		w.text("(")
		w.rowStatement(table.Change)
		w.text(")")
	}
	w.text(" ")
}

// withChanges adds WITH and the statement behind it.
func (w *printer) withChanges(s *WithChanges) {
	w.with(s.With)
	if query, ok := s.Main.(*Query); ok && query.With != nil {
		w.parenthesised(query)
		return
	}
	w.rowStatement(s.Main)
}

// body adds the body of a query.
func (w *printer) body(body QueryBody) {
	switch b := body.(type) {
	case *Query:
		w.query(b)
	case *Select:
		w.selection(b)
	case *Values:
		w.values(b)
	case *SetOperation:
		strength := setBinding(b)
		w.setOperand(b.Left, strength)
		w.text([...]string{" UNION ", " INTERSECT ", " EXCEPT ", " UNION "}[b.Op&3])
		w.when(b.All, "ALL ")
		w.setOperand(b.Right, strength+1)
	}
}

// setBinding returns the strength of a body as an operand of a set operation.
func setBinding(body QueryBody) int {
	switch b := body.(type) {
	case *SetOperation:
		if b.Op == Intersect {
			return bindIntersect
		}
		return bindUnion
	case *Query:
		return bindUnion - 1
	}
	return bindIntersect + 1
}

// setOperand adds an operand of a set operation, in parentheses where needed.
func (w *printer) setOperand(body QueryBody, strength int) {
	if setBinding(body) < strength {
		w.text("(")
		w.body(body)
		w.text(")")
		return
	}
	w.body(body)
}

// values adds VALUES and its rows.
func (w *printer) values(values *Values) {
	w.text("VALUES ")
	for i, row := range values.Rows {
		w.separated(i)
		w.text("(")
		w.expressions(row)
		w.text(")")
	}
}

// selection adds SELECT up to its WINDOW clause.
func (w *printer) selection(s *Select) {
	w.text("SELECT ")
	w.when(s.Distinct, "DISTINCT ")
	if len(s.DistinctOn) > 0 {
		w.text("ON (")
		w.expressions(s.DistinctOn)
		w.text(") ")
	}
	w.selectItems(s.Items)
	w.tables(" FROM ", s.From)
	w.clause(" WHERE ", s.Where)
	if len(s.GroupBy) > 0 {
		w.text(" GROUP BY ")
		w.when(s.GroupDistinct, "DISTINCT ")
		w.expressions(s.GroupBy)
	}
	w.clause(" HAVING ", s.Having)
	for i, window := range s.Windows {
		w.when(i == 0, " WINDOW ")
		w.separated(i)
		w.name(window.Name)
		w.text(" AS ")
		w.window(window.Window)
	}
}

// clause adds words and an expression, if there is one.
func (w *printer) clause(words string, expr Expr) {
	if expr != nil {
		w.text(words)
		w.expression(expr, bindNothing)
	}
}

// selectItems adds a select list.
func (w *printer) selectItems(list []SelectItem) {
	for i, item := range list {
		w.separated(i)
		w.selectItem(item)
	}
}

// selectItem adds one output column.
func (w *printer) selectItem(item SelectItem) {
	w.expression(item.Expr, bindNothing)
	if item.Alias != "" {
		w.text(" AS ")
		w.name(item.Alias)
	}
}

// tables adds words and tables separated by commas, if there are any.
func (w *printer) tables(words string, list []TableExpr) {
	for i, table := range list {
		w.when(i == 0, words)
		w.separated(i)
		w.table(table)
	}
}

// table adds a table expression.
func (w *printer) table(table TableExpr) {
	switch t := table.(type) {
	case *TableRef:
		w.object(t.Name)
		w.alias(t.Alias)
	case *SubqueryRef:
		w.when(t.Lateral, "LATERAL ")
		w.parenthesised(t.Query)
		w.alias(t.Alias)
	case *FunctionRef:
		w.when(t.Lateral, "LATERAL ")
		w.call(t.Call)
		w.when(t.Ordinality, " WITH ORDINALITY")
		w.alias(t.Alias)
	case *Join:
		w.join(t)
	}
}

// join adds a join. One on the right side is put in parentheses.
func (w *printer) join(j *Join) {
	w.table(j.Left)
	w.when(j.Natural, " NATURAL")
	switch j.Kind { //nolint:exhaustive // the others need nothing here
	case LeftJoin:
		w.text(" LEFT")
	case RightJoin:
		w.text(" RIGHT")
	case FullJoin:
		w.text(" FULL")
	case CrossJoin:
		w.text(" CROSS")
	}
	w.text(" JOIN ")
	if _, nested := j.Right.(*Join); nested {
		w.text("(")
		w.table(j.Right)
		w.text(")")
	} else {
		w.table(j.Right)
	}
	w.clause(" ON ", j.On)
	if len(j.Using) > 0 {
		w.text(" USING ")
		w.names(j.Using)
	}
}

// alias adds the alias of a table.
func (w *printer) alias(alias TableAlias) {
	if alias.Name == "" {
		return
	}
	w.text(" AS ")
	w.name(alias.Name)
	if len(alias.Columns) > 0 {
		w.text(" ")
		w.names(alias.Columns)
	}
}

// insert adds INSERT.
func (w *printer) insert(s *Insert) {
	w.with(s.With)
	w.text("INSERT INTO ")
	w.object(s.Table)
	w.targetAlias(s.Alias)
	if len(s.Columns) > 0 {
		w.text(" ")
		w.names(s.Columns)
	}
	if s.Source == nil {
		w.text(" DEFAULT VALUES")
	} else {
		w.text(" ")
		w.query(s.Source)
	}
	if s.OnConflict != nil {
		w.onConflict(s.OnConflict)
	}
	w.returning(s.Returning)
}

// onConflict adds ON CONFLICT.
func (w *printer) onConflict(c *OnConflict) {
	w.text(" ON CONFLICT")
	if len(c.Columns) > 0 {
		w.text(" ")
		w.names(c.Columns)
		w.clause(" WHERE ", c.TargetWhere)
	}
	if c.Constraint != "" {
		w.text(" ON CONSTRAINT ")
		w.name(c.Constraint)
	}
	if len(c.Set) == 0 {
		w.text(" DO NOTHING")
		return
	}
	w.text(" DO UPDATE SET ")
	w.assignments(c.Set)
	w.clause(" WHERE ", c.Where)
}

// assignments adds the list behind SET.
func (w *printer) assignments(list []Assignment) {
	for i, assignment := range list {
		w.separated(i)
		if !assignment.Tuple {
			w.name(assignment.Columns[0].Name)
		} else {
			w.names(assignment.Columns)
		}
		w.text(" = ")
		if row, ok := assignment.Value.(*Row); ok && assignment.Tuple {
			w.row(row, true)
		} else {
			w.expression(assignment.Value, bindNothing)
		}
	}
}

// targetAlias adds the alias of a changed table.
func (w *printer) targetAlias(alias string) {
	if alias != "" {
		w.text(" AS ")
		w.name(alias)
	}
}

// returning adds RETURNING.
func (w *printer) returning(list []SelectItem) {
	w.when(len(list) > 0, " RETURNING ")
	w.selectItems(list)
}

// update adds UPDATE.
func (w *printer) update(s *Update) {
	w.with(s.With)
	w.text("UPDATE ")
	w.object(s.Table)
	w.targetAlias(s.Alias)
	w.text(" SET ")
	w.assignments(s.Set)
	w.tables(" FROM ", s.From)
	w.clause(" WHERE ", s.Where)
	w.returning(s.Returning)
}

// deletion adds DELETE.
func (w *printer) deletion(s *Delete) {
	w.with(s.With)
	w.text("DELETE FROM ")
	w.object(s.Table)
	w.targetAlias(s.Alias)
	w.tables(" USING ", s.Using)
	w.clause(" WHERE ", s.Where)
	w.returning(s.Returning)
}
