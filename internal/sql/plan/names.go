package plan

import (
	"errors"

	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
)

// maxNameBytes bounds the names of namespaces, tables, columns and users.
const maxNameBytes = schema.MaxNameBytes

// checkName refuses a name that a column or storage cannot have.
func checkName(node parse.Node, what, name string) error {
	return placed(node, schema.CheckName(what, name))
}

// checkObjectName refuses a name that a namespace, table, view or index cannot have.
func checkObjectName(node parse.Node, what, name string) error {
	return placed(node, schema.CheckObjectName(what, name))
}

// placed adds the place of a node to an error that may be nil.
func placed(node parse.Node, err error) error {
	if f, ok := errors.AsType[*fault.Error](err); ok {
		return at(node, f)
	}
	return err
}
