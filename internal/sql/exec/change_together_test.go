package exec_test

import (
	"sync"
	"testing"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/session"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/sql/exec"
)

// meanwhile has something done after a statement was computed and before its command is applied.
func (n *node) meanwhile(do func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.before = do
}

// whileItWaits has something done after a statement was planned and before it reads.
func (n *node) whileItWaits(do func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.atBarrier = do
}

// movingRows starts a node with two tables of which rows move from one to the other.
func movingRows(t *testing.T) *node {
	t.Helper()
	n := startNode(t, func(deps *exec.Deps) { deps.Clock = clock.Real{} }) // a conflict is followed by a pause
	n.must(t, "CREATE SHARED TABLE a (id INT PRIMARY KEY, v INT); CREATE SHARED TABLE b (id INT PRIMARY KEY, v INT UNIQUE)")
	n.must(t, "INSERT INTO a VALUES (1, 10), (2, 20), (3, 30); INSERT INTO b VALUES (9, 90)")
	return n
}

const moveRows = "WITH moved AS (DELETE FROM a WHERE v >= 20 RETURNING *) INSERT INTO b SELECT * FROM moved"

// TestChangesTogetherAreOneEntry: what the parts of a statement write is one command of one group.
func TestChangesTogetherAreOneEntry(t *testing.T) {
	t.Parallel()
	n := movingRows(t)
	group := shard.Map{UserShards: 2, SharedShards: 1}.Groups()
	before := map[shard.GroupID]uint64{}
	for _, g := range group {
		before[g] = n.Applied(g)
	}
	if got := n.must(t, moveRows).Results[0].Message; got != "Inserted 2 row(s)" {
		t.Errorf("the statement says %q", got)
	}
	entries := uint64(0)
	for _, g := range group {
		entries += n.Applied(g) - before[g]
	}
	if entries != 1 {
		t.Errorf("the statement took %d entries", entries)
	}
	if got := text(t, n.must(t, "SELECT (SELECT string_agg(id::text, ',' ORDER BY id) FROM a), (SELECT string_agg(id::text, ',' ORDER BY id) FROM b)")); got != "1|2,3,9\n" {
		t.Errorf("the rows are %q", got)
	}
}

// TestChangesTogetherMeetConflicts: the statement runs again when somebody was faster with a row that it changes, with one that it
// would have changed, with one that it only read, or with a key that it gives.
func TestChangesTogetherMeetConflicts(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ sql, other, a, b string }{
		"a row that it takes":    {moveRows, "UPDATE a SET v = 21 WHERE id = 2", "1:10", "2:21,3:30,9:90"},
		"a row that it wants":    {moveRows, "UPDATE a SET v = 50 WHERE id = 1", "", "1:50,2:20,3:30,9:90"},
		"a row that comes":       {moveRows, "INSERT INTO a VALUES (4, 40)", "1:10", "2:20,3:30,4:40,9:90"},
		"a row that goes":        {moveRows, "DELETE FROM a WHERE id = 3", "1:10", "2:20,9:90"},
		"what a query reads":     {"WITH c AS (UPDATE a SET v = (SELECT max(v) FROM b) WHERE id = 1 RETURNING v) SELECT * FROM c", "UPDATE b SET v = 91 WHERE id = 9", "1:91,2:20,3:30", "9:91"},
		"what the last one sees": {"WITH c AS (UPDATE a SET v = 11 WHERE id = 1) UPDATE b SET v = v + (SELECT count(*) FROM a) WHERE id = 9", "INSERT INTO a VALUES (5, 1)", "1:11,2:20,3:30,5:1", "9:94"},
		"a key with ON CONFLICT": {moveRows + " ON CONFLICT (id) DO UPDATE SET v = b.v + excluded.v", "INSERT INTO b VALUES (2, 1)", "1:10", "2:21,3:30,9:90"},
		"a value with ON CONFLICT": {
			"WITH up AS (INSERT INTO b VALUES (5, 7) ON CONFLICT (v) DO UPDATE SET v = 8 RETURNING id) SELECT * FROM up", "INSERT INTO b VALUES (6, 7)",
			"1:10,2:20,3:30", "6:8,9:90",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := movingRows(t)
			n.meanwhile(func() { n.must(t, c.other) })
			n.must(t, c.sql)
			const list = "SELECT coalesce(string_agg(id || ':' || v, ',' ORDER BY id), '') FROM "
			if a, b := text(t, n.must(t, list+"a")), text(t, n.must(t, list+"b")); a != c.a+"\n" || b != c.b+"\n" {
				t.Errorf("the rows are %q and %q, want %q and %q", a, b, c.a, c.b)
			}
		})
	}
}

