package linear

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kalamdb/kalamdb-go/client"
)

// coldSteps are the steps of a flush and of a compaction after which a server dies.
var coldSteps = []struct{ verb, step string }{
	{"FLUSH", "write"},
	{"FLUSH", "keep"},
	{"FLUSH", "commit"},
	{"FLUSH", "committed"},
	{"COMPACT", "write"},
	{"COMPACT", "keep"},
	{"COMPACT", "replace"},
	{"COMPACT", "replaced"},
}

// TestKilledAtEveryStepOfFlushAndCompaction ends the server that flushes or merges at each step, one table for each. Afterwards every
// server reads every row once; the jobs go on elsewhere when their claims are over; and all files are in order.
func TestKilledAtEveryStepOfFlushAndCompaction(t *testing.T) {
	t.Parallel()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	if path != builtWithPoints {
		t.Skip("the server was built without fail points")
	}
	l := newLab(t, path)
	admin := newTraffic(t, l, 1).newUser(20).Client
	ctx, cancel := context.WithTimeout(t.Context(), 5*patience)
	defer cancel()
	must := func(statements ...string) {
		t.Helper()
		if err := create(ctx, admin, statements...); err != nil {
			t.Fatal(err)
		}
	}
	must("CREATE NAMESPACE lab")
	for i, at := range coldSteps {
		name := fmt.Sprintf("lab.cold%d", i)
		must("CREATE TABLE "+name+" (id BIGINT PRIMARY KEY, n BIGINT) WITH (TYPE='SHARED')", coldRows(name, 0))
		for round := 1; at.verb == "COMPACT" && round < 3; round++ {
			must("STORAGE FLUSH TABLE " + name)
			if err := jobsRest(ctx, admin, "flush"); err != nil {
				t.Fatal(err)
			}
			must(coldRows(name, round))
		}
		if at.verb == "COMPACT" {
			must("STORAGE FLUSH TABLE " + name)
			if err := jobsRest(ctx, admin, "flush"); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i, at := range coldSteps {
		for _, p := range l.servers {
			l.armStep(p, "coldStep", fmt.Sprintf("return(%q)", at.step))
		}
		name := fmt.Sprintf("lab.cold%d", i)
		before := l.sharedLeader(ctx, admin)
		must(fmt.Sprintf("STORAGE %s TABLE %s", at.verb, name))
		died, err := l.oneDies(ctx)
		if err != nil {
			t.Fatalf("%s at %s: %v", at.verb, at.step, err)
		}
		for _, p := range l.servers {
			l.armStep(p, "coldStep", "") // else whoever leads next dies, too
		}
		if at.verb == "FLUSH" && died.number != before.node {
			// Whoever leads writes. That another one died is right only if the leadership has moved.
			if l.leadsStill(ctx, before) {
				t.Errorf("server %d died at %s of a flush, and %d leads in term %d as before", died.number, at.step, before.node, before.term)
			}
		}
		l.bringBackIfTwoDied()
		// Rows that are or become cold change while the server is away.
		must("UPDATE "+name+" SET n = 1000 WHERE id < 10", "DELETE FROM "+name+" WHERE id = 299")
		if err := l.startAll(); err != nil {
			t.Fatal(err)
		}
		if err := l.waitReady(); err != nil {
			t.Fatal(err)
		}
		l.readsOnce(ctx, name, at.verb)
	}
	if err := jobsRest(ctx, admin, "flush", "compact"); err != nil {
		t.Fatal(err)
	}
	for i, at := range coldSteps {
		l.readsOnce(ctx, fmt.Sprintf("lab.cold%d", i), at.verb)
	}
	l.endAndCheck()
}

// bringBackIfTwoDied starts the servers where a second one came to its step before that was taken from it: without a majority nothing could be
// changed.
func (l *lab) bringBackIfTwoDied() {
	l.t.Helper()
	dead := 0
	for _, p := range l.servers {
		if !p.running() {
			dead++
		}
	}
	if dead < 2 {
		return
	}
	if err := errors.Join(l.startAll(), l.waitReady()); err != nil {
		l.t.Fatal(err)
	}
}

// endAndCheck ends all servers in order and looks at their files.
func (l *lab) endAndCheck() {
	l.t.Helper()
	for _, p := range l.servers {
		if err := p.end(syscall.SIGTERM); err != nil {
			l.t.Fatal(err)
		}
	}
	for _, found := range l.check() {
		l.t.Error(found)
	}
}

// armStep sets a fail point of a server that runs. One that dies meanwhile, because an earlier job came to a step, is as good.
func (l *lab) armStep(p *process, point, term string) {
	l.t.Helper()
	p.killed = true
	if !p.running() {
		return
	}
	if err := p.setPoint(point, term); err != nil {
		select {
		case <-p.ended:
		case <-time.After(patience):
			l.t.Fatal(err)
		}
	}
}

// coldRows inserts 300 rows, and changes some of those that are there.
func coldRows(name string, round int) string {
	var rows []string
	for id := range 300 {
		rows = append(rows, fmt.Sprintf("(%d, %d)", id, round))
	}
	return "INSERT INTO " + name + " (id, n) VALUES " + strings.Join(rows, ", ") + " ON CONFLICT (id) DO UPDATE SET n = excluded.n"
}

// led is who leads a group, in which term.
type led struct {
	node int
	term int64
}

// sharedLeader returns who leads the one group of shared tables.
func (l *lab) sharedLeader(ctx context.Context, c *client.Client) led {
	l.t.Helper()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		found, err := leaderSeen(ctx, c)
		if err == nil {
			return found
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			l.t.Fatalf("nobody leads: %v", err)
		}
	}
}

// leaderSeen is who leads the group as far as a server knows.
func leaderSeen(ctx context.Context, c *client.Client) (led, error) {
	result, err := c.Query(ctx, "SELECT node_id, current_term FROM system.cluster_groups WHERE group_type = 'shared_data' AND state = 'leader' ORDER BY current_term DESC")
	if err != nil {
		return led{}, err
	}
	if len(result.Rows) == 0 {
		return led{}, errors.New("no leader is known")
	}
	node, failure := number(result.Rows[0][0])
	term, failed := number(result.Rows[0][1])
	return led{int(node), term}, errors.Join(failure, failed)
}

// leadsStill asks a leader whether it is one. It may have died meanwhile, as the one behind it did.
func (l *lab) leadsStill(ctx context.Context, before led) bool {
	l.t.Helper()
	p := l.servers[before.node-1]
	once, err := client.New(client.Config{URLs: []string{p.url()}, User: "root", Password: password, Attempts: 1})
	if err != nil {
		l.t.Fatal(err)
	}
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for p.running() {
		bounded, cancel := context.WithTimeout(ctx, 2*time.Second) // to see whether it runs
		now, err := leaderSeen(bounded, once)
		cancel()
		if err == nil {
			return now == before
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			l.t.Fatalf("server %d says nothing of who leads", p.number)
		}
	}
	return false
}

// oneDies returns when a server has ended.
func (l *lab) oneDies(ctx context.Context) (*process, error) {
	ticker := time.NewTicker(25 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.Now().Add(patience)
	for {
		for _, p := range l.servers {
			if !p.running() {
				return p, nil
			}
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			return nil, fmt.Errorf("no server ended within %v", patience)
		}
		<-ticker.C
	}
}

// readsOnce wants every server to have each row of a table once, as it is now.
func (l *lab) readsOnce(ctx context.Context, name, verb string) {
	l.t.Helper()
	round := int64(0)
	if verb == "COMPACT" {
		round = 2
	}
	want := fmt.Sprint([]any{int64(299), int64(299), int64(298 * 299 / 2), 289*round + 10_000})
	for _, p := range l.servers {
		got := ""
		result, err := l.clientOf(p).Query(ctx, "SELECT count(*), count(DISTINCT id), sum(id), sum(n) FROM "+name)
		if err == nil {
			got = fmt.Sprint(result.Rows[0])
		}
		if err != nil || got != want {
			l.t.Errorf("server %d has %s of %s, want %s: %v", p.number, got, name, want, err)
		}
	}
}

// jobsRest returns when no job of these types waits or runs.
func jobsRest(ctx context.Context, admin *client.Client, types ...string) error {
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	query := "SELECT count(*) FROM system.jobs WHERE job_type IN ('" + strings.Join(types, "', '") + "') AND status IN ('new', 'queued', 'running', 'retrying')"
	for deadline := time.Now().Add(2 * patience); ; {
		var left int64
		result, err := admin.Query(ctx, query)
		if err == nil {
			left, err = number(result.Rows[0][0])
		}
		if err == nil && left == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%d jobs do not end: %w", left, err)
		}
		<-ticker.C
	}
}
