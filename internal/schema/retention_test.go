package schema

import (
	"testing"
	"time"
)

func TestDeletedRetention(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		"": DefaultDeletedRetention, "0": 0, " 24 ": 24 * time.Hour, "-1": DefaultDeletedRetention, "x": DefaultDeletedRetention,
		"9223372036854775807": 876_000 * time.Hour,
	} {
		table := &Table{Options: map[string]string{DeletedRetentionOption: text}}
		if got := table.DeletedRetention(); got != want {
			t.Errorf("retention %q is %s, want %s", text, got, want)
		}
	}
}
