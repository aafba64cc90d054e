package table

import (
	"context"
	"strings"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/schema"
)

// indexViews declares the view of the indexes of tables.
func indexViews() []viewDefinition {
	return []viewDefinition{
		{SystemNamespace, "indexes", (*System).indexesRows, []viewColumn{
			text("namespace_id"), text("table_name"), text("index_name"), text("columns"), boolean("is_unique"), boolean("is_primary"),
			text("state"),
		}},
	}
}

// tableIndex is the primary key of a table or one of its secondary indexes.
type tableIndex struct {
	table     *schema.Table
	name      string
	positions []int // of its columns
	unique    bool
	primary   bool
	state     schema.IndexState
}

// indexes lists what the tables that the caller may know of are indexed by, primary keys first in each table. Indexes that are
// being dropped are left out.
func (r *ViewRequest) indexes() []tableIndex {
	var list []tableIndex
	for _, t := range r.visibleTables() {
		if at := t.PrimaryKey(); at >= 0 {
			list = append(list, tableIndex{
				table: t, name: t.Name + "_pkey", positions: []int{at}, unique: true, primary: true, state: schema.IndexReady,
			})
		}
		for i := range t.Indexes {
			x := &t.Indexes[i]
			if positions, ok := t.Positions(x); ok && x.Maintained() {
				list = append(list, tableIndex{table: t, name: x.Name, positions: positions, unique: x.Unique, state: x.State})
			}
		}
	}
	return list
}

// constraints lists the primary keys and the unique indexes that hold for all rows.
func (r *ViewRequest) constraints() []tableIndex {
	var list []tableIndex
	for _, x := range r.indexes() {
		if x.unique && x.state == schema.IndexReady {
			list = append(list, x)
		}
	}
	return list
}

// columnNames joins the names of the columns.
func (x *tableIndex) columnNames() string {
	names := make([]string, len(x.positions))
	for i, position := range x.positions {
		names[i] = x.table.Columns[position].Name
	}
	return strings.Join(names, ", ")
}

// numbers are those of the columns in their table, as PostgreSQL counts them.
func (x *tableIndex) numbers() datum.Datum {
	list := make([]datum.Datum, len(x.positions))
	for i, position := range x.positions {
		list[i] = smallNumber(position + 1)
	}
	return datum.NewArray(list)
}

// ascending says of each column what PostgreSQL's flags say of one in ascending order, NULLs last: nothing.
func (x *tableIndex) ascending() datum.Datum {
	list := make([]datum.Datum, len(x.positions))
	for i := range list {
		list[i] = smallNumber(0)
	}
	return datum.NewArray(list)
}

// constraintKind is the word of information_schema.
func (x *tableIndex) constraintKind() string {
	if x.primary {
		return "PRIMARY KEY"
	}
	return "UNIQUE"
}

// definition is a statement that would make the index.
func (x *tableIndex) definition() string {
	unique := ""
	if x.unique {
		unique = "UNIQUE "
	}
	return "CREATE " + unique + "INDEX " + x.name + " ON " + x.table.FullName() + " USING btree (" + x.columnNames() + ")"
}

func (x *tableIndex) constraintOID() int64 {
	return objectID("constraint", x.table.Namespace+"."+x.name)
}

func (x *tableIndex) oid() int64 { return objectID("index", x.table.Namespace+"."+x.name) }

func (*System) indexesRows(_ context.Context, request *ViewRequest) ([][]datum.Datum, error) {
	var rows [][]datum.Datum
	for _, x := range request.indexes() {
		rows = append(rows, []datum.Datum{
			textValue(x.table.Namespace), textValue(x.table.Name), textValue(x.name), textValue(x.columnNames()), flag(x.unique),
			flag(x.primary), textValue(x.state.String()),
		})
	}
	return rows, nil
}

func (*System) informationKeysRows(_ context.Context, request *ViewRequest) ([][]datum.Datum, error) {
	var rows [][]datum.Datum
	for _, x := range request.constraints() {
		for i, position := range x.positions {
			rows = append(rows, []datum.Datum{
				textValue(databaseName), textValue(x.table.Namespace), textValue(x.name), textValue(databaseName),
				textValue(x.table.Namespace), textValue(x.table.Name), textValue(x.table.Columns[position].Name), number(i + 1),
				{},
			})
		}
	}
	return rows, nil
}

func (*System) informationConstraintsRows(_ context.Context, request *ViewRequest) ([][]datum.Datum, error) {
	var rows [][]datum.Datum
	for _, x := range request.constraints() {
		rows = append(rows, []datum.Datum{
			textValue(databaseName), textValue(x.table.Namespace), textValue(x.name), textValue(databaseName),
			textValue(x.table.Namespace), textValue(x.table.Name), textValue(x.constraintKind()), textValue("NO"), textValue("NO"),
			textValue("YES"),
		})
	}
	return rows, nil
}

func (*System) pgConstraintRows(_ context.Context, request *ViewRequest) ([][]datum.Datum, error) {
	var rows [][]datum.Datum
	for _, x := range request.constraints() {
		kind := "u"
		if x.primary {
			kind = "p"
		}
		rows = append(rows, []datum.Datum{
			number(x.constraintOID()), textValue(x.name), number(namespaceOID(x.table.Namespace)),
			textValue(kind), flag(false), flag(false), flag(true), number(tableOID(x.table)), number(x.oid()), number(0),
			x.numbers(),
			{},
			textValue(" "), textValue(" "), textValue(" "), number(0), flag(true), small(0), flag(true),
			{},
		})
	}
	return rows, nil
}

func (*System) pgIndexRows(_ context.Context, request *ViewRequest) ([][]datum.Datum, error) {
	var rows [][]datum.Datum
	for _, x := range request.indexes() {
		rows = append(rows, []datum.Datum{
			number(x.oid()), number(tableOID(x.table)), smallNumber(len(x.positions)), flag(x.unique), flag(x.primary),
			flag(x.state == schema.IndexReady), x.numbers(), smallNumber(len(x.positions)), flag(false), flag(false), flag(false), flag(true),
			flag(x.state == schema.IndexReady), flag(true),
			{},
			{},
			x.ascending(),
		})
	}
	return rows, nil
}

func (*System) pgIndexesRows(_ context.Context, request *ViewRequest) ([][]datum.Datum, error) {
	var rows [][]datum.Datum
	for _, x := range request.indexes() {
		rows = append(rows, []datum.Datum{
			textValue(x.table.Namespace), textValue(x.table.Name), textValue(x.name),
			{},
			textValue(x.definition()),
		})
	}
	return rows, nil
}
