package parse

// beginsQuery reports whether a query begins with the token in hand. A parenthesis is not considered.
func (p *parser) beginsQuery() bool {
	if p.token.kind != tokenWord {
		return false
	}
	return p.isWord("select") || p.isWord("with") || p.isWord("table") || p.isWord("values") && p.peekIs("(")
}

// continuesQuery reports whether the token in hand extends a query in parentheses.
func (p *parser) continuesQuery() bool {
	if p.token.kind != tokenWord {
		return false
	}
	var buffer wordBuffer
	switch string(buffer.fold(p.token.text)) {
	case "union", "intersect", "except", "order", "limit", "offset", "fetch":
		return true
	}
	return false
}

// query reads a query with all its clauses.
func (p *parser) query() *Query {
	query := &Query{Pos: p.token.pos}
	if p.isWord("with") {
		query.With = p.with()
		if change := query.With.change(); change != nil {
			failSyntax(change.Position(), "%s", changeBelow)
		}
	}
	p.queryRest(query, p.setOperations(p.queryOperand(), bindUnion))
	return query
}

// queryAfter reads the rest of a query whose first operand was a query in parentheses.
func (p *parser) queryAfter(at Pos, first *Query) *Query {
	query := &Query{Pos: at}
	p.queryRest(query, p.setOperations(unwrapped(first), bindUnion))
	return query
}

// queryRest adds the body and the clauses behind it. A body that is a whole query is taken as it is when
// nothing is added to it.
func (p *parser) queryRest(query *Query, body QueryBody) {
	query.Body = body
	query.OrderBy = p.orderBy()
	p.limits(query)
	inner, nested := body.(*Query)
	if nested && query.With == nil && query.OrderBy == nil && query.Limit == nil && query.Offset == nil {
		*query = *inner
	}
}

// unwrapped returns the body of a query in parentheses that has no clauses of its own.
func unwrapped(query *Query) QueryBody {
	if query.With == nil && query.OrderBy == nil && query.Limit == nil && query.Offset == nil {
		return query.Body
	}
	return query
}

// The binding strengths of set operators.
const (
	bindUnion = iota + 1 // UNION and EXCEPT
	bindIntersect
)

// setOperations reads the set operators behind an operand that bind at least as strongly as given.
func (p *parser) setOperations(left QueryBody, binding int) QueryBody {
	for links := 1; ; links++ {
		operation := &SetOperation{Pos: p.token.pos, Left: left}
		strength := bindUnion
		switch {
		case p.isWord("union"):
		case p.isWord("except"):
			operation.Op = Except
		case p.isWord("intersect"):
			operation.Op = Intersect
			strength = bindIntersect
		default:
			return left
		}
		if strength < binding {
			return left
		}
		if links > MaxBranches {
			failLimit(p.token.pos, "the query has more than %d set operations in a row", MaxBranches)
		}
		p.advance()
		if p.word("all") {
			operation.All = true
		} else {
			p.word("distinct")
		}
		operation.Right = p.setOperations(p.queryOperand(), strength+1)
		left = operation
	}
}

// queryOperand reads SELECT, VALUES, or a query in parentheses.
func (p *parser) queryOperand() QueryBody {
	switch {
	case p.isWord("select"):
		return p.selectBody()
	case p.isWord("values"):
		return p.values()
	case p.isWord("table"):
		return p.wholeTable()
	case p.is("("):
		p.enter()
		defer p.leave()
		p.advance()
		query := p.query()
		p.expect(")")
		return unwrapped(query)
	}
	p.unexpected("SELECT, VALUES or a query in parentheses")
	return nil
}

// wholeTable reads TABLE name, which is SELECT * FROM name.
func (p *parser) wholeTable() *Select {
	body := &Select{Pos: p.token.pos}
	p.advance()
	name := p.objectName("the name of a table")
	body.Items = []SelectItem{{Pos: name.Pos, Expr: &Star{Pos: name.Pos}}}
	body.From = []TableExpr{&TableRef{Pos: name.Pos, Name: name}}
	return body
}

