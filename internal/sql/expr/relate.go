package expr

import (
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
)

// Shift returns e over rows in which the columns that it reads stand delta places further on. ok is false
// for an expression that reads its row in another way, such as a subquery that depends on it.
func Shift(e Expr, delta int) (shifted Expr, ok bool) {
	if delta == 0 {
		return e, true
	}
	switch n := e.(type) {
	case *columnExpr:
		return &columnExpr{position: n.position + delta, typ: n.typ, name: n.name}, true
	case *externalExpr:
		return e, !n.PerRow && len(n.Operands) == 0
	}
	operands := e.children()
	if len(operands) == 0 {
		return e, true
	}
	moved := make([]Expr, len(operands))
	for i, operand := range operands {
		if operand == nil {
			continue
		}
		if moved[i], ok = Shift(operand, delta); !ok {
			return nil, false
		}
	}
	return e.rebuild(moved), true
}

// JoinKey splits a condition left = right over rows of two relations, the second of which begins at the
// position split. The second expression reads rows of the second relation alone. ok is false unless equal
// values have equal keys (datum.AppendKey).
func JoinKey(condition Expr, split int) (left, right Expr, ok bool) {
	equal, isComparison := condition.(*compareExpr)
	if !isComparison || equal.op != EqualTo {
		return nil, nil, false
	}
	left, right = equal.left, equal.right
	if !readsOnly(left, 0, split) {
		left, right = right, left
	}
	if !readsOnly(left, 0, split) || !readsFrom(right, split) || !SameKeys(left.Type(), right.Type()) {
		return nil, nil, false
	}
	right, ok = Shift(right, -split)
	return left, right, ok
}

// SameKeys reports whether values of two types that are equal have equal keys.
func SameKeys(a, b datum.Type) bool {
	return a.Kind == b.Kind && a.Elem == b.Elem && a.Kind != datum.Null || a.Kind.IsInteger() && b.Kind.IsInteger()
}

// readsOnly reports whether e reads columns from low up to high and at least one.
func readsOnly(e Expr, low, high int) bool {
	used := Columns(e, nil)
	for position := range used {
		if position < low || position >= high {
			return false
		}
	}
	return len(used) > 0
}

func readsFrom(e Expr, low int) bool { return readsOnly(e, low, int(^uint(0)>>1)) }

// CommonType finds the type of a column that holds values of both types.
func CommonType(a, b datum.Type) (datum.Type, bool) { return commonType(a, b) }

// BindAlike binds expressions that read no row and brings them to the type that they have in common, as the values of one
// column are. Only NULLs give the type Null.
func BindAlike(what string, nodes []parse.Expr, options Options) ([]Expr, datum.Type, error) {
	b := &binder{options: options}
	bound := make([]Expr, len(nodes))
	for i, node := range nodes {
		var err error
		if bound[i], err = b.bind(node); err != nil {
			return nil, datum.Type{}, err
		}
	}
	t, err := b.unify(what, bound, nodes)
	if err != nil {
		return nil, datum.Type{}, err
	}
	for i := range bound {
		if bound[i], err = b.finish(bound[i]); err != nil {
			return nil, datum.Type{}, err
		}
	}
	return bound, t, nil
}

// BindComparison binds left op #0, where #0 is the only column of a second row. The first expression is
// evaluated over rows of the scope and the second over that row; their values are compared with
// Comparison.Holds.
func BindComparison(
	node parse.Expr, op parse.Operator, scope *Scope, options Options, columnType datum.Type,
) (comparison Comparison, left, right Expr, err error) {
	comparison, ok := comparisonOf(op)
	if !ok {
		return 0, nil, nil, faultAt(node, fault.Unsupported, "operator %s is not supported with a subquery", op)
	}
	b := &binder{scope: scope, options: options}
	if left, err = b.bind(node); err != nil {
		return 0, nil, nil, err
	}
	left, right, err = b.matchSides(left, NewColumn(0, columnType, "value"), node, node)
	if err != nil {
		return 0, nil, nil, err
	}
	left, err = b.finish(left)
	return comparison, left, right, err
}

// Holds tells whether a comparison of two values, neither of them NULL, is true.
func (c Comparison) Holds(left, right datum.Datum) bool { return c.holds(datum.Compare(left, right)) }

// outerExpr reads a column of a row of an enclosing query.
type outerExpr struct {
	levels   int // 1 is the query directly around
	position int
	typ      datum.Type
	name     string
}

