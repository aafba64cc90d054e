package table

import (
	"context"
	"hash/fnv"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/session"
)

// PostgresVersion is the version of PostgreSQL whose dialect this server speaks, for clients that ask.
const PostgresVersion = "16.0"

// The object ids of pg_catalog. Stored objects have ids that follow from their names, so they are the same
// on every node; the rest are those of PostgreSQL.
const (
	databaseOID  = 16384
	ownerOID     = 10
	firstUserOID = 1 << 20
)

// pgType is a type as PostgreSQL knows it.
type pgType struct {
	oid      int64
	name     string
	length   int64 // -1 for variable
	category string
	array    int64 // the array type of it
}

// postgresTypes lists the types that columns can have, by oid.
func postgresTypes() []pgType {
	return []pgType{
		{16, "bool", 1, "B", 1000},
		{17, "bytea", -1, "U", 1001},
		{20, "int8", 8, "N", 1016},
		{21, "int2", 2, "N", 1005},
		{23, "int4", 4, "N", 1007},
		{25, "text", -1, "S", 1009},
		{700, "float4", 4, "N", 1021},
		{701, "float8", 8, "N", 1022},
		{1009, "_text", -1, "A", 0},
		{1021, "_float4", -1, "A", 0},
		{1082, "date", 4, "D", 1182},
		{1083, "time", 8, "D", 1183},
		{1114, "timestamp", 8, "D", 1115},
		{1184, "timestamptz", 8, "D", 1185},
		{1186, "interval", 16, "T", 1187},
		{1700, "numeric", -1, "N", 1231},
		{2950, "uuid", 16, "U", 2951},
		{3802, "jsonb", -1, "U", 3807},
	}
}

// postgresType finds the PostgreSQL type that a type looks like.
func postgresType(t datum.Type) pgType {
	name := "text"
	switch t.Kind {
	case datum.Boolean:
		name = "bool"
	case datum.SmallInt:
		name = "int2"
	case datum.Int:
		name = "int4"
	case datum.BigInt:
		name = "int8"
	case datum.Float:
		name = "float4"
	case datum.Double:
		name = "float8"
	case datum.Decimal:
		name = "numeric"
	case datum.JSON, datum.File:
		name = "jsonb"
	case datum.Bytes:
		name = "bytea"
	case datum.UUID:
		name = "uuid"
	case datum.Timestamp:
		name = "timestamp"
	case datum.DateTime:
		name = "timestamptz"
	case datum.Date:
		name = "date"
	case datum.Time:
		name = "time"
	case datum.Embedding:
		name = "_float4"
	case datum.Array:
		name = "_text"
	case datum.Interval:
		name = "interval"
	case datum.Null, datum.Text:
	}
	for _, candidate := range postgresTypes() {
		if candidate.name == name {
			return candidate
		}
	}
	return pgType{}
}

// objectID makes the id of a named object. Ids of different objects can collide in theory only: there are
// 2^52 of them.
func objectID(kind, name string) int64 {
	hash := fnv.New64a()
	_, _ = hash.Write([]byte(kind + "\x00" + name)) // it never fails
	return int64(hash.Sum64()>>12) + firstUserOID
}

func namespaceOID(name string) int64 {
	if name == PostgresNamespace {
		return 11
	}
	return objectID("namespace", name)
}

