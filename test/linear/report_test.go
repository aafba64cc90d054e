package linear

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestReportShowsWhatWasFound gives the verdict a row that answers what nobody wrote, and transactions that wrote past each
// other: the page names both, the seed and the faults, and leads to a drawing of the row's history.
func TestReportShowsWhatWasFound(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	rows := &registers{calls: []registerCall{
		{call: at(0, 1, done), kind: "write", value: 1}, {call: at(2, 3, done), kind: "read", value: 2},
	}}
	skew := &lists{txns: []listTxn{
		txn(at(0, 9, done), get(1), put(2, 2)), txn(at(0, 9, done), get(2), put(1, 1)), txn(at(10, 11, done), get(1, 1), get(2, 2)),
	}}
	v := &verdict{Seed: 4711, Binary: "kalamdb", Faults: []happening{{name: "a blackhole", victim: 2, end: time.Second}}}
	if err := v.collect([]workload{rows, skew}, dir); err != nil {
		t.Fatal(err)
	}
	path, err := v.write(dir)
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"seed 4711", "not linearizable", "register-0.html", "list-append", "cycle", "a blackhole of server 2", "2 calls"} {
		if !strings.Contains(string(page), want) {
			t.Errorf("the report does not say %q:\n%s", want, page)
		}
	}
	if drawn, err := os.ReadFile(filepath.Join(dir, "register-0.html")); err != nil || !strings.Contains(string(drawn), "read 2") {
		t.Errorf("the page with the history has %d bytes, %v", len(drawn), err)
	}
}
