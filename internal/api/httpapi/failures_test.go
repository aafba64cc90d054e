package httpapi

import (
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/fault"
)

// TestTableHasEveryKindInItsPlace: the table is indexed by kind, so a kind that is added without a line, or
// a line in the wrong place, would answer with another kind's status.
func TestTableHasEveryKindInItsPlace(t *testing.T) {
	t.Parallel()
	table := rules()
	for i, line := range table {
		if int(line.kind) != i || line.status == 0 || line.code == "" || line.generic == "" {
			t.Errorf("line %d is %+v", i, line)
		}
		if line.retry != line.kind.Retryable() {
			t.Errorf("%v: retry = %v, the kind says %v", line.kind, line.retry, line.kind.Retryable())
		}
	}
	if next := fault.Kind(len(table)); next.String() != "unknown" {
		t.Errorf("kind %v has no line", next)
	}
	if ruleOf(fault.Kind(len(table))).kind != fault.Internal {
		t.Error("an unknown kind is not internal")
	}
}
