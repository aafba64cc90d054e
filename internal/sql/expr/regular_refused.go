package expr

import (
	"strings"

	"github.com/kalamdb/kalamdb-go/internal/fault"
)

// refusedRegular names what a regular expression has that cannot be matched in linear time, or that PostgreSQL spells otherwise; nil when
// it has nothing of that kind. The expression is one that could not be read.
func refusedRegular(pattern string) error {
	if strings.HasPrefix(pattern, "***") {
		return noRegular("director *** in front", "give the text as it is to strpos, or the option (?i) in its place")
	}
	for i, inClass := 0, false; i < len(pattern); i++ {
		rest := pattern[i:]
		switch {
		case rest[0] == '\\' && len(rest) > 1:
			if err := refusedEscape(rest[1], inClass); err != nil {
				return err
			}
			i++
		case strings.HasPrefix(rest, "[[:<:]]"), strings.HasPrefix(rest, "[[:>:]]"):
			return noRegular("word boundary "+rest[:7], `use \b`)
		case strings.HasPrefix(rest, "[[."), strings.HasPrefix(rest, "[[="):
			return noRegular("collating element "+rest[:3], "name the characters")
		case inClass:
			inClass = rest[0] != ']'
		case rest[0] == '[':
			inClass = true
			if strings.HasPrefix(rest, "[]") || strings.HasPrefix(rest, "[^]") { // the bracket is of the class
				i += strings.IndexByte(rest, ']')
			}
		case rest[0] == '(':
			if err := refusedGroup(rest); err != nil {
				return err
			}
		case len(rest) > 1 && rest[1] == '+' && strings.IndexByte("*+?}", rest[0]) >= 0:
			return noRegular("possessive repetition "+rest[:2], "use a plain one")
		}
	}
	return nil
}

func refusedEscape(c byte, inClass bool) error {
	switch {
	case inClass:
		return nil
	case c >= '1' && c <= '9':
		return noRegular("back reference \\"+string(c), "compare the groups that regexp_match gives")
	case c == 'm' || c == 'M' || c == 'y':
		return noRegular("word boundary \\"+string(c), `use \b`)
	case c == 'Y':
		return noRegular(`escape \Y`, `use \B`)
	case c == 'Z':
		return noRegular(`escape \Z`, `use \z`)
	}
	return nil
}

// refusedGroup looks at what stands behind an opening parenthesis.
func refusedGroup(rest string) error {
	const instead = "test with a second expression"
	for _, group := range []struct{ text, what string }{
		{"(?=", "look-ahead"},
		{"(?!", "look-ahead"},
		{"(?<=", "look-behind"},
		{"(?<!", "look-behind"},
		{"(?>", "atomic group"},
		{"(?(", "condition"},
		{"(?#", "comment"},
	} {
		if strings.HasPrefix(rest, group.text) {
			return noRegular(group.what+" "+group.text, instead)
		}
	}
	return nil
}

func noRegular(what, instead string) error {
	return fault.New(fault.Unsupported, "regular expressions have no %s: they are matched in time that grows with the text alone; %s", printable(what), instead)
}

// printable keeps what is no text out of a message.
func printable(text string) string { return strings.ToValidUTF8(text, "?") }
