package expr

import (
	"errors"
	"strings"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
)

// Options says what a bound expression may contain.
type Options struct {
	// ParamTypes are the types of the given parameters, when they are known; they type parameters that
	// meet nothing typed. Without them such a parameter is Text.
	ParamTypes []datum.Type
	// Grouping allows aggregates; nil refuses them.
	Grouping *Grouping
	// Windows allows window functions; nil refuses them.
	Windows *Windows
	// Clause names the place in messages, such as "WHERE"; empty says nothing.
	Clause string
	// Subquery binds Subquery, Exists, In and Quantified nodes that hold a query, and Array nodes that do;
	// nil refuses them as fault.Unsupported.
	Subquery func(node parse.Expr) (Expr, error)
	// RowSubquery is Subquery for the arguments of aggregates, which read rows of the scope where the rest reads groups.
	RowSubquery func(node parse.Expr) (Expr, error)
	// Outer binds a column that the scope does not have, as one of an enclosing query. Nil where there is
	// none.
	Outer func(ref *parse.ColumnRef) (e Expr, found bool, err error)
}

// Bind checks and types a syntax tree. Errors are *fault.Error with line and column: InvalidStatement,
// InvalidParameter, OutOfRange or Unsupported.
func Bind(node parse.Expr, scope *Scope, options Options) (Expr, error) {
	b := &binder{scope: scope, options: options}
	return b.bindRoot(node)
}

// BindAs binds an expression and converts it to a type, as an assignment to a column does.
func BindAs(node parse.Expr, scope *Scope, options Options, t datum.Type) (Expr, error) {
	b := &binder{scope: scope, options: options}
	e, err := b.bind(node)
	if err != nil {
		return nil, err
	}
	if e, err = b.convert(e, t, node); err != nil {
		return nil, err
	}
	return b.finish(e)
}

// BindCondition binds a Boolean expression: WHERE, HAVING, ON, FILTER.
func BindCondition(node parse.Expr, scope *Scope, options Options) (Expr, error) {
	b := &binder{scope: scope, options: options}
	e, err := b.bindBoolean(node)
	if err != nil {
		return nil, err
	}
	return b.finish(e)
}

// binder carries what is the same for all nodes of one Bind.
type binder struct {
	scope       *Scope
	options     Options
	inAggregate bool // operands of an aggregate see input rows, not groups
	repeated    int  // operations that are computed again
}

func (b *binder) bindRoot(node parse.Expr) (Expr, error) {
	e, err := b.bind(node)
	if err != nil {
		return nil, err
	}
	if isUntyped(e) && !isNull(e) {
		if e, err = b.convert(e, b.fallbackType(e), node); err != nil {
			return nil, err
		}
	}
	return b.finish(e)
}

// bind types one node; untyped literals and parameters stay untyped for the caller to convert.
func (b *binder) bind(node parse.Expr) (Expr, error) {
	e, err := b.bindNode(node)
	if err != nil {
		return nil, positioned(err, node)
	}
	e = fold(e)
	if b.options.Grouping != nil && !b.inAggregate {
		return b.groupKey(e), nil
	}
	return e, nil
}

func (b *binder) bindNode(node parse.Expr) (Expr, error) {
	switch n := node.(type) {
	case *parse.NullLiteral, *parse.BoolLiteral, *parse.IntegerLiteral, *parse.DecimalLiteral, *parse.StringLiteral,
		*parse.BytesLiteral, *parse.TypedLiteral, *parse.IntervalLiteral:
		return bindLiteral(node)
	case *parse.Param:
		return &paramExpr{index: n.Index}, nil
	case *parse.ColumnRef:
		return b.bindColumn(n)
	case *parse.Unary:
		return b.bindUnary(n)
	case *parse.Not:
		return b.bindNot(n)
	case *parse.Binary:
		return b.bindBinary(n)
	case *parse.Logical:
		return b.bindLogical(n)
	case *parse.In:
		return b.bindIn(n)
	case *parse.Between:
		return b.bindBetween(n)
	case *parse.Like:
		return b.bindLike(n)
	case *parse.Is:
		return b.bindIs(n)
	case *parse.IsDistinct:
		return b.bindIsDistinct(n)
	case *parse.Case:
		return b.bindCase(n)
	case *parse.Cast:
		return b.bindCast(n)
	case *parse.Collate:
		return b.bindCollate(n)
	case *parse.FuncCall:
		return b.bindCall(n)
	case *parse.Quantified:
		return b.bindQuantified(n)
	case *parse.Array:
		return b.bindArray(n)
	case *parse.Subscript:
		return b.bindSubscript(n)
	case *parse.Field:
		return b.bindField(n)
	case *parse.Subquery, *parse.Exists:
		return b.bindSubquery(node)
	case *parse.Star:
		return nil, fault.New(fault.InvalidStatement, "* is not allowed here")
	case *parse.DefaultValue:
		return nil, fault.New(fault.InvalidStatement, "DEFAULT is only allowed as a whole value of INSERT or UPDATE")
	case *parse.Row:
		return nil, fault.New(fault.Unsupported, "a row value can only be compared with another one, or with a query by IN, = ANY or <> ALL; as one value use json_build_array")
	}
	return nil, fault.New(fault.Unsupported, "this expression is not supported")
}

// positioned adds the place of a node to an error that has none.
func positioned(err error, node parse.Node) error {
	var e *fault.Error
	if !errors.As(err, &e) || e.Line != 0 {
		return err
	}
	position := node.Position()
	return e.At(int(position.Line), int(position.Column))
}

