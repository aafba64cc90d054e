package parse

import "strings"

// expression reads an expression of any strength.
func (p *parser) expression() Expr {
	if p.depth == 0 {
		p.chain = 0
	}
	return p.operand(bindNothing + 1)
}

// operand reads an expression whose operators all bind at least as strongly as given.
func (p *parser) operand(binding int) Expr {
	return p.continued(p.prefix(), binding)
}

// continued extends an expression with the infix and postfix operators that follow it.
func (p *parser) continued(left Expr, binding int) Expr {
	spent := bindAtom + 1 // the strength of a non-associative operator just used; a second one must not follow
	for links := 0; ; links++ {
		strength := p.infixBinding()
		if strength == bindNothing || strength < binding {
			return left
		}
		if strength == spent {
			p.unexpected("parentheses around one of the comparisons")
		}
		spent = bindAtom + 1
		switch strength {
		case bindOr, bindAnd:
			left = p.logical(left, strength)
			continue
		case bindIs, bindComparison, bindPattern:
			spent = strength
		}
		if links > 0 {
			p.link()
		}
		left = p.infix(left, strength)
	}
}

// logical reads a chain of AND or of OR.
func (p *parser) logical(left Expr, strength int) Expr {
	chain := &Logical{Pos: p.token.pos, Or: strength == bindOr}
	if first, ok := left.(*Logical); ok && first.Or == chain.Or {
		chain = first
	} else {
		chain.Operands = append(chain.Operands, left)
	}
	for p.infixBinding() == strength {
		p.advance()
		if len(chain.Operands) >= MaxListItems {
			failLimit(p.token.pos, "the condition has more than %d parts", MaxListItems)
		}
		chain.Operands = append(chain.Operands, p.operand(strength+1))
	}
	return chain
}

// infix reads one operator behind left, and its right operand.
func (p *parser) infix(left Expr, strength int) Expr {
	at := p.token.pos
	if p.token.kind == tokenSymbol {
		operator := Operator(p.token.text)
		p.advance()
		switch operator {
		case "::":
			return &Cast{Pos: at, Expr: left, Type: p.typeName()}
		case "[":
			return p.subscript(at, left)
		}
		return p.binary(at, operator, left, strength+1)
	}
	not := p.word("not")
	var buffer wordBuffer
	switch string(buffer.fold(p.token.text)) {
	case "is":
		p.advance()
		return p.isTest(at, left)
	case "isnull":
		p.advance()
		return &Is{Pos: at, Kind: IsNull, Expr: left}
	case "notnull":
		p.advance()
		return &Is{Pos: at, Kind: IsNull, Not: true, Expr: left}
	case "in":
		p.advance()
		return p.in(at, left, not)
	case "between":
		p.advance()
		return p.between(at, left, not)
	case "overlaps":
		p.advance()
		return p.overlaps(at, left)
	case "at":
		p.advance()
		p.advance()
		p.expectWord("zone")
		zone := p.operand(bindZone + 1)
		return &FuncCall{Pos: at, Name: ObjectName{Pos: at, Name: "timezone"}, Args: []Expr{zone, left}}
	case "operator":
		p.advance()
		return p.qualifiedOperator(at, left)
	case "collate":
		p.advance()
		return &Collate{Pos: at, Expr: left, Collation: p.objectName("the name of a collation")}
	default:
		return p.like(at, left, not)
	}
}

// qualifiedOperator reads what follows OPERATOR: (pg_catalog.~) and the right operand. All such operators bind as those that are not
// listed, whichever they are.
func (p *parser) qualifiedOperator(at Pos, left Expr) Expr {
	p.expect("(")
	if p.isName() && p.peekIs(".") {
		if namespace := p.takeName(); namespace.Name != "pg_catalog" {
			failSyntax(namespace.Pos, "unexpected %q, expected pg_catalog", shorten(namespace.Name))
		}
		p.expect(".")
	}
	if p.token.kind != tokenSymbol || operatorBinding(p.token.text) == bindNothing || operatorBinding(p.token.text) == bindPostfix {
		p.unexpected("an operator")
	}
	operator := Operator(p.token.text)
	p.advance()
	p.expect(")")
	return p.binary(at, operator, left, bindOther+1)
}

