package server

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// driverQueries are what tools, drivers and mappers of PostgreSQL ask to learn what there is, as far as the dialect goes, with the
// rows that they get. OID stands for the id of app.notes.
func driverQueries() []struct{ who, sql, want string } {
	return []struct{ who, sql, want string }{
		{"psql \\dt", `SELECT n.nspname as "Schema", c.relname as "Name",
			CASE c.relkind WHEN 'r' THEN 'table' WHEN 'v' THEN 'view' WHEN 'i' THEN 'index' END as "Type",
			pg_catalog.pg_get_userbyid(c.relowner) as "Owner"
			FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
			LEFT JOIN pg_catalog.pg_am am ON am.oid = c.relam
			WHERE c.relkind IN ('r','p','') AND n.nspname <> 'pg_catalog' AND n.nspname !~ '^pg_toast' AND n.nspname <> 'information_schema'
			AND pg_catalog.pg_table_is_visible(c.oid) AND n.nspname = 'app' ORDER BY 1,2`, "app|hidden|table|system\napp|notes|table|system"},
		{"psql \\d, the relation", `SELECT c.relchecks, c.relkind, c.relhasindex, c.relhasrules, c.relhastriggers, c.relrowsecurity, c.relforcerowsecurity,
			false AS relhasoids, c.relispartition, '', c.reltablespace, CASE WHEN c.reloftype = 0 THEN '' END, c.relpersistence, c.relreplident, am.amname
			FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_class tc ON (c.reltoastrelid = tc.oid) LEFT JOIN pg_catalog.pg_am am ON (c.relam = am.oid)
			WHERE c.oid = 'OID'`, "0|r|true|false|false|true|false|false|false||0||p|d|heap"},
		{
			"psql \\d, the columns", `SELECT a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod),
			(SELECT pg_catalog.pg_get_expr(d.adbin, d.adrelid, true) FROM pg_catalog.pg_attrdef d
			 WHERE d.adrelid = a.attrelid AND d.adnum = a.attnum AND a.atthasdef), a.attnotnull,
			(SELECT c.collname FROM pg_catalog.pg_collation c, pg_catalog.pg_type t
			 WHERE c.oid = a.attcollation AND t.oid = a.atttypid AND a.attcollation <> t.typcollation) AS attcollation, a.attidentity, a.attgenerated
			FROM pg_catalog.pg_attribute a WHERE a.attrelid = 'OID' AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum`,
			"id|bigint|null|true|null||\nbody|text|none|false|null||",
		},
		{
			"psql \\d, the indexes", `SELECT c2.relname, i.indisprimary, i.indisunique, i.indisclustered, i.indisvalid,
			pg_catalog.pg_get_indexdef(i.indexrelid, 0, true), pg_catalog.pg_get_constraintdef(con.oid, true), contype, condeferrable, condeferred,
			i.indisreplident, c2.reltablespace
			FROM pg_catalog.pg_class c, pg_catalog.pg_class c2, pg_catalog.pg_index i
			LEFT JOIN pg_catalog.pg_constraint con ON (conrelid = i.indrelid AND conindid = i.indexrelid AND contype IN ('p','u','x'))
			WHERE c.oid = 'OID' AND c.oid = i.indrelid AND i.indexrelid = c2.oid ORDER BY i.indisprimary DESC, c2.relname`,
			"notes_pkey|true|true|false|true|CREATE UNIQUE INDEX notes_pkey ON app.notes USING btree (id)|PRIMARY KEY (id)|p|false|false|false|0\n" +
				"by_body|false|false|false|true|CREATE INDEX by_body ON app.notes USING btree (body)|null|null|null|null|false|0",
		},
		{"psql \\d, policies", "SELECT pol.polname, pol.polpermissive FROM pg_catalog.pg_policy pol WHERE pol.polrelid = 'OID' ORDER BY 1", ""},
		{"psql \\d, parents", `SELECT c.oid, c.relkind, inhdetachpending FROM pg_catalog.pg_class c, pg_catalog.pg_inherits i
			WHERE c.oid = i.inhparent AND i.inhrelid = 'OID'`, ""},
		{"psql \\d, triggers", "SELECT t.tgname FROM pg_catalog.pg_trigger t WHERE t.tgrelid = 'OID' AND NOT t.tgisinternal", ""},
		{
			"psql \\dn", `SELECT n.nspname AS "Name", pg_catalog.pg_get_userbyid(n.nspowner) AS "Owner" FROM pg_catalog.pg_namespace n
			WHERE n.nspname !~ '^pg_' AND n.nspname IN ('app', 'default', 'information_schema') AND n.nspname <> 'information_schema' ORDER BY 1`,
			"app|system\ndefault|system",
		},
		{"psql \\dv", `SELECT n.nspname, c.relname FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
			WHERE c.relkind IN ('v','') AND n.nspname = 'app' ORDER BY 1,2`, "app|short"},
		{"psql \\di", `SELECT c.relname, c2.relname FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
			LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = c.oid LEFT JOIN pg_catalog.pg_class c2 ON i.indrelid = c2.oid
			WHERE c.relkind IN ('i','I','') AND c2.relname = 'notes' ORDER BY 1,2`, "by_body|notes\nnotes_pkey|notes"},
		{"psql \\l", `SELECT d.datname, pg_catalog.pg_get_userbyid(d.datdba), pg_catalog.pg_encoding_to_char(d.encoding), d.datcollate, d.datctype
			FROM pg_catalog.pg_database d ORDER BY 1`, "kalam|system|UTF8|C|C"},
		{"psql \\du", `SELECT r.rolname, r.rolsuper, r.rolinherit, r.rolcreaterole, r.rolcreatedb, r.rolcanlogin, r.rolconnlimit, r.rolvaliduntil, r.rolreplication,
			r.rolbypassrls FROM pg_catalog.pg_roles r WHERE r.rolname !~ '^pg_' ORDER BY 1 LIMIT 1`, "dba|true|true|true|true|true|-1|null|false|false"},
		{
			"JDBC getColumns", `SELECT * FROM (SELECT n.nspname,c.relname,a.attname,a.atttypid,a.attnotnull OR (t.typtype = 'd' AND t.typnotnull) AS attnotnull,
			a.atttypmod,a.attlen,t.typtypmod,row_number() OVER (PARTITION BY a.attrelid ORDER BY a.attnum) AS attnum, nullif(a.attidentity, '') as attidentity,
			nullif(a.attgenerated, '') as attgenerated,pg_catalog.pg_get_expr(def.adbin, def.adrelid) AS adsrc,dsc.description,t.typbasetype,t.typtype
			FROM pg_catalog.pg_namespace n JOIN pg_catalog.pg_class c ON (c.relnamespace = n.oid) JOIN pg_catalog.pg_attribute a ON (a.attrelid=c.oid)
			JOIN pg_catalog.pg_type t ON (a.atttypid = t.oid) LEFT JOIN pg_catalog.pg_attrdef def ON (a.attrelid=def.adrelid AND a.attnum = def.adnum)
			LEFT JOIN pg_catalog.pg_description dsc ON (c.oid=dsc.objoid AND a.attnum = dsc.objsubid)
			LEFT JOIN pg_catalog.pg_class dc ON (dc.oid=dsc.classoid AND dc.relname='pg_class')
			LEFT JOIN pg_catalog.pg_namespace dn ON (dc.relnamespace=dn.oid AND dn.nspname='pg_catalog')
			WHERE c.relkind in ('r','p','v','f','m') and a.attnum > 0 AND NOT a.attisdropped AND n.nspname LIKE 'app' AND c.relname LIKE 'notes') c
			WHERE true AND attname LIKE '%' ORDER BY nspname,c.relname,attnum`,
			"app|notes|id|20|true|-1|8|-1|1|null|null|null|null|0|b\napp|notes|body|25|false|-1|-1|-1|2|null|null|none|null|0|b",
		},
		{"JDBC getSchemas", `SELECT nspname AS TABLE_SCHEM, NULL AS TABLE_CATALOG FROM pg_catalog.pg_namespace WHERE nspname <> 'pg_toast'
			AND (nspname !~ '^pg_temp_' OR nspname = (pg_catalog.current_schemas(true))[1]) AND nspname LIKE 'a%' ORDER BY TABLE_SCHEM`, "app|null"},
		{"pgx, a type", "select t.typtype::text, t.typelem, r.rngsubtype from pg_type t left join pg_range r on t.oid = r.rngtypid where t.oid = 1009", "b|25|null"},
		{"pgx, an enum", "select enumlabel from pg_enum where enumtypid = 25 order by enumsortorder", ""},
		{"SQLAlchemy has_table", `SELECT pg_catalog.pg_class.relname FROM pg_catalog.pg_class JOIN pg_catalog.pg_namespace
			ON pg_catalog.pg_namespace.oid = pg_catalog.pg_class.relnamespace WHERE pg_catalog.pg_class.relname = 'notes'
			AND pg_catalog.pg_class.relkind = ANY (ARRAY['r', 'p', 'f', 'v', 'm']) AND pg_catalog.pg_table_is_visible(pg_catalog.pg_class.oid)`, "notes"},
		{"SQLAlchemy get_pk_constraint", `SELECT a.attname FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY(i.indkey)
			WHERE i.indrelid = 'OID' AND i.indisprimary`, "id"},
		{"Django get_constraints", `SELECT c.conname, array(SELECT attname FROM unnest(c.conkey) WITH ORDINALITY cols(colid, arridx)
			JOIN pg_attribute AS ca ON cols.colid = ca.attnum WHERE ca.attrelid = c.conrelid ORDER BY cols.arridx)::text, c.contype
			FROM pg_constraint AS c JOIN pg_class AS cl ON c.conrelid = cl.oid WHERE cl.relname = 'notes'`, "notes_pkey|{id}|p"},
		{"information_schema, keys", `SELECT kcu.column_name, tc.constraint_name FROM information_schema.table_constraints tc
			JOIN information_schema.key_column_usage kcu ON tc.constraint_name = kcu.constraint_name AND tc.table_schema = kcu.table_schema
			WHERE tc.constraint_type = 'PRIMARY KEY' AND tc.table_schema = 'app' AND tc.table_name = 'notes'`, "id|notes_pkey"},
		{"information_schema, usage", `SELECT ccu.column_name FROM information_schema.constraint_column_usage ccu WHERE ccu.table_name = 'notes'`, "id"},
		{"information_schema, foreign keys", "SELECT rc.constraint_name FROM information_schema.referential_constraints rc", ""},
		{"information_schema, sequences", "SELECT sequence_name FROM information_schema.sequences", ""},
		{
			"information_schema, types", `SELECT column_name, data_type, udt_name, is_nullable, column_default, character_maximum_length
			FROM information_schema.columns WHERE table_schema = 'app' AND table_name = 'notes' ORDER BY ordinal_position`,
			"id|BIGINT|int8|NO|null|null\nbody|TEXT|text|YES|none|null",
		},
		{"any", "SELECT current_schema(), current_database(), pg_backend_pid(), pg_is_in_recovery()", "default|kalam|0|false"},
		{"a list of extensions", "SELECT extname FROM pg_extension", ""},
		{"materialized views", "SELECT matviewname FROM pg_matviews", ""},
	}
}

