package jsonpath

import (
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

type tokenKind uint8

const (
	endToken tokenKind = iota
	symbolToken
	wordToken // a name or a keyword
	textToken
	variableToken
	integerToken
	numberToken
)

// token is a word of a path. text is what it says: without quotes and escapes.
type token struct {
	kind tokenKind
	text string
	at   int // where it begins
}

type lexer struct {
	source string
	at     int
}

const specials = "?%$.[]{}()|&!=<>@#,*:-+/"

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' }

// isWordByte reports whether a byte may stand in a name as it is.
func isWordByte(c byte) bool {
	return !isBlank(c) && c != '"' && c != '\\' && c != 0 && strings.IndexByte(specials, c) < 0
}

// next reads a token.
func (l *lexer) next() token {
	l.skip()
	start := l.at
	if start >= len(l.source) {
		return token{endToken, "", start}
	}
	c := l.source[start]
	switch {
	case c == '"':
		return token{textToken, l.quoted(), start}
	case c == '$':
		l.at++
		if l.at < len(l.source) && l.source[l.at] == '"' {
			return token{variableToken, l.quoted(), start}
		}
		if l.at < len(l.source) && (isWordByte(l.source[l.at]) || l.source[l.at] == '\\') {
			return token{variableToken, l.word(), start}
		}
		return token{symbolToken, "$", start}
	case isDigit(c), c == '.' && l.digitAt(start+1):
		return l.number()
	case strings.IndexByte(specials, c) >= 0:
		return l.symbol()
	case c == '\\', isWordByte(c):
		return token{wordToken, l.word(), start}
	}
	fail(start, "unexpected character %q", c)
	return token{}
}

// skip goes over blanks and comments.
func (l *lexer) skip() {
	for l.at < len(l.source) {
		if isBlank(l.source[l.at]) {
			l.at++
			continue
		}
		if !strings.HasPrefix(l.source[l.at:], "/*") {
			return
		}
		end := strings.Index(l.source[l.at+2:], "*/")
		if end < 0 {
			fail(l.at, "a comment does not end")
		}
		l.at += end + 4
	}
}

func (l *lexer) symbol() token {
	start := l.at
	for _, long := range [...]string{"&&", "||", "==", "<>", "!=", "<=", ">=", "**"} {
		if strings.HasPrefix(l.source[start:], long) {
			l.at += 2
			return token{symbolToken, long, start}
		}
	}
	l.at++
	return token{symbolToken, l.source[start:l.at], start}
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func (l *lexer) digitAt(at int) bool { return at < len(l.source) && isDigit(l.source[at]) }

func (l *lexer) digits() {
	for l.digitAt(l.at) {
		l.at++
	}
}

// number reads 12, 1.5, 1., .5 and 1e-3.
func (l *lexer) number() token {
	start, kind := l.at, integerToken
	l.digits()
	if whole := l.source[start:l.at]; len(whole) > 1 && whole[0] == '0' {
		fail(start, "the number %s begins with a zero", shorten(whole))
	}
	if l.at < len(l.source) && l.source[l.at] == '.' {
		kind = numberToken
		l.at++
		l.digits()
	}
	if l.at < len(l.source) && l.source[l.at]|' ' == 'e' {
		sign := l.at + 1
		if sign < len(l.source) && (l.source[sign] == '+' || l.source[sign] == '-') {
			sign++
		}
		if l.digitAt(sign) {
			kind, l.at = numberToken, sign
			l.digits()
		}
	}
	if l.at < len(l.source) && (isWordByte(l.source[l.at]) || l.source[l.at] == '\\') {
		fail(start, "trailing junk after the number %s", shorten(l.source[start:l.at]))
	}
	return token{kind, l.source[start:l.at], start}
}

// word reads a name, in which escapes may stand.
func (l *lexer) word() string {
	var out strings.Builder
	for l.at < len(l.source) {
		c := l.source[l.at]
		switch {
		case c == '\\':
			l.escape(&out)
		case isWordByte(c):
			out.WriteByte(c)
			l.at++
		default:
			return out.String()
		}
	}
	return out.String()
}

func (l *lexer) quoted() string {
	start := l.at
	var out strings.Builder
	for l.at++; l.at < len(l.source); {
		switch c := l.source[l.at]; c {
		case '"':
			l.at++
			return out.String()
		case '\\':
			l.escape(&out)
		case 0:
			fail(l.at, "a text holds no character NUL")
		default:
			out.WriteByte(c)
			l.at++
		}
	}
	fail(start, "a text in double quotes does not end")
	return ""
}

// escape reads a backslash and what follows it.
func (l *lexer) escape(out *strings.Builder) {
	start := l.at
	if l.at += 2; l.at > len(l.source) {
		fail(start, "the path ends in a backslash")
	}
	switch c := l.source[l.at-1]; c {
	case 'b':
		out.WriteByte('\b')
	case 'f':
		out.WriteByte('\f')
	case 'n':
		out.WriteByte('\n')
	case 'r':
		out.WriteByte('\r')
	case 't':
		out.WriteByte('\t')
	case 'v':
		out.WriteByte('\v')
	case 'x':
		l.writeRune(out, start, l.hex(2))
	case 'u':
		r := l.unit()
		if utf16.IsSurrogate(r) && strings.HasPrefix(l.source[l.at:], `\u`) {
			l.at += 2
			r = utf16.DecodeRune(r, l.unit())
		}
		l.writeRune(out, start, r)
	default:
		l.at-- // the character stands for itself
		r, size := utf8.DecodeRuneInString(l.source[l.at:])
		l.at += size
		if r == 0 {
			fail(start, "a text holds no character NUL")
		}
		out.WriteRune(r)
	}
}

// unit reads XXXX or {X…}.
func (l *lexer) unit() rune {
	if l.at >= len(l.source) || l.source[l.at] != '{' {
		return l.hex(4)
	}
	end := strings.IndexByte(l.source[l.at:min(len(l.source), l.at+8)], '}')
	if end < 2 {
		fail(l.at, "an escape \\u{…} holds one to six hexadecimal digits")
	}
	l.at++
	r := l.hex(end - 1)
	l.at++
	return r
}

func (l *lexer) hex(digits int) rune {
	text := l.source[l.at:min(len(l.source), l.at+digits)]
	value, err := strconv.ParseUint(text, 16, 32)
	if err != nil || len(text) < digits || text[0] == '+' {
		fail(l.at, "an escape needs %d hexadecimal digits", digits)
	}
	l.at += digits
	return rune(value) //nolint:gosec // at most six digits
}

func (l *lexer) writeRune(out *strings.Builder, at int, r rune) {
	if r == 0 || !utf8.ValidRune(r) || r == utf8.RuneError {
		fail(at, "an escape stands for no character")
	}
	out.WriteRune(r)
}
