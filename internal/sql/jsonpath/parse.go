package jsonpath

import (
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/cockroachdb/apd/v3"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
)

const (
	// MaxBytes bounds the text of a path; a longer one is refused.
	MaxBytes = 64 << 10
	// MaxDepth bounds how deep brackets, signs and operators are nested; a deeper path is refused.
	MaxDepth = 200
)

// failure ends the parsing of a path.
type failure struct{ err *fault.Error }

func fail(at int, format string, args ...any) {
	args = append(args, at+1)
	panic(failure{fault.New(fault.InvalidStatement, "invalid JSON path: "+format+", at byte %d", args...)})
}

func shorten(text string) string {
	const most = 40
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}

// Parse reads a path. What it refuses is a fault.InvalidStatement, or fault.LimitExceeded.
func Parse(text string, compile Compile) (path *Path, err error) {
	if len(text) > MaxBytes {
		return nil, fault.New(fault.LimitExceeded, "a JSON path of %d bytes exceeds the limit of %d", len(text), MaxBytes)
	}
	if !utf8.ValidString(text) {
		return nil, fault.New(fault.InvalidStatement, "a JSON path must be UTF-8")
	}
	defer func() {
		if broken := recover(); broken != nil {
			failed, ok := broken.(failure)
			if !ok {
				panic(broken)
			}
			path, err = nil, failed.err
		}
	}()
	p := &parser{lexer: lexer{source: text}, compile: compile}
	p.advance()
	path = &Path{strict: p.word("strict")}
	if !path.strict {
		p.word("lax")
	}
	path.root = p.disjunction()
	if p.token.kind != endToken {
		p.unexpected("an operator or the end")
	}
	return path, nil
}

type parser struct {
	lexer     lexer
	token     token
	compile   Compile
	depth     int
	filters   int // open filters, in which @ means something
	subscript int // open subscripts, in which last means something
}

func (p *parser) advance() { p.token = p.lexer.next() }

func (p *parser) unexpected(expected string) {
	if p.token.kind == endToken {
		fail(p.token.at, "the path ends where %s was expected", expected)
	}
	end := max(p.lexer.at, p.token.at+1)
	fail(p.token.at, "unexpected %s, expected %s", shorten(p.lexer.source[p.token.at:end]), expected)
}

func (p *parser) is(symbol string) bool { return p.token.kind == symbolToken && p.token.text == symbol }

func (p *parser) symbol(symbol string) bool {
	if !p.is(symbol) {
		return false
	}
	p.advance()
	return true
}

func (p *parser) expect(symbol string) {
	if !p.symbol(symbol) {
		p.unexpected(strconv.Quote(symbol))
	}
}

// isWord compares a keyword, in any case but for the three that JSON has.
func (p *parser) isWord(word string) bool {
	if p.token.kind != wordToken {
		return false
	}
	switch word {
	case "null", "true", "false":
		return p.token.text == word
	}
	return strings.EqualFold(p.token.text, word)
}

func (p *parser) word(word string) bool {
	if !p.isWord(word) {
		return false
	}
	p.advance()
	return true
}

func (p *parser) enter() {
	if p.depth++; p.depth > MaxDepth {
		panic(failure{fault.New(fault.LimitExceeded, "a JSON path is nested deeper than %d", MaxDepth)})
	}
}

func (p *parser) leave() { p.depth-- }

// predicate asks that what was read is one, or none.
func (p *parser) predicate(n *node, want bool, at int) *node {
	if got := n.isPredicate() && n.next == nil; got != want {
		if want {
			fail(at, "expected a predicate")
		}
		fail(at, "a predicate must be in brackets and be followed by a step to be a value")
	}
	return n
}

// chain nests operators of one precedence to the left.
func (p *parser) disjunction() *node {
	at := p.token.at
	left := p.conjunction()
	for count := 0; p.is("||"); count++ {
		left = &node{kind: orNode, left: p.predicate(left, true, at)}
		p.advance()
		at := p.token.at
		left.right = p.predicate(p.conjunction(), true, at)
	}
	return left
}

func (p *parser) conjunction() *node {
	at := p.token.at
	left := p.comparison()
	for p.is("&&") {
		left = &node{kind: andNode, left: p.predicate(left, true, at)}
		p.advance()
		at := p.token.at
		left.right = p.predicate(p.comparison(), true, at)
	}
	return left
}

func (p *parser) comparison() *node {
	at := p.token.at
	if p.symbol("!") {
		return p.negation(at)
	}
	left := p.sum()
	switch {
	case p.token.kind == symbolToken:
		compare, ok := map[string]kind{
			"==": equalNode, "!=": unequalNode, "<>": unequalNode, "<": lessNode, "<=": lessEqualNode, ">": greaterNode, ">=": greaterEqualNode,
		}[p.token.text]
		if !ok {
			return left
		}
		p.predicate(left, false, at)
		p.advance()
		at = p.token.at
		return &node{kind: compare, left: left, right: p.predicate(p.sum(), false, at)}
	case p.isWord("starts"):
		p.predicate(left, false, at)
		p.advance()
		if !p.word("with") {
			p.unexpected(`"with"`)
		}
		if p.token.kind != textToken && p.token.kind != variableToken {
			p.unexpected("a text or a variable")
		}
		return &node{kind: startsNode, left: left, right: p.scalar()}
	case p.isWord("like_regex"):
		p.predicate(left, false, at)
		return p.regex(left)
	}
	return left
}

