package parse

import (
	"math"
	"math/big"
	"strconv"
	"strings"
)

// prefix reads an operand with the prefix operators in front of it, up to the first infix operator.
func (p *parser) prefix() Expr {
	p.enter()
	defer p.leave()
	at := p.token.pos
	switch p.token.kind { //nolint:exhaustive // the others need nothing here
	case tokenWord:
		return p.wordExpression()
	case tokenQuoted:
		return p.nameExpression(p.takeName())
	case tokenNumber:
		return p.number()
	case tokenString:
		return p.textLiteral()
	case tokenBytes:
		literal := &BytesLiteral{Pos: at, Value: p.token.text}
		p.advance()
		return literal
	case tokenParam:
		return p.parameter()
	case tokenSymbol:
		return p.symbolExpression()
	}
	p.unexpected("an expression")
	return nil
}

// textLiteral takes a text. Those that follow it on later lines belong to it, as in PostgreSQL.
func (p *parser) textLiteral() Expr {
	literal := &StringLiteral{Pos: p.token.pos, Value: p.token.text}
	p.advance()
	var parts []string
	for p.token.kind == tokenString && p.token.pos.Line > literal.Line {
		parts = append(parts, p.token.text)
		p.advance()
	}
	if parts != nil {
		literal.Value += strings.Join(parts, "")
	}
	return literal
}

// symbolExpression reads an operand that begins with a symbol.
func (p *parser) symbolExpression() Expr {
	at := p.token.pos
	switch p.token.text {
	case "(":
		value, query := p.parenthesised()
		if query != nil {
			value = &Subquery{Pos: at, Query: query}
		}
		return p.fields(value)
	case "-":
		p.advance()
		return negated(at, p.operand(bindSign))
	case "+":
		p.advance()
		return p.operand(bindSign)
	case "~":
		p.advance()
		return &Unary{Pos: at, Op: "~", Expr: p.operand(bindOther + 1)}
	case "|/", "||/", "@":
		name := map[string]string{"|/": "sqrt", "||/": "cbrt", "@": "abs"}[p.token.text]
		p.advance()
		return &FuncCall{Pos: at, Name: ObjectName{Pos: at, Name: name}, Args: []Expr{p.operand(bindOther + 1)}}
	}
	p.unexpected("an expression")
	return nil
}

// fields reads the fields that are taken of a value in parentheses.
func (p *parser) fields(value Expr) Expr {
	for chained := 0; p.is("."); chained++ {
		if chained == MaxFields {
			p.unexpected("fewer fields of fields")
		}
		at := p.token.pos
		p.advance()
		if p.is("*") {
			failUnsupported(p.token.pos, refusedAll)
		}
		value = &Field{Pos: at, Expr: value, Name: p.label("the name of a field").Name}
	}
	return value
}

// negated applies a minus sign: to the literal itself when the operand is a number.
func negated(at Pos, operand Expr) Expr {
	switch number := operand.(type) {
	case *IntegerLiteral:
		if number.Value == math.MinInt64 {
			return &DecimalLiteral{Pos: at, Text: "9223372036854775808"}
		}
		return &IntegerLiteral{Pos: at, Value: -number.Value}
	case *DecimalLiteral:
		if positive, found := strings.CutPrefix(number.Text, "-"); found {
			return &DecimalLiteral{Pos: at, Text: positive}
		}
		if number.Text == "9223372036854775808" {
			return &IntegerLiteral{Pos: at, Value: math.MinInt64}
		}
		return &DecimalLiteral{Pos: at, Text: "-" + number.Text}
	}
	return &Unary{Pos: at, Op: "-", Expr: operand}
}

// number takes a numeric literal.
func (p *parser) number() Expr {
	at, text := p.token.pos, p.token.text
	p.advance()
	if strings.IndexByte(text, '_') >= 0 {
		text = strings.ReplaceAll(text, "_", "")
	}
	if value, err := strconv.ParseInt(text, 10, 64); err == nil {
		return &IntegerLiteral{Pos: at, Value: value}
	}
	if len(text) > 2 && text[0] == '0' && !isDigit(text[1]) && text[1] != '.' && text[1]|0x20 != 'e' {
		value, ok := new(big.Int).SetString(text, 0)
		if !ok {
			failSyntax(at, "invalid number %q", shorten(text))
		}
		if value.IsInt64() {
			return &IntegerLiteral{Pos: at, Value: value.Int64()}
		}
		return &DecimalLiteral{Pos: at, Text: value.String()}
	}
	if digits := strings.TrimLeft(text, "0"); strings.Trim(digits, "0123456789") == "" {
		if value, err := strconv.ParseInt("0"+digits, 10, 64); err == nil {
			return &IntegerLiteral{Pos: at, Value: value}
		}
		return &DecimalLiteral{Pos: at, Text: digits}
	}
	return &DecimalLiteral{Pos: at, Text: text}
}

