package jsonpath

import (
	"encoding/json"
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/sql/jsontext"
)

func compileForTest(pattern string, ignoreCase bool) (any, error) {
	if ignoreCase {
		pattern = "(?i)" + pattern
	}
	return regexp.Compile("(?s)" + pattern)
}

func optionsForTest(stopped func() error) Options {
	return Options{
		Walk: jsontext.New(stopped), Variables: []byte(`{"v": 2, "t": "a"}`),
		Match: func(pattern any, text string) (bool, error) {
			compiled, ok := pattern.(*regexp.Regexp)
			return ok && compiled.MatchString(text), nil
		},
	}
}

func TestPrint(t *testing.T) {
	t.Parallel()
	// What PostgreSQL 15 prints.
	for text, want := range map[string]string{
		`$`:                          `$`,
		`strict $.a . "b c" [ * ].*`: `strict $."a"."b c"[*].*`,
		`lax $[0, 1 to last - 1]`:    `$[0,1 to last - 1]`,
	} {
		path, err := Parse(text, compileForTest)
		if err != nil || path.String() != want {
			t.Errorf("%s prints as %v, want %s %v", text, path, want, err)
		}
	}
}

// TestStops shows that an evaluation ends when its statement must not go on, and when it has gone over too many items.
func TestStops(t *testing.T) {
	t.Parallel()
	document := []byte("[" + strings.Repeat("1,", 20_000) + "2]")
	path, err := Parse(`$[*] ? (@ == $[*] + 5 || exists($[*] ? (@ == 3)))`, compileForTest)
	if err != nil {
		t.Fatal(err)
	}
	looks, gone := 0, errors.New("gone")
	stopped := func() error {
		if looks++; looks == 3 {
			return gone
		}
		return nil
	}
	if _, err := path.Query(document, optionsForTest(stopped), func(Item) (bool, error) { return true, nil }); !errors.Is(err, gone) || looks != 3 {
		t.Errorf("after %d looks: %v", looks, err)
	}
	options := optionsForTest(nil)
	options.Steps = 5000
	if _, err := path.Query(document, options, func(Item) (bool, error) { return true, nil }); err == nil || !strings.Contains(err.Error(), "more than 5000 items") {
		t.Errorf("a path without an end: %v", err)
	}
}

func FuzzPath(f *testing.F) {
	for _, seed := range [][2]string{
		{`{"a":[1,{"b":2.50}],"c":"x"}`, `strict $.a[*] ? (@.b > 1 && exists(@.b) || !(@ starts with "x")).b`},
		{`[1,[2,[3]]]`, `$.**{1 to last} ? (@ like_regex "^a" flag "i")`},
		{`[0e1,-0.0,1e3]`, `-($[0 to last - 1, 1] * $v % 3).abs()`},
		{`{"a":1,"a":{"x":null}}`, `$.keyvalue() ? ((@.value == 1) is unknown).id.type()`},
		{`["2023-08-15","10:00:00+01"]`, `$[*].datetime() ? (@ < "2024-01-01 00:00:00".datetime())`},
		{`"x"`, `$"t" . "\u0061\x62" ? (@ == $)`},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, document, text string) {
		path, err := Parse(text, compileForTest)
		if err != nil {
			return
		}
		printed := path.String()
		again, err := Parse(printed, compileForTest)
		if err != nil || again.String() != printed {
			t.Fatalf("%q prints as %q, which prints as %v: %v", text, printed, again, err)
		}
		if !json.Valid([]byte(document)) {
			return
		}
		answer := func(p *Path) (items []string, message string) {
			looks := 0 // both evaluations end after the same work
			options := optionsForTest(func() error {
				if looks++; looks > 10 {
					return errors.New("too long")
				}
				return nil
			})
			_, err := p.Query([]byte(document), options, func(i Item) (bool, error) {
				item := i.Append(options.Walk, nil)
				if !json.Valid(item) {
					t.Fatalf("%q of %q gives %q", text, document, item)
				}
				items = append(items, string(item))
				return len(items) < 100, nil
			})
			if err != nil {
				message = err.Error()
			}
			return items, message
		}
		items, message := answer(path)
		same, sameMessage := answer(again)
		if strings.Join(items, " ") != strings.Join(same, " ") || message != sameMessage {
			t.Fatalf("%q of %q gives %q %s, and printed %q %s", text, document, items, message, same, sameMessage)
		}
	})
}