// TestChangesTogetherInATransaction: the parts see what the transaction wrote before, and not each other; one that fails leaves
// nothing behind; the commit finds what they depend on.
func TestChangesTogetherInATransaction(t *testing.T) {
	t.Parallel()
	n := movingRows(t)
	c := n.begin(t)
	c.must("INSERT INTO a VALUES (4, 40)")
	c.must("SAVEPOINT s")
	if got := c.text("WITH moved AS (DELETE FROM a WHERE v >= 30 RETURNING *), kept AS (INSERT INTO b SELECT * FROM moved RETURNING id) " +
		"SELECT (SELECT count(*) FROM a), (SELECT count(*) FROM b), string_agg(id::text, ',' ORDER BY id) FROM kept"); got != "4|1|3,4" {
		t.Errorf("the parts see %s", got)
	}
	if got := c.text("SELECT (SELECT count(*) FROM a), (SELECT count(*) FROM b)"); got != "2|3" {
		t.Errorf("the next statement sees %s", got)
	}
	if _, err := c.run("WITH gone AS (DELETE FROM a WHERE true RETURNING id) INSERT INTO b SELECT 9, 1 FROM gone"); fault.KindOf(err) != fault.DuplicateKey {
		t.Fatalf("a key was taken twice: %v", err)
	}
	c.must("ROLLBACK TO s")
	if got := c.text("SELECT (SELECT count(*) FROM a), (SELECT count(*) FROM b)"); got != "4|1" {
		t.Errorf("behind the savepoint there are %s", got)
	}
	c.must("WITH moved AS (UPDATE a SET v = v + 1 WHERE id = 4 RETURNING *) INSERT INTO b SELECT * FROM moved")
	c.must("COMMIT")
	if got := text(t, n.must(t, "SELECT id, v FROM b ORDER BY id")); got != "4|41\n9|90\n" {
		t.Errorf("b is %q", got)
	}
	d := n.begin(t)
	d.must("WITH c AS (UPDATE b SET v = 1 WHERE id = 9 RETURNING id) SELECT * FROM c, a WHERE a.v > 1000")
	n.must(t, "INSERT INTO a VALUES (7, 2000)")
	d.conflicts()
	r := n.begin(t)
	r.must("SET TRANSACTION READ ONLY")
	if _, err := r.run("WITH c AS (DELETE FROM b WHERE true RETURNING id) SELECT * FROM c"); fault.KindOf(err) != fault.InvalidStatement {
		t.Errorf("a transaction that only reads has changed rows: %v", err)
	}
}

// TestChangesTogetherEndWithTheirOwnDuplicates: what is unique and is taken twice by one statement is not tried again and again. The clock
// of the node stands still, so nothing that waits would end.
func TestChangesTogetherEndWithTheirOwnDuplicates(t *testing.T) {
	t.Parallel()
	n := startNode(t, nil)
	n.must(t, "CREATE SHARED TABLE u (id INT PRIMARY KEY, v INT UNIQUE); INSERT INTO u VALUES (1, 1), (2, 2)")
	for _, sql := range []string{
		"INSERT INTO u VALUES (5, 5), (5, 6) ON CONFLICT (v) DO NOTHING",
		"WITH i AS (INSERT INTO u VALUES (5, 5), (5, 6) ON CONFLICT (v) DO NOTHING) SELECT 1",
		"INSERT INTO u VALUES (1, 7) ON CONFLICT (v) DO UPDATE SET v = 9",
	} {
		if _, err := n.run(t, admin(), sql); fault.KindOf(err) != fault.DuplicateKey {
			t.Errorf("%s: %v", sql, err)
		}
	}
	live := startNode(t, func(deps *exec.Deps) { deps.Clock, deps.Limits.ConflictAttempts = clock.Real{}, 1_000_000 })
	live.must(t, "CREATE SHARED TABLE u (id INT PRIMARY KEY, v INT UNIQUE); INSERT INTO u VALUES (1, 1), (2, 2)")
	if _, err := live.run(t, admin(), "WITH i AS (INSERT INTO u VALUES (5, 5) ON CONFLICT DO NOTHING) UPDATE u SET v = 1 WHERE id = 2"); fault.KindOf(err) != fault.DuplicateKey {
		t.Errorf("a part without ON CONFLICT: %v", err)
	}
}

