package expr

import (
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
)

// paramExpr is $n. Until convert gives it a type it is untyped.
type paramExpr struct {
	index   int // 1-based
	typ     datum.Type
	typed   bool
	numeric bool // any number will do, uncast: it is only compared with integers
}

func (e *paramExpr) Type() datum.Type       { return e.typ }
func (e *paramExpr) String() string         { return "$" + itoa(e.index) + "::" + e.typ.String() }
func (e *paramExpr) children() []Expr       { return nil }
func (e *paramExpr) rebuild([]Expr) Expr    { return e }
func (e *paramExpr) volatility() volatility { return stable }

func (e *paramExpr) Eval(ctx *EvalContext, _ []datum.Datum) (datum.Datum, error) {
	if e.index < 1 || e.index > len(ctx.Env.Params) {
		return datum.Datum{}, fault.New(fault.InvalidParameter, "there is no parameter $%d: %d given", e.index, len(ctx.Env.Params))
	}
	value := ctx.Env.Params[e.index-1]
	if value.IsNull() || e.numeric && value.Kind().IsNumeric() {
		return value, nil
	}
	if e.typ.Kind.IsInteger() && (value.Kind().IsFloat() || value.Kind() == datum.Decimal) {
		whole, err := datum.Cast(value, datum.Of(datum.BigInt))
		if err != nil || !datum.Equal(whole, value) {
			return datum.Datum{}, fault.New(fault.InvalidParameter, "parameter $%d: %s is not a valid %s", e.index, value, e.typ)
		}
	}
	if value.Kind() == datum.Boolean && e.typ.Kind.IsInteger() { // true is no number
		return datum.Datum{}, fault.New(fault.InvalidParameter, "parameter $%d: %t is not a valid %s", e.index, value.Bool(), e.typ)
	}
	converted, err := datum.Cast(value, e.typ)
	if err != nil {
		return datum.Datum{}, fault.New(fault.InvalidParameter, "parameter $%d: %w", e.index, err)
	}
	return converted, nil
}

// castExpr converts its operand; try gives NULL where that fails.
type castExpr struct {
	operand Expr
	typ     datum.Type
	try     bool
}

// NewCast makes an expression that converts e to t; e itself when there is nothing to do.
func NewCast(e Expr, t datum.Type) Expr {
	if e.Type() == t {
		return e
	}
	return fold(&castExpr{operand: e, typ: t})
}

func (e *castExpr) Type() datum.Type { return e.typ }
func (e *castExpr) Eval(ctx *EvalContext, row []datum.Datum) (datum.Datum, error) {
	value, err := e.operand.Eval(ctx, row)
	if err != nil {
		return datum.Datum{}, err
	}
	converted, err := e.convert(ctx, value)
	if err != nil && e.try {
		return datum.Datum{}, ctx.stopped()
	}
	return converted, err
}

// convert looks at its statement while it reads a long document.
func (e *castExpr) convert(ctx *EvalContext, value datum.Datum) (datum.Datum, error) {
	if e.typ.Kind == datum.JSON && value.Kind() == datum.Text && len(value.Str()) > pieceBytes {
		w := newJSONWalk(ctx)
		if w.Valid([]byte(value.Str())) && utf8.ValidString(value.Str()) {
			return datum.NewString(datum.JSON, value.Str()), nil
		}
		if w.Err != nil {
			return datum.Datum{}, w.Err
		}
	}
	return datum.Cast(value, e.typ)
}

func (e *castExpr) String() string {
	if e.try {
		return "TRY_CAST(" + e.operand.String() + " AS " + e.typ.String() + ")"
	}
	return "CAST(" + e.operand.String() + " AS " + e.typ.String() + ")"
}
func (e *castExpr) children() []Expr { return []Expr{e.operand} }
func (e *castExpr) rebuild(operands []Expr) Expr {
	return &castExpr{operand: operands[0], typ: e.typ, try: e.try}
}
func (e *castExpr) volatility() volatility { return immutable }

// isUntyped reports whether e takes the type of what it meets.
func isUntyped(e Expr) bool {
	switch n := e.(type) {
	case *constExpr:
		return n.untyped
	case *paramExpr:
		return !n.typed
	}
	return false
}

// isNull reports whether e is the constant NULL.
func isNull(e Expr) bool {
	c, ok := e.(*constExpr)
	return ok && c.value.IsNull()
}

