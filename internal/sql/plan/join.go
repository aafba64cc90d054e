package plan

import (
	"slices"

	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/sql/expr"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
)

// maxRelations bounds how many tables and queries one statement reads, so that it is planned in bounded time.
const maxRelations = 256

// Join combines the rows of two nodes: the values of the left row, then those of the right one. Rows keep
// the order of the left input; a right or full join gives the right rows without a partner last.
type Join struct {
	Left, Right Node
	Kind        parse.JoinKind
	// LeftKeys and RightKeys are equal for every pair that matches; NULL equals nothing. Empty when no
	// equality is known.
	LeftKeys, RightKeys []expr.Expr
	// Condition holds for every pair that matches, over both rows; nil is all.
	Condition expr.Expr
	// Partners finds the right rows when there are few left ones; nil when no index does.
	Partners *PartnerIndex
	// Merge says that both inputs ascend by the only key, of which the right one has no value twice: a partner is found without
	// keeping any row.
	Merge bool
	// parts are what must hold of a pair, which Condition and the keys are made of.
	parts []expr.Expr
}

// Width implements Node.
func (j *Join) Width() int { return j.Left.Width() + j.Right.Width() }

func (j *Join) keepsLeft() bool  { return j.Kind == parse.LeftJoin || j.Kind == parse.FullJoin }
func (j *Join) keepsRight() bool { return j.Kind == parse.RightJoin || j.Kind == parse.FullJoin }

// leaf is a scan within a relation. A condition over its columns alone may be tested by the scan itself
// when no outer join adds rows of NULLs for it.
type leaf struct {
	scan     *Scan
	view     *ViewScan
	offset   int
	pushable bool
}

func (l *leaf) width() int {
	if l.scan != nil {
		return l.scan.Width()
	}
	return l.view.Width()
}

// item plans one item of a FROM clause.
func (b *queryBuilder) item(from parse.TableExpr) (relation, error) {
	if *b.relations++; *b.relations > maxRelations {
		return relation{}, invalid(from, "the statement reads more than %d tables", maxRelations)
	}
	switch item := from.(type) {
	case *parse.TableRef:
		return b.table(item)
	case *parse.SubqueryRef:
		return b.derived(item)
	case *parse.Join:
		return b.join(item)
	case *parse.FunctionRef:
		return b.function(item)
	}
	return relation{}, unsupported(from, "this item of FROM is not supported")
}

func (b *queryBuilder) join(node *parse.Join) (relation, error) {
	left, err := b.item(node.Left)
	if err != nil {
		return relation{}, err
	}
	right, lateral, err := b.beside(left, node.Right)
	if err != nil {
		return relation{}, err
	}
	joined, err := combineBeside(node, node.Kind, left, right, lateral)
	if err != nil {
		return relation{}, err
	}
	condition := node.On
	switch {
	case lateral != nil && (node.Natural || len(node.Using) > 0):
		return relation{}, unsupported(node, "NATURAL and USING with a function or LATERAL on the right are not supported; use ON")
	case node.Natural:
		shared := sharedNames(left.scope, right.scope)
		return b.merge(node, joined, left, right, shared)
	case len(node.Using) > 0:
		return b.merge(node, joined, left, right, node.Using)
	}
	if condition != nil {
		bound, err := expr.BindCondition(condition, joined.scope, b.scoped("ON", joined.scope, nil))
		if err != nil {
			return relation{}, err
		}
		joined.showDeleted(bound)
		if lateral != nil {
			lateral.Condition = bound
			return joined, nil
		}
		joined.node.(*Join).where(bound) //nolint:errcheck // join makes nothing else
	}
	return joined, nil
}

