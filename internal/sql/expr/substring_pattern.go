package expr

import (
	"strings"
	"unicode/utf8"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
)

// substringByPattern makes SUBSTRING(text FROM pattern), whose second operand is a text and not a place: what the first group of a regular
// expression matches, or all of it without groups. With an escape character the pattern is one of SIMILAR TO, which two of them, each followed
// by a double quote, divide into three parts: the result is what matches the middle one.
func (b *binder) substringByPattern(operands []Expr, nodes []parse.Expr) (e Expr, done bool, err error) {
	if len(operands) < 2 || len(operands) > 3 || !isPattern(operands[1]) && (len(operands) == 2 || !isNull(operands[1]) || !isPattern(operands[2])) {
		return nil, false, nil
	}
	for i, e := range operands {
		if operands[i], err = b.operand(e, textOperand, "substring", i, nodes[i]); err != nil {
			return nil, true, err
		}
	}
	call := &regularCall{}
	function := definition{apply: func(ctx *EvalContext, a arguments) (datum.Datum, error) {
		pattern := a[1].Str()
		if len(a) == 3 {
			var err error
			if pattern, err = similarParts(pattern, a[2].Str()); err != nil {
				return datum.Datum{}, err
			}
		}
		re, err := call.compile(pattern, "")
		if err != nil {
			return datum.Datum{}, err
		}
		found, err := re.compiled.find(ctx, a[0].Str())
		switch {
		case found == nil || err != nil:
			return datum.Datum{}, err
		case len(found) == 2:
			return datum.NewText(a[0].Str()[found[0]:found[1]]), nil
		case found[2] < 0:
			return datum.Datum{}, nil
		}
		return datum.NewText(a[0].Str()[found[2]:found[3]]), nil
	}}
	return fold(&callExpr{name: "substring", operands: operands, typ: datum.Of(datum.Text), function: function}), true, nil
}

// isPattern reports whether an operand is a text and not a number that is not typed.
func isPattern(e Expr) bool {
	_, parameter := e.(*paramExpr)
	return e.Type().Kind.IsString() && !isNull(e) && (!parameter || !isUntyped(e))
}

// similarParts translates a pattern of SIMILAR TO with its separators. The parts around the middle one match as little as they can.
func similarParts(pattern, escape string) (string, error) {
	if escape == "" {
		return similarPattern(pattern, escape)
	}
	parts := []string{""}
	for rest := pattern; ; {
		at := strings.Index(rest, escape)
		switch {
		case at < 0:
			parts[len(parts)-1] += rest
			return joinParts(parts, escape)
		case strings.HasPrefix(rest[at+len(escape):], `"`):
			if len(parts) == 3 {
				return "", fault.New(fault.InvalidStatement, `the pattern of SUBSTRING has more than two separators %s"`, escape)
			}
			parts[len(parts)-1] += rest[:at]
			parts = append(parts, "")
			rest = rest[at+len(escape)+1:]
		default:
			end := at + len(escape)
			if end < len(rest) { // an escaped character, which may be the escape itself
				_, width := utf8.DecodeRuneInString(rest[end:])
				end += width
			}
			parts[len(parts)-1] += rest[:end]
			rest = rest[end:]
		}
	}
}

func joinParts(parts []string, escape string) (string, error) {
	var b strings.Builder
	b.WriteString("^")
	for i, part := range parts {
		translated, err := similarPattern(part, escape)
		if err != nil {
			return "", err
		}
		translated = strings.TrimSuffix(strings.TrimPrefix(translated, "(?s)^(?:"), ")$")
		switch {
		case len(parts) == 1:
			b.WriteString("(?:" + translated + ")")
		case i == 1:
			b.WriteString("(" + translated + ")")
		default:
			b.WriteString("(?U:" + translated + ")")
		}
	}
	b.WriteString("$")
	return b.String(), nil
}
