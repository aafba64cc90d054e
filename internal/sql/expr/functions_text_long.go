package expr

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/sql/jsontext"
)

// pieceBytes is how much of a text is worked on between two looks at its statement, as in documents.
const pieceBytes = jsontext.PieceBytes

// inPieces makes a function that maps a text from its beginning to its end: a long one is mapped piece by piece, and the statement is
// looked at in between. The mapping is made anew for each call, so that it may remember what it has seen.
func inPieces(operands []operandClass, maker func(a arguments) func(string) string) definition {
	return definition{
		operands: operands, result: datum.Of(datum.Text),
		apply: func(ctx *EvalContext, a arguments) (datum.Datum, error) {
			out, err := mapPieces(ctx, a[0].Str(), maker(a))
			if err != nil {
				return datum.Datum{}, err
			}
			return datum.NewText(out), limitBytes(len(out))
		},
	}
}

// mapping is a mapping that remembers nothing.
func mapping(f func(string) string) func(arguments) func(string) string {
	return func(arguments) func(string) string { return f }
}

func mapPieces(ctx *EvalContext, text string, f func(string) string) (string, error) {
	if len(text) <= pieceBytes {
		return f(text), nil
	}
	var out strings.Builder
	out.Grow(len(text))
	for text != "" {
		cut := min(pieceBytes, len(text))
		for cut < len(text) && !utf8.RuneStart(text[cut]) {
			cut++
		}
		out.WriteString(f(text[:cut]))
		text = text[cut:]
		if err := ctx.stopped(); err != nil {
			return "", err
		}
	}
	return out.String(), nil
}

func initCapitals(arguments) func(string) string {
	inWord := false
	return func(piece string) string {
		return strings.Map(func(r rune) rune {
			first := !inWord
			inWord = unicode.IsLetter(r) || unicode.IsDigit(r)
			if inWord && first {
				return unicode.ToUpper(r)
			}
			return unicode.ToLower(r)
		}, piece)
	}
}

func translation(a arguments) func(string) string {
	from, to := []rune(a[1].Str()), []rune(a[2].Str())
	table := make(map[rune]rune, len(from))
	for i, r := range from {
		if _, seen := table[r]; seen {
			continue
		}
		if table[r] = -1; i < len(to) {
			table[r] = to[i]
		}
	}
	return func(piece string) string {
		return strings.Map(func(r rune) rune {
			if mapped, ok := table[r]; ok {
				return mapped
			}
			return r
		}, piece)
	}
}

func reversed(ctx *EvalContext, a arguments) (datum.Datum, error) {
	text := a[0].Str()
	out := make([]byte, 0, len(text))
	for looked := 0; text != ""; {
		_, size := utf8.DecodeLastRuneInString(text)
		out = append(out, text[len(text)-size:]...)
		text = text[:len(text)-size]
		if len(out)-looked >= pieceBytes {
			looked = len(out)
			if err := ctx.stopped(); err != nil {
				return datum.Datum{}, err
			}
		}
	}
	return datum.NewText(string(out)), nil
}

func replaced(ctx *EvalContext, a arguments) (datum.Datum, error) {
	text, from, to := a[0].Str(), a[1].Str(), a[2].Str()
	if from == "" {
		return a[0], nil
	}
	if n := strings.Count(text, from); len(to) > len(from) && n > 0 {
		if err := limitBytes(len(text) + n*(len(to)-len(from))); err != nil {
			return datum.Datum{}, err
		}
	}
	if len(text) <= pieceBytes {
		return datum.NewText(strings.ReplaceAll(text, from, to)), nil
	}
	var out strings.Builder
	out.Grow(len(text))
	for looked := len(text); ; {
		at, err := indexText(ctx, text, from)
		if err != nil {
			return datum.Datum{}, err
		}
		if at < 0 {
			out.WriteString(text)
			return datum.NewText(out.String()), nil
		}
		out.WriteString(text[:at])
		out.WriteString(to)
		text = text[at+len(from):]
		if looked-len(text) >= pieceBytes {
			looked = len(text)
			if err := ctx.stopped(); err != nil {
				return datum.Datum{}, err
			}
		}
	}
}
