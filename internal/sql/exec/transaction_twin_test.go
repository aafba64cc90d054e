package exec_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/sql/exec"
)

// TestTransactionSeesWhatAutocommitWould runs the same random statements inside a transaction on one table, and each by
// itself on another. Every answer must be the same, and so must be the tables after the commit.
func TestTransactionSeesWhatAutocommitWould(t *testing.T) {
	t.Parallel()
	n := startNode(t, func(deps *exec.Deps) { deps.Limits = exec.Limits{} })
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	for round := range 20 {
		for _, table := range []string{"inside", "outside"} {
			n.must(t, fmt.Sprintf("CREATE TABLE app.%s%d (id BIGINT PRIMARY KEY, v INT, w TEXT)", table, round))
			n.must(t, fmt.Sprintf("INSERT INTO app.%s%d VALUES (2, 2, 'b'), (4, 4, 'd'), (6, 6, NULL), (8, 8, 'h')", table, round))
			if round%2 == 0 {
				n.must(t, fmt.Sprintf("CREATE INDEX v_of_%[1]s%[2]d ON app.%[1]s%[2]d (v, w); CREATE INDEX w_of_%[1]s%[2]d ON app.%[1]s%[2]d (w)", table, round))
			}
		}
		c := n.begin(t)
		var history []string
		for range 30 {
			sql := drawStatement(random)
			history = append(history, sql)
			inside, failedInside := c.run(strings.ReplaceAll(sql, "TABLE", fmt.Sprintf("app.inside%d", round)))
			outside, failedOutside := n.run(t, c.as, strings.ReplaceAll(sql, "TABLE", fmt.Sprintf("app.outside%d", round)))
			if (failedInside == nil) != (failedOutside == nil) {
				t.Fatalf("inside: %v\noutside: %v\nafter\n%s", failedInside, failedOutside, strings.Join(history, "\n"))
			}
			if failedInside != nil {
				t.Fatalf("%s: %v", sql, failedInside)
			}
			if got, want := responseText(inside), responseText(outside); got != want {
				t.Fatalf("inside:\n%s\noutside:\n%s\nafter\n%s", got, want, strings.Join(history, "\n"))
			}
		}
		c.must("COMMIT")
		got := text(t, n.must(t, fmt.Sprintf("SELECT id, v, w FROM app.inside%d", round)))
		want := text(t, n.must(t, fmt.Sprintf("SELECT id, v, w FROM app.outside%d", round)))
		if got != want {
			t.Fatalf("committed:\n%s\nwant:\n%s\nafter\n%s", got, want, strings.Join(history, "\n"))
		}
	}
}

// drawStatement makes a statement about TABLE that succeeds whatever the table holds.
func drawStatement(random *rand.Rand) string {
	key := func() int { return random.IntN(10) }
	statements := []string{
		fmt.Sprintf("INSERT INTO TABLE VALUES (%d, %d, 'n') ON CONFLICT DO NOTHING", key(), key()),
		fmt.Sprintf("INSERT INTO TABLE AS t VALUES (%d, %d, 'u') ON CONFLICT (id) DO UPDATE SET v = t.v + excluded.v", key(), key()),
		fmt.Sprintf("UPDATE TABLE SET v = v + 1 WHERE id = %d", key()),
		fmt.Sprintf("UPDATE TABLE SET w = 'r' WHERE id >= %d AND id < %d", key(), key()),
		fmt.Sprintf("UPDATE TABLE SET v = (SELECT count(*) FROM TABLE) WHERE v = %d RETURNING id, v", key()),
		fmt.Sprintf("DELETE FROM TABLE WHERE id = %d", key()),
		fmt.Sprintf("DELETE FROM TABLE WHERE v > %d AND id > %d", key(), key()),
		fmt.Sprintf("DELETE FROM TABLE WHERE v = %d AND w = 'r'", key()),
		fmt.Sprintf("UPDATE TABLE SET v = %d WHERE w IS NULL", key()),
		fmt.Sprintf("SELECT id, v FROM TABLE WHERE v = %d", key()),
		fmt.Sprintf("SELECT id, v FROM TABLE WHERE v > %d AND id < 7", key()),
		"SELECT id, v FROM TABLE WHERE w IN ('b', 'r')",
		"SELECT id, v, w FROM TABLE",
		fmt.Sprintf("SELECT w FROM TABLE WHERE id = %d", key()),
		fmt.Sprintf("SELECT id FROM TABLE WHERE id IN (%d, %d, %d)", key(), key(), key()),
		fmt.Sprintf("SELECT id, v FROM TABLE WHERE id BETWEEN %d AND %d ORDER BY id DESC", key(), key()),
		"SELECT w, count(*), sum(v) FROM TABLE GROUP BY w ORDER BY w",
		"SELECT a.id, b.id FROM TABLE a JOIN TABLE b ON a.v = b.id ORDER BY a.id, b.id",
		"SELECT id, row_number() OVER (ORDER BY v, id) FROM TABLE ORDER BY id LIMIT 3 OFFSET 1",
		fmt.Sprintf("SELECT id FROM TABLE WHERE EXISTS (SELECT 1 FROM TABLE b WHERE b.id = %d) ORDER BY id", key()),
		"SELECT v FROM TABLE UNION SELECT id FROM TABLE ORDER BY 1",
	}
	return statements[random.IntN(len(statements))]
}
