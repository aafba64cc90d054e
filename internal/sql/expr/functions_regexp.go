package expr

import (
	"strings"
	"sync/atomic"
	"unicode/utf8"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
)

// regularCall keeps the expression that a call compiled last: most calls have a constant one. Calls of one plan may run at the
// same time.
type regularCall struct {
	last atomic.Pointer[compiledRegular]
}

type compiledRegular struct {
	pattern, flags string
	compiled       *regular
	all            bool // flag g
}

// compile reads a pattern and its flags: g all matches, i any case, n or m lines, s or c as without.
func (r *regularCall) compile(pattern, flags string) (*compiledRegular, error) {
	if last := r.last.Load(); last != nil && last.pattern == pattern && last.flags == flags {
		return last, nil
	}
	next := &compiledRegular{pattern: pattern, flags: flags}
	ignoreCase, lines := false, false
	for _, flag := range flags {
		switch flag {
		case 'g':
			next.all = true
		case 'i':
			ignoreCase = true
		case 'c':
			ignoreCase = false
		case 'n', 'm':
			lines = true
		case 's':
			lines = false
		default:
			return nil, fault.New(fault.InvalidStatement, "regular expression flag '%c' must be g, i, c, n, m or s", flag)
		}
	}
	if lines {
		pattern = "(?m-s)" + pattern
	}
	var err error
	if next.compiled, err = compileRegular(pattern, ignoreCase); err != nil {
		return nil, err
	}
	r.last.Store(next)
	return next, nil
}

func textOperands(count int) []operandClass {
	classes := make([]operandClass, count)
	for i := range classes {
		classes[i] = textOperand
	}
	return classes
}

// regularApply computes a call from its compiled expression and its arguments.
type regularApply func(ctx *EvalContext, re *compiledRegular, a arguments) (datum.Datum, error)

// regexpFunction holds the functions of regular expressions, in the syntax of RE2.
func regexpFunction(name string) (definition, bool) {
	call := &regularCall{}
	textArray := datum.Type{Kind: datum.Array, Elem: datum.Text}
	// with makes a function of text, pattern and, behind more operands, flags.
	with := func(operands []operandClass, result datum.Type, apply regularApply) definition {
		return definition{operands: operands, optional: 1, result: result, apply: func(ctx *EvalContext, a arguments) (datum.Datum, error) {
			flags := ""
			if len(a) == len(operands) {
				flags = a[len(a)-1].Str()
			}
			re, err := call.compile(a[1].Str(), flags)
			if err != nil {
				return datum.Datum{}, err
			}
			return apply(ctx, re, a)
		}}
	}
	switch name {
	case "regexp_replace":
		return with(textOperands(4), datum.Of(datum.Text), replaceRegular), true
	case "regexp_like":
		return with(textOperands(3), booleanType, func(ctx *EvalContext, re *compiledRegular, a arguments) (datum.Datum, error) {
			found, err := re.compiled.matches(ctx, a[0].Str())
			return datum.NewBool(found), err
		}), true
	case "regexp_match":
		return with(textOperands(3), textArray, func(ctx *EvalContext, re *compiledRegular, a arguments) (datum.Datum, error) {
			found, err := re.compiled.find(ctx, a[0].Str())
			if found == nil || err != nil {
				return datum.Datum{}, err
			}
			return groupsOf(a[0].Str(), found), nil
		}), true
	case "regexp_split_to_array":
		return with(textOperands(3), textArray, func(ctx *EvalContext, re *compiledRegular, a arguments) (datum.Datum, error) {
			parts, err := re.compiled.split(ctx, a[0].Str(), maxArrayElements+1)
			if err != nil {
				return datum.Datum{}, err
			}
			return textsOf(parts)
		}), true
	case "regexp_count":
		return with([]operandClass{textOperand, textOperand, integerOperand, textOperand}, datum.Of(datum.Int), countRegular).least(2), true
	case "regexp_substr":
		return with([]operandClass{textOperand, textOperand, integerOperand, integerOperand, textOperand}, datum.Of(datum.Text),
			func(ctx *EvalContext, re *compiledRegular, a arguments) (datum.Datum, error) {
				text, found, err := nthRegular(ctx, re, a)
				if err != nil || found == nil {
					return datum.Datum{}, err
				}
				return datum.NewText(text[found[0]:found[1]]), nil
			}).least(2), true
	case "regexp_instr":
		return with([]operandClass{textOperand, textOperand, integerOperand, integerOperand, textOperand}, datum.Of(datum.Int),
			func(ctx *EvalContext, re *compiledRegular, a arguments) (datum.Datum, error) {
				text, found, err := nthRegular(ctx, re, a)
				if err != nil || found == nil {
					return datum.NewInt(datum.Int, 0), err
				}
				skipped := int64(utf8.RuneCountInString(a[0].Str()) - utf8.RuneCountInString(text))
				return datum.NewInt(datum.Int, skipped+int64(utf8.RuneCountInString(text[:found[0]]))+1), nil
			}).least(2), true
	}
	return definition{}, false
}

