package server

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/jobs"
)

// TestPoliciesFlushTables has the leader look at the policies of tables on a clock that is moved by hand: the node flushes those whose policy says so,
// and no others. Intervals are so long that the look of the node itself, on the clock of the machine, makes none of them due.
func TestPoliciesFlushTables(t *testing.T) {
	t.Parallel()
	n, root := oneNode(t, withShards(2, 1))
	wall := clock.NewManual(time.Now())
	leader := jobs.New(jobs.Config{
		Executor: n.exec, Store: n.store, Catalog: n.catalog, Clock: wall, Logger: slog.New(slog.DiscardHandler),
		Node: func() ident.NodeID { return 1 }, Leadership: func() jobs.Leadership { return jobs.Leadership{Term: 1, Leading: true} },
	})
	root.sql("CREATE NAMESPACE app")
	policies := map[string]string{"few": "rows:3", "often": "interval:80000", "both": "rows:3,interval:80000", "late": "interval:86000", "never": ""}
	for name, policy := range policies {
		with, kind := "", "SHARED"
		if policy != "" {
			with = " WITH (FLUSH_POLICY = '" + policy + "')"
		}
		if name == "both" {
			kind = "USER"
		}
		root.sql("CREATE " + kind + " TABLE app." + name + " (id BIGINT PRIMARY KEY)" + with)
	}
	next := 0
	insert := func(rows int, tables ...string) {
		t.Helper()
		for range rows {
			next++
			for _, name := range tables {
				root.sql(fmt.Sprintf("INSERT INTO app.%s VALUES (%d)", name, next))
			}
		}
	}
	// look moves the time and wants the rows of the named tables, and of no others, to become cold.
	look := func(after time.Duration, cold string) {
		t.Helper()
		wall.Advance(after)
		if err := leader.Step(t.Context()); err != nil {
			t.Fatal(err)
		}
		for name := range policies {
			if strings.Contains(cold, name) {
				within(t, name+" is flushed", func() bool { return hotVersions(t, n, name) == 0 })
			}
		}
		within(t, "the jobs have ended", func() bool {
			return root.grid("SELECT count(*) FROM system.jobs WHERE job_type = 'flush' AND status IN ('new', 'queued', 'running', 'retrying')") == "0"
		})
		for name := range policies {
			// The node may have made another job for a table with enough rows when this one was made.
			byOthers := next >= 3 && strings.HasPrefix(policies[name], "rows")
			if hot := hotVersions(t, n, name); !strings.Contains(cold, name) && !byOthers && hot == 0 {
				t.Errorf("after %s more %s is flushed as well", after, name)
			}
			if got, want := root.grid("SELECT count(*), max(id) FROM app."+name), fmt.Sprintf("|%d", next); !strings.HasSuffix(got, want) {
				t.Errorf("%s has %s, want %s", name, got, want)
			}
		}
	}
	all := []string{"few", "often", "both", "late", "never"}
	insert(2, all...)
	look(0, "")
	insert(1, all...)
	look(time.Minute, "few both")
	insert(1, all...)
	look(80000*time.Second, "often both")
	insert(1, all...)
	look(7000*time.Second, "late")
	for name := range policies {
		if got := root.grid("SELECT count(*) FROM app." + name); got != "5" {
			t.Errorf("%s has %s rows", name, got)
		}
	}
}
