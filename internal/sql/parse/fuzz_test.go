package parse_test

import (
	"bufio"
	"errors"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
)

// addSeeds adds every line of testdata/seeds.sql.
func addSeeds(f *testing.F) {
	f.Helper()
	file, err := os.Open("testdata/seeds.sql")
	if err != nil {
		f.Fatalf("opening the seeds: %v", err)
	}
	defer func() {
		if err := file.Close(); err != nil {
			f.Errorf("closing the seeds: %v", err)
		}
	}()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		f.Add(lines.Text())
	}
	if err := lines.Err(); err != nil {
		f.Fatalf("reading the seeds: %v", err)
	}
}

// FuzzParse checks that every text gives statements or a located error, and that a single statement parses
// alone as it does in a batch.
func FuzzParse(f *testing.F) {
	addSeeds(f)
	f.Fuzz(func(t *testing.T, text string) {
		batch, err := parse.ParseBatch(text)
		if err != nil {
			var located *fault.Error
			if !errors.As(err, &located) || located.Line < 1 || located.Column < 1 || batch != nil {
				t.Fatalf("ParseBatch(%q) = %v, %#v: the error has no place or comes with a result", text, batch, err)
			}
			if located.Kind != fault.Syntax && located.Kind != fault.LimitExceeded && located.Kind != fault.Unsupported {
				t.Fatalf("ParseBatch(%q) fails with kind %v", text, located.Kind)
			}
			return
		}
		for _, parsed := range batch {
			alone, err := parse.Parse(parsed.Text)
			if err != nil {
				t.Fatalf("the statement %q of the batch %q does not parse alone: %v", parsed.Text, text, err)
			}
			if diff := cmp.Diff(parsed.Statement, alone, treesEqual()); diff != "" {
				t.Fatalf("the statement %q differs alone:\n%s", parsed.Text, diff)
			}
		}
	})
}

// FuzzPrintRoundTrip checks that the print of a tree gives the same tree and prints the same again. A tree
// may need more parentheses than it was written with, so the print of one nested almost to the limit may
// exceed it.
func FuzzPrintRoundTrip(f *testing.F) {
	addSeeds(f)
	f.Fuzz(func(t *testing.T, text string) {
		tree, err := parse.Parse(text)
		if err != nil {
			return
		}
		printed := parse.Print(tree)
		again, err := parse.Parse(printed)
		if fault.KindOf(err) == fault.LimitExceeded {
			return
		}
		if err != nil {
			t.Fatalf("the print %q of %q does not parse: %v", printed, text, err)
		}
		if diff := cmp.Diff(tree, again, treesEqual()); diff != "" {
			t.Fatalf("the print %q of %q gives another tree:\n%s", printed, text, diff)
		}
		if second := parse.Print(again); second != printed {
			t.Fatalf("%q prints as %q, then as %q", text, printed, second)
		}
	})
}
