package parse

// statement reads one statement of any kind.
func (p *parser) statement() Statement {
	at := p.token.pos
	if p.is("(") {
		return p.query()
	}
	if p.token.kind != tokenWord {
		p.unexpected("a statement")
	}
	if statement := p.rowStatement(at); statement != nil {
		return statement
	}
	if statement := p.objectStatement(at); statement != nil {
		return statement
	}
	if statement := p.sessionStatement(at); statement != nil {
		return statement
	}
	if sentence := refusedStatement(p.token.text); sentence != "" {
		failUnsupported(at, sentence)
	}
	p.unexpected("a statement")
	return nil
}

// rowStatement reads queries and changes of rows, or returns nil.
func (p *parser) rowStatement(at Pos) Statement {
	var buffer wordBuffer
	switch string(buffer.fold(p.token.text)) {
	case "select", "values", "table":
		return p.query()
	case "with":
		return p.withStatement()
	case "insert":
		return p.insert(at, nil)
	case "update":
		return p.update(at, nil)
	case "delete":
		return p.deletion(at, nil)
	case "truncate":
		return p.truncate(at)
	case "explain":
		return p.explain()
	case "execute":
		return p.executeAsUser()
	case "subscribe":
		return p.subscribe()
	}
	return nil
}

// objectStatement reads statements about objects of the catalog and about jobs, or returns nil.
func (p *parser) objectStatement(at Pos) Statement {
	var buffer wordBuffer
	switch string(buffer.fold(p.token.text)) {
	case "create":
		p.advance()
		return p.create(at)
	case "drop":
		p.advance()
		return p.drop(at)
	case "alter":
		p.advance()
		return p.alter(at)
	case "storage":
		return p.storage()
	case "kill":
		return p.kill()
	case "backup":
		p.advance()
		p.expectWord("database")
		p.expectWord("to")
		return &BackupDatabase{Pos: at, Directory: p.text("a directory in quotes")}
	case "restore":
		p.advance()
		p.expectWord("database")
		p.expectWord("from")
		restore := &RestoreDatabase{Pos: at, Directory: p.text("a directory in quotes")}
		if p.word("backup") {
			restore.Backup = p.text("the name of a backup in quotes")
		}
		return restore
	case "run":
		p.advance()
		p.expectWord("job")
		return &RunJob{Pos: at, Kind: p.label("the type of a job")}
	case "export":
		p.advance()
		p.expectWord("user")
		p.expectWord("data")
		return &ExportUserData{Pos: at}
	case "clear":
		p.advance()
		p.expectWord("topic")
		return &ClearTopic{Pos: at, Name: p.objectName("the name of a topic")}
	case "consume":
		return p.consume()
	case "ack":
		return p.ack()
	case "cluster":
		return p.cluster()
	}
	return nil
}

// explain reads EXPLAIN.
func (p *parser) explain() Statement {
	explain := &Explain{Pos: p.token.pos}
	p.advance()
	if p.is("(") && !p.parenthesisedQuery() {
		p.explainOptions(explain)
	} else {
		explain.Analyze = p.word("analyze")
		explain.Verbose = p.word("verbose")
	}
	p.enter()
	explain.Statement = p.statement()
	p.leave()
	return explain
}

// explainOptions reads (ANALYZE [on], VERBOSE [on], FORMAT name).
func (p *parser) explainOptions(explain *Explain) {
	p.expect("(")
	for count := 1; ; count++ {
		switch {
		case p.word("analyze"):
			explain.Analyze = p.switched()
		case p.word("verbose"):
			explain.Verbose = p.switched()
		case p.word("format"):
			explain.Format = foldName(p.nameOrString("the name of a format").Name)
		case p.word("costs"), p.word("buffers"), p.word("timing"), p.word("summary"), p.word("settings"), p.word("wal"), p.word("generic_plan"):
			p.switched() // of plans of PostgreSQL; there is nothing to leave out of ours
		default:
			p.unexpected("ANALYZE, VERBOSE or FORMAT")
		}
		if !p.another(count) {
			break
		}
	}
	p.expect(")")
}

// switched reads an optional on or off; nothing means on.
func (p *parser) switched() bool {
	if p.word("off") || p.word("false") {
		return false
	}
	if !p.word("on") {
		p.word("true")
	}
	return true
}

// executeAsUser reads EXECUTE AS USER name (statement).
func (p *parser) executeAsUser() Statement {
	execute := &ExecuteAsUser{Pos: p.token.pos}
	p.advance()
	if p.isName() && !p.isWord("as") {
		failUnsupported(execute.Pos, refusedPrepare)
	}
	p.expectWord("as")
	p.expectWord("user")
	execute.User = p.nameOrString("the name of a user")
	p.enter()
	p.expect("(")
	execute.Statement = p.statement()
	p.expect(")")
	p.leave()
	return execute
}

// subscribe reads SUBSCRIBE TO.
func (p *parser) subscribe() Statement {
	subscribe := &Subscribe{Pos: p.token.pos}
	p.advance()
	p.expectWord("to")
	at := p.token.pos
	if p.beginsQuery() || p.is("(") {
		subscribe.Query = p.query()
	} else {
		name := p.objectName("the name of a table or SELECT")
		body := &Select{Pos: at, Items: []SelectItem{{Pos: at, Expr: &Star{Pos: at}}}}
		body.From = []TableExpr{&TableRef{Pos: name.Pos, Name: name}}
		body.Where = p.where()
		subscribe.Query = &Query{Pos: at, Body: body}
	}
	if p.word("options") {
		subscribe.Options = p.options()
	}
	return subscribe
}

// options reads (name = value, ..). The list may be empty.
func (p *parser) options() []Option {
	var list []Option
	p.expect("(")
	for !p.is(")") {
		name := p.dottedName("the name of an option")
		option := Option{Pos: name.Pos, Name: name.Name}
		p.expect("=")
		option.Value = p.optionValue()
		list = append(list, option)
		if !p.symbol(",") {
			break
		}
	}
	p.expect(")")
	return list
}

// optionValue reads a literal, a parameter or a bare word.
func (p *parser) optionValue() Expr {
	at := p.token.pos
	switch {
	case p.token.kind == tokenString, p.token.kind == tokenNumber, p.token.kind == tokenParam:
		return p.prefix()
	case p.is("-") && p.peek().kind == tokenNumber:
		p.advance()
		return negated(at, p.number())
	case p.isWord("true"), p.isWord("false"), p.isWord("null"):
		return p.prefix()
	case p.token.kind == tokenWord || p.token.kind == tokenQuoted:
		return &StringLiteral{Pos: at, Value: p.takeName().Name}
	}
	p.unexpected("a value")
	return nil
}

// text takes a string.
func (p *parser) text(what string) string {
	if p.token.kind != tokenString {
		p.unexpected(what)
	}
	text := p.token.text
	p.advance()
	return text
}

// ifNotExists takes IF NOT EXISTS.
func (p *parser) ifNotExists() bool {
	if !p.words("if", "not") {
		return false
	}
	p.expectWord("exists")
	return true
}

// ifExists takes IF EXISTS.
func (p *parser) ifExists() bool { return p.words("if", "exists") }

// cascade takes CASCADE or RESTRICT.
func (p *parser) cascade() bool {
	if p.word("cascade") {
		return true
	}
	p.word("restrict")
	return false
}
