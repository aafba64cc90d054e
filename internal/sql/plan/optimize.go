package plan

import (
	"github.com/kalamdb/kalamdb-go/internal/sql/expr"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
)

// optimizer rewrites the tree of a query so that it gives the same rows with less work: conditions go down to where the rows
// are read, through derived tables, views, common table expressions that are read once, and the branches of set operations;
// inner joins are put into an order by the sizes of their tables; sorts of what is in order are left out. Nodes keep their
// width and the meaning of their positions, so that expressions above them stay as they are.
//
// A condition never passes what it would change the result of: LIMIT, the rows that an outer join adds, groups and windows of
// which it would take rows away. One that makes new values each time, or holds a subquery, stays where it was written.
type optimizer struct {
	env  *Environment
	done map[Node]bool // shared nodes that were rewritten already
}

// optimize rewrites a planned query.
func (e *Environment) optimize(root Node) Node {
	o := &optimizer{env: e, done: map[Node]bool{}}
	return o.rewrite(root, nil)
}

// rewrite returns a node with conditions on its rows put into it, as deep as they may go.
func (o *optimizer) rewrite(node Node, conditions []expr.Expr) Node {
	switch n := node.(type) {
	case *Filter:
		return o.rewrite(n.Input, append(expr.Conjuncts(n.Condition), conditions...))
	case *Scan:
		n.Condition = andAll(n.Condition, conditions)
		return n
	case *ViewScan:
		n.Condition = andAll(n.Condition, conditions)
		return n
	case *Join:
		return o.join(n, conditions)
	case *Shared:
		return o.shared(n, conditions)
	case *Recursive:
		n.Base, n.Step = o.rewrite(n.Base, nil), o.rewrite(n.Step, nil)
		return filtered(n, conditions)
	case *Lateral:
		left, rest := o.split(conditions, func(c expr.Expr) (expr.Expr, bool) { return c, reads(c, n.Left.Width()) })
		n.Left, n.Right = o.rewrite(n.Left, left), o.rewrite(n.Right, nil)
		return filtered(n, rest)
	case *SetOperation:
		both, rest := o.split(conditions, func(c expr.Expr) (expr.Expr, bool) { return c, true })
		n.Left, n.Right = o.rewrite(n.Left, both), o.rewrite(n.Right, both)
		return filtered(n, rest)
	}
	return o.unary(node, conditions)
}

// unary is rewrite for nodes with one input.
func (o *optimizer) unary(node Node, conditions []expr.Expr) Node {
	same := func(c expr.Expr) (expr.Expr, bool) { return c, true }
	var down, rest []expr.Expr
	switch n := node.(type) {
	case *Project:
		down, rest = o.split(conditions, func(c expr.Expr) (expr.Expr, bool) { return through(c, n.Exprs) })
		n.Input = o.rewrite(n.Input, down)
	case *Distinct:
		down, rest = o.split(conditions, same)
		n.Input = o.rewrite(n.Input, down)
	case *Sort:
		if rest = conditions; n.Top == nil {
			down, rest = o.split(conditions, same)
		}
		if n.Input = o.rewrite(n.Input, down); len(rest) == 0 && inOrder(n) {
			return n.Input
		}
	case *Aggregate:
		// A condition on keys by which all rows are grouped keeps or drops whole groups.
		down, rest = o.split(conditions, func(c expr.Expr) (expr.Expr, bool) {
			if !n.groupedBy(c) {
				return nil, false
			}
			return through(c, n.Grouping.Keys)
		})
		n.Input = o.rewrite(n.Input, down)
	case *Window:
		down, rest = o.split(conditions, func(c expr.Expr) (expr.Expr, bool) { return c, n.partitions(c) })
		n.Input = o.rewrite(n.Input, down)
	case *DistinctOn:
		n.Input, rest = o.rewrite(n.Input, nil), conditions
	case *Limit:
		n.Input, rest = o.rewrite(n.Input, nil), conditions
	default: // Rows, Function, WorkTable
		rest = conditions
	}
	return filtered(node, rest)
}

// split divides conditions into those that may move, as what move makes of them, and the others.
func (o *optimizer) split(conditions []expr.Expr, move func(expr.Expr) (expr.Expr, bool)) (moved, rest []expr.Expr) {
	for _, condition := range conditions {
		if expr.MayMove(condition) && len(expr.Columns(condition, nil)) > 0 {
			if there, ok := move(condition); ok {
				moved = append(moved, there)
				continue
			}
		}
		rest = append(rest, condition)
	}
	return moved, rest
}

// through is a condition over the rows from which values are computed.
func through(condition expr.Expr, values []expr.Expr) (expr.Expr, bool) {
	for position := range expr.Columns(condition, nil) {
		if position >= len(values) || !expr.MayMove(values[position]) {
			return nil, false
		}
	}
	return expr.Substitute(condition, values)
}