// TestDriversLookAround: the queries are answered for administrators, and for users with what they may know.
func TestDriversLookAround(t *testing.T) {
	t.Parallel()
	_, root, ann := systemNode(t)
	root.sql("CREATE INDEX by_body ON app.notes (body)")
	root.sql("CREATE VIEW app.short AS SELECT id FROM app.notes")
	id := func(name string) string {
		return root.grid("SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'app' AND c.relname = '" + name + "'")
	}
	ids := strings.NewReplacer("'OID'", "'"+id("notes")+"'", "OID::", id("notes")+"::", "'VIEW'", "'"+id("short")+"'", "OID|", id("notes")+"|")
	for _, q := range slices.Concat(driverQueries(), describeQueries(), jdbcKeyQueries()) {
		sql, want := ids.Replace(q.sql), ids.Replace(q.want)
		if status, a := root.ask(sql); status != http.StatusOK {
			t.Errorf("%s: %d %+v", q.who, status, a.Error)
			continue
		}
		if got := root.grid(sql); got != want {
			t.Errorf("%s:\n%s\nwant\n%s", q.who, got, want)
		}
		if status, a := ann.ask(sql); status != http.StatusOK || strings.Contains(fmt.Sprint(a.Results), "hidden") {
			t.Errorf("%s for a user: %d %+v %v", q.who, status, a.Error, a.Results)
		}
	}
	const known = "SELECT to_regclass('app.hidden') IS NULL, to_regclass('app.notes') IS NULL, HIDDEN::regclass, pg_get_indexdef(PKEY) IS NULL"
	pkey := root.grid("SELECT 'app.hidden_pkey'::regclass::oid")
	sql := strings.NewReplacer("HIDDEN", id("hidden"), "PKEY", pkey).Replace(known)
	if got, want := root.grid(sql), "false|false|app.hidden|false"; got != want {
		t.Errorf("an administrator knows %s, want %s", got, want)
	}
	if got, want := ann.grid(sql), "true|false|"+id("hidden")+"|true"; got != want {
		t.Errorf("a user knows %s, want %s", got, want)
	}
	if status, a := ann.ask("SELECT 'app.hidden'::regclass"); status != http.StatusBadRequest {
		t.Errorf("the id of what a user may not know: %d %v", status, a.Results)
	}
}
