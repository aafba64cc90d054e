package segment

import (
	"errors"
	"fmt"
	"reflect"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"
	"github.com/parquet-go/parquet-go/encoding"

	"github.com/kalamdb/kalamdb-go/internal/datum"
)

// decimalBytes is the size of a decimal: 38 digits fit into 127 bits and a sign.
const decimalBytes = 16

// compression is what every page is compressed with. The fastest level keeps a flush from competing with statements.
var compression = &zstd.Codec{Level: zstd.SpeedFastest}

func encoded(leaf parquet.Node, as encoding.Encoding) parquet.Node {
	return parquet.Compressed(parquet.Encoded(leaf, as), compression)
}

// leaf is the node of a column that must have a value, without its encoding.
func leaf(t datum.Type) (parquet.Node, error) {
	switch t.Kind { //nolint:exhaustive // the kinds not named are stored in no column
	case datum.Boolean:
		return parquet.Leaf(parquet.BooleanType), nil
	case datum.SmallInt:
		return parquet.Int(16), nil
	case datum.Int:
		return parquet.Int(32), nil
	case datum.BigInt:
		return parquet.Int(64), nil
	case datum.Float:
		return parquet.Leaf(parquet.FloatType), nil
	case datum.Double:
		return parquet.Leaf(parquet.DoubleType), nil
	case datum.Decimal:
		if t.Precision == 0 {
			return nil, errors.New("a decimal without a precision has no form in Parquet")
		}
		return parquet.Decimal(int(t.Scale), int(t.Precision), parquet.FixedLenByteArrayType(decimalBytes)), nil
	case datum.Text, datum.File:
		return parquet.String(), nil
	case datum.JSON:
		return parquet.JSON(), nil
	case datum.Bytes:
		return parquet.Leaf(parquet.ByteArrayType), nil
	case datum.UUID:
		return parquet.UUID(), nil
	case datum.Timestamp:
		return parquet.TimestampAdjusted(parquet.Microsecond, false), nil
	case datum.DateTime:
		return parquet.TimestampAdjusted(parquet.Microsecond, true), nil
	case datum.Date:
		return parquet.Date(), nil
	case datum.Time:
		return parquet.TimeAdjusted(parquet.Microsecond, false), nil
	case datum.Embedding:
		return parquet.List(encoded(parquet.Leaf(parquet.FloatType), &parquet.Plain)), nil
	}
	return nil, fmt.Errorf("values of type %s have no form in Parquet", t)
}

// orderedGroup is a group whose fields keep the order in which they were added; those of the library are sorted by
// name.
type orderedGroup struct {
	parquet.Group

	fields []parquet.Field
}

func (g *orderedGroup) add(name string, node parquet.Node) {
	g.fields = append(g.fields, &orderedField{Node: node, name: name})
}

// Fields implements parquet.Node.
func (g *orderedGroup) Fields() []parquet.Field { return g.fields }

type orderedField struct {
	parquet.Node

	name string
}

// Name implements parquet.Field.
func (f *orderedField) Name() string { return f.name }

// Value implements parquet.Field. Nothing asks for it: rows are written column by column, not out of Go values.
func (f *orderedField) Value(reflect.Value) reflect.Value { return reflect.Value{} }
