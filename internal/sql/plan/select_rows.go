package plan

import (
	"slices"
	"strings"

	"github.com/kalamdb/kalamdb-go/internal/sql/expr"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
)

// rowsAlias names the functions that were moved out of a select list. No statement can write it.
const rowsAlias = "\x00rows"

// rowsItem is an item of a select list that is a function that gives rows, or a field of such a function.
type rowsItem struct {
	place int // in the select list
	call  *parse.FuncCall
	field string // empty for the whole value
}

// rowsItems finds the functions that give rows.
func rowsItems(items []parse.SelectItem) (found []rowsItem) {
	for i := range items {
		item := rowsItem{place: i}
		switch e := items[i].Expr.(type) {
		case *parse.FuncCall:
			item.call = e
		case *parse.Field:
			item.call, _ = e.Expr.(*parse.FuncCall)
			item.field = strings.ToLower(e.Name)
		}
		if item.call != nil && expr.GivesRows(item.call) && (item.field == "" || expands(item.call)) {
			found = append(found, item)
		}
	}
	return found
}

// expands reports whether a call gives rows of two values.
func expands(call *parse.FuncCall) bool { return strings.EqualFold(call.Name.Name, expr.ExpandArray) }

// withoutRows moves functions that give rows out of a select list: SELECT a, unnest(b) FROM t is SELECT a, u FROM t, unnest(b) AS x(u).
// Several of them go side by side, with NULLs for those that end first, as in PostgreSQL.
func withoutRows(body *parse.Select) (*parse.Select, error) {
	found := rowsItems(body.Items)
	if len(found) == 0 {
		return body, nil
	}
	first := found[0].call
	if len(body.GroupBy) > 0 || body.Having != nil || len(body.DistinctOn) > 0 || aggregates(body, nil) {
		return nil, unsupported(first, "%s in the select list of a query with groups is not supported; put it into FROM", first.Name.Name)
	}
	if slices.ContainsFunc(body.Items, func(item parse.SelectItem) bool { _, star := item.Expr.(*parse.Star); return star }) {
		return nil, unsupported(first, "%s beside * is not supported; put it into FROM", first.Name.Name)
	}
	function, columns := besideEachOther(found)
	moved := *body
	moved.Items = slices.Clone(body.Items)
	reference := &parse.FunctionRef{Pos: first.Pos, Call: function, Alias: parse.TableAlias{Name: rowsAlias}}
	for n := range columns[len(found)] {
		reference.Alias.Columns = append(reference.Alias.Columns, parse.Ident{Pos: first.Pos, Name: columnLabel(n)})
	}
	for n, item := range found {
		if err := item.replace(&moved.Items[item.place], columns[n]); err != nil {
			return nil, err
		}
	}
	moved.From = append(slices.Clone(body.From), reference)
	return &moved, nil
}

// replace puts the value, which the function in FROM gives from a column on, into the item.
func (i rowsItem) replace(item *parse.SelectItem, column int) error {
	value := func(column int) parse.Expr {
		return &parse.ColumnRef{Pos: i.call.Pos, Table: rowsAlias, Name: columnLabel(column)}
	}
	label := i.call.Name.Name
	switch {
	case !expands(i.call):
		item.Expr = value(column)
	case i.field == "":
		item.Expr = expr.ExpandedRow(i.call.Pos, value(column), value(column+1))
	case i.field == "x":
		item.Expr, label = value(column), i.field
	case i.field == "n":
		item.Expr, label = value(column+1), i.field
	default:
		return invalid(i.call, "the rows of %s have no field %q; they have x and n", i.call.Name.Name, i.field)
	}
	if item.Alias == "" {
		item.Alias = label
	}
	return nil
}

// besideEachOther makes one call of several, and says at which column the values of each begin; the number of all columns is last.
func besideEachOther(found []rowsItem) (*parse.FuncCall, []int) {
	first := found[0].call
	all := &parse.FuncCall{Pos: first.Pos, Name: parse.ObjectName{Pos: first.Pos, Name: expr.BesideEachOther}}
	begins, width := make([]int, 0, len(found)+1), 0
	for _, item := range found {
		call := item.call
		begins = append(begins, width)
		width++
		switch {
		case strings.EqualFold(call.Name.Name, "generate_subscripts"):
			named := parse.ObjectName{Pos: call.Pos, Name: "array_subscripts"}
			subscripts := &parse.FuncCall{Pos: call.Pos, Name: named, Args: call.Args}
			call = &parse.FuncCall{Pos: call.Pos, Name: parse.ObjectName{Pos: call.Pos, Name: "unnest"}, Args: []parse.Expr{subscripts}}
		case expands(call):
			width++ // it gives two values
		}
		all.Args = append(all.Args, call)
	}
	begins = append(begins, width)
	if only, ok := all.Args[0].(*parse.FuncCall); ok && len(all.Args) == 1 {
		return only, begins
	}
	return all, begins
}