// combine puts two relations side by side.
func combine(node parse.Node, kind parse.JoinKind, left, right relation) (relation, error) {
	join := &Join{Left: left.node, Right: right.node, Kind: kind}
	width := left.node.Width()
	columns := slices.Clone(left.scope.Columns())
	for _, column := range right.scope.Columns() {
		for _, known := range left.scope.Columns() {
			if column.Table != "" && column.Table == known.Table && column.Namespace == known.Namespace {
				return relation{}, invalid(node, "table name %q is used twice; give one of them an alias", column.Table)
			}
		}
		column.Position += width
		columns = append(columns, column)
	}
	joined := relation{node: join, scope: expr.NewScope(columns...)}
	joined.flags = append(outerFlags(left, width, join.keepsRight()), outerFlags(right, right.node.Width(), join.keepsLeft())...)
	for _, l := range left.leaves {
		l.pushable = l.pushable && !join.keepsRight()
		joined.leaves = append(joined.leaves, l)
	}
	for _, l := range right.leaves {
		l.pushable = l.pushable && !join.keepsLeft()
		l.offset += width
		joined.leaves = append(joined.leaves, l)
	}
	return joined, nil
}

// outerFlags are the flags of a side of a join, which may be NULL where it is optional.
func outerFlags(side relation, width int, optional bool) []Flags {
	flags := make([]Flags, width)
	for i := range flags {
		flags[i] = side.flagsAt(i)
		if optional {
			flags[i] = 0
		}
	}
	return flags
}

// where adds a condition on matching pairs. What an inner join on the left can test itself is left to it.
func (j *Join) where(condition expr.Expr) {
	for _, part := range expr.Conjuncts(condition) {
		if inner, ok := j.Left.(*Join); ok && j.isInner() && inner.isInner() && reads(part, inner.Width()) {
			inner.where(part)
			continue
		}
		j.parts = append(j.parts, part)
		left, right, ok := expr.JoinKey(part, j.Left.Width())
		if !ok {
			j.Condition = and(j.Condition, part)
			continue
		}
		j.LeftKeys = append(j.LeftKeys, left)
		j.RightKeys = append(j.RightKeys, right)
	}
}

func (j *Join) isInner() bool { return j.Kind == parse.InnerJoin || j.Kind == parse.CrossJoin }

// reads reports whether an expression reads columns, and only those before a position.
func reads(part expr.Expr, width int) bool {
	used := expr.Columns(part, nil)
	for position := range used {
		if position >= width {
			return false
		}
	}
	return len(used) > 0
}

// sharedNames lists the columns of a natural join, without those that every table has.
func sharedNames(left, right *expr.Scope) []parse.Ident {
	var shared []parse.Ident
	for _, column := range left.Columns() {
		if column.Qualified || column.Hidden || column.Name == schema.SeqColumn || column.Name == schema.DeletedColumn {
			continue
		}
		for _, other := range right.Columns() {
			if other.Name == column.Name && !other.Qualified && !other.Hidden {
				shared = append(shared, parse.Ident{Name: column.Name})
				break
			}
		}
	}
	return shared
}

// merge makes one column of each pair that USING names; it comes first, and each side's own column needs
// the name of its table from then on.
func (b *queryBuilder) merge(node *parse.Join, joined, left, right relation, names []parse.Ident) (relation, error) {
	join := joined.node.(*Join) //nolint:errcheck // join makes nothing else
	columns := slices.Clone(joined.scope.Columns())
	var merged []expr.Column
	var conditions, values []expr.Expr
	for i, name := range names {
		if slices.ContainsFunc(names[:i], func(other parse.Ident) bool { return other.Name == name.Name }) {
			return relation{}, invalid(name, "column %q appears twice in USING", name.Name)
		}
		l, r, condition, err := pair(left.scope, right.scope, name, node, left.node.Width())
		if err != nil {
			return relation{}, err
		}
		conditions = append(conditions, condition)
		column := expr.Column{Name: name.Name, Type: l.Type, Position: l.Position}
		switch join.Kind {
		case parse.RightJoin:
			column.Type, column.Position = r.Type, r.Position+left.node.Width()
		case parse.FullJoin:
			common, ok := expr.CommonType(l.Type, r.Type)
			if !ok {
				return relation{}, unsupported(node, "a full join over columns %q of types %s and %s is not supported; cast one of them", name.Name, l.Type, r.Type)
			}
			column.Type, column.Position = common, join.Width()+len(values)
			values = append(values, expr.NewCoalesce(common, expr.NewCast(expr.NewColumn(l.Position, l.Type, l.Name), common),
				expr.NewCast(expr.NewColumn(r.Position+left.node.Width(), r.Type, r.Name), common)))
		case parse.InnerJoin, parse.LeftJoin, parse.CrossJoin:
		}
		merged = append(merged, column)
		for k := range columns {
			if columns[k].Position == l.Position || columns[k].Position == r.Position+left.node.Width() {
				columns[k].Qualified = columns[k].Name == name.Name || columns[k].Qualified
			}
		}
	}
	if len(conditions) > 0 {
		join.where(expr.NewAnd(conditions...))
	}
	joined.scope = expr.NewScope(append(merged, columns...)...)
	if len(values) > 0 {
		all := make([]expr.Expr, 0, join.Width()+len(values))
		for i, column := range positions(join.Width(), columns) {
			all = append(all, expr.NewColumn(i, column.Type, column.Name))
		}
		joined.node = &Project{Input: join, Exprs: append(all, values...)}
		joined.flags = append(joined.flags, make([]Flags, len(values))...)
	}
	return joined, nil
}

