package parse

import "strconv"

// notation reads an operand whose first word begins a notation of its own, if what follows fits; otherwise
// it returns nil and takes nothing, and the word is a name.
func (p *parser) notation() Expr {
	var buffer wordBuffer
	switch string(buffer.fold(p.token.text)) {
	case "array":
		if p.peekIs("[") || p.peekIs("(") {
			return p.array()
		}
	case "row":
		if p.peekIs("(") {
			return p.row()
		}
	case "exists":
		if p.peekIs("(") {
			return p.exists()
		}
	case "cast", "try_cast":
		if p.peekIs("(") {
			return p.cast()
		}
	case "interval":
		if ahead := p.peek(); ahead.kind == tokenString || ahead.kind == tokenNumber ||
			ahead.kind == tokenSymbol && ahead.text == "(" {
			return p.interval()
		}
	case "extract", "substring", "position", "trim", "overlay", "normalize":
		if p.peekIs("(") {
			return p.namedArguments()
		}
	default:
		if isTypeWord(p.token.text) {
			return p.typedLiteral()
		}
	}
	return nil
}

// array reads ARRAY[..] or ARRAY(query).
func (p *parser) array() Expr {
	at := p.token.pos
	p.advance()
	if !p.is("(") {
		return p.arrayElements(at)
	}
	p.advance()
	if !p.beginsQuery() && !p.is("(") {
		p.unexpected("a query")
	}
	_, query := p.valueOrQuery()
	if query == nil {
		failSyntax(at, "unexpected expression in ARRAY(..), expected a query")
	}
	p.expect(")")
	return &Array{Pos: at, Query: query}
}

// arrayElements reads [..]; elements may be such lists themselves.
func (p *parser) arrayElements(at Pos) Expr {
	p.enter()
	defer p.leave()
	list := &Array{Pos: at}
	p.expect("[")
	for !p.is("]") {
		var element Expr
		if p.is("[") {
			element = p.arrayElements(p.token.pos)
		} else {
			element = p.expression()
		}
		list.Elements = append(list.Elements, element)
		if !p.another(len(list.Elements)) {
			break
		}
	}
	p.expect("]")
	return list
}

// row reads ROW(..).
func (p *parser) row() Expr {
	row := &Row{Pos: p.token.pos}
	p.advance()
	p.expect("(")
	for !p.is(")") {
		row.Elements = append(row.Elements, p.expression())
		if !p.another(len(row.Elements)) {
			break
		}
	}
	p.expect(")")
	return row
}

// exists reads EXISTS (query).
func (p *parser) exists() Expr {
	test := &Exists{Pos: p.token.pos}
	p.advance()
	p.expect("(")
	if !p.beginsQuery() && !p.is("(") {
		p.unexpected("a query")
	}
	p.tested = p.token.pos
	if _, test.Query = p.valueOrQuery(); test.Query == nil {
		failSyntax(test.Pos, "unexpected expression in EXISTS (..), expected a query")
	}
	p.expect(")")
	return test
}

// cast reads CAST(x AS type).
func (p *parser) cast() Expr {
	cast := &Cast{Pos: p.token.pos, Try: p.isWord("try_cast")}
	p.advance()
	p.expect("(")
	cast.Expr = p.expression()
	p.expectWord("as")
	cast.Type = p.typeName()
	p.expect(")")
	return cast
}

// interval reads INTERVAL [(precision)] 'text' [fields], or INTERVAL number unit. INTERVAL (x) without a
// string behind it is no literal and fails.
func (p *parser) interval() Expr {
	literal := &IntervalLiteral{Pos: p.token.pos, Precision: -1}
	p.advance()
	if p.is("(") {
		literal.Precision = p.precision()
	}
	if p.token.kind != tokenString && (p.token.kind != tokenNumber || literal.Precision >= 0) {
		p.unexpected("a string")
	}
	bare := p.token.kind == tokenNumber
	literal.Value = p.token.text
	p.advance()
	p.intervalFields(literal)
	if bare && literal.Fields == "" {
		p.unexpected("a unit such as DAY")
	}
	return literal
}

// intervalUnits lists the units of intervals from the coarsest to the finest.
func intervalUnits() []string { return []string{"year", "month", "day", "hour", "minute", "second"} }

// intervalFields reads unit [TO unit] behind an interval.
func (p *parser) intervalFields(literal *IntervalLiteral) {
	first := p.intervalUnit()
	if first < 0 {
		return
	}
	units := intervalUnits()
	literal.Fields = units[first]
	last := first
	if p.isWord("to") {
		p.advance()
		if last = p.intervalUnit(); last <= first || (first <= 1) != (last <= 1) {
			failSyntax(literal.Pos, "unexpected range of units in the interval, expected a finer unit after TO")
		}
		literal.Fields += " to " + units[last]
	}
	if last == len(units)-1 && literal.Precision < 0 && p.is("(") {
		literal.Precision = p.precision()
	}
}

// intervalUnit takes a unit of intervals and returns its index, or -1 when none is in hand.
func (p *parser) intervalUnit() int {
	for i, unit := range intervalUnits() {
		if p.word(unit) {
			return i
		}
	}
	return -1
}

// precision reads (n).
func (p *parser) precision() int {
	p.expect("(")
	digits := p.integer("a number of digits", 1<<16)
	p.expect(")")
	return int(digits)
}