// postgresViews declares the tables of pg_catalog that drivers and tools ask for.
func postgresViews() []viewDefinition {
	return []viewDefinition{
		{PostgresNamespace, "pg_attribute", (*System).pgAttributeRows, []viewColumn{
			bigInt("attrelid"), text("attname"), bigInt("atttypid"), smallInt("attlen"), smallInt("attnum"), integer("atttypmod"),
			smallInt("attndims"), boolean("attnotnull"), boolean("atthasdef"), text("attidentity"), text("attgenerated"),
			boolean("attisdropped"), bigInt("attcollation"), boolean("attislocal"), integer("attinhcount"), text("attstorage"),
			text("attcompression"), orNull(text("attacl")), orNull(text("attoptions")),
		}},
		{PostgresNamespace, "pg_attrdef", (*System).pgAttrdefRows, []viewColumn{
			bigInt("oid"), bigInt("adrelid"), smallInt("adnum"), text("adbin"),
		}},
		{PostgresNamespace, "pg_class", (*System).pgClassRows, []viewColumn{
			bigInt("oid"), text("relname"), bigInt("relnamespace"), bigInt("reltype"), bigInt("relowner"), bigInt("relam"),
			float("reltuples"), bigInt("relpages"), boolean("relhasindex"), boolean("relisshared"), text("relpersistence"),
			text("relkind"), smallInt("relnatts"), smallInt("relchecks"), boolean("relhasrules"), boolean("relhastriggers"),
			boolean("relrowsecurity"), boolean("relispartition"), bigInt("reltablespace"), boolean("relforcerowsecurity"),
			bigInt("reloftype"), bigInt("reltoastrelid"), text("relreplident"), boolean("relhassubclass"), orNull(text("relacl")),
			orNull(text("reloptions")), orNull(text("relpartbound")),
		}},
		{PostgresNamespace, "pg_constraint", (*System).pgConstraintRows, []viewColumn{
			bigInt("oid"), text("conname"), bigInt("connamespace"), text("contype"), boolean("condeferrable"),
			boolean("condeferred"), boolean("convalidated"), bigInt("conrelid"), bigInt("conindid"), bigInt("confrelid"),
			numbers("conkey"), orNull(numbers("confkey")), text("confupdtype"), text("confdeltype"), text("confmatchtype"),
			bigInt("contypid"), boolean("conislocal"), integer("coninhcount"), boolean("connoinherit"), orNull(text("conbin")),
		}},
		{PostgresNamespace, "pg_database", (*System).pgDatabaseRows, []viewColumn{
			bigInt("oid"), text("datname"), bigInt("datdba"), integer("encoding"), text("datcollate"), text("datctype"),
			boolean("datistemplate"), boolean("datallowconn"), integer("datconnlimit"), bigInt("dattablespace"),
			text("datlocprovider"), orNull(text("datacl")), orNull(text("daticulocale")), orNull(text("daticurules")),
		}},
		{PostgresNamespace, "pg_index", (*System).pgIndexRows, []viewColumn{
			bigInt("indexrelid"), bigInt("indrelid"), smallInt("indnatts"), boolean("indisunique"), boolean("indisprimary"),
			boolean("indisvalid"), numbers("indkey"), smallInt("indnkeyatts"), boolean("indisclustered"), boolean("indisreplident"),
			boolean("indisexclusion"), boolean("indimmediate"), boolean("indisready"), boolean("indislive"), orNull(text("indexprs")),
			orNull(text("indpred")), numbers("indoption"),
		}},
		{PostgresNamespace, "pg_indexes", (*System).pgIndexesRows, []viewColumn{
			text("schemaname"), text("tablename"), text("indexname"), orNull(text("tablespace")), text("indexdef"),
		}},
		{PostgresNamespace, "pg_namespace", (*System).pgNamespaceRows, []viewColumn{
			bigInt("oid"), text("nspname"), bigInt("nspowner"), orNull(text("nspacl")),
		}},
		{PostgresNamespace, "pg_proc", (*System).noRows, []viewColumn{
			bigInt("oid"), text("proname"), bigInt("pronamespace"), bigInt("prorettype"), text("prokind"), bigInt("proowner"),
			bigInt("prolang"), boolean("proretset"), integer("pronargs"), text("provolatile"), text("prosrc"), orNull(text("proacl")),
		}},
		{PostgresNamespace, "pg_roles", (*System).pgRolesRows, []viewColumn{
			bigInt("oid"), text("rolname"), boolean("rolsuper"), boolean("rolcreaterole"), boolean("rolcreatedb"), boolean("rolcanlogin"),
			boolean("rolinherit"), boolean("rolreplication"), boolean("rolbypassrls"), integer("rolconnlimit"),
			orNull(timestamp("rolvaliduntil")),
		}},
		{PostgresNamespace, "pg_settings", (*System).pgSettingsRows, []viewColumn{
			text("name"), text("setting"), text("short_desc"), text("category"), orNull(text("unit")), text("context"), text("vartype"),
			text("source"), boolean("pending_restart"),
		}},
		{PostgresNamespace, "pg_tables", (*System).pgTablesRows, []viewColumn{
			text("schemaname"), text("tablename"), orNull(text("tableowner")), orNull(text("tablespace")), boolean("hasindexes"),
			boolean("hasrules"), boolean("hastriggers"), boolean("rowsecurity"),
		}},
		{PostgresNamespace, "pg_type", (*System).pgTypeRows, []viewColumn{
			bigInt("oid"), text("typname"), bigInt("typnamespace"), bigInt("typowner"), smallInt("typlen"), boolean("typbyval"),
			text("typtype"), text("typcategory"), bigInt("typrelid"), bigInt("typelem"), bigInt("typarray"), bigInt("typbasetype"),
			boolean("typnotnull"), integer("typtypmod"), text("typdelim"), bigInt("typcollation"), boolean("typisdefined"),
			boolean("typispreferred"), integer("typndims"), orNull(text("typdefault")), text("typinput"), text("typoutput"),
		}},
		{PostgresNamespace, "pg_views", (*System).pgViewsRows, []viewColumn{
			text("schemaname"), text("viewname"), orNull(text("viewowner")), orNull(text("definition")),
		}},
	}
}

