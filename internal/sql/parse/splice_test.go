package parse_test

import (
	"errors"
	"math/rand/v2"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
)

// TestSplicedStatements parses statements that are stitched together from pieces of the seeds. Most are
// nonsense; those that parse must survive printing.
func TestSplicedStatements(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile("testdata/seeds.sql")
	if err != nil {
		t.Fatalf("reading the seeds: %v", err)
	}
	pieces := regexp.MustCompile(`'[^']*'|"[^"]*"|[A-Za-z_][A-Za-z_0-9]*|\d+|::|[-<>|@#?=!~]+|\S`)
	var seeds [][]string
	for line := range strings.Lines(string(content)) {
		seeds = append(seeds, pieces.FindAllString(line, -1))
	}
	const seed, rounds = 20260101, 10_000
	random := rand.New(rand.NewPCG(seed, seed))
	accepted := 0
	for range rounds {
		words := seeds[random.IntN(len(seeds))]
		for range 1 + random.IntN(3) {
			other := seeds[random.IntN(len(seeds))]
			if random.IntN(4) == 0 {
				words = splice(random, words, other)
			} else if len(other) > 1 && strings.EqualFold(other[0], "select") {
				words = substitute(random, words, other[1:])
			}
		}
		text := strings.Join(words, " ")
		if roundTrips(t, text) {
			accepted++
		}
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	if accepted < rounds/20 {
		t.Errorf("only %d of %d texts parse, the test has lost its point", accepted, rounds)
	}
}

// splice replaces a part of one statement by a part of another.
func splice(random *rand.Rand, words, other []string) []string {
	if len(words) == 0 || len(other) == 0 {
		return words
	}
	from := random.IntN(len(words))
	to := min(len(words), from+random.IntN(4))
	start := random.IntN(len(other))
	end := min(len(other), start+1+random.IntN(6))
	spliced := append([]string{}, words[:from]...)
	spliced = append(spliced, other[start:end]...)
	return append(spliced, words[to:]...)
}

// substitute replaces one of the operands a, b, c or 1 of a statement by a whole expression.
func substitute(random *rand.Rand, words, expression []string) []string {
	var places []int
	for i, word := range words {
		if word == "a" || word == "b" || word == "c" || word == "1" {
			places = append(places, i)
		}
	}
	if len(places) == 0 {
		return words
	}
	place := places[random.IntN(len(places))]
	return append(append(append([]string{}, words[:place]...), expression...), words[place+1:]...)
}

// roundTrips parses a text and, if it is a statement, checks its print.
func roundTrips(t *testing.T, text string) bool {
	t.Helper()
	tree, err := parse.Parse(text)
	if err != nil {
		var located *fault.Error
		if !errors.As(err, &located) || located.Line < 1 || located.Column < 1 {
			t.Errorf("Parse(%q) = %v: the error has no place", text, err)
		}
		return false
	}
	printed := parse.Print(tree)
	again, err := parse.Parse(printed)
	if err != nil {
		t.Errorf("the print %q of %q does not parse: %v", printed, text, err)
		return true
	}
	if diff := cmp.Diff(tree, again, treesEqual()); diff != "" {
		t.Errorf("the print %q of %q gives another tree:\n%s", printed, text, diff)
	}
	return true
}
