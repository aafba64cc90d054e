package exec_test

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/session"
	"github.com/kalamdb/kalamdb-go/internal/sql/exec"
)

// TestScripts runs each file of testdata on a fresh node. The only command is sql, with the optional
// arguments user and role (dba when left out); its output is every result, or the error.
func TestScripts(t *testing.T) {
	t.Parallel()
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		t.Helper()
		n := startNode(t, nil)
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			t.Helper()
			if d.Cmd != "sql" {
				d.Fatalf(t, "unknown command %s", d.Cmd)
			}
			user, word := "admin", "dba"
			d.MaybeScanArgs(t, "user", &user)
			d.MaybeScanArgs(t, "role", &word)
			role, ok := session.ParseRole(word)
			if word != "anonymous" && !ok {
				d.Fatalf(t, "unknown role %s", word)
			}
			response, err := n.run(t, caller(user, role), d.Input)
			if err != nil {
				return errorText(err)
			}
			return responseText(response)
		})
	})
}

// transactionIDs are random; scripts show (ID).
var transactionIDs = regexp.MustCompile(`\(1-[0-9a-f-]{36}\)`)

func errorText(err error) string {
	place := ""
	var f *fault.Error
	if errors.As(err, &f) && f.Line > 0 {
		place = fmt.Sprintf(" at %d:%d", f.Line, f.Column)
	}
	return fmt.Sprintf("%s (%s)%s: %v\n", exec.CodeOf(err), fault.KindOf(err), place, err)
}

func responseText(response *exec.Response) string {
	var b strings.Builder
	for i, result := range response.Results {
		if i > 0 {
			b.WriteString("--\n")
		}
		if !result.HasRows {
			fmt.Fprintf(&b, "%s [%d]\n", transactionIDs.ReplaceAllString(result.Message, "(ID)"), result.RowCount)
			continue
		}
		for j, column := range result.Columns {
			if j > 0 {
				b.WriteString(" | ")
			}
			b.WriteString(column.Name + " " + column.Type.String())
			if names := column.Flags.Names(); names != nil {
				b.WriteString(" (" + strings.Join(names, " ") + ")")
			}
		}
		b.WriteByte('\n')
		b.WriteString(rowsText(result.Rows))
	}
	if len(response.Results) == 0 {
		return "no results\n"
	}
	return b.String()
}
