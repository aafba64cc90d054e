package parse

// parser reads one text by recursive descent, with one token in hand. Methods that cannot go on panic with
// a failure, which parseText turns into an error; nothing else may panic.
type parser struct {
	lexer
	token       token
	previousEnd int32 // offset behind the token before the one in hand
	depth       int   // nesting of expressions, queries and statements
	chain       int   // links of left-deep chains in the outermost expression
	parameters  int   // highest parameter of the statement
	tested      Pos   // of the query in hand, or read last, that stands directly within EXISTS
}

// advance takes the next token in hand.
func (p *parser) advance() {
	p.previousEnd = p.token.end
	p.token = p.next()
}

// peek returns the token after the one in hand.
func (p *parser) peek() token {
	ahead := p.lexer
	return ahead.next()
}

// unexpected fails at the token in hand.
func (p *parser) unexpected(expected string) {
	if p.token.kind == tokenEnd {
		failSyntax(p.token.pos, "unexpected end of statement, expected %s", expected)
	}
	raw := p.source[p.token.pos.Offset:p.token.end]
	failSyntax(p.token.pos, `unexpected "%s", expected %s`, shorten(raw), expected)
}

// is reports whether the token in hand is a symbol.
func (p *parser) is(symbol string) bool {
	return p.token.kind == tokenSymbol && p.token.text == symbol
}

// symbol takes a symbol if it is in hand.
func (p *parser) symbol(symbol string) bool {
	if !p.is(symbol) {
		return false
	}
	p.advance()
	return true
}

// expect takes a symbol or fails.
func (p *parser) expect(symbol string) {
	if !p.symbol(symbol) {
		p.unexpected(`"` + symbol + `"`)
	}
}

// isWord reports whether the token in hand is a keyword, given in lower case.
func (p *parser) isWord(keyword string) bool {
	return p.token.kind == tokenWord && sameWord(p.token.text, keyword)
}

// word takes a keyword if it is in hand.
func (p *parser) word(keyword string) bool {
	if !p.isWord(keyword) {
		return false
	}
	p.advance()
	return true
}

// words takes a sequence of two keywords if both are in hand.
func (p *parser) words(first, second string) bool {
	if !p.isWord(first) || !p.peekWord(second) {
		return false
	}
	p.advance()
	p.advance()
	return true
}

// peekWord reports whether the token after the one in hand is a keyword.
func (p *parser) peekWord(keyword string) bool {
	ahead := p.peek()
	return ahead.kind == tokenWord && sameWord(ahead.text, keyword)
}

// peekIs reports whether the token after the one in hand is a symbol.
func (p *parser) peekIs(symbol string) bool {
	ahead := p.peek()
	return ahead.kind == tokenSymbol && ahead.text == symbol
}

// expectWord takes a keyword or fails.
func (p *parser) expectWord(keyword string) {
	if !p.word(keyword) {
		p.unexpected(upper(keyword))
	}
}

// upper writes a keyword as messages and the printer show it.
func upper(keyword string) string {
	shown := []byte(keyword)
	for i, c := range shown {
		if c >= 'a' && c <= 'z' {
			shown[i] = c - ('a' - 'A')
		}
	}
	return string(shown)
}

// enter counts one level of nesting; leave ends it.
func (p *parser) enter() {
	p.depth++
	if p.depth > MaxDepth {
		failLimit(p.token.pos, "the statement is nested deeper than %d levels", MaxDepth)
	}
}

func (p *parser) leave() { p.depth-- }

// link counts one link of a left-deep chain: such a chain makes a tree as deep as it is long.
func (p *parser) link() {
	p.chain++
	if p.chain > MaxChain {
		failLimit(p.token.pos, "the expression has more than %d operators in a row", MaxChain)
	}
}

// another takes the comma behind the item number count of a list and reports whether an item follows. A
// comma before the end of the list is tolerated.
func (p *parser) another(count int) bool {
	if !p.symbol(",") || p.listEnds() {
		return false
	}
	if count >= MaxListItems {
		failLimit(p.token.pos, "the list has more than %d items", MaxListItems)
	}
	return true
}

