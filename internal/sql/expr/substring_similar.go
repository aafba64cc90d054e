package expr

import (
	"regexp/syntax"
	"slices"
	"strings"
	"sync/atomic"
	"unicode/utf8"

	"github.com/kalamdb/kalamdb-go/internal/fault"
)

// similarCall keeps the pattern that a call of SUBSTRING(… SIMILAR … ESCAPE …) compiled last, as regularCall does.
type similarCall struct {
	last atomic.Pointer[similarPieces]
}

// similarPieces is a pattern of SIMILAR TO with its separators. Which alternative of a part matches is decided by lengths, not by their order,
// so that the parts are followed apart: the places where the text behind matches are found from its end, then the shortest first
// part and the longest middle one that end at such places. That is four ways through the text at most.
type similarPieces struct {
	pattern, escape string
	whole           *regular // all of it, without regard to the parts
	parts           int
	first, middle   *regular // not in use with one part
	fromRest        *regular // what is behind the middle part, from its end
	fromMiddle      *regular // the middle part with that, from its end
	size            int      // instructions of the largest
}

func (c *similarCall) compile(pattern, escape string) (*similarPieces, error) {
	if last := c.last.Load(); last != nil && last.pattern == pattern && last.escape == escape {
		return last, nil
	}
	parts, err := similarParts(pattern, escape)
	if err != nil {
		return nil, err
	}
	for i, part := range parts {
		if parts[i], err = similarPattern(part, escape); err != nil {
			return nil, err
		}
		parts[i] = strings.TrimSuffix(strings.TrimPrefix(parts[i], "(?s)^"), "$")
	}
	s := &similarPieces{pattern: pattern, escape: escape, parts: len(parts)}
	// Each must be an expression by itself, and all together must not exceed the limits of one.
	if s.whole, err = compileRegular("^"+strings.Join(parts, "")+"$", false); err == nil && len(parts) > 1 {
		err = s.compileParts(append(parts, "")[:3])
	}
	if err != nil {
		return nil, err
	}
	c.last.Store(s)
	return s, nil
}

func (s *similarPieces) compileParts(parts []string) error {
	trees := make([]*syntax.Regexp, len(parts))
	for i, part := range parts {
		if _, err := compileRegular(part, false); err != nil {
			return err
		}
		var err error
		if trees[i], err = syntax.Parse("(?s)"+part, syntax.Perl); err != nil {
			return fault.New(fault.InvalidStatement, "invalid regular expression: %s", err)
		}
	}
	rest := backward(trees[2])
	both := &syntax.Regexp{Op: syntax.OpConcat, Sub: []*syntax.Regexp{backward(trees[2]), backward(trees[1])}}
	for _, piece := range []struct {
		to   **regular
		tree *syntax.Regexp
	}{{&s.first, trees[0]}, {&s.middle, trees[1]}, {&s.fromRest, rest}, {&s.fromMiddle, both}} {
		program, err := syntax.Compile(piece.tree.Simplify())
		if err != nil {
			return fault.New(fault.InvalidStatement, "invalid regular expression: %s", err)
		}
		*piece.to = &regular{program: program}
		s.size = max(s.size, len(program.Inst))
	}
	return nil
}

// backward makes the expression that matches the same texts read from their ends. There is nothing in it that looks around.
func backward(tree *syntax.Regexp) *syntax.Regexp {
	turned := *tree
	turned.Sub = make([]*syntax.Regexp, len(tree.Sub))
	for i, part := range tree.Sub {
		turned.Sub[i] = backward(part)
	}
	if tree.Op == syntax.OpConcat {
		slices.Reverse(turned.Sub)
	}
	if tree.Op == syntax.OpLiteral {
		turned.Rune = slices.Clone(tree.Rune)
		slices.Reverse(turned.Rune)
	}
	return &turned
}

