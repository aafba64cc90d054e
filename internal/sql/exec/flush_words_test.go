package exec

import (
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/sql/plan"
)

// TestWordsOfFlushes pins the words in which programs look for jobs.
func TestWordsOfFlushes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		compact, single bool
		made, there     []string
		want            string
	}{
		{false, true, []string{"FL-1"}, nil, "Storage flush of X started. Job ID: FL-1"},
		{false, true, nil, []string{"FL-1"}, "Storage flush of X skipped: it is queued already. Job ID: FL-1"},
		{false, true, nil, nil, "Storage flush of X skipped: no rows are waiting"},
		{false, false, []string{"FL-1", "FL-3"}, []string{"FL-2"}, "Storage flush of X started. Job IDs: [FL-1, FL-3, FL-2]"},
		{false, false, []string{"FL-1"}, nil, "Storage flush of X started. Job IDs: [FL-1]"},
		{false, false, nil, []string{"FL-1", "FL-2"}, "Storage flush of X skipped: it is queued already. Job IDs: [FL-1, FL-2]"},
		{true, true, []string{"CO-1"}, nil, "Storage compaction of X started. Job ID: CO-1"},
		{true, false, nil, nil, "Storage compaction of X skipped: no segments can be merged"},
	} {
		if got := flushMessage(&plan.StorageFlush{Compact: c.compact, What: "X"}, c.single, c.made, c.there); got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
}