// with reads WITH and its common tables.
func (p *parser) with() *With {
	with := &With{Pos: p.token.pos}
	p.advance()
	with.Recursive = p.isWord("recursive") && !p.peekWord("as") && !p.peekIs("(")
	if with.Recursive {
		p.advance()
	}
	for {
		with.Tables = append(with.Tables, p.commonTable())
		if !p.symbol(",") || p.beginsQuery() {
			return with
		}
		if len(with.Tables) >= MaxListItems {
			failLimit(p.token.pos, "the list has more than %d items", MaxListItems)
		}
	}
}

// changeBelow refuses a change in the WITH of a part of a statement.
const changeBelow = "a WITH that changes rows must stand at the top of the statement"

// change returns the first common table that changes rows, nil when none does.
func (w *With) change() Statement {
	for i := range w.Tables {
		if w.Tables[i].Change != nil {
			return w.Tables[i].Change
		}
	}
	return nil
}

// commonTable reads name [(columns)] AS [[NOT] MATERIALIZED] (query or change).
func (p *parser) commonTable() CommonTable {
	name := p.name("the name of a common table")
	table := CommonTable{Pos: name.Pos, Name: name.Name}
	if p.is("(") {
		table.Columns = p.columnNames()
	}
	p.expectWord("as")
	switch {
	case p.word("materialized"):
		table.Materialized = MaterializeAlways
	case p.words("not", "materialized"):
		table.Materialized = MaterializeNever
	}
	p.enter()
	defer p.leave()
	p.expect("(")
	p.commonBody(&table)
	p.expect(")")
	if p.isWord("search") && (p.peekWord("depth") || p.peekWord("breadth")) || p.isWord("cycle") {
		failUnsupported(p.token.pos, refusedCycle)
	}
	return table
}

// commonBody reads the query, or the change, of a common table.
func (p *parser) commonBody(table *CommonTable) {
	if !p.isWord("insert") && !p.isWord("update") && !p.isWord("delete") && !p.isWord("with") {
		table.Query = p.query()
		return
	}
	switch statement := p.rowStatement(p.token.pos).(type) {
	case *Query:
		table.Query = statement
	case *WithChanges:
		failSyntax(statement.With.change().Position(), "%s", changeBelow)
	default:
		table.Change = statement
	}
}

// limits reads LIMIT, OFFSET and FETCH, in either order, and FOR UPDATE.
func (p *parser) limits(query *Query) {
	limited, skipped := false, false
	for {
		switch {
		case p.isWord("limit") && !limited:
			limited = true
			p.advance()
			if !p.word("all") {
				query.Limit = p.expression()
			}
		case p.isWord("fetch") && !limited:
			limited = true
			p.fetch(query)
		case p.isWord("offset") && !skipped:
			skipped = true
			p.advance()
			query.Offset = p.expression()
			if !p.word("rows") {
				p.word("row")
			}
		case p.isWord("for"):
			p.locking()
		default:
			return
		}
	}
}

// locking reads FOR UPDATE, FOR SHARE and their sisters. They change nothing and are not kept: what a transaction has read is checked when
// it commits, and nobody waits for a lock.
func (p *parser) locking() {
	p.advance()
	switch {
	case p.word("no"):
		p.expectWord("key")
		p.expectWord("update")
	case p.words("key", "share"), p.word("update"), p.word("share"):
	default:
		p.unexpected("UPDATE or SHARE")
	}
	if p.word("of") {
		p.objectName("the name of a table")
		for count := 1; p.another(count); count++ {
			p.objectName("the name of a table")
		}
	}
	if !p.words("skip", "locked") {
		p.word("nowait")
	}
}

