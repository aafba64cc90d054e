package table_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kalamdb/kalamdb-go/internal/table"
)

var rewrite = flag.Bool("rewrite", false, "write golden files instead of comparing them")

// TestViewColumns pins what clients see of every computed table: names, types and which may be NULL.
func TestViewColumns(t *testing.T) {
	t.Parallel()
	var list strings.Builder
	for _, view := range table.NewSystem(table.SystemOptions{}).Views() {
		fmt.Fprintf(&list, "%s\n", view.FullName())
		for i := range view.Columns {
			null := ""
			if view.Columns[i].Nullable {
				null = " ?"
			}
			fmt.Fprintf(&list, "  %s %s%s\n", view.Columns[i].Name, view.Columns[i].Type, null)
		}
	}
	const path = "testdata/views.txt"
	if *rewrite {
		if err := os.WriteFile(path, []byte(list.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), list.String()); diff != "" {
		t.Errorf("columns of views changed (-want +got):\n%s", diff)
	}
}