// integer takes a whole number from zero to a highest value.
func (p *parser) integer(what string, highest int64) int64 {
	if p.token.kind != tokenNumber {
		p.unexpected(what)
	}
	value, err := strconv.ParseInt(p.token.text, 10, 64)
	if err != nil || value > highest {
		p.unexpected(what + " from 0 to " + strconv.FormatInt(highest, 10))
	}
	p.advance()
	return value
}

// typedLiteral reads DATE '..' and the like. It returns nil when a type word is not followed by a string.
func (p *parser) typedLiteral() Expr {
	ahead := p.peek()
	if ahead.kind != tokenString && (ahead.kind != tokenWord || !p.typeContinues(ahead.text)) {
		return nil
	}
	literal := &TypedLiteral{Pos: p.token.pos, Type: p.typeName()}
	if p.token.kind != tokenString {
		p.unexpected("a string")
	}
	literal.Value = p.token.text
	p.advance()
	return literal
}

// typeContinues reports whether the type word in hand and the word behind it form one type name, which in
// an expression can only be a typed literal.
func (p *parser) typeContinues(behind string) bool {
	switch {
	case p.isWord("double"):
		return sameWord(behind, "precision")
	case p.isWord("timestamp"), p.isWord("time"):
		if !sameWord(behind, "with") && !sameWord(behind, "without") {
			return false
		}
		ahead := p.lexer
		ahead.next()
		third := ahead.next()
		return third.kind == tokenWord && sameWord(third.text, "time")
	case p.isWord("char"), p.isWord("character"):
		return sameWord(behind, "varying")
	}
	return false
}

// namedArguments reads the calls whose arguments are separated by words, and the same functions with
// commas.
func (p *parser) namedArguments() Expr {
	call := &FuncCall{Pos: p.token.pos}
	function := p.takeName()
	call.Name = ObjectName{Pos: function.Pos, Name: function.Name}
	p.advance()
	switch function.Name {
	case "extract":
		p.extractArguments(call)
	case "trim":
		p.trimArguments(call)
	case "position":
		p.positionArguments(call)
	case "normalize":
		call.Args = []Expr{p.expression()}
		if p.another(1) {
			at := p.token.pos
			if form, found := p.normalForm(); found {
				call.Args = append(call.Args, &StringLiteral{Pos: at, Value: form})
			} else {
				call.Args = append(call.Args, p.expression())
			}
		}
	default:
		p.sliceArguments(call)
	}
	p.expect(")")
	return p.callSuffix(call)
}

// extractArguments reads field FROM x.
func (p *parser) extractArguments(call *FuncCall) {
	if ahead := p.peek(); ahead.kind == tokenWord && sameWord(ahead.text, "from") {
		field := p.nameOrString("a field such as YEAR")
		p.advance()
		call.Args = []Expr{&StringLiteral{Pos: field.Pos, Value: foldName(field.Name)}, p.expression()}
		return
	}
	call.Args = p.arguments()
}

// trimArguments reads [BOTH|LEADING|TRAILING] [characters] [FROM] x.
func (p *parser) trimArguments(call *FuncCall) {
	plain := false
	switch {
	case p.word("both"):
		call.Name.Name = "btrim"
	case p.word("leading"):
		call.Name.Name = "ltrim"
	case p.word("trailing"):
		call.Name.Name = "rtrim"
	default:
		call.Name.Name = "btrim"
		plain = true
	}
	if p.word("from") {
		call.Args = p.arguments()
		return
	}
	characters := p.expression()
	switch {
	case p.word("from"):
		call.Args = append(p.arguments(), characters)
	case plain && p.another(1):
		call.Args = append([]Expr{characters}, p.arguments()...)
	default:
		call.Args = []Expr{characters}
	}
}

// positionArguments reads a IN b. The comma form keeps the order of strpos: where to look, what to find.
func (p *parser) positionArguments(call *FuncCall) {
	call.Name.Name = "strpos"
	sought := p.operand(bindPattern + 1)
	if p.word("in") {
		call.Args = []Expr{p.operand(bindPattern + 1), sought}
		return
	}
	p.expect(",")
	call.Args = []Expr{sought, p.expression()}
}

// sliceArguments reads the arguments of SUBSTRING and OVERLAY.
func (p *parser) sliceArguments(call *FuncCall) {
	call.Args = []Expr{p.expression()}
	if p.another(1) {
		call.Args = append(call.Args, p.arguments()...)
		return
	}
	switch {
	case call.Name.Name == "overlay":
		p.expectWord("placing")
		call.Args = append(call.Args, p.expression())
	case p.word("similar"):
		call.Args = append(call.Args, p.expression())
		p.expectWord("escape")
		call.Args = append(call.Args, p.expression())
		return
	}
	from := p.isWord("from")
	if p.word("from") {
		call.Args = append(call.Args, p.expression())
	}
	if p.isWord("for") {
		at := p.token.pos
		p.advance()
		if !from {
			call.Args = append(call.Args, &IntegerLiteral{Pos: at, Value: 1})
		}
		call.Args = append(call.Args, p.expression())
		if !from && p.word("from") {
			call.Args[len(call.Args)-2] = p.expression()
		}
	}
}

// arguments reads expressions separated by commas, at least one.
func (p *parser) arguments() []Expr {
	list := []Expr{p.expression()}
	for p.another(len(list)) {
		list = append(list, p.expression())
	}
	return list
}
