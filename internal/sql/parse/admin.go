package parse

// createUser reads what follows CREATE USER.
func (p *parser) createUser(at Pos) Statement {
	user := &CreateUser{Pos: at, IfNotExists: p.ifNotExists(), Name: p.nameOrString("the name of a user")}
	p.word("with")
	switch {
	case p.word("password"):
		user.Secret = p.text("a password in quotes")
	case p.word("oauth"):
		user.Method = AuthOAuth
		if p.token.kind == tokenString {
			user.Secret = p.text("the identity in quotes")
		}
	case p.word("internal"):
		user.Method = AuthInternal
	default:
		p.unexpected("PASSWORD, OAUTH or INTERNAL")
	}
	p.expectWord("role")
	user.RolePos = p.token.pos
	user.Role = foldName(p.nameOrString("the name of a role").Name)
	if p.word("email") {
		user.Email = p.text("an address in quotes")
	}
	return user
}

// alterUser reads what follows ALTER USER.
func (p *parser) alterUser(at Pos) Statement {
	user := &AlterUser{Pos: at, Name: p.nameOrString("the name of a user")}
	p.expectWord("set")
	switch {
	case p.word("password"):
		user.Value = p.text("a password in quotes")
	case p.word("role"):
		user.Field, user.ValuePos = UserRole, p.token.pos
		user.Value = foldName(p.nameOrString("the name of a role").Name)
	case p.word("email"):
		user.Field = UserEmail
		user.Value = p.text("an address in quotes")
	default:
		p.unexpected("PASSWORD, ROLE or EMAIL")
	}
	return user
}

// storageSettings reads the settings of CREATE STORAGE and ALTER STORAGE. SET, commas and equals signs
// between them carry no meaning.
func (p *parser) storageSettings() []Option {
	var list []Option
	for {
		p.word("set")
		if p.token.kind != tokenWord || !isStorageSetting(p.token.text) {
			break
		}
		name := p.takeName()
		for i := range list {
			if list[i].Name == name.Name {
				failSyntax(name.Pos, "unexpected second %s, expected each setting once", upper(name.Name))
			}
		}
		p.symbol("=")
		list = append(list, Option{Pos: name.Pos, Name: name.Name, Value: p.optionValue()})
		p.symbol(",")
	}
	if len(list) == 0 {
		p.unexpected("a setting such as TYPE or PATH")
	}
	return list
}

// isStorageSetting reports whether a word is a setting of a storage.
func isStorageSetting(word string) bool {
	var buffer wordBuffer
	switch string(buffer.fold(word)) {
	case "type", "name", "description", "path", "base_directory", "bucket", "region", "endpoint",
		"shared_tables_template", "user_tables_template", "credentials", "config":
		return true
	}
	return false
}

// storage reads STORAGE CHECK, STORAGE FLUSH and STORAGE COMPACT.
func (p *parser) storage() Statement {
	at := p.token.pos
	p.advance()
	switch {
	case p.word("check"):
		check := &StorageCheck{Pos: at, Name: p.nameOrString("the name of a storage")}
		check.Extended = p.word("extended")
		return check
	case p.word("flush"):
		table, namespace := p.storageScope()
		return &StorageFlush{Pos: at, Table: table, Namespace: namespace}
	case p.word("compact"):
		table, namespace := p.storageScope()
		return &StorageCompact{Pos: at, Table: table, Namespace: namespace}
	}
	p.unexpected("CHECK, FLUSH or COMPACT")
	return nil
}

// storageScope reads TABLE t, or ALL [IN [NAMESPACE] n].
func (p *parser) storageScope() (table ObjectName, namespace Ident) {
	switch {
	case p.word("table"):
		return p.objectName("the name of a table"), Ident{}
	case p.word("all"):
		if p.word("in") {
			namespace = p.namespace()
		}
		return ObjectName{}, namespace
	}
	p.unexpected("TABLE or ALL")
	return ObjectName{}, Ident{}
}

// kill reads KILL JOB, KILL LIVE QUERY, KILL QUERY and KILL TRANSACTION. An identifier may be in quotes or bare; a bare one may hold
// anything up to a blank or a semicolon, and keeps its case.
func (p *parser) kill() Statement {
	at := p.token.pos
	p.advance()
	if p.isWord("job") {
		return &KillJob{Pos: at, ID: p.bareText("the identifier of a job")}
	}
	if p.isWord("live") && p.peekWord("query") {
		p.advance()
		return &KillLiveQuery{Pos: at, ID: p.bareText("the identifier of a live query")}
	}
	if p.isWord("query") || p.isWord("transaction") {
		kill := &Kill{Pos: at, Transaction: p.isWord("transaction")}
		kill.ID = p.bareText("an identifier")
		return kill
	}
	p.unexpected("JOB, QUERY, TRANSACTION or LIVE QUERY")
	return nil
}

// bareText takes the word in hand and the string or bare text behind it.
func (p *parser) bareText(what string) string {
	p.skipBlank()
	end := p.offset
	for end < len(p.source) && isBare(p.source[end]) {
		end++
	}
	if end == p.offset {
		p.advance()
		return p.text(what)
	}
	text := p.source[p.offset:end]
	p.advanceTo(end)
	p.token.end = int32(end) //nolint:gosec // bounded by MaxTextBytes
	p.advance()
	return text
}

// isBare reports whether a byte belongs to a bare identifier of a job or live query.
func isBare(c byte) bool {
	return isWordPart(c) || c == '-' || c == ':' || c == '.' || c == '/' || c == '@'
}

// createTopic reads what follows CREATE TOPIC.
func (p *parser) createTopic(at Pos) Statement {
	topic := &CreateTopic{Pos: at, IfNotExists: p.ifNotExists(), Name: p.objectName("the name of a topic")}
	if p.word("partitions") {
		topic.Partitions = p.integer("a number of partitions", 1<<20)
	}
	if p.word("with") {
		topic.Options = p.options()
	}
	return topic
}

// alterTopic reads what follows ALTER TOPIC.
func (p *parser) alterTopic(at Pos) Statement {
	topic := &AlterTopic{Pos: at, Name: p.objectName("the name of a topic")}
	p.expectWord("add")
	p.expectWord("source")
	topic.Source = p.objectName("the name of a table")
	p.expectWord("on")
	switch {
	case p.word("insert"):
	case p.word("update"):
		topic.Operation = OnUpdate
	case p.word("delete"):
		topic.Operation = OnDelete
	default:
		p.unexpected("INSERT, UPDATE or DELETE")
	}
	topic.Where = p.where()
	if p.word("with") {
		topic.Options = p.options()
	}
	return topic
}
