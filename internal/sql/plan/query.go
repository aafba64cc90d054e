package plan

import (
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/sql/expr"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
)

// queryBuilder plans one query.
type queryBuilder struct {
	env   *Environment
	scans []*Scan
	// capped says whether the row limits of results apply; the source of an INSERT is read whole.
	capped bool
	outer  *enclosing // the query around a subquery; nil when there is none
	// repeats says that the rows of the query may be asked for again and again: it is within an expression, lateral, or a step.
	repeats bool
	// keeps says that common table expressions are computed once, as of the statement's beginning, by whichever part reads them first.
	keeps bool
	named *namedTables  // common table expressions that can be named
	over  *expr.Windows // window functions of the SELECT at hand; nil when it has none
	// relations counts the tables and queries of the whole statement.
	relations *int
}

func (e *Environment) newBuilder(capped bool) *queryBuilder {
	return &queryBuilder{env: e, capped: capped, relations: new(int)}
}

// relation is a planned FROM clause: rows and the names of their values.
type relation struct {
	node   Node
	scope  *expr.Scope
	flags  []Flags // by position
	leaves []leaf  // tables that it is made of
}

// output is one column of a select list.
type output struct {
	node parse.Expr // what was written; nil for a column that * stands for
	expr expr.Expr
	name string
	// flags of a plain column.
	flags Flags
}

// buildQuery plans a query as a statement.
func (e *Environment) buildQuery(node *parse.Query, capped bool) (*Query, error) {
	return e.newBuilder(capped).statement(node)
}

// statement plans a query that is a statement, or the last part of one.
func (b *queryBuilder) statement(node *parse.Query) (*Query, error) {
	root, columns, err := b.query(node)
	if err != nil {
		return nil, err
	}
	root = b.env.optimize(root)
	query := &Query{Root: root, Columns: columns, Scans: b.scans}
	markNeeded(root)
	return query, nil
}

func (b *queryBuilder) query(node *parse.Query) (Node, []Column, error) {
	known := b.named
	defer func() { b.named = known }()
	if err := b.with(node.With); err != nil {
		return nil, nil, err
	}
	limit, err := b.limit(node)
	if err != nil {
		return nil, nil, err
	}
	if node.WithTies && len(node.OrderBy) == 0 {
		return nil, nil, invalid(node, "WITH TIES needs an ORDER BY, which says what ties are")
	}
	first := limit // what ORDER BY may stop at
	if node.WithTies {
		first = nil
	}
	var root Node
	var columns []Column
	switch body := node.Body.(type) {
	case *parse.Select:
		root, columns, err = b.selectBody(body, node.OrderBy, first)
	case *parse.Values:
		root, columns, err = b.valuesBody(body, node.OrderBy, first)
	case *parse.Query, *parse.SetOperation:
		if root, columns, err = b.body(body); err == nil {
			root, err = b.orderedBody(root, columns, node.OrderBy, first)
		}
	}
	if err != nil {
		return nil, nil, err
	}
	if limit != nil {
		root = limit.over(root, node.WithTies)
	}
	return root, columns, nil
}

// over puts the limit over the rows of a query. Ties are known as long as rows still have what they are ordered by, which the
// select list may leave out: then the limit goes below it.
func (l *Limit) over(root Node, ties bool) Node {
	l.Input = root
	if !ties {
		return l
	}
	list, below := root.(*Project)
	if below {
		l.Input = list.Input
	}
	switch ordered := l.Input.(type) {
	case *Sort:
		l.Ties = ordered.Keys
	case *DistinctOn:
		if sort, ok := ordered.Input.(*Sort); ok {
			l.Ties = sort.Keys
		}
	}
	if !below {
		return l
	}
	list.Input = l
	return list
}

// limit plans LIMIT and OFFSET; it is nil when nothing bounds the rows.
func (b *queryBuilder) limit(node *parse.Query) (*Limit, error) {
	limit := &Limit{}
	if b.capped {
		limit.Default, limit.Max = b.env.DefaultRows, b.env.MaxRows
	}
	var err error
	bigInt := datum.Of(datum.BigInt)
	if node.Limit != nil {
		if limit.Count, err = expr.BindAs(node.Limit, nil, b.options("LIMIT"), bigInt); err != nil {
			return nil, err
		}
	}
	if node.Offset != nil {
		if limit.Offset, err = expr.BindAs(node.Offset, nil, b.options("OFFSET"), bigInt); err != nil {
			return nil, err
		}
	}
	if limit.Count == nil && limit.Offset == nil && limit.Default == 0 && limit.Max == 0 {
		return nil, nil
	}
	return limit, nil
}

func (b *queryBuilder) options(clause string) expr.Options {
	options := expr.Options{Clause: clause, ParamTypes: b.env.paramTypes()}
	if b.outer != nil {
		options.Outer = b.outerColumn
	}
	return options
}

// paramTypes are the types of the parameters as they came.
func (e *Environment) paramTypes() []datum.Type {
	if len(e.Params) == 0 {
		return nil
	}
	types := make([]datum.Type, len(e.Params))
	for i := range e.Params {
		types[i] = datum.Of(e.Params[i].Kind())
	}
	return types
}