// negation reads what follows a !: a predicate in brackets.
func (p *parser) negation(at int) *node {
	p.enter()
	defer p.leave()
	if !p.is("(") && !p.isWord("exists") {
		p.unexpected("a predicate in brackets")
	}
	n := p.predicate(p.primary(), true, at)
	return &node{kind: notNode, left: n}
}

const regexFlags = "ismxq"

func (p *parser) regex(left *node) *node {
	p.advance()
	at := p.token.at
	if p.token.kind != textToken {
		p.unexpected("a regular expression as a text")
	}
	n := &node{kind: regexNode, left: left, text: p.token.text}
	p.advance()
	given := ""
	if p.word("flag") {
		if p.token.kind != textToken {
			p.unexpected("the flags as a text")
		}
		given = p.token.text
		p.advance()
	}
	for _, flag := range given {
		if !strings.ContainsRune(regexFlags, flag) {
			fail(at, "unrecognized flag character %q in LIKE_REGEX predicate", flag)
		}
	}
	for _, flag := range regexFlags {
		if strings.ContainsRune(given, flag) {
			n.flags += string(flag)
		}
	}
	var err error
	if n.pattern, err = compilePattern(n.text, n.flags, p.compile); err != nil {
		panic(failure{fault.New(fault.KindOf(err), "invalid JSON path: %w", err)})
	}
	return n
}

func (p *parser) sum() *node {
	return p.operators(p.product, "+", addNode, "-", subtractNode, "", 0)
}

func (p *parser) product() *node {
	return p.operators(p.signed, "*", multiplyNode, "/", divideNode, "%", remainderNode)
}

// operators reads operands with up to three operators of one precedence between them.
func (p *parser) operators(operand func() *node, a string, kindA kind, b string, kindB kind, c string, kindC kind) *node {
	at := p.token.at
	left := operand()
	for p.token.kind == symbolToken {
		var k kind
		switch p.token.text {
		case a:
			k = kindA
		case b:
			k = kindB
		case c:
			k = kindC
		default:
			return left
		}
		p.predicate(left, false, at)
		p.advance()
		at := p.token.at
		left = &node{kind: k, left: left, right: p.predicate(operand(), false, at)}
	}
	return left
}

func (p *parser) signed() *node {
	k := plusNode
	switch {
	case p.is("-"):
		k = minusNode
	case !p.is("+"):
		return p.primary()
	}
	p.enter()
	defer p.leave()
	p.advance()
	at := p.token.at
	operand := p.predicate(p.signed(), false, at)
	if operand.kind == numberNode && operand.next == nil {
		if k == plusNode {
			return operand
		}
		return &node{kind: numberNode, number: negated(operand.number)}
	}
	return &node{kind: k, left: operand}
}

// primary reads a value and the steps behind it.
func (p *parser) primary() *node {
	p.enter()
	defer p.leave()
	at := p.token.at
	if p.word("exists") {
		p.expect("(")
		inner := p.token.at
		n := &node{kind: existsNode, left: p.predicate(p.disjunction(), false, inner)}
		p.expect(")")
		return n
	}
	if p.symbol("(") {
		n := p.disjunction()
		p.expect(")")
		if p.word("is") {
			if !p.word("unknown") {
				p.unexpected(`"unknown"`)
			}
			return &node{kind: unknownNode, left: p.predicate(n, true, at)}
		}
		return p.steps(n)
	}
	return p.steps(p.scalar())
}

// scalar reads a literal, a variable, or where a path begins.
func (p *parser) scalar() *node {
	t := p.token
	n := &node{text: t.text}
	switch {
	case t.kind == textToken:
		n.kind = textNode
	case t.kind == variableToken:
		n.kind = variableNode
	case t.kind == integerToken, t.kind == numberToken:
		n.kind, n.text, n.number = numberNode, "", p.decimal()
	case p.is("$"):
		n.kind = rootNode
	case p.is("@"):
		if n.kind = currentNode; p.filters == 0 {
			fail(t.at, "@ is not allowed in root expressions")
		}
	case p.isWord("last"):
		if n.kind = lastNode; p.subscript == 0 {
			fail(t.at, "LAST is allowed only in array subscripts")
		}
	case p.isWord("null"):
		n.kind = nullNode
	case p.isWord("true"), p.isWord("false"):
		n.kind, n.truth = boolNode, t.text == "true"
	default:
		p.unexpected("a value")
	}
	if n.kind != textNode && n.kind != variableNode {
		n.text = ""
	}
	p.advance()
	return n
}

func (p *parser) decimal() *apd.Decimal {
	d, _, err := apd.NewFromString(p.token.text)
	if err != nil || len(p.token.text) > datum.MaxDecimalDigits || !datum.BoundDecimal(d) {
		fail(p.token.at, "the number %s is out of range", shorten(p.token.text))
	}
	return d
}

// level reads a level of **{…}.
func (p *parser) level() uint32 {
	if p.word("last") {
		return lastLevel
	}
	level, err := strconv.ParseUint(p.token.text, 10, 32)
	if p.token.kind != integerToken || err != nil || level > math.MaxInt32 {
		p.unexpected("a level")
	}
	p.advance()
	return uint32(level)
}
