package exec_test

import (
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/sql/exec"
)

// TestChangesTogetherAccountForTheTransaction: what a statement remembers of the rows that its transaction wrote before is memory of the
// statement, which ends at its bound.
func TestChangesTogetherAccountForTheTransaction(t *testing.T) {
	t.Parallel()
	n := startNode(t, func(deps *exec.Deps) { deps.Limits = exec.Limits{QueryMemoryBytes: 128 << 10} })
	n.must(t, "CREATE SHARED TABLE a (id INT PRIMARY KEY, v INT); CREATE SHARED TABLE b (id INT PRIMARY KEY, v INT UNIQUE)")
	const together = "WITH c AS (UPDATE a SET v = 1 WHERE id = 1 RETURNING id) SELECT id FROM c"
	for name, c := range map[string]struct {
		batches int
		sql     string
		full    bool
	}{
		"few rows":                      {2, together, false},
		"many rows":                     {25, together, true},
		"few unique values":             {2, "INSERT INTO b VALUES (-1, -1) ON CONFLICT (v) DO NOTHING", false},
		"many unique values":            {25, "INSERT INTO b VALUES (-1, -1) ON CONFLICT (v) DO NOTHING", true},
		"many rows and another, simple": {25, "INSERT INTO b VALUES (-1, -1)", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tx := n.begin(t)
			for i := range c.batches {
				tx.must("INSERT INTO a SELECT g, 0 FROM generate_series(" + strconv.Itoa(100*i) + ", " + strconv.Itoa(100*i+99) + ") AS g(g)")
				tx.must("INSERT INTO b SELECT g, g FROM generate_series(" + strconv.Itoa(100*i) + ", " + strconv.Itoa(100*i+99) + ") AS g(g)")
			}
			_, err := tx.run(c.sql)
			if full := fault.KindOf(err) == fault.LimitExceeded; full != c.full || err != nil && !full {
				t.Errorf("%d rows: %v", 200*c.batches, err)
			}
			if err == nil {
				tx.must("ROLLBACK")
			}
		})
	}
}

// whileItDrops has an index dropped after the next statement was planned and before it reads, up to where nobody keeps its entries any more and
// they are still there; finish lets them go.
func (n *node) whileItDrops(t *testing.T, index string) (finish func()) {
	t.Helper()
	reached, goOn, done := make(chan struct{}), make(chan struct{}), make(chan struct{})
	n.whileItWaits(func() {
		n.meanwhile(func() { // before the fence; the next command is of the second round, with the index given up
			n.meanwhile(func() {
				close(reached)
				<-goOn
			})
		})
		go func() {
			defer close(done)
			n.must(t, "DROP INDEX "+index)
		}()
		<-reached
	})
	return func() {
		close(goOn)
		<-done
	}
}

// TestSkippedRowsDoNotTrustADroppedIndex: a statement that was planned before a unique index was dropped finds entries that nobody has kept
// since. What it leaves out because of them would be lost, and nothing that it sends could tell.
func TestSkippedRowsDoNotTrustADroppedIndex(t *testing.T) {
	t.Parallel()
	for name, sql := range map[string]string{
		"do nothing":        "INSERT INTO u VALUES (2, 1, 0) ON CONFLICT DO NOTHING",
		"within WITH":       "WITH i AS (INSERT INTO u VALUES (2, 1, 0) ON CONFLICT DO NOTHING RETURNING id) SELECT id FROM i",
		"rows of a query":   "INSERT INTO u SELECT 2, 1, 0 ON CONFLICT DO NOTHING",
		"one of many skips": "INSERT INTO u VALUES (1, 7, 7), (2, 1, 0) ON CONFLICT DO NOTHING",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := startNode(t, func(deps *exec.Deps) { deps.Clock = clock.Real{} })
			n.must(t, "CREATE SHARED TABLE u (id INT PRIMARY KEY, v INT, w INT); CREATE UNIQUE INDEX by_v ON u (v); INSERT INTO u VALUES (1, 1, 0)")
			finish := n.whileItDrops(t, "by_v")
			n.must(t, sql)
			finish()
			if got := text(t, n.must(t, "SELECT id, v FROM u ORDER BY id")); got != "1|1\n2|1\n" {
				t.Errorf("after %s there are %q", sql, got)
			}
		})
	}
	n := startNode(t, func(deps *exec.Deps) { deps.Clock = clock.Real{} })
	n.must(t, "CREATE SHARED TABLE u (id INT PRIMARY KEY, v INT, w INT); CREATE UNIQUE INDEX by_v ON u (v); INSERT INTO u VALUES (1, 1, 0)")
	finish := n.whileItDrops(t, "by_v")
	_, err := n.run(t, admin(), "INSERT INTO u VALUES (2, 1, 0) ON CONFLICT (v) DO UPDATE SET w = 9 WHERE u.w = 5")
	finish()
	if fault.KindOf(err) != fault.InvalidStatement {
		t.Errorf("the index is gone, and its condition has decided: %v", err)
	}
}

