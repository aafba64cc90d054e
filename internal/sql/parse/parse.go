package parse

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/kalamdb/kalamdb-go/internal/fault"
)

// Parsed is one statement of a batch.
type Parsed struct {
	Statement  Statement
	Text       string // from the first to the last token, without the semicolon and the comments around it
	Line       int    // of the first token in the whole text, 1-based
	Column     int    // of the first token in the whole text, 1-based, in characters
	Parameters int    // the highest $n, zero when there is none
}

// Parse reads exactly one statement; semicolons and comments may follow it. The error is a *fault.Error of
// kind Syntax or LimitExceeded with Line and Column set.
func Parse(text string) (Statement, error) {
	parsed, err := parseText(text, true)
	if err != nil {
		return nil, err
	}
	return parsed[0].Statement, nil
}

// ParseBatch reads statements separated by semicolons. Empty statements are skipped, so a text of nothing
// but comments gives an empty list. Positions in trees and errors count from the start of the whole text.
// The first statement that cannot be parsed fails the batch.
func ParseBatch(text string) ([]Parsed, error) { //nolint:revive // parse.Batch would not say what it does
	return parseText(text, false)
}

// parseText checks the text as a whole and turns a failure into an error.
func parseText(text string, single bool) (parsed []Parsed, err error) {
	p := parser{lexer: lexer{source: text, line: 1}}
	defer func() {
		switch failed := recover().(type) {
		case nil:
		case failure:
			parsed, err = nil, failed.fault
		default:
			panic(failed)
		}
	}()
	p.checkText()
	p.advance()
	return p.batch(single), nil
}

// checkText refuses texts that are too long or that no client can have meant.
func (p *parser) checkText() {
	if len(p.source) > MaxTextBytes {
		failLimit(p.here(), "the SQL text has %d bytes, the limit is %d", len(p.source), MaxTextBytes)
	}
	if !utf8.ValidString(p.source) {
		valid := strings.ToValidUTF8(p.source, "\x00")
		p.source = valid
		p.advanceTo(strings.IndexByte(valid, 0))
		failSyntax(p.here(), "the SQL text is not valid UTF-8")
	}
	if zero := strings.IndexByte(p.source, 0); zero >= 0 {
		p.advanceTo(zero)
		failSyntax(p.here(), "the SQL text holds a zero byte")
	}
}

// batch reads all statements, or insists on exactly one.
func (p *parser) batch(single bool) []Parsed {
	var list []Parsed
	for {
		for p.symbol(";") {
		}
		if p.token.kind == tokenEnd {
			if single && len(list) == 0 {
				p.unexpected("a statement")
			}
			return list
		}
		if single && len(list) == 1 {
			p.unexpected("end of statement")
		}
		if len(list) == MaxStatements {
			failLimit(p.token.pos, "the batch has more than %d statements", MaxStatements)
		}
		start := p.token.pos
		p.parameters = 0
		statement := p.statement()
		if !p.is(";") && p.token.kind != tokenEnd {
			p.unexpected("end of statement")
		}
		list = append(list, Parsed{
			Statement: statement, Text: p.source[start.Offset:p.previousEnd],
			Line: int(start.Line), Column: int(start.Column), Parameters: p.parameters,
		})
	}
}

// failure carries an error from the depth of the grammar to parseText.
type failure struct{ fault *fault.Error }

// failSyntax ends parsing with a syntax error.
func failSyntax(at Pos, format string, args ...any) {
	message := fmt.Sprintf(format, args...)
	located := fault.New(fault.Syntax, "syntax error at line %d, column %d: %s", at.Line, at.Column, message)
	panic(failure{located.At(int(at.Line), int(at.Column))})
}

// failLimit ends parsing because a bound was reached.
func failLimit(at Pos, format string, args ...any) {
	message := fmt.Sprintf(format, args...)
	located := fault.New(fault.LimitExceeded, "SQL too large at line %d, column %d: %s", at.Line, at.Column, message)
	panic(failure{located.At(int(at.Line), int(at.Column))})
}

// shorten cuts long token text for messages.
func shorten(text string) string {
	const limit = 40
	if utf8.RuneCountInString(text) <= limit {
		return text
	}
	return string([]rune(text)[:limit]) + "…"
}
