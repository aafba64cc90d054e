package parse

// tables reads the items of a FROM clause.
func (p *parser) tables() []TableExpr {
	list := []TableExpr{p.joined(p.tableItem())}
	for p.another(len(list)) {
		list = append(list, p.joined(p.tableItem()))
	}
	return list
}

// joined extends a table with the joins that follow it.
func (p *parser) joined(left TableExpr) TableExpr {
	for links := 0; ; links++ {
		join := &Join{Pos: p.token.pos, Left: left}
		if !p.joinWords(join) {
			return left
		}
		if links == MaxBranches {
			failLimit(join.Pos, "the FROM clause has more than %d joins in a row", MaxBranches)
		}
		p.joinOperand(join)
		left = join
	}
}

// joinWords takes the words of a join, or reports that none begins here.
func (p *parser) joinWords(join *Join) bool {
	if p.token.kind != tokenWord {
		return false
	}
	if p.word("cross") {
		p.expectWord("join")
		join.Kind = CrossJoin
		return true
	}
	join.Natural = p.word("natural")
	outer := true
	switch {
	case p.word("left"):
		join.Kind = LeftJoin
	case p.word("right"):
		join.Kind = RightJoin
	case p.word("full"):
		join.Kind = FullJoin
	default:
		outer = false
	}
	switch {
	case outer:
		p.word("outer")
		p.expectWord("join")
		return true
	case p.word("inner") || join.Natural:
		p.expectWord("join")
		return true
	}
	return p.word("join")
}

// joinOperand reads the right table of a join and its condition. Without a condition the next join belongs
// to the right table, as in a JOIN b JOIN c ON .. ON ..
func (p *parser) joinOperand(join *Join) {
	p.enter()
	defer p.leave()
	join.Right = p.tableItem()
	if join.Kind == CrossJoin || join.Natural {
		return
	}
	if !p.isWord("on") && !p.isWord("using") {
		join.Right = p.joined(join.Right)
	}
	switch {
	case p.word("on"):
		join.On = p.expression()
	case p.word("using"):
		join.Using = p.columnNames()
	default:
		p.unexpected("ON or USING")
	}
}

// tableItem reads one table, subquery, table function or parenthesised join.
func (p *parser) tableItem() TableExpr {
	at := p.token.pos
	lateral := p.word("lateral")
	if p.is("(") {
		table, query := p.tableInParentheses()
		if query != nil {
			return p.subqueryRef(at, lateral, query)
		}
		if lateral {
			failSyntax(at, `unexpected "LATERAL" before a join, expected a query or a function behind it`)
		}
		return table
	}
	if isNiladic(p.token.text) && p.token.kind == tokenWord {
		return p.functionRef(at, lateral, p.qualified(p.takeName(), "a name"))
	}
	if p.isWord("rows") && p.peekWord("from") {
		failUnsupported(at, refusedRows)
	}
	name := p.objectName("the name of a table")
	if p.is("(") {
		return p.functionRef(at, lateral, name)
	}
	if lateral {
		p.unexpected(`"("`)
	}
	table := &TableRef{Pos: name.Pos, Name: name, Alias: p.alias()}
	if p.isWord("tablesample") {
		failUnsupported(p.token.pos, refusedSample)
	}
	return table
}

// functionRef reads the call of a table function and its alias.
func (p *parser) functionRef(at Pos, lateral bool, name ObjectName) TableExpr {
	p.enter()
	defer p.leave()
	reference := &FunctionRef{Pos: at, Lateral: lateral}
	call, ok := p.call(name).(*FuncCall)
	if !ok || call.Over != nil || call.Filter != nil || call.WithinGroup != nil {
		failSyntax(name.Pos, "unexpected clause behind the function, expected a table function")
	}
	reference.Call = call
	reference.Ordinality = p.words("with", "ordinality")
	if p.isWord("as") && p.peekIs("(") {
		failUnsupported(p.token.pos, refusedTypes)
	}
	reference.Alias = p.alias()
	return reference
}

// subqueryRef reads the alias of a query in FROM.
func (p *parser) subqueryRef(at Pos, lateral bool, query *Query) TableExpr {
	return &SubqueryRef{Pos: at, Lateral: lateral, Query: query, Alias: p.alias()}
}

// tableInParentheses reads ( .. ) in FROM: a join, or a query. A query in further parentheses is a query
// unless an alias or a join follows it. Nothing is read twice.
func (p *parser) tableInParentheses() (TableExpr, *Query) {
	p.enter()
	defer p.leave()
	p.expect("(")
	at := p.token.pos
	var table TableExpr
	switch {
	case p.beginsQuery():
		query := p.query()
		p.expect(")")
		return nil, query
	case p.is("("):
		inner, query := p.tableInParentheses()
		if query != nil && p.continuesQuery() {
			query = p.queryAfter(at, query)
			p.expect(")")
			return nil, query
		}
		if query != nil && p.symbol(")") {
			return nil, query
		}
		if query != nil {
			inner = p.subqueryRef(at, false, query)
		}
		table = p.joined(inner)
	default:
		table = p.joined(p.tableItem())
	}
	p.expect(")")
	return table, nil
}

// alias reads [AS] name [(columns)].
func (p *parser) alias() TableAlias {
	var name Ident
	switch {
	case p.word("as"):
		name = p.name("an alias")
	case p.isAlias():
		name = p.takeName()
	default:
		return TableAlias{}
	}
	alias := TableAlias{Pos: name.Pos, Name: name.Name}
	if p.is("(") {
		p.advance()
		alias.Columns = p.columnList()
		if p.isName() {
			failUnsupported(p.token.pos, refusedTypes)
		}
		p.expect(")")
	}
	return alias
}
