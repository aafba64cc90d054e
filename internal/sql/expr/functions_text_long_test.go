package expr

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/kalamdb/kalamdb-go/internal/datum"
)

// TestLongTextsAreMappedAsAWhole: the pieces that a long text is mapped in leave no trace, and the statement is looked at between them.
func TestLongTextsAreMappedAsAWhole(t *testing.T) {
	t.Parallel()
	text := strings.Repeat("añB, ß€ word", 3*pieceBytes/14)
	runes := []rune(text)
	slices.Reverse(runes)
	inWord := false
	capitals := strings.Map(func(r rune) rune {
		first := !inWord
		if inWord = unicode.IsLetter(r) || unicode.IsDigit(r); inWord && first {
			return unicode.ToUpper(r)
		}
		return unicode.ToLower(r)
	}, text)
	scope := NewScope(Column{Name: "t", Type: datum.Of(datum.Text), Position: 0})
	for source, want := range map[string]string{
		"upper(t)": strings.ToUpper(text), "lower(t)": strings.ToLower(text), "initcap(t)": capitals, "reverse(t)": string(runes),
		"translate(t, 'ñ, ', 'n')": strings.NewReplacer("ñ", "n", ",", "", " ", "").Replace(text), "replace(t, 'da', '--')": strings.ReplaceAll(text, "da", "--"),
		"replace(t, 'none', '')": text,
	} {
		bound, err := Bind(parseExpr(t, source), scope, Options{})
		if err != nil {
			t.Fatal(err)
		}
		looks := 0
		ctx := NewEvalContext(&Env{Stopped: func() error { looks++; return nil }})
		got, err := bound.Eval(ctx, []datum.Datum{datum.NewText(text)})
		if err != nil || got.Str() != want {
			t.Errorf("%s gives another text than as a whole: %v", source, err)
		}
		if looks < 2 && !strings.Contains(source, "none") {
			t.Errorf("%s looked %d times at its statement", source, looks)
		}
		ended := errors.New("ended")
		ctx = NewEvalContext(&Env{Stopped: func() error { return ended }})
		if _, err = bound.Eval(ctx, []datum.Datum{datum.NewText(text)}); !errors.Is(err, ended) && !strings.Contains(source, "none") {
			t.Errorf("%s of a statement that has ended: %v", source, err)
		}
	}
}