// TestChangesTogetherRepeat: a repeated request is answered as it was the first time, and nothing is done again.
func TestChangesTogetherRepeat(t *testing.T) {
	t.Parallel()
	n := movingRows(t)
	for key, c := range map[string]struct{ sql, want string }{
		"counted": {moveRows, "Inserted 2 row(s)"},
		"rows":    {"WITH c AS (UPDATE b SET v = v + 1 WHERE id = 9 RETURNING v) SELECT v FROM c", "91\n"},
		"named":   {"WITH c AS (INSERT INTO b VALUES (5, 50) RETURNING id) SELECT id FROM c", "5\n"},
		"fixed":   {"WITH c AS (DELETE FROM a WHERE id = 1 RETURNING v) INSERT INTO b VALUES (6, 60)", "Inserted 1 row(s)"},
		"key":     {"INSERT INTO b VALUES (70, NULL) ON CONFLICT (v) DO NOTHING RETURNING id", "70\n"},
		"nothing": {"WITH c AS (DELETE FROM b WHERE id = 77 RETURNING v) UPDATE a SET v = 0 FROM c WHERE true", "Updated 0 row(s)"},
	} {
		for _, age := range []time.Duration{0, time.Second} {
			if got := n.repeat(t, admin(), key, age, c.sql); got != c.want {
				t.Errorf("%s: %q, want %q", key, got, c.want)
			}
		}
	}
	first := n.repeat(t, admin(), "wrong", 0, "WITH c AS (DELETE FROM a WHERE true RETURNING id) INSERT INTO b SELECT 9, 5 FROM c")
	n.must(t, "DELETE FROM b WHERE id = 9")
	if again := n.repeat(t, admin(), "wrong", time.Second, "WITH c AS (DELETE FROM a WHERE true RETURNING id) INSERT INTO b SELECT 9, 5 FROM c"); again != first {
		t.Errorf("a refusal is %q, then %q", first, again)
	}
}

// TestChangesTogetherNeedTheRights: what a part reads and changes is checked as for a statement of its own.
func TestChangesTogetherNeedTheRights(t *testing.T) {
	t.Parallel()
	n := movingRows(t)
	n.must(t, "CREATE SHARED TABLE open (id INT PRIMARY KEY, v INT) WITH (ACCESS_LEVEL = 'public')")
	n.must(t, "CREATE USER TABLE own (id INT PRIMARY KEY, v INT)")
	user := caller("ann", session.RoleUser)
	for sql, want := range map[string]fault.Kind{ // a table that is not for all is not there for the others
		"WITH c AS (DELETE FROM a WHERE true RETURNING id) SELECT 1":                                        fault.TableNotFound,
		"WITH c AS (INSERT INTO open VALUES (1, 1)) SELECT 1":                                               fault.PermissionDenied,
		"WITH c AS (SELECT 1) , d AS (UPDATE own SET v = 1 WHERE id IN (SELECT id FROM a)) SELECT 1":        fault.TableNotFound,
		"WITH c AS (DELETE FROM own WHERE true RETURNING id) DELETE FROM a USING c WHERE a.id = c.id":       fault.TableNotFound,
		"WITH c AS (DELETE FROM own WHERE true RETURNING id) DELETE FROM open USING c WHERE open.id = c.id": fault.PermissionDenied,
		"WITH c AS (DELETE FROM own WHERE true RETURNING id) SELECT * FROM a":                               fault.TableNotFound,
	} {
		if _, err := n.run(t, user, sql); fault.KindOf(err) != want {
			t.Errorf("a user runs %s: %v", sql, err)
		}
	}
	for _, sql := range []string{
		"EXECUTE AS USER 'ann' (WITH c AS (DELETE FROM open WHERE true RETURNING id) SELECT * FROM c)",
		"EXECUTE AS USER 'ann' (WITH c AS (DELETE FROM own WHERE true RETURNING id) SELECT * FROM c, open)",
	} {
		if _, err := n.run(t, admin(), sql); exec.CodeOf(err) != exec.CodePermissionDenied {
			t.Errorf("%s: %v", sql, err)
		}
	}
	n.must(t, "EXECUTE AS USER 'ann' (WITH c AS (INSERT INTO own VALUES (1, 1) RETURNING id) SELECT * FROM c)")
	if got := text(t, n.mustAs(t, user, "SELECT id FROM own")); got != "1\n" {
		t.Errorf("ann has %q", got)
	}
	if got := text(t, n.must(t, "SELECT count(*) FROM own")); got != "0\n" {
		t.Errorf("admin has %s", got)
	}
}

