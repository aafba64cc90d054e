package e2e

import (
	"crypto/rand"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestKilledInTheMiddleOfBackupAndRestore kills the process while it writes a backup, and another one while it restores that backup. Both
// jobs go on when their nodes are back, and the rows are those that were written.
func TestKilledInTheMiddleOfBackupAndRestore(t *testing.T) {
	t.Parallel()
	first := prepareCluster(t, 1, settings{"cluster.user_shards": 2}).nodes[0]
	first.start(t)
	first.waitReady(t)
	root := first.root(t)
	root.soon(t, "CREATE NAMESPACE IF NOT EXISTS app")
	root.soon(t, "CREATE SHARED TABLE IF NOT EXISTS app.t (id BIGINT PRIMARY KEY, body TEXT)")
	const statements, each = 40, 400
	for i := range statements {
		var rows []string
		for k := range each {
			body := make([]byte, 500)
			_, _ = rand.Read(body) // never fails
			rows = append(rows, fmt.Sprintf("(%d, '%x')", i*each+k, body))
		}
		root.must(t, "INSERT INTO app.t VALUES "+strings.Join(rows, ", "))
	}
	const sums = "SELECT count(*), sum(id), min(body), max(body) FROM app.t"
	want := root.must(t, sums).rows()
	place := filepath.Join(testDir(t), "backups")
	job := jobOf(t, root.must(t, "BACKUP DATABASE TO '"+place+"'"))
	found := func(pattern ...string) int {
		names, err := filepath.Glob(filepath.Join(append([]string{place}, pattern...)...))
		if err != nil {
			t.Fatal(err)
		}
		return len(names)
	}
	for deadline := time.Now().Add(waitLimit); found("chunks", "*", "*") == 0; {
		if time.Now().After(deadline) {
			t.Fatal("no chunk is written")
		}
	}
	first.kill(t)
	if n := found("backups", "*"); n != 0 {
		t.Logf("the process was killed too late: there are %d backups", n) // on a machine that is busy with other things
	}
	first.start(t)
	first.waitReady(t)
	waitCompleted(t, first.root(t), job)
	if out, err := exec.Command(serverBinary, "verify", place).CombinedOutput(); err != nil {
		t.Errorf("verify: %v: %s", err, out)
	}

	second := prepareCluster(t, 1, settings{"cluster.user_shards": 3, "cluster.shared_shards": 2}).nodes[0]
	second.start(t)
	second.waitReady(t)
	there := second.root(t)
	job = jobOf(t, there.soon(t, "RESTORE DATABASE FROM '"+place+"'"))
	eventually(t, "the table is there", func() error {
		if got := there.number(t, "SELECT count(*) FROM system.tables WHERE namespace_id = 'app'"); got == 0 {
			return fmt.Errorf("there are %d tables", got)
		}
		return nil
	})
	second.kill(t)
	second.start(t)
	second.waitReady(t)
	there = second.root(t)
	waitCompleted(t, there, job)
	if got := there.soon(t, sums).rows(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("restored: %v, want %v", got, want)
	}
}

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
