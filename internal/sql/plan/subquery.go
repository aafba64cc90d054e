package plan

import (
	"maps"
	"slices"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/sql/expr"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
)

// Subquery is a query within an expression.
type Subquery struct {
	Root Node
	// Reads are the positions of the row around it that it reads; none for one that is run once.
	Reads []int
	// Deep says that it reads rows further out too, so that what it gave for a row is not kept.
	Deep bool
	// Stop is after how many rows nothing more is asked; zero for all.
	Stop int
}

// enclosing is the query around a subquery, where the names that the subquery lacks are looked up.
type enclosing struct {
	builder *queryBuilder
	scope   *expr.Scope
	options expr.Options
	reads   map[int]expr.Expr
	deep    bool
}

// scoped are the options of an expression over the rows of this query.
func (b *queryBuilder) scoped(clause string, scope *expr.Scope, grouping *expr.Grouping) expr.Options {
	options := b.options(clause)
	if grouping != nil {
		options.RowSubquery = b.scoped(clause, scope, nil).Subquery
	}
	options.Grouping = grouping
	options.Subquery = func(node parse.Expr) (expr.Expr, error) { return b.subquery(node, scope, options) }
	return options
}

// outerColumn finds a column in the queries around this one.
func (b *queryBuilder) outerColumn(ref *parse.ColumnRef) (e expr.Expr, found bool, err error) {
	levels := 1
	for around := b.outer; around != nil; around = around.builder.outer {
		if around.scope.Names(ref) {
			options := around.options
			options.Outer, options.Subquery = nil, nil
			bound, err := expr.Bind(ref, around.scope, options)
			if err != nil {
				return nil, true, err
			}
			position, ok := expr.ColumnPosition(bound)
			if !ok {
				return nil, true, unsupported(ref, "column %q of an enclosing query cannot be used here", ref.Name)
			}
			around.reads[position] = bound
			return expr.NewOuter(levels, position, bound.Type(), ref.Name), true, nil
		}
		around.deep = true
		levels++
	}
	for around := b.outer; around != nil; around = around.builder.outer {
		if around.scope.NamesTable(ref) {
			return nil, true, expr.WholeRow(ref)
		}
	}
	return nil, false, nil
}

// subquery plans a query within an expression over rows of a scope.
func (b *queryBuilder) subquery(node parse.Expr, scope *expr.Scope, options expr.Options) (expr.Expr, error) {
	query := queryOf(node)
	around := &enclosing{builder: b, scope: scope, options: options, reads: map[int]expr.Expr{}}
	inner := &queryBuilder{env: b.env, outer: around, named: b.named.within(), relations: b.relations, repeats: true}
	root, columns, err := inner.query(query)
	if err != nil {
		return nil, err
	}
	b.scans = append(b.scans, inner.scans...)
	root = b.env.optimize(root)
	markNeeded(root)
	sub := &Subquery{Root: root, Reads: slices.Sorted(maps.Keys(around.reads)), Deep: around.deep}
	external := expr.External{Description: "(" + parse.Print(node) + ")", PerRow: len(sub.Reads) > 0}
	for _, position := range sub.Reads {
		external.Operands = append(external.Operands, around.reads[position])
	}
	if in, ok := node.(*parse.In); ok {
		if row, ok := in.Expr.(*parse.Row); ok {
			return sub.rowIn(&external, in, row, scope, options, columns)
		}
	}
	if _, exists := node.(*parse.Exists); !exists && len(columns) != 1 {
		return nil, invalid(node, "a subquery must give one column here, not %d", len(columns))
	}
	switch n := node.(type) {
	case *parse.Exists:
		sub.Stop = 1
		external.Result = datum.Of(datum.Boolean)
		external.Compute = sub.exists
	case *parse.Subquery:
		sub.Stop = 2
		external.Result = columns[0].Type
		external.Compute = sub.scalar
	case *parse.Array:
		if columns[0].Type.Kind == datum.Array {
			return nil, unsupported(n, "%s", expr.ArrayOfArrays)
		}
		external.Result = datum.Type{Kind: datum.Array, Elem: columns[0].Type.Kind}
		external.Compute = sub.array
	case *parse.In:
		return sub.quantified(&external, n.Expr, "=", n.Not, n.Not, scope, options, columns[0].Type)
	case *parse.Quantified:
		return sub.quantified(&external, n.Left, n.Op, n.All, false, scope, options, columns[0].Type)
	}
	return expr.NewExternal(external), nil
}

func queryOf(node parse.Expr) *parse.Query {
	switch n := node.(type) {
	case *parse.Exists:
		return n.Query
	case *parse.Subquery:
		return n.Query
	case *parse.Array:
		return n.Query
	case *parse.In:
		return n.Query
	case *parse.Quantified:
		return n.Query
	}
	return nil
}

func (s *Subquery) rows(ctx *expr.EvalContext, row []datum.Datum) (*expr.SubqueryRows, error) {
	if ctx == nil || ctx.Env.Subquery == nil {
		return nil, fault.New(fault.Unsupported, "subqueries are not supported here")
	}
	return ctx.Env.Subquery(ctx, s, row)
}

func (s *Subquery) exists(ctx *expr.EvalContext, row []datum.Datum) (datum.Datum, error) {
	found, err := s.rows(ctx, row)
	if err != nil {
		return datum.Datum{}, err
	}
	return datum.NewBool(len(found.Rows) > 0), nil
}

func (s *Subquery) scalar(ctx *expr.EvalContext, row []datum.Datum) (datum.Datum, error) {
	found, err := s.rows(ctx, row)
	switch {
	case err != nil:
		return datum.Datum{}, err
	case len(found.Rows) == 0:
		return datum.Datum{}, nil
	case len(found.Rows) > 1:
		return datum.Datum{}, fault.New(fault.InvalidStatement, "a subquery used as a value gave more than one row")
	}
	return found.Rows[0][0], nil
}

