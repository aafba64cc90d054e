package parse

import "github.com/kalamdb/kalamdb-go/internal/schema"

// statement adds a statement of any kind.
func (w *printer) statement(statement Statement) {
	if !w.rowStatement(statement) && !w.tableStatement(statement) && !w.sessionStatement(statement) &&
		!w.administration(statement) {
		w.topicStatement(statement)
	}
}

// rowStatement adds queries and changes of rows.
func (w *printer) rowStatement(statement Statement) bool {
	switch s := statement.(type) {
	case *Query:
		w.query(s)
	case *Insert:
		w.insert(s)
	case *Update:
		w.update(s)
	case *Delete:
		w.deletion(s)
	case *WithChanges:
		w.withChanges(s)
	case *Explain:
		w.text("EXPLAIN ")
		w.when(s.Analyze && s.Format == "", "ANALYZE ")
		w.when(s.Verbose && s.Format == "", "VERBOSE ")
		if s.Format != "" {
			w.text("(")
			w.when(s.Analyze, "ANALYZE, ")
			w.when(s.Verbose, "VERBOSE, ")
			w.text("FORMAT ")
			w.name(s.Format)
			w.text(") ")
		}
		w.statement(s.Statement)
	case *ExecuteAsUser:
		w.text("EXECUTE AS USER ")
		w.literal(s.User.Name)
		w.text(" (")
		w.statement(s.Statement)
		w.text(")")
	case *Subscribe:
		w.text("SUBSCRIBE TO ")
		w.query(s.Query)
		if len(s.Options) > 0 {
			w.text(" OPTIONS ")
			w.options(s.Options)
		}
	default:
		return false
	}
	return true
}

// tableStatement adds statements about namespaces, tables, views and indexes.
func (w *printer) tableStatement(statement Statement) bool {
	switch s := statement.(type) {
	case *CreateNamespace:
		w.create("CREATE NAMESPACE ", s.IfNotExists)
		w.name(s.Name.Name)
	case *DropNamespace:
		w.drop("DROP NAMESPACE ", s.IfExists, ObjectName{Name: s.Name.Name}, s.Cascade)
	case *AlterNamespace:
		w.text("ALTER NAMESPACE ")
		w.name(s.Name.Name)
		w.text(" SET OPTIONS ")
		w.options(s.Options)
	case *UseNamespace:
		w.text("USE NAMESPACE ")
		w.name(s.Name.Name)
	case *CreateTable:
		w.createTable(s)
	case *DropTable:
		w.drop("DROP "+kindWord(s.Kind)+"TABLE ", s.IfExists, s.Name, s.Cascade)
	case *AlterTable:
		w.text("ALTER " + kindWord(s.Kind) + "TABLE ")
		w.when(s.IfExists, "IF EXISTS ")
		w.object(s.Name)
		w.text(" ")
		w.alterAction(s.Action)
	case *CreateView:
		w.createView(s)
	case *DropView:
		w.drop("DROP VIEW ", s.IfExists, s.Name, s.Cascade)
	case *CreateIndex:
		w.createIndex(s)
	case *DropIndex:
		w.drop("DROP INDEX ", s.IfExists, s.Name, s.Cascade)
	default:
		return false
	}
	return true
}

// create adds the words of a CREATE statement.
func (w *printer) create(words string, ifNotExists bool) {
	w.text(words)
	w.when(ifNotExists, "IF NOT EXISTS ")
}

// drop adds a DROP statement.
func (w *printer) drop(words string, ifExists bool, name ObjectName, cascade bool) {
	w.text(words)
	w.when(ifExists, "IF EXISTS ")
	w.object(name)
	w.when(cascade, " CASCADE")
}

// kindWord returns the word for a kind of table, with a space behind.
func kindWord(kind schema.TableKind) string {
	switch kind { //nolint:exhaustive // the others need nothing here
	case schema.KindUser:
		return "USER "
	case schema.KindShared:
		return "SHARED "
	case schema.KindStream:
		return "STREAM "
	}
	return ""
}

// createTable adds CREATE TABLE.
func (w *printer) createTable(s *CreateTable) {
	w.create("CREATE "+kindWord(s.Kind)+"TABLE ", s.IfNotExists)
	w.object(s.Name)
	for i, column := range s.Columns {
		w.when(i == 0, " (")
		w.separated(i)
		w.columnDef(column)
	}
	for i, constraint := range s.Constraints {
		w.when(i == 0 && len(s.Columns) == 0, " (")
		w.separated(i + len(s.Columns))
		w.constraint(constraint)
	}
	w.when(len(s.Columns)+len(s.Constraints) > 0, ")")
	if s.Using != "" {
		w.text(" USING ")
		w.name(s.Using)
	}
	if len(s.Options) > 0 {
		w.text(" WITH ")
		w.options(s.Options)
	}
	if s.As != nil {
		w.text(" AS ")
		w.query(s.As)
	}
}