// binary reads the right operand of an operator. Those of PostgreSQL that have a name as well become what the name means.
func (p *parser) binary(at Pos, operator Operator, left Expr, strength int) Expr {
	like := &Like{Pos: at, Expr: left}
	switch operator {
	case "~~", "!~~":
		operator, like.Not = "LIKE", operator == "!~~"
	case "~~*", "!~~*":
		operator, like.Not, like.Kind = "ILIKE", operator == "!~~*", LikeFold
	default:
		like = nil
	}
	switch {
	case p.isQuantifier():
		if like != nil && like.Not {
			operator = "NOT " + operator
		}
		return p.quantified(at, operator, left)
	case like != nil:
		like.Pattern = p.operand(strength)
		return like
	case operator == "^@":
		return &FuncCall{Pos: at, Name: ObjectName{Pos: at, Name: "starts_with"}, Args: []Expr{left, p.operand(strength)}}
	}
	return &Binary{Pos: at, Op: operator, Left: left, Right: p.operand(strength)}
}

// overlaps reads the second of the two periods that OVERLAPS compares.
func (p *parser) overlaps(at Pos, left Expr) Expr {
	first, fine := left.(*Row)
	ahead := p.token.pos
	second, also := p.prefix().(*Row)
	switch {
	case !fine || len(first.Elements) != 2:
		failSyntax(at, "unexpected OVERLAPS, expected (start, end) before it")
	case !also || len(second.Elements) != 2:
		failSyntax(ahead, "unexpected expression behind OVERLAPS, expected (start, end)")
	}
	return &FuncCall{Pos: at, Name: ObjectName{Pos: at, Name: "overlaps"}, Args: append(first.Elements[:2:2], second.Elements...)}
}

// isTest reads what follows IS.
func (p *parser) isTest(at Pos, left Expr) Expr {
	not := p.word("not")
	switch {
	case p.word("null"):
		return &Is{Pos: at, Kind: IsNull, Not: not, Expr: left}
	case p.word("true"):
		return &Is{Pos: at, Kind: IsTrue, Not: not, Expr: left}
	case p.word("false"):
		return &Is{Pos: at, Kind: IsFalse, Not: not, Expr: left}
	case p.word("unknown"):
		return &Is{Pos: at, Kind: IsUnknown, Not: not, Expr: left}
	case p.word("distinct"):
		p.expectWord("from")
		return &IsDistinct{Pos: at, Not: not, Left: left, Right: p.operand(bindIs + 1)}
	}
	if test := p.normalized(at, left); test != nil && not {
		return &Not{Pos: at, Expr: test}
	} else if test != nil {
		return test
	}
	p.unexpected("NULL, TRUE, FALSE, UNKNOWN, DISTINCT FROM or NORMALIZED")
	return nil
}

// normalForm takes the name of a form of Unicode if it is in hand.
func (p *parser) normalForm() (form string, found bool) {
	for _, form := range []string{"nfc", "nfd", "nfkc", "nfkd"} {
		if p.word(form) {
			return strings.ToUpper(form), true
		}
	}
	return "NFC", false
}

// normalized reads [NFC|NFD|NFKC|NFKD] NORMALIZED if it is in hand.
func (p *parser) normalized(at Pos, left Expr) Expr {
	form, found := p.normalForm()
	if !p.word("normalized") {
		if found {
			p.unexpected("NORMALIZED")
		}
		return nil
	}
	call := &FuncCall{Pos: at, Name: ObjectName{Pos: at, Name: "is_normalized"}, Args: []Expr{left}}
	if found {
		call.Args = append(call.Args, &StringLiteral{Pos: at, Value: form})
	}
	return call
}

// in reads what follows IN.
func (p *parser) in(at Pos, left Expr, not bool) Expr {
	test := &In{Pos: at, Not: not, Expr: left}
	p.enter()
	defer p.leave()
	p.expect("(")
	value, query := p.valueOrQuery()
	if query == nil {
		test.List = []Expr{value}
		for p.another(len(test.List)) {
			test.List = append(test.List, p.expression())
		}
	} else if test.List = p.listAfterQuery(query); test.List == nil {
		test.Query = query
	}
	p.expect(")")
	return test
}

