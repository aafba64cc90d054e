package expr

import (
	"bytes"
	"encoding/json"
)

// eachPart gives the members of an object, or the elements of an array, which have no key, as they are written, until visit has
// enough. The value must be valid JSON: nothing is checked, so that a document is gone through once. It reports false for what is
// neither an object nor an array.
func eachPart(m json.RawMessage, visit func(key, value json.RawMessage) (more bool)) bool {
	if len(m) == 0 || m[0] != '{' && m[0] != '[' {
		return false
	}
	object := m[0] == '{'
	at := skipSpace(m, 1)
	for at < len(m) && m[at] != '}' && m[at] != ']' {
		var key json.RawMessage
		if object {
			end := skipValue(m, at)
			key = m[at:end]
			at = skipSpace(m, skipSpace(m, end)+1) // over the colon
		}
		end := skipValue(m, at)
		if !visit(key, m[at:end]) {
			return true
		}
		if at = skipSpace(m, end); at < len(m) && m[at] == ',' {
			at = skipSpace(m, at+1)
		}
	}
	return true
}

func skipSpace(m json.RawMessage, at int) int {
	for at < len(m) && (m[at] == ' ' || m[at] == '\n' || m[at] == '\t' || m[at] == '\r') {
		at++
	}
	return at
}

// skipValue returns where the value that begins at a place ends.
func skipValue(m json.RawMessage, at int) int {
	depth := 0
	for at < len(m) {
		switch m[at] {
		case '"':
			at = skipString(m, at)
		case '{', '[':
			depth++
			at++
		case '}', ']':
			if depth == 0 {
				return at
			}
			depth--
			at++
		case ',', ':', ' ', '\n', '\t', '\r':
			if depth == 0 {
				return at
			}
			at++
			continue
		default: // a number or a word
			for at++; at < len(m) && !endsWord(m[at]); at++ {
				continue
			}
		}
		if depth == 0 {
			return at
		}
	}
	return at
}

func endsWord(c byte) bool {
	switch c {
	case ',', ':', ']', '}', ' ', '\n', '\t', '\r':
		return true
	}
	return false
}

func skipString(m json.RawMessage, at int) int {
	for at++; at < len(m); at++ {
		switch m[at] {
		case '\\':
			at++
		case '"':
			return at + 1
		}
	}
	return len(m)
}

// isKey reports whether a key that is written in a document is the given one.
func isKey(written json.RawMessage, key string) bool {
	if len(written) < 2 {
		return false
	}
	if plain := written[1 : len(written)-1]; !bytes.ContainsRune(plain, '\\') {
		return string(plain) == key
	}
	return keyText(written) == key
}

func keyText(written json.RawMessage) string {
	var text string
	if json.Unmarshal(written, &text) != nil {
		return ""
	}
	return text
}
