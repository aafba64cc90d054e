package expr

import (
	"errors"
	"regexp"
	"regexp/syntax"
	"strings"
	"unicode/utf8"

	"github.com/kalamdb/kalamdb-go/internal/fault"
)

const (
	// maxRegularBytes bounds the text of a regular expression.
	maxRegularBytes = 4096
	// maxRegularSize bounds what it means: x{1000} is a thousand times x.
	maxRegularSize = 20_000
	// quickRegularSteps is up to how many steps the matcher of the standard library is used, which cannot be interrupted.
	quickRegularSteps = 1 << 18
)

// regular is a regular expression in the syntax of RE2: linear time, no back references. Long texts and large expressions are matched
// by a machine of our own, which gives the same matches and stops with its statement.
type regular struct {
	quick   *regexp.Regexp
	program *syntax.Prog
	steps   int    // up to which the text is left to quick
	prefix  string // every match begins with it
	literal bool   // and is nothing else
	atStart bool   // matches begin where the text begins
}

// errTooLongToFold leaves a call to the execution: planning cannot be interrupted.
var errTooLongToFold = errors.New("the text is too long for now")

// compileRegular reads an expression.
func compileRegular(pattern string, ignoreCase bool) (*regular, error) {
	if len(pattern) > maxRegularBytes {
		return nil, fault.New(fault.LimitExceeded, "a regular expression of %d bytes exceeds the limit of %d", len(pattern), maxRegularBytes)
	}
	flags := "(?s)" // a point is any character, as in PostgreSQL
	if ignoreCase {
		flags = "(?is)"
	}
	invalid := func(err error) error {
		if refused := refusedRegular(pattern); refused != nil {
			return refused
		}
		return fault.New(fault.InvalidStatement, "invalid regular expression: %s", strings.Replace(err.Error(), flags, "", 1))
	}
	tree, err := syntax.Parse(flags+pattern, syntax.Perl)
	if err != nil {
		return nil, invalid(err)
	}
	if regularSize(tree) > maxRegularSize {
		return nil, fault.New(fault.LimitExceeded, "the regular expression stands for more than %d characters and choices", maxRegularSize)
	}
	r := &regular{steps: quickRegularSteps}
	if r.quick, err = regexp.Compile(flags + pattern); err != nil {
		return nil, invalid(err)
	}
	if r.program, err = syntax.Compile(tree.Simplify()); err != nil {
		return nil, invalid(err)
	}
	r.prefix, r.literal = r.quick.LiteralPrefix()
	r.literal = r.literal && r.program.StartCond() == 0 // it may be bound to the whole text
	r.atStart = r.program.StartCond()&syntax.EmptyBeginText != 0
	return r, nil
}

// regularSize is about how many instructions an expression has.
func regularSize(tree *syntax.Regexp) int {
	size := 1 + len(tree.Rune)
	if tree.Op == syntax.OpCharClass {
		size = 1 + len(tree.Rune)/8
	}
	for _, part := range tree.Sub {
		size = min(size+regularSize(part), 1<<30)
	}
	if tree.Op == syntax.OpRepeat {
		size = min(size*max(1, tree.Min+1, tree.Max), 1<<30)
	}
	return size
}

// matches reports whether a text has a match.
func (r *regular) matches(ctx *EvalContext, text string) (bool, error) {
	switch {
	case r.literal:
		return strings.Contains(text, r.prefix), nil
	case r.isQuick(text):
		return r.quick.MatchString(text), nil
	}
	if ctx == nil {
		return false, errTooLongToFold
	}
	found, err := newRegularMachine(r, ctx, 0).find(text, 0)
	return found != nil, err
}

// find returns where the first match and its groups are, nil without a match.
func (r *regular) find(ctx *EvalContext, text string) ([]int, error) {
	all, err := r.all(ctx, text, 1)
	if len(all) == 0 {
		return nil, err
	}
	return all[0], nil
}

// all returns where the first matches and their groups are, as many as are asked for, or every one for a negative number.
func (r *regular) all(ctx *EvalContext, text string, most int) ([][]int, error) {
	if r.isQuick(text) {
		return r.quick.FindAllStringSubmatchIndex(text, most), nil
	}
	var list [][]int
	err := r.each(ctx, text, most, func(found []int) error {
		list = append(list, found)
		return nil
	})
	return list, err
}

// each is all, one after the other. It ends with the first error of visit.
func (r *regular) each(ctx *EvalContext, text string, most int, visit func(found []int) error) error {
	if r.isQuick(text) {
		for _, found := range r.quick.FindAllStringSubmatchIndex(text, most) {
			if err := visit(found); err != nil {
				return err
			}
		}
		return nil
	}
	if ctx == nil {
		return errTooLongToFold
	}
	machine := newRegularMachine(r, ctx, 2*(r.quick.NumSubexp()+1))
	given := 0
	for from, last := 0, -1; from <= len(text) && given != most; {
		found, err := machine.find(text, from)
		if err != nil || found == nil {
			return err
		}
		if found[1] == from { // an empty match; one right behind another match is none
			_, width := utf8.DecodeRuneInString(text[from:])
			from += max(1, width)
		} else {
			from = found[1]
		}
		if found[1] > found[0] || found[0] != last {
			given++
			if err = visit(found); err != nil {
				return err
			}
		}
		last = found[1]
	}
	return nil
}

// split cuts a text at its matches into at most so many parts.
func (r *regular) split(ctx *EvalContext, text string, most int) ([]string, error) {
	if r.isQuick(text) {
		return r.quick.Split(text, most), nil
	}
	found, err := r.all(ctx, text, most)
	if err != nil {
		return nil, err
	}
	var parts []string
	begin, end := 0, 0
	for _, match := range found {
		if len(parts) == most-1 {
			break
		}
		end = match[0]
		if match[1] != 0 {
			parts = append(parts, text[begin:end])
		}
		begin = match[1]
	}
	if end != len(text) {
		parts = append(parts, text[begin:])
	}
	return parts, nil
}

func (r *regular) isQuick(text string) bool { return len(text)*len(r.program.Inst) <= r.steps }
