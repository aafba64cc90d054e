package parse

// statement visits what is below a statement that is no query.
func (i inspector) statement(statement Statement) {
	switch s := statement.(type) {
	case *Insert:
		i.with(s.With)
		i.query(s.Source)
		if s.OnConflict != nil {
			i.expr(s.OnConflict.TargetWhere)
			i.assignments(s.OnConflict.Set)
			i.expr(s.OnConflict.Where)
		}
		i.items(s.Returning)
	case *Update:
		i.with(s.With)
		i.assignments(s.Set)
		i.tables(s.From)
		i.expr(s.Where)
		i.items(s.Returning)
	case *Delete:
		i.with(s.With)
		i.tables(s.Using)
		i.expr(s.Where)
		i.items(s.Returning)
	case *WithChanges:
		i.with(s.With)
		i.node(s.Main)
	case *Explain:
		i.node(s.Statement)
	case *ExecuteAsUser:
		i.node(s.Statement)
	case *CreateSchedule:
		i.node(s.Statement)
	case *Subscribe:
		i.query(s.Query)
		i.options(s.Options)
	case *SetVariable:
		i.exprs(s.Values)
	default:
		i.definition(statement)
	}
}

// definition visits what is below a statement about objects of the catalog.
func (i inspector) definition(statement Statement) {
	switch s := statement.(type) {
	case *AlterNamespace:
		i.options(s.Options)
	case *CreateTable:
		for _, column := range s.Columns {
			i.column(column)
		}
		for _, constraint := range s.Constraints {
			i.expr(constraint.Check)
		}
		i.options(s.Options)
		i.query(s.As)
	case *AlterTable:
		switch a := s.Action.(type) {
		case *AddColumn:
			i.column(a.Column)
		case *AddConstraint:
			i.expr(a.Constraint.Check)
		case *SetDefault:
			i.expr(a.Value)
		case *SetTableOptions:
			i.options(a.Options)
		}
	case *CreateView:
		i.query(s.Query)
	case *CreateIndex:
		for _, column := range s.Columns {
			i.expr(column.Expr)
		}
		i.options(s.Options)
		i.expr(s.Where)
	case *CreateStorage:
		i.options(s.Settings)
	case *AlterStorage:
		i.options(s.Settings)
	case *CreateTopic:
		i.options(s.Options)
	case *AlterTopic:
		i.expr(s.Where)
		i.options(s.Options)
	}
}

// column visits the expressions of a column definition.
func (i inspector) column(column ColumnDef) {
	i.expr(column.Default)
	i.exprs(column.Checks)
}