// positions lists a column for every position of a row.
func positions(width int, columns []expr.Column) []expr.Column {
	list := make([]expr.Column, width)
	for _, column := range columns {
		if column.Position < width {
			list[column.Position] = column
		}
	}
	return list
}

// pair binds the equality of a column of USING.
func pair(left, right *expr.Scope, name parse.Ident, node parse.Node, width int) (l, r expr.Column, condition expr.Expr, err error) {
	ref := &parse.ColumnRef{Pos: node.Position(), Name: name.Name}
	if name.Line > 0 { // those of NATURAL are not written
		ref.Pos = name.Pos
	}
	if l, err = left.Resolve(ref); err != nil {
		return l, r, nil, err
	}
	if r, err = right.Resolve(ref); err != nil {
		return l, r, nil, err
	}
	scope := expr.NewScope(
		expr.Column{Table: "l", Name: name.Name, Type: l.Type, Position: l.Position},
		expr.Column{Table: "r", Name: name.Name, Type: r.Type, Position: r.Position + width},
	)
	condition, err = expr.BindCondition(&parse.Binary{
		Pos: ref.Pos, Op: "=",
		Left:  &parse.ColumnRef{Pos: ref.Pos, Table: "l", Name: name.Name},
		Right: &parse.ColumnRef{Pos: ref.Pos, Table: "r", Name: name.Name},
	}, scope, expr.Options{Clause: "USING"})
	return l, r, condition, err
}

// showDeleted makes the scans show tombstones whose _deleted a condition reads.
func (r *relation) showDeleted(condition expr.Expr) {
	used := expr.Columns(condition, nil)
	for i := range r.leaves {
		if l := &r.leaves[i]; l.scan != nil && used[l.offset+l.scan.Width()-1] {
			l.scan.IncludeDeleted = true
		}
	}
}

// filter keeps the rows for which a condition holds. What it says about one table alone is tested where
// that table is read.
func (r *relation) filter(condition expr.Expr) {
	r.showDeleted(condition)
	if scan, ok := r.node.(*Scan); ok {
		scan.Condition = condition
		return
	}
	var rest []expr.Expr
	for _, part := range expr.Conjuncts(condition) {
		if !r.push(part) {
			rest = append(rest, part)
		}
	}
	if len(rest) == 0 {
		return
	}
	all := expr.NewAnd(rest...)
	if join, ok := r.node.(*Join); ok && join.isInner() {
		join.where(all)
		return
	}
	r.node = &Filter{Input: r.node, Condition: all}
}

// push moves a condition into the only scan that it reads.
func (r *relation) push(part expr.Expr) bool {
	used := expr.Columns(part, nil)
	for i := range r.leaves {
		l := &r.leaves[i]
		if !l.pushable || len(used) == 0 {
			continue
		}
		inside := true
		for position := range used {
			inside = inside && position >= l.offset && position < l.offset+l.width()
		}
		if !inside {
			continue
		}
		shifted, ok := expr.Shift(part, -l.offset)
		if !ok {
			return false
		}
		if l.scan != nil {
			l.scan.Condition = and(l.scan.Condition, shifted)
		} else {
			l.view.Condition = and(l.view.Condition, shifted)
		}
		return true
	}
	return false
}

func and(a, b expr.Expr) expr.Expr {
	if a == nil {
		return b
	}
	return expr.NewAnd(a, b)
}
