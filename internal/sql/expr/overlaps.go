package expr

import (
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
)

// overlaps makes the test of two periods, each given by its ends or by its start and its length, in either order.
func (b *binder) overlaps(operands []Expr, nodes []parse.Expr) (Expr, error) {
	if len(operands) != 4 {
		return nil, fault.New(fault.InvalidStatement, "overlaps takes two periods of two values each")
	}
	kind := datum.Timestamp
	for i, e := range operands {
		switch k := e.Type().Kind; {
		case isUntyped(e), k == datum.Interval && i%2 == 1, k == datum.Date, k == datum.Timestamp:
		case k == datum.Time:
			kind = datum.Time
		case k == datum.DateTime && kind != datum.Time:
			kind = datum.DateTime
		default:
			return nil, faultAt(nodes[i], fault.InvalidStatement, "OVERLAPS compares dates and times, not %s", e.Type())
		}
	}
	for i, e := range operands {
		if e.Type().Kind == datum.Interval && !isUntyped(e) {
			if err := b.repeat(1, nodes[i-1:], operands[i-1]); err != nil {
				return nil, err
			}
			operands[i] = temporalArithmetic("+", operands[i-1], e)
			continue
		}
		converted, err := b.convert(e, datum.Of(kind), nodes[i])
		if err != nil {
			return nil, err
		}
		operands[i] = converted
	}
	function := definition{takesNull: true, apply: func(_ *EvalContext, a arguments) (datum.Datum, error) {
		return periodsOverlap(periodOf(a[0], a[1]), periodOf(a[2], a[3])), nil
	}}
	return fold(&callExpr{name: "overlaps", operands: operands, typ: booleanType, function: function}), nil
}

// period is the time from start to end. Of an end that is not known the start is the one that is.
type period struct {
	start, end  int64
	known, open bool // whether there is a start; whether the end is not known
}

func periodOf(a, b datum.Datum) period {
	switch {
	case a.IsNull() && b.IsNull():
		return period{}
	case a.IsNull():
		return period{start: b.Int(), known: true, open: true}
	case b.IsNull():
		return period{start: a.Int(), known: true, open: true}
	}
	return period{start: min(a.Int(), b.Int()), end: max(a.Int(), b.Int()), known: true}
}

// periodsOverlap decides as PostgreSQL does: a period has its start, and its end only if that is its start; what an unknown end decides
// is NULL.
func periodsOverlap(a, b period) datum.Datum {
	switch {
	case !a.known || !b.known:
		return datum.Datum{}
	case a.start < b.start:
		a, b = b, a
	case a.start == b.start:
		if a.open || b.open {
			return datum.Datum{}
		}
		return datum.NewBool(true)
	}
	switch {
	case b.open:
		return datum.Datum{}
	case a.start < b.end:
		return datum.NewBool(true)
	case a.open:
		return datum.Datum{}
	}
	return datum.NewBool(false)
}