// fallbackType is the type of an untyped expression that meets nothing typed.
func (b *binder) fallbackType(e Expr) datum.Type {
	if hint, ok := b.hint(e); ok {
		return hint
	}
	return datum.Of(datum.Text)
}

// hint returns the known type of a parameter.
func (b *binder) hint(e Expr) (datum.Type, bool) {
	p, ok := e.(*paramExpr)
	if !ok || p.typed || p.index < 1 || p.index > len(b.options.ParamTypes) {
		return datum.Type{}, false
	}
	t := b.options.ParamTypes[p.index-1]
	return t, t.Kind != datum.Null
}

// convert gives e the type t: untyped expressions take it, others are cast.
func (b *binder) convert(e Expr, t datum.Type, node parse.Expr) (Expr, error) {
	if e.Type() == t && !isUntyped(e) || t.Kind == datum.Null {
		return e, nil
	}
	if t.Kind == datum.Text {
		if shown := Displayed(e); shown != e {
			return shown, nil
		}
	}
	if p, ok := e.(*paramExpr); ok && !p.typed {
		return &paramExpr{index: p.index, typ: t, typed: true}, nil
	}
	if c, ok := e.(*constExpr); ok {
		value, err := datum.Cast(c.value, t)
		if err != nil {
			return nil, positioned(err, node)
		}
		return NewConst(value, t), nil
	}
	if !castExists(e.Type(), t) {
		return nil, faultAt(node, fault.InvalidStatement, "cannot convert a value of type %s to %s", e.Type(), t)
	}
	return NewCast(e, t), nil
}

// finish gives parameters that are still untyped their fallback type and refuses columns that a grouped
// query cannot read.
func (b *binder) finish(e Expr) (Expr, error) {
	var err error
	Walk(e, func(node Expr) bool {
		switch n := node.(type) {
		case *paramExpr:
			if !n.typed {
				n.typ, n.typed = b.fallbackType(n), true // not shared yet: Bind has not returned
			}
		case *ungroupedExpr:
			if err == nil {
				err = faultAt(n.node, fault.InvalidStatement, "column %q must appear in GROUP BY or be used in an aggregate function", n.node.Name)
			}
		}
		return err == nil
	})
	if err != nil {
		return nil, err
	}
	return e, nil
}

// castExists reports whether datum.Cast may succeed between two types.
func castExists(from, to datum.Type) bool {
	f, t := from.Kind, to.Kind
	switch {
	case f == t, f == datum.Null, t == datum.Null, t == datum.Text, f.IsString():
		return true
	case t.IsInteger():
		return f.IsNumeric() || f == datum.Boolean || f == datum.Date ||
			t == datum.BigInt && (f.IsInstant() || f == datum.Time)
	case t.IsFloat(), t == datum.Decimal:
		return f.IsNumeric()
	}
	switch t { //nolint:exhaustive // the kinds not named share the last case
	case datum.Boolean:
		return f.IsInteger()
	case datum.JSON:
		return f == datum.Boolean
	case datum.Bytes:
		return f == datum.UUID
	case datum.UUID:
		return f == datum.Bytes
	case datum.Timestamp, datum.DateTime, datum.Date:
		return f.IsInteger() || f.IsInstant()
	case datum.Time:
		return f.IsInteger() || f == datum.Timestamp || f == datum.DateTime || f == datum.Interval
	case datum.Embedding:
		return f == datum.Array
	case datum.Interval:
		return f == datum.Time
	default:
		return false
	}
}

// numericRank orders the numeric kinds as PostgreSQL promotes them.
func numericRank(k datum.Kind) int {
	switch k { //nolint:exhaustive // the kinds not named share the last case
	case datum.SmallInt:
		return 1
	case datum.Int:
		return 2
	case datum.BigInt:
		return 3
	case datum.Decimal:
		return 4
	case datum.Float:
		return 5
	case datum.Double:
		return 6
	default:
		return 0
	}
}

// promote returns the kind in which two numbers are computed; a Float meets any other kind as Double.
func promote(a, b datum.Kind) datum.Kind {
	if a == b {
		return a
	}
	if a == datum.Float || b == datum.Float {
		return datum.Double
	}
	if numericRank(a) > numericRank(b) {
		return a
	}
	return b
}

