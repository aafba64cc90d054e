// Package timeform writes and reads times as templates of PostgreSQL's to_char and to_timestamp say.
//
// The main types are Template, which Parse reads, and Fields, which is a time as its parts. A template says "YYYY-MM-DD HH24:MI:SS.US" and
// the like; names of months and days are English, and text in double quotes stands for itself. Writing never fails. Reading is as lenient
// as PostgreSQL is: spaces are skipped, any separator stands for any other, and what a template does not name is zero.
package timeform

import (
	"strings"
	"unicode/utf8"

	"github.com/kalamdb/kalamdb-go/internal/fault"
)

// maxTemplateBytes bounds a template.
const maxTemplateBytes = 1024

// Template is a template that was read.
type Template struct {
	items []item
	exact bool // FX: what is read must be as it would be written
}

// item is a field, or text that stands for itself.
type item struct {
	field   string // in upper case; empty for text
	text    string // what was written: the case of names counts
	fill    bool   // FM: no zeros and spaces before or behind
	ordinal string // TH or th behind it
	quoted  bool   // text in quotes
}

// fields are the names of fields, longer ones before those that they begin with.
var fields = []string{
	"SSSSS", "SSSS", "HH24", "HH12", "HH", "MI", "SS", "MS", "US", "FF1", "FF2", "FF3", "FF4", "FF5", "FF6",
	"A.M.", "P.M.", "AM", "PM", "Y,YYY", "YYYY", "YYY", "YY", "Y", "IYYY", "IYY", "IY", "IDDD", "ID", "IW", "I",
	"B.C.", "A.D.", "BC", "AD", "MONTH", "MON", "MM", "DAY", "DY", "DDD", "DD", "D", "WW", "W", "CC", "J", "Q", "RM",
	"TZH", "TZM", "TZ", "OF",
}

// Parse reads a template. The modifiers SP and TM are refused.
func Parse(text string) (*Template, error) {
	if len(text) > maxTemplateBytes {
		return nil, fault.New(fault.LimitExceeded, "a template of %d bytes exceeds the limit of %d", len(text), maxTemplateBytes)
	}
	t := &Template{}
	for text != "" {
		var next item
		switch {
		case hasFold(text, "FX"):
			t.exact, text = true, text[2:]
			continue
		case hasFold(text, "TM"), hasFold(text, "SP"):
			return nil, fault.New(fault.Unsupported, "the modifier %q of a template is not supported", text[:2])
		case hasFold(text, "FM"):
			if next, text = fieldOf(text[2:]); next.field == "" {
				continue // it stands before text, which it does not change
			}
			next.fill = true
		case text[0] == '"':
			next, text = quoted(text[1:])
		default:
			if next, text = fieldOf(text); next.field == "" {
				_, size := utf8.DecodeRuneInString(text)
				if text[0] == '\\' && len(text) > 1 && text[1] == '"' {
					text = text[1:]
				}
				next, text = item{text: text[:size]}, text[size:]
			}
		}
		t.items = append(t.items, next)
	}
	return t, nil
}

// Strict refuses a template that a JSON path must not have: letters that are no fields.
func (t *Template) Strict() error {
	for i := range t.items {
		if one := &t.items[i]; one.field == "" && !one.quoted && !strings.Contains("-./,';: ", one.text) {
			return fault.New(fault.InvalidStatement, "invalid datetime format separator: %q", one.text)
		}
	}
	return nil
}

// hasFold reports whether a text begins with letters, whatever their case.
func hasFold(text, letters string) bool {
	return len(text) >= len(letters) && strings.EqualFold(text[:len(letters)], letters)
}

// fieldOf reads the field that a text begins with; there may be none.
func fieldOf(text string) (item, string) {
	for _, name := range fields {
		if !hasFold(text, name) {
			continue
		}
		found := item{field: name, text: text[:len(name)]}
		text = text[len(name):]
		if hasFold(text, "TH") {
			found.ordinal, text = text[:2], text[2:]
		}
		return found, text
	}
	return item{}, text
}

// quoted reads text up to the closing quote, or to the end.
func quoted(text string) (item, string) {
	var out strings.Builder
	for text != "" && text[0] != '"' {
		if text[0] == '\\' && len(text) > 1 {
			text = text[1:]
		}
		_, size := utf8.DecodeRuneInString(text)
		out.WriteString(text[:size])
		text = text[size:]
	}
	return item{text: out.String(), quoted: true}, strings.TrimPrefix(text, `"`)
}
