package exec

import (
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/sql/expr"
)

// keyShape says how the values of one list of expressions are looked up.
type keyShape uint8

const (
	encodedKeys keyShape = iota // by their encoding: always right
	wholeKeys                   // one expression whose values are all integers of one kind
	textKeys                    // one expression whose values are all of one kind of text
)

// shapeOf finds the cheapest way that is right for expressions: values of the types named equal exactly when their
// numbers or bytes do.
func shapeOf(keys []expr.Expr) keyShape {
	if len(keys) != 1 {
		return encodedKeys
	}
	return shapeOfKind(keys[0].Type().Kind)
}

func shapeOfKind(kind datum.Kind) keyShape {
	switch kind { //nolint:exhaustive // the kinds not named share the last case
	case datum.Boolean, datum.SmallInt, datum.Int, datum.BigInt, datum.Timestamp, datum.DateTime, datum.Date, datum.Time:
		return wholeKeys
	case datum.Text, datum.JSON, datum.File, datum.Bytes, datum.UUID:
		return textKeys
	}
	return encodedKeys
}

// groupFinder finds the group of key values. NULLs are equal here.
type groupFinder struct {
	shape   keyShape
	encoded map[string]*group
	texts   map[string]*group
	wholes  map[int64]*group
	null    *group // of a single key that is NULL
	key     []byte

	// lately holds the groups of texts that were asked for lately, by a few of their bytes: most tables have few groups,
	// and comparing a text with one that is the same piece of memory costs next to nothing.
	lately [latelySlots]latelyGroup
}

// latelySlots is a power of two.
const latelySlots = 32

type latelyGroup struct {
	text  string
	group *group
}

// slot is the place of a text in lately.
func slot(text string) int {
	if len(text) == 0 {
		return 0
	}
	last := len(text) - 1
	return (int(text[last]) + 7*int(text[last/2]) + 31*last) & (latelySlots - 1)
}

func newGroupFinder(keys []expr.Expr) groupFinder {
	f := groupFinder{shape: shapeOf(keys)}
	switch f.shape {
	case wholeKeys:
		f.wholes = map[int64]*group{}
	case textKeys:
		f.texts = map[string]*group{}
	case encodedKeys:
		f.encoded = map[string]*group{}
	}
	return f
}

// find returns the group of values, or nil.
func (f *groupFinder) find(values []datum.Datum) *group {
	if f.shape == encodedKeys {
		f.key = appendRowKey(f.key[:0], values)
		return f.encoded[string(f.key)]
	}
	value := values[0]
	switch {
	case value.IsNull():
		return f.null
	case f.shape == wholeKeys:
		return f.wholes[value.Int()]
	}
	if found := f.lateText(&value); found != nil {
		return found
	}
	text := value.Str()
	found := f.texts[text]
	if found != nil {
		f.lately[slot(text)] = latelyGroup{text, found}
	}
	return found
}

// lateText returns the group of a text when it was asked for lately, else nil.
func (f *groupFinder) lateText(value *datum.Datum) *group {
	if value.IsNull() {
		return nil
	}
	text := value.Str()
	if known := &f.lately[slot(text)]; known.group != nil && known.text == text {
		return known.group
	}
	return nil
}

// keep stores the group of values that find has just not found.
func (f *groupFinder) keep(values []datum.Datum, found *group) {
	switch {
	case f.shape == encodedKeys:
		f.encoded[string(f.key)] = found
	case values[0].IsNull():
		f.null = found
	case f.shape == wholeKeys:
		f.wholes[values[0].Int()] = found
	default:
		f.texts[values[0].Str()] = found
	}
}

// keyBytes is the memory of a key that keep stores, besides the values.
func (f *groupFinder) keyBytes(values []datum.Datum) int64 {
	if f.shape == encodedKeys {
		return int64(len(f.key))
	}
	return int64(len(values)) * datumBytes
}
