package parse

import (
	"os"
	"regexp"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/schema"
)

// TestReservedWordsNameNoObject: what cannot be written without quotes must not become the name of an object. The words are
// all that the sources of the parser and its seeds hold.
func TestReservedWordsNameNoObject(t *testing.T) {
	t.Parallel()
	reserved := map[string]bool{}
	for _, file := range []string{"words.go", "testdata/seeds.sql"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, word := range regexp.MustCompile(`[A-Za-z_]+`).FindAllString(string(text), -1) {
			if isReserved(word) {
				reserved[foldName(word)] = true
			}
		}
	}
	if len(reserved) < 60 {
		t.Fatalf("only %d reserved words were found", len(reserved))
	}
	for word := range reserved {
		if !schema.IsReservedWord(word) {
			t.Errorf("%q needs quotes and may name a table", word)
		}
	}
}
