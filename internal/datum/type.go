package datum

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/kalamdb/kalamdb-go/internal/fault"
)

// Bounds of declared types.
const (
	MaxPrecision        = 38
	MaxDims             = 8192
	DefaultPrecision    = 38 // of DECIMAL without arguments
	DefaultScale        = 10 // of DECIMAL without arguments
	binary32SQLDigits   = 24 // FLOAT(n) up to here is Float
	binary64SQLDigits   = 53 // FLOAT(n) up to here is Double
	uuidBytes           = 16
	microsPerSecond     = 1_000_000
	microsPerDay        = 86_400 * microsPerSecond
	daysPerMonth        = 30 // for comparing intervals, as PostgreSQL counts
	maxQuotedValueBytes = 64 // of a value repeated in an error message
)

// String spells the kind as SQL does, without modifiers.
func (k Kind) String() string {
	names := [...]string{
		"NULL", "BOOLEAN", "SMALLINT", "INT", "BIGINT", "FLOAT", "DOUBLE", "DECIMAL", "TEXT", "JSON", "FILE",
		"BYTES", "UUID", "TIMESTAMP", "DATETIME", "DATE", "TIME", "EMBEDDING", "ARRAY", "INTERVAL",
	}
	if int(k) < len(names) {
		return names[k]
	}
	return "UNKNOWN"
}

// IsInteger reports whether values of the kind are 16, 32 or 64 bit integers.
func (k Kind) IsInteger() bool { return k == SmallInt || k == Int || k == BigInt }

// IsFloat reports whether values of the kind are binary floating point.
func (k Kind) IsFloat() bool { return k == Float || k == Double }

// IsNumeric reports whether arithmetic is defined on the kind.
func (k Kind) IsNumeric() bool { return k.IsInteger() || k.IsFloat() || k == Decimal }

// IsString reports whether values of the kind are UTF-8 text: Text, JSON or File.
func (k Kind) IsString() bool { return k == Text || k == JSON || k == File }

// IsInstant reports whether values of the kind are points on the calendar: Timestamp, DateTime or Date.
func (k Kind) IsInstant() bool { return k == Timestamp || k == DateTime || k == Date }

// Of returns the type of a kind without modifiers.
func Of(k Kind) Type { return Type{Kind: k} }

// String spells the type as SQL does: BIGINT, DECIMAL(10,2), EMBEDDING(384). ParseTypeName reads it back.
func (t Type) String() string {
	switch {
	case t.Kind == Decimal && t.Precision > 0:
		return fmt.Sprintf("DECIMAL(%d,%d)", t.Precision, t.Scale)
	case t.Kind == Embedding:
		return fmt.Sprintf("EMBEDDING(%d)", t.Dims)
	case t.Kind == Array:
		return t.Elem.String() + "[]"
	}
	return t.Kind.String()
}

// WireName returns the JSON text of the type for `data_type` in schemas: `"BigInt"` with its quotes,
// `{"Decimal":{"precision":10,"scale":2}}` or `{"Embedding":384}`. Kinds that clients do not know
// (bare NULL, arrays, intervals) are announced as the Text they are printed as.
func (t Type) WireName() string {
	names := [...]string{
		`"Text"`, `"Boolean"`, `"SmallInt"`, `"Int"`, `"BigInt"`, `"Float"`, `"Double"`, "", `"Text"`, `"Json"`,
		`"File"`, `"Bytes"`, `"Uuid"`, `"Timestamp"`, `"DateTime"`, `"Date"`, `"Time"`, "", `"Text"`, `"Text"`,
	}
	switch {
	case t.Kind == Decimal && t.Precision == 0:
		return fmt.Sprintf(`{"Decimal":{"precision":%d,"scale":%d}}`, DefaultPrecision, DefaultScale)
	case t.Kind == Decimal:
		return fmt.Sprintf(`{"Decimal":{"precision":%d,"scale":%d}}`, t.Precision, t.Scale)
	case t.Kind == Embedding:
		return `{"Embedding":` + strconv.Itoa(int(t.Dims)) + `}`
	case int(t.Kind) < len(names):
		return names[t.Kind]
	}
	return `"Text"`
}

