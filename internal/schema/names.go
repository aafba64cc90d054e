package schema

import (
	"strings"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
)

// MaxNameBytes bounds the names of namespaces, tables, views, indexes, columns and storages.
const MaxNameBytes = 64

// CheckName refuses a name that nothing in the catalog can have: it is 1 to 64 of A-Z a-z 0-9 _, the first neither a
// digit nor an underscore. what names the thing in the message, such as "column". Errors are fault.InvalidStatement.
func CheckName(what, name string) error {
	switch {
	case name == "":
		return fault.New(fault.InvalidStatement, "the name of a %s must not be empty", what)
	case len(name) > MaxNameBytes:
		return fault.New(fault.InvalidStatement, "%s name '%s…' is longer than %d bytes", what, name[:MaxNameBytes/2], MaxNameBytes)
	case name[0] == '_' || name[0] >= '0' && name[0] <= '9':
		return fault.New(fault.InvalidStatement, "%s name '%s' must not start with a digit or an underscore", what, name)
	}
	for i := range len(name) {
		c := name[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && c != '_' && (c < '0' || c > '9') {
			return fault.New(fault.InvalidStatement, "%s name '%s' may hold only letters, digits and underscores", what, name)
		}
	}
	return nil
}

// CheckObjectName is CheckName for namespaces, tables, views and indexes, which must not be SQL keywords either. Columns may: they
// are quoted then.
func CheckObjectName(what, name string) error {
	if err := CheckName(what, name); err != nil {
		return err
	}
	if IsReservedWord(name) {
		return fault.New(fault.InvalidStatement, "%s name '%s' is a reserved SQL keyword", what, name)
	}
	return nil
}

// IsReservedWord reports whether a word, in any letter case, is a keyword that no object may be named by: every word that
// cannot be a name without quotes, and those that begin statements and clauses.
func IsReservedWord(word string) bool {
	switch strings.ToLower(word) {
	case "all", "and", "any", "array", "as", "asc", "asymmetric", "between", "by", "case", "cast", "check", "collate", "column",
		"constraint", "create", "cross", "current_catalog", "current_date", "current_role", "current_schema", "current_time",
		"current_timestamp", "current_user", "default", "delete", "desc", "distinct", "drop", "else", "end", "except", "exists",
		"false", "fetch", "for", "foreign", "from", "full", "grant", "group", "having", "ilike", "in", "index", "inner", "insert",
		"intersect", "into", "is", "isnull", "join", "lateral", "left", "like", "limit", "localtime", "localtimestamp", "natural",
		"not", "notnull", "null", "offset", "on", "or", "order", "outer", "primary", "references", "returning", "right", "select",
		"session_user", "set", "similar", "some", "symmetric", "table", "then", "to", "true", "union", "unique", "update",
		"using", "values", "view", "when", "where", "window", "with":
		return true
	}
	return false
}

// IsReservedNamespace reports whether users may not create a namespace of that name, in any letter case.
func IsReservedNamespace(name string) bool {
	switch strings.ToLower(name) {
	case "system", "sys", "root", "kalamdb", "kalam", "main", "default", "sql", "admin", "internal", "information_schema",
		"pg_catalog", "datafusion":
		return true
	}
	return false
}

// IsReservedColumn reports whether tables may not declare a column of that name, in any letter case.
func IsReservedColumn(name string) bool {
	switch strings.ToLower(name) {
	case SeqColumn, DeletedColumn, "_id", "_row_id", "_rowid", "_key", "_updated", "_created", "_timestamp", "_version", "_hash":
		return true
	}
	return false
}

// HasSystemColumns reports whether SeqColumn and DeletedColumn follow the declared columns: rows that are stored have them.
func (t *Table) HasSystemColumns() bool { return t.Kind != KindSystem && t.Kind != KindView }

// WithSystemColumns returns the columns that a query sees: the declared ones, then SeqColumn and
// DeletedColumn where the table has them. Positions of declared columns do not change. Unique says of each
// whether its values are.
func WithSystemColumns(t *Table) []Column {
	columns := make([]Column, len(t.Columns), len(t.Columns)+2)
	copy(columns, t.Columns)
	for i := range columns {
		columns[i].Unique = t.UniqueColumn(i)
	}
	if !t.HasSystemColumns() {
		return columns
	}
	return append(columns,
		Column{Name: SeqColumn, Type: datum.Of(datum.BigInt)},
		Column{Name: DeletedColumn, Type: datum.Of(datum.Boolean)},
	)
}

// Flags returns the marks of the column in result schemas, in their fixed order: pk, nn, uq. A primary
// key is all three.
func (c Column) Flags() []string {
	var flags []string
	if c.PrimaryKey {
		flags = append(flags, "pk")
	}
	if c.PrimaryKey || !c.Nullable {
		flags = append(flags, "nn")
	}
	if c.PrimaryKey || c.Unique {
		flags = append(flags, "uq")
	}
	return flags
}