// listEnds reports whether the token in hand cannot begin an item of a list.
func (p *parser) listEnds() bool {
	switch p.token.kind { //nolint:exhaustive // the others need nothing here
	case tokenEnd:
		return true
	case tokenSymbol:
		return p.token.text == ")" || p.token.text == "]" || p.token.text == ";"
	case tokenWord:
		var buffer wordBuffer
		switch string(buffer.fold(p.token.text)) {
		case "except", "fetch", "from", "group", "having", "intersect", "limit", "on", "order", "returning",
			"union", "using", "where", "window", "with":
			return true
		}
	}
	return false
}

// isName reports whether the token in hand can be a name.
func (p *parser) isName() bool {
	return p.token.kind == tokenQuoted || p.token.kind == tokenWord && !isReserved(p.token.text)
}

// takeName takes the token in hand, a word or quoted identifier, as a name.
func (p *parser) takeName() Ident {
	name := Ident{Pos: p.token.pos, Name: p.token.text}
	if p.token.kind == tokenWord {
		name.Name = foldName(name.Name)
	}
	p.advance()
	return name
}

// name takes a name or fails; what says which one is expected.
func (p *parser) name(what string) Ident {
	if !p.isName() {
		p.unexpected(what)
	}
	return p.takeName()
}

// label takes a name that may be any word, as behind AS or a point.
func (p *parser) label(what string) Ident {
	if p.token.kind != tokenWord && p.token.kind != tokenQuoted {
		p.unexpected(what)
	}
	return p.takeName()
}

// nameOrString takes a name of any word, or a string in its place.
func (p *parser) nameOrString(what string) Ident {
	if p.token.kind == tokenString && p.token.text != "" {
		checkQuoted(p.token.pos, p.token.text)
		name := Ident{Pos: p.token.pos, Name: p.token.text}
		p.advance()
		return name
	}
	return p.label(what)
}

// objectName takes a name of one to three parts. The namespace "default" needs no quotes in front of a point.
func (p *parser) objectName(what string) ObjectName {
	var first Ident
	if p.isWord("default") && p.peekIs(".") {
		first = p.takeName()
	} else {
		first = p.name(what)
	}
	return p.qualified(first, what)
}

// qualified takes the parts behind the first one of a name.
func (p *parser) qualified(first Ident, what string) ObjectName {
	object := ObjectName{Pos: first.Pos, Name: first.Name}
	for parts := 1; p.is("."); parts++ {
		if parts == 3 {
			p.unexpected("a name of at most three parts")
		}
		p.advance()
		object.Catalog, object.Namespace = object.Namespace, object.Name
		object.Name = p.label(what).Name
	}
	return object
}

// dottedName takes words joined by points, in lower case, as the names of options and variables are.
func (p *parser) dottedName(what string) Ident {
	var name Ident
	for {
		part := p.label(what)
		for i := 0; i < len(part.Name); i++ {
			if part.Name[i] == '.' {
				failSyntax(part.Pos, "unexpected point within quotes, expected %s", what)
			}
		}
		if name.Name == "" {
			name = part
		} else {
			name.Name += "." + part.Name
		}
		if len(name.Name) > MaxIdentifierBytes {
			failLimit(part.Pos, "the name is longer than %d bytes", MaxIdentifierBytes)
		}
		if !p.symbol(".") {
			name.Name = foldName(name.Name)
			return name
		}
	}
}

// columnNames takes a list of column names in parentheses.
func (p *parser) columnNames() []Ident {
	p.expect("(")
	list := p.columnList()
	p.expect(")")
	return list
}

// columnList reads names of columns, separated by commas.
func (p *parser) columnList() []Ident {
	const what = "a column name"
	list := []Ident{p.name(what)}
	for p.another(len(list)) {
		list = append(list, p.name(what))
	}
	return list
}
