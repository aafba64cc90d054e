package expr

import (
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
)

// sessionFunction holds the functions of the caller and of generated ids.
func sessionFunction(name string) (definition, bool) {
	text := datum.Of(datum.Text)
	switch name {
	case "current_user", "current_user_id", "session_user", "user", "kdb_current_user", "kdb_current_user_id":
		return definition{result: text, when: stable, apply: func(ctx *EvalContext, _ arguments) (datum.Datum, error) {
			return datum.NewText(string(ctx.Env.User)), nil
		}}, true
	case "current_role", "kdb_current_role":
		return definition{result: text, when: stable, apply: func(ctx *EvalContext, _ arguments) (datum.Datum, error) {
			return datum.NewText(ctx.Env.Role.String()), nil
		}}, true
	case "snowflake_id":
		return definition{result: datum.Of(datum.BigInt), when: volatile, apply: func(ctx *EvalContext, _ arguments) (datum.Datum, error) {
			if ctx.Env.Snowflake == nil {
				return datum.Datum{}, idFault(name)
			}
			return datum.NewBigInt(ctx.Env.Snowflake()), nil
		}}, true
	case "uuid_v7", "uuidv7":
		return definition{result: text, when: stable, apply: statementUUID}, true
	case "ulid":
		return definition{result: text, when: volatile, apply: func(ctx *EvalContext, _ arguments) (datum.Datum, error) {
			if ctx.Env.ULID == nil {
				return datum.Datum{}, idFault(name)
			}
			return datum.NewText(ctx.Env.ULID()), nil
		}}, true
	}
	return definition{}, false
}

// statementUUID draws the one id that UUID_V7() gives throughout a statement.
func statementUUID(ctx *EvalContext, _ arguments) (datum.Datum, error) {
	if ctx.uuid == "" {
		if ctx.Env.UUIDv7 == nil {
			return datum.Datum{}, idFault("uuid_v7")
		}
		ctx.uuid = ctx.Env.UUIDv7()
	}
	return datum.NewText(ctx.uuid), nil
}

func idFault(name string) error {
	return fault.New(fault.InvalidStatement, "%s() cannot be used here", name)
}
