package expr

import (
	"github.com/kalamdb/kalamdb-go/internal/datum"
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
	function := definition{apply: regularSubstring(&regularCall{})}
	if len(operands) == 3 {
		function.apply = similarSubstring(&similarCall{})
	}
	return fold(&callExpr{name: "substring", operands: operands, typ: datum.Of(datum.Text), function: function}), true, nil
}

func regularSubstring(call *regularCall) func(ctx *EvalContext, a arguments) (datum.Datum, error) {
	return func(ctx *EvalContext, a arguments) (datum.Datum, error) {
		re, err := call.compile(a[1].Str(), "")
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
	}
}

func similarSubstring(call *similarCall) func(ctx *EvalContext, a arguments) (datum.Datum, error) {
	return func(ctx *EvalContext, a arguments) (datum.Datum, error) {
		text := a[0].Str()
		s, err := call.compile(a[1].Str(), a[2].Str())
		if err != nil {
			return datum.Datum{}, err
		}
		from, to, err := s.find(ctx, text)
		if err != nil || to < 0 {
			return datum.Datum{}, err
		}
		return datum.NewText(text[from:to]), nil
	}
}

// isPattern reports whether an operand is a text and not a number that is not typed.
func isPattern(e Expr) bool {
	_, parameter := e.(*paramExpr)
	return e.Type().Kind.IsString() && !isNull(e) && (!parameter || !isUntyped(e))
}