func bindLiteral(node parse.Expr) (Expr, error) {
	switch n := node.(type) {
	case *parse.BoolLiteral:
		return NewConst(datum.NewBool(n.Value), datum.Of(datum.Boolean)), nil
	case *parse.IntegerLiteral:
		return NewConst(datum.NewBigInt(n.Value), datum.Of(datum.BigInt)), nil
	case *parse.DecimalLiteral:
		return bindDecimalLiteral(n)
	case *parse.StringLiteral:
		return &constExpr{value: datum.NewText(n.Value), typ: datum.Of(datum.Text), untyped: true}, nil
	case *parse.BytesLiteral:
		return NewConst(datum.NewString(datum.Bytes, n.Value), datum.Of(datum.Bytes)), nil
	case *parse.TypedLiteral:
		t, err := resolveTypeName(&n.Type)
		if err != nil {
			return nil, err
		}
		value, err := datum.ParseText(n.Value, t)
		if err != nil {
			return nil, err
		}
		return NewConst(value, t), nil
	case *parse.IntervalLiteral:
		return bindIntervalLiteral(n)
	}
	return &constExpr{untyped: true}, nil
}

// bindDecimalLiteral gives the literal the precision that it is written with, where a declared type can
// hold it.
func bindDecimalLiteral(n *parse.DecimalLiteral) (Expr, error) {
	value, err := datum.ParseText(n.Text, datum.Of(datum.Decimal))
	if err != nil {
		return nil, err
	}
	t := datum.Of(datum.Decimal)
	scale := -value.Decimal().Exponent
	precision := max(value.Decimal().NumDigits(), int64(scale), 1)
	if precision <= datum.MaxPrecision {
		t.Precision, t.Scale = uint8(precision), uint8(scale) //nolint:gosec // bounded where it was made
	}
	return NewConst(value, t), nil
}

// bindIntervalLiteral reads INTERVAL '3' DAY as 3 days; a text with units of its own stands alone.
func bindIntervalLiteral(n *parse.IntervalLiteral) (Expr, error) {
	text := n.Value
	bare := text != ""
	for i := range len(text) {
		if c := text[i]; (c < '0' || c > '9') && c != '-' && c != '+' && c != '.' && c != ' ' {
			bare = false
		}
	}
	switch n.Fields {
	case "":
	case "year", "month", "day", "hour", "minute", "second", "week":
		if bare {
			text += " " + n.Fields
		}
	case "year to month", "day to hour", "day to minute", "day to second", "hour to minute", "hour to second":
		// The text has its parts in this order without units, as it is read anyway.
	case "minute to second":
		if strings.Count(text, ":") == 1 {
			text = "0:" + text
		}
	default:
		if bare {
			return nil, fault.New(fault.Unsupported, "INTERVAL '%s' %s is not supported; write the units into the text", n.Value, n.Fields)
		}
	}
	value, err := datum.ParseText(text, datum.Of(datum.Interval))
	if err != nil {
		return nil, err
	}
	return NewConst(value, datum.Of(datum.Interval)), nil
}

func resolveTypeName(name *parse.TypeName) (datum.Type, error) {
	spelled := name.Name
	switch spelled { // types of PostgreSQL's catalog, which no column has
	case "oid", "xid", "cid":
		spelled = "bigint"
	case "regconfig", "pg_node_tree", "aclitem", "sql_identifier", "character_data":
		spelled = "text"
	case "cardinal_number":
		spelled = "integer"
	}
	t, err := datum.ParseTypeName(spelled, name.Args)
	if err != nil {
		return datum.Type{}, positioned(err, name)
	}
	if name.Array {
		return datum.Type{Kind: datum.Array, Elem: t.Kind}, nil
	}
	return t, nil
}

func (b *binder) bindColumn(n *parse.ColumnRef) (Expr, error) {
	column, err := b.scope.Resolve(n)
	if err != nil {
		if b.options.Outer != nil && !b.scope.Names(n) {
			if outer, found, failure := b.options.Outer(n); found || failure != nil {
				return outer, failure
			}
		}
		if n.Table == "" && n.Name == "user" { // a word of PostgreSQL's own; here a column may be named so
			return b.callBuiltin(n.Name, nil, n, nil)
		}
		if b.scope.NamesTable(n) {
			return nil, WholeRow(n)
		}
		return nil, err
	}
	name := printedName(column.Name)
	e := NewColumn(column.Position, column.Type, name)
	if b.options.Grouping != nil && !b.inAggregate {
		if key := b.groupKey(e); key != e {
			return key, nil
		}
		plain := columnExpr{position: column.Position, typ: column.Type, name: name}
		return &ungroupedExpr{columnExpr: plain, node: n}, nil
	}
	return e, nil
}

func (b *binder) bindSubquery(node parse.Expr) (Expr, error) {
	if b.options.Subquery == nil {
		return nil, fault.New(fault.Unsupported, "subqueries are not supported here")
	}
	if b.inAggregate {
		if b.options.RowSubquery == nil {
			return nil, fault.New(fault.Unsupported, "subqueries in the arguments of an aggregate are not supported here")
		}
		return b.options.RowSubquery(node)
	}
	return b.options.Subquery(node)
}

func (b *binder) bindBoolean(node parse.Expr) (Expr, error) {
	e, err := b.bind(node)
	if err != nil {
		return nil, err
	}
	if e.Type().Kind != datum.Boolean && !isUntyped(e) {
		return nil, faultAt(node, fault.InvalidStatement, "argument of %s must be BOOLEAN, not %s", b.clauseName(), e.Type())
	}
	return b.convert(e, datum.Of(datum.Boolean), node)
}

func (b *binder) clauseName() string {
	if b.options.Clause == "" {
		return "a condition"
	}
	return b.options.Clause
}

// place says where the expression stands.
func (b *binder) place() string {
	if b.options.Clause == "" {
		return "here"
	}
	return "in " + b.options.Clause
}
