package jsontext

import (
	"bytes"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/kalamdb/kalamdb-go/internal/datum"
)

// PieceBytes is how much of a text is worked on between two looks at the statement.
const PieceBytes = 256 << 10

// Walk goes through documents and looks at its statement meanwhile. Once the statement must not go on, everything ends quickly and Err
// says why; what was found then means nothing. It belongs to one goroutine.
type Walk struct {
	Err     error
	stopped func() error
	left    int
}

// New makes a walk of a statement, which stopped asks whether it must not go on; nil is a statement that always may.
func New(stopped func() error) *Walk { return &Walk{stopped: stopped, left: PieceBytes} }

// Went counts bytes and says whether to go on.
func (w *Walk) Went(bytes int) bool {
	if w.left -= bytes; w.left > 0 || w.Err != nil {
		return w.Err == nil
	}
	w.left = PieceBytes
	if w.stopped != nil {
		w.Err = w.stopped()
	}
	return w.Err == nil
}

// Parts is a place in the members of an object, or the elements of an array. The document must be valid JSON: nothing is checked, so
// that it is gone through once.
type Parts struct {
	document []byte
	Object   bool // with keys
	at       int
}

// PartsOf begins at the first part; ok is false for what is neither an object nor an array.
func PartsOf(m []byte) (parts Parts, ok bool) {
	if len(m) == 0 || m[0] != '{' && m[0] != '[' {
		return Parts{}, false
	}
	return Parts{document: m, Object: m[0] == '{', at: skipSpace(m, 1)}, true
}

// Next gives a part as it is written; elements have no key.
func (w *Walk) Next(p *Parts) (key, value []byte, ok bool) {
	m, at := p.document, p.at
	if at >= len(m) || m[at] == '}' || m[at] == ']' {
		return nil, nil, false
	}
	if p.Object {
		end := w.skipValue(m, at)
		key = m[at:end]
		at = skipSpace(m, skipSpace(m, end)+1) // over the colon
	}
	end := w.skipValue(m, at)
	value = m[at:end]
	if at = skipSpace(m, end); at < len(m) && m[at] == ',' {
		at = skipSpace(m, at+1)
	}
	p.at = at
	return key, value, w.Err == nil
}

// EachPart gives all parts, until visit has enough. It reports false for what has none.
func (w *Walk) EachPart(m []byte, visit func(key, value []byte) (more bool)) bool {
	parts, ok := PartsOf(m)
	if !ok {
		return false
	}
	for {
		key, value, ok := w.Next(&parts)
		if !ok || !visit(key, value) {
			return true
		}
	}
}

func skipSpace(m []byte, at int) int {
	for at < len(m) && isSpace(m[at]) {
		at++
	}
	return at
}

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\t' || c == '\r' }

// skipValue returns where the value that begins at a place ends.
func (w *Walk) skipValue(m []byte, at int) int {
	depth := 0
	for at < len(m) {
		before := at
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
		if !w.Went(at-before) || depth == 0 {
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

func skipString(m []byte, at int) int {
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

// IsKey reports whether a key that is written in a document is the given one.
func (w *Walk) IsKey(written []byte, key string) bool {
	if len(written) < 2 {
		return false
	}
	if plain := written[1 : len(written)-1]; !bytes.ContainsRune(plain, '\\') {
		return string(plain) == key
	}
	return w.Text(written) == key
}

// Text is what a string that is written in a document says.
func (w *Walk) Text(written []byte) string {
	if len(written) < 2 || written[0] != '"' {
		return ""
	}
	rest := written[1 : len(written)-1]
	out := make([]byte, 0, len(rest))
	for len(rest) > 0 {
		plain := bytes.IndexByte(rest[:min(len(rest), PieceBytes)], '\\')
		if plain < 0 {
			plain = min(len(rest), PieceBytes)
		}
		out = append(out, rest[:plain]...)
		if rest = rest[plain:]; len(rest) > 1 && rest[0] == '\\' {
			var taken int
			out, taken = appendUnescaped(out, rest)
			rest = rest[taken:]
			plain += taken
		}
		if plain == 0 || !w.Went(plain) { // no progress: it was cut off
			return ""
		}
	}
	return string(out)
}

// appendUnescaped appends what an escape of valid JSON stands for, and says how long the escape is.
func appendUnescaped(out, escape []byte) (longer []byte, taken int) {
	switch escape[1] {
	case 'b':
		return append(out, '\b'), 2
	case 'f':
		return append(out, '\f'), 2
	case 'n':
		return append(out, '\n'), 2
	case 'r':
		return append(out, '\r'), 2
	case 't':
		return append(out, '\t'), 2
	case 'u':
		first := escapedUnit(escape)
		if pair := utf16.DecodeRune(first, escapedUnit(escape[min(len(escape), 6):])); pair != utf8.RuneError {
			return utf8.AppendRune(out, pair), 12
		}
		return utf8.AppendRune(out, first), 6 // half of a pair becomes U+FFFD
	}
	return append(out, escape[1]), 2
}

// escapedUnit reads \uXXXX; -1 when there is none.
func escapedUnit(escape []byte) rune {
	if len(escape) < 6 || escape[0] != '\\' || escape[1] != 'u' {
		return -1
	}
	unit := rune(0)
	for _, c := range escape[2:6] {
		switch {
		case c >= 'a':
			c -= 'a' - 10
		case c >= 'A':
			c -= 'A' - 10
		default:
			c -= '0'
		}
		unit = unit<<4 | rune(c)
	}
	return unit
}

// Compacted is a document without the space between its parts.
func (w *Walk) Compacted(m []byte) string {
	out := make([]byte, 0, len(m))
	for at := 0; at < len(m); {
		end := at + 1
		switch {
		case m[at] == '"':
			end = skipString(m, at)
		case isSpace(m[at]):
			at = end
			continue
		default:
			for end < len(m) && end-at < PieceBytes && m[end] != '"' && !isSpace(m[end]) {
				end++
			}
		}
		out = append(out, m[at:end]...)
		if !w.Went(end - at) {
			return ""
		}
		at = end
	}
	return string(out)
}

// CopyString appends the string that begins at a place of a document, as it is written there, and says where it ends.
func (w *Walk) CopyString(out, m []byte, at int) (longer []byte, behind int) {
	end := skipString(m, at)
	w.Went(end - at)
	return append(out, m[at:end]...), end
}

// AppendText appends a text as a JSON string.
func (w *Walk) AppendText(out []byte, text string) []byte {
	for first := true; first || text != ""; first = false {
		var piece string
		piece, text = PieceOf(text)
		if begin := len(out); first {
			out = datum.AppendJSONString(out, piece)
		} else {
			out = datum.AppendJSONString(out[:begin-1], piece) // in the place of the closing quote
			out = append(out[:begin-1], out[begin:]...)        // without the opening one
		}
		if !w.Went(len(piece)) {
			break
		}
	}
	return out
}

// PieceOf cuts a text behind a piece, between characters.
func PieceOf(text string) (piece, rest string) {
	if len(text) <= PieceBytes {
		return text, ""
	}
	cut := PieceBytes
	for cut < len(text) && !utf8.RuneStart(text[cut]) {
		cut++
	}
	return text[:cut], text[cut:]
}
