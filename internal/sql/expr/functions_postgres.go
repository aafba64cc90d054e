package expr

import (
	"strconv"
	"strings"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
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
	case "pg_table_is_visible", "pg_type_is_visible", "pg_function_is_visible", "pg_collation_is_visible", "pg_opclass_is_visible",
		"pg_operator_is_visible", "pg_relation_is_publishable":
		return definition{operands: []operandClass{integerOperand}, result: boolean, apply: always(datum.NewBool(true))}, true
	case "pg_is_other_temp_schema":
		return definition{operands: []operandClass{integerOperand}, result: boolean, apply: always(datum.NewBool(false))}, true
	case "pg_my_temp_schema":
		return constant(datum.NewBigInt(0), datum.Of(datum.BigInt))
	case "pg_get_userbyid":
		return definition{operands: []operandClass{integerOperand}, result: text, apply: always(datum.NewText("system"))}, true
	case "pg_encoding_to_char":
		return definition{operands: []operandClass{integerOperand}, result: text, apply: always(datum.NewText("UTF8"))}, true
	case "pg_backend_pid":
		return constant(datum.NewInt(datum.Int, 0), datum.Of(datum.Int))
	case "pg_is_in_recovery":
		return constant(datum.NewBool(false), boolean)
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
	return postgresObjectFunction(name)
}

// postgresObjectFunction holds those that print objects and tell settings.
func postgresObjectFunction(name string) (definition, bool) {
	text := datum.Of(datum.Text)
	switch name {
	case "pg_get_indexdef":
		return definitionFunction(IndexDefinition), true
	case "pg_get_constraintdef":
		return definitionFunction(ConstraintDefinition), true
	case "pg_get_viewdef":
		return definitionFunction(ViewDefinition), true
	case "pg_get_ruledef", "pg_get_triggerdef", "pg_get_functiondef", "pg_get_function_result", "pg_get_function_arguments",
		"pg_get_function_identity_arguments", "pg_get_statisticsobjdef_columns", "pg_get_partkeydef", "pg_get_partition_constraintdef":
		// There is nothing of the kind, or nothing that could be told.
		return definition{operands: []operandClass{integerOperand, anyOperand}, optional: 1, result: text, apply: always(datum.Datum{})}, true
	case "pg_table_size", "pg_relation_size", "pg_total_relation_size", "pg_indexes_size", "pg_relation_filenode": // nobody counts them
		return definition{
			operands: []operandClass{integerOperand, anyOperand}, optional: 1, result: datum.Of(datum.BigInt), apply: always(datum.Datum{}),
		}, true
	case "pg_get_serial_sequence":
		return definition{operands: []operandClass{textOperand, textOperand}, result: text, apply: always(datum.Datum{})}, true
	case "pg_size_pretty":
		return definition{operands: []operandClass{roundedOperand}, result: text, apply: sizePretty}, true
	case "current_setting":
		return definition{
			operands: []operandClass{textOperand, booleanOperand}, optional: 1, result: text, when: stable, apply: currentSetting,
		}, true
	case "set_config":
		return definition{
			operands: []operandClass{textOperand, textOperand, booleanOperand}, result: text, when: stable, apply: setConfig,
		}, true
	case "quote_ident":
		return definition{operands: []operandClass{textOperand}, result: text, apply: quoteIdent}, true
	}
	return definition{}, false
}

func always(value datum.Datum) func(*EvalContext, arguments) (datum.Datum, error) {
	return func(*EvalContext, arguments) (datum.Datum, error) { return value, nil }
}

// definitionFunction prints an object as SQL; NULL when there is none. What it takes beside the id says how to lay it out.
func definitionFunction(kind DefinitionKind) definition {
	return definition{
		operands: []operandClass{integerOperand, anyOperand, booleanOperand}, optional: 2, result: datum.Of(datum.Text), when: stable,
		apply: func(ctx *EvalContext, args arguments) (datum.Datum, error) {
			if ctx.Env.Objects == nil {
				return datum.Datum{}, nil
			}
			var printed string
			var ok bool
			if kind == IndexDefinition && len(args) > 1 && args[1].Kind().IsInteger() && args[1].Int() != 0 {
				printed, ok = ctx.Env.Objects.IndexColumn(args[0].Int(), args[1].Int())
			} else {
				printed, ok = ctx.Env.Objects.ObjectDefinition(kind, args[0].Int())
			}
			if !ok {
				return datum.Datum{}, nil
			}
			return datum.NewText(printed), nil
		},
	}
}

func currentSetting(ctx *EvalContext, args arguments) (datum.Datum, error) {
	if ctx.Env.Objects != nil {
		if value, ok := ctx.Env.Objects.ObjectSetting(args[0].Str()); ok {
			return datum.NewText(value), nil
		}
	}
	if len(args) > 1 && args[1].Bool() {
		return datum.Datum{}, nil
	}
	return datum.Datum{}, fault.New(fault.NotFound, "unrecognized configuration parameter '%s'", args[0].Str())
}

// setConfig accepts a setting that is as it should be: nothing of a session can be changed.
func setConfig(ctx *EvalContext, args arguments) (datum.Datum, error) {
	value, err := currentSetting(ctx, args[:1])
	if err == nil && !strings.EqualFold(value.Str(), args[1].Str()) {
		err = fault.New(fault.Unsupported, "%s is always %s and cannot be set to %s", args[0].Str(), value.Str(), args[1].Str())
	}
	return value, err
}

func quoteIdent(_ *EvalContext, args arguments) (datum.Datum, error) {
	return datum.NewText(parse.QuoteName(args[0].Str())), nil
}

// sizePretty prints bytes as PostgreSQL does: in the largest unit of which there are at least ten.
func sizePretty(_ *EvalContext, args arguments) (datum.Datum, error) {
	size, units := args[0].Int(), []string{"bytes", "kB", "MB", "GB", "TB", "PB"}
	unit := 0
	for ; unit < len(units)-1 && (size >= 10*1024 || size <= -10*1024); unit++ {
		half := int64(512)
		if size < 0 {
			half = -half
		}
		size = (size + half) / 1024
	}
	return datum.NewText(strconv.FormatInt(size, 10) + " " + units[unit]), nil
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

// PostgresTypeNames spells the types of pg_type as SQL does, by their ids.
func PostgresTypeNames() map[int64]string {
	return map[int64]string{
		16: "boolean", 17: "bytea", 20: "bigint", 21: "smallint", 23: "integer", 25: "text", 700: "real", 701: "double precision",
		1009: "text[]", 1021: "real[]", 1082: "date", 1083: "time without time zone", 1114: "timestamp without time zone",
		1184: "timestamp with time zone", 1186: "interval", 1700: "numeric", 2950: "uuid", 3802: "jsonb",
	}
}

// formatType spells a type of pg_type as SQL does.
func formatType(_ *EvalContext, args arguments) (datum.Datum, error) {
	if args[0].IsNull() {
		return datum.Datum{}, nil
	}
	name, known := PostgresTypeNames()[args[0].Int()]
	if !known {
		name = "???"
	}
	if args[0].Int() == 1700 && !args[1].IsNull() && args[1].Int() >= 4 {
		modifier := args[1].Int() - 4
		name += "(" + strconv.FormatInt(modifier>>16, 10) + "," + strconv.FormatInt(modifier&0xffff, 10) + ")"
	}
	return datum.NewText(name), nil
}