// parameter takes $n.
func (p *parser) parameter() Expr {
	at := p.token.pos
	index, err := strconv.Atoi(p.token.text)
	if err != nil || index < 1 || index > MaxParamIndex {
		failSyntax(at, `unexpected "$%s", expected a parameter from $1 to $%d`, shorten(p.token.text), MaxParamIndex)
	}
	p.advance()
	p.parameters = max(p.parameters, index)
	return &Param{Pos: at, Index: index}
}

// wordExpression reads an operand that begins with an unquoted word.
func (p *parser) wordExpression() Expr {
	at := p.token.pos
	var buffer wordBuffer
	switch string(buffer.fold(p.token.text)) {
	case "null":
		p.advance()
		return &NullLiteral{Pos: at}
	case "true":
		p.advance()
		return &BoolLiteral{Pos: at, Value: true}
	case "false":
		p.advance()
		return &BoolLiteral{Pos: at}
	case "default":
		return p.defaultWord()
	case "not":
		p.advance()
		return &Not{Pos: at, Expr: p.operand(bindNot)}
	case "case":
		return p.caseExpression()
	case "left", "right":
		if p.peekIs("(") {
			return p.nameExpression(p.takeName())
		}
	}
	if notation := p.notation(); notation != nil {
		return notation
	}
	if isNiladic(p.token.text) {
		return p.niladic()
	}
	return p.nameExpression(p.name("an expression"))
}

// defaultWord reads DEFAULT as the namespace of that name, in front of a point.
func (p *parser) defaultWord() Expr {
	if !p.peekIs(".") {
		p.unexpected("an expression")
	}
	return p.nameExpression(p.takeName())
}

// assignable reads an expression, or DEFAULT.
func (p *parser) assignable() Expr {
	if p.isWord("default") && !p.peekIs(".") {
		at := p.token.pos
		p.advance()
		return &DefaultValue{Pos: at}
	}
	return p.expression()
}

// niladic reads CURRENT_USER and the like, whose parentheses are optional.
func (p *parser) niladic() Expr {
	name := p.takeName()
	if p.is("(") {
		return p.call(ObjectName{Pos: name.Pos, Name: name.Name})
	}
	return p.callSuffix(&FuncCall{Pos: name.Pos, Name: ObjectName{Pos: name.Pos, Name: name.Name}})
}

// nameExpression reads a column, t.*, or a call, from behind its first name on.
func (p *parser) nameExpression(first Ident) Expr {
	column := &ColumnRef{Pos: first.Pos, Name: first.Name}
	for parts := 1; p.is("."); parts++ {
		if parts == 4 {
			p.unexpected("a name of at most four parts")
		}
		p.advance()
		if p.is("*") {
			p.advance()
			if column.Catalog != "" {
				failSyntax(first.Pos, "the name before .* has more than three parts")
			}
			return &Star{Pos: first.Pos, Catalog: column.Namespace, Namespace: column.Table, Table: column.Name}
		}
		column.Catalog, column.Namespace, column.Table = column.Namespace, column.Table, column.Name
		column.Name = p.label("a name").Name
	}
	if !p.is("(") {
		return column
	}
	if column.Catalog != "" {
		p.unexpected("a function name of at most three parts")
	}
	return p.call(ObjectName{
		Pos: first.Pos, Catalog: column.Namespace, Namespace: column.Table, Name: column.Name,
	})
}

// caseExpression reads CASE .. END.
func (p *parser) caseExpression() Expr {
	choice := &Case{Pos: p.token.pos}
	p.advance()
	if !p.isWord("when") {
		choice.Operand = p.expression()
	}
	for p.isWord("when") {
		branch := When{Pos: p.token.pos}
		p.advance()
		branch.Condition = p.expression()
		p.expectWord("then")
		branch.Result = p.expression()
		choice.Whens = append(choice.Whens, branch)
	}
	if len(choice.Whens) == 0 {
		p.unexpected("WHEN")
	}
	if p.word("else") {
		choice.Else = p.expression()
	}
	if !p.isWord("end") {
		p.unexpected("WHEN, ELSE or END")
	}
	p.advance()
	return choice
}
