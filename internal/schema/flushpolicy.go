package schema

import (
	"strconv"
	"strings"
)

// FlushPolicyOption is the option that says when the rows of a table become cold.
const FlushPolicyOption = "FLUSH_POLICY"

// FlushPolicy says when the rows of a table become cold by themselves; a bound of zero is none.
type FlushPolicy struct {
	Rows    int64 // as soon as it has this many in the row store
	Seconds int64 // that often
}

// FlushPolicy reads the table's option: rows:N, interval:S or both, separated by a comma. Without it rows become cold on demand
// only. What CREATE TABLE did not accept counts for nothing.
func (t *Table) FlushPolicy() FlushPolicy {
	var policy FlushPolicy
	for part := range strings.SplitSeq(t.Options[FlushPolicyOption], ",") {
		word, number, _ := strings.Cut(strings.TrimSpace(part), ":")
		count, err := strconv.ParseInt(strings.TrimSpace(number), 10, 64)
		if err != nil || count < 1 {
			continue
		}
		switch strings.ToLower(strings.TrimSpace(word)) {
		case "rows":
			policy.Rows = count
		case "interval":
			policy.Seconds = count
		}
	}
	return policy
}