// listAfterQuery reads the rest of a list that began with a query in parentheses. It returns nil when the
// query is alone.
func (p *parser) listAfterQuery(query *Query) []Expr {
	if !p.is(",") {
		return nil
	}
	list := []Expr{&Subquery{Pos: query.Pos, Query: query}}
	for p.another(len(list)) {
		list = append(list, p.expression())
	}
	if len(list) == 1 {
		return nil
	}
	return list
}

// between reads what follows BETWEEN.
func (p *parser) between(at Pos, left Expr, not bool) Expr {
	test := &Between{Pos: at, Not: not, Expr: left}
	if p.word("symmetric") {
		test.Symmetric = true
	} else {
		p.word("asymmetric")
	}
	test.Low = p.operand(bindPattern + 1)
	p.expectWord("and")
	test.High = p.operand(bindPattern + 1)
	return test
}

// like reads LIKE, ILIKE or SIMILAR TO and what follows.
func (p *parser) like(at Pos, left Expr, not bool) Expr {
	test := &Like{Pos: at, Not: not, Expr: left}
	operator := Operator("LIKE")
	switch {
	case p.word("like"):
	case p.word("ilike"):
		test.Kind, operator = LikeFold, "ILIKE"
	default:
		p.expectWord("similar")
		p.expectWord("to")
		test.Kind = LikeSimilar
	}
	if test.Kind != LikeSimilar && p.isQuantifier() {
		if not {
			operator = "NOT " + operator
		}
		return p.quantified(at, operator, left)
	}
	test.Pattern = p.operand(bindPattern + 1)
	if p.word("escape") {
		test.Escape = p.operand(bindPattern + 1)
	}
	return test
}

// isQuantifier reports whether ANY, SOME or ALL is in hand.
func (p *parser) isQuantifier() bool {
	return p.isWord("any") || p.isWord("some") || p.isWord("all")
}

// quantified reads ANY (..) or ALL (..).
func (p *parser) quantified(at Pos, operator Operator, left Expr) Expr {
	test := &Quantified{Pos: at, Op: operator, All: p.isWord("all"), Left: left}
	p.advance()
	p.enter()
	p.expect("(")
	test.Array, test.Query = p.valueOrQuery()
	p.expect(")")
	p.leave()
	return test
}

// subscript reads what follows [ behind left.
func (p *parser) subscript(at Pos, left Expr) Expr {
	part := &Subscript{Pos: at, Expr: left}
	p.enter()
	defer p.leave()
	if !p.is(":") {
		part.Index = p.expression()
	}
	if p.symbol(":") {
		part.Slice = true
		if !p.is("]") {
			part.High = p.expression()
		}
	}
	p.expect("]")
	return part
}

// valueOrQuery reads what stands behind an opening parenthesis: an expression, or a query. A query within
// further parentheses is a query unless an operator follows it. Nothing is read twice.
func (p *parser) valueOrQuery() (Expr, *Query) {
	if p.beginsQuery() {
		return nil, p.query()
	}
	if !p.is("(") {
		return p.expression(), nil
	}
	p.enter()
	at := p.token.pos
	value, query := p.parenthesised()
	p.leave()
	if query != nil && p.continuesQuery() {
		return nil, p.queryAfter(at, query)
	}
	if query != nil {
		if p.is(")") || p.is(",") {
			return nil, query
		}
		value = &Subquery{Pos: at, Query: query}
	}
	return p.continued(p.fields(value), bindNothing+1), nil
}

// parenthesised reads ( .. ): an expression, a row, or a query.
func (p *parser) parenthesised() (Expr, *Query) {
	at := p.token.pos
	p.expect("(")
	value, query := p.valueOrQuery()
	if query != nil {
		list := p.listAfterQuery(query)
		p.expect(")")
		if list != nil {
			return &Row{Pos: at, Elements: list}, nil
		}
		return nil, query
	}
	if p.is(",") {
		row := &Row{Pos: at, Elements: []Expr{value}}
		for p.another(len(row.Elements)) {
			row.Elements = append(row.Elements, p.expression())
		}
		p.expect(")")
		if len(row.Elements) == 1 {
			return value, nil
		}
		return row, nil
	}
	p.expect(")")
	return value, nil
}
