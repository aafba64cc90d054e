package expr

import (
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/session"
)

// MaxValueBytes bounds every value that an expression builds; beyond it Eval gives fault.LimitExceeded.
const MaxValueBytes = 16 << 20

// Expr is a typed expression. Only this package implements it; others make them with Bind and the
// constructors (NewConst, NewColumn, NewCast, NewAnd, NewExternal).
type Expr interface {
	// Type is the static type; Null for a bare NULL. Every value is NULL or of this type.
	Type() datum.Type
	// Eval computes the value over a row, whose layout is the one of the Scope at Bind (Column.Position
	// is the index) or, below a Grouping, group keys followed by aggregates.
	Eval(ctx *EvalContext, row []datum.Datum) (datum.Datum, error)
	// String prints the expression in a canonical form: two expressions that print alike compute alike.
	String() string

	// children returns the operands, for walks.
	children() []Expr
	// rebuild returns the same node over other operands, as many as children returned.
	rebuild(operands []Expr) Expr
	// volatility is that of the node alone, without its operands.
	volatility() volatility
}

// volatility says when a node gives the same value again.
type volatility uint8

const (
	immutable volatility = iota // always, for the same operands
	stable                      // within one statement: depends on the Env
	volatile                    // never: generated ids
	perRow                      // depends on the row
)

// Env is everything an evaluation may depend on besides the row. It must not change during a statement.
type Env struct {
	NowMicros int64         // statement time, microseconds since 1970-01-01 UTC
	User      ident.UserID  // effective user
	Role      session.Role  // effective role
	Namespace string        // default namespace of the caller; empty means default
	Params    []datum.Datum // $1 is Params[0]; Boolean, BigInt, Double, Text or NULL as they came
	Snowflake func() int64  // a new id on every call; nil where ids may not be made
	UUIDv7    func() string // canonical text, a new one on every call; nil like Snowflake
	ULID      func() string // canonical text, a new one on every call; nil like Snowflake
	// Subquery gives the rows of a planned subquery for a row of the query around it. Nil where a
	// statement has none.
	Subquery func(ctx *EvalContext, query any, row []datum.Datum) (*SubqueryRows, error)
	// Stopped says why the statement must not go on, in the middle of a long computation; nil, or giving nil, while it may.
	Stopped func() error
	// Objects finds objects of the catalog; nil where there is none.
	Objects Objects
}

// EvalContext is the state of one statement's evaluations. It belongs to one goroutine at a time.
type EvalContext struct {
	Env   *Env
	uuid  string          // the statement's UUID_V7(), drawn on first use
	outer [][]datum.Datum // rows of the enclosing queries, the innermost last
}

// stopped says why the statement must not go on.
func (ctx *EvalContext) stopped() error {
	if ctx == nil || ctx.Env == nil || ctx.Env.Stopped == nil {
		return nil
	}
	return ctx.Env.Stopped()
}

// canStop reports whether a statement is there that a long computation can end with.
func (ctx *EvalContext) canStop() bool { return ctx != nil && ctx.Env != nil && ctx.Env.Stopped != nil }

// SubqueryRows is the outcome of a subquery.
type SubqueryRows struct {
	Rows [][]datum.Datum
	// Keys holds the keys of the values of the first column, and HasNull whether one was NULL, once
	// somebody asked for them.
	Keys    map[string]struct{}
	HasNull bool
}

// NewEvalContext starts the evaluations of one statement.
func NewEvalContext(env *Env) *EvalContext { return &EvalContext{Env: env} }

// Test evaluates a condition; NULL counts as false, as in WHERE.
func Test(e Expr, ctx *EvalContext, row []datum.Datum) (bool, error) {
	if chain, ok := e.(*logicalExpr); ok && !chain.or {
		for _, operand := range chain.operands {
			if keep, err := Test(operand, ctx, row); !keep || err != nil {
				return false, err
			}
		}
		return true, nil
	}
	value, err := e.Eval(ctx, row)
	if err != nil {
		return false, err
	}
	return !value.IsNull() && value.Bool(), nil
}

// constExpr is a value known when bound. untyped marks a text literal or NULL that takes the type of
// what it meets.
type constExpr struct {
	value   datum.Datum
	typ     datum.Type
	untyped bool
}

// NewConst makes an expression that is always value, which is NULL or of type t.
func NewConst(value datum.Datum, t datum.Type) Expr { return &constExpr{value: value, typ: t} }

func (e *constExpr) Type() datum.Type { return e.typ }
func (e *constExpr) Eval(*EvalContext, []datum.Datum) (datum.Datum, error) {
	return e.value, nil
}

func (e *constExpr) String() string {
	if e.value.IsNull() {
		return "NULL"
	}
	text := string(datum.AppendText(nil, e.value))
	if e.typ.Kind.IsNumeric() || e.typ.Kind == datum.Boolean {
		return text
	}
	return quoteLiteral(text) + "::" + e.typ.String()
}
func (e *constExpr) children() []Expr       { return nil }
func (e *constExpr) rebuild([]Expr) Expr    { return e }
func (e *constExpr) volatility() volatility { return immutable }

// ConstValue returns the value of an expression that Bind folded to a constant.
func ConstValue(e Expr) (value datum.Datum, ok bool) {
	if c, isConst := e.(*constExpr); isConst {
		return c.value, true
	}
	return datum.Datum{}, false
}

// columnExpr reads one position of the row.
type columnExpr struct {
	position int
	typ      datum.Type
	name     string
	key      Expr // of GROUP BY, which stands there; nil for other columns
}

