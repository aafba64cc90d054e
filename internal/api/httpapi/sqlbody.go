package httpapi

import (
	"bytes"
	"encoding/json"
)

// scanSQLBody reads the usual body of a request without the general decoder, which takes as long as the rest of a small
// statement: an object with each of the known keys at most once, whose texts hold no escapes and whose parameters are
// texts, numbers, booleans and nulls. For every other body, wrong ones included, ok is false, and readObject judges it. The
// parameters alias raw, which is valid UTF-8.
func scanSQLBody(raw []byte) (body sqlBody, ok bool) {
	s := bodyScanner{rest: raw}
	if !s.take('{') {
		return sqlBody{}, false
	}
	for first := true; !s.take('}'); first = false {
		if !first && !s.take(',') {
			return sqlBody{}, false
		}
		name, isText := s.text()
		if !isText || !s.take(':') || !s.member(&body, string(name)) {
			return sqlBody{}, false
		}
	}
	s.space()
	return body, len(s.rest) == 0
}

// bodyScanner takes a document from its front.
type bodyScanner struct{ rest []byte }

// member takes the value of one key.
func (s *bodyScanner) member(body *sqlBody, name string) bool {
	var target **string
	switch name {
	case "sql":
		target = &body.SQL
	case "namespace_id":
		target = &body.Namespace
	case "replication_mode":
		target = &body.Mode
	case "read_level":
		target = &body.Level
	case "params":
		return body.Params == nil && s.params(body)
	default:
		return false
	}
	text, ok := s.text()
	if !ok || *target != nil {
		return false
	}
	*target = new(string(text))
	return true
}

// params takes an array of scalars.
func (s *bodyScanner) params(body *sqlBody) bool {
	if !s.take('[') {
		return false
	}
	body.Params = []json.RawMessage{}
	for first := true; !s.take(']'); first = false {
		if !first && !s.take(',') {
			return false
		}
		value, ok := s.scalar()
		if !ok {
			return false
		}
		body.Params = append(body.Params, value)
	}
	return true
}

func (s *bodyScanner) space() {
	for len(s.rest) > 0 && (s.rest[0] == ' ' || s.rest[0] == '\n' || s.rest[0] == '\t' || s.rest[0] == '\r') {
		s.rest = s.rest[1:]
	}
}

// take takes a mark, with the space before it, if it comes next.
func (s *bodyScanner) take(mark byte) bool {
	s.space()
	if len(s.rest) == 0 || s.rest[0] != mark {
		return false
	}
	s.rest = s.rest[1:]
	return true
}

// text takes a text without escapes.
func (s *bodyScanner) text() ([]byte, bool) {
	if !s.take('"') {
		return nil, false
	}
	for i, c := range s.rest {
		switch {
		case c == '"':
			text := s.rest[:i]
			s.rest = s.rest[i+1:]
			return text, true
		case c < ' ' || c == '\\':
			return nil, false
		}
	}
	return nil, false
}

// scalar takes a value that is no array or object, as it is written.
func (s *bodyScanner) scalar() (json.RawMessage, bool) {
	s.space()
	before := s.rest
	if len(before) > 0 && before[0] == '"' {
		_, ok := s.text()
		return before[:len(before)-len(s.rest)], ok
	}
	for _, word := range [...]string{"null", "true", "false"} {
		if bytes.HasPrefix(before, []byte(word)) {
			s.rest = before[len(word):]
			return before[:len(word)], true
		}
	}
	ok := s.number()
	return before[:len(before)-len(s.rest)], ok
}

// number takes a number of JSON's grammar.
func (s *bodyScanner) number() bool {
	s.skip('-')
	if !s.skip('0') && !s.digits() {
		return false
	}
	if s.skip('.') && !s.digits() {
		return false
	}
	if !s.skip('e') && !s.skip('E') {
		return true
	}
	if !s.skip('+') {
		s.skip('-')
	}
	return s.digits()
}

func (s *bodyScanner) skip(c byte) bool {
	if len(s.rest) == 0 || s.rest[0] != c {
		return false
	}
	s.rest = s.rest[1:]
	return true
}

// digits takes one digit or more.
func (s *bodyScanner) digits() bool {
	n := 0
	for n < len(s.rest) && s.rest[n] >= '0' && s.rest[n] <= '9' {
		n++
	}
	s.rest = s.rest[n:]
	return n > 0
}
