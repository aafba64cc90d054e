package parse

// alter reads what follows ALTER.
func (p *parser) alter(at Pos) Statement {
	if kind, found := p.tableKind(); found {
		table := &AlterTable{Pos: at, Kind: kind, IfExists: p.ifExists(), Name: p.objectName("the name of a table")}
		table.Action = p.alterAction()
		return table
	}
	switch {
	case p.word("namespace"):
		namespace := &AlterNamespace{Pos: at, Name: p.label("the name of a namespace")}
		p.expectWord("set")
		p.expectWord("options")
		namespace.Options = p.options()
		return namespace
	case p.word("user"):
		return p.alterUser(at)
	case p.word("schedule"):
		return p.alterSchedule(at)
	case p.word("storage"):
		storage := &AlterStorage{Pos: at, Name: p.nameOrString("the name of a storage")}
		if !p.isWord("set") {
			p.unexpected("SET")
		}
		storage.Settings = p.storageSettings()
		return storage
	case p.word("topic"):
		return p.alterTopic(at)
	}
	p.unexpected("TABLE, NAMESPACE, USER, STORAGE or TOPIC")
	return nil
}

// alterAction reads what ALTER TABLE does.
func (p *parser) alterAction() AlterAction {
	at := p.token.pos
	switch {
	case p.word("add"):
		if p.beginsConstraint() {
			return &AddConstraint{Pos: at, Constraint: p.tableConstraint()}
		}
		p.word("column")
		action := &AddColumn{Pos: at, IfNotExists: p.ifNotExists()}
		action.Column = p.columnDef()
		return action
	case p.word("drop"):
		return p.alterDrop(at)
	case p.word("modify"):
		p.word("column")
		action := &ModifyColumn{Pos: at, Name: p.name("a column name"), Type: p.typeName()}
		if p.isWord("not") || p.isWord("null") {
			action.Nullability = p.nullability()
		}
		return action
	case p.word("alter"):
		p.word("column")
		return p.alterColumn(at, p.name("a column name"))
	case p.word("rename"):
		return p.rename(at)
	case p.word("set"):
		return p.alterSet(at)
	case p.word("create"):
		p.word("vector")
		p.expectWord("index")
		action := &CreateVectorIndex{Pos: at, Column: p.name("a column name")}
		if p.word("using") {
			action.Metric = foldName(p.name("a metric such as COSINE").Name)
		}
		return action
	}
	p.unexpected("ADD, DROP, MODIFY, ALTER, RENAME, SET or CREATE INDEX")
	return nil
}

// alterDrop reads what follows DROP: a column, a constraint or a vector index.
func (p *parser) alterDrop(at Pos) AlterAction {
	if p.word("constraint") {
		action := &DropConstraint{Pos: at, IfExists: p.ifExists(), Name: p.name("the name of a constraint")}
		p.cascade()
		return action
	}
	if p.words("vector", "index") {
		return &DropVectorIndex{Pos: at, Column: p.name("a column name")}
	}
	if p.isWord("index") {
		if ahead := p.peek(); ahead.kind == tokenWord || ahead.kind == tokenQuoted {
			p.advance()
			return &DropVectorIndex{Pos: at, Column: p.name("a column name")}
		}
	}
	p.word("column")
	action := &DropColumn{Pos: at, IfExists: p.ifExists()}
	action.Name = p.name("a column name")
	p.cascade()
	return action
}

// alterColumn reads what follows ALTER COLUMN c.
func (p *parser) alterColumn(at Pos, column Ident) AlterAction {
	switch {
	case p.words("set", "not"):
		p.expectWord("null")
		return &SetNotNull{Pos: at, Name: column}
	case p.words("set", "default"):
		return &SetDefault{Pos: at, Name: column, Value: p.expression()}
	case p.words("set", "data"):
		p.expectWord("type")
		return &ModifyColumn{Pos: at, Name: column, Type: p.typeName()}
	case p.word("type"):
		return &ModifyColumn{Pos: at, Name: column, Type: p.typeName()}
	case p.words("drop", "not"):
		p.expectWord("null")
		return &SetNotNull{Pos: at, Name: column, Drop: true}
	case p.words("drop", "default"):
		return &SetDefault{Pos: at, Name: column}
	}
	p.unexpected("SET NOT NULL, DROP NOT NULL, SET DEFAULT, DROP DEFAULT or TYPE")
	return nil
}

// rename reads what follows RENAME: of a column or of the table.
func (p *parser) rename(at Pos) AlterAction {
	if p.word("to") {
		return &RenameTable{Pos: at, To: p.name("a table name")}
	}
	p.word("column")
	action := &RenameColumn{Pos: at, From: p.name("a column name")}
	p.expectWord("to")
	action.To = p.name("a column name")
	return action
}

// alterSet reads what follows SET.
func (p *parser) alterSet(at Pos) AlterAction {
	switch {
	case p.words("access", "level"), p.word("access_level"):
		p.symbol("=")
		return &SetAccessLevel{Pos: at, Level: foldName(p.nameOrString("PUBLIC, PRIVATE or RESTRICTED").Name)}
	case p.word("options"), p.is("("):
		return &SetTableOptions{Pos: at, Options: p.options()}
	}
	p.unexpected("ACCESS LEVEL or OPTIONS")
	return nil
}
