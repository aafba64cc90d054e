package live

import (
	"strings"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/cold"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/session"
	"github.com/kalamdb/kalamdb-go/internal/sql/expr"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
)

// Bounds of the results that are kept: of one, and how many of them a node keeps.
const (
	maxViewRows  = 1000
	maxViewBytes = 256 << 10 // of a result's values as JSON
	maxViews     = 2048
)

// viewQuery is what makes a query one whose result is kept as a whole: aggregates, groups, or the first rows of an
// order. A row of the result is known by its key.
type viewQuery struct {
	caller  session.Session
	node    *parse.Query // with whatever it takes that the order is that of one query only
	grouped bool
	ordered bool
	keys    []int // of a grouped query: the positions of the groups in the select list
	star    bool
	key     string // name of the column that is the key, when the query is not grouped
	byUser  bool   // whether the result depends on who asks, beside the rows there are
	text    string // two queries of one scope with the same text have the same result
}

// isView reports whether a query has a result that is kept as a whole.
func isView(node *parse.Query, body *parse.Select) bool {
	if len(node.OrderBy) > 0 || node.Limit != nil || node.Offset != nil || len(body.GroupBy) > 0 || body.Having != nil {
		return true
	}
	found := false
	for i := range body.Items {
		parse.Inspect(body.Items[i].Expr, func(n parse.Node) bool {
			call, ok := n.(*parse.FuncCall)
			found = found || ok && expr.IsAggregateCall(call)
			return !found
		})
	}
	return found
}

// bindView checks what is particular about a query whose result is kept. Its table and condition are checked like those
// of any other; the rest when it is run for the first time.
func bindView(current *catalog.Catalog, caller session.Session, node *parse.Query, nowMicros int64, rows *cold.Store) (*query, error) {
	body, ref, err := plainSelect(node)
	if err != nil {
		return nil, err
	}
	found, err := visibleTable(current, caller, ref)
	if err != nil {
		return nil, err
	}
	q := &query{indexed: -1, view: &viewQuery{caller: caller}}
	if q.scope, err = scopeOf(current, caller, found); err != nil {
		return nil, err
	}
	q.scope.Cold = rows
	if err = q.bindCondition(caller, found, ref, body.Where, nowMicros); err != nil {
		return nil, err
	}
	if err = q.view.inspect(node); err != nil {
		return nil, err
	}
	ordered := *node
	ordered.OrderBy = append([]parse.OrderItem(nil), node.OrderBy...)
	if q.view.grouped = len(body.GroupBy) > 0 || !plainItems(body); q.view.grouped {
		err = q.view.group(&ordered, body, found)
	} else {
		err = q.view.top(&ordered, body, found)
	}
	q.view.ordered = len(node.OrderBy) > 0
	q.view.node, q.view.text = &ordered, parse.Print(&ordered)
	return q, err
}

// plainItems reports whether a select list has no aggregate.
func plainItems(body *parse.Select) bool {
	return !isView(&parse.Query{}, &parse.Select{Items: body.Items, Having: body.Having})
}

// inspect refuses what changes by itself, and what depends on other rows than those of the one table.
func (v *viewQuery) inspect(node *parse.Query) (err error) {
	parse.Inspect(node, func(n parse.Node) bool {
		switch below := n.(type) {
		case *parse.Query:
			if below != node {
				err = refuse(CodeInvalidSQL, "a live query cannot have subqueries")
			}
		case *parse.FuncCall:
			switch name := strings.ToLower(below.Name.Name); {
			case below.Over != nil:
				err = refuse(CodeInvalidSQL, "a live query cannot have window functions")
			case expr.Varies(name):
				err = refuse(CodeInvalidSQL, "a live query with aggregates or ORDER BY cannot use %s: its result would change by itself",
					strings.ToUpper(name))
			case expr.DependsOnCaller(name):
				v.byUser = true
			}
		}
		return err == nil
	})
	return err
}

