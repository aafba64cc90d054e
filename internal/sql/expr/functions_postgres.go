package expr

import (
	"strconv"

	"github.com/kalamdb/kalamdb-go/internal/datum"
)

// postgresFunction holds the functions by which drivers and tools of PostgreSQL look around.
func postgresFunction(name string) (definition, bool) {
	text, boolean := datum.Of(datum.Text), datum.Of(datum.Boolean)
	constant := func(value datum.Datum, typ datum.Type) (definition, bool) {
		return definition{result: typ, when: stable, apply: func(*EvalContext, arguments) (datum.Datum, error) { return value, nil }}, true
	}
	switch name {
	case "version":
		return constant(datum.NewText("PostgreSQL 16.0 compatible (KalamDB)"), text)
	case "current_database", "current_catalog":
		return constant(datum.NewText("kalam"), text)
	case "current_schema":
		return definition{result: text, when: stable, apply: func(ctx *EvalContext, _ arguments) (datum.Datum, error) {
			return datum.NewText(ctx.Env.namespace()), nil
		}}, true
	case "current_schemas":
		return definition{
			operands: []operandClass{booleanOperand}, result: datum.Type{Kind: datum.Array, Elem: datum.Text}, when: stable,
			apply: currentSchemas,
		}, true
	case "pg_table_is_visible", "pg_type_is_visible":
		return definition{operands: []operandClass{integerOperand}, result: boolean, apply: always(datum.NewBool(true))}, true
	case "pg_get_userbyid":
		return definition{operands: []operandClass{integerOperand}, result: text, apply: always(datum.NewText("system"))}, true
	case "pg_encoding_to_char":
		return definition{operands: []operandClass{integerOperand}, result: text, apply: always(datum.NewText("UTF8"))}, true
	case "pg_backend_pid":
		return constant(datum.NewInt(datum.Int, 0), datum.Of(datum.Int))
	case "pg_is_in_recovery":
		return constant(datum.NewBool(false), boolean)
	case "pg_get_indexdef", "pg_get_constraintdef": // pg_indexes and information_schema tell
		return definition{
			operands: []operandClass{integerOperand, anyOperand, booleanOperand}, optional: 2, result: text, apply: always(datum.Datum{}),
		}, true
	case "obj_description", "shobj_description":
		return definition{operands: []operandClass{integerOperand, textOperand}, optional: 1, result: text, apply: always(datum.Datum{})}, true
	case "col_description":
		return definition{operands: []operandClass{integerOperand, integerOperand}, result: text, apply: always(datum.Datum{})}, true
	case "pg_get_expr":
		return definition{
			operands: []operandClass{textOperand, integerOperand, booleanOperand}, optional: 1, result: text,
			apply: func(_ *EvalContext, args arguments) (datum.Datum, error) { return args[0], nil },
		}, true
	case "format_type":
		return definition{
			operands: []operandClass{integerOperand, integerOperand}, result: text, takesNull: true, apply: formatType,
		}, true
	}
	return definition{}, false
}

func always(value datum.Datum) func(*EvalContext, arguments) (datum.Datum, error) {
	return func(*EvalContext, arguments) (datum.Datum, error) { return value, nil }
}

// namespace is the default namespace of the caller.
func (e *Env) namespace() string {
	if e.Namespace == "" {
		return "default"
	}
	return e.Namespace
}

func currentSchemas(ctx *EvalContext, args arguments) (datum.Datum, error) {
	schemas := []datum.Datum{datum.NewText(ctx.Env.namespace())}
	if args[0].Bool() {
		schemas = append([]datum.Datum{datum.NewText("pg_catalog")}, schemas...)
	}
	return datum.NewArray(schemas), nil
}

// formatType spells a type of pg_type as SQL does.
func formatType(_ *EvalContext, args arguments) (datum.Datum, error) {
	if args[0].IsNull() {
		return datum.Datum{}, nil
	}
	names := map[int64]string{
		16: "boolean", 17: "bytea", 20: "bigint", 21: "smallint", 23: "integer", 25: "text", 700: "real", 701: "double precision",
		1009: "text[]", 1021: "real[]", 1082: "date", 1083: "time without time zone", 1114: "timestamp without time zone",
		1184: "timestamp with time zone", 1186: "interval", 1700: "numeric", 2950: "uuid", 3802: "jsonb",
	}
	name, known := names[args[0].Int()]
	if !known {
		name = "???"
	}
	if args[0].Int() == 1700 && !args[1].IsNull() && args[1].Int() >= 4 {
		modifier := args[1].Int() - 4
		name += "(" + strconv.FormatInt(modifier>>16, 10) + "," + strconv.FormatInt(modifier&0xffff, 10) + ")"
	}
	return datum.NewText(name), nil
}
