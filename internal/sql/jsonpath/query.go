package jsonpath

import (
	"bytes"
	"errors"

	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/sql/jsontext"
)

const (
	// MaxSteps bounds the items that one evaluation goes over; more are refused.
	MaxSteps = 20_000_000
	// maxKept bounds the items that an evaluation keeps to compare or to unwrap them; more are refused.
	maxKept = 200_000
	// stepBytes is what a step counts for the statement's pace.
	stepBytes = 64
)

// Options are what an evaluation takes from its surroundings.
type Options struct {
	// Walk goes through the documents, and stops with the statement.
	Walk *jsontext.Walk
	// Variables is an object with the values of variables; nil is none.
	Variables []byte
	// Match tells whether a text matches what Compile made.
	Match func(pattern any, text string) (bool, error)
	// Zones allows comparisons between times with and without a zone, which are then in UTC.
	Zones bool
	// Steps bounds the items that the evaluation goes over, when that is less than MaxSteps; zero is MaxSteps.
	Steps int
}

// Visit is given an item and says whether to go on.
type Visit func(Item) (more bool, err error)

// refusal is an error of a path that does not fit its document: predicates make it unknown, and silent calls end with it.
type refusal struct{ err *fault.Error }

func (r *refusal) Error() string { return r.err.Message }

func (r *refusal) Unwrap() error { return r.err }

func refuse(format string, args ...any) error {
	return &refusal{fault.New(fault.InvalidStatement, format, args...)}
}

func isRefusal(err error) bool {
	_, ok := errors.AsType[*refusal](err)
	return ok
}

// errEnough ends an evaluation whose visitor has enough.
var errEnough = errors.New("enough")

// Query goes through a valid document and gives what the path leads to. refused says that the error comes from the document not fitting the
// path, which silent calls overlook; what was given before it stays given.
func (p *Path) Query(document []byte, options Options, visit Visit) (refused bool, err error) {
	e := &evaluation{Options: options, strict: p.strict, strictNow: p.strict, root: pieceItem(document), size: -1, nextID: 1}
	e.current, e.base = e.root, base{document: e.root.written}
	if options.Variables != nil {
		e.nextID = 2
	}
	if e.Steps == 0 {
		e.Steps = MaxSteps
	}
	err = e.item(p.root, e.root, visit)
	if errors.Is(err, errEnough) {
		err = nil
	}
	if err == nil {
		err = e.Walk.Err
	}
	return isRefusal(err), err
}

// Exists reports whether a path leads anywhere. In strict mode all of it is evaluated.
func (p *Path) Exists(document []byte, options Options) (exists, refused bool, err error) {
	refused, err = p.Query(document, options, func(Item) (bool, error) {
		exists = true
		return p.strict, nil
	})
	return exists, refused, err
}

// base is the object from which keyvalue() counts its ids.
type base struct {
	id       int64
	document []byte
}

// evaluation is one run of a path. It belongs to one goroutine.
type evaluation struct {
	Options
	strict    bool // the mode
	strictNow bool // whether a missing member or element is an error, here and now
	root      Item
	current   Item // what @ is
	base      base
	nextID    int64
	size      int // of the innermost array whose subscripts are evaluated, -1 outside
	steps     int
}

// step counts the work.
func (e *evaluation) step() error {
	if e.steps++; e.steps > e.Steps {
		return fault.New(fault.LimitExceeded, "a JSON path went over more than %d items", e.Steps)
	}
	if !e.Walk.Went(stepBytes) {
		return e.Walk.Err
	}
	return nil
}

// item evaluates a step on an item, and all steps behind it. Accessors go through arrays first in lax mode.
func (e *evaluation) item(n *node, i Item, visit Visit) error {
	return e.unwrapping(n, i, !e.strict, visit)
}

// following evaluates the steps behind a node on what it gave.
func (e *evaluation) following(n *node, i Item, visit Visit) error {
	if n.next != nil {
		return e.item(n.next, i, visit)
	}
	return e.give(i, visit)
}

func (e *evaluation) give(i Item, visit Visit) error {
	more, err := visit(i)
	if err == nil && !more {
		return errEnough
	}
	return err
}