// ParseTypeName finds the type of an SQL spelling with its arguments: ("varchar", [20]), ("double
// precision", nil), ("decimal", [10 2]). Letter case and the amount of white space do not matter; a
// name that ends in [] is an array and stored as Text. Unknown names and arguments outside their range
// are fault.InvalidStatement.
func ParseTypeName(name string, args []int) (Type, error) {
	word := strings.Join(strings.Fields(strings.ToLower(name)), " ")
	if strings.HasSuffix(word, "[]") {
		return Of(Text), nil
	}
	switch word {
	case "decimal", "numeric", "dec":
		return parseDecimalArgs(args)
	case "embedding", "vector":
		return parseEmbeddingArgs(args)
	case "float":
		return parseFloatArgs(args)
	}
	kind, lengths := kindOfWord(word)
	if kind == Null {
		return Type{}, fault.New(fault.InvalidStatement, "type %q does not exist", name)
	}
	if len(args) > lengths {
		return Type{}, fault.New(fault.InvalidStatement, "type %s takes at most %d argument(s), got %d", kind, lengths, len(args))
	}
	for _, arg := range args {
		if arg < 0 {
			return Type{}, fault.New(fault.InvalidStatement, "argument %d of type %s must not be negative", arg, kind)
		}
	}
	return Of(kind), nil
}

// kindOfWord maps a spelling to its kind and the number of arguments it may have; Null when unknown.
func kindOfWord(word string) (kind Kind, lengths int) {
	switch word {
	case "boolean", "bool":
		return Boolean, 0
	case "smallint", "int2", "smallserial", "serial2":
		return SmallInt, 1
	case "int", "integer", "int4", "mediumint", "serial", "serial4", "signed", "signed integer":
		return Int, 1
	case "bigint", "int8", "bigserial", "serial8", "int64":
		return BigInt, 1
	case "real", "float4", "float32":
		return Float, 0
	case "double", "double precision", "float8", "float64":
		return Double, 2
	case "text", "varchar", "char", "character", "character varying", "char varying", "nvarchar", "nchar", "bpchar",
		"string", "clob", "citext", "name", "tinytext", "mediumtext", "longtext":
		return Text, 1
	case "enum":
		return Text, 1 << 16
	case "json", "jsonb":
		return JSON, 0
	case "file":
		return File, 0
	case "bytes", "bytea", "blob", "binary", "varbinary", "binary varying":
		return Bytes, 1
	case "uuid":
		return UUID, 0
	case "timestamp", "timestamp without time zone":
		return Timestamp, 1
	case "datetime", "timestamptz", "timestamp with time zone":
		return DateTime, 1
	case "date":
		return Date, 0
	case "time", "time without time zone":
		return Time, 1
	case "interval":
		return Interval, 1
	}
	return Null, 0
}

func parseDecimalArgs(args []int) (Type, error) {
	precision, scale := DefaultPrecision, DefaultScale
	switch len(args) {
	case 0:
	case 1:
		precision, scale = args[0], 0
	case 2:
		precision, scale = args[0], args[1]
	default:
		return Type{}, fault.New(fault.InvalidStatement, "type DECIMAL takes at most 2 arguments, got %d", len(args))
	}
	if precision < 1 || precision > MaxPrecision {
		return Type{}, fault.New(fault.InvalidStatement, "DECIMAL precision %d must be between 1 and %d", precision, MaxPrecision)
	}
	if scale < 0 || scale > precision {
		return Type{}, fault.New(fault.InvalidStatement, "DECIMAL scale %d must be between 0 and the precision %d", scale, precision)
	}
	return Type{Kind: Decimal, Precision: uint8(precision), Scale: uint8(scale)}, nil
}

func parseEmbeddingArgs(args []int) (Type, error) {
	if len(args) != 1 {
		return Type{}, fault.New(fault.InvalidStatement, "type EMBEDDING needs its number of dimensions, as in EMBEDDING(384)")
	}
	if args[0] < 1 || args[0] > MaxDims {
		return Type{}, fault.New(fault.InvalidStatement, "EMBEDDING dimensions %d must be between 1 and %d", args[0], MaxDims)
	}
	return Type{Kind: Embedding, Dims: uint16(args[0])}, nil //nolint:gosec // bounded where it was made
}

func parseFloatArgs(args []int) (Type, error) {
	switch {
	case len(args) == 0:
		return Of(Float), nil
	case len(args) > 1 || args[0] < 1 || args[0] > binary64SQLDigits:
		return Type{}, fault.New(fault.InvalidStatement, "FLOAT precision must be one number between 1 and %d", binary64SQLDigits)
	case args[0] <= binary32SQLDigits:
		return Of(Float), nil
	}
	return Of(Double), nil
}
