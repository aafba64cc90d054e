package jsonpath

import (
	"errors"
	"regexp"
	"strings"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
)

// truth is what a predicate is: SQL/JSON has three values.
type truth uint8

const (
	no truth = iota
	yes
	unknown
)

func truthOf(b bool) truth {
	if b {
		return yes
	}
	return no
}

func (t truth) item() Item {
	if t == unknown {
		return nullItem()
	}
	return boolItem(t == yes)
}

// nested evaluates the predicate of a filter, in which @ is an item.
func (e *evaluation) nested(n *node, i Item) (truth, error) {
	saved := e.current
	e.current = i
	t, err := e.predicate(n, i)
	e.current = saved
	return t, err
}

func (e *evaluation) predicate(n *node, i Item) (truth, error) {
	if err := e.step(); err != nil {
		return unknown, err
	}
	switch n.kind { //nolint:exhaustive // comparisons and patterns are below
	case andNode, orNode:
		decided := truthOf(n.kind == orNode)
		left, err := e.predicate(n.left, i)
		if err != nil || left == decided {
			return left, err
		}
		right, err := e.predicate(n.right, i)
		if err != nil || right == decided || left != unknown {
			return right, err
		}
		return unknown, nil
	case notNode:
		t, err := e.predicate(n.left, i)
		if t == unknown {
			return unknown, err
		}
		return truthOf(t == no), err
	case unknownNode:
		t, err := e.predicate(n.left, i)
		return truthOf(t == unknown), err
	case existsNode:
		found := no
		err := e.item(n.left, i, func(Item) (bool, error) {
			found = yes
			return e.strict, nil
		})
		return settle(found, err)
	}
	return e.pairs(n, i)
}

// settle makes a predicate of an evaluation: unknown when the document did not fit.
func settle(t truth, err error) (truth, error) {
	switch {
	case err == nil, errors.Is(err, errEnough):
		return t, nil
	case isRefusal(err):
		return unknown, nil
	}
	return unknown, err
}

// pairs holds every item of the left operand against every one of the right one. In lax mode the first pair decides that is true, in strict
// mode one that is unknown.
func (e *evaluation) pairs(n *node, i Item) (truth, error) {
	left, err := e.collect(n.left, i, true)
	if err != nil {
		return settle(unknown, err)
	}
	right := []Item{{}}
	if n.right != nil {
		if right, err = e.collect(n.right, i, n.kind != startsNode); err != nil {
			return settle(unknown, err)
		}
	}
	result, doubt := no, false
	for _, l := range left {
		for _, r := range right {
			if err := e.step(); err != nil {
				return unknown, err
			}
			t, err := e.pair(n, l, r)
			switch {
			case err != nil:
				return unknown, err
			case t == unknown && e.strict:
				return unknown, nil
			case t == unknown:
				doubt = true
			case t == yes && !e.strict:
				return yes, nil
			case t == yes:
				result = yes
			}
		}
	}
	if doubt {
		return unknown, nil
	}
	return result, nil
}

// collect keeps what an operand leads to; with unwrap the elements of arrays in their place, in lax mode.
func (e *evaluation) collect(n *node, i Item, unwrap bool) ([]Item, error) {
	var items []Item
	keep := func(_ []byte, i Item) error {
		if len(items) == maxKept {
			return fault.New(fault.LimitExceeded, "an operand of a JSON path has more than %d items", maxKept)
		}
		items = append(items, i)
		return nil
	}
	err := e.item(n, i, func(i Item) (bool, error) {
		if unwrap && !e.strict && i.kind() == arrayValue {
			return true, e.parts(i, keep)
		}
		return true, keep(nil, i)
	})
	return items, err
}

func (e *evaluation) pair(n *node, l, r Item) (truth, error) {
	switch n.kind { //nolint:exhaustive // the others compare
	case startsNode:
		if l.kind() != textValue || r.kind() != textValue {
			return unknown, nil
		}
		return truthOf(strings.HasPrefix(l.text(e.Walk), r.text(e.Walk))), e.Walk.Err
	case regexNode:
		if l.kind() != textValue {
			return unknown, nil
		}
		found, err := e.Match(n.pattern, l.text(e.Walk))
		return truthOf(found), err
	}
	order, ordered, err := e.compare(l, r)
	switch {
	case err != nil:
		return unknown, err
	case !ordered:
		if l.kind() != r.kind() && (l.kind() == nullValue || r.kind() == nullValue) {
			return truthOf(n.kind == unequalNode), nil
		}
		return unknown, nil
	}
	switch n.kind { //nolint:exhaustive // the comparisons
	case equalNode:
		return truthOf(order == 0), nil
	case unequalNode:
		return truthOf(order != 0), nil
	case lessNode:
		return truthOf(order < 0), nil
	case lessEqualNode:
		return truthOf(order <= 0), nil
	case greaterNode:
		return truthOf(order > 0), nil
	}
	return truthOf(order >= 0), nil
}

// compare orders two items of one kind; containers have no order.
func (e *evaluation) compare(l, r Item) (order int, ordered bool, err error) {
	if l.kind() != r.kind() {
		return 0, false, nil
	}
	switch l.kind() {
	case nullValue:
		return 0, true, nil
	case boolValue:
		return datum.Compare(datum.NewBool(l.truth()), datum.NewBool(r.truth())), true, nil
	case numberValue:
		a, b := l.number(), r.number()
		if a == nil || b == nil {
			return 0, false, numberFault()
		}
		return a.Cmp(b), true, nil
	case textValue:
		return strings.Compare(l.text(e.Walk), r.text(e.Walk)), true, e.Walk.Err
	case timeValue:
		return e.compareTimes(l.made.time, r.made.time)
	case objectValue, arrayValue:
	}
	return 0, false, nil
}

// compilePattern reads the regular expression of a like_regex with its flags.
func compilePattern(pattern, flags string, compile Compile) (any, error) {
	has := func(flag string) bool { return strings.Contains(flags, flag) }
	if has("q") {
		pattern = regexp.QuoteMeta(pattern)
		return compile(pattern, has("i"))
	}
	if has("x") {
		return nil, fault.New(fault.Unsupported, `XQuery "x" flag (expanded regular expressions) is not implemented`)
	}
	prefix := ""
	if has("m") {
		prefix = "m"
	}
	if !has("s") {
		prefix += "-s" // a point is no line feed
	}
	if prefix != "" {
		pattern = "(?" + prefix + ":" + pattern + ")"
	}
	return compile(pattern, has("i"))
}
