package parse

import (
	"encoding/hex"
	"strings"
	"unicode/utf8"
)

// quoted reads a constant or identifier between quotes that are doubled to stand for themselves. open is
// the offset of the opening quote.
func (l *lexer) quoted(start Pos, open int, quote byte, kind tokenKind) token {
	doubled := false
	for i := open + 1; i < len(l.source); i++ {
		if l.source[i] != quote {
			continue
		}
		if i+1 < len(l.source) && l.source[i+1] == quote {
			doubled = true
			i++
			continue
		}
		text := l.source[open+1 : i]
		if doubled {
			text = strings.ReplaceAll(text, string([]byte{quote, quote}), string(quote))
		}
		if kind == tokenQuoted {
			checkQuoted(start, text)
		}
		return l.finishAnywhere(start, kind, text, i+1)
	}
	if kind == tokenQuoted {
		failSyntax(start, "unterminated quoted identifier, expected %q", rune(quote))
	}
	failSyntax(start, `unterminated string, expected "'"`)
	return token{}
}

// checkQuoted refuses quoted identifiers that cannot name anything.
func checkQuoted(start Pos, text string) {
	if text == "" {
		failSyntax(start, "a quoted identifier is empty, expected a name")
	}
	if len(text) > MaxIdentifierBytes {
		failLimit(start, "the name is longer than %d bytes", MaxIdentifierBytes)
	}
}

// escaped reads E'..' with its backslash escapes.
func (l *lexer) escaped(start Pos) token {
	var text strings.Builder
	i := l.offset + 2
	for i < len(l.source) {
		switch c := l.source[i]; {
		case c == '\'' && i+1 < len(l.source) && l.source[i+1] == '\'':
			text.WriteByte('\'')
			i += 2
		case c == '\'':
			if !utf8.ValidString(text.String()) || strings.IndexByte(text.String(), 0) >= 0 {
				failSyntax(start, "the escapes of the string do not make valid text")
			}
			return l.finishAnywhere(start, tokenString, text.String(), i+1)
		case c == '\\' && i+1 < len(l.source):
			i += l.escape(start, i, &text)
		default:
			text.WriteByte(c)
			i++
		}
	}
	failSyntax(start, `unterminated string, expected "'"`)
	return token{}
}

// unicodeEscaped reads U&'..' and U&".." with their escapes: \0061, \+000061 and \\, or with another character that UESCAPE names behind.
func (l *lexer) unicodeEscaped(start Pos) token {
	open := l.offset + 2
	kind := tokenString
	if l.source[open] == '"' {
		kind = tokenQuoted
	}
	read := l.quoted(start, open, l.source[open], kind)
	mark := l.escapeMark()
	read.end = int32(l.offset) //nolint:gosec // bounded by MaxTextBytes
	var text strings.Builder
	for i := 0; i < len(read.text); i++ {
		if read.text[i] != mark {
			text.WriteByte(read.text[i])
			continue
		}
		rest, width := read.text[i+1:], 4
		if rest != "" && rest[0] == mark {
			text.WriteByte(mark)
			i++
			continue
		}
		if strings.HasPrefix(rest, "+") {
			rest, width, i = rest[1:], 6, i+1
		}
		digits := lexer{source: rest}
		value, count := digits.digits(0, width, 16)
		if count != width || value == 0 || value > utf8.MaxRune || !utf8.ValidRune(rune(value)) { //nolint:gosec // six hexadecimal digits
			failSyntax(start, `invalid escape in the Unicode string, expected %c and %d hexadecimal digits of a character`, mark, width)
		}
		text.WriteRune(rune(value)) //nolint:gosec // six hexadecimal digits
		i += width
	}
	read.text = text.String()
	if kind == tokenQuoted {
		checkQuoted(start, read.text)
	}
	return read
}

// escapeMark reads what may follow a text with Unicode escapes: UESCAPE and the character that begins them.
func (l *lexer) escapeMark() byte {
	const word = "uescape"
	ahead := *l
	ahead.skipBlank()
	end := ahead.offset + len(word)
	if end > len(l.source) || !strings.EqualFold(l.source[ahead.offset:end], word) ||
		end < len(l.source) && (isWordPart(l.source[end]) || l.source[end] >= utf8.RuneSelf) {
		return '\\'
	}
	ahead.offset = end
	ahead.skipBlank()
	at, mark := ahead.here(), ""
	if ahead.follows(0, '\'') {
		mark = ahead.quoted(at, ahead.offset, '\'', tokenString).text
	}
	if len(mark) != 1 || digitValue(mark[0]) < 16 || mark[0] >= utf8.RuneSelf || strings.Contains(" \t\n\v\f\r+'\"", mark) {
		failSyntax(at, "invalid escape character, expected one character in quotes behind UESCAPE: no digit, letter from a to f, blank, quote or +")
	}
	*l = ahead
	return mark[0]
}

