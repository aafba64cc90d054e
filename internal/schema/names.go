package schema

import (
	"strings"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
)

// MaxIdentifierBytes bounds the name of a namespace, table or column.
const MaxIdentifierBytes = 64

// ValidateIdentifier checks the name of a namespace, table or column: 1 to 64 of A-Z a-z 0-9 _, the first
// neither a digit nor an underscore, and no reserved SQL keyword. what names the thing in the message,
// such as "table". Errors are fault.InvalidStatement.
func ValidateIdentifier(what, name string) error {
	switch {
	case name == "":
		return fault.New(fault.InvalidStatement, "%s name must not be empty", what)
	case len(name) > MaxIdentifierBytes:
		return fault.New(fault.InvalidStatement, "%s name %.32q… has %d bytes, the limit is %d", what, name, len(name), MaxIdentifierBytes)
	}
	for i := range len(name) {
		b := name[i]
		letter := b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z'
		if i == 0 && !letter {
			return fault.New(fault.InvalidStatement, "%s name %q must start with a letter", what, name)
		}
		if !letter && (b < '0' || b > '9') && b != '_' {
			return fault.New(fault.InvalidStatement, "%s name %q may only hold letters, digits and underscores", what, name)
		}
	}
	if IsReservedWord(name) {
		return fault.New(fault.InvalidStatement, "%s name %q is a reserved SQL keyword", what, name)
	}
	return nil
}

// IsReservedWord reports whether a word, in any letter case, is a keyword that no object may be named by.
func IsReservedWord(word string) bool {
	switch strings.ToLower(word) {
	case "all", "alter", "and", "any", "array", "as", "asc", "between", "both", "by", "case", "cast", "check", "collate",
		"column", "constraint", "create", "cross", "current_date", "current_role", "current_time", "current_timestamp",
		"current_user", "default", "delete", "desc", "distinct", "drop", "else", "end", "except", "exists", "false", "fetch",
		"for", "foreign", "from", "full", "grant", "group", "having", "in", "inner", "insert", "intersect", "into", "is",
		"join", "lateral", "leading", "left", "like", "limit", "natural", "not", "null", "offset", "on", "or", "order",
		"outer", "primary", "references", "right", "select", "session_user", "set", "some", "table", "then", "to",
		"trailing", "true", "union", "unique", "update", "user", "using", "values", "when", "where", "with":
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

// ValidateNamespaceName checks the name of a namespace that a user creates.
func ValidateNamespaceName(name string) error {
	if IsReservedNamespace(name) {
		return fault.New(fault.InvalidStatement, "namespace name %q is reserved", name)
	}
	return ValidateIdentifier("namespace", name)
}

// ValidateColumnName checks the name of a column that a user declares.
func ValidateColumnName(name string) error {
	if IsReservedColumn(name) {
		return fault.New(fault.InvalidStatement, "column name %q is reserved", name)
	}
	return ValidateIdentifier("column", name)
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
