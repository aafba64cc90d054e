package parse

// sessionStatement reads statements about transactions, variables and what exists, or returns nil.
func (p *parser) sessionStatement(at Pos) Statement {
	var buffer wordBuffer
	word := string(buffer.fold(p.token.text))
	switch word {
	case "begin", "commit", "end", "rollback", "abort", "savepoint", "release", "start":
		p.advance()
		return p.transaction(at, word)
	case "use":
		p.advance()
		if p.isWord("namespace") && (p.peek().kind == tokenWord || p.peek().kind == tokenQuoted) {
			p.advance()
		}
		return &UseNamespace{Pos: at, Name: p.label("the name of a namespace")}
	case "set":
		p.advance()
		return p.set(at)
	case "reset":
		p.advance()
		if p.word("all") {
			return &ResetVariable{Pos: at}
		}
		return &ResetVariable{Pos: at, Name: p.variableName()}
	case "show":
		p.advance()
		return p.show(at)
	case "desc", "describe":
		p.advance()
		return p.describe(at)
	}
	return nil
}

// transaction reads what follows the first word of a statement about transactions.
func (p *parser) transaction(at Pos, word string) Statement {
	switch word {
	case "start":
		p.expectWord("transaction")
		return &Begin{Pos: at, Modes: p.transactionModes()}
	case "savepoint":
		return &Savepoint{Pos: at, Name: p.name("the name of a savepoint")}
	case "release":
		if p.isWord("savepoint") && p.peek().kind != tokenEnd && !p.peekIs(";") {
			p.advance()
		}
		return &ReleaseSavepoint{Pos: at, Name: p.name("the name of a savepoint")}
	}
	if !p.word("transaction") {
		p.word("work")
	}
	switch word {
	case "begin":
		return &Begin{Pos: at, Modes: p.transactionModes()}
	case "commit", "end":
		return &Commit{Pos: at}
	}
	if word == "abort" || !p.word("to") {
		return &Rollback{Pos: at}
	}
	if p.isWord("savepoint") && p.peek().kind != tokenEnd && !p.peekIs(";") {
		p.advance()
	}
	return &RollbackTo{Pos: at, Name: p.name("the name of a savepoint")}
}

// transactionModes reads ISOLATION LEVEL .., READ ONLY and READ WRITE.
func (p *parser) transactionModes() TransactionModes {
	var modes TransactionModes
	for {
		switch {
		case p.words("isolation", "level"):
			modes.Isolation = p.isolation()
		case p.words("read", "only"):
			modes.Access = ReadOnly
		case p.words("read", "write"):
			modes.Access = ReadWrite
		default:
			return modes
		}
		p.symbol(",")
	}
}

// isolation reads the name of an isolation level.
func (p *parser) isolation() string {
	switch {
	case p.word("serializable"):
		return "serializable"
	case p.words("repeatable", "read"):
		return "repeatable read"
	case p.words("read", "committed"):
		return "read committed"
	case p.words("read", "uncommitted"):
		return "read uncommitted"
	}
	p.unexpected("SERIALIZABLE, REPEATABLE READ, READ COMMITTED or READ UNCOMMITTED")
	return ""
}

// set reads what follows SET.
func (p *parser) set(at Pos) Statement {
	if p.isWord("namespace") && !p.peekIs("=") && !p.peekWord("to") && !p.peekIs(".") {
		p.advance()
		return &UseNamespace{Pos: at, Name: p.label("the name of a namespace")}
	}
	if p.isWord("transaction") && !p.peekIs("=") && !p.peekWord("to") {
		p.advance()
		return &SetTransaction{Pos: at, Modes: p.transactionModes()}
	}
	variable := &SetVariable{Pos: at}
	if ahead := p.peek(); ahead.kind == tokenWord && !sameWord(ahead.text, "to") || ahead.kind == tokenQuoted {
		variable.Local = p.isWord("local")
		if !p.word("local") {
			p.word("session")
		}
	}
	if p.words("time", "zone") {
		variable.Name = "timezone"
	} else {
		variable.Name = p.variableName()
		if !p.symbol("=") && !p.word("to") {
			p.unexpected(`"=" or TO`)
		}
	}
	if p.word("default") {
		return variable
	}
	variable.Values = []Expr{p.optionValue()}
	for p.another(len(variable.Values)) {
		variable.Values = append(variable.Values, p.optionValue())
	}
	return variable
}

// variableName reads the name of a variable.
func (p *parser) variableName() string { return p.dottedName("the name of a variable").Name }

// show reads what follows SHOW.
func (p *parser) show(at Pos) Statement {
	if p.word("all") {
		return &ShowVariable{Pos: at}
	}
	if p.words("time", "zone") {
		return &ShowVariable{Pos: at, Name: "timezone"}
	}
	if p.words("live", "queries") {
		return &Show{Pos: at, Kind: ShowLiveQueries}
	}
	if p.token.kind != tokenWord || p.peekIs(".") {
		return &ShowVariable{Pos: at, Name: p.variableName()}
	}
	var buffer wordBuffer
	kind, known := showKind(string(buffer.fold(p.token.text)))
	if !known {
		return &ShowVariable{Pos: at, Name: p.variableName()}
	}
	p.advance()
	show := &Show{Pos: at, Kind: kind}
	p.showSubject(show)
	return show
}

// showKind returns what a word behind SHOW lists.
func showKind(word string) (kind ShowKind, known bool) {
	switch word {
	case "namespaces", "schemas", "databases":
		return ShowNamespaces, true
	case "tables":
		return ShowTables, true
	case "storages":
		return ShowStorages, true
	case "stats":
		return ShowStats, true
	case "manifest", "manifests":
		return ShowManifest, true
	case "columns":
		return ShowColumns, true
	case "export", "exports":
		return ShowExport, true
	case "users":
		return ShowUsers, true
	case "jobs":
		return ShowJobs, true
	case "topics":
		return ShowTopics, true
	case "schedule", "schedules":
		return ShowSchedules, true
	case "views":
		return ShowViews, true
	case "indexes", "indices":
		return ShowIndexes, true
	case "cluster":
		return ShowCluster, true
	}
	return 0, false
}

// showSubject reads the namespace or table that a list is limited to.
func (p *parser) showSubject(show *Show) {
	switch show.Kind { //nolint:exhaustive // the others need nothing here
	case ShowTables, ShowViews:
		if p.word("in") || p.word("from") {
			show.Namespace = p.namespace()
		}
	case ShowStats:
		p.expectWord("for")
		p.expectWord("table")
		show.Table = p.objectName("the name of a table")
	case ShowColumns:
		if !p.word("from") && !p.word("in") {
			p.unexpected("FROM or IN")
		}
		show.Table = p.objectName("the name of a table")
	case ShowManifest, ShowIndexes:
		if p.word("for") || p.word("from") || p.word("on") {
			p.word("table")
			show.Table = p.objectName("the name of a table")
		}
	}
}

// namespace reads [NAMESPACE] name.
func (p *parser) namespace() Ident {
	if p.isWord("namespace") {
		if ahead := p.peek(); ahead.kind == tokenWord || ahead.kind == tokenQuoted {
			p.advance()
		}
	}
	return p.label("the name of a namespace")
}

// describe reads what follows DESCRIBE.
func (p *parser) describe(at Pos) Statement {
	describe := &Describe{Pos: at, Keyword: p.word("table")}
	describe.Table = p.objectName("the name of a table")
	describe.History = p.word("history")
	return describe
}