func (s *Subquery) array(ctx *expr.EvalContext, row []datum.Datum) (datum.Datum, error) {
	found, err := s.rows(ctx, row)
	if err != nil {
		return datum.Datum{}, err
	}
	values := make([]datum.Datum, len(found.Rows))
	for i := range found.Rows {
		values[i] = found.Rows[i][0]
	}
	return expr.ArrayOf(values)
}

// quantified makes left op ANY (query), or ALL. NOT IN is <> ALL.
func (s *Subquery) quantified(
	external *expr.External, leftNode parse.Expr, op parse.Operator, all, negated bool,
	scope *expr.Scope, options expr.Options, columnType datum.Type,
) (expr.Expr, error) {
	if negated {
		op = "<>"
	}
	comparison, left, right, err := expr.BindComparison(leftNode, op, scope, options, columnType)
	if err != nil {
		return nil, err
	}
	external.Result = datum.Of(datum.Boolean)
	external.Operands = append(external.Operands, left)
	external.PerRow = external.PerRow || !expr.IsRowIndependent(left)
	keyed := comparison == expr.EqualTo && !all || comparison == expr.NotEqualTo && all
	keyed = keyed && expr.SameKeys(left.Type(), right.Type())
	external.Compute = func(ctx *expr.EvalContext, row []datum.Datum) (datum.Datum, error) {
		found, err := s.rows(ctx, row)
		if err != nil {
			return datum.Datum{}, err
		}
		if len(found.Rows) == 0 {
			return datum.NewBool(all), nil
		}
		value, err := left.Eval(ctx, row)
		if err != nil || value.IsNull() {
			return datum.Datum{}, err
		}
		if keyed {
			return lookUp(found, value, right, ctx, all)
		}
		unknown := false
		for _, candidate := range found.Rows {
			other, err := right.Eval(ctx, candidate)
			if err != nil {
				return datum.Datum{}, err
			}
			switch {
			case other.IsNull():
				unknown = true
			case comparison.Holds(value, other) != all:
				return datum.NewBool(!all), nil
			}
		}
		if unknown {
			return datum.Datum{}, nil
		}
		return datum.NewBool(all), nil
	}
	return expr.NewExternal(*external), nil
}

// rowIn makes (a, b) IN (query), or NOT IN.
func (s *Subquery) rowIn(
	external *expr.External, node *parse.In, row *parse.Row, scope *expr.Scope, options expr.Options, columns []Column,
) (expr.Expr, error) {
	if len(columns) != len(row.Elements) {
		return nil, invalid(node, "a row of %d values is compared with a query of %d columns", len(row.Elements), len(columns))
	}
	lefts, rights := make([]expr.Expr, len(columns)), make([]expr.Expr, len(columns))
	for i, element := range row.Elements {
		var err error
		if _, lefts[i], rights[i], err = expr.BindComparison(element, "=", scope, options, columns[i].Type); err != nil {
			return nil, err
		}
		external.Operands = append(external.Operands, lefts[i])
		external.PerRow = external.PerRow || !expr.IsRowIndependent(lefts[i])
	}
	external.Result = datum.Of(datum.Boolean)
	external.Compute = func(ctx *expr.EvalContext, around []datum.Datum) (datum.Datum, error) {
		found, err := s.rows(ctx, around)
		if err != nil {
			return datum.Datum{}, err
		}
		values := make([]datum.Datum, len(lefts))
		for i, left := range lefts {
			if values[i], err = left.Eval(ctx, around); err != nil {
				return datum.Datum{}, err
			}
		}
		unknown := false
		for _, candidate := range found.Rows {
			holds, known, err := sameRow(ctx, values, rights, candidate)
			switch {
			case err != nil:
				return datum.Datum{}, err
			case !known:
				unknown = true
			case holds:
				return datum.NewBool(!node.Not), nil
			}
		}
		if unknown {
			return datum.Datum{}, nil
		}
		return datum.NewBool(node.Not), nil
	}
	return expr.NewExternal(*external), nil
}

// sameRow compares values with a row; it is not known when a NULL decides.
func sameRow(ctx *expr.EvalContext, values []datum.Datum, rights []expr.Expr, candidate []datum.Datum) (holds, known bool, err error) {
	known = true
	for i, right := range rights {
		other, err := right.Eval(ctx, candidate[i:]) // it reads the first of them
		switch {
		case err != nil:
			return false, false, err
		case other.IsNull() || values[i].IsNull():
			known = false
		case datum.Compare(values[i], other) != 0:
			return false, true, nil
		}
	}
	return known, known, nil
}

// lookUp finds a value among the keys of a subquery's rows: = ANY, or <> ALL when absent is set.
func lookUp(found *expr.SubqueryRows, value datum.Datum, right expr.Expr, ctx *expr.EvalContext, absent bool) (datum.Datum, error) {
	if found.Keys == nil {
		keys := make(map[string]struct{}, len(found.Rows))
		for _, candidate := range found.Rows {
			other, err := right.Eval(ctx, candidate)
			if err != nil {
				return datum.Datum{}, err
			}
			if other.IsNull() {
				found.HasNull = true
				continue
			}
			keys[string(datum.AppendKey(nil, other))] = struct{}{}
		}
		found.Keys = keys
	}
	var scratch [64]byte
	if _, ok := found.Keys[string(datum.AppendKey(scratch[:0], value))]; ok {
		return datum.NewBool(!absent), nil
	}
	if found.HasNull {
		return datum.Datum{}, nil
	}
	return datum.NewBool(absent), nil
}
