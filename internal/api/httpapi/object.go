package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"unicode/utf16"
)

// memberError says what is wrong with one member of an object.
type memberError struct {
	name    string
	problem string // what follows the name in a sentence
}

// Error implements error.
func (e *memberError) Error() string { return fmt.Sprintf("key %q %s", e.name, e.problem) }

// errHalfCharacter refuses texts that would otherwise be stored changed.
var errHalfCharacter = errors.New("a text holds half of a surrogate pair, which is not a character")

// readObject decodes the members of a JSON object into the targets of their names. Names count as they are
// written: encoding/json alone would take SQL for sql, and the last one of two. Other members are skipped
// or, when strict, refused.
func readObject(raw []byte, targets map[string]any, strict bool) error {
	if hasLoneSurrogate(raw) {
		return errHalfCharacter
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	opening, err := decoder.Token()
	if err != nil || opening != json.Delim('{') {
		return describeDocument(raw)
	}
	given := make(map[string]bool, len(targets))
	for decoder.More() {
		token, err := decoder.Token()
		name, isName := token.(string)
		if err != nil || !isName {
			return describeDocument(raw)
		}
		var value json.RawMessage
		if decoder.Decode(&value) != nil {
			return describeDocument(raw)
		}
		target, known := targets[name]
		switch {
		case !known && strict:
			return &memberError{name, "is not known"}
		case !known:
			continue
		case given[name]:
			return &memberError{name, "is given twice"}
		}
		given[name] = true
		if err := json.Unmarshal(value, target); err != nil {
			return &memberError{name, describeJSON(err)}
		}
	}
	if _, err := decoder.Token(); err != nil {
		return describeDocument(raw)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return describeDocument(raw)
	}
	return nil
}

// describeDocument says why raw is not one JSON object. Null is one without members: what it lacks is told
// by whoever needs it.
func describeDocument(raw []byte) error {
	if string(bytes.TrimSpace(raw)) == "null" {
		return nil
	}
	var members map[string]json.RawMessage
	return errors.New(describeJSON(json.Unmarshal(raw, &members)))
}

// describeJSON says what is wrong with a document in the words of its author, not of our types.
func describeJSON(err error) string {
	var syntax *json.SyntaxError
	var mismatch *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return fmt.Sprintf("%s at byte %d", syntax.Error(), syntax.Offset)
	case errors.As(err, &mismatch):
		return "holds a " + mismatch.Value
	}
	return "cannot be decoded"
}

// hasLoneSurrogate reports whether an escape in JSON text names half of a character. The decoder would
// replace it silently, and what is stored would not be what was sent.
func hasLoneSurrogate(raw []byte) bool {
	for {
		at := bytes.IndexByte(raw, '\\')
		if at < 0 || at+1 >= len(raw) {
			return false
		}
		raw = raw[at:]
		unit, ok := escapedUnit(raw)
		if !ok {
			raw = raw[2:]
			continue
		}
		raw = raw[escapeBytes:]
		if !utf16.IsSurrogate(unit) {
			continue
		}
		low, ok := escapedUnit(raw)
		if !ok || utf16.DecodeRune(unit, low) == '\uFFFD' {
			return true
		}
		raw = raw[escapeBytes:]
	}
}

// escapeBytes is the length of \uXXXX.
const escapeBytes = 6

// escapedUnit reads the \uXXXX at the beginning of text.
func escapedUnit(text []byte) (unit rune, ok bool) {
	if len(text) < escapeBytes || text[0] != '\\' || text[1] != 'u' {
		return 0, false
	}
	value, err := strconv.ParseUint(string(text[2:escapeBytes]), 16, 16)
	return rune(value), err == nil
}