// partitions reports whether a condition reads only columns by which every function divides its rows: it keeps or drops whole
// partitions.
func (w *Window) partitions(condition expr.Expr) bool {
	for position := range expr.Columns(condition, nil) {
		for _, call := range w.Windows.Calls {
			found := false
			for _, e := range call.PartitionBy {
				place, plain := expr.ColumnPosition(e)
				found = found || plain && place == position
			}
			if !found {
				return false
			}
		}
	}
	return true
}

// shared puts a common table expression that is read once in the place where it is read.
func (o *optimizer) shared(n *Shared, conditions []expr.Expr) Node {
	if n.readers == 1 && !n.kept {
		return o.rewrite(n.Input, conditions)
	}
	if !o.done[n] {
		o.done[n] = true
		n.Input = o.rewrite(n.Input, nil)
	}
	return filtered(n, conditions)
}

// join puts conditions into the sides of a join.
func (o *optimizer) join(n *Join, conditions []expr.Expr) Node {
	if n.isInner() {
		return o.inner(n, conditions)
	}
	width := n.Left.Width()
	onLeft := func(c expr.Expr) (expr.Expr, bool) { return c, reads(c, width) }
	onRight := func(c expr.Expr) (expr.Expr, bool) { return behind(c, width) }
	var left, right []expr.Expr
	rest := conditions
	switch n.Kind {
	case parse.LeftJoin:
		// Rows of the left side are all kept, so only what WHERE says drops some; of the right side those that no pair is made of
		// need not be read.
		left, rest = o.split(conditions, onLeft)
		var own []expr.Expr
		right, own = o.split(expr.Conjuncts(n.Condition), onRight)
		n.Condition = andAll(nil, own)
	case parse.RightJoin:
		right, rest = o.split(conditions, onRight)
		var own []expr.Expr
		left, own = o.split(expr.Conjuncts(n.Condition), onLeft)
		n.Condition = andAll(nil, own)
	case parse.FullJoin, parse.InnerJoin, parse.CrossJoin:
	}
	n.Left, n.Right = o.rewrite(n.Left, left), o.rewrite(n.Right, right)
	return filtered(n, rest)
}

// behind is a condition that reads only what stands from a position on, over a row that begins there.
func behind(condition expr.Expr, from int) (expr.Expr, bool) {
	for position := range expr.Columns(condition, nil) {
		if position < from {
			return nil, false
		}
	}
	return expr.Shift(condition, -from)
}

// filtered keeps the rows of a node for which conditions hold.
func filtered(node Node, conditions []expr.Expr) Node {
	if len(conditions) == 0 {
		return node
	}
	return &Filter{Input: node, Condition: andAll(nil, conditions)}
}

func andAll(first expr.Expr, conditions []expr.Expr) expr.Expr {
	if first != nil {
		conditions = append(expr.Conjuncts(first), conditions...)
	}
	if len(conditions) == 0 {
		return nil
	}
	return expr.NewAnd(conditions...)
}

// inOrder reports whether the rows of a sort are in order by themselves.
func inOrder(n *Sort) bool {
	key := &n.Keys[0]
	place, plain := expr.ColumnPosition(key.Expr)
	if !plain || key.Descending {
		return false
	}
	ordered, unique := ascending(n.Input, place)
	return ordered && (unique || len(n.Keys) == 1)
}

// ascending reports whether the rows of a node ascend by a position of which none is NULL, and whether no two of them have the
// same value there.
func ascending(node Node, position int) (ascends, unique bool) {
	switch n := node.(type) {
	case *Scan:
		ascends = position == n.Table.PrimaryKey() && ordered(n.Table.Columns[position].Type.Kind)
		return ascends, ascends
	case *Filter:
		return ascending(n.Input, position)
	case *Limit:
		return ascending(n.Input, position)
	case *Project:
		if place, plain := expr.ColumnPosition(n.Exprs[position]); plain {
			return ascending(n.Input, place)
		}
	case *Window: // no longer in the order of its input
	case *Join:
		if position < n.Left.Width() && !n.keepsRight() {
			ascends, _ = ascending(n.Left, position)
			return ascends, false
		}
	}
	return false, false
}

// merges reports whether a join can go through both inputs side by side.
func (j *Join) merges() bool {
	if j.keepsRight() || len(j.LeftKeys) != 1 {
		return false
	}
	left, leftPlain := expr.ColumnPosition(j.LeftKeys[0])
	right, rightPlain := expr.ColumnPosition(j.RightKeys[0])
	if !leftPlain || !rightPlain {
		return false
	}
	ascends, _ := ascending(j.Left, left)
	_, unique := ascending(j.Right, right)
	return ascends && unique
}

// endsWith reports whether the first rows of an ordering are the last ones of a scan.
func (s *Scan) endsWith(keys []expr.Order) bool {
	if len(keys) == 0 || !keys[0].Descending || s.IncludeDeleted || s.Index != nil {
		return false
	}
	place, plain := expr.ColumnPosition(keys[0].Expr)
	if !plain {
		return false
	}
	ascends, _ := ascending(s, place)
	return ascends
}
