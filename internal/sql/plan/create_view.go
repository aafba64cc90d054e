package plan

import (
	"fmt"
	"slices"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/session"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
	"github.com/kalamdb/kalamdb-go/internal/table"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// createView checks the query of a view and fixes what is not to change with the tables: * is spelled out, and names and
// types of the columns are recorded.
func (e *Environment) createView(node *parse.CreateView) (Statement, error) {
	namespace, name := e.tableName(node.Name)
	if table.IsViewNamespace(namespace) {
		return nil, at(node.Name, fault.New(fault.PermissionDenied, "access denied: no view can be created in '%s'", namespace))
	}
	if err := checkObjectName(node.Name, "view", name); err != nil {
		return nil, err
	}
	view := &catalog.View{Within: e.Caller.Namespace, Table: &schema.Table{Namespace: namespace, Name: name, Kind: schema.KindView}}
	if err := e.viewUses(node, view); err != nil {
		return nil, err
	}
	query, columns, err := e.viewQuery(node)
	if err != nil {
		return nil, err
	}
	view.Query = query
	if view.Table.Columns, err = viewColumns(node, columns); err != nil {
		return nil, err
	}
	if err = e.checkNewView(node, view); err != nil {
		return nil, err
	}
	return &Meta{Command: &commandv1.Command{Body: &commandv1.Command_CreateView{CreateView: &commandv1.CreateView{
		View: catalog.ViewToProto(view), IfNotExists: node.IfNotExists, OrReplace: node.OrReplace,
	}}}}, nil
}

// viewUses lists what a view reads.
func (e *Environment) viewUses(node *parse.CreateView, view *catalog.View) error {
	for _, name := range tablesOf(node.Query) {
		found, err := e.lookup(name)
		if err != nil {
			return err
		}
		used := catalog.ObjectName{Namespace: found.Namespace, Name: found.Name}
		switch {
		case found.Kind == schema.KindSystem:
			view.Restricted = view.Restricted || !isOpenView(found)
		case used == view.Name():
			return invalid(name, "View '%s' would read itself", used)
		case !slices.Contains(view.Uses, used):
			view.Uses = append(view.Uses, used)
		}
	}
	return nil
}

// viewQuery binds the query of a view and returns its text without any *.
func (e *Environment) viewQuery(node *parse.CreateView) (text string, columns []Column, err error) {
	parameters := false
	parse.Inspect(node.Query, func(inner parse.Node) bool {
		_, isParameter := inner.(*parse.Param)
		parameters = parameters || isParameter
		return true
	})
	if parameters {
		return "", nil, invalid(node.Query, "the query of a view cannot use parameters")
	}
	inner := *e
	inner.Params, inner.stars = nil, map[*parse.Star][]parse.SelectItem{}
	if _, columns, err = inner.newBuilder(false).query(node.Query); err != nil {
		return "", nil, err
	}
	// The tree belongs to the statement, which may be planned again, so the * are replaced in a copy. It has the same parts in
	// the same order.
	statement, err := parse.Parse(parse.Print(node.Query))
	if err != nil {
		return "", nil, fmt.Errorf("the query of a view does not read as it prints: %w", err)
	}
	var lists [][]parse.SelectItem
	eachSelect(node.Query, func(body *parse.Select) { lists = append(lists, body.Items) })
	next := 0
	eachSelect(statement, func(body *parse.Select) {
		body.Items = inner.spellOut(body.Items, lists[next])
		next++
	})
	return parse.Print(statement), columns, nil
}

// eachSelect visits every SELECT below a node, in the order of the text.
func eachSelect(node parse.Node, visit func(*parse.Select)) {
	parse.Inspect(node, func(inner parse.Node) bool {
		if body, ok := inner.(*parse.Select); ok {
			visit(body)
		}
		return true
	})
}

// spellOut puts columns in the place of every * of a select list whose planned twin is known.
func (e *Environment) spellOut(items, planned []parse.SelectItem) []parse.SelectItem {
	var out []parse.SelectItem
	for i, item := range items {
		if star, ok := planned[i].Expr.(*parse.Star); ok && e.stars[star] != nil {
			out = append(out, e.stars[star]...)
			continue
		}
		out = append(out, item)
	}
	return out
}

// viewColumns names the columns of a view. A column that is NULL in every row is a text.
func viewColumns(node *parse.CreateView, columns []Column) ([]schema.Column, error) {
	named, err := renamed(node, columns, node.Columns)
	if err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	list := make([]schema.Column, len(named))
	for i, column := range named {
		switch {
		case column.Name == "" || len(column.Name) > maxNameBytes:
			return nil, invalid(node, "column %d of the view has no name of 1 to %d bytes; give it one with AS", i+1, maxNameBytes)
		case seen[column.Name]:
			return nil, invalid(node, "column '%s' is in the view twice; give one of them another name with AS", column.Name)
		}
		seen[column.Name] = true
		if column.Type.Kind == datum.Null {
			column.Type = datum.Of(datum.Text)
		}
		list[i] = schema.Column{ID: uint32(i + 1), Name: column.Name, Type: column.Type, Nullable: true}
	}
	return list, nil
}

// checkNewView reads the view as if it were there, and what reads it.
func (e *Environment) checkNewView(node *parse.CreateView, view *catalog.View) error {
	for _, reader := range e.Catalog.Readers(view.Name()) {
		if slices.Contains(view.Uses, reader.Name()) {
			return invalid(node, "View '%s' would read itself", view.Name())
		}
	}
	if viewDepth(e.Catalog, view) > maxViewDepth {
		return at(node, fault.New(fault.LimitExceeded, "views read views at most %d deep", maxViewDepth))
	}
	edited := e.Catalog.Edit()
	edited.SetView(view)
	next := *e
	next.Catalog = edited.Picture()
	if _, _, err := next.expand(view, new(int), false); err != nil {
		return at(node, fault.New(fault.KindOf(err), "view '%s' could not be read: %w", view.Name(), unplaced(err)))
	}
	if !node.OrReplace {
		return nil
	}
	return next.checkReaders(node, view.Name())
}

// viewDepth counts a view and the views that it reads, one below the other. It is more than allowed where they go in a circle.
func viewDepth(current *catalog.Catalog, view *catalog.View) int {
	level := []*catalog.View{view}
	for depth := 1; ; depth++ {
		var below []*catalog.View
		for _, v := range level {
			for _, used := range v.Uses {
				if found, ok := current.View(used.Namespace, used.Name); ok && !slices.Contains(below, found) {
					below = append(below, found)
				}
			}
		}
		if len(below) == 0 || depth > maxViewDepth {
			return depth
		}
		level = below
	}
}

// checkReadersOf refuses a change of a table after which a view could not be read any more.
func (e *Environment) checkReadersOf(node parse.Node, changed *schema.Table) error {
	edited := e.Catalog.Edit()
	edited.SetTable(changed)
	next := *e
	next.Catalog = edited.Picture()
	return next.checkReaders(node, catalog.ObjectName{Namespace: changed.Namespace, Name: changed.Name})
}

// checkReaders plans every view that reads a table or view, with all rights.
func (e *Environment) checkReaders(node parse.Node, of catalog.ObjectName) error {
	for _, reader := range e.Catalog.Readers(of) {
		all := *e
		all.Caller.Role, all.impersonating = session.RoleSystem, false
		_, _, err := all.expand(reader, new(int), false)
		switch {
		case err == nil:
		case !e.Caller.Role.IsAdmin():
			return invalid(node, "a view reads '%s' and could not be read any more", of)
		default:
			return invalid(node, "view '%s' reads '%s' and could not be read any more: %w", reader.Name(), of, unplaced(err))
		}
	}
	return nil
}

func (e *Environment) dropView(node *parse.DropView) (Statement, error) {
	namespace, name := e.tableName(node.Name)
	if table.IsViewNamespace(namespace) {
		return nil, at(node.Name, fault.New(fault.PermissionDenied, "access denied: views of '%s' cannot be dropped", namespace))
	}
	return &Meta{Command: &commandv1.Command{Body: &commandv1.Command_DropView{DropView: &commandv1.DropView{
		Namespace: namespace, Name: name, IfExists: node.IfExists, Cascade: node.Cascade,
	}}}}, nil
}