// least makes all operands behind the first ones optional.
func (d definition) least(operands int) definition {
	d.optional = len(d.operands) - operands
	return d
}

// fromPlace is the text from the place that the third operand names, or all of it.
func fromPlace(a arguments) (string, error) {
	text := a[0].Str()
	if len(a) < 3 {
		return text, nil
	}
	start := a[2].Int()
	if start < 1 {
		return "", fault.New(fault.OutOfRange, "a regular expression is searched from place 1 or later, not from %d", start)
	}
	for ; start > 1 && text != ""; start-- {
		_, size := utf8.DecodeRuneInString(text)
		text = text[size:]
	}
	return text, nil
}

func countRegular(ctx *EvalContext, re *compiledRegular, a arguments) (datum.Datum, error) {
	text, err := fromPlace(a)
	if err != nil {
		return datum.Datum{}, err
	}
	count := int64(0)
	err = re.compiled.each(ctx, text, -1, func([]int) error {
		count++
		return nil
	})
	return datum.NewInt(datum.Int, count), err
}

// nthRegular finds the match that the fourth operand counts, the first by default. found is nil when there is none.
func nthRegular(ctx *EvalContext, re *compiledRegular, a arguments) (text string, found []int, err error) {
	if text, err = fromPlace(a); err != nil {
		return "", nil, err
	}
	n := int64(1)
	if len(a) > 3 {
		n = a[3].Int()
	}
	if n < 1 || n > maxArrayElements {
		return "", nil, fault.New(fault.OutOfRange, "match %d of a regular expression is out of range", n)
	}
	err = re.compiled.each(ctx, text, int(n), func(match []int) error {
		if n--; n == 0 {
			found = match
		}
		return nil
	})
	return text, found, err
}

// groupsOf gives what the groups of a match hold, or the whole match when there are none.
func groupsOf(text string, found []int) datum.Datum {
	if len(found) == 2 {
		return datum.NewArray([]datum.Datum{datum.NewText(text[found[0]:found[1]])})
	}
	groups := make([]datum.Datum, len(found)/2-1)
	for i := range groups {
		if low := found[2*i+2]; low >= 0 {
			groups[i] = datum.NewText(text[low:found[2*i+3]])
		}
	}
	return datum.NewArray(groups)
}

func textsOf(parts []string) (datum.Datum, error) {
	if len(parts) > maxArrayElements { // before there is an array
		return datum.Datum{}, fault.New(fault.LimitExceeded, "an array of more than %d elements is too large", maxArrayElements)
	}
	list := make([]datum.Datum, len(parts))
	for i, part := range parts {
		list[i] = datum.NewText(part)
	}
	return ArrayOf(list)
}

// replaceRegular puts a replacement in the place of the first match, or of all. In it \1 to \9 are groups, \& is the match
// and \\ a backslash.
func replaceRegular(ctx *EvalContext, re *compiledRegular, a arguments) (datum.Datum, error) {
	text, replacement := a[0].Str(), a[2].Str()
	count := 1
	if re.all {
		count = -1
	}
	var out strings.Builder
	from := 0
	err := re.compiled.each(ctx, text, count, func(found []int) error {
		out.WriteString(text[from:found[0]])
		appendReplacement(&out, replacement, text, found)
		from = found[1]
		return limitBytes(out.Len() + len(text) - from)
	})
	if err != nil {
		return datum.Datum{}, err
	}
	out.WriteString(text[from:])
	return datum.NewText(out.String()), nil
}

func appendReplacement(out *strings.Builder, replacement, text string, found []int) {
	for i := 0; i < len(replacement); i++ {
		c := replacement[i]
		if c != '\\' || i+1 == len(replacement) {
			out.WriteByte(c)
			continue
		}
		i++
		switch next := replacement[i]; {
		case next == '&':
			out.WriteString(text[found[0]:found[1]])
		case next >= '1' && next <= '9':
			if group := int(next - '0'); 2*group < len(found) && found[2*group] >= 0 {
				out.WriteString(text[found[2*group]:found[2*group+1]])
			}
		case next == '\\':
			out.WriteByte('\\')
		default:
			out.WriteByte('\\')
			out.WriteByte(next)
		}
	}
}
