package server

// jdbcKeyQueries are what JDBC asks for the keys and indexes of a table, as its driver writes it.
func jdbcKeyQueries() []struct{ who, sql, want string } {
	const keys = `SELECT NULL AS TABLE_CAT, n.nspname AS TABLE_SCHEM,   ct.relname AS TABLE_NAME, a.attname AS COLUMN_NAME,   ` +
		`(information_schema._pg_expandarray(i.indkey)).n AS KEY_SEQ, ci.relname AS PK_NAME,   ` +
		`information_schema._pg_expandarray(i.indkey) AS KEYS, a.attnum AS A_ATTNUM FROM pg_catalog.pg_class ct   ` +
		`JOIN pg_catalog.pg_attribute a ON (ct.oid = a.attrelid)   JOIN pg_catalog.pg_namespace n ON (ct.relnamespace = n.oid)   ` +
		`JOIN pg_catalog.pg_index i ON ( a.attrelid = i.indrelid)   JOIN pg_catalog.pg_class ci ON (ci.oid = i.indexrelid) ` +
		`WHERE true  AND n.nspname = 'app' AND ct.relname = 'notes' AND i.indisprimary `
	const uniqueKeys = `SELECT NULL AS TABLE_CAT, n.nspname AS TABLE_SCHEM,   ct.relname AS TABLE_NAME, a.attname AS COLUMN_NAME,   ` +
		`(information_schema._pg_expandarray(i.indkey)).n AS KEY_SEQ, ci.relname AS PK_NAME,   ` +
		`information_schema._pg_expandarray(i.indkey) AS KEYS, a.attnum AS A_ATTNUM,   a.attnotnull AS IS_NOT_NULL FROM pg_catalog.pg_class ct   ` +
		`JOIN pg_catalog.pg_attribute a ON (ct.oid = a.attrelid)   JOIN pg_catalog.pg_namespace n ON (ct.relnamespace = n.oid)   ` +
		`JOIN pg_catalog.pg_index i ON ( a.attrelid = i.indrelid)   JOIN pg_catalog.pg_class ci ON (ci.oid = i.indexrelid) ` +
		`WHERE true  AND n.nspname = 'app' AND ct.relname = 'notes' ` +
		`AND (i.indisprimary OR ( i.indisunique  AND i.indisvalid  AND i.indpred IS NULL  AND i.indexprs IS NULL )) `
	return []struct{ who, sql, want string }{
		{
			"JDBC getPrimaryKeys", `SELECT        result.TABLE_CAT,        result.TABLE_SCHEM,        result.TABLE_NAME,        result.COLUMN_NAME,        ` +
				`result.KEY_SEQ,        result.PK_NAME FROM      (` + keys + ` ) result where  result.A_ATTNUM = (result.KEYS).x  ` +
				`ORDER BY result.table_name, result.pk_name, result.key_seq`,
			"null|app|notes|id|1|notes_pkey",
		},
		{
			"JDBC getPrimaryUniqueKeys", `SELECT        result.TABLE_CAT,        result.TABLE_SCHEM,        result.TABLE_NAME,        result.COLUMN_NAME,        ` +
				`result.KEY_SEQ,        result.PK_NAME,        result.KEYS,        result.A_ATTNUM,        result.IS_NOT_NULL FROM      (` + uniqueKeys +
				` ) result where  result.A_ATTNUM = (result.KEYS).x  ORDER BY result.table_name, result.pk_name, result.key_seq`,
			"null|app|notes|id|1|notes_pkey|{1,1}|1|true",
		},
		{
			"JDBC getIndexInfo", `SELECT     tmp.TABLE_CAT,     tmp.TABLE_SCHEM,     tmp.TABLE_NAME,     tmp.NON_UNIQUE,     tmp.INDEX_QUALIFIER,     ` +
				`tmp.INDEX_NAME,     tmp.TYPE,     tmp.ORDINAL_POSITION,     ` +
				`trim(both '"' from pg_catalog.pg_get_indexdef(tmp.CI_OID, tmp.ORDINAL_POSITION, false)) AS COLUMN_NAME,   CASE tmp.AM_NAME     ` +
				`WHEN 'btree' THEN       CASE tmp.I_INDOPTION[tmp.ORDINAL_POSITION - 1] & 1::smallint         WHEN 1 THEN 'D'         ELSE 'A'       END     ` +
				`ELSE NULL   END AS ASC_OR_DESC,     tmp.CARDINALITY,     tmp.PAGES,     tmp.FILTER_CONDITION FROM ` +
				`(SELECT NULL AS TABLE_CAT, n.nspname AS TABLE_SCHEM,   ct.relname AS TABLE_NAME, NOT i.indisunique AS NON_UNIQUE,   ` +
				`NULL AS INDEX_QUALIFIER, ci.relname AS INDEX_NAME,   CASE i.indisclustered     WHEN true THEN 1    ELSE CASE am.amname       ` +
				`WHEN 'hash' THEN 2      ELSE 3    END   END AS TYPE,   (information_schema._pg_expandarray(i.indkey)).n AS ORDINAL_POSITION,   ` +
				`ci.reltuples AS CARDINALITY,   ci.relpages AS PAGES,   pg_catalog.pg_get_expr(i.indpred, i.indrelid) AS FILTER_CONDITION,   ` +
				`ci.oid AS CI_OID,   i.indoption AS I_INDOPTION,   am.amname AS AM_NAME FROM pg_catalog.pg_class ct   ` +
				`JOIN pg_catalog.pg_namespace n ON (ct.relnamespace = n.oid)   JOIN pg_catalog.pg_index i ON (ct.oid = i.indrelid)   ` +
				`JOIN pg_catalog.pg_class ci ON (ci.oid = i.indexrelid)   JOIN pg_catalog.pg_am am ON (ci.relam = am.oid) ` +
				`WHERE true  AND n.nspname = 'app' AND ct.relname = 'notes') AS tmp ORDER BY NON_UNIQUE, TYPE, INDEX_NAME, ORDINAL_POSITION `,
			"null|app|notes|false|null|notes_pkey|3|1|id|A|-1|0|null\nnull|app|notes|true|null|by_body|3|1|body|A|-1|0|null",
		},
	}
}
