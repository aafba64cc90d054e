package datum

import (
	"strings"

	"github.com/kalamdb/kalamdb-go/internal/fault"
)

// maxParsedElements bounds an array that is read from text.
const maxParsedElements = 100_000

// parseArray reads {a,"b c",NULL}: the text form of an array. Elements are of the given kind; arrays within arrays are not read.
func parseArray(text string, t Type) (Datum, error) {
	rest, ok := strings.CutPrefix(strings.TrimSpace(text), "{")
	if !ok {
		return Datum{}, syntaxFault(text, t)
	}
	values := []Datum{}
	if inner := strings.TrimSpace(rest); inner == "}" {
		return NewArray(values), nil
	}
	for {
		element, quoted, behind, found := arrayElement(rest)
		if !found {
			return Datum{}, syntaxFault(text, t)
		}
		if len(values) >= maxParsedElements {
			return Datum{}, fault.New(fault.LimitExceeded, "an array of more than %d elements is too large", maxParsedElements)
		}
		value := Datum{}
		if quoted || !strings.EqualFold(element, "NULL") {
			var err error
			if value, err = ParseText(element, Of(t.Elem)); err != nil {
				return Datum{}, err
			}
		}
		values = append(values, value)
		if rest, found = strings.CutPrefix(behind, ","); found {
			continue
		}
		if strings.TrimSpace(behind) != "}" {
			return Datum{}, syntaxFault(text, t)
		}
		return NewArray(values), nil
	}
}

// arrayElement takes the first element, and what is behind it: a comma or the brace. ok is false when there is none.
func arrayElement(text string) (element string, quoted bool, behind string, ok bool) {
	text = strings.TrimLeft(text, " \t\r\n")
	var out strings.Builder
	if strings.HasPrefix(text, `"`) {
		for i := 1; i < len(text); i++ {
			switch text[i] {
			case '"':
				return out.String(), true, strings.TrimLeft(text[i+1:], " \t\r\n"), true
			case '\\':
				if i++; i == len(text) {
					return "", false, "", false
				}
			}
			out.WriteByte(text[i])
		}
		return "", false, "", false
	}
	end := strings.IndexAny(text, `,}{"`)
	if end < 0 || text[end] == '{' || text[end] == '"' {
		return "", false, "", false
	}
	element = strings.TrimRight(text[:end], " \t\r\n")
	if strings.Contains(element, `\`) {
		element = strings.ReplaceAll(element, `\`, "")
	}
	return element, false, text[end:], element != ""
}
