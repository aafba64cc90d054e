package parse

import (
	"cmp"

	"github.com/kalamdb/kalamdb-go/internal/schema"
)

// create reads what follows CREATE.
func (p *parser) create(at Pos) Statement {
	if kind, found := p.tableKind(); found {
		return p.createTable(at, kind)
	}
	switch {
	case p.word("namespace"):
		exists := p.ifNotExists()
		return &CreateNamespace{Pos: at, IfNotExists: exists, Name: p.label("the name of a namespace")}
	case p.word("view"):
		return p.createView(at, false)
	case p.word("or"):
		p.expectWord("replace")
		p.expectWord("view")
		return p.createView(at, true)
	case p.word("unique"):
		p.expectWord("index")
		return p.createIndex(at, true)
	case p.word("index"):
		return p.createIndex(at, false)
	case p.word("user"):
		return p.createUser(at)
	case p.word("schedule"):
		return p.createSchedule(at)
	case p.word("storage"):
		storage := &CreateStorage{Pos: at, IfNotExists: p.ifNotExists()}
		storage.Name = p.nameOrString("the name of a storage")
		storage.Settings = p.storageSettings()
		return storage
	case p.word("topic"):
		return p.createTopic(at)
	}
	if p.token.kind == tokenWord {
		if sentence := refusedObject(p.token.text); sentence != "" {
			failUnsupported(at, sentence)
		}
	}
	p.unexpected("TABLE, VIEW, INDEX, NAMESPACE, USER, STORAGE or TOPIC")
	return nil
}

// tableKind takes [USER|SHARED|STREAM] TABLE.
func (p *parser) tableKind() (kind schema.TableKind, found bool) {
	switch {
	case p.word("table"):
		return 0, true
	case p.words("user", "table"):
		return schema.KindUser, true
	case p.words("shared", "table"):
		return schema.KindShared, true
	case p.words("stream", "table"):
		return schema.KindStream, true
	}
	return 0, false
}

// createTable reads what follows CREATE TABLE.
func (p *parser) createTable(at Pos, kind schema.TableKind) Statement {
	table := &CreateTable{Pos: at, Kind: kind, IfNotExists: p.ifNotExists()}
	table.Name = p.objectName("the name of a table")
	if p.is("(") {
		p.tableElements(table)
	} else if !p.isWord("as") && !p.isWord("using") && !p.isWord("with") {
		p.unexpected(`"("`)
	}
	if p.word("using") {
		table.Using = p.label("the name of a storage format").Name
	}
	if p.word("with") {
		table.Options = p.options()
	}
	if p.word("as") {
		table.As = p.query()
	}
	if len(table.Columns) == 0 && table.As == nil {
		p.unexpected("column definitions or AS")
	}
	return table
}

// tableElements reads the columns and constraints of a table.
func (p *parser) tableElements(table *CreateTable) {
	p.expect("(")
	for count := 1; ; count++ {
		if p.beginsConstraint() {
			table.Constraints = append(table.Constraints, p.tableConstraint())
		} else {
			table.Columns = append(table.Columns, p.columnDef())
		}
		if !p.another(count) {
			break
		}
	}
	p.expect(")")
}

// beginsConstraint reports whether a table constraint is in hand.
func (p *parser) beginsConstraint() bool {
	return p.isWord("constraint") || p.isWord("primary") || p.isWord("unique") || p.isWord("check") || p.isWord("foreign")
}

// tableConstraint reads a constraint of a table.
func (p *parser) tableConstraint() TableConstraint {
	constraint := TableConstraint{Pos: p.token.pos}
	if p.word("constraint") {
		constraint.Name = p.name("the name of a constraint").Name
	}
	switch {
	case p.word("primary"):
		p.expectWord("key")
		constraint.Columns = p.columnNames()
	case p.word("unique"):
		constraint.Kind = UniqueConstraint
		constraint.Columns = p.columnNames()
	case p.word("check"):
		constraint.Kind = CheckConstraint
		constraint.Check = p.condition()
	case p.word("foreign"):
		p.expectWord("key")
		constraint.Kind = ForeignKeyConstraint
		constraint.Columns = p.columnNames()
		p.expectWord("references")
		constraint.References = p.reference()
	default:
		p.unexpected("PRIMARY KEY, UNIQUE, CHECK or FOREIGN KEY")
	}
	return constraint
}

// condition reads (expression).
func (p *parser) condition() Expr {
	p.expect("(")
	condition := p.expression()
	p.expect(")")
	return condition
}

// reference reads the target of a foreign key and drops its actions.
func (p *parser) reference() *Reference {
	reference := &Reference{Pos: p.token.pos, Table: p.objectName("the name of a table")}
	if p.is("(") {
		reference.Columns = p.columnNames()
	}
	for p.isWord("on") && (p.peekWord("delete") || p.peekWord("update")) {
		p.advance()
		p.advance()
		switch {
		case p.word("cascade"), p.word("restrict"), p.words("no", "action"), p.words("set", "null"),
			p.words("set", "default"):
		default:
			p.unexpected("CASCADE, RESTRICT, NO ACTION, SET NULL or SET DEFAULT")
		}
	}
	return reference
}

// columnDef reads name type and the options of a column.
func (p *parser) columnDef() ColumnDef {
	name := p.name("a column name")
	column := ColumnDef{Pos: name.Pos, Name: name.Name, Type: p.typeName()}
	for p.columnOption(&column) {
	}
	return column
}

