package expr

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/sql/jsontext"
)

// textOf makes a definition of a function from text to a type.
func textOf(result datum.Kind, optional int, operands []operandClass, apply func(ctx *EvalContext, a arguments) (datum.Datum, error)) definition {
	return definition{operands: operands, optional: optional, result: datum.Of(result), apply: apply}
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
		return textOf(datum.Text, 1, two, func(ctx *EvalContext, a arguments) (datum.Datum, error) { return trimmed(ctx, name, a) }), true
	case "replace":
		return definition{
			operands: []operandClass{textOperand, textOperand, textOperand}, result: datum.Of(datum.Text), apply: replaced,
		}, true
	case "translate":
		return inPieces([]operandClass{textOperand, textOperand, textOperand}, translation), true
	case "strpos", "instr":
		return textOf(datum.Int, 0, two, func(ctx *EvalContext, a arguments) (datum.Datum, error) {
			return position(ctx, a[0].Str(), a[1].Str())
		}), true
	case "position":
		return textOf(datum.Int, 0, two, func(ctx *EvalContext, a arguments) (datum.Datum, error) {
			return position(ctx, a[1].Str(), a[0].Str())
		}), true
	case "substring", "substr":
		return textOf(datum.Text, 1, []operandClass{textOperand, integerOperand, integerOperand}, substring), true
	case "left", "right":
		return textOf(datum.Text, 0, []operandClass{textOperand, integerOperand}, func(ctx *EvalContext, a arguments) (datum.Datum, error) {
			return sideOf(ctx, name == "left", a[0].Str(), a[1].Int())
		}), true
	case "lpad", "rpad":
		return textOf(datum.Text, 1, []operandClass{textOperand, integerOperand, textOperand}, func(ctx *EvalContext, a arguments) (datum.Datum, error) {
			return padded(ctx, name == "lpad", a)
		}), true
	case "repeat":
		return textOf(datum.Text, 0, []operandClass{textOperand, integerOperand}, repeated), true
	case "split_part":
		return textOf(datum.Text, 0, []operandClass{textOperand, textOperand, integerOperand}, splitPart), true
	case "starts_with":
		return textOf(datum.Boolean, 0, two, func(_ *EvalContext, a arguments) (datum.Datum, error) {
			return datum.NewBool(strings.HasPrefix(a[0].Str(), a[1].Str())), nil
		}), true
	case "ends_with":
		return textOf(datum.Boolean, 0, two, func(_ *EvalContext, a arguments) (datum.Datum, error) {
			return datum.NewBool(strings.HasSuffix(a[0].Str(), a[1].Str())), nil
		}), true
	case "contains":
		return textOf(datum.Boolean, 0, two, func(ctx *EvalContext, a arguments) (datum.Datum, error) {
			at, err := indexText(ctx, a[0].Str(), a[1].Str())
			return datum.NewBool(at >= 0), err
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
		return textOf(datum.Int, 0, one, func(_ *EvalContext, a arguments) (datum.Datum, error) {
			if a[0].Str() == "" {
				return datum.NewInt(datum.Int, 0), nil
			}
			r, _ := utf8.DecodeRuneInString(a[0].Str())
			return datum.NewInt(datum.Int, int64(r)), nil
		}), true
	case "chr":
		return textOf(datum.Text, 0, []operandClass{integerOperand}, func(_ *EvalContext, a arguments) (datum.Datum, error) {
			v := a[0].Int()
			if v <= 0 || v > unicode.MaxRune || !utf8.ValidRune(rune(v)) {
				return datum.Datum{}, fault.New(fault.OutOfRange, "%d is not a character that text may hold", v)
			}
			return datum.NewText(string(rune(v))), nil
		}), true
	case "md5":
		return textOf(datum.Text, 0, one, md5Of), true
	case "encode":
		return definition{
			operands: []operandClass{anyOperand, textOperand}, result: datum.Of(datum.Text),
			apply: func(ctx *EvalContext, a arguments) (datum.Datum, error) { return encodeBytes(ctx, a[0], a[1].Str()) },
		}, true
	case "decode":
		return textOf(datum.Bytes, 0, []operandClass{textOperand, textOperand}, func(ctx *EvalContext, a arguments) (datum.Datum, error) {
			return decodeBytes(ctx, a[0].Str(), a[1].Str())
		}), true
	}
	return definition{}, false
}

// lengthFunction counts characters of text or bytes of Bytes.
func lengthFunction(name string) definition {
	return definition{
		operands: []operandClass{anyOperand}, result: datum.Of(datum.Int),
		apply: func(ctx *EvalContext, a arguments) (datum.Datum, error) {
			text := a[0]
			if text.Kind() != datum.Bytes {
				printed, err := datum.Cast(text, datum.Of(datum.Text))
				if err != nil {
					return datum.Datum{}, err
				}
				text = printed
			}
			n, err := int64(len(text.Str())), error(nil)
			switch {
			case name == "bit_length":
				n *= 8
			case name != "octet_length" && text.Kind() != datum.Bytes:
				n, err = countRunes(ctx, text.Str())
			}
			return datum.NewInt(datum.Int, n), err
		},
	}
}

func trimmed(ctx *EvalContext, name string, a arguments) (datum.Datum, error) {
	cut := " "
	if len(a) == 2 {
		cut = a[1].Str()
	}
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
	text, pace := a[0].Str(), newPacer(ctx)
	for more := name != "rtrim" && text != ""; more; {
		piece, _ := jsontext.PieceOf(text)
		kept := len(left(piece))
		text = text[len(piece)-kept:]
		if more = kept == 0 && text != ""; more {
			if err := pace.went(len(piece)); err != nil {
				return datum.Datum{}, err
			}
		}
	}
	for more := name != "ltrim" && text != ""; more; {
		_, piece := lastPieceOf(text)
		kept := len(right(piece))
		text = text[:len(text)-len(piece)+kept]
		if more = kept == 0 && text != ""; more {
			if err := pace.went(len(piece)); err != nil {
				return datum.Datum{}, err
			}
		}
	}
	return datum.NewText(text), nil
}

// manyCharacters are so many that a set of them pays.
const manyCharacters = 32

// position counts characters from 1; 0 means absent.
func position(ctx *EvalContext, text, part string) (datum.Datum, error) {
	at, err := indexText(ctx, text, part)
	if err != nil || at < 0 {
		return datum.NewInt(datum.Int, 0), err
	}
	before, err := countRunes(ctx, text[:at])
	return datum.NewInt(datum.Int, before+1), err
}

// substring counts from 1; positions before the text take from the length, as in PostgreSQL.
func substring(ctx *EvalContext, a arguments) (datum.Datum, error) {
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
	part, err := cutRunes(ctx, a[0].Str(), max(start, 1)-1, end-1)
	return datum.NewText(part), err
}

// sideOf returns the first or last n characters; a negative n leaves that many out at the other side.
func sideOf(ctx *EvalContext, left bool, text string, n int64) (datum.Datum, error) {
	count, err := countRunes(ctx, text)
	if err != nil {
		return datum.Datum{}, err
	}
	if n < 0 {
		n = max(count+max(n, -count), 0)
	}
	n = min(n, count)
	var part string
	if left {
		part, err = cutRunes(ctx, text, 0, n)
	} else {
		part, err = cutRunes(ctx, text, count-n, count)
	}
	return datum.NewText(part), err
}

func padded(ctx *EvalContext, left bool, a arguments) (datum.Datum, error) {
	text, width, fill := a[0].Str(), a[1].Int(), " "
	if len(a) == 3 {
		fill = a[2].Str()
	}
	count, err := countRunes(ctx, text)
	if err != nil {
		return datum.Datum{}, err
	}
	if width <= count {
		text, err = cutRunes(ctx, text, 0, max(width, 0))
		return datum.NewText(text), err
	}
	if fill == "" {
		return a[0], nil
	}
	missing := width - count
	if missing > MaxValueBytes {
		return datum.Datum{}, limitBytes(MaxValueBytes + 1)
	}
	fillCount, err := countRunes(ctx, fill)
	if err != nil {
		return datum.Datum{}, err
	}
	repeats := missing / fillCount
	rest, err := cutRunes(ctx, fill, 0, missing%fillCount)
	if err != nil {
		return datum.Datum{}, err
	}
	if err := limitBytes(len(text) + int(repeats)*len(fill) + len(rest)); err != nil {
		return datum.Datum{}, err
	}
	padding := strings.Repeat(fill, int(repeats)) + rest
	if left {
		return datum.NewText(padding + text), nil
	}
	return datum.NewText(text + padding), nil
}

func repeated(_ *EvalContext, a arguments) (datum.Datum, error) {
	text, n := a[0].Str(), a[1].Int()
	if n <= 0 || text == "" {
		return datum.NewText(""), nil
	}
	if n > MaxValueBytes/int64(len(text)) {
		return datum.Datum{}, limitBytes(MaxValueBytes + 1)
	}
	return datum.NewText(strings.Repeat(text, int(n))), nil
}