// find returns where the middle part is, or all of the text without separators; to is negative without a match.
func (s *similarPieces) find(ctx *EvalContext, text string) (from, to int, err error) {
	if s.parts == 1 {
		var found bool
		if found, err = s.whole.matches(ctx, text); err != nil || !found {
			return 0, -1, err
		}
		return 0, len(text), nil
	}
	if ctx == nil && (len(text)+1)*s.size > stepsBetweenLooks/4 { // a place takes up to four steps
		return 0, -1, errTooLongToFold
	}
	rests, middles := newPlaces(text), newPlaces(text)
	if err = newRegularMachine(s.fromRest, ctx, 0).ends(text, len(text), true, rests.add); err != nil {
		return 0, -1, err
	}
	if err = newRegularMachine(s.fromMiddle, ctx, 0).ends(text, len(text), true, middles.add); err != nil {
		return 0, -1, err
	}
	from, to = -1, -1
	if err = newRegularMachine(s.first, ctx, 0).ends(text, 0, false, func(at int) bool {
		if middles.has(at) {
			from = at
		}
		return from < 0
	}); err != nil || from < 0 {
		return 0, -1, err
	}
	err = newRegularMachine(s.middle, ctx, 0).ends(text, from, false, func(at int) bool {
		if rests.has(at) {
			to = at
		}
		return true
	})
	return from, to, err
}

// places is a set of places in a text.
type places []uint64

func newPlaces(text string) places { return make(places, len(text)/64+1) }

func (p places) add(at int) bool {
	p[at/64] |= 1 << (at % 64)
	return true
}

func (p places) has(at int) bool { return p[at/64]&(1<<(at%64)) != 0 }

// ends visits the places where a match that begins at a place may end, the nearest first, as long as visit wants more.
func (m *regularMachine) ends(text string, at int, back bool, visit func(at int) bool) error {
	m.now.clear()
	m.reach(&m.now, uint32(m.regular.program.Start), at, 0) //nolint:gosec // an instruction
	for len(m.now.order) > 0 {
		r, width := runeAt(text, at)
		next := at + width
		if back {
			r, width = utf8.DecodeLastRuneInString(text[:at])
			next = at - width
		}
		m.next.clear()
		ended := false
		for _, place := range m.now.order {
			instruction := &m.regular.program.Inst[place]
			goesOn := false
			switch instruction.Op {
			case syntax.InstMatch:
				ended = true
			case syntax.InstRune, syntax.InstRune1:
				goesOn = width > 0 && instruction.MatchRune(r)
			case syntax.InstRuneAny:
				goesOn = width > 0
			case syntax.InstRuneAnyNotNL:
				goesOn = width > 0 && r != '\n'
			case syntax.InstAlt, syntax.InstAltMatch, syntax.InstCapture, syntax.InstEmptyWidth, syntax.InstFail, syntax.InstNop:
				// They were followed when they were reached.
			}
			if goesOn {
				m.reach(&m.next, instruction.Out, next, 0)
			}
		}
		if ended && !visit(at) || width == 0 {
			return nil
		}
		m.now, m.next = m.next, m.now
		at = next
		if err := m.took(1 + len(m.next.order)); err != nil {
			return err
		}
	}
	return nil
}

// similarParts divides a pattern at its separators, which are the escape character and a double quote outside of [].
func similarParts(pattern, escape string) ([]string, error) {
	if utf8.RuneCountInString(escape) != 1 {
		return []string{pattern}, nil
	}
	escapeRune, width := utf8.DecodeRuneInString(escape)
	var parts []string
	escaped, inClass, begin := false, false, 0
	for at, r := range pattern {
		switch {
		case escaped:
			escaped = false
			if r != '"' || inClass {
				continue
			}
			if parts = append(parts, pattern[begin:at-width]); len(parts) == 3 {
				return nil, fault.New(fault.InvalidStatement, `the pattern of SUBSTRING has more than two separators %s"`, escape)
			}
			begin = at + 1
		case r == escapeRune:
			escaped = true
		case inClass:
			inClass = r != ']'
		case r == '[':
			inClass = true
		}
	}
	return append(parts, pattern[begin:]), nil
}