// fetch reads FETCH FIRST|NEXT [n] ROW|ROWS ONLY|WITH TIES.
func (p *parser) fetch(query *Query) {
	at := p.token.pos
	p.advance()
	if !p.word("first") && !p.word("next") {
		p.unexpected("FIRST or NEXT")
	}
	if p.isWord("row") || p.isWord("rows") {
		query.Limit = &IntegerLiteral{Pos: at, Value: 1}
	} else {
		query.Limit = p.prefix()
	}
	if !p.word("rows") && !p.word("row") {
		p.unexpected("ROW or ROWS")
	}
	if p.words("with", "ties") {
		query.WithTies = true
		return
	}
	p.expectWord("only")
}

// values reads VALUES (..), (..).
func (p *parser) values() *Values {
	values := &Values{Pos: p.token.pos}
	p.advance()
	for {
		p.expect("(")
		row := []Expr{p.assignable()}
		for p.another(len(row)) {
			row = append(row, p.assignable())
		}
		p.expect(")")
		values.Rows = append(values.Rows, row)
		if !p.another(len(values.Rows)) {
			return values
		}
	}
}

// selectBody reads SELECT up to its WINDOW clause.
func (p *parser) selectBody() *Select {
	body := &Select{Pos: p.token.pos}
	p.advance()
	if p.word("distinct") {
		body.Distinct = true
		if p.word("on") {
			p.expect("(")
			body.DistinctOn = p.arguments()
			p.expect(")")
		}
	} else {
		p.word("all")
	}
	if p.isWord("from") {
		body.Items = p.emptyList(body.Pos)
	} else {
		body.Items = p.selectItems()
	}
	if p.isWord("into") {
		failUnsupported(p.token.pos, refusedInto)
	}
	if p.word("from") {
		body.From = p.tables()
	}
	body.Where = p.where()
	p.groupBy(body)
	if p.word("having") {
		body.Having = p.expression()
	}
	if p.word("window") {
		body.Windows = p.namedWindows()
	}
	return body
}

// emptyList is the select list of a SELECT without one, which EXISTS takes: it reads as SELECT 1.
func (p *parser) emptyList(at Pos) []SelectItem {
	if p.tested != at {
		failUnsupported(p.token.pos, refusedList)
	}
	return []SelectItem{{Pos: p.token.pos, Expr: &IntegerLiteral{Pos: p.token.pos, Value: 1}}}
}

// where reads WHERE if it is in hand.
func (p *parser) where() Expr {
	if !p.word("where") {
		return nil
	}
	if p.isWord("current") && p.peekWord("of") {
		failUnsupported(p.token.pos, refusedCursor)
	}
	return p.expression()
}

// selectItems reads a select list.
func (p *parser) selectItems() []SelectItem {
	list := []SelectItem{p.selectItem()}
	for p.another(len(list)) {
		list = append(list, p.selectItem())
	}
	return list
}

// selectItem reads * or an expression with its alias.
func (p *parser) selectItem() SelectItem {
	item := SelectItem{Pos: p.token.pos}
	if p.symbol("*") {
		item.Expr = &Star{Pos: item.Pos}
		return item
	}
	item.Expr = p.expression()
	if p.word("as") {
		item.Alias = p.label("an alias").Name
	} else if p.isAlias() {
		item.Alias = p.takeName().Name
	}
	return item
}

// isAlias reports whether the token in hand can be an alias without AS.
func (p *parser) isAlias() bool {
	return p.token.kind == tokenQuoted || p.token.kind == tokenWord && !isNoAlias(p.token.text)
}

// namedWindows reads the definitions of a WINDOW clause.
func (p *parser) namedWindows() []NamedWindow {
	var list []NamedWindow
	for {
		name := p.name("the name of a window")
		p.expectWord("as")
		list = append(list, NamedWindow{Pos: name.Pos, Name: name.Name, Window: p.window()})
		if !p.another(len(list)) {
			return list
		}
	}
}
