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
// A statement has one of them, or several of unnest, generate_subscripts and _pg_expandarray, which go side by side, as in PostgreSQL.
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
	function, columns, err := besideEachOther(found)
	if err != nil {
		return nil, err
	}
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
func besideEachOther(found []rowsItem) (*parse.FuncCall, []int, error) {
	first := found[0].call
	if len(found) == 1 && !strings.EqualFold(first.Name.Name, "generate_subscripts") && !expands(first) {
		return first, []int{0, 1}, nil
	}
	all := &parse.FuncCall{Pos: first.Pos, Name: parse.ObjectName{Pos: first.Pos, Name: "unnest"}}
	subscripts := func(call *parse.FuncCall, args ...parse.Expr) parse.Expr {
		return &parse.FuncCall{Pos: call.Pos, Name: parse.ObjectName{Pos: call.Pos, Name: "array_subscripts"}, Args: args}
	}
	begins := make([]int, 0, len(found)+1)
	for _, item := range found {
		call := item.call
		begins = append(begins, len(all.Args))
		switch {
		case strings.EqualFold(call.Name.Name, "unnest") && len(call.Args) == 1:
			all.Args = append(all.Args, call.Args[0])
		case strings.EqualFold(call.Name.Name, "generate_subscripts"):
			all.Args = append(all.Args, subscripts(call, call.Args...))
		case expands(call) && len(call.Args) == 1:
			all.Args = append(all.Args, call.Args[0], subscripts(call, call.Args[0], &parse.IntegerLiteral{Pos: call.Pos, Value: 1}))
		default:
			return nil, nil, unsupported(call, "%s beside another function that gives rows is not supported; put them into FROM", call.Name.Name)
		}
	}
	return all, append(begins, len(all.Args)), nil
}