func smallNumber[T ~int | ~int64](v T) datum.Datum { return datum.NewInt(datum.SmallInt, int64(v)) }

func flag(v bool) datum.Datum { return datum.NewBool(v) }

func (s *System) pgNamespaceRows(_ context.Context, request *ViewRequest) ([][]datum.Datum, error) {
	var rows [][]datum.Datum
	for _, name := range s.namespaces(request) {
		rows = append(rows, []datum.Datum{number(namespaceOID(name)), textValue(name), number(ownerOID), {}})
	}
	return rows, nil
}

// pgClassRows lists tables and views, and behind them the indexes.
func (s *System) pgClassRows(_ context.Context, request *ViewRequest) ([][]datum.Datum, error) {
	class := func(t *schema.Table, oid int64, name, kind string, columns int, indexed bool) []datum.Datum {
		method := map[string]int64{"r": heapOID, "i": btreeOID}[kind] // a view has none
		return []datum.Datum{
			number(oid), textValue(name), number(namespaceOID(t.Namespace)), number(0), number(ownerOID), number(method),
			datum.NewFloat(-1), number(0), flag(indexed), flag(false), textValue("p"), textValue(kind), smallNumber(columns),
			smallNumber(0), flag(false), flag(false), flag(t.Kind == schema.KindUser), flag(false), number(0), flag(false),
			number(0), number(0), textValue("d"), flag(false),
			{},
			{},
			{},
		}
	}
	var rows [][]datum.Datum
	for _, t := range s.allTables(request) {
		kind := "r"
		if !t.HasSystemColumns() {
			kind = "v"
		}
		rows = append(rows, class(t, tableOID(t), t.Name, kind, len(t.Columns), t.PrimaryKey() >= 0))
	}
	for _, x := range request.indexes() {
		rows = append(rows, class(x.table, x.oid(), x.name, "i", len(x.positions), false))
	}
	return rows, nil
}

func tableOID(t *schema.Table) int64 { return objectID("table", t.FullName()) }

func (s *System) pgAttributeRows(_ context.Context, request *ViewRequest) ([][]datum.Datum, error) {
	var rows [][]datum.Datum
	for _, t := range s.allTables(request) {
		for i := range t.Columns {
			column := &t.Columns[i]
			like := postgresType(column.Type)
			modifier := int64(-1)
			if column.Type.Kind == datum.Decimal {
				modifier = int64(column.Type.Precision)<<16 + int64(column.Type.Scale) + 4
			}
			dimensions := 0
			if column.Type.Kind == datum.Array || column.Type.Kind == datum.Embedding {
				dimensions = 1
			}
			rows = append(rows, []datum.Datum{
				number(tableOID(t)), textValue(column.Name), number(like.oid), smallNumber(like.length), smallNumber(i + 1),
				small(int32(modifier)), smallNumber(dimensions), flag(!column.Nullable),
				flag(column.Default.Kind != schema.DefaultNone), textValue(""), textValue(""), flag(false), number(0), flag(true),
				small(0), textValue("p"), textValue(""),
				{},
				{},
			})
		}
	}
	return rows, nil
}

