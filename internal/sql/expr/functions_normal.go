package expr

import (
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
)

// normalFunction holds the functions of the normal forms of Unicode.
func normalFunction(name string) (definition, bool) {
	operands := []operandClass{textOperand, textOperand}
	switch name {
	case "normalize":
		return textOf(datum.Text, 1, operands, func(ctx *EvalContext, a arguments) (datum.Datum, error) {
			var out strings.Builder
			err := eachNormalPiece(ctx, a, func(form norm.Form, piece string) (bool, error) {
				out.WriteString(form.String(piece))
				return true, limitBytes(out.Len())
			})
			return datum.NewText(out.String()), err
		}), true
	case "is_normalized":
		return textOf(datum.Boolean, 1, operands, func(ctx *EvalContext, a arguments) (datum.Datum, error) {
			is := true
			err := eachNormalPiece(ctx, a, func(form norm.Form, piece string) (bool, error) {
				is = form.IsNormalString(piece)
				return is, nil
			})
			return datum.NewBool(is), err
		}), true
	}
	return definition{}, false
}

// eachNormalPiece cuts a text where no character before a cut changes with one behind it, and looks at the statement after each piece.
func eachNormalPiece(ctx *EvalContext, a arguments, visit func(form norm.Form, piece string) (goOn bool, err error)) error {
	form, text := norm.NFC, a[0].Str()
	if len(a) == 2 {
		var known bool
		if form, known = normalForm(a[1].Str()); !known {
			return fault.New(fault.InvalidStatement, "the normal form must be NFC, NFD, NFKC or NFKD")
		}
	}
	for {
		cut := len(text)
		if cut > pieceBytes {
			cut = pieceBytes
			for cut < len(text) && !utf8.RuneStart(text[cut]) {
				cut++
			}
			if next := form.FirstBoundaryInString(text[cut:]); next >= 0 {
				cut += next
			} else {
				cut = len(text)
			}
		}
		goOn, err := visit(form, text[:cut])
		if text = text[cut:]; !goOn || err != nil || text == "" {
			return err
		}
		if err = ctx.stopped(); err != nil {
			return err
		}
	}
}

func normalForm(name string) (form norm.Form, known bool) {
	switch strings.ToUpper(name) {
	case "NFC":
		return norm.NFC, true
	case "NFD":
		return norm.NFD, true
	case "NFKC":
		return norm.NFKC, true
	case "NFKD":
		return norm.NFKD, true
	}
	return norm.NFC, false
}
