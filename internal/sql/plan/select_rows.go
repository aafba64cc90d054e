package plan

import (
	"slices"
	"strings"

	"github.com/kalamdb/kalamdb-go/internal/sql/expr"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
)

// rowsAlias names the functions that were moved out of a select list. No statement can write it.
const rowsAlias = "\x00rows"

// withoutRows moves functions that give rows out of a select list: SELECT a, unnest(b) FROM t is SELECT a, u FROM t, unnest(b) AS x(u).
// A statement has one of them, or several of unnest and generate_subscripts, which go side by side, as in PostgreSQL.
func withoutRows(body *parse.Select) (*parse.Select, error) {
	var calls []*parse.FuncCall
	var at []int
	for i := range body.Items {
		if call, ok := body.Items[i].Expr.(*parse.FuncCall); ok && expr.GivesRows(call) {
			calls, at = append(calls, call), append(at, i)
		}
	}
	if len(calls) == 0 {
		return body, nil
	}
	if len(body.GroupBy) > 0 || body.Having != nil || len(body.DistinctOn) > 0 || aggregates(body, nil) {
		return nil, unsupported(calls[0], "%s in the select list of a query with groups is not supported; put it into FROM", calls[0].Name.Name)
	}
	if slices.ContainsFunc(body.Items, func(item parse.SelectItem) bool { _, star := item.Expr.(*parse.Star); return star }) {
		return nil, unsupported(calls[0], "%s beside * is not supported; put it into FROM", calls[0].Name.Name)
	}
	function, err := besideEachOther(calls)
	if err != nil {
		return nil, err
	}
	moved := *body
	moved.Items = slices.Clone(body.Items)
	reference := &parse.FunctionRef{Pos: calls[0].Pos, Call: function, Alias: parse.TableAlias{Name: rowsAlias}}
	for n, i := range at {
		column := columnLabel(n)
		reference.Alias.Columns = append(reference.Alias.Columns, parse.Ident{Pos: calls[n].Pos, Name: column})
		item := &moved.Items[i]
		if item.Alias == "" {
			item.Alias = calls[n].Name.Name
		}
		item.Expr = &parse.ColumnRef{Pos: calls[n].Pos, Table: rowsAlias, Name: column}
	}
	moved.From = append(slices.Clone(body.From), reference)
	return &moved, nil
}

// besideEachOther makes one call of several.
func besideEachOther(calls []*parse.FuncCall) (*parse.FuncCall, error) {
	if len(calls) == 1 && !strings.EqualFold(calls[0].Name.Name, "generate_subscripts") {
		return calls[0], nil
	}
	all := &parse.FuncCall{Pos: calls[0].Pos, Name: parse.ObjectName{Pos: calls[0].Pos, Name: "unnest"}}
	for _, call := range calls {
		switch {
		case strings.EqualFold(call.Name.Name, "unnest") && len(call.Args) == 1:
			all.Args = append(all.Args, call.Args[0])
		case strings.EqualFold(call.Name.Name, "generate_subscripts"):
			subscripts := *call
			subscripts.Name = parse.ObjectName{Pos: call.Pos, Name: "array_subscripts"}
			all.Args = append(all.Args, &subscripts)
		default:
			return nil, unsupported(call, "%s beside another function that gives rows is not supported; put them into FROM", call.Name.Name)
		}
	}
	return all, nil
}