// commonType finds the type of a value that may come from either of two expressions.
func commonType(a, b datum.Type) (datum.Type, bool) {
	switch {
	case a == b:
		return a, true
	case a.Kind == datum.Null:
		return b, true
	case b.Kind == datum.Null:
		return a, true
	case a.Kind.IsNumeric() && b.Kind.IsNumeric():
		return datum.Of(promote(a.Kind, b.Kind)), true
	case a.Kind.IsString() && b.Kind.IsString():
		return datum.Of(datum.Text), true
	case a.Kind.IsInstant() && b.Kind.IsInstant():
		if a.Kind == datum.DateTime || b.Kind == datum.DateTime {
			return datum.Of(datum.DateTime), true
		}
		return datum.Of(datum.Timestamp), true
	case a.Kind == b.Kind && a.Kind == datum.Array && a.Elem == datum.Null:
		return b, true
	case a.Kind == b.Kind && a.Kind == datum.Array && b.Elem == datum.Null:
		return a, true
	}
	return datum.Type{}, false
}

// unify converts all expressions to one type: that of the typed ones, or what the parameters have in common, or Text. Only
// NULLs give the type Null.
func (b *binder) unify(what string, exprs []Expr, nodes []parse.Expr) (datum.Type, error) {
	var result datum.Type
	for i, e := range exprs {
		if isUntyped(e) {
			continue
		}
		t, ok := commonType(result, e.Type())
		if !ok {
			return datum.Type{}, faultAt(nodes[i], fault.InvalidStatement, "%s types %s and %s cannot be matched", what, result, e.Type())
		}
		result = t
	}
	if result.Kind == datum.Null {
		result = b.untypedType(exprs)
	}
	if result.Kind == datum.Decimal && slices.ContainsFunc(exprs, func(e Expr) bool { return isUntyped(e) && !isNull(e) }) {
		result = datum.Of(datum.Decimal) // what is untyped is not rounded to the scale of the others
	}
	for i, e := range exprs {
		converted, err := b.convert(e, result, nodes[i])
		if err != nil {
			return datum.Type{}, err
		}
		exprs[i] = converted
	}
	return result, nil
}

// untypedType is the type that untyped expressions have together: what the parameters have in common, or Text where a literal
// comes first.
func (b *binder) untypedType(exprs []Expr) datum.Type {
	var result datum.Type
	for _, e := range exprs {
		_, isParam := e.(*paramExpr)
		if isNull(e) || !isParam && result.Kind != datum.Null {
			continue
		}
		t, ok := commonType(result, b.fallbackType(e))
		if !ok || !isParam {
			return b.fallbackType(e)
		}
		result = t
	}
	return result
}

func (b *binder) bindCast(n *parse.Cast) (Expr, error) {
	if kind, ok := objectKind(&n.Type); ok {
		return b.bindObject(n, kind)
	}
	if n.Type.Name == "jsonpath" && !n.Type.Array && !n.Try { // a text in its canonical form
		e, err := b.bind(n.Expr)
		if err != nil {
			return nil, err
		}
		return b.callBuiltin("jsonpath_in", []Expr{e}, n, []parse.Expr{n.Expr})
	}
	t, err := resolveTypeName(&n.Type)
	if err != nil {
		return nil, err
	}
	e, err := b.bind(n.Expr)
	if err != nil {
		return nil, err
	}
	if object, ok := e.(*objectExpr); ok && t.Kind.IsInteger() {
		return &castExpr{operand: object, typ: t}, nil // the number, in a result too
	}
	if n.Try {
		if !isUntyped(e) && !castExists(e.Type(), t) {
			return nil, faultAt(n, fault.InvalidStatement, "cannot convert a value of type %s to %s", e.Type(), t)
		}
		return &castExpr{operand: e, typ: t, try: true}, nil
	}
	if t.Kind == datum.Array {
		if p, ok := e.(*paramExpr); ok && !p.typed {
			return nil, faultAt(n, fault.InvalidStatement, "parameter $%s cannot be an array", strconv.Itoa(p.index))
		}
	}
	return b.convert(e, t, n.Expr)
}

func (b *binder) bindCollate(n *parse.Collate) (Expr, error) {
	switch n.Collation.Name {
	case "C", "c", "POSIX", "posix", "default", "ucs_basic", "binary":
		return b.bind(n.Expr)
	}
	return nil, fault.New(fault.Unsupported, "collation %q is not supported; text is ordered by its bytes", n.Collation.Name)
}
