package parse

import "github.com/kalamdb/kalamdb-go/internal/fault"

// What PostgreSQL has and this dialect has not is refused by a sentence that says what to do instead, where it would otherwise be a word out
// of place.

// failUnsupported ends parsing at something that is understood and not there.
func failUnsupported(at Pos, sentence string) {
	located := fault.New(fault.Unsupported, "not supported, at line %d, column %d: %s", at.Line, at.Column, sentence)
	panic(failure{located.At(int(at.Line), int(at.Column))})
}

// refusedStatement says what to do instead of a statement that begins with a word of PostgreSQL; "" for other words.
func refusedStatement(word string) string {
	var buffer wordBuffer
	switch string(buffer.fold(word)) {
	case "prepare", "deallocate":
		return refusedPrepare
	case "declare", "fetch", "move", "close":
		return "there are no cursors; read on with WHERE key > the last one, ORDER BY key and LIMIT"
	case "copy":
		return "COPY moves nothing over HTTP; use INSERT with many rows, or SELECT"
	case "listen", "notify", "unlisten":
		return "clients are told of changed rows by live queries; use SUBSCRIBE TO"
	case "lock":
		return "nothing is locked; what a transaction has read is checked at its COMMIT"
	case "grant", "revoke":
		return "rights follow from roles and access levels; use ALTER USER ... SET ROLE, or ALTER TABLE ... SET ACCESS LEVEL"
	case "merge":
		return "use INSERT ... ON CONFLICT, or changes within WITH, which take effect together"
	case "vacuum", "analyze", "reindex", "checkpoint":
		return "the server does it by itself; STORAGE FLUSH and STORAGE COMPACT move rows into files"
	case "do", "call":
		return "there are no procedures; send the statements"
	case "comment":
		return "there is no COMMENT ON; CREATE TABLE takes COMMENT behind a column"
	case "discard":
		return refusedSession
	}
	return ""
}

const (
	refusedPrepare = "a request has no session in which a prepared statement could stay; send the statement with $1 and its parameters each time, its plan is kept"
	refusedSession = "a request has no session whose settings could be set back"
	refusedInto    = "SELECT ... INTO makes no table; create it with its primary key, then use INSERT INTO ... SELECT"
	refusedSample  = "there is no TABLESAMPLE; use WHERE random() < 0.1, or a condition on the primary key"
	refusedBits    = "there are no bit strings; use whole numbers with & | # ~ << >>, or BYTES as X'0f'"
	refusedNamed   = "arguments are given by their place, without names"
	refusedSpread  = "there is no VARIADIC; give the values one by one"
	refusedCycle   = "there is no SEARCH or CYCLE; let the recursive query carry an array of what it has seen, and test it with = ANY"
	refusedRows    = "there is no ROWS FROM; join the functions, each WITH ORDINALITY, by their ordinality"
	refusedTypes   = "the columns of an alias have no types; name them alone and cast them, and in place of json_to_recordset take json_array_elements(...) AS e and (e->>'a')::INT"
	refusedAll     = "of a value in parentheses one field is taken; write t.* for the columns of a table"
	refusedList    = "an empty select list is taken directly within EXISTS only; name a column, or write SELECT 1"
	refusedCursor  = "there are no cursors; name the row by its primary key"
)

// refusedObject says what to do instead of CREATE with a word of PostgreSQL; "" for other words.
func refusedObject(word string) string {
	var buffer wordBuffer
	switch string(buffer.fold(word)) {
	case "schema", "database":
		return "use CREATE NAMESPACE"
	case "role", "group":
		return "roles are fixed; use CREATE USER ... ROLE"
	case "temp", "temporary", "unlogged", "local", "global":
		return "there are no tables of a session; use WITH name AS (...), or a STREAM table, whose rows end by themselves"
	case "materialized", "recursive":
		return "there are plain views only; use CREATE VIEW, or a table that is filled by INSERT ... SELECT"
	case "sequence":
		return "there are no sequences; use DEFAULT SNOWFLAKE_ID(), UUID_V7() or ULID()"
	case "function", "procedure", "trigger", "aggregate", "operator", "rule", "event":
		return "the server runs no code of others; follow changes with live queries"
	case "type", "domain", "collation", "extension", "language", "cast":
		return "types and functions are those that are built in; SELECT * FROM system.datatypes lists the types"
	case "policy":
		return "rows of their users are kept apart by USER tables"
	}
	return ""
}
