package e2e

import (
	"fmt"
	"strings"
	"testing"
)

// jobOf reads the id of the job that a statement has started.
func jobOf(t *testing.T, a answer) string {
	t.Helper()
	_, rest, ok := strings.Cut(string(a.Raw), "Job ID: ")
	id, _, _ := strings.Cut(rest, `"`)
	if !ok || id == "" {
		t.Fatalf("no job is named: %v", a)
	}
	return id
}

// waitCompleted returns when a job is completed.
func waitCompleted(t *testing.T, root *client, job string) {
	t.Helper()
	eventually(t, "job "+job, func() error {
		got, err := root.sql(t.Context(), "SELECT status, message, exception_trace FROM system.jobs WHERE job_id = '"+job+"'")
		if err != nil || !got.ok() {
			return fmt.Errorf("%v %w", got, err)
		}
		if rows := got.rows(); len(rows) != 1 || fmt.Sprint(rows[0][0]) != "completed" {
			return fmt.Errorf("it is %v", rows)
		}
		return nil
	})
}
