package expr

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kalamdb/kalamdb-go/internal/fault"
)

// TestRegularMachineEqualsTheLibrary draws expressions and texts and compares the machine with the matcher of the standard library.
func TestRegularMachineEqualsTheLibrary(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 1))
	pieces := []string{
		"a", "b", "é", ".", "[ab]", "[^a]", "(a|b)", "(?:ab)", "(a*)", "(a+?)", "^", "$", `\b`, `\B`, "a{2,3}", "(b{1,2}?)", "x*", "(?i:A)", `\w`,
		"(a|ab)", "(|b)", "(?m:^)", "(?m:$)", `\n`, "()", "(a??)", `\A`, `\z`, "|",
	}
	letters := []string{"a", "b", "ab", "é", "\n", " ", "x", "A", "\xff", ""}
	compared, ctx := 0, NewEvalContext(&Env{})
	for range 4000 {
		var pattern, text strings.Builder
		for range 1 + random.IntN(5) {
			pattern.WriteString(pieces[random.IntN(len(pieces))])
		}
		for range random.IntN(12) {
			text.WriteString(letters[random.IntN(len(letters))])
		}
		r, err := compileRegular(pattern.String(), false)
		if err != nil {
			continue // a repetition of nothing, say
		}
		compared++
		subject := text.String()
		want := r.quick.FindAllStringSubmatchIndex(subject, -1)
		own := *r
		own.steps, own.literal = -1, false // nothing is left to the library
		got, err := own.all(ctx, subject, -1)
		if err != nil || !cmp.Equal(got, want) {
			t.Fatalf("seed %d: %q in %q: %v %v, want %v", seed, pattern.String(), subject, got, err, want)
		}
		if found, failure := own.matches(ctx, subject); failure != nil || found != r.quick.MatchString(subject) {
			t.Fatalf("seed %d: %q in %q: %v %v", seed, pattern.String(), subject, found, failure)
		}
		if found, failure := r.matches(ctx, subject); failure != nil || found != r.quick.MatchString(subject) {
			t.Fatalf("seed %d: %q in %q: %v %v", seed, pattern.String(), subject, found, failure)
		}
		parts, err := own.split(ctx, subject, 3)
		if wantParts := r.quick.Split(subject, 3); err != nil || subject != "" && !cmp.Equal(parts, wantParts) {
			t.Fatalf("seed %d: %q splits %q: %q %v, want %q", seed, pattern.String(), subject, parts, err, wantParts)
		}
	}
	if compared < 1000 {
		t.Errorf("only %d expressions were compared", compared)
	}
}

// TestRegularExpressionsStop looks whether a matcher goes on when its statement has ended.
func TestRegularExpressionsStop(t *testing.T) {
	t.Parallel()
	ended := errors.New("ended")
	for _, pattern := range []string{"(a|aa)+$b", "(a?){500}b", "[a-z]*[a-z]*[a-z]*b", ".*.*.*=.*", "(x|y|z)"} {
		r, err := compileRegular(pattern, false)
		if err != nil {
			t.Fatal(err)
		}
		looks := 0
		var stoppedAt time.Time
		ctx := NewEvalContext(&Env{Stopped: func() error {
			if looks++; looks == 20 {
				stoppedAt = time.Now()
				return ended
			}
			return nil
		}})
		_, err = r.all(ctx, strings.Repeat("a", 8<<20), -1)
		// To its end each would go on for much longer, or look again.
		if !errors.Is(err, ended) || looks != 20 || time.Since(stoppedAt) > 2*time.Second {
			t.Errorf("%s: %v after %d looks", pattern, err, looks)
		}
	}
	constant, err := Bind(parseExpr(t, "repeat('a', 8000000) ~ '(a|aa)+$b'"), NewScope(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, folded := ConstValue(constant); folded {
		t.Error("a match that takes long was computed while it was planned")
	}
	if _, err := compileRegular("(((a{100}){100}){100}){100}", false); err == nil {
		t.Error("a huge expression was compiled")
	}
	if _, err := compileRegular(strings.Repeat("[ab]{900}", 100), false); fault.KindOf(err) != fault.LimitExceeded {
		t.Errorf("an expression that stands for 90,000 characters: %v", err)
	}
}