// escape writes the character that the escape at offset i stands for and returns how many bytes it took.
func (l *lexer) escape(start Pos, i int, text *strings.Builder) int {
	switch c := l.source[i+1]; c {
	case 'b':
		text.WriteByte('\b')
	case 'f':
		text.WriteByte('\f')
	case 'n':
		text.WriteByte('\n')
	case 'r':
		text.WriteByte('\r')
	case 't':
		text.WriteByte('\t')
	case 'x':
		value, digits := l.digits(i+2, 2, 16)
		if digits == 0 {
			text.WriteByte('x')
			return 2
		}
		text.WriteByte(byte(value)) //nolint:gosec // hex and octal digits of a bounded number
		return 2 + digits
	case 'u', 'U':
		width := 4
		if c == 'U' {
			width = 8
		}
		value, digits := l.digits(i+2, width, 16)
		if digits != width || value > utf8.MaxRune || !utf8.ValidRune(rune(value)) { //nolint:gosec // hex and octal digits of a bounded number
			failSyntax(start, `invalid escape "\%c" in the string, expected %d hexadecimal digits of a character`, c, width)
		}
		text.WriteRune(rune(value)) //nolint:gosec // hex and octal digits of a bounded number
		return 2 + width
	case '0', '1', '2', '3', '4', '5', '6', '7':
		value, digits := l.digits(i+1, 3, 8)
		text.WriteByte(byte(value)) //nolint:gosec // hex and octal digits of a bounded number
		return 1 + digits
	default:
		text.WriteByte(c)
	}
	return 2
}

// digits reads up to limit digits of a base at offset i and returns their value and number.
func (l *lexer) digits(i, limit, base int) (value, count int) {
	for count < limit && i+count < len(l.source) {
		digit := digitValue(l.source[i+count])
		if digit >= base {
			break
		}
		value = value*base + digit
		count++
	}
	return value, count
}

// digitValue returns the value of a hexadecimal digit, or 99 for any other byte.
func digitValue(c byte) int {
	switch {
	case isDigit(c):
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return 99
}

// hexBytes reads X'..'.
func (l *lexer) hexBytes(start Pos) token {
	raw := l.quoted(start, l.offset+1, '\'', tokenBytes)
	decoded, err := hex.DecodeString(raw.text)
	if err != nil {
		failSyntax(start, "invalid byte string, expected pairs of hexadecimal digits")
	}
	raw.text = string(decoded)
	return raw
}

// number reads a decimal number, or an integer of another base after 0x, 0o or 0b.
func (l *lexer) number(start Pos) token {
	i := l.offset
	if base := l.base(); base != 10 {
		count := l.run(i+2, base)
		if count == 0 {
			failSyntax(start, "invalid number %q, expected digits of base %d", l.source[i:i+2], base)
		}
		l.refuseJunk(i+2+count, "number")
		return l.finish(start, tokenNumber, l.source[i:i+2+count], i+2+count)
	}
	count := l.run(i, 10)
	i += count
	if i < len(l.source) && l.source[i] == '.' {
		i++
		count = l.run(i, 10)
		i += count
	}
	if i < len(l.source) && l.source[i]|0x20 == 'e' {
		mark := i + 1
		if mark < len(l.source) && (l.source[mark] == '+' || l.source[mark] == '-') {
			mark++
		}
		count = l.run(mark, 10)
		if count == 0 {
			failSyntax(start, "invalid number %q, expected digits after the exponent sign", l.source[l.offset:mark])
		}
		i = mark + count
	}
	l.refuseJunk(i, "number")
	return l.finish(start, tokenNumber, l.source[l.offset:i], i)
}

// base returns the base that the prefix of a number states.
func (l *lexer) base() int {
	if l.source[l.offset] != '0' || l.offset+1 >= len(l.source) {
		return 10
	}
	switch l.source[l.offset+1] | 0x20 {
	case 'x':
		return 16
	case 'o':
		return 8
	case 'b':
		return 2
	}
	return 10
}

// run counts the digits of a base from offset i on, with single underscores between them.
func (l *lexer) run(i, base int) (count int) {
	for i+count < len(l.source) {
		c := l.source[i+count]
		switch {
		case digitValue(c) < base:
		case c == '_' && count > 0 && i+count+1 < len(l.source) && digitValue(l.source[i+count+1]) < base:
		default:
			return count
		}
		count++
	}
	return count
}

// refuseJunk fails when a number or parameter, which begins at the current byte, runs into a word.
func (l *lexer) refuseJunk(end int, what string) {
	if end >= len(l.source) || !isWordPart(l.source[end]) && l.source[end] < utf8.RuneSelf {
		return
	}
	text := l.source[l.offset:end]
	l.advanceTo(end)
	stop := end
	for stop < len(l.source) && (isWordPart(l.source[stop]) || l.source[stop] >= utf8.RuneSelf) {
		stop++
	}
	failSyntax(l.here(), `unexpected "%s" behind the %s "%s", expected a space or an operator`,
		shorten(l.source[end:stop]), what, shorten(text))
}
