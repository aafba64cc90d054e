package plan

import (
	"github.com/kalamdb/kalamdb-go/internal/sql/expr"
	"github.com/kalamdb/kalamdb-go/internal/table"
)

// markNeeded tells every scan of a query which of its values are read, so that the others need not be
// decoded.
func markNeeded(root Node) { marker{}.mark(root, nil) }

// marker remembers which shared queries are marked: each may be read from several places in the next one, so that there are
// exponentially many ways to the first.
type marker map[*Shared]bool

// mark walks down; used holds the positions of the node's own rows that are read above it, nil for all.
func (m marker) mark(node Node, used map[int]bool) {
	switch n := node.(type) {
	case *Scan:
		n.need(used)
	case *Filter:
		m.mark(n.Input, join(used, n.Condition))
	case *Sort:
		m.mark(n.Input, join(used, orderExprs(n.Keys)...))
		if scan, ok := n.Input.(*Scan); ok && n.Top != nil {
			n.ByIndex, n.FromEnd = scan.chooseOrder(n.Keys), scan.endsWith(n.Keys)
		}
	case *Project:
		m.mark(n.Input, n.reads(used))
	case *Aggregate:
		read := join(map[int]bool{}, n.Grouping.Keys...)
		for _, call := range n.Grouping.Calls {
			read = join(read, call.Args...)
			read = join(read, call.Filter)
			for i := range call.OrderBy {
				read = join(read, call.OrderBy[i].Expr)
			}
		}
		m.mark(n.Input, read)
	case *Limit:
		m.mark(n.Input, join(used, orderExprs(n.Ties)...))
	case *Distinct:
		m.mark(n.Input, nil)
	case *DistinctOn:
		m.mark(n.Input, join(used, n.Keys...))
	case *Window:
		m.mark(n.Input, join(used, n.reads()...))
	case *Join:
		m.join(n, used)
	case *Lateral:
		m.lateral(n, used)
	case *SetOperation:
		m.mark(n.Left, nil)
		m.mark(n.Right, nil)
	case *Shared:
		if !m[n] {
			m[n] = true
			m.mark(n.Input, nil)
		}
	case *Recursive:
		m.mark(n.Base, nil)
		m.mark(n.Step, nil)
	case *Rows, *ViewScan, *WorkTable, *Function:
	}
}

// orderExprs are the expressions of an ordering.
func orderExprs(order []expr.Order) []expr.Expr {
	exprs := make([]expr.Expr, len(order))
	for i := range order {
		exprs[i] = order[i].Expr
	}
	return exprs
}

// reads are the positions of the input that are read for values that somebody reads. What is computed is computed for each row,
// because it may fail; a plain column that nobody reads is left alone.
func (n *Project) reads(used map[int]bool) map[int]bool {
	read := map[int]bool{}
	for i, e := range n.Exprs {
		if _, plain := expr.ColumnPosition(e); plain && used != nil && !used[i] {
			continue
		}
		read = join(read, e)
	}
	return read
}

// join adds what expressions read; used is nil when everything is read already.
func join(used map[int]bool, exprs ...expr.Expr) map[int]bool {
	if used == nil {
		return nil
	}
	for _, e := range exprs {
		if e != nil {
			used = expr.Columns(e, used)
		}
	}
	return used
}

// need sets Needed; nil means every position.
func (s *Scan) need(used map[int]bool) {
	s.Needed = make([]bool, s.Width())
	if used != nil && s.Condition != nil {
		used = expr.Columns(s.Condition, used)
	}
	for i := range s.Needed {
		s.Needed[i] = used == nil || used[i]
	}
	s.Decoder = table.NewDecoder(s.Table, s.Needed)
	s.Index = s.chooseIndex()
}

// ReadsSystem reports whether anything reads _seq or _deleted.
func (s *Scan) ReadsSystem() bool {
	declared := len(s.Table.Columns)
	return s.Needed == nil || s.Needed[declared] || s.Needed[declared+1]
}

// join splits what is read of the rows of a join between its sides.
func (m marker) join(n *Join, used map[int]bool) {
	n.Partners = n.choosePartners()
	n.Merge = n.merges()
	if used == nil {
		m.mark(n.Left, nil)
		m.mark(n.Right, nil)
		return
	}
	left, right := split(join(used, n.Condition), n.Left.Width())
	m.mark(n.Left, join(left, n.LeftKeys...))
	m.mark(n.Right, join(right, n.RightKeys...))
}

// split divides positions of the rows of two sides.
func split(used map[int]bool, width int) (left, right map[int]bool) {
	left, right = map[int]bool{}, map[int]bool{}
	for position := range used {
		if position < width {
			left[position] = true
		} else {
			right[position-width] = true
		}
	}
	return left, right
}