func (e *evaluation) unwrapping(n *node, i Item, unwrap bool, visit Visit) error {
	if err := e.step(); err != nil {
		return err
	}
	if n.isPredicate() {
		truth, err := e.predicate(n, i)
		if err != nil {
			return err
		}
		return e.following(n, truth.item(), visit)
	}
	switch n.kind { //nolint:exhaustive // predicates are above, and the others methods
	case nullNode, boolNode, numberNode, textNode, lastNode:
		return e.following(n, e.literal(n), visit)
	case variableNode:
		return e.variable(n, visit)
	case rootNode:
		saved := e.base
		e.base = base{document: e.root.written}
		err := e.following(n, e.root, visit)
		e.base = saved
		return err
	case currentNode:
		return e.following(n, e.current, visit)
	case addNode, subtractNode, multiplyNode, divideNode, remainderNode:
		return e.compute(n, i, visit)
	case plusNode, minusNode:
		return e.sign(n, i, visit)
	case anyElementNode, elementsNode, anyDepthNode:
		return e.accessor(n, i, visit)
	}
	if unwrap && i.kind() == arrayValue && n.kind != typeNode && n.kind != sizeNode {
		return e.parts(i, func(_ []byte, part Item) error { return e.unwrapping(n, part, false, visit) })
	}
	switch n.kind { //nolint:exhaustive // the others are methods
	case keyNode, anyKeyNode:
		return e.member(n, i, visit)
	case filterNode:
		truth, err := e.nested(n.left, i)
		if err != nil || truth != yes {
			return err
		}
		return e.following(n, i, visit)
	}
	return e.method(n, i, visit)
}

func (e *evaluation) literal(n *node) Item {
	switch n.kind { //nolint:exhaustive // the kinds of literals
	case boolNode:
		return boolItem(n.truth)
	case numberNode:
		return numberItem(n.number)
	case textNode:
		return textItem(n.text)
	case lastNode:
		return wholeItem(int64(e.size - 1))
	}
	return nullItem()
}

// variable gives a member of the object of variables. One that is missing is an error that nothing overlooks.
func (e *evaluation) variable(n *node, visit Visit) error {
	value, ok := e.Walk.Member(e.Variables, n.text)
	if !ok {
		return fault.New(fault.InvalidStatement, "could not find jsonpath variable %q", n.text)
	}
	saved := e.base
	e.base = base{id: 1, document: value}
	err := e.following(n, pieceItem(value), visit)
	e.base = saved
	return err
}

// parts goes through the elements or the values of an item that has some.
func (e *evaluation) parts(i Item, visit func(key []byte, part Item) error) error {
	if !i.isContainer() {
		return nil
	}
	var last map[string]int // where the member stands that counts, by its key
	if i.written[0] == '{' {
		last = e.repeated(i)
	}
	var err error
	at := -1
	e.Walk.EachPart(i.written, func(key, value []byte) bool {
		at++
		if err = e.step(); err != nil || last != nil && last[e.Walk.Text(key)] != at {
			return err == nil
		}
		err = visit(key, pieceItem(value))
		return err == nil
	})
	if err == nil {
		err = e.Walk.Err
	}
	return err
}

// repeated says where the last member with each key stands, nil when no key is there twice.
func (e *evaluation) repeated(i Item) map[string]int {
	const few = 8
	var keys [few][]byte
	count, plain := 0, true
	e.Walk.EachPart(i.written, func(key, _ []byte) bool {
		for _, other := range keys[:min(count, few)] {
			plain = plain && !bytes.Equal(key, other)
		}
		if plain = plain && count < few && bytes.IndexByte(key, '\\') < 0; plain {
			keys[count] = key
		}
		count++
		return plain
	})
	if plain {
		return nil
	}
	last, at := map[string]int{}, 0
	e.Walk.EachPart(i.written, func(key, _ []byte) bool {
		last[e.Walk.Text(key)] = at
		at++
		return e.step() == nil
	})
	if len(last) == at {
		return nil
	}
	return last
}

// lenient runs something for which missing members and elements are no errors.
func (e *evaluation) lenient(run func() error) error {
	saved := e.strictNow
	e.strictNow = false
	err := run()
	e.strictNow = saved
	return err
}
