package expr

import (
	"crypto/md5" //nolint:gosec // md5() is the SQL function of that name
	"encoding/hex"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
)

// textOf makes a definition of a function from text to a type.
func textOf(result datum.Kind, optional int, operands []operandClass, apply func(a arguments) (datum.Datum, error)) definition {
	return definition{
		operands: operands, optional: optional, result: datum.Of(result),
		apply: func(_ *EvalContext, a arguments) (datum.Datum, error) { return apply(a) },
	}
}

// textFunction holds the functions on text.
func textFunction(name string) (definition, bool) {
	one := []operandClass{textOperand}
	two := []operandClass{textOperand, textOperand}
	switch name {
	case "lower":
		return inPieces(one, mapping(strings.ToLower)), true
	case "upper":
		return inPieces(one, mapping(strings.ToUpper)), true
	case "initcap":
		return inPieces(one, initCapitals), true
	case "reverse":
		return definition{operands: one, result: datum.Of(datum.Text), apply: reversed}, true
	case "length", "char_length", "character_length", "octet_length", "bit_length":
		return lengthFunction(name), true
	case "trim", "btrim", "ltrim", "rtrim":
		return textOf(datum.Text, 1, two, func(a arguments) (datum.Datum, error) { return trimmed(name, a), nil }), true
	case "replace":
		return definition{
			operands: []operandClass{textOperand, textOperand, textOperand}, result: datum.Of(datum.Text), apply: replaced,
		}, true
	case "translate":
		return inPieces([]operandClass{textOperand, textOperand, textOperand}, translation), true
	case "strpos", "instr":
		return textOf(datum.Int, 0, two, func(a arguments) (datum.Datum, error) { return position(a[0].Str(), a[1].Str()), nil }), true
	case "position":
		return textOf(datum.Int, 0, two, func(a arguments) (datum.Datum, error) { return position(a[1].Str(), a[0].Str()), nil }), true
	case "substring", "substr":
		return textOf(datum.Text, 1, []operandClass{textOperand, integerOperand, integerOperand}, substring), true
	case "left", "right":
		return textOf(datum.Text, 0, []operandClass{textOperand, integerOperand}, func(a arguments) (datum.Datum, error) {
			return sideOf(name == "left", a[0].Str(), a[1].Int()), nil
		}), true
	case "lpad", "rpad":
		return textOf(datum.Text, 1, []operandClass{textOperand, integerOperand, textOperand}, func(a arguments) (datum.Datum, error) {
			return padded(name == "lpad", a)
		}), true
	case "repeat":
		return textOf(datum.Text, 0, []operandClass{textOperand, integerOperand}, repeated), true
	case "split_part":
		return textOf(datum.Text, 0, []operandClass{textOperand, textOperand, integerOperand}, splitPart), true
	case "starts_with":
		return textOf(datum.Boolean, 0, two, func(a arguments) (datum.Datum, error) {
			return datum.NewBool(strings.HasPrefix(a[0].Str(), a[1].Str())), nil
		}), true
	case "ends_with":
		return textOf(datum.Boolean, 0, two, func(a arguments) (datum.Datum, error) {
			return datum.NewBool(strings.HasSuffix(a[0].Str(), a[1].Str())), nil
		}), true
	case "contains":
		return textOf(datum.Boolean, 0, two, func(a arguments) (datum.Datum, error) {
			return datum.NewBool(strings.Contains(a[0].Str(), a[1].Str())), nil
		}), true
	}
	return moreTextFunction(name)
}

func moreTextFunction(name string) (definition, bool) {
	one := []operandClass{textOperand}
	switch name {
	case "concat":
		return definition{
			operands: []operandClass{anyOperand}, variadic: true, takesNull: true, result: datum.Of(datum.Text),
			apply: func(_ *EvalContext, a arguments) (datum.Datum, error) { return joinText("", a) },
		}, true
	case "concat_ws":
		return definition{
			operands: []operandClass{textOperand, anyOperand}, optional: 1, variadic: true, takesNull: true, result: datum.Of(datum.Text),
			apply: func(_ *EvalContext, a arguments) (datum.Datum, error) {
				if a[0].IsNull() {
					return datum.Datum{}, nil
				}
				return joinText(a[0].Str(), a[1:])
			},
		}, true
	case "overlay":
		return textOf(datum.Text, 1, []operandClass{textOperand, textOperand, integerOperand, integerOperand}, overlaid), true
	case "ascii":
		return textOf(datum.Int, 0, one, func(a arguments) (datum.Datum, error) {
			if a[0].Str() == "" {
				return datum.NewInt(datum.Int, 0), nil
			}
			r, _ := utf8.DecodeRuneInString(a[0].Str())
			return datum.NewInt(datum.Int, int64(r)), nil
		}), true
	case "chr":
		return textOf(datum.Text, 0, []operandClass{integerOperand}, func(a arguments) (datum.Datum, error) {
			v := a[0].Int()
			if v <= 0 || v > unicode.MaxRune || !utf8.ValidRune(rune(v)) {
				return datum.Datum{}, fault.New(fault.OutOfRange, "%d is not a character that text may hold", v)
			}
			return datum.NewText(string(rune(v))), nil
		}), true
	case "md5":
		return textOf(datum.Text, 0, one, func(a arguments) (datum.Datum, error) {
			sum := md5.Sum([]byte(a[0].Str())) //nolint:gosec // see the import
			return datum.NewText(hex.EncodeToString(sum[:])), nil
		}), true
	case "encode":
		return definition{
			operands: []operandClass{anyOperand, textOperand}, result: datum.Of(datum.Text),
			apply: func(_ *EvalContext, a arguments) (datum.Datum, error) { return encodeBytes(a[0], a[1].Str()) },
		}, true
	case "decode":
		return textOf(datum.Bytes, 0, []operandClass{textOperand, textOperand}, func(a arguments) (datum.Datum, error) {
			return decodeBytes(a[0].Str(), a[1].Str())
		}), true
	}
	return definition{}, false
}

