package expr

import (
	"crypto/md5" //nolint:gosec // md5() is the SQL function of that name
	"encoding/base64"
	"encoding/hex"
	"strings"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
)

// splitPart returns field n, counted from 1, or from the end when negative.
func splitPart(ctx *EvalContext, a arguments) (datum.Datum, error) {
	text, separator, n := a[0].Str(), a[1].Str(), a[2].Int()
	if n == 0 {
		return datum.Datum{}, fault.New(fault.InvalidStatement, "field position of split_part must not be zero")
	}
	if separator == "" { // the text is the only field
		if n == 1 || n == -1 {
			return a[0], nil
		}
		return datum.NewText(""), nil
	}
	if n < 0 {
		count, err := countFields(ctx, text, separator)
		if err != nil {
			return datum.Datum{}, err
		}
		n += count + 1
	}
	pace := newPacer(ctx)
	for ; n > 0; n-- {
		at, err := indexText(ctx, text, separator)
		switch {
		case err != nil:
			return datum.Datum{}, err
		case n == 1 && at >= 0:
			return datum.NewText(text[:at]), nil
		case n == 1:
			return datum.NewText(text), nil
		case at < 0:
			return datum.NewText(""), nil
		}
		text = text[at+len(separator):]
		if err := pace.went(at + len(separator)); err != nil {
			return datum.Datum{}, err
		}
	}
	return datum.NewText(""), nil
}

// countFields counts the fields of a text.
func countFields(ctx *EvalContext, text, separator string) (count int64, err error) {
	pace := newPacer(ctx)
	for {
		count++
		at, err := indexText(ctx, text, separator)
		if err != nil || at < 0 {
			return count, err
		}
		text = text[at+len(separator):]
		if err = pace.went(at + len(separator)); err != nil {
			return 0, err
		}
	}
}

// overlaid is overlay(text, replacement, from, length): the length of the replacement by default.
func overlaid(ctx *EvalContext, a arguments) (datum.Datum, error) {
	text, replacement, from := a[0].Str(), a[1].Str(), a[2].Int()
	length, err := countRunes(ctx, replacement)
	if err != nil {
		return datum.Datum{}, err
	}
	if len(a) == 4 {
		length = a[3].Int()
	}
	if from < 1 || length < 0 {
		return datum.Datum{}, fault.New(fault.OutOfRange, "overlay must start at 1 or later with a length of 0 or more")
	}
	behindHead, err := offsetOf(ctx, text, from-1)
	if err != nil {
		return datum.Datum{}, err
	}
	replaced, err := offsetOf(ctx, text[behindHead:], length)
	if err != nil {
		return datum.Datum{}, err
	}
	head, tail := text[:behindHead], text[behindHead+replaced:]
	if err := limitBytes(len(head) + len(replacement) + len(tail)); err != nil {
		return datum.Datum{}, err
	}
	return datum.NewText(head + replacement + tail), nil
}

// joinText prints the values that are not NULL, with a separator between them.
func joinText(separator string, values []datum.Datum) (datum.Datum, error) {
	var out []byte
	first := true
	for _, value := range values {
		if value.IsNull() {
			continue
		}
		if !first {
			out = append(out, separator...)
		}
		first = false
		out = datum.AppendText(out, value)
		if err := limitBytes(len(out)); err != nil {
			return datum.Datum{}, err
		}
	}
	return datum.NewText(string(out)), nil
}

func md5Of(ctx *EvalContext, a arguments) (datum.Datum, error) {
	sum, pace := md5.New(), newPacer(ctx) //nolint:gosec // see the import
	for rest := a[0].Str(); rest != ""; {
		piece := rest[:min(len(rest), pieceBytes)]
		rest = rest[len(piece):]
		_, _ = sum.Write([]byte(piece)) // a hash takes everything
		if err := pace.went(len(piece)); err != nil {
			return datum.Datum{}, err
		}
	}
	return datum.NewText(hex.EncodeToString(sum.Sum(nil))), nil
}

// encodedPieceBytes is what is encoded, or encodedPieceBytes/3*4 decoded, between two looks: whole groups of both encodings.
const encodedPieceBytes = 192 << 10

func encodeBytes(ctx *EvalContext, d datum.Datum, format string) (datum.Datum, error) {
	if d.Kind() != datum.Bytes && d.Kind() != datum.Text {
		return datum.Datum{}, fault.New(fault.InvalidStatement, "encode takes BYTES, not %s", d.Kind())
	}
	if err := limitBytes(2 * len(d.Str())); err != nil {
		return datum.Datum{}, err
	}
	encode := hex.AppendEncode
	switch strings.ToLower(format) {
	case "hex":
	case "base64":
		encode = base64.StdEncoding.AppendEncode
	default:
		return datum.Datum{}, fault.New(fault.InvalidStatement, "encoding %q is not hex or base64", format)
	}
	out, pace := make([]byte, 0, 2*len(d.Str())), newPacer(ctx)
	for rest := d.Str(); rest != ""; {
		piece := rest[:min(len(rest), encodedPieceBytes)]
		rest = rest[len(piece):]
		out = encode(out, []byte(piece))
		if err := pace.went(len(piece)); err != nil {
			return datum.Datum{}, err
		}
	}
	return datum.NewText(string(out)), nil
}

func decodeBytes(ctx *EvalContext, text, format string) (datum.Datum, error) {
	decode := hex.AppendDecode
	switch strings.ToLower(format) {
	case "hex":
	case "base64":
		decode = base64.StdEncoding.AppendDecode
		if strings.ContainsAny(text, "\r\n") {
			var err error
			if text, err = mapPieces(ctx, text, withoutLineEnds); err != nil {
				return datum.Datum{}, err
			}
		}
	default:
		return datum.Datum{}, fault.New(fault.InvalidStatement, "encoding %q is not hex or base64", format)
	}
	out, pace := make([]byte, 0, len(text)*3/4), newPacer(ctx)
	for text != "" {
		piece := text[:min(len(text), encodedPieceBytes)]
		text = text[len(piece):]
		var err error
		out, err = decode(out, []byte(piece))
		if err != nil || text != "" && strings.HasSuffix(piece, "=") { // padding ends a text
			return datum.Datum{}, fault.New(fault.InvalidStatement, "the value is not valid %s", format)
		}
		if err := pace.went(len(piece)); err != nil {
			return datum.Datum{}, err
		}
	}
	return datum.NewString(datum.Bytes, string(out)), nil
}

func withoutLineEnds(piece string) string {
	return strings.Map(func(r rune) rune {
		if r == '\r' || r == '\n' {
			return -1
		}
		return r
	}, piece)
}
