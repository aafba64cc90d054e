package parse

// withStatement reads a statement that begins with WITH: a query, or a change of rows.
func (p *parser) withStatement() Statement {
	at := p.token.pos
	with := p.with()
	if changes := with.change(); changes != nil {
		return &WithChanges{Pos: at, With: with, Main: p.behindWith(p.token.pos, nil)}
	}
	return p.behindWith(at, with)
}

// behindWith reads what stands behind WITH: a query, or a change of rows.
func (p *parser) behindWith(at Pos, with *With) Statement {
	switch {
	case p.isWord("insert"):
		return p.insert(at, with)
	case p.isWord("update"):
		return p.update(at, with)
	case p.isWord("delete"):
		return p.deletion(at, with)
	}
	query := &Query{Pos: at, With: with}
	p.queryRest(query, p.setOperations(p.queryOperand(), bindUnion))
	return query
}

// insert reads INSERT.
func (p *parser) insert(at Pos, with *With) Statement {
	insert := &Insert{Pos: at, With: with}
	p.advance()
	p.expectWord("into")
	insert.Table = p.objectName("the name of a table")
	if p.word("as") {
		insert.Alias = p.name("an alias").Name
	}
	if p.is("(") && !p.parenthesisedQuery() {
		insert.Columns = p.columnNames()
	}
	switch {
	case p.words("default", "values"):
	case p.isWord("values") || p.beginsQuery() || p.is("("):
		insert.Source = p.query()
	default:
		p.unexpected("VALUES, SELECT or DEFAULT VALUES")
	}
	if p.word("on") {
		insert.OnConflict = p.onConflict()
	}
	insert.Returning = p.returning()
	return insert
}

// parenthesisedQuery reports whether the parenthesis in hand opens a query rather than a list of names.
func (p *parser) parenthesisedQuery() bool {
	ahead := p.lexer
	for {
		next := ahead.next()
		switch {
		case next.kind == tokenSymbol && next.text == "(":
		case next.kind == tokenWord:
			return sameWord(next.text, "select") || sameWord(next.text, "with") || sameWord(next.text, "values") &&
				isOpening(ahead.next())
		default:
			return false
		}
	}
}

// isOpening reports whether a token is an opening parenthesis.
func isOpening(t token) bool { return t.kind == tokenSymbol && t.text == "(" }

// onConflict reads what follows ON in an INSERT.
func (p *parser) onConflict() *OnConflict {
	conflict := &OnConflict{Pos: p.token.pos}
	p.expectWord("conflict")
	switch {
	case p.is("("):
		conflict.Columns = p.columnNames()
		conflict.TargetWhere = p.where()
	case p.word("on"):
		p.expectWord("constraint")
		conflict.Constraint = p.name("the name of a constraint").Name
	}
	p.expectWord("do")
	if p.word("nothing") {
		return conflict
	}
	if !p.word("update") {
		p.unexpected("NOTHING or UPDATE")
	}
	p.expectWord("set")
	conflict.Set = p.assignments()
	conflict.Where = p.where()
	return conflict
}

// returning reads RETURNING if it is in hand.
func (p *parser) returning() []SelectItem {
	if !p.word("returning") {
		return nil
	}
	return p.selectItems()
}

// assignments reads the list behind SET.
func (p *parser) assignments() []Assignment {
	list := []Assignment{p.assignment()}
	for p.another(len(list)) {
		list = append(list, p.assignment())
	}
	return list
}

// assignment reads column = value or (columns) = value.
func (p *parser) assignment() Assignment {
	assignment := Assignment{Pos: p.token.pos}
	if p.is("(") {
		assignment.Tuple = true
		assignment.Columns = p.columnNames()
		p.expect("=")
		assignment.Value = p.tupleValue()
		return assignment
	}
	assignment.Columns = []Ident{p.name("a column name")}
	p.expect("=")
	assignment.Value = p.assignable()
	return assignment
}

// tupleValue reads the value of several columns: a row, in which DEFAULT may stand, or an expression.
func (p *parser) tupleValue() Expr {
	at := p.token.pos
	if p.isWord("row") && p.peekIs("(") {
		p.advance()
	} else if !p.is("(") || p.parenthesisedQuery() {
		return p.expression()
	}
	p.enter()
	defer p.leave()
	p.expect("(")
	row := &Row{Pos: at, Elements: []Expr{p.assignable()}}
	for p.another(len(row.Elements)) {
		row.Elements = append(row.Elements, p.assignable())
	}
	p.expect(")")
	return row
}

// update reads UPDATE.
func (p *parser) update(at Pos, with *With) Statement {
	update := &Update{Pos: at, With: with}
	p.advance()
	update.Table = p.objectName("the name of a table")
	update.Alias = p.targetAlias()
	p.expectWord("set")
	update.Set = p.assignments()
	if p.word("from") {
		update.From = p.tables()
	}
	update.Where = p.where()
	update.Returning = p.returning()
	return update
}

// deletion reads DELETE.
func (p *parser) deletion(at Pos, with *With) Statement {
	deletion := &Delete{Pos: at, With: with}
	p.advance()
	p.expectWord("from")
	deletion.Table = p.objectName("the name of a table")
	deletion.Alias = p.targetAlias()
	if p.word("using") {
		deletion.Using = p.tables()
	}
	deletion.Where = p.where()
	deletion.Returning = p.returning()
	return deletion
}

// truncate reads TRUNCATE [TABLE] name, which is DELETE of all rows.
func (p *parser) truncate(at Pos) Statement {
	p.advance()
	p.word("table")
	p.word("only")
	deletion := &Delete{Pos: at, Table: p.objectName("the name of a table"), Where: &BoolLiteral{Pos: at, Value: true}}
	if !p.words("restart", "identity") {
		p.words("continue", "identity")
	}
	if !p.word("cascade") {
		p.word("restrict")
	}
	return deletion
}

// targetAlias reads [AS] alias behind the table of UPDATE and DELETE.
func (p *parser) targetAlias() string {
	if p.word("as") {
		return p.name("an alias").Name
	}
	if p.isAlias() {
		return p.takeName().Name
	}
	return ""
}