// lengthFunction counts characters of text or bytes of Bytes.
func lengthFunction(name string) definition {
	return definition{
		operands: []operandClass{anyOperand}, result: datum.Of(datum.Int),
		apply: func(_ *EvalContext, a arguments) (datum.Datum, error) {
			text := a[0]
			if text.Kind() != datum.Bytes {
				printed, err := datum.Cast(text, datum.Of(datum.Text))
				if err != nil {
					return datum.Datum{}, err
				}
				text = printed
			}
			n := len(text.Str())
			switch {
			case name == "bit_length":
				n *= 8
			case name != "octet_length" && text.Kind() != datum.Bytes:
				n = utf8.RuneCountInString(text.Str())
			}
			return datum.NewInt(datum.Int, int64(n)), nil
		},
	}
}

func trimmed(name string, a arguments) datum.Datum {
	cut := " "
	if len(a) == 2 {
		cut = a[1].Str()
	}
	text := a[0].Str()
	left := func(text string) string { return strings.TrimLeft(text, cut) }
	right := func(text string) string { return strings.TrimRight(text, cut) }
	if len(cut) > manyCharacters { // the library would look through all of them for each character of the text
		set := map[rune]bool{}
		for _, r := range cut {
			set[r] = true
		}
		within := func(r rune) bool { return set[r] }
		left = func(text string) string { return strings.TrimLeftFunc(text, within) }
		right = func(text string) string { return strings.TrimRightFunc(text, within) }
	}
	if name != "rtrim" {
		text = left(text)
	}
	if name != "ltrim" {
		text = right(text)
	}
	return datum.NewText(text)
}

// manyCharacters are so many that a set of them pays.
const manyCharacters = 32

// position counts characters from 1; 0 means absent.
func position(text, part string) datum.Datum {
	at := strings.Index(text, part)
	if at >= 0 {
		at = utf8.RuneCountInString(text[:at])
	}
	return datum.NewInt(datum.Int, int64(at+1))
}

// cutRunes returns the characters from start (0-based) up to end.
func cutRunes(text string, start, end int64) string {
	if start >= end {
		return ""
	}
	from, at := len(text), int64(0)
	for i := range text {
		if at == start {
			from = i
		}
		if at == end {
			return text[from:i]
		}
		at++
	}
	return text[from:]
}

// substring counts from 1; positions before the text take from the length, as in PostgreSQL.
func substring(a arguments) (datum.Datum, error) {
	start := a[1].Int()
	end := int64(len(a[0].Str())) + 1
	if len(a) == 3 {
		length := a[2].Int()
		if length < 0 {
			return datum.Datum{}, fault.New(fault.OutOfRange, "negative substring length %d not allowed", length)
		}
		if sum := start + length; sum >= start { // without overflow
			end = min(end, sum)
		}
	}
	return datum.NewText(cutRunes(a[0].Str(), max(start, 1)-1, end-1)), nil
}

// sideOf returns the first or last n characters; a negative n leaves that many out at the other side.
func sideOf(left bool, text string, n int64) datum.Datum {
	count := int64(utf8.RuneCountInString(text))
	if n < 0 {
		n = max(count+max(n, -count), 0)
	}
	n = min(n, count)
	if left {
		return datum.NewText(cutRunes(text, 0, n))
	}
	return datum.NewText(cutRunes(text, count-n, count))
}

func padded(left bool, a arguments) (datum.Datum, error) {
	text, width, fill := a[0].Str(), a[1].Int(), " "
	if len(a) == 3 {
		fill = a[2].Str()
	}
	count := int64(utf8.RuneCountInString(text))
	if width <= count {
		return datum.NewText(cutRunes(text, 0, max(width, 0))), nil
	}
	if fill == "" {
		return a[0], nil
	}
	missing := width - count
	if missing > MaxValueBytes {
		return datum.Datum{}, limitBytes(MaxValueBytes + 1)
	}
	fillCount := int64(utf8.RuneCountInString(fill))
	repeats := missing / fillCount
	rest := cutRunes(fill, 0, missing%fillCount)
	if err := limitBytes(len(text) + int(repeats)*len(fill) + len(rest)); err != nil {
		return datum.Datum{}, err
	}
	padding := strings.Repeat(fill, int(repeats)) + rest
	if left {
		return datum.NewText(padding + text), nil
	}
	return datum.NewText(text + padding), nil
}

func repeated(a arguments) (datum.Datum, error) {
	text, n := a[0].Str(), a[1].Int()
	if n <= 0 || text == "" {
		return datum.NewText(""), nil
	}
	if n > MaxValueBytes/int64(len(text)) {
		return datum.Datum{}, limitBytes(MaxValueBytes + 1)
	}
	return datum.NewText(strings.Repeat(text, int(n))), nil
}
