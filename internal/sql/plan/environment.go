package plan

import (
	"errors"
	"strings"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/session"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
	"github.com/kalamdb/kalamdb-go/internal/table"
)

// catalogName is the only value of the first part of a three-part name.
const catalogName = "kalam"

// Environment is what a statement is planned against. It is read only.
type Environment struct {
	Catalog     *catalog.Catalog
	Views       *table.System
	Caller      session.Viewpoint
	Params      []datum.Datum
	NowMicros   int64 // the time of the statement
	DefaultRows int64 // LIMIT of a query without one; zero means none
	MaxRows     int64 // bound of every LIMIT; zero means none
	// Sizes estimates how large tables are; nil keeps joins in the order in which they are written. Those of private rows are asked for
	// in the name of the caller, so that a plan which depends on them is for him alone.
	Sizes Sizes
	// impersonating is set inside EXECUTE AS USER, which must not reach shared tables.
	impersonating bool
	// expanding are the views whose queries are being planned, the outermost first.
	expanding []catalog.ObjectName
	// stars collects what * stands for in the query of a new view; nil elsewhere.
	stars map[*parse.Star][]parse.SelectItem
}

// Sizes estimates what is stored. Estimates decide in which order tables are joined, never which rows are given.
type Sizes interface {
	// Rows is about how many rows a table has that exist for a user; ok is false when nothing is known.
	Rows(t *schema.Table, user ident.UserID) (rows float64, ok bool)
	// Distinct is about how many different values a column of them has, at least one; ok is false when nothing is known.
	Distinct(t *schema.Table, user ident.UserID, position int) (values float64, ok bool)
}

// owner is whose rows of a table are sized up; empty for shared ones.
func (e *Environment) owner(t *schema.Table) ident.UserID {
	if t.Kind == schema.KindShared {
		return ""
	}
	return e.Caller.User()
}

// tableName completes a name with the session's namespace.
func (e *Environment) tableName(name parse.ObjectName) (namespace, unqualified string) {
	if name.Namespace == "" {
		return e.Caller.Namespace, name.Name
	}
	return name.Namespace, name.Name
}

// lookup finds a table that the caller may see. A table that exists but must not be seen is refused like
// one that does not, so that the answer tells nothing.
func (e *Environment) lookup(name parse.ObjectName) (*schema.Table, error) {
	namespace, unqualified := e.tableName(name)
	if namespace == table.SystemNamespace && !e.Caller.Role.IsAdmin() {
		return nil, at(name, fault.New(fault.PermissionDenied, "access denied: system tables need role dba or system"))
	}
	found := e.find(name.Catalog, namespace, unqualified)
	if found == nil || !e.canSee(found) {
		return nil, at(name, fault.New(fault.TableNotFound, "table '%s.%s' not found or access denied", namespace, unqualified))
	}
	return found, nil
}

// find returns the named table, computed table or view, or nil.
func (e *Environment) find(catalogPart, namespace, name string) *schema.Table {
	if catalogPart != "" && catalogPart != catalogName {
		return nil
	}
	if view := e.Views.View(namespace, name); view != nil {
		return view
	}
	if found, ok := e.Catalog.Table(namespace, name); ok {
		return found
	}
	if found, ok := e.Catalog.View(namespace, name); ok {
		return found.Table
	}
	if !strings.HasPrefix(name, "pg_") || namespace != e.Caller.Namespace {
		return nil
	}
	// As in PostgreSQL, its catalog is searched without being named.
	return e.Views.View(table.PostgresNamespace, name)
}

// at adds the place of a node to an error.
func at(node parse.Node, err *fault.Error) *fault.Error {
	pos := node.Position()
	if pos.Line == 0 || err.Line != 0 {
		return err
	}
	return err.At(int(pos.Line), int(pos.Column))
}

// wrapFault puts words before the message of an error and keeps its kind and place.
func wrapFault(err error, words string) error {
	wrapped := fault.New(fault.KindOf(err), words+"%w", err)
	if inner, ok := errors.AsType[*fault.Error](err); ok {
		return wrapped.At(inner.Line, inner.Column)
	}
	return wrapped
}

// invalid is a statement that means nothing, at a node.
func invalid(node parse.Node, format string, args ...any) error {
	return at(node, fault.New(fault.InvalidStatement, format, args...))
}

// unsupported is a statement that is valid SQL but not run here, at a node.
func unsupported(node parse.Node, format string, args ...any) error {
	return at(node, fault.New(fault.Unsupported, format, args...))
}

// isOpenView reports whether every role may read a view.
func isOpenView(view *schema.Table) bool {
	return view.Namespace == table.InformationNamespace || view.Namespace == table.PostgresNamespace
}
