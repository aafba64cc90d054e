package expr

import (
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
)

// similarTo matches the whole of a text with a pattern of SIMILAR TO, by the regular expression that means the same.
func similarTo(text, pattern, escape Expr) (Expr, error) {
	translate := definition{apply: func(_ *EvalContext, args arguments) (datum.Datum, error) {
		translated, err := similarPattern(args[0].Str(), args[1].Str())
		return datum.NewText(translated), err
	}}
	regular := fold(&callExpr{
		name: "similar_pattern", operands: []Expr{pattern, escape}, typ: datum.Of(datum.Text), function: translate,
	})
	e := &regularExpr{text: text, pattern: regular}
	if c, ok := regular.(*constExpr); ok && !c.value.IsNull() {
		var err error
		if e.compiled, err = compileRegular(c.value.Str(), false); err != nil {
			return nil, err
		}
	}
	return fold(e), nil
}

// similarPattern translates a pattern of SIMILAR TO into a regular expression: % is any text and _ any character,
// what a point, ^ and $ mean in regular expressions they do not mean here, and the rest is the same.
func similarPattern(pattern, escape string) (string, error) {
	if utf8.RuneCountInString(escape) > 1 {
		return "", fault.New(fault.InvalidStatement, "ESCAPE must be one character or empty, not %q", escape)
	}
	escapeRune, _ := utf8.DecodeRuneInString(escape)
	var b strings.Builder
	b.WriteString("(?s)^(?:")
	escaped, inClass := false, false
	for _, r := range pattern {
		switch {
		case escaped:
			b.WriteString(regexp.QuoteMeta(string(r)))
			escaped = false
		case escape != "" && r == escapeRune:
			escaped = true
		case inClass:
			inClass = r != ']'
			if r == '\\' {
				b.WriteRune(r)
			}
			b.WriteRune(r)
		case r == '%':
			b.WriteString(".*")
		case r == '_':
			b.WriteByte('.')
		case r == '[':
			inClass = true
			b.WriteRune(r)
		case r == '(': // nobody asks what a group has matched
			b.WriteString("(?:")
		case strings.ContainsRune(".^$\\", r):
			b.WriteString(regexp.QuoteMeta(string(r)))
		default:
			b.WriteRune(r)
		}
	}
	if escaped {
		return "", fault.New(fault.InvalidStatement, "SIMILAR TO pattern must not end with the escape character")
	}
	b.WriteString(")$")
	return b.String(), nil
}
