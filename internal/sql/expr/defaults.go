package expr

import (
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/schema"
)

// EvalDefault makes the value of a column that an INSERT leaves out, of the column's type: NULL without a
// default. Generated ids, UUID_V7 included, are new on every call. Whether the column takes NULL is the
// caller's question.
func EvalDefault(column *schema.Column, ctx *EvalContext) (datum.Datum, error) {
	var value datum.Datum
	switch column.Default.Kind {
	case schema.DefaultNone:
		return datum.Datum{}, nil
	case schema.DefaultLiteral:
		return column.Default.Literal, nil
	case schema.DefaultNow:
		value = datum.NewInt(datum.DateTime, ctx.Env.NowMicros)
	case schema.DefaultSnowflake:
		if ctx.Env.Snowflake == nil {
			return datum.Datum{}, idFault("snowflake_id")
		}
		value = datum.NewBigInt(ctx.Env.Snowflake())
	case schema.DefaultUUIDv7:
		if ctx.Env.UUIDv7 == nil {
			return datum.Datum{}, idFault("uuid_v7")
		}
		value = datum.NewText(ctx.Env.UUIDv7())
	case schema.DefaultULID:
		if ctx.Env.ULID == nil {
			return datum.Datum{}, idFault("ulid")
		}
		value = datum.NewText(ctx.Env.ULID())
	case schema.DefaultCurrentUser:
		value = datum.NewText(string(ctx.Env.User))
	default:
		return datum.Datum{}, fault.New(fault.Internal, "column %q has a default of unknown kind %d", column.Name, column.Default.Kind)
	}
	converted, err := datum.Cast(value, column.Type)
	if err != nil {
		return datum.Datum{}, fault.New(fault.KindOf(err), "default of column %q: %w", column.Name, err)
	}
	return converted, nil
}
