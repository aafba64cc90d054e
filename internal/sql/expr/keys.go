package expr

import (
	"slices"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
)

// Conjuncts splits a condition at its top-level ANDs. A nil condition has none.
func Conjuncts(e Expr) []Expr {
	if e == nil {
		return nil
	}
	chain, ok := e.(*logicalExpr)
	if !ok || chain.or {
		return []Expr{e}
	}
	var out []Expr
	for _, operand := range chain.operands {
		out = append(out, Conjuncts(operand)...)
	}
	return out
}

// KeyBound is what one condition says about one column. Its expressions depend on no row. Rows outside
// it cannot satisfy the condition; rows inside it still have to be tested.
type KeyBound struct {
	Points        []Expr // the column equals one of them; nil when the condition is a range
	Low, High     Expr   // bounds of a range; nil when open
	LowInclusive  bool
	HighInclusive bool
}

// KeyConstraint finds column = value, column IN (values), comparisons of a column with a value, and the
// same the other way round; column is a position in the row. ok is false for every other condition.
func KeyConstraint(e Expr, column int) (bound KeyBound, ok bool) {
	if fast, ok := e.(*wholeComparison); ok {
		e = fast.compareExpr // conditions may have been prepared before
	}
	switch n := e.(type) {
	case *compareExpr:
		op, value := n.op, n.right
		if !isColumnAt(n.left, column) {
			op, value = n.op.mirrored(), n.left
			if !isColumnAt(n.right, column) {
				return KeyBound{}, false
			}
		}
		if !IsRowIndependent(value) {
			return KeyBound{}, false
		}
		switch op {
		case EqualTo:
			return KeyBound{Points: []Expr{value}}, true
		case LessThan, LessOrEqual:
			return KeyBound{High: value, HighInclusive: op == LessOrEqual}, true
		case GreaterThan, GreaterOrEqual:
			return KeyBound{Low: value, LowInclusive: op == GreaterOrEqual}, true
		case NotEqualTo:
		}
	case *inExpr:
		if !isColumnAt(n.operand, column) {
			return KeyBound{}, false
		}
		for _, item := range n.list {
			if !IsRowIndependent(item) {
				return KeyBound{}, false
			}
		}
		return KeyBound{Points: n.list}, true
	case *columnExpr:
		if n.position == column && n.typ.Kind == datum.Boolean {
			return KeyBound{Points: []Expr{NewConst(datum.NewBool(true), booleanType)}}, true
		}
	}
	return KeyBound{}, false
}

// IsNullTest reports whether a condition is that a column, by its position in the row, is NULL.
func IsNullTest(e Expr, column int) bool {
	test, ok := e.(*isExpr)
	return ok && test.kind == parse.IsNull && !test.negated && isColumnAt(test.operand, column)
}

func isColumnAt(e Expr, column int) bool {
	position, ok := ColumnPosition(e)
	return ok && position == column
}

// KeyRange is the evaluated form of all bounds of one column: either Points, or a range. Values are of
// the column's type.
type KeyRange struct {
	Points        []datum.Datum // sorted, distinct, without NULL; meaningful when IsPoints
	IsPoints      bool          // only rows whose key is one of Points can match; none when it is empty
	Low, High     datum.Datum   // NULL when open
	LowInclusive  bool
	HighInclusive bool
}

// IsFull reports whether the range leaves nothing out.
func (r KeyRange) IsFull() bool { return !r.IsPoints && r.Low.IsNull() && r.High.IsNull() }

// Contains reports whether a key that is not NULL lies in the range.
func (r KeyRange) Contains(key datum.Datum) bool {
	if r.IsPoints {
		_, found := slices.BinarySearchFunc(r.Points, key, datum.Compare)
		return found
	}
	if !r.Low.IsNull() {
		if c := datum.Compare(key, r.Low); c < 0 || c == 0 && !r.LowInclusive {
			return false
		}
	}
	if !r.High.IsNull() {
		if c := datum.Compare(key, r.High); c > 0 || c == 0 && !r.HighInclusive {
			return false
		}
	}
	return true
}

// KeyRangeOf evaluates everything that a condition says about a column of type t: the intersection of
// the bounds of its conjuncts. Errors are those of evaluating the bounds.
func KeyRangeOf(condition Expr, column int, t datum.Type, ctx *EvalContext) (KeyRange, error) {
	result := KeyRange{}
	for _, conjunct := range Conjuncts(condition) {
		bound, ok := KeyConstraint(conjunct, column)
		if !ok {
			continue
		}
		next, err := bound.Evaluate(t, ctx)
		if err != nil {
			return KeyRange{}, err
		}
		result = result.intersect(next)
	}
	return result, nil
}

// Evaluate computes the bound for a column of type t. A NULL bound matches nothing. Values that the type
// cannot hold exactly match nothing as points, and leave a range open on their side.
func (b KeyBound) Evaluate(t datum.Type, ctx *EvalContext) (KeyRange, error) {
	if b.Points != nil {
		result := KeyRange{IsPoints: true}
		for _, point := range b.Points {
			value, err := point.Eval(ctx, nil)
			if err != nil {
				return KeyRange{}, err
			}
			if key, ok := exactly(value, t); ok && !value.IsNull() {
				result.Points = append(result.Points, key)
			}
		}
		slices.SortFunc(result.Points, datum.Compare)
		result.Points = slices.CompactFunc(result.Points, datum.Equal)
		return result, nil
	}
	result := KeyRange{LowInclusive: b.LowInclusive, HighInclusive: b.HighInclusive}
	for i, side := range []Expr{b.Low, b.High} {
		if side == nil {
			continue
		}
		value, err := side.Eval(ctx, nil)
		if err != nil {
			return KeyRange{}, err
		}
		if value.IsNull() {
			return KeyRange{IsPoints: true}, nil
		}
		key, ok := exactly(value, t)
		switch {
		case !ok:
		case i == 0:
			result.Low = key
		default:
			result.High = key
		}
	}
	return result, nil
}

// exactly converts a value to the column's type; ok is false when that changes it.
func exactly(value datum.Datum, t datum.Type) (datum.Datum, bool) {
	if value.IsNull() {
		return value, true
	}
	converted, err := datum.Cast(value, t)
	if err != nil || !datum.Equal(converted, value) {
		return datum.Datum{}, false
	}
	return converted, true
}

func (r KeyRange) intersect(other KeyRange) KeyRange {
	if other.IsPoints && !r.IsPoints {
		r, other = other, r
	}
	if r.IsPoints {
		kept := KeyRange{IsPoints: true}
		for _, point := range r.Points {
			if other.Contains(point) {
				kept.Points = append(kept.Points, point)
			}
		}
		return kept
	}
	if !other.Low.IsNull() {
		c := datum.Compare(other.Low, r.Low)
		if r.Low.IsNull() || c > 0 || c == 0 && !other.LowInclusive {
			r.Low, r.LowInclusive = other.Low, other.LowInclusive
		}
	}
	if !other.High.IsNull() {
		c := datum.Compare(other.High, r.High)
		if r.High.IsNull() || c < 0 || c == 0 && !other.HighInclusive {
			r.High, r.HighInclusive = other.High, other.HighInclusive
		}
	}
	if !r.Low.IsNull() && !r.High.IsNull() {
		if c := datum.Compare(r.Low, r.High); c > 0 || c == 0 && (!r.LowInclusive || !r.HighInclusive) {
			return KeyRange{IsPoints: true}
		}
	}
	return r
}
