package expr

import (
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
)

// bitOperation returns the function of an operator on two integers; k is the kind of the result.
func bitOperation(op parse.Operator, k datum.Kind) func(a, b datum.Datum) (datum.Datum, error) {
	return func(a, b datum.Datum) (datum.Datum, error) {
		x, y := a.Int(), b.Int()
		switch op {
		case "&":
			x &= y
		case "|":
			x |= y
		case "#":
			x ^= y
		case "<<", ">>":
			bits := int64(64)
			switch k { //nolint:exhaustive // the kinds not named share the last case
			case datum.SmallInt, datum.Int: // a SMALLINT is shifted as an INT and cut afterwards
				bits = 32
			default:
			}
			count := uint64(y) & uint64(bits-1) //nolint:gosec // as the processors that PostgreSQL runs on do
			if op == ">>" {
				return datum.NewInt(k, x>>count), nil
			}
			x <<= count
			switch k { //nolint:exhaustive // the kinds not named share the last case
			case datum.SmallInt:
				x = int64(int16(x)) //nolint:gosec // truncation is what is asked about
			case datum.Int:
				x = int64(int32(x)) //nolint:gosec // bounded where it was made
			default:
			}
		}
		return datum.NewInt(k, x), nil
	}
}

func (b *binder) bindBits(n *parse.Binary, left, right Expr) (Expr, error) {
	left, right, err := b.typeArithmetic(n, left, right)
	if err != nil {
		return nil, err
	}
	if !left.Type().Kind.IsInteger() || !right.Type().Kind.IsInteger() {
		return nil, faultAt(n, fault.InvalidStatement, "operator %s does not apply to %s and %s", n.Op, left.Type(), right.Type())
	}
	k := promote(left.Type().Kind, right.Type().Kind)
	if n.Op == "<<" || n.Op == ">>" {
		k = left.Type().Kind
		right = NewCast(right, datum.Of(datum.BigInt))
	} else {
		right = NewCast(right, datum.Of(k))
	}
	return &binaryExpr{op: string(n.Op), left: NewCast(left, datum.Of(k)), right: right, typ: datum.Of(k), apply: bitOperation(n.Op, k)}, nil
}