func (s *System) pgAttrdefRows(_ context.Context, request *ViewRequest) ([][]datum.Datum, error) {
	var rows [][]datum.Datum
	for _, t := range s.allTables(request) {
		for i := range t.Columns {
			if printed, ok := DefaultText(t.Columns[i].Default); ok {
				rows = append(rows, []datum.Datum{
					number(objectID("default", t.FullName()+"."+t.Columns[i].Name)), number(tableOID(t)), smallNumber(i + 1), textValue(printed),
				})
			}
		}
	}
	return rows, nil
}

func (*System) pgDatabaseRows(context.Context, *ViewRequest) ([][]datum.Datum, error) {
	return [][]datum.Datum{{
		number(databaseOID), textValue(databaseName), number(ownerOID), small(6), textValue("C"), textValue("C"), flag(false), flag(true),
		small(-1), number(0), textValue("c"),
		{},
		{},
		{},
	}}, nil
}

// pgRolesRows lists the roles, not the accounts: those are for administrators.
func (*System) pgRolesRows(context.Context, *ViewRequest) ([][]datum.Datum, error) {
	return roleRows(), nil
}

func roleRows() [][]datum.Datum {
	var rows [][]datum.Datum
	for i, role := range []session.Role{session.RoleSystem, session.RoleDBA, session.RoleService, session.RoleUser} {
		admin := flag(role.IsAdmin())
		rows = append(rows, []datum.Datum{
			number(ownerOID + i), textValue(role.String()), admin, admin, admin, flag(true), flag(true), flag(false), flag(false), small(-1),
			{},
		})
	}
	return rows
}

func (*System) pgSettingsRows(context.Context, *ViewRequest) ([][]datum.Datum, error) {
	var rows [][]datum.Datum
	for _, setting := range SessionSettings() {
		rows = append(rows, []datum.Datum{
			textValue(setting.Name), textValue(setting.Value), textValue(setting.Description), textValue("Preset Options"),
			{},
			textValue("internal"), textValue("string"), textValue("default"), flag(false),
		})
	}
	return rows, nil
}

func (s *System) pgTablesRows(_ context.Context, request *ViewRequest) ([][]datum.Datum, error) {
	var rows [][]datum.Datum
	for _, t := range request.visibleTables() {
		rows = append(rows, []datum.Datum{
			textValue(t.Namespace), textValue(t.Name),
			{},
			{},
			flag(t.PrimaryKey() >= 0), flag(false), flag(false),
			flag(t.Kind == schema.KindUser),
		})
	}
	return rows, nil
}

func (s *System) pgViewsRows(_ context.Context, request *ViewRequest) ([][]datum.Datum, error) {
	var rows [][]datum.Datum
	for _, t := range s.allTables(request) {
		if !t.HasSystemColumns() {
			rows = append(rows, []datum.Datum{
				textValue(t.Namespace), textValue(t.Name),
				{},
				request.definition(t),
			})
		}
	}
	return rows, nil
}

func (*System) pgTypeRows(context.Context, *ViewRequest) ([][]datum.Datum, error) {
	elements := map[int64]int64{}
	for _, t := range postgresTypes() {
		elements[t.array] = t.oid
	}
	var rows [][]datum.Datum
	for _, t := range postgresTypes() {
		element := int64(0)
		if t.category == "A" {
			element = elements[t.oid]
		}
		rows = append(rows, []datum.Datum{
			number(t.oid), textValue(t.name), number(11), number(ownerOID), smallNumber(t.length), flag(t.length > 0 && t.length <= 8),
			textValue("b"), textValue(t.category), number(0), number(element), number(t.array), number(0), flag(false), small(-1),
			textValue(","), number(0), flag(true), flag(false), small(0),
			{},
			textValue(t.name + "in"), textValue(t.name + "out"),
		})
	}
	return rows, nil
}
