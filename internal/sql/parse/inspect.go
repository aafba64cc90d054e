package parse

// Inspect calls visit for a node and, as long as visit returns true, for what is below it, in the order of
// the text. Visited are the nodes that implement Statement, Expr, TableExpr or QueryBody; those that are
// parts of them (select items, windows, assignments, column definitions) are passed through to the
// expressions and queries they hold. A nil node is not visited.
func Inspect(node Node, visit func(Node) bool) {
	inspector(visit).node(node)
}

// inspector walks trees for Inspect.
type inspector func(Node) bool

// node visits a node and descends.
func (i inspector) node(node Node) {
	if node == nil || !i(node) {
		return
	}
	switch n := node.(type) {
	case QueryBody:
		i.body(n)
	case Expr:
		i.operators(n)
	case TableExpr:
		i.table(n)
	case Statement:
		i.statement(n)
	}
}

// query visits a query that may be absent.
func (i inspector) query(query *Query) {
	if query != nil {
		i.node(query)
	}
}

// expr visits an expression that may be absent.
func (i inspector) expr(expr Expr) {
	if expr != nil {
		i.node(expr)
	}
}

// exprs visits the expressions of a list.
func (i inspector) exprs(list []Expr) {
	for _, expr := range list {
		i.expr(expr)
	}
}

// items visits the expressions of a select list.
func (i inspector) items(list []SelectItem) {
	for _, item := range list {
		i.expr(item.Expr)
	}
}

// order visits the expressions of an ORDER BY list.
func (i inspector) order(list []OrderItem) {
	for _, item := range list {
		i.expr(item.Expr)
	}
}

// options visits the values of options.
func (i inspector) options(list []Option) {
	for _, option := range list {
		i.expr(option.Value)
	}
}

// with visits the queries of common tables.
func (i inspector) with(with *With) {
	if with == nil {
		return
	}
	for _, table := range with.Tables {
		i.query(table.Query)
		if table.Change != nil {
			i.node(table.Change)
		}
	}
}

// tables visits the items of a FROM clause.
func (i inspector) tables(list []TableExpr) {
	for _, table := range list {
		i.node(table)
	}
}

// assignments visits the values of SET.
func (i inspector) assignments(list []Assignment) {
	for _, assignment := range list {
		i.expr(assignment.Value)
	}
}

// window visits the expressions of a window.
func (i inspector) window(window *Window) {
	if window == nil {
		return
	}
	i.exprs(window.PartitionBy)
	i.order(window.OrderBy)
	if window.Frame != nil {
		i.expr(window.Frame.Start.Offset)
		i.expr(window.Frame.End.Offset)
	}
}

// body visits what is below a query or its body.
func (i inspector) body(body QueryBody) {
	switch b := body.(type) {
	case *Query:
		i.with(b.With)
		i.node(b.Body)
		i.order(b.OrderBy)
		i.expr(b.Limit)
		i.expr(b.Offset)
	case *SetOperation:
		i.node(b.Left)
		i.node(b.Right)
	case *Values:
		for _, row := range b.Rows {
			i.exprs(row)
		}
	case *Select:
		i.exprs(b.DistinctOn)
		i.items(b.Items)
		i.tables(b.From)
		i.expr(b.Where)
		i.exprs(b.GroupBy)
		i.expr(b.Having)
		for _, window := range b.Windows {
			i.window(window.Window)
		}
	}
}

// table visits what is below a table expression.
func (i inspector) table(table TableExpr) {
	switch t := table.(type) {
	case *SubqueryRef:
		i.query(t.Query)
	case *FunctionRef:
		i.node(t.Call)
	case *Join:
		i.node(t.Left)
		i.node(t.Right)
		i.expr(t.On)
	}
}

// operators visits the operands of an operator.
func (i inspector) operators(expr Expr) {
	switch e := expr.(type) {
	case *Unary:
		i.expr(e.Expr)
	case *Not:
		i.expr(e.Expr)
	case *Binary:
		i.expr(e.Left)
		i.expr(e.Right)
	case *Logical:
		i.exprs(e.Operands)
	case *Is:
		i.expr(e.Expr)
	case *IsDistinct:
		i.expr(e.Left)
		i.expr(e.Right)
	case *Between:
		i.expr(e.Expr)
		i.expr(e.Low)
		i.expr(e.High)
	case *Like:
		i.expr(e.Expr)
		i.expr(e.Pattern)
		i.expr(e.Escape)
	case *Cast:
		i.expr(e.Expr)
	case *Collate:
		i.expr(e.Expr)
	case *Field:
		i.expr(e.Expr)
	case *Subscript:
		i.expr(e.Expr)
		i.expr(e.Index)
		i.expr(e.High)
	case *GroupingSets:
		i.exprs(e.Items)
	default:
		i.composites(expr)
	}
}

// composites visits what is below calls, lists, subqueries and CASE.
func (i inspector) composites(expr Expr) {
	switch e := expr.(type) {
	case *Quantified:
		i.expr(e.Left)
		i.query(e.Query)
		i.expr(e.Array)
	case *In:
		i.expr(e.Expr)
		i.exprs(e.List)
		i.query(e.Query)
	case *Exists:
		i.query(e.Query)
	case *Subquery:
		i.query(e.Query)
	case *Array:
		i.exprs(e.Elements)
		i.query(e.Query)
	case *Row:
		i.exprs(e.Elements)
	case *Case:
		i.expr(e.Operand)
		for _, branch := range e.Whens {
			i.expr(branch.Condition)
			i.expr(branch.Result)
		}
		i.expr(e.Else)
	case *FuncCall:
		i.exprs(e.Args)
		i.order(e.OrderBy)
		i.order(e.WithinGroup)
		i.expr(e.Filter)
		i.window(e.Over)
	}
}
