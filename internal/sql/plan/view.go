package plan

import (
	"errors"
	"slices"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/session"
	"github.com/kalamdb/kalamdb-go/internal/sql/expr"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
)

// maxViewDepth bounds how deep views read views.
const maxViewDepth = 16

// canSee reports whether the caller may know of a table or view. A view is seen by those who may read all that it reads:
// it runs with the rights of whoever reads it.
func (e *Environment) canSee(found *schema.Table) bool {
	return CanSeeNamed(e.Catalog, e.Caller.Role, found)
}

// CanSeeNamed reports whether a role may know of a table or view of a catalog.
func CanSeeNamed(current *catalog.Catalog, role session.Role, found *schema.Table) bool {
	if found.Kind != schema.KindView {
		return CanSee(role, found)
	}
	view, ok := current.View(found.Namespace, found.Name)
	return ok && CanSeeView(current, role, view)
}

// CanSeeView reports whether a role may read everything that a view reads.
func CanSeeView(current *catalog.Catalog, role session.Role, view *catalog.View) bool {
	return everyTable(current, view, maxViewDepth, func(v *catalog.View) bool { return !v.Restricted || role.IsAdmin() },
		func(t *schema.Table) bool { return CanSee(role, t) })
}

// readsShared reports whether a table is a SHARED one or a view that reads one.
func (e *Environment) readsShared(found *schema.Table) bool {
	if found.Kind != schema.KindView {
		return found.Kind == schema.KindShared
	}
	view, ok := e.Catalog.View(found.Namespace, found.Name)
	return ok && !everyTable(e.Catalog, view, maxViewDepth, func(*catalog.View) bool { return true },
		func(t *schema.Table) bool { return t.Kind != schema.KindShared })
}

// everyTable reports whether something holds of a view, of the views below it, and of all tables that they read. It is false
// of what is missing, and of what is deeper than allowed.
func everyTable(
	current *catalog.Catalog, view *catalog.View, depth int, ofView func(*catalog.View) bool, ofTable func(*schema.Table) bool,
) bool {
	if depth == 0 || !ofView(view) {
		return false
	}
	for _, used := range view.Uses {
		if found, ok := current.Table(used.Namespace, used.Name); ok {
			if !ofTable(found) {
				return false
			}
			continue
		}
		below, ok := current.View(used.Namespace, used.Name)
		if !ok || !everyTable(current, below, depth-1, ofView, ofTable) {
			return false
		}
	}
	return true
}

// view plans the query of a view as a part of this one. It sees no name of the query around it.
func (b *queryBuilder) view(ref *parse.TableRef, found *schema.Table) (relation, error) {
	view, ok := b.env.Catalog.View(found.Namespace, found.Name)
	if !ok {
		return relation{}, at(ref, fault.New(fault.TableNotFound, "table '%s' not found or access denied", found.FullName()))
	}
	root, scans, err := b.env.expand(view, b.relations, b.repeats)
	if err != nil {
		return relation{}, at(ref, fault.New(fault.KindOf(err), "view '%s' cannot be read: %w", view.Name(), unplaced(err)))
	}
	b.scans = append(b.scans, scans...)
	columns := make([]Column, len(view.Table.Columns))
	for i := range view.Table.Columns {
		columns[i] = Column{Name: view.Table.Columns[i].Name, Type: view.Table.Columns[i].Type}
	}
	alias := ref.Alias.Name
	if alias == "" {
		alias = view.Table.Name
	}
	rows, err := namedRelation(ref, root, columns, alias, ref.Alias.Columns)
	if err != nil || ref.Alias.Name != "" {
		return rows, err
	}
	named := slices.Clone(rows.scope.Columns())
	for i := range named {
		named[i].Namespace = view.Table.Namespace
	}
	rows.scope = expr.NewScope(named...)
	return rows, nil
}

// unplaced is an error without its place, which is one in the text of a view.
func unplaced(err error) error {
	if f, ok := errors.AsType[*fault.Error](err); ok {
		return errors.New(f.Message)
	}
	return err
}

// expand plans the query of a view; its rows have the types that the view is declared with.
func (e *Environment) expand(view *catalog.View, relations *int, repeats bool) (Node, []*Scan, error) {
	switch {
	case slices.Contains(e.expanding, view.Name()):
		return nil, nil, fault.New(fault.InvalidStatement, "it reads itself")
	case len(e.expanding) >= maxViewDepth:
		return nil, nil, fault.New(fault.LimitExceeded, "views read views at most %d deep", maxViewDepth)
	}
	statement, err := parse.Parse(view.Query)
	if err != nil {
		return nil, nil, err
	}
	query, ok := statement.(*parse.Query)
	if !ok {
		return nil, nil, fault.New(fault.Internal, "its text is no query")
	}
	inner := *e
	inner.Caller.Namespace, inner.Params, inner.stars = view.Within, nil, nil
	inner.expanding = append(slices.Clip(e.expanding), view.Name())
	b := &queryBuilder{env: &inner, relations: relations, repeats: repeats}
	root, columns, err := b.query(query)
	if err != nil {
		return nil, nil, err
	}
	declared := view.Table.Columns
	if len(columns) != len(declared) {
		return nil, nil, fault.New(fault.InvalidStatement, "its query gives %d columns and it is declared with %d; create it again",
			len(columns), len(declared))
	}
	casts, needed := make([]expr.Expr, len(declared)), false
	for i := range declared {
		casts[i] = expr.NewColumn(i, columns[i].Type, columns[i].Name)
		switch {
		case columns[i].Type == declared[i].Type:
		case columns[i].Type.Kind == datum.Null:
			casts[i], needed = expr.NewCast(casts[i], declared[i].Type), true
		default:
			return nil, nil, fault.New(fault.InvalidStatement, "its column '%s' is declared as %s and is %s now; create it again",
				declared[i].Name, declared[i].Type, columns[i].Type)
		}
	}
	if needed {
		root = &Project{Input: root, Exprs: casts}
	}
	return root, b.scans, nil
}

// spell notes what a * of a new view stands for. _seq and _deleted of stored tables are left out: they tell of rows, and a view
// has none.
func (e *Environment) spell(star *parse.Star, columns []expr.Column) []expr.Column {
	kept := slices.DeleteFunc(slices.Clone(columns), func(c expr.Column) bool { return c.System })
	if len(kept) == 0 {
		kept = columns
	}
	items := make([]parse.SelectItem, len(kept))
	for i, column := range kept {
		items[i] = parse.SelectItem{Expr: &parse.ColumnRef{
			Pos: star.Pos, Namespace: column.Namespace, Table: column.Table, Name: column.Name,
		}}
	}
	e.stars[star] = items
	return kept
}
