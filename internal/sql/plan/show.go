package plan

import (
	"fmt"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/sql/expr"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
	"github.com/kalamdb/kalamdb-go/internal/table"
)

func (e *Environment) show(node *parse.Show) (Statement, error) {
	switch node.Kind {
	case parse.ShowNamespaces:
		return e.showView("namespaces", nil)
	case parse.ShowTables:
		return e.showView("tables", inNamespace(node))
	case parse.ShowUsers:
		return e.showView("users", nil)
	case parse.ShowJobs:
		return e.showView("jobs", nil)
	case parse.ShowSchedules:
		return e.showView("schedules", nil)
	case parse.ShowCluster:
		return e.showView("cluster", nil)
	case parse.ShowColumns:
		return e.describeTable(node.Table)
	case parse.ShowStorages:
		return e.showView("storages", nil)
	case parse.ShowManifest:
		return e.showOfTable("manifest", node)
	case parse.ShowTopics:
		return e.showView("topics", nil)
	case parse.ShowLiveQueries:
		return e.showView("live", nil)
	case parse.ShowStats:
		return e.showStats(node)
	case parse.ShowIndexes:
		return e.showOfTable("indexes", node)
	case parse.ShowViews:
		return e.showView("views", inNamespace(node))
	case parse.ShowExport:
		return e.showExport()
	}
	return nil, unsupported(node, "this SHOW statement is not supported yet")
}

// columnIs is the condition that a column of a view holds a text.
func columnIs(column, value string) parse.Expr {
	return &parse.Binary{Op: "=", Left: &parse.ColumnRef{Name: column}, Right: &parse.StringLiteral{Value: value}}
}

// inNamespace limits a list to the namespace of the statement; nil is no limit.
func inNamespace(node *parse.Show) parse.Expr {
	if node.Namespace.Name == "" {
		return nil
	}
	return columnIs("namespace_id", node.Namespace.Name)
}

// showOfTable reads what a view says of all tables, or of the one in the statement.
func (e *Environment) showOfTable(view string, node *parse.Show) (Statement, error) {
	if node.Table.Name == "" {
		return e.showView(view, nil)
	}
	found, err := e.lookup(node.Table)
	if err != nil {
		return nil, err
	}
	return e.showView(view, &parse.Logical{
		Operands: []parse.Expr{columnIs("namespace_id", found.Namespace), columnIs("table_name", found.Name)},
	})
}

// showStats counts the rows of a table that the caller sees.
func (e *Environment) showStats(node *parse.Show) (Statement, error) {
	found, err := e.lookup(node.Table)
	if err != nil {
		return nil, err
	}
	literal := func(text string) string { return parse.Print(&parse.StringLiteral{Value: text}) }
	text := fmt.Sprintf("SELECT %s AS namespace_id, %s AS table_name, %s AS table_type, %d AS schema_version, %d AS column_count, "+
		"COUNT(*) AS row_count FROM %s", literal(found.Namespace), literal(found.Name), literal(found.Kind.String()), found.Version,
		len(found.Columns), parse.Print(&parse.TableRef{Name: parse.ObjectName{Namespace: found.Namespace, Name: found.Name}}))
	batch, err := parse.ParseBatch(text)
	if err != nil {
		return nil, fmt.Errorf("statistics of %s: %w", found.FullName(), err)
	}
	return BuildAuthorized(e, batch[0].Statement)
}

// showView reads a whole system view. Its rows are limited to what the caller may know of, so the
// statement is open to roles that cannot select from the view.
func (e *Environment) showView(name string, where parse.Expr) (Statement, error) {
	view := e.Views.View(table.SystemNamespace, name)
	scope, _ := tableScope(view, "")
	scan := &ViewScan{View: view}
	query := &Query{Root: scan}
	for i := range view.Columns {
		query.Columns = append(query.Columns, Column{
			Name: view.Columns[i].Name, Type: view.Columns[i].Type, Flags: columnFlags(view, i),
		})
	}
	if where == nil {
		return query, nil
	}
	var err error
	scan.Condition, err = expr.BindCondition(where, scope, expr.Options{Clause: "SHOW"})
	return query, err
}

func (e *Environment) describe(node *parse.Describe) (Statement, error) {
	return e.describeTable(node.Table)
}

// describeTable lists the columns of a table, the system columns last.
func (e *Environment) describeTable(name parse.ObjectName) (Statement, error) {
	found, err := e.lookup(name)
	if err != nil {
		return nil, err
	}
	text, bigInt, integer, boolean := datum.Of(datum.Text), datum.Of(datum.BigInt), datum.Of(datum.Int), datum.Of(datum.Boolean)
	description := &Describe{Columns: []Column{
		{Name: "column_name", Type: text},
		{Name: "ordinal_position", Type: integer},
		{Name: "column_id", Type: bigInt},
		{Name: "data_type", Type: text},
		{Name: "is_nullable", Type: boolean},
		{Name: "is_primary_key", Type: boolean},
		{Name: "column_default", Type: text},
		{Name: "column_comment", Type: text},
		{Name: "schema_version", Type: integer},
		{Name: "is_unique", Type: boolean},
	}}
	add := func(column *schema.Column, unique bool) {
		defaultText := datum.Datum{}
		if printed, ok := table.DefaultText(column.Default); ok {
			defaultText = datum.NewText(printed)
		}
		description.Rows = append(description.Rows, []datum.Datum{
			datum.NewText(column.Name), datum.NewInt(datum.Int, int64(len(description.Rows)+1)), datum.NewBigInt(int64(column.ID)),
			datum.NewText(column.Type.String()), datum.NewBool(column.Nullable), datum.NewBool(column.PrimaryKey),
			defaultText,
			{},
			datum.NewInt(datum.Int, int64(found.Version)), datum.NewBool(unique),
		})
	}
	for i := range found.Columns {
		add(&found.Columns[i], found.UniqueColumn(i))
	}
	if found.HasSystemColumns() {
		add(&schema.Column{Name: schema.SeqColumn, Type: bigInt}, false)
		add(&schema.Column{Name: schema.DeletedColumn, Type: boolean}, false)
	}
	return description, nil
}