// TestDuplicatesOfOneStatementAreTold: a statement of several parts is refused for a value that it takes twice itself, or takes from a row that
// stays, and runs again for one that somebody else takes meanwhile; the words of the refusals, which are cut after some characters, decide nothing.
func TestDuplicatesOfOneStatementAreTold(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 300)
	n := startNode(t, func(deps *exec.Deps) { deps.Clock, deps.Limits.ConflictAttempts = clock.Real{}, 1000 })
	n.must(t, "CREATE SHARED TABLE u (id INT PRIMARY KEY, v TEXT UNIQUE, w INT UNIQUE); INSERT INTO u VALUES (1, '"+long+"1', 1), (2, '2', 2)")
	for _, sql := range []string{
		"WITH i AS (INSERT INTO u VALUES (5, '5', 5) ON CONFLICT DO NOTHING) UPDATE u SET w = 1 WHERE id = 2",
		"WITH i AS (INSERT INTO u VALUES (5, '5', 5) ON CONFLICT DO NOTHING), j AS (INSERT INTO u VALUES (6, '6', 7)) INSERT INTO u VALUES (7, '7', 7)",
		"WITH i AS (INSERT INTO u VALUES (5, '5', 5) ON CONFLICT DO NOTHING), d AS (DELETE FROM u WHERE id = 2) UPDATE u SET w = 5 WHERE id = 1",
	} {
		if _, err := n.run(t, admin(), sql); fault.KindOf(err) != fault.DuplicateKey || !strings.Contains(err.Error(), "Unique violation") {
			t.Errorf("%s: %v", sql, err)
		}
	}
	n.must(t, "WITH i AS (INSERT INTO u VALUES (5, '5', 5) ON CONFLICT DO NOTHING), d AS (UPDATE u SET w = 3 WHERE id = 2) UPDATE u SET w = 2 WHERE id = 1")
	n.must(t, "UPDATE u SET w = 1 WHERE id = 1; DELETE FROM u WHERE id = 5")
	// Others take two values, one after the other, whose refusals read alike.
	again := func() { n.must(t, "INSERT INTO u VALUES (102, '"+long+"b', 102)") }
	n.meanwhile(func() {
		n.must(t, "INSERT INTO u VALUES (101, '"+long+"a', 101)")
		n.meanwhile(again)
	})
	n.must(t, "WITH i AS (INSERT INTO u VALUES (10, '"+long+"a', 10), (11, '"+long+"b', 11) ON CONFLICT (v) DO UPDATE SET w = 1000 + excluded.w RETURNING id), "+
		"p AS (INSERT INTO u VALUES (12, 'p', 12)) SELECT id FROM i")
	if got := text(t, n.must(t, "SELECT string_agg(id::text, ',' ORDER BY id) FROM u")); got != "1,2,12,101,102\n" {
		t.Errorf("the rows are %q", got)
	}
}

// TestQueueTakesEachEntryOnce: workers that take the next entry by FOR UPDATE SKIP LOCKED, which locks nothing, get each entry once, in turn, in
// one statement; in transactions of several statements the one that comes second is told to begin again.
func TestQueueTakesEachEntryOnce(t *testing.T) {
	t.Parallel()
	n := startNode(t, func(deps *exec.Deps) { deps.Clock, deps.Limits.ConflictAttempts = clock.Real{}, 10_000 })
	n.must(t, "CREATE SHARED TABLE queue (id INT PRIMARY KEY, worker INT); INSERT INTO queue SELECT g, NULL FROM generate_series(1, 40) AS g")
	const workers = 4
	var (
		group sync.WaitGroup
		mu    sync.Mutex // guards taken
		taken = map[string]int{}
	)
	for w := range workers {
		group.Go(func() {
			for {
				got, err := n.run(t, admin(), "UPDATE queue SET worker = "+strconv.Itoa(w)+
					" WHERE id = (SELECT id FROM queue WHERE worker IS NULL ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING id")
				if err != nil || len(got.Results[0].Rows) == 0 {
					if err != nil {
						t.Error(err)
					}
					return
				}
				mu.Lock()
				taken[got.Results[0].Rows[0][0].String()]++
				mu.Unlock()
			}
		})
	}
	group.Wait()
	for id, times := range taken {
		if times != 1 {
			t.Errorf("entry %s was taken %d times", id, times)
		}
	}
	if len(taken) != 40 {
		t.Errorf("%d of 40 entries were taken", len(taken))
	}
	n.must(t, "INSERT INTO queue VALUES (50, NULL)")
	first, second := n.begin(t), n.begin(t)
	for i, tx := range []*conversation{first, second} {
		if got := tx.text("SELECT id FROM queue WHERE worker IS NULL FOR UPDATE NOWAIT"); got != "50" {
			t.Errorf("transaction %d sees %q", i, got)
		}
		tx.must("UPDATE queue SET worker = " + strconv.Itoa(i) + " WHERE id = 50")
	}
	first.must("COMMIT")
	second.conflicts()
}
