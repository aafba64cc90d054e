package jsonpath

import (
	"strconv"
	"strings"

	"github.com/kalamdb/kalamdb-go/internal/datum"
)

// String prints the path in PostgreSQL's canonical form. It parses to the same path.
func (p *Path) String() string {
	var w printer
	if p.strict {
		w.out.WriteString("strict ")
	}
	w.print(p.root, true)
	return w.out.String()
}

type printer struct{ out strings.Builder }

// priority orders operators by how closely they bind.
func priority(k kind) int {
	switch k { //nolint:exhaustive // the kinds not named bind closest
	case orNode:
		return 0
	case andNode:
		return 1
	case equalNode, unequalNode, lessNode, lessEqualNode, greaterNode, greaterEqualNode, startsNode, regexNode:
		return 2
	case addNode, subtractNode:
		return 3
	case multiplyNode, divideNode, remainderNode:
		return 4
	case plusNode, minusNode:
		return 5
	}
	return 6
}

// print writes a node and the steps behind it.
func (w *printer) print(n *node, brackets bool) {
	for inPath := false; n != nil; n = n.next {
		w.one(n, inPath, brackets || n.next != nil)
		inPath, brackets = true, true
	}
}

func (w *printer) one(n *node, inPath, brackets bool) {
	switch n.kind { //nolint:exhaustive // all others are accessors
	case nullNode:
		w.out.WriteString("null")
	case boolNode:
		w.out.WriteString(strconv.FormatBool(n.truth))
	case numberNode:
		w.bracketed(n.next != nil, func() { w.out.WriteString(n.number.Text('f')) })
	case textNode:
		w.text(n.text)
	case variableNode:
		w.out.WriteByte('$')
		w.text(n.text)
	case rootNode:
		w.out.WriteByte('$')
	case currentNode:
		w.out.WriteByte('@')
	case lastNode:
		w.out.WriteString("last")
	case plusNode, minusNode:
		w.bracketed(brackets, func() {
			w.out.WriteString(symbols[n.kind])
			w.operand(n.left, n)
		})
	case notNode:
		w.out.WriteString("!(")
		w.print(n.left, false)
		w.out.WriteByte(')')
	case unknownNode:
		w.bracketed(n.next != nil, func() {
			w.out.WriteByte('(')
			w.print(n.left, false)
			w.out.WriteString(") is unknown")
		})
	case existsNode:
		w.bracketed(n.next != nil, func() {
			w.out.WriteString("exists (")
			w.print(n.left, false)
			w.out.WriteByte(')')
		})
	case regexNode:
		w.bracketed(brackets, func() {
			w.operand(n.left, n)
			w.out.WriteString(" like_regex ")
			w.text(n.text)
			if n.flags != "" {
				w.out.WriteString(` flag "` + n.flags + `"`)
			}
		})
	case orNode, andNode, equalNode, unequalNode, lessNode, lessEqualNode, greaterNode, greaterEqualNode, startsNode, addNode, subtractNode,
		multiplyNode, divideNode, remainderNode:
		w.bracketed(brackets, func() {
			w.operand(n.left, n)
			w.out.WriteString(" " + symbols[n.kind] + " ")
			w.operand(n.right, n)
		})
	default:
		w.step(n, inPath)
	}
}

func (w *printer) bracketed(brackets bool, write func()) {
	if brackets {
		w.out.WriteByte('(')
	}
	write()
	if brackets {
		w.out.WriteByte(')')
	}
}

func (w *printer) operand(n, operator *node) {
	w.print(n, priority(n.kind) <= priority(operator.kind))
}

func (w *printer) text(text string) { w.out.Write(datum.AppendJSONString(nil, text)) }

// step writes an accessor.
func (w *printer) step(n *node, inPath bool) {
	point := func() {
		if inPath {
			w.out.WriteByte('.')
		}
	}
	switch n.kind { //nolint:exhaustive // the others are methods
	case keyNode:
		point()
		w.text(n.text)
	case anyKeyNode:
		point()
		w.out.WriteByte('*')
	case anyElementNode:
		w.out.WriteString("[*]")
	case elementsNode:
		for i, r := range n.ranges {
			w.out.WriteByte("[,"[min(i, 1)])
			w.print(r.from, false)
			if r.to != nil {
				w.out.WriteString(" to ")
				w.print(r.to, false)
			}
		}
		w.out.WriteByte(']')
	case anyDepthNode:
		point()
		w.out.WriteString("**")
		if n.first == 0 && n.last == lastLevel {
			return
		}
		w.out.WriteString("{" + levelText(n.first))
		if n.first != n.last {
			w.out.WriteString(" to " + levelText(n.last))
		}
		w.out.WriteByte('}')
	case filterNode:
		w.out.WriteString("?(")
		w.print(n.left, false)
		w.out.WriteByte(')')
	default:
		w.out.WriteString("." + methodName(n.kind) + "(")
		if n.template != nil {
			w.text(n.text)
		}
		w.out.WriteByte(')')
	}
}

func levelText(level uint32) string {
	if level == lastLevel {
		return "last"
	}
	return strconv.FormatUint(uint64(level), 10)
}
