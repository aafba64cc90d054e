package main

import "strings"

// split cuts the first statement off a text: up to a semicolon that is outside of quotes and comments. complete is
// false when the text ends before the statement does; then statement is everything.
func split(text string) (statement, rest string, complete bool) {
	for i := 0; i < len(text); {
		switch {
		case text[i] == ';':
			return strings.TrimSpace(text[:i]), text[i+1:], true
		case strings.HasPrefix(text[i:], "--"):
			i = after(text, i, "\n")
		case strings.HasPrefix(text[i:], "/*"):
			i = afterComment(text, i)
		case text[i] == '\'':
			i = afterQuoted(text, i, '\'', escapes(text, i))
		case text[i] == '$' && (i == 0 || !word(text[i-1])) && dollarTag(text[i:]) != "":
			tag := dollarTag(text[i:])
			i = after(text, i+len(tag), tag)
		case text[i] == '"' || text[i] == '`':
			i = afterQuoted(text, i, text[i], false)
		default:
			i++
		}
	}
	return strings.TrimSpace(text), "", false
}

// dollarTag is what begins a text in dollar quotes, $$ or $name$, and ends it; "" when a text does not begin so.
func dollarTag(text string) string {
	for i := 1; i < len(text); i++ {
		switch c := text[i]; {
		case c == '$':
			return text[:i+1]
		case !word(c) || i == 1 && c >= '0' && c <= '9': // $1 is a parameter
			return ""
		}
	}
	return ""
}

// open reports whether a text ends inside quotes or a block comment, so that a semicolon there would end nothing.
func open(text string) bool {
	_, _, complete := split(text + "\n;")
	return !complete
}

// blank reports whether a text holds nothing but comments.
func blank(text string) bool {
	for {
		text = strings.TrimSpace(text)
		switch {
		case text == "":
			return true
		case strings.HasPrefix(text, "--"):
			text = text[after(text, 0, "\n"):]
		case strings.HasPrefix(text, "/*"):
			text = text[afterComment(text, 0):]
		default:
			return false
		}
	}
}

func after(text string, from int, end string) int {
	if at := strings.Index(text[from:], end); at >= 0 {
		return from + at + len(end)
	}
	return len(text)
}

// afterComment passes over a block comment and the comments inside of it.
func afterComment(text string, i int) int {
	depth := 0
	for i < len(text) {
		switch {
		case strings.HasPrefix(text[i:], "/*"):
			depth++
			i += 2
		case strings.HasPrefix(text[i:], "*/"):
			depth--
			i += 2
			if depth == 0 {
				return i
			}
		default:
			i++
		}
	}
	return i
}

// afterQuoted passes over a quoted text; the quote itself is doubled inside.
func afterQuoted(text string, i int, quote byte, escapes bool) int {
	for i++; i < len(text); i++ {
		switch {
		case escapes && text[i] == '\\':
			i++
		case text[i] == quote && i+1 < len(text) && text[i+1] == quote:
			i++
		case text[i] == quote:
			return i + 1
		}
	}
	return len(text)
}

// escapes reports whether the string that begins at i is an E'…' string.
func escapes(text string, i int) bool {
	if i == 0 || text[i-1] != 'e' && text[i-1] != 'E' {
		return false
	}
	return i == 1 || !word(text[i-2])
}

func word(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
}

// firstWord is the first word of a statement in capitals.
func firstWord(statement string) string {
	for strings.HasPrefix(statement, "--") || strings.HasPrefix(statement, "/*") {
		if statement[0] == '-' {
			statement = strings.TrimSpace(statement[after(statement, 0, "\n"):])
		} else {
			statement = strings.TrimSpace(statement[afterComment(statement, 0):])
		}
	}
	end := 0
	for end < len(statement) && word(statement[end]) {
		end++
	}
	return strings.ToUpper(statement[:end])
}

// block collects the statements of a transaction, so that they travel in one request.
type block struct{ statements []string }

// add takes a statement and returns what is to be sent now; nothing while a transaction is open.
func (b *block) add(statement string) (ready string, ok bool) {
	switch firstWord(statement) {
	case "BEGIN", "START":
		if len(b.statements) == 0 {
			b.statements = []string{statement}
			return "", false
		}
	case "COMMIT", "ROLLBACK", "END":
		if len(b.statements) > 0 && !strings.Contains(strings.ToUpper(statement), " TO ") {
			ready = strings.Join(append(b.statements, statement), ";\n")
			b.statements = nil
			return ready, true
		}
	}
	if len(b.statements) == 0 {
		return statement, true
	}
	b.statements = append(b.statements, statement)
	return "", false
}

// opened reports whether a transaction is being collected.
func (b *block) opened() bool { return len(b.statements) > 0 }
