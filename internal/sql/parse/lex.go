package parse

import (
	"unicode"
	"unicode/utf8"
)

// tokenKind is the class of a token.
type tokenKind uint8

const (
	tokenEnd    tokenKind = iota // end of the text
	tokenWord                    // unquoted word: keyword or identifier, in its original case
	tokenQuoted                  // quoted identifier, unescaped
	tokenString                  // string constant, unescaped
	tokenBytes                   // X'..', decoded
	tokenNumber                  // number as written
	tokenParam                   // $n: the digits
	tokenSymbol                  // operator or punctuation
)

// token is one lexical unit. Its text points into the source wherever nothing had to be unescaped.
type token struct {
	kind tokenKind
	text string
	pos  Pos
	end  int32 // offset behind the last byte
}

// lexer cuts the text into tokens on demand. It is a small value: copying it saves the place.
type lexer struct {
	source    string
	offset    int
	line      int
	lineStart int // offset of the first byte of the line
	surplus   int // bytes on this line that continue a character, so that columns count characters
}

// here returns the place of the next byte.
func (l *lexer) here() Pos {
	return Pos{
		Offset: int32(l.offset), //nolint:gosec // the text is at most MaxTextBytes long
		Line:   int32(l.line),   //nolint:gosec // as above
		Column: int32(l.offset - l.lineStart - l.surplus + 1),
	}
}

// advanceTo moves to an offset, keeping account of lines and of bytes that continue characters.
func (l *lexer) advanceTo(offset int) {
	for i := l.offset; i < offset; i++ {
		switch c := l.source[i]; {
		case c == '\n':
			l.line++
			l.lineStart = i + 1
			l.surplus = 0
		case c >= 0x80 && c < 0xC0:
			l.surplus++
		}
	}
	l.offset = offset
}

// next returns the next token. It panics with a failure when there is none.
func (l *lexer) next() token {
	l.skipBlank()
	start := l.here()
	if l.offset >= len(l.source) {
		return token{kind: tokenEnd, pos: start, end: start.Offset}
	}
	switch c := l.source[l.offset]; {
	case isWordStart(c):
		return l.word(start)
	case c >= '0' && c <= '9':
		return l.number(start)
	case c == '\'':
		return l.quoted(start, l.offset, '\'', tokenString)
	case c == '"' || c == '`':
		return l.quoted(start, l.offset, c, tokenQuoted)
	case c == '$':
		return l.dollar(start)
	case c == '.' && l.offset+1 < len(l.source) && isDigit(l.source[l.offset+1]):
		return l.number(start)
	default:
		return l.symbol(start)
	}
}

// finish ends a token at an offset of the same line whose bytes are ASCII.
func (l *lexer) finish(start Pos, kind tokenKind, text string, end int) token {
	l.offset = end
	return token{kind: kind, text: text, pos: start, end: int32(end)} //nolint:gosec // bounded by MaxTextBytes
}

// finishAnywhere ends a token that may span lines or hold any characters.
func (l *lexer) finishAnywhere(start Pos, kind tokenKind, text string, end int) token {
	l.advanceTo(end)
	return token{kind: kind, text: text, pos: start, end: int32(end)} //nolint:gosec // bounded by MaxTextBytes
}

// skipBlank skips white space and comments.
func (l *lexer) skipBlank() {
	for l.offset < len(l.source) {
		switch c := l.source[l.offset]; {
		case c == ' ' || c == '\t' || c == '\r' || c == '\f' || c == '\v':
			l.offset++
		case c == '\n':
			l.offset++
			l.line++
			l.lineStart = l.offset
			l.surplus = 0
		case c == '-' && l.follows(1, '-'):
			end := l.offset
			for end < len(l.source) && l.source[end] != '\n' {
				end++
			}
			l.advanceTo(end)
		case c == '/' && l.follows(1, '*'):
			l.blockComment()
		default:
			return
		}
	}
}

// follows reports whether the byte at a distance from the current one is c.
func (l *lexer) follows(distance int, c byte) bool {
	return l.offset+distance < len(l.source) && l.source[l.offset+distance] == c
}

// blockComment skips a comment and those nested in it.
func (l *lexer) blockComment() {
	start := l.here()
	depth, i := 0, l.offset
	for i+1 < len(l.source) {
		switch {
		case l.source[i] == '/' && l.source[i+1] == '*':
			depth++
			i += 2
		case l.source[i] == '*' && l.source[i+1] == '/':
			depth--
			i += 2
			if depth == 0 {
				l.advanceTo(i)
				return
			}
		default:
			i++
		}
	}
	failSyntax(start, `unterminated comment, expected "*/"`)
}

