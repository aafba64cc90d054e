package jsonpath

import (
	"bytes"

	"github.com/cockroachdb/apd/v3"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/sql/jsontext"
)

// Item is what a path leads to: a piece of a document, or a value that the path made.
type Item struct {
	written []byte // as it stands in a document, without space around it; nil for one that was made
	made    *value
}

// value is a scalar that a path made.
type value struct {
	kind   valueKind
	truth  bool
	number *apd.Decimal
	text   string
	time   instant
}

type valueKind uint8

const (
	nullValue valueKind = iota
	boolValue
	numberValue
	textValue
	timeValue
	objectValue
	arrayValue
)

func textItem(text string) Item { return Item{made: &value{kind: textValue, text: text}} }
func boolItem(truth bool) Item  { return Item{made: &value{kind: boolValue, truth: truth}} }
func numberItem(number *apd.Decimal) Item {
	return Item{made: &value{kind: numberValue, number: number}}
}
func nullItem() Item { return Item{made: &value{}} }

func pieceItem(written []byte) Item { return Item{written: bytes.TrimSpace(written)} }

func (i Item) kind() valueKind {
	if i.made != nil {
		return i.made.kind
	}
	switch i.written[0] {
	case '{':
		return objectValue
	case '[':
		return arrayValue
	case '"':
		return textValue
	case 't', 'f':
		return boolValue
	case 'n':
		return nullValue
	}
	return numberValue
}

func (i Item) isContainer() bool {
	return i.written != nil && (i.written[0] == '{' || i.written[0] == '[')
}

func (i Item) truth() bool {
	if i.made != nil {
		return i.made.truth
	}
	return i.written[0] == 't'
}

func (i Item) text(w *jsontext.Walk) string {
	if i.made != nil {
		return i.made.text
	}
	return w.Text(i.written)
}

// maxWrittenDigits bounds the numbers of a document that a path computes or compares.
const maxWrittenDigits = 3 * datum.MaxDecimalDigits

// number is the value of a number, and nil when it is too long or too large. It is not changed.
func (i Item) number() *apd.Decimal {
	if i.made != nil {
		return i.made.number
	}
	return readNumber(i.written)
}

func readNumber(written []byte) *apd.Decimal {
	if len(written) > maxWrittenDigits {
		return nil
	}
	d, _, err := apd.NewFromString(string(written))
	if err != nil {
		return nil
	}
	return d
}

func negated(d *apd.Decimal) *apd.Decimal {
	opposite := new(apd.Decimal).Neg(d)
	if opposite.IsZero() {
		opposite.Negative = false
	}
	return opposite
}

// Truth gives the value of an item that is a boolean; isNull tells null from all else.
func (i Item) Truth() (truth, isBool, isNull bool) {
	k := i.kind()
	return k == boolValue && i.truth(), k == boolValue, k == nullValue
}

// Append writes the item as JSON without space: numbers as PostgreSQL writes them.
func (i Item) Append(w *jsontext.Walk, out []byte) []byte {
	if i.made == nil {
		return appendPiece(w, out, i.written)
	}
	switch i.made.kind {
	case boolValue:
		if i.made.truth {
			return append(out, "true"...)
		}
		return append(out, "false"...)
	case numberValue:
		return i.made.number.Append(out, 'f')
	case textValue:
		return w.AppendText(out, i.made.text)
	case timeValue:
		return w.AppendText(out, timeText(i.made.time))
	case nullValue, objectValue, arrayValue: // objects and arrays are pieces
	}
	return append(out, "null"...)
}

// appendPiece copies a document without space, its numbers in canonical form.
func appendPiece(w *jsontext.Walk, out, m []byte) []byte {
	for at := 0; at < len(m) && w.Err == nil; {
		switch c := m[at]; {
		case c == '-' || isDigit(c):
			end := at + 1
			for end < len(m) && (isDigit(m[end]) || m[end] == '.' || m[end]|' ' == 'e' || m[end] == '+' || m[end] == '-') {
				end++
			}
			out = appendNumber(out, m[at:end])
			at = end
		case c == '"':
			out, at = w.CopyString(out, m, at)
		case isBlank(c):
			at++
		default:
			out = append(out, c)
			at++
		}
		w.Went(1)
	}
	return out
}

// appendNumber writes a number without an exponent where that is not too long.
func appendNumber(out, written []byte) []byte {
	plain := bytes.IndexByte(written, 'e') < 0 && bytes.IndexByte(written, 'E') < 0
	if plain && written[0] != '-' {
		return append(out, written...)
	}
	d := readNumber(written)
	if d == nil || d.Exponent < -datum.MaxDecimalDigits || !datum.BoundDecimal(d) {
		return append(out, written...)
	}
	return d.Append(out, 'f')
}

func numberFault() *fault.Error {
	return fault.New(fault.OutOfRange, "number of a JSON path out of range")
}
