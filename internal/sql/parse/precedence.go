package parse

// The binding strengths of PostgreSQL, weakest first. An operator's right operand is parsed one step
// stronger, because every operator associates to the left or not at all.
const (
	bindNothing = iota
	bindOr
	bindAnd
	bindNot
	bindIs         // IS, ISNULL, NOTNULL: not associative
	bindComparison // < > = <= >= <>: not associative
	bindPattern    // BETWEEN IN LIKE ILIKE SIMILAR: not associative
	bindOther      // all operators that are not listed
	bindSum        // + -
	bindProduct    // * / %
	bindPower      // ^
	bindZone       // AT TIME ZONE
	bindCollate
	bindSign // unary minus
	bindPostfix
	bindAtom
)

// operatorBinding returns the strength of an infix symbol, or bindNothing when it is none.
func operatorBinding(symbol string) int {
	switch symbol {
	case "=", "<", ">", "<=", ">=", "<>":
		return bindComparison
	case "+", "-":
		return bindSum
	case "*", "/", "%":
		return bindProduct
	case "^":
		return bindPower
	case "::", "[":
		return bindPostfix
	case "~", "~*", "!~", "!~*", "|", "&", "#", "<<", ">>", "||", "&&", "->", "->>", "#>", "#>>", "#-",
		"@>", "<@", "?", "?|", "?&", "@?", "@@", "<->", "<=>", "<#>", "~~", "~~*", "!~~", "!~~*", "^@":
		return bindOther
	}
	return bindNothing
}

// infixBinding returns the strength with which the token in hand continues an expression, or bindNothing.
func (p *parser) infixBinding() int {
	switch p.token.kind { //nolint:exhaustive // the others need nothing here
	case tokenSymbol:
		return operatorBinding(p.token.text)
	case tokenWord:
		var buffer wordBuffer
		switch string(buffer.fold(p.token.text)) {
		case "or":
			return bindOr
		case "and":
			return bindAnd
		case "is", "isnull", "notnull":
			return bindIs
		case "in", "between", "like", "ilike":
			return bindPattern
		case "similar":
			if p.peekWord("to") { // not the SIMILAR of SUBSTRING
				return bindPattern
			}
		case "overlaps":
			if p.peekIs("(") || p.peekWord("row") {
				return bindPattern
			}
		case "not":
			return p.negatedBinding()
		case "at":
			if p.peekWord("time") {
				return bindZone
			}
		case "collate":
			return bindCollate
		case "operator":
			if p.peekIs("(") {
				return bindOther
			}
		}
	}
	return bindNothing
}

// negatedBinding decides whether NOT continues an expression, as in NOT IN.
func (p *parser) negatedBinding() int {
	ahead := p.peek()
	if ahead.kind != tokenWord {
		return bindNothing
	}
	var buffer wordBuffer
	switch string(buffer.fold(ahead.text)) {
	case "in", "between", "like", "ilike", "similar":
		return bindPattern
	}
	return bindNothing
}