// word reads an unquoted word, or the string constant that a one-letter prefix introduces.
func (l *lexer) word(start Pos) token {
	i := l.offset
	if l.source[i]|0x20 == 'u' && l.follows(1, '&') && (l.follows(2, '\'') || l.follows(2, '"')) {
		return l.unicodeEscaped(start)
	}
	if i+1 < len(l.source) && l.source[i+1] == '\'' {
		switch l.source[i] {
		case 'e', 'E':
			return l.escaped(start)
		case 'x', 'X':
			return l.hexBytes(start)
		case 'b', 'B':
			failUnsupported(start, refusedBits)
		case 'n', 'N':
			return l.quoted(start, i+1, '\'', tokenString)
		}
	}
	for i < len(l.source) {
		if isWordPart(l.source[i]) {
			i++
			continue
		}
		if l.source[i] < utf8.RuneSelf {
			break
		}
		r, size := utf8.DecodeRuneInString(l.source[i:])
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r) {
			break
		}
		i += size
	}
	if i == l.offset {
		l.unexpectedCharacter(start)
	}
	if i-l.offset > MaxIdentifierBytes {
		failLimit(start, "the name is longer than %d bytes", MaxIdentifierBytes)
	}
	return l.finishAnywhere(start, tokenWord, l.source[l.offset:i], i)
}

// unexpectedCharacter fails at a character that begins no token.
func (l *lexer) unexpectedCharacter(start Pos) {
	r, _ := utf8.DecodeRuneInString(l.source[l.offset:])
	failSyntax(start, "unexpected character %q", r)
}

// dollar reads a parameter or a dollar-quoted string.
func (l *lexer) dollar(start Pos) token {
	i := l.offset + 1
	if i < len(l.source) && isDigit(l.source[i]) {
		for i < len(l.source) && isDigit(l.source[i]) {
			i++
		}
		l.refuseJunk(i, "parameter")
		return l.finish(start, tokenParam, l.source[l.offset+1:i], i)
	}
	for i < len(l.source) && l.source[i] != '$' && (isWordPart(l.source[i]) || l.source[i] >= utf8.RuneSelf) {
		i++
	}
	if i >= len(l.source) || l.source[i] != '$' {
		failSyntax(start, `unexpected "$", expected a parameter such as $1`)
	}
	tag := l.source[l.offset : i+1]
	for body := i + 1; i+len(tag) < len(l.source); {
		i++
		if l.source[i] == '$' && i+len(tag) <= len(l.source) && l.source[i:i+len(tag)] == tag {
			return l.finishAnywhere(start, tokenString, l.source[body:i], i+len(tag))
		}
	}
	failSyntax(start, "unterminated string, expected %s", tag)
	return token{}
}

// symbol reads an operator or punctuation: the longest spelling that exists.
func (l *lexer) symbol(start Pos) token {
	rest := l.source[l.offset:]
	for size := min(4, len(rest)); size > 0; size-- {
		if isSymbol(rest[:size]) {
			text := rest[:size]
			if text == "!=" {
				text = "<>"
			}
			return l.finish(start, tokenSymbol, text, l.offset+size)
		}
	}
	if rest[0] >= utf8.RuneSelf {
		return l.word(start)
	}
	l.unexpectedCharacter(start)
	return token{}
}

// isSymbol reports whether s is an operator or punctuation of the language.
func isSymbol(s string) bool {
	switch s {
	case "(", ")", "[", "]", ",", ";", ".", ":", "::",
		"+", "-", "*", "/", "%", "^", "=", "<", ">", "<=", ">=", "<>", "!=",
		"~", "~*", "!~", "!~*", "|", "&", "#", "<<", ">>", "||", "&&",
		"->", "->>", "#>", "#>>", "#-", "@>", "<@", "?", "?|", "?&", "@?", "@@",
		"<->", "<=>", "<#>", "~~", "~~*", "!~~", "!~~*", "^@", "|/", "||/", "@", "=>", ":=":
		return true
	}
	return false
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isWordStart(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_'
}

func isWordPart(c byte) bool { return isWordStart(c) || isDigit(c) || c == '$' }
