package schema

import (
	"strconv"
	"strings"
	"time"
)

// DeletedRetentionOption is the option of a table that says for how many hours a deleted row can still be looked at.
const DeletedRetentionOption = "DELETED_RETENTION_HOURS"

// DefaultDeletedRetention counts for tables without the option.
const DefaultDeletedRetention = 168 * time.Hour

// DeletedRetention is how long deletions are kept at least. What CREATE TABLE did not accept counts for nothing.
func (t *Table) DeletedRetention() time.Duration {
	const most = 100 * 365 * 24 // hours, so that no sum of times overflows
	hours, err := strconv.ParseInt(strings.TrimSpace(t.Options[DeletedRetentionOption]), 10, 64)
	if err != nil || hours < 0 {
		return DefaultDeletedRetention
	}
	return time.Duration(min(hours, most)) * time.Hour
}