// valuesBody plans VALUES as a query. A column has the type that all its values have in common, as that of a UNION has.
func (b *queryBuilder) valuesBody(body *parse.Values, orderBy []parse.OrderItem, limit *Limit) (Node, []Column, error) {
	width := len(body.Rows[0])
	rows := &Rows{width: width, Values: make([][]expr.Expr, len(body.Rows))}
	for i, row := range body.Rows {
		if len(row) != width {
			return nil, nil, invalid(row[0], "VALUES lists must all have the same length: %d and %d", width, len(row))
		}
		rows.Values[i] = make([]expr.Expr, width)
	}
	columns := make([]Column, width)
	scopeColumns := make([]expr.Column, width)
	for i := range width {
		nodes := make([]parse.Expr, len(body.Rows))
		for r, row := range body.Rows {
			nodes[r] = row[i]
		}
		values, t, err := expr.BindAlike("VALUES", nodes, b.scoped("VALUES", nil, nil))
		if err != nil {
			return nil, nil, err
		}
		for r := range values {
			rows.Values[r][i] = values[r]
		}
		columns[i] = Column{Name: columnLabel(i), Type: t}
		scopeColumns[i] = expr.Column{Name: columns[i].Name, Type: t, Position: i}
	}
	from := relation{node: rows, scope: expr.NewScope(scopeColumns...), flags: make([]Flags, width)}
	outputs := make([]output, width)
	for i := range outputs {
		outputs[i] = output{expr: expr.NewColumn(i, columns[i].Type, columns[i].Name), name: columns[i].Name}
	}
	root, err := b.sorted(rows, orderBy, outputs, from.scope, nil, limit)
	return root, columns, err
}

// relationOf plans a FROM clause.
func (b *queryBuilder) relationOf(from []parse.TableExpr) (relation, error) {
	if len(from) == 0 {
		return relation{node: &Rows{Values: [][]expr.Expr{{}}}, scope: expr.NewScope()}, nil
	}
	joined, err := b.item(from[0])
	for _, item := range from[1:] {
		if err != nil {
			return relation{}, err
		}
		var right relation
		var lateral *Lateral
		if right, lateral, err = b.beside(joined, item); err != nil {
			return relation{}, err
		}
		joined, err = combineBeside(item, parse.CrossJoin, joined, right, lateral)
	}
	return joined, err
}

// table plans one named table.
func (b *queryBuilder) table(ref *parse.TableRef) (relation, error) {
	if ref.Name.Namespace == "" {
		if found, nested := b.named.find(ref.Name.Name); found != nil {
			return b.common(ref, found, nested)
		}
	}
	found, err := b.env.lookup(ref.Name)
	if err != nil {
		return relation{}, err
	}
	if found.Kind == schema.KindView {
		return b.view(ref, found)
	}
	scope, flags := tableScope(found, ref.Alias.Name)
	if scope, err = aliased(ref, scope); err != nil {
		return relation{}, err
	}
	if found.Kind == schema.KindSystem {
		view := &ViewScan{View: found}
		return relation{node: view, scope: scope, flags: flags, leaves: []leaf{{view: view, pushable: true}}}, nil
	}
	scan, err := b.env.scan(ref, found)
	if err != nil {
		return relation{}, err
	}
	b.scans = append(b.scans, scan)
	return relation{node: scan, scope: scope, flags: flags, leaves: []leaf{{scan: scan, pushable: true}}}, nil
}

// scan starts a scan of a stored table.
func (e *Environment) scan(ref parse.Node, found *schema.Table) (*Scan, error) {
	switch found.Kind {
	case schema.KindUser, schema.KindStream:
	case schema.KindShared:
		if e.impersonating {
			return nil, at(ref, impersonatedShared())
		}
	case schema.KindSystem, schema.KindView:
		return nil, unsupported(ref, "%s tables cannot be used here", found.Kind)
	}
	return &Scan{Table: found}, nil
}

// derived plans a query in FROM.
func (b *queryBuilder) derived(ref *parse.SubqueryRef) (relation, error) {
	inner := &queryBuilder{env: b.env, outer: b.outer, named: b.named, relations: b.relations, repeats: b.repeats}
	root, columns, err := inner.query(ref.Query)
	if err != nil {
		return relation{}, err
	}
	b.scans = append(b.scans, inner.scans...)
	return namedRelation(ref, root, columns, ref.Alias.Name, ref.Alias.Columns)
}

// tableScope names the columns of a table and tells their flags.
func tableScope(found *schema.Table, alias string) (*expr.Scope, []Flags) {
	columns := make([]expr.Column, 0, len(found.Columns)+2)
	flags := make([]Flags, 0, len(found.Columns)+2)
	add := func(name string, columnType datum.Type, columnFlags Flags, system bool) {
		column := expr.Column{
			Namespace: found.Namespace, Table: found.Name, Name: name, Type: columnType, Position: len(columns), System: system,
		}
		if alias != "" {
			column.Namespace, column.Table = "", alias
		}
		columns = append(columns, column)
		flags = append(flags, columnFlags)
	}
	for i := range found.Columns {
		add(found.Columns[i].Name, found.Columns[i].Type, columnFlags(found, i), false)
	}
	if found.HasSystemColumns() {
		add(schema.SeqColumn, datum.Of(datum.BigInt), 0, true)
		add(schema.DeletedColumn, datum.Of(datum.Boolean), 0, true)
	}
	return expr.NewScope(columns...), flags
}

func columnFlags(found *schema.Table, position int) Flags {
	var flags Flags
	column := &found.Columns[position]
	if column.PrimaryKey {
		flags |= FlagPrimaryKey
	}
	if !column.Nullable {
		flags |= FlagNotNull
	}
	if found.UniqueColumn(position) {
		flags |= FlagUnique
	}
	return flags
}