// NewColumn makes an expression that reads a position of the row. The name is for printing
// only, but grouping compares what is printed.
func NewColumn(position int, t datum.Type, name string) Expr {
	return &columnExpr{position: position, typ: t, name: name}
}

func (e *columnExpr) Type() datum.Type { return e.typ }
func (e *columnExpr) Eval(_ *EvalContext, row []datum.Datum) (datum.Datum, error) {
	if uint(e.position) >= uint(len(row)) {
		return datum.Datum{}, fault.New(fault.Internal, "expression reads column %d (%s) of a row of %d", e.position, e.name, len(row))
	}
	return row[e.position], nil
}
func (e *columnExpr) String() string         { return e.name + "#" + itoa(e.position) }
func (e *columnExpr) children() []Expr       { return nil }
func (e *columnExpr) rebuild([]Expr) Expr    { return e }
func (e *columnExpr) volatility() volatility { return perRow }

// ColumnPosition returns the position that an expression reads when it is a plain column.
func ColumnPosition(e Expr) (position int, ok bool) {
	if c, isColumn := e.(*columnExpr); isColumn {
		return c.position, true
	}
	return 0, false
}

// External is an expression that another package computes, such as a subquery.
type External struct {
	Result      datum.Type
	Description string // canonical, for String
	Operands    []Expr // what it reads; nil when it reads no column of the row
	PerRow      bool   // whether it depends on the row beyond its operands
	Compute     func(ctx *EvalContext, row []datum.Datum) (datum.Datum, error)
}

type externalExpr struct{ External }

// NewExternal makes an expression from a function.
func NewExternal(e External) Expr { return &externalExpr{External: e} }

func (e *externalExpr) Type() datum.Type { return e.Result }
func (e *externalExpr) Eval(ctx *EvalContext, row []datum.Datum) (datum.Datum, error) {
	return e.Compute(ctx, row)
}
func (e *externalExpr) String() string   { return e.Description }
func (e *externalExpr) children() []Expr { return e.Operands }
func (e *externalExpr) rebuild([]Expr) Expr {
	return e // Compute reads its operands itself
}

func (e *externalExpr) volatility() volatility {
	if e.PerRow {
		return perRow
	}
	return stable
}

// Walk calls visit for e and every expression below it, operands after their node, until visit returns
// false for a node, whose operands are then left out.
func Walk(e Expr, visit func(Expr) bool) {
	if e == nil || !visit(e) {
		return
	}
	for _, child := range e.children() {
		Walk(child, visit)
	}
}

// Columns adds to used the positions that e reads; used may be nil. Positions are of the row that e is
// evaluated over.
func Columns(e Expr, used map[int]bool) map[int]bool {
	if used == nil {
		used = map[int]bool{}
	}
	Walk(e, func(node Expr) bool {
		if c, ok := node.(*columnExpr); ok {
			used[c.position] = true
		}
		return true
	})
	return used
}

// IsRowIndependent reports whether e gives one value for a whole statement: it reads no column and makes
// no new ids. Such an expression may be evaluated once, with a nil row.
func IsRowIndependent(e Expr) bool {
	independent := true
	Walk(e, func(node Expr) bool {
		if v := node.volatility(); v == perRow || v == volatile {
			independent = false
		}
		return independent
	})
	return independent
}

// Prepare returns e with every part that depends on no row replaced by its value, so that parameters are
// converted and times computed once per statement and not once per row. A part that fails stays: it may
// never be evaluated. The result is for evaluations with the same Env only.
func Prepare(e Expr, ctx *EvalContext) Expr {
	if e == nil {
		return nil
	}
	if _, ok := e.(*constExpr); ok {
		return e
	}
	if IsRowIndependent(e) {
		if value, err := e.Eval(ctx, nil); err == nil {
			return NewConst(value, e.Type())
		}
		return e
	}
	operands := e.children()
	prepared := make([]Expr, len(operands))
	changed := false
	for i, operand := range operands {
		prepared[i] = Prepare(operand, ctx)
		changed = changed || prepared[i] != operand
	}
	if changed {
		e = e.rebuild(prepared)
	}
	return specialize(e)
}

// DependsOnRowAlone reports whether e gives the same value for the same row whatever the Env says.
func DependsOnRowAlone(e Expr) bool {
	alone := true
	Walk(e, func(node Expr) bool {
		v := node.volatility()
		alone = alone && (v == immutable || v == perRow)
		return alone
	})
	return alone
}

// isFoldable reports whether e depends on nothing at all.
func isFoldable(e Expr) bool {
	foldable := true
	Walk(e, func(node Expr) bool {
		if node.volatility() != immutable {
			foldable = false
		}
		return foldable
	})
	return foldable
}

// maxFoldedBytes bounds the texts that are computed with while a statement is planned.
const maxFoldedBytes = 64 << 10

// fold replaces an expression of constants by its value. An expression that fails stays as it is: it may
// never be evaluated, and if it is, it fails then.
//
// Planning cannot be interrupted, so what may take long is left to the execution.
func fold(e Expr) Expr {
	if _, ok := e.(*constExpr); ok {
		return e
	}
	for _, child := range e.children() {
		c, ok := child.(*constExpr)
		if !ok || c.value.Kind().IsString() && len(c.value.Str()) > maxFoldedBytes {
			return e
		}
	}
	if !isFoldable(e) {
		return e
	}
	value, err := e.Eval(nil, nil)
	if err != nil {
		return e
	}
	return &constExpr{value: value, typ: e.Type()}
}
