package expr

import (
	"strings"
	"unicode/utf8"

	"github.com/kalamdb/kalamdb-go/internal/sql/jsontext"
)

// pacer counts the bytes that a function works on and looks at its statement after each piece of them.
type pacer struct {
	ctx  *EvalContext
	left int
}

func newPacer(ctx *EvalContext) pacer { return pacer{ctx, pieceBytes} }

// went counts bytes; the error says why the statement must not go on.
func (p *pacer) went(bytes int) error {
	if p.left -= bytes; p.left > 0 {
		return nil
	}
	p.left = pieceBytes
	return p.ctx.stopped()
}

// lastPieceOf cuts a text before a piece, between characters.
func lastPieceOf(text string) (rest, piece string) {
	if len(text) <= pieceBytes {
		return "", text
	}
	cut := len(text) - pieceBytes
	for cut > 0 && !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut], text[cut:]
}

// countRunes counts characters.
func countRunes(ctx *EvalContext, text string) (count int64, err error) {
	for pace := newPacer(ctx); text != ""; {
		var piece string
		piece, text = jsontext.PieceOf(text)
		count += int64(utf8.RuneCountInString(piece))
		if text == "" {
			break
		}
		if err = pace.went(len(piece)); err != nil {
			return 0, err
		}
	}
	return count, nil
}

// cutRunes returns the characters from start (0-based) up to end.
func cutRunes(ctx *EvalContext, text string, start, end int64) (string, error) {
	if start >= end {
		return "", nil
	}
	from, err := offsetOf(ctx, text, start)
	if err != nil {
		return "", err
	}
	to, err := offsetOf(ctx, text[from:], end-start)
	return text[from : from+to], err
}

// offsetOf is where the character of an index begins; the end of the text when there is none.
func offsetOf(ctx *EvalContext, text string, index int64) (int, error) {
	pace, at := newPacer(ctx), 0
	for index > 0 && at < len(text) {
		piece, _ := jsontext.PieceOf(text[at:])
		if inPiece := int64(utf8.RuneCountInString(piece)); inPiece <= index {
			index -= inPiece
			at += len(piece)
			if err := pace.went(len(piece)); err != nil {
				return 0, err
			}
			continue
		}
		for i := range piece {
			if index == 0 {
				return at + i, nil
			}
			index--
		}
		return at + len(piece), nil
	}
	return at, nil
}

// indexText is strings.Index.
func indexText(ctx *EvalContext, text, part string) (int, error) {
	step := max(pieceBytes, len(part))
	if len(text) <= step {
		return strings.Index(text, part), nil
	}
	pace := newPacer(ctx)
	for at := 0; at < len(text); at += step {
		if found := strings.Index(text[at:min(len(text), at+step+len(part))], part); found >= 0 {
			return at + found, nil
		}
		if err := pace.went(step); err != nil {
			return 0, err
		}
	}
	return -1, nil
}