// group finds the groups in the select list.
func (v *viewQuery) group(node *parse.Query, body *parse.Select, found *schema.Table) error {
	for _, group := range body.GroupBy {
		if _, sets := group.(*parse.GroupingSets); sets {
			return refuse(CodeInvalidSQL, "a live query cannot have grouping sets; subscribe to one query for each set")
		}
		at := groupPosition(group, body.Items, found)
		if at < 0 {
			return refuse(CodeInvalidSQL, "a live query must select what it groups by: %s is missing in the select list", parse.Print(group))
		}
		v.keys = append(v.keys, at)
		if len(node.OrderBy) > 0 {
			node.OrderBy = append(node.OrderBy, parse.OrderItem{Expr: &parse.IntegerLiteral{Value: int64(at + 1)}})
		}
	}
	if node.Limit == nil && node.Offset == nil {
		return nil
	}
	if len(node.OrderBy) == 0 {
		return refuse(CodeInvalidSQL, "a live query with LIMIT needs ORDER BY")
	}
	return checkLimit(node)
}

// groupPosition finds an item of GROUP BY in the select list; -1 when it is not there.
func groupPosition(group parse.Expr, items []parse.SelectItem, found *schema.Table) int {
	if literal, ok := group.(*parse.IntegerLiteral); ok {
		if literal.Value < 1 || literal.Value > int64(len(items)) {
			return -1
		}
		return int(literal.Value - 1)
	}
	column, isColumn := group.(*parse.ColumnRef)
	text := parse.Print(group)
	// A name is that of a column of the table before it is that of an item.
	isAlias := isColumn && column.Table == "" && !hasColumn(found, column.Name)
	for i := range items {
		selected, ok := items[i].Expr.(*parse.ColumnRef)
		if parse.Print(items[i].Expr) == text || isColumn && ok && selected.Name == column.Name ||
			isAlias && items[i].Alias == column.Name {
			return i
		}
	}
	return -1
}

// top checks a query for the first rows of an order. Rows that are equal in it are ordered by their primary key.
func (v *viewQuery) top(node *parse.Query, body *parse.Select, found *schema.Table) error {
	switch {
	case len(node.OrderBy) == 0:
		return refuse(CodeInvalidSQL, "a live query with LIMIT needs ORDER BY")
	case node.Limit == nil:
		return refuse(CodeInvalidSQL, "a live query with ORDER BY needs LIMIT, of at most %d rows", maxViewRows)
	case found.PrimaryKey() < 0:
		return refuse(CodeInvalidSQL, "a live query with ORDER BY needs a table with a primary key")
	}
	v.key = found.Columns[found.PrimaryKey()].Name
	selected := false
	for i := range body.Items {
		switch item := body.Items[i].Expr.(type) {
		case *parse.Star:
			v.star, selected = true, true
		case *parse.ColumnRef:
			selected = selected || item.Name == v.key && (body.Items[i].Alias == "" || body.Items[i].Alias == v.key)
		}
	}
	if !selected {
		return refuse(CodeInvalidSQL, "a live query with ORDER BY must select the primary key %s", v.key)
	}
	key := &parse.ColumnRef{Name: v.key}
	if ref, ok := body.From[0].(*parse.TableRef); ok && ref.Alias.Name != "" {
		key.Table = ref.Alias.Name
	}
	node.OrderBy = append(node.OrderBy, parse.OrderItem{Expr: key})
	return checkLimit(node)
}

// checkLimit wants plain numbers, so that the bound is known.
func checkLimit(node *parse.Query) error {
	if node.WithTies {
		return refuse(CodeInvalidSQL, "a live query cannot have WITH TIES")
	}
	for _, bound := range []parse.Expr{node.Limit, node.Offset} {
		if bound == nil {
			continue
		}
		literal, ok := bound.(*parse.IntegerLiteral)
		if !ok || bound == node.Limit && literal.Value > maxViewRows {
			return refuse(CodeInvalidSQL, "LIMIT and OFFSET of a live query are numbers, and LIMIT is at most %d", maxViewRows)
		}
	}
	return nil
}

func hasColumn(found *schema.Table, name string) bool {
	_, ok := found.Column(name)
	return ok
}