// TestUpsertsBySlugDoNotLoseCounts: many callers at once count by a unique value that is not the key.
func TestUpsertsBySlugDoNotLoseCounts(t *testing.T) {
	t.Parallel()
	n := startNode(t, func(deps *exec.Deps) { deps.Clock, deps.Limits.ConflictAttempts = clock.Real{}, 10_000 })
	n.must(t, "CREATE SHARED TABLE hits (id BIGINT PRIMARY KEY DEFAULT SNOWFLAKE_ID(), slug TEXT UNIQUE, n INT NOT NULL DEFAULT 1)")
	const callers, times = 4, 25
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for range times {
				if _, err := n.run(t, admin(), "INSERT INTO hits (slug) VALUES ('x') ON CONFLICT (slug) DO UPDATE SET n = hits.n + 1"); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if got := text(t, n.must(t, "SELECT count(*), sum(n) FROM hits")); got != "1|100\n" {
		t.Errorf("counted %q", got)
	}
}

// TestPartsAreNotMasked: what one part gives to another is what is in the table, whatever the caller may see of it.
func TestPartsAreNotMasked(t *testing.T) {
	t.Parallel()
	n := movingRows(t)
	n.must(t, "CREATE USER TABLE x (id INT PRIMARY KEY, credentials TEXT); CREATE USER TABLE y (id INT PRIMARY KEY, credentials TEXT)")
	user := caller("ann", session.RoleUser)
	n.mustAs(t, user, "INSERT INTO x VALUES (1, 'kept')")
	moved := n.mustAs(t, user, "WITH m AS (DELETE FROM x WHERE true RETURNING *) INSERT INTO y SELECT * FROM m RETURNING credentials")
	if got := text(t, moved); got != "***\n" {
		t.Errorf("the statement shows %q", got)
	}
	if got := text(t, n.mustAs(t, user, "SELECT LENGTH(credentials) AS n FROM y")); got != "4\n" {
		t.Errorf("%s bytes were moved, want 4", got)
	}
}

// TestLostRaceForAUniqueValue: a transaction whose ON CONFLICT looked for a unique value that another one takes meanwhile is to be run again.
func TestLostRaceForAUniqueValue(t *testing.T) {
	t.Parallel()
	n := movingRows(t)
	c := n.begin(t)
	c.must("INSERT INTO b VALUES (1, 5) ON CONFLICT (v) DO UPDATE SET v = 6")
	n.must(t, "INSERT INTO b VALUES (2, 5)")
	c.conflicts()
}

// TestConflictsFollowTheIndex: a statement that was planned with a unique index that is gone since is planned anew, and one of a
// transaction that began before the index was made does not take its snapshot for whole.
func TestConflictsFollowTheIndex(t *testing.T) {
	t.Parallel()
	n := startNode(t, func(deps *exec.Deps) { deps.Clock = clock.Real{} })
	n.must(t, "CREATE SHARED TABLE u (id INT PRIMARY KEY, v INT, w INT); CREATE UNIQUE INDEX by_v ON u (v); INSERT INTO u VALUES (1, 1, 0)")
	n.meanwhile(func() { n.must(t, "DROP INDEX by_v; UPDATE u SET v = 2 WHERE id = 1") })
	if _, err := n.run(t, admin(), "INSERT INTO u VALUES (2, 1, 0) ON CONFLICT (v) DO UPDATE SET w = 5"); fault.KindOf(err) != fault.InvalidStatement {
		t.Errorf("the index is gone, and the statement: %v", err)
	}
	c := n.begin(t)
	c.must("SELECT * FROM u")
	n.must(t, "CREATE UNIQUE INDEX by_w ON u (w)")
	if _, err := c.run("INSERT INTO u VALUES (3, 3, 0) ON CONFLICT (w) DO NOTHING"); fault.KindOf(err) != fault.Conflict {
		t.Errorf("an index that is younger than the transaction: %v", err)
	}
}
