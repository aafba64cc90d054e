package table

import (
	"context"

	"github.com/kalamdb/kalamdb-go/internal/datum"
)

// The access methods that pg_class names.
const (
	heapOID  = 2
	btreeOID = 403
)

// postgresKinds declares the tables of pg_catalog about what there are a few fixed kinds of, or none: clients join them whatever the
// server has.
func postgresKinds() []viewDefinition {
	none := (*System).noRows
	return []viewDefinition{
		{PostgresNamespace, "pg_am", (*System).pgAmRows, []viewColumn{bigInt("oid"), text("amname"), text("amhandler"), text("amtype")}},
		{PostgresNamespace, "pg_auth_members", none, []viewColumn{
			bigInt("roleid"), bigInt("member"), bigInt("grantor"), boolean("admin_option"),
		}},
		{PostgresNamespace, "pg_collation", (*System).pgCollationRows, []viewColumn{
			bigInt("oid"), text("collname"), bigInt("collnamespace"), bigInt("collowner"), text("collprovider"), boolean("collisdeterministic"),
			integer("collencoding"), text("collcollate"), text("collctype"), orNull(text("colliculocale")),
		}},
		{PostgresNamespace, "pg_depend", none, []viewColumn{
			bigInt("classid"), bigInt("objid"), integer("objsubid"), bigInt("refclassid"), bigInt("refobjid"), integer("refobjsubid"),
			text("deptype"),
		}},
		{PostgresNamespace, "pg_description", none, []viewColumn{
			bigInt("objoid"), bigInt("classoid"), integer("objsubid"), text("description"),
		}},
		{PostgresNamespace, "pg_enum", none, []viewColumn{bigInt("oid"), bigInt("enumtypid"), float("enumsortorder"), text("enumlabel")}},
		{PostgresNamespace, "pg_extension", none, []viewColumn{
			bigInt("oid"), text("extname"), bigInt("extowner"), bigInt("extnamespace"), boolean("extrelocatable"), text("extversion"),
		}},
		{PostgresNamespace, "pg_foreign_table", none, []viewColumn{bigInt("ftrelid"), bigInt("ftserver"), orNull(text("ftoptions"))}},
		{PostgresNamespace, "pg_inherits", none, []viewColumn{
			bigInt("inhrelid"), bigInt("inhparent"), integer("inhseqno"), boolean("inhdetachpending"),
		}},
		{PostgresNamespace, "pg_matviews", none, []viewColumn{
			text("schemaname"), text("matviewname"), orNull(text("matviewowner")), orNull(text("tablespace")), boolean("hasindexes"),
			boolean("ispopulated"), orNull(text("definition")),
		}},
	}
}

// postgresKindsBehind declares those behind pg_partitioned_table, by name.
func postgresKindsBehind() []viewDefinition {
	none := (*System).noRows
	return []viewDefinition{
		{PostgresNamespace, "pg_policy", none, []viewColumn{
			bigInt("oid"), text("polname"), bigInt("polrelid"), text("polcmd"), boolean("polpermissive"), orNull(numbers("polroles")),
			orNull(text("polqual")), orNull(text("polwithcheck")),
		}},
		{PostgresNamespace, "pg_event_trigger", none, []viewColumn{
			bigInt("oid"), text("evtname"), text("evtevent"), bigInt("evtowner"), bigInt("evtfoid"), text("evtenabled"),
		}},
		{PostgresNamespace, "pg_foreign_server", none, []viewColumn{
			bigInt("oid"), text("srvname"), bigInt("srvowner"), bigInt("srvfdw"), orNull(text("srvtype")), orNull(text("srvoptions")),
		}},
		{PostgresNamespace, "pg_language", none, []viewColumn{bigInt("oid"), text("lanname"), bigInt("lanowner"), boolean("lanispl")}},
		{PostgresNamespace, "pg_opclass", none, []viewColumn{
			bigInt("oid"), bigInt("opcmethod"), text("opcname"), bigInt("opcnamespace"), bigInt("opcintype"), boolean("opcdefault"),
		}},
		{PostgresNamespace, "pg_partitioned_table", none, []viewColumn{
			bigInt("partrelid"), text("partstrat"), smallInt("partnatts"), bigInt("partdefid"), numbers("partattrs"),
		}},
		{PostgresNamespace, "pg_publication", none, []viewColumn{
			bigInt("oid"), text("pubname"), bigInt("pubowner"), boolean("puballtables"), boolean("pubinsert"), boolean("pubupdate"),
			boolean("pubdelete"), boolean("pubtruncate"), boolean("pubviaroot"),
		}},
		{PostgresNamespace, "pg_publication_namespace", none, []viewColumn{bigInt("oid"), bigInt("pnpubid"), bigInt("pnnspid")}},
		{PostgresNamespace, "pg_publication_rel", none, []viewColumn{
			bigInt("oid"), bigInt("prpubid"), bigInt("prrelid"), orNull(text("prqual")), orNull(numbers("prattrs")),
		}},
		{PostgresNamespace, "pg_range", none, []viewColumn{
			bigInt("rngtypid"), bigInt("rngsubtype"), bigInt("rngmultitypid"), bigInt("rngcollation"),
		}},
		{PostgresNamespace, "pg_rewrite", none, []viewColumn{
			bigInt("oid"), text("rulename"), bigInt("ev_class"), text("ev_type"), text("ev_enabled"), boolean("is_instead"),
		}},
		{PostgresNamespace, "pg_sequence", none, []viewColumn{
			bigInt("seqrelid"), bigInt("seqtypid"), bigInt("seqstart"), bigInt("seqincrement"), bigInt("seqmax"), bigInt("seqmin"),
			bigInt("seqcache"), boolean("seqcycle"),
		}},
		{PostgresNamespace, "pg_sequences", none, []viewColumn{
			text("schemaname"), text("sequencename"), orNull(text("sequenceowner")), text("data_type"), bigInt("start_value"),
			bigInt("min_value"), bigInt("max_value"), bigInt("increment_by"), boolean("cycle"), bigInt("cache_size"), orNull(bigInt("last_value")),
		}},
		{PostgresNamespace, "pg_shdescription", none, []viewColumn{bigInt("objoid"), bigInt("classoid"), text("description")}},
		{PostgresNamespace, "pg_statistic_ext", none, []viewColumn{
			bigInt("oid"), bigInt("stxrelid"), text("stxname"), bigInt("stxnamespace"), bigInt("stxowner"), integer("stxstattarget"),
			numbers("stxkeys"), texts("stxkind"),
		}},
		{PostgresNamespace, "pg_tablespace", none, []viewColumn{bigInt("oid"), text("spcname"), bigInt("spcowner")}},
		{PostgresNamespace, "pg_trigger", none, []viewColumn{
			bigInt("oid"), bigInt("tgrelid"), text("tgname"), bigInt("tgfoid"), smallInt("tgtype"), text("tgenabled"),
			boolean("tgisinternal"), bigInt("tgconstraint"),
		}},
	}
}

