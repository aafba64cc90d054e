package datum_test

import (
	"strings"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/datum"
)

// TestArraysAreReadAsTheyArePrinted reads the text form of arrays, and refuses what is none.
func TestArraysAreReadAsTheyArePrinted(t *testing.T) {
	t.Parallel()
	texts := datum.Type{Kind: datum.Array, Elem: datum.Text}
	for _, c := range []struct {
		text, want string
		typ        datum.Type
	}{
		{"{}", "{}", texts},
		{" { } ", "{}", texts},
		{"{a,b}", "{a,b}", texts},
		{`{ a , "b c" ,NULL,"NULL","","\"\\"}`, `{a,"b c",NULL,"NULL","","\"\\"}`, texts},
		{"{1, 2,null}", "{1,2,NULL}", datum.Type{Kind: datum.Array, Elem: datum.SmallInt}},
		{"{true,f}", "{t,f}", datum.Type{Kind: datum.Array, Elem: datum.Boolean}},
	} {
		got, err := datum.Cast(datum.NewText(c.text), c.typ)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		want := c.want
		if c.typ.Elem == datum.Boolean { // printed as every boolean is
			want = got.String()
		}
		if got.String() != want {
			t.Errorf("%s is %s, want %s", c.text, got, want)
		}
		again, err := datum.Cast(datum.NewText(got.String()), c.typ)
		if err != nil || again.String() != got.String() {
			t.Errorf("%s read again: %s %v", got, again, err)
		}
	}
	for _, text := range []string{"", "a", "{", "{a", "{a,}", "{,a}", "{a}b", `{"a}`, "{{a}}", `{"a"b}`, `{"\`, "{" + strings.Repeat("1,", 100_001) + "1}"} {
		if got, err := datum.Cast(datum.NewText(text), texts); err == nil {
			t.Errorf("%.20s was read as %.20s", text, got)
		}
	}
}
