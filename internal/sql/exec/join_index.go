package exec

import (
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/sql/expr"
)

// noRow ends a chain of rows.
const noRow = -1

// linkBytes is the memory of a link, with the room of a list that grows.
const linkBytes = 16

// chain is a list of rows with equal keys, in the order in which they came; the links are in rowIndex.next.
type chain struct{ first, last int }

// rowIndex finds rows by their keys. NULL equals nothing. Rows are known by their number, counted from zero.
type rowIndex struct {
	shape   keyShape
	encoded map[string]chain // of encodedKeys and textKeys
	wholes  map[int64]chain
	next    []int // the following row of the same chain, or noRow; one for each row, keys or not
	key     []byte
}

// newRowIndex makes an index that is asked with values of either list of expressions.
func newRowIndex(left, right []expr.Expr) *rowIndex {
	x := &rowIndex{shape: encodedKeys}
	if len(left) == 1 && len(right) == 1 {
		l, r := left[0].Type().Kind, right[0].Type().Kind
		if l == r || l.IsInteger() && r.IsInteger() {
			x.shape = shapeOfKind(l)
		}
	}
	if x.shape == wholeKeys {
		x.wholes = map[int64]chain{}
	} else {
		x.encoded = map[string]chain{}
	}
	return x
}

// values evaluates keys over a row into dst; it reports false when one is NULL.
func keyValues(dst []datum.Datum, keys []expr.Expr, eval *expr.EvalContext, row []datum.Datum) (bool, error) {
	for i, key := range keys {
		value, err := key.Eval(eval, row)
		if err != nil || value.IsNull() {
			return false, err
		}
		dst[i] = value
	}
	return true, nil
}

// find returns the rows whose keys are these values, none of which is NULL.
func (x *rowIndex) find(values []datum.Datum) (found chain, ok bool) {
	switch x.shape {
	case wholeKeys:
		found, ok = x.wholes[values[0].Int()]
	case textKeys:
		found, ok = x.encoded[values[0].Str()]
	case encodedKeys:
		x.key = appendRowKey(x.key[:0], values)
		found, ok = x.encoded[string(x.key)]
	}
	return found, ok
}

// add appends a row; usable says whether it has keys. It returns the bytes that the index grew by.
func (x *rowIndex) add(values []datum.Datum, usable bool) int64 {
	number := len(x.next)
	x.next = append(x.next, noRow)
	if !usable {
		return linkBytes
	}
	found, known := x.find(values)
	if known {
		x.next[found.last] = number
		found.last = number
	} else {
		found = chain{first: number, last: number}
	}
	switch x.shape {
	case wholeKeys:
		x.wholes[values[0].Int()] = found
	case textKeys:
		x.encoded[values[0].Str()] = found
	case encodedKeys:
		x.encoded[string(x.key)] = found
	}
	if known {
		return linkBytes
	}
	return linkBytes + entryBytes + int64(len(x.key))
}