// informationKinds declares the views of information_schema about what there is none of, beside what follows from the constraints.
func informationKinds() []viewDefinition {
	none := (*System).noRows
	return []viewDefinition{
		{InformationNamespace, "check_constraints", none, []viewColumn{
			text("constraint_catalog"), text("constraint_schema"), text("constraint_name"), text("check_clause"),
		}},
		{InformationNamespace, "constraint_column_usage", (*System).informationColumnUsageRows, []viewColumn{
			text("table_catalog"), text("table_schema"), text("table_name"), text("column_name"), text("constraint_catalog"),
			text("constraint_schema"), text("constraint_name"),
		}},
		{InformationNamespace, "referential_constraints", none, []viewColumn{
			text("constraint_catalog"), text("constraint_schema"), text("constraint_name"), text("unique_constraint_catalog"),
			text("unique_constraint_schema"), text("unique_constraint_name"), text("match_option"), text("update_rule"), text("delete_rule"),
		}},
		{InformationNamespace, "sequences", none, []viewColumn{
			text("sequence_catalog"), text("sequence_schema"), text("sequence_name"), text("data_type"), text("start_value"),
			text("minimum_value"), text("maximum_value"), text("increment"), text("cycle_option"),
		}},
		{InformationNamespace, "triggers", none, []viewColumn{
			text("trigger_catalog"), text("trigger_schema"), text("trigger_name"), text("event_manipulation"),
			text("event_object_schema"), text("event_object_table"), text("action_statement"), text("action_timing"),
		}},
	}
}

func (*System) pgAmRows(context.Context, *ViewRequest) ([][]datum.Datum, error) {
	return [][]datum.Datum{
		{number(heapOID), textValue("heap"), textValue("heap_tableam_handler"), textValue("t")},
		{number(btreeOID), textValue("btree"), textValue("bthandler"), textValue("i")},
	}, nil
}

// pgCollationRows: texts are ordered by their bytes, which is both collations.
func (*System) pgCollationRows(context.Context, *ViewRequest) ([][]datum.Datum, error) {
	var rows [][]datum.Datum
	for _, c := range []struct {
		oid      int64
		name, by string
	}{{100, "default", "d"}, {950, "C", "c"}} {
		rows = append(rows, []datum.Datum{
			number(c.oid), textValue(c.name), number(namespaceOID(PostgresNamespace)), number(ownerOID), textValue(c.by), flag(true), small(-1),
			textValue("C"), textValue("C"),
			{},
		})
	}
	return rows, nil
}

func (*System) informationColumnUsageRows(_ context.Context, request *ViewRequest) ([][]datum.Datum, error) {
	var rows [][]datum.Datum
	for _, x := range request.constraints() {
		for _, position := range x.positions {
			rows = append(rows, []datum.Datum{
				textValue(databaseName), textValue(x.table.Namespace), textValue(x.table.Name), textValue(x.table.Columns[position].Name),
				textValue(databaseName), textValue(x.table.Namespace), textValue(x.name),
			})
		}
	}
	return rows, nil
}
