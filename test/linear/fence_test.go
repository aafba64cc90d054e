package linear

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kalamdb/kalamdb-go/client"
)

// TestStoppedServerLosesItsJob stops the process of a server in the middle of a flush, in front of the command that names its segment, until its
// claim is over and another server has done the job; the first one leads whatever it led before. Then it goes on. What it does is worth nothing: the job
// stays as the other one ended it, and every server reads every row once.
func TestStoppedServerLosesItsJob(t *testing.T) {
	t.Parallel()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	if path != builtWithPoints {
		t.Skip("the server was built without fail points")
	}
	l := newLabOf(t, path, true)
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	admin := newTraffic(t, l, 1).newUser(20).Client
	if err := create(ctx, admin, "CREATE NAMESPACE lab", "CREATE TABLE lab.t (id BIGINT PRIMARY KEY, n BIGINT) WITH (TYPE='SHARED')",
		coldRows("lab.t", 0)); err != nil {
		t.Fatal(err)
	}
	const toCommit = 3 // steps: write, keep, commit
	for _, p := range l.servers {
		l.armStep(p, "coldStep", "sleep(2000)")
	}
	if err := create(ctx, admin, "STORAGE FLUSH TABLE lab.t"); err != nil {
		t.Fatal(err)
	}
	// The server that has the job is made to lead, in the middle of what the leader does for it: it is asked next, and does the work itself.
	first := l.holder(ctx, admin)
	if _, err := admin.Query(ctx, fmt.Sprintf("CLUSTER TRANSFER LEADER %d", first.number)); err != nil {
		t.Fatal(err)
	}
	var rest []*process
	for _, p := range l.servers {
		if p != first {
			l.armStep(p, "coldStep", "")
			rest = append(rest, p)
		}
	}
	l.comesTo(ctx, first, "coldStep", toCommit)
	if err := first.pause(); err != nil {
		t.Fatal(err)
	}
	others := l.clientOf(rest[0])
	if err := jobsRest(ctx, others, "flush"); err != nil {
		t.Fatal(err)
	}
	ended := l.flushJob(ctx, others)
	if !strings.Contains(ended, "completed") {
		t.Fatalf("the job that was taken over is %s", ended)
	}
	if err := create(ctx, others, "UPDATE lab.t SET n = 1000 WHERE id < 10", "DELETE FROM lab.t WHERE id = 299"); err != nil {
		t.Fatal(err)
	}
	if err := first.resume(); err != nil {
		t.Fatal(err)
	}
	l.saysItLost(ctx, first)
	l.armStep(first, "coldStep", "")
	if err := l.waitReady(); err != nil {
		t.Fatal(err)
	}
	if now := l.flushJob(ctx, others); now != ended {
		t.Errorf("the job was %s, and is %s since the first server went on", ended, now)
	}
	l.readsOnce(ctx, "lab.t", "FLUSH")
	l.endAndCheck()
}

// comesTo returns when a server is about to pass a fail point for the n-th time.
func (l *lab) comesTo(ctx context.Context, p *process, point string, n int) {
	l.t.Helper()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for p.passed(l.t.Context(), point) < n {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			l.t.Fatalf("server %d does not come to %s %d times", p.number, point, n)
		}
	}
}

// holder returns the server that has the one flush job, once it runs.
func (l *lab) holder(ctx context.Context, c *client.Client) *process {
	l.t.Helper()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		result, err := c.Query(ctx, "SELECT node_id FROM system.jobs WHERE job_type = 'flush' AND status = 'running'")
		if err == nil && len(result.Rows) == 1 {
			node, failed := number(result.Rows[0][0])
			if failed != nil {
				l.t.Fatal(failed)
			}
			return l.servers[node-1]
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			l.t.Fatalf("no server has the job: %v", err)
		}
	}
}

// passed says how often a server came to a fail point since it is armed.
func (p *process) passed(ctx context.Context, point string) int {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.points+"/"+point+"/count", nil)
	if err != nil {
		return 0
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0
	}
	defer func() { _ = answer.Body.Close() }() // it was only read
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return 0
	}
	count, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0
	}
	return count
}

// flushJob prints the one flush job, with who did it and when.
func (l *lab) flushJob(ctx context.Context, c *client.Client) string {
	l.t.Helper()
	result, err := c.Query(ctx, "SELECT * FROM system.jobs WHERE job_type = 'flush'")
	if err != nil || len(result.Rows) != 1 {
		l.t.Fatalf("the flush job: %v %v", result, err)
	}
	return fmt.Sprint(result.Rows[0])
}

// saysItLost returns when the log of a server says that a job was taken from it.
func (l *lab) saysItLost(ctx context.Context, p *process) {
	l.t.Helper()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		text, err := os.ReadFile(p.dir + ".log")
		if err == nil && strings.Contains(string(text), "a job was taken away") {
			return
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			l.t.Fatalf("server %d goes on as if it had its job: %v\n%s", p.number, err, p.logTail())
		}
	}
}