// columnDef adds a column definition.
func (w *printer) columnDef(c ColumnDef) {
	w.name(c.Name)
	w.text(" ")
	w.typeName(c.Type)
	w.when(c.PrimaryKey, " PRIMARY KEY")
	w.nullability(c.Nullability)
	if c.UniqueName != "" {
		w.text(" CONSTRAINT ")
		w.name(c.UniqueName)
	}
	w.when(c.Unique, " UNIQUE")
	w.when(c.Identity, " AUTO_INCREMENT")
	w.clause(" DEFAULT ", c.Default)
	for _, check := range c.Checks {
		w.check(" CHECK (", check)
	}
	if c.References != nil {
		w.text(" ")
		w.reference(c.References)
	}
}

// nullability adds NULL or NOT NULL with a space in front.
func (w *printer) nullability(n Nullability) {
	w.when(n == Nullable, " NULL")
	w.when(n == NotNull, " NOT NULL")
}

// check adds a condition in parentheses.
func (w *printer) check(words string, condition Expr) {
	w.text(words)
	w.expression(condition, bindNothing)
	w.text(")")
}

// reference adds the target of a foreign key.
func (w *printer) reference(r *Reference) {
	w.text("REFERENCES ")
	w.object(r.Table)
	if len(r.Columns) > 0 {
		w.text(" ")
		w.names(r.Columns)
	}
}

// constraint adds a table constraint.
func (w *printer) constraint(c TableConstraint) {
	if c.Name != "" {
		w.text("CONSTRAINT ")
		w.name(c.Name)
		w.text(" ")
	}
	switch c.Kind {
	case PrimaryKeyConstraint:
		w.text("PRIMARY KEY ")
		w.names(c.Columns)
	case UniqueConstraint:
		w.text("UNIQUE ")
		w.names(c.Columns)
	case CheckConstraint:
		w.check("CHECK (", c.Check)
	case ForeignKeyConstraint:
		w.text("FOREIGN KEY ")
		w.names(c.Columns)
		w.text(" ")
		w.reference(c.References)
	}
}

// createView adds CREATE VIEW.
func (w *printer) createView(s *CreateView) {
	w.text("CREATE ")
	w.when(s.OrReplace, "OR REPLACE ")
	w.create("VIEW ", s.IfNotExists)
	w.object(s.Name)
	if len(s.Columns) > 0 {
		w.text(" ")
		w.names(s.Columns)
	}
	w.text(" AS ")
	w.query(s.Query)
}

// createIndex adds CREATE INDEX.
func (w *printer) createIndex(s *CreateIndex) {
	w.text("CREATE ")
	w.when(s.Unique, "UNIQUE ")
	w.create("INDEX ", s.IfNotExists)
	if s.Name.Name != "" {
		w.object(s.Name)
		w.text(" ")
	}
	w.text("ON ")
	w.object(s.Table)
	if s.Method != "" {
		w.text(" USING ")
		w.name(s.Method)
	}
	w.text(" (")
	for i, column := range s.Columns {
		w.separated(i)
		w.expression(column.Expr, bindNothing)
		w.direction(column.Descending, column.Nulls)
	}
	w.text(")")
	if len(s.Options) > 0 {
		w.text(" WITH ")
		w.options(s.Options)
	}
	w.clause(" WHERE ", s.Where)
}

// alterAction adds what ALTER TABLE does.
func (w *printer) alterAction(action AlterAction) {
	switch a := action.(type) {
	case *AddColumn:
		w.create("ADD COLUMN ", a.IfNotExists)
		w.columnDef(a.Column)
	case *DropColumn:
		w.drop("DROP COLUMN ", a.IfExists, ObjectName{Name: a.Name.Name}, false)
	case *AddConstraint:
		w.text("ADD ")
		w.constraint(a.Constraint)
	case *DropConstraint:
		w.drop("DROP CONSTRAINT ", a.IfExists, ObjectName{Name: a.Name.Name}, false)
	case *ModifyColumn:
		w.column("MODIFY COLUMN ", a.Name, " ")
		w.typeName(a.Type)
		w.nullability(a.Nullability)
	case *SetNotNull:
		if a.Drop {
			w.column("ALTER COLUMN ", a.Name, " DROP NOT NULL")
		} else {
			w.column("ALTER COLUMN ", a.Name, " SET NOT NULL")
		}
	case *SetDefault:
		if a.Value == nil {
			w.column("ALTER COLUMN ", a.Name, " DROP DEFAULT")
		} else {
			w.column("ALTER COLUMN ", a.Name, " SET DEFAULT ")
			w.expression(a.Value, bindNothing)
		}
	case *RenameColumn:
		w.column("RENAME COLUMN ", a.From, " TO ")
		w.name(a.To.Name)
	case *RenameTable:
		w.column("RENAME TO ", a.To, "")
	case *SetAccessLevel:
		w.column("SET ACCESS LEVEL ", Ident{Name: a.Level}, "")
	case *SetTableOptions:
		w.text("SET OPTIONS ")
		w.options(a.Options)
	case *CreateVectorIndex:
		w.column("CREATE VECTOR INDEX ", a.Column, "")
		if a.Metric != "" {
			w.column(" USING ", Ident{Name: a.Metric}, "")
		}
	case *DropVectorIndex:
		w.column("DROP VECTOR INDEX ", a.Column, "")
	}
}

// column adds a name between words.
func (w *printer) column(before string, name Ident, after string) {
	w.text(before)
	w.name(name.Name)
	w.text(after)
}
