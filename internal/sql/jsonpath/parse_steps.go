package jsonpath

import (
	"strings"

	"github.com/kalamdb/kalamdb-go/internal/sql/timeform"
)

// steps reads the accessors behind a value and hangs them to it.
func (p *parser) steps(head *node) *node {
	end := head
	for end.next != nil { // brackets around a whole path
		end = end.next
	}
	for {
		step := p.step()
		if step == nil {
			return head
		}
		end.next = step
		end = step
	}
}

// step reads one accessor, nil when there is none.
func (p *parser) step() *node {
	switch {
	case p.symbol("."):
		return p.named()
	case p.symbol("["):
		return p.elements()
	case p.symbol("?"):
		p.expect("(")
		at := p.token.at
		// last means nothing in a filter that is not in a subscript itself, and there it means what it does outside.
		p.filters++
		n := &node{kind: filterNode, left: p.predicate(p.disjunction(), true, at)}
		p.filters--
		p.expect(")")
		return n
	}
	return nil
}

// named reads what follows a point.
func (p *parser) named() *node {
	t := p.token
	switch {
	case p.symbol("*"):
		return &node{kind: anyKeyNode}
	case p.symbol("**"):
		return p.anyDepth()
	case t.kind == textToken:
		p.advance()
		return &node{kind: keyNode, text: t.text}
	case t.kind != wordToken:
		p.unexpected("a key, a method or *")
	}
	p.advance()
	method, ok := methods[strings.ToLower(t.text)]
	if !ok || !p.symbol("(") {
		return &node{kind: keyNode, text: t.text}
	}
	n := &node{kind: method}
	if method == datetimeNode && p.token.kind == textToken {
		template, err := timeform.Parse(p.token.text)
		if err == nil {
			err = template.Strict()
		}
		if err != nil {
			fail(p.token.at, "%v", err)
		}
		n.text, n.template = p.token.text, template
		p.advance()
	}
	p.expect(")")
	return n
}

// anyDepth reads the levels behind **.
func (p *parser) anyDepth() *node {
	n := &node{kind: anyDepthNode, last: lastLevel}
	if !p.symbol("{") {
		return n
	}
	n.first = p.level()
	n.last = n.first
	if p.word("to") {
		n.last = p.level()
	}
	p.expect("}")
	return n
}

// elements reads the subscripts of an array.
func (p *parser) elements() *node {
	if p.symbol("*") {
		p.expect("]")
		return &node{kind: anyElementNode}
	}
	n := &node{kind: elementsNode}
	p.subscript++
	for {
		r := indexRange{from: p.index()}
		if p.word("to") {
			r.to = p.index()
		}
		n.ranges = append(n.ranges, r)
		if !p.symbol(",") {
			break
		}
	}
	p.subscript--
	p.expect("]")
	return n
}

func (p *parser) index() *node {
	at := p.token.at
	return p.predicate(p.sum(), false, at)
}
