package expr

import (
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

// TestMiddlePartIsTheLongest draws patterns with separators and compares with trying all places: the shortest first part behind which the
// rest matches, and the longest middle one of that.
func TestMiddlePartIsTheLongest(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 3))
	pieces := []string{"a", "b", "ä", "_", "%", "(a|ab)", "(ab|a)", "(|b)", "[ab]", "b*", "(ba)+", "(äb|b|ä)?", "[^a]", `#(`, `[#"]`, "a{2}"}
	part := func() string {
		var b strings.Builder
		for range random.IntN(3) {
			b.WriteString(pieces[random.IntN(len(pieces))])
		}
		return b.String()
	}
	matches := func(pattern, text string) bool {
		translated, err := similarPattern(pattern, "#")
		if err != nil {
			t.Fatal(err)
		}
		return regexp.MustCompile(translated).MatchString(text)
	}
	found := 0
	for range 3000 {
		parts := []string{part(), part(), part()}
		var drawn strings.Builder
		for range random.IntN(5) {
			drawn.WriteString([]string{"a", "b", "ä", "(", `"`}[random.IntN(5)])
		}
		text := drawn.String()
		s, err := (&similarCall{}).compile(strings.Join(parts, `#"`), "#")
		if err != nil {
			t.Fatalf("seed %d: %q: %v", seed, parts, err)
		}
		wantFrom, wantTo := 0, -1
		for from := 0; from <= len(text) && wantTo < 0; from++ {
			for to := len(text); to >= from && wantTo < 0; to-- {
				if utf8.RuneStart((text + "a")[from]) && utf8.RuneStart((text + "a")[to]) &&
					matches(parts[0], text[:from]) && matches(parts[1], text[from:to]) && matches(parts[2], text[to:]) {
					wantFrom, wantTo = from, to
					found++
				}
			}
		}
		from, to, err := s.find(nil, text)
		if err != nil || from != wantFrom || to != wantTo {
			t.Fatalf("seed %d: %q in %q: %d to %d, %v; want %d to %d", seed, parts, text, from, to, err, wantFrom, wantTo)
		}
	}
	if found < 100 {
		t.Errorf("seed %d: %d matches; the test shows little", seed, found)
	}
}
