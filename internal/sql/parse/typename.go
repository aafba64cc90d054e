package parse

import "strings"

// maxTypeArgument is the highest length, precision or dimension that a type name can carry.
const maxTypeArgument = 1<<31 - 1

// typeName reads the name of a data type.
func (p *parser) typeName() TypeName {
	name := TypeName{Pos: p.token.pos}
	first := p.typeWord()
	if first == "pg_catalog" && p.symbol(".") {
		first = p.typeWord()
	}
	name.Name = first
	p.typeWords(&name)
	switch {
	case name.Name == "enum":
		p.enumLabels(&name)
	case p.is("("):
		p.typeArguments(&name)
	}
	p.zoneWords(&name)
	if p.word("array") {
		name.Array = true
	}
	for p.is("[") {
		p.advance()
		if !p.is("]") {
			p.integer("a length", maxTypeArgument)
		}
		p.expect("]")
		name.Array = true
	}
	return name
}

// typeWord takes the first word of a type name. A quoted one must look like a word.
func (p *parser) typeWord() string {
	if !p.isName() {
		p.unexpected("the name of a type")
	}
	at := p.token.pos
	word := p.takeName().Name
	for i := 0; i < len(word); i++ {
		if c := word[i]; lower(c) != c || !isWordPart(c) || isDigit(c) && i == 0 {
			failSyntax(at, "unexpected %q, expected the name of a type", shorten(word))
		}
	}
	if isReserved(word) {
		failSyntax(at, "unexpected %q, expected the name of a type", word)
	}
	return word
}

// typeWords takes the further words of the types that have several.
func (p *parser) typeWords(name *TypeName) {
	switch name.Name {
	case "double":
		if p.word("precision") {
			name.Name = "double precision"
		}
	case "char", "character", "bit", "nchar":
		if p.word("varying") {
			name.Name += " varying"
		}
	case "national":
		if p.isWord("character") || p.isWord("char") {
			name.Name += " " + strings.ToLower(p.token.text)
			p.advance()
			if p.word("varying") {
				name.Name += " varying"
			}
		}
	case "tinyint", "smallint", "int", "integer", "bigint":
		if p.word("unsigned") {
			name.Name += " unsigned"
		}
	}
}

// enumLabels reads ('a', ..) behind ENUM.
func (p *parser) enumLabels(name *TypeName) {
	p.expect("(")
	for {
		name.Labels = append(name.Labels, p.text("a label in quotes"))
		if !p.another(len(name.Labels)) {
			break
		}
	}
	p.expect(")")
}

// typeArguments reads (n, ..) behind a type.
func (p *parser) typeArguments(name *TypeName) {
	p.expect("(")
	for {
		name.Args = append(name.Args, int(p.integer("a number", maxTypeArgument)))
		if !p.another(len(name.Args)) {
			break
		}
	}
	p.expect(")")
}

// zoneWords takes WITH or WITHOUT TIME ZONE behind the types of time.
func (p *parser) zoneWords(name *TypeName) {
	if name.Name != "timestamp" && name.Name != "time" {
		return
	}
	for _, word := range []string{"with", "without"} {
		if p.isWord(word) && p.peekWord("time") {
			p.advance()
			p.advance()
			p.expectWord("zone")
			name.Name += " " + word + " time zone"
			return
		}
	}
}
