package plan

import (
	"slices"

	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
)

// maxNameBytes bounds the names of namespaces, tables, columns and users.
const maxNameBytes = 64

// checkName refuses a name that a namespace, table or column cannot have.
func checkName(node parse.Node, what, name string) error {
	switch {
	case name == "":
		return invalid(node, "the name of a %s must not be empty", what)
	case len(name) > maxNameBytes:
		return invalid(node, "%s name '%s…' is longer than %d bytes", what, name[:maxNameBytes/2], maxNameBytes)
	case name[0] == '_' || name[0] >= '0' && name[0] <= '9':
		return invalid(node, "%s name '%s' must not start with a digit or an underscore", what, name)
	}
	for i := range len(name) {
		c := name[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && c != '_' && (c < '0' || c > '9') {
			return invalid(node, "%s name '%s' may hold only letters, digits and underscores", what, name)
		}
	}
	return nil
}

// checkObjectName is checkName for namespaces and tables, which must not be SQL keywords either.
func checkObjectName(node parse.Node, what, name string) error {
	if err := checkName(node, what, name); err != nil {
		return err
	}
	keywords := []string{
		"all", "and", "any", "array", "as", "asc", "between", "by", "case", "cast", "check", "column", "constraint", "create",
		"cross", "default", "delete", "desc", "distinct", "drop", "else", "end", "except", "exists", "false", "fetch", "for",
		"foreign", "from", "full", "grant", "group", "having", "in", "index", "inner", "insert", "intersect", "into", "is",
		"join", "left", "like", "limit", "not", "null", "offset", "on", "or", "order", "outer", "primary", "references",
		"right", "select", "set", "some", "table", "then", "to", "true", "union", "unique", "update", "using", "values",
		"view", "when", "where", "with",
	}
	if _, reserved := slices.BinarySearch(keywords, lower(name)); reserved {
		return invalid(node, "%s name '%s' is a reserved SQL keyword", what, name)
	}
	return nil
}

func isReservedNamespace(name string) bool {
	return slices.Contains([]string{
		"system", "sys", "root", "kalamdb", "kalam", "main", "default", "sql", "admin", "internal", "information_schema",
		"pg_catalog", "datafusion",
	}, lower(name))
}

func isReservedColumn(name string) bool {
	return slices.Contains([]string{
		"_seq", "_deleted", "_id", "_row_id", "_rowid", "_key", "_updated", "_created", "_timestamp", "_version", "_hash",
	}, lower(name))
}