// columnOption reads one option of a column, or reports that there is none.
func (p *parser) columnOption(column *ColumnDef) bool {
	at := p.token.pos
	named, name := p.word("constraint"), ""
	if named {
		name = p.name("the name of a constraint").Name
	}
	switch {
	case p.isWord("not") || p.isWord("null"):
		stated := p.nullability()
		if column.Nullability != NullabilityUnstated && column.Nullability != stated {
			failSyntax(at, "the column is declared both NULL and NOT NULL, expected one of them")
		}
		column.Nullability = stated
	case p.word("primary"):
		p.expectWord("key")
		column.PrimaryKey = true
	case p.word("unique"):
		column.Unique, column.UniqueName = true, cmp.Or(column.UniqueName, name)
	case p.isWord("default"):
		p.advance()
		if column.Default != nil {
			failSyntax(at, "the column has a second DEFAULT, expected one")
		}
		column.Default = p.expression()
	case p.word("auto_increment") || p.word("autoincrement"):
		column.Identity = true
	case p.word("generated"):
		p.generated()
		column.Identity = true
	case p.word("check"):
		column.Checks = append(column.Checks, p.condition())
	case p.word("references"):
		column.References = p.reference()
	case p.word("collate"):
		p.objectName("the name of a collation")
	default:
		if named {
			p.unexpected("NOT NULL, NULL, UNIQUE, PRIMARY KEY, DEFAULT, CHECK or REFERENCES")
		}
		return false
	}
	return true
}

// nullability reads [NOT] NULL.
func (p *parser) nullability() Nullability {
	if p.word("not") {
		p.expectWord("null")
		return NotNull
	}
	p.expectWord("null")
	return Nullable
}

// generated reads ALWAYS|BY DEFAULT AS IDENTITY [(..)] behind GENERATED; the settings of the sequence are dropped.
func (p *parser) generated() {
	if !p.word("always") {
		p.expectWord("by")
		p.expectWord("default")
	}
	p.expectWord("as")
	p.expectWord("identity")
	if !p.symbol("(") {
		return
	}
	for !p.is(")") {
		if p.token.kind != tokenWord && p.token.kind != tokenNumber && !p.is("-") {
			p.unexpected(`")"`)
		}
		p.advance()
	}
	p.advance()
}

// createView reads what follows CREATE [OR REPLACE] VIEW.
func (p *parser) createView(at Pos, replace bool) Statement {
	view := &CreateView{Pos: at, OrReplace: replace, IfNotExists: p.ifNotExists()}
	view.Name = p.objectName("the name of a view")
	if p.is("(") {
		view.Columns = p.columnNames()
	}
	p.expectWord("as")
	view.Query = p.query()
	return view
}

// createIndex reads what follows CREATE [UNIQUE] INDEX.
func (p *parser) createIndex(at Pos, unique bool) Statement {
	index := &CreateIndex{Pos: at, Unique: unique, IfNotExists: p.ifNotExists()}
	if !p.isWord("on") {
		index.Name = p.objectName("the name of an index")
	}
	p.expectWord("on")
	index.Table = p.objectName("the name of a table")
	if p.word("using") {
		index.Method = foldName(p.name("an index method").Name)
	}
	p.expect("(")
	for {
		column := IndexColumn{Pos: p.token.pos, Expr: p.expression()}
		column.Descending, column.Nulls = p.direction()
		index.Columns = append(index.Columns, column)
		if !p.another(len(index.Columns)) {
			break
		}
	}
	p.expect(")")
	if p.word("with") {
		index.Options = p.options()
	}
	index.Where = p.where()
	return index
}

// drop reads what follows DROP.
func (p *parser) drop(at Pos) Statement {
	if kind, found := p.tableKind(); found {
		table := &DropTable{Pos: at, Kind: kind, IfExists: p.ifExists(), Name: p.objectName("the name of a table")}
		table.Cascade = p.cascade()
		return table
	}
	switch {
	case p.word("namespace"):
		exists := p.ifExists()
		namespace := &DropNamespace{Pos: at, IfExists: exists, Name: p.label("the name of a namespace")}
		namespace.Cascade = p.cascade()
		return namespace
	case p.word("view"):
		view := &DropView{Pos: at, IfExists: p.ifExists(), Name: p.objectName("the name of a view")}
		view.Cascade = p.cascade()
		return view
	case p.word("index"):
		index := &DropIndex{Pos: at, IfExists: p.ifExists(), Name: p.objectName("the name of an index")}
		index.Cascade = p.cascade()
		return index
	case p.word("schedule"):
		return &DropSchedule{Pos: at, IfExists: p.ifExists(), Name: p.label(scheduleName)}
	case p.word("user"):
		return &DropUser{Pos: at, IfExists: p.ifExists(), Name: p.nameOrString("the name of a user")}
	case p.word("storage"):
		return &DropStorage{Pos: at, IfExists: p.ifExists(), Name: p.nameOrString("the name of a storage")}
	case p.word("topic"):
		return &DropTopic{Pos: at, IfExists: p.ifExists(), Name: p.objectName("the name of a topic")}
	}
	p.unexpected("TABLE, VIEW, INDEX, NAMESPACE, USER, STORAGE or TOPIC")
	return nil
}