// NewOuter makes an expression that reads a column of the row at hand of an enclosing query, levels
// queries further out.
func NewOuter(levels, position int, t datum.Type, name string) Expr {
	return &outerExpr{levels: levels, position: position, typ: t, name: name}
}

func (e *outerExpr) Type() datum.Type { return e.typ }
func (e *outerExpr) Eval(ctx *EvalContext, _ []datum.Datum) (datum.Datum, error) {
	frame := len(ctx.outer) - e.levels
	if frame < 0 || e.position >= len(ctx.outer[frame]) {
		return datum.Datum{}, fault.New(fault.Internal, "expression reads column %s of an enclosing row that is not there", e.name)
	}
	return ctx.outer[frame][e.position], nil
}

func (e *outerExpr) String() string {
	return "outer" + itoa(e.levels) + "." + e.name + "#" + itoa(e.position)
}
func (e *outerExpr) children() []Expr       { return nil }
func (e *outerExpr) rebuild([]Expr) Expr    { return e }
func (e *outerExpr) volatility() volatility { return stable } // for one row of the enclosing query

// Within returns the context of a query that runs for one row of the query that ctx belongs to.
func (ctx *EvalContext) Within(row []datum.Datum) *EvalContext {
	inner := &EvalContext{Env: ctx.Env, uuid: ctx.uuid, outer: make([][]datum.Datum, len(ctx.outer)+1)}
	copy(inner.outer, ctx.outer)
	inner.outer[len(ctx.outer)] = row
	return inner
}

// NewCoalesce makes an expression that gives the first value of two that is not NULL; both are of type t.
func NewCoalesce(t datum.Type, first, second Expr) Expr {
	return &coalesceExpr{operands: []Expr{first, second}, typ: t}
}

// Substitute returns e over the rows from which values are computed: each column that e reads is replaced by the expression
// that computes it. ok is false for an expression that reads its row in another way, such as a subquery that depends on it,
// where a value is missing or has another type, and where e would grow by more than maxGrowth.
func Substitute(e Expr, values []Expr) (substituted Expr, ok bool) {
	room := maxGrowth
	return substitute(e, values, &room)
}

// maxGrowth is how many nodes Substitute may add. What reads a column twice doubles with every query around it.
const maxGrowth = 1000

func substitute(e Expr, values []Expr, room *int) (substituted Expr, ok bool) {
	switch n := e.(type) {
	case *columnExpr:
		if n.position >= len(values) || values[n.position] == nil || values[n.position].Type() != n.typ {
			return nil, false
		}
		*room++ // the column itself
		Walk(values[n.position], func(Expr) bool {
			*room--
			return *room >= 0
		})
		return values[n.position], *room >= 0
	case *externalExpr:
		return e, !n.PerRow && len(n.Operands) == 0
	}
	operands := e.children()
	if len(operands) == 0 {
		return e, e.volatility() != perRow
	}
	moved := make([]Expr, len(operands))
	for i, operand := range operands {
		if operand == nil {
			continue
		}
		if moved[i], ok = substitute(operand, values, room); !ok {
			return nil, false
		}
	}
	return e.rebuild(moved), true
}

// MayMove reports whether e may be computed in another place, or twice, than where it was written: it makes no new value each
// time, and is no subquery, which costs too much to be repeated.
func MayMove(e Expr) bool {
	may := true
	Walk(e, func(node Expr) bool {
		_, external := node.(*externalExpr)
		may = may && !external && node.volatility() != volatile
		return may
	})
	return may
}

// ReadsOuter reports whether e reads a row of a query around its own.
func ReadsOuter(e Expr) bool {
	reads := false
	Walk(e, func(node Expr) bool {
		_, outer := node.(*outerExpr)
		reads = reads || outer
		return !reads
	})
	return reads
}

// Rearrange returns e over rows in which the value at a position stands at places[position]. ok is false as for Substitute.
func Rearrange(e Expr, places []int) (moved Expr, ok bool) {
	values := make([]Expr, len(places))
	Walk(e, func(node Expr) bool {
		if c, isColumn := node.(*columnExpr); isColumn && c.position < len(places) {
			values[c.position] = &columnExpr{position: places[c.position], typ: c.typ, name: c.name}
		}
		return true
	})
	return Substitute(e, values)
}

// ColumnName is the name of a plain column, for printing; empty for other expressions.
func ColumnName(e Expr) string {
	if c, isColumn := e.(*columnExpr); isColumn {
		return c.name
	}
	return ""
}
