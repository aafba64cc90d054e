package plan

import (
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
)

// columnDefault reads a DEFAULT clause: a constant, one of the known functions, or any other expression,
// which is kept as its text.
func columnDefault(definition *parse.ColumnDef, columnType datum.Type) (schema.Default, error) {
	if call, ok := definition.Default.(*parse.FuncCall); ok && len(call.Args) == 0 && call.Name.Namespace == "" {
		kind := defaultOfFunction(call.Name.Name)
		if kind != schema.DefaultNone {
			return schema.Default{Kind: kind}, checkDefaultFunction(definition, kind, columnType)
		}
	}
	value, ok := constantOf(definition.Default)
	if !ok {
		value = datum.NewText(parse.Print(definition.Default))
	}
	if value.IsNull() {
		return schema.Default{}, nil
	}
	converted, err := datum.Cast(value, columnType)
	if err != nil {
		return schema.Default{}, at(definition.Default, fault.New(fault.InvalidStatement,
			"the DEFAULT of column '%s' is no %s: %w", definition.Name, columnType, err))
	}
	return schema.Default{Kind: schema.DefaultLiteral, Literal: converted}, nil
}

func defaultOfFunction(name string) schema.DefaultKind {
	switch name {
	case "now", "current_timestamp", "localtimestamp", "clock_timestamp", "statement_timestamp", "transaction_timestamp":
		return schema.DefaultNow
	case "snowflake_id":
		return schema.DefaultSnowflake
	case "uuid_v7", "uuidv7", "gen_random_uuid", "uuid_generate_v4": // who wants any id gets one that ascends
		return schema.DefaultUUIDv7
	case "ulid":
		return schema.DefaultULID
	case "current_user", "current_user_id", "kdb_current_user", "session_user":
		return schema.DefaultCurrentUser
	}
	return schema.DefaultNone
}

// checkDefaultFunction refuses a default that could never be stored.
func checkDefaultFunction(definition *parse.ColumnDef, kind schema.DefaultKind, columnType datum.Type) error {
	if !defaultFits(kind, columnType) {
		return invalid(definition.Default, "the DEFAULT of column '%s' does not fit its type %s", definition.Name, columnType)
	}
	return nil
}

// defaultFits reports whether what a function gives can be stored.
func defaultFits(kind schema.DefaultKind, columnType datum.Type) bool {
	fits := columnType.Kind.IsString()
	switch kind {
	case schema.DefaultNow:
		fits = fits || columnType.Kind.IsInstant() || columnType.Kind == datum.Time
	case schema.DefaultSnowflake:
		fits = fits || columnType.Kind == datum.BigInt || columnType.Kind == datum.Decimal
	case schema.DefaultUUIDv7:
		fits = fits || columnType.Kind == datum.UUID
	case schema.DefaultNone, schema.DefaultLiteral, schema.DefaultULID, schema.DefaultCurrentUser:
	}
	return fits
}

// constantOf returns the value of a literal.
func constantOf(node parse.Expr) (datum.Datum, bool) {
	switch literal := node.(type) {
	case *parse.NullLiteral:
		return datum.Datum{}, true
	case *parse.IntegerLiteral:
		return datum.NewBigInt(literal.Value), true
	case *parse.StringLiteral:
		return datum.NewText(literal.Value), true
	case *parse.BytesLiteral:
		return datum.NewString(datum.Bytes, literal.Value), true
	case *parse.BoolLiteral:
		return datum.NewBool(literal.Value), true
	case *parse.TypedLiteral:
		return datum.NewText(literal.Value), true
	case *parse.DecimalLiteral:
		value, err := datum.ParseText(literal.Text, datum.Of(datum.Decimal))
		return value, err == nil
	case *parse.Cast:
		return constantOf(literal.Expr)
	}
	return datum.Datum{}, false
}
