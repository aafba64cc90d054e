package expr

import (
	"regexp/syntax"
	"strings"
	"unicode/utf8"

	"github.com/kalamdb/kalamdb-go/internal/sql/jsontext"
)

// stepsBetweenLooks is after how many steps a matcher looks whether its statement goes on: well below a millisecond.
const stepsBetweenLooks = 1 << 14

// skippedPerStep is how many characters are skipped in the time of a step.
const skippedPerStep = 16

// regularMachine follows all ways through a program at once, the preferred one first, one character at a time. What it does is
// bounded by the length of the text times the size of the program.
type regularMachine struct {
	regular   *regular
	ctx       *EvalContext
	now, next ways
	slots     int   // of positions for each way: twice the groups, or none
	scratch   []int // the positions of the way in hand
	steps     int
}

// ways are the places in a program that were reached with the text so far. Each is there once: by the way that is preferred.
type ways struct {
	order     []uint32 // the preferred first
	place     []uint32 // by instruction: where it is in order, if it is there
	positions []int
}

func (w *ways) has(at uint32) bool {
	place := w.place[at]
	return int(place) < len(w.order) && w.order[place] == at
}

func newRegularMachine(r *regular, ctx *EvalContext, slots int) *regularMachine {
	size := len(r.program.Inst)
	m := &regularMachine{regular: r, ctx: ctx, slots: slots, scratch: make([]int, slots)}
	for _, w := range []*ways{&m.now, &m.next} {
		w.order, w.place = make([]uint32, 0, size), make([]uint32, size)
	}
	return m
}

// find returns the first match from a place on: its positions, or an empty list when none are asked for; nil when there is none.
func (m *regularMachine) find(text string, from int) (match []int, err error) {
	m.now.clear()
	before := rune(-1)
	if from > 0 {
		before, _ = utf8.DecodeLastRuneInString(text[:from])
	}
	for at := from; ; {
		if len(m.now.order) == 0 {
			if match != nil || m.regular.atStart && at > 0 {
				return match, nil
			}
			if skip := m.skip(text, at); skip > 0 {
				at += skip
				if err = m.took(skip / skippedPerStep); err != nil {
					return nil, err
				}
				before, _ = utf8.DecodeLastRuneInString(text[:at])
			}
		}
		current, width := runeAt(text, at)
		if match == nil {
			for i := range m.scratch {
				m.scratch[i] = -1
			}
			if m.slots > 0 {
				m.scratch[0] = at
			}
			m.reach(&m.now, uint32(m.regular.program.Start), at, syntax.EmptyOpContext(before, current)) //nolint:gosec // an instruction
		}
		behind, _ := runeAt(text, at+width)
		match = m.step(match, at, at+width, current, syntax.EmptyOpContext(current, behind))
		if width == 0 || match != nil && m.slots == 0 {
			return match, nil
		}
		m.now, m.next = m.next, m.now
		m.next.clear()
		before, at = current, at+width
		if err = m.took(1 + len(m.now.order)); err != nil {
			return nil, err
		}
	}
}

// took counts steps and looks whether the statement goes on.
func (m *regularMachine) took(steps int) error {
	if m.steps += steps; m.steps < stepsBetweenLooks {
		return nil
	}
	m.steps = 0
	return m.ctx.stopped()
}

// skip is how far the next match is away at least; at most a piece, so that there is a look at the statement meanwhile.
func (m *regularMachine) skip(text string, at int) int {
	if m.regular.prefix == "" {
		return 0
	}
	piece, _ := jsontext.PieceOf(text[at:])
	near := text[at:min(len(text), at+len(piece)+len(m.regular.prefix))]
	if next := strings.Index(near, m.regular.prefix); next >= 0 {
		return next
	}
	return len(piece)
}

func runeAt(text string, at int) (r rune, width int) {
	if at >= len(text) {
		return -1, 0
	}
	return utf8.DecodeRuneInString(text[at:])
}

func (w *ways) clear() { w.order, w.positions = w.order[:0], w.positions[:0] }

// step takes every way over one character. A way that is at its end is the match, unless a way that is preferred ends later.
func (m *regularMachine) step(match []int, at, next int, current rune, condition syntax.EmptyOp) []int {
	for i, place := range m.now.order {
		m.steps++
		instruction := &m.regular.program.Inst[place]
		goesOn := false
		switch instruction.Op {
		case syntax.InstMatch:
			match = append([]int{}, m.now.positionsOf(i, m.slots)...)
			if m.slots > 0 {
				match[1] = at
			}
			return match
		case syntax.InstRune, syntax.InstRune1:
			goesOn = current >= 0 && instruction.MatchRune(current)
		case syntax.InstRuneAny:
			goesOn = current >= 0
		case syntax.InstRuneAnyNotNL:
			goesOn = current >= 0 && current != '\n'
		case syntax.InstAlt, syntax.InstAltMatch, syntax.InstCapture, syntax.InstEmptyWidth, syntax.InstFail, syntax.InstNop:
			// They were followed when they were reached.
		}
		if goesOn {
			copy(m.scratch, m.now.positionsOf(i, m.slots))
			m.reach(&m.next, instruction.Out, next, condition)
		}
	}
	return match
}

func (w *ways) positionsOf(i, slots int) []int { return w.positions[i*slots : (i+1)*slots] }

// reach notes a place in the program and follows it to where a character is needed, preferred ways first.
func (m *regularMachine) reach(to *ways, place uint32, at int, condition syntax.EmptyOp) {
	for !to.has(place) {
		m.steps++
		to.place[place] = uint32(len(to.order)) //nolint:gosec // not more than there are instructions
		to.order = append(to.order, place)
		to.positions = append(to.positions, m.scratch...)
		instruction := &m.regular.program.Inst[place]
		switch instruction.Op {
		case syntax.InstAlt, syntax.InstAltMatch:
			m.reach(to, instruction.Out, at, condition)
			place = instruction.Arg
		case syntax.InstNop:
			place = instruction.Out
		case syntax.InstEmptyWidth:
			if syntax.EmptyOp(instruction.Arg)&^condition != 0 { //nolint:gosec // a set of few bits
				return
			}
			place = instruction.Out
		case syntax.InstCapture:
			slot := int(instruction.Arg)
			if slot >= m.slots {
				place = instruction.Out
				continue
			}
			former := m.scratch[slot]
			m.scratch[slot] = at
			m.reach(to, instruction.Out, at, condition)
			m.scratch[slot] = former
			return
		case syntax.InstFail, syntax.InstMatch, syntax.InstRune, syntax.InstRune1, syntax.InstRuneAny, syntax.InstRuneAnyNotNL:
			return
		}
	}
}
