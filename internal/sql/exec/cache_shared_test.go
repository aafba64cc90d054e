package exec_test

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/session"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/sql/exec"
)

// sharedLab is two nodes with the same rows of two users of one role, whose rows are in the same group. One node keeps plans, which
// serve both users; the other makes each plan for the request at hand.
type sharedLab struct {
	keeping, forgetful *node
	users              [2]session.Session
}

func newSharedLab(tb testing.TB) *sharedLab {
	tb.Helper()
	shards := shard.Map{UserShards: 2, SharedShards: 1}
	l := &sharedLab{users: [2]session.Session{caller("alice", session.RoleUser)}}
	for i := 0; l.users[1].User == "" || shards.RouteUser(l.users[1].User) != shards.RouteUser("alice"); i++ {
		l.users[1] = caller(fmt.Sprintf("bob%d", i), session.RoleUser)
	}
	unlimited := func(plans int) func(*exec.Deps) {
		return func(deps *exec.Deps) { deps.Limits = exec.Limits{PlanCacheEntries: plans} }
	}
	l.keeping, l.forgetful = startNode(tb, unlimited(0)), startNode(tb, unlimited(-1))
	for _, n := range []*node{l.keeping, l.forgetful} {
		makeScopeTables(tb, n)
		for _, user := range l.users {
			n.must(tb, fmt.Sprintf("CREATE USER '%s' WITH PASSWORD 'password' ROLE user", user.User))
		}
		n.mustAs(tb, l.users[0], "INSERT INTO private VALUES (1, 'mine', 5), (3, 'mine too', NULL); INSERT INTO more VALUES ('k1', 3, 'm'); "+
			"INSERT INTO slugs VALUES (2, 'b', 'mine', 2)")
		n.mustAs(tb, l.users[1], otherRows)
	}
	return l
}

// ask runs a statement of a user on both nodes, which must answer alike.
func (l *sharedLab) ask(tb testing.TB, user session.Session, sql string, params ...datum.Datum) string {
	tb.Helper()
	kept, keptErr := l.keeping.run(tb, user, sql, params...)
	made, madeErr := l.forgetful.run(tb, user, sql, params...)
	got, want := answerText(kept, keptErr), answerText(made, madeErr)
	if got != want {
		tb.Fatalf("%s\nof %s with %v by a kept plan:\n%s\nby one of its own:\n%s", sql, user.User, params, got, want)
	}
	return got
}

// compare holds what both users have on one node against the other.
func (l *sharedLab) compare(tb testing.TB) {
	tb.Helper()
	for _, user := range l.users {
		for _, table := range []string{"private", "more", "slugs"} {
			l.ask(tb, user, "SELECT *, _seq FROM "+table+" WHERE _deleted IN (TRUE, FALSE)")
		}
	}
}

// loneNumber is a number between other words.
var loneNumber = regexp.MustCompile(`\b\d+\b`)

// withParameters puts parameters in the place of the numbers outside of quotes: changes are planned once only where they have some. Those
// after LIMIT, ORDER BY and in names are left.
func withParameters(sql string) (text string, params []datum.Datum) {
	parts := strings.Split(sql, "'")
	for i := 0; i < len(parts); i += 2 {
		if strings.Contains(parts[i], "ORDER BY") || strings.Contains(parts[i], "LIMIT") {
			continue
		}
		parts[i] = loneNumber.ReplaceAllStringFunc(parts[i], func(number string) string {
			value, err := strconv.ParseInt(number, 10, 64)
			if err != nil {
				return number // of -9223372036854775808, without its sign
			}
			params = append(params, datum.NewBigInt(value))
			return "$" + strconv.Itoa(len(params))
		})
	}
	return strings.Join(parts, "'"), params
}

// FuzzUsersShareNothingButPlans lets two users of one role say the same statements in turn.
func FuzzUsersShareNothingButPlans(f *testing.F) {
	for seed := range uint64(6) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		lab := newSharedLab(t)
		random := rand.New(rand.NewPCG(seed, 7))
		speaker := &scopeSpeaker{random: random, other: "nobody"}
		before, _ := lab.keeping.engine.PlanUse()
		for range scopeStatements {
			sql, params := speaker.statement(), []datum.Datum(nil)
			if random.IntN(3) > 0 {
				sql, params = withParameters(sql)
			}
			first := random.IntN(2)
			for _, turn := range []int{first, 1 - first, first} {
				lab.ask(t, lab.users[turn], sql, params...)
			}
			lab.compare(t)
		}
		if hits, _ := lab.keeping.engine.PlanUse(); hits-before < scopeStatements {
			t.Errorf("seed %d: of %d statements said three times %d found a plan: the others prove little", seed, scopeStatements, hits-before)
		}
		if hits, _ := lab.forgetful.engine.PlanUse(); hits > 0 {
			t.Errorf("the node without plans found %d", hits)
		}
	})
}

// TestPlansServeUsersOfARole says which plans serve all users of a role, and which one user alone; and that the ones of all give each his own.
func TestPlansServeUsersOfARole(t *testing.T) {
	t.Parallel()
	one := datum.NewBigInt(1)
	const all, own, none = 1, 2, 0
	cases := []struct {
		sql    string
		params []datum.Datum
		plans  int  // that two users need
		differ bool // whether the two are answered differently
	}{
		{"SELECT body FROM private WHERE id = 1", nil, all, true},
		{"SELECT body FROM private WHERE id = $1", []datum.Datum{one}, all, true},
		{"SELECT CURRENT_USER()", nil, all, true},
		{"SELECT CURRENT_USER, SESSION_USER, upper(CURRENT_USER_ID()), 'a' || CURRENT_USER() || 'b'", nil, all, true},
		{"SELECT id FROM everyone WHERE CASE WHEN CURRENT_USER() = 'alice' THEN id = 1 ELSE id = 50 END", nil, all, true},
		{"SELECT id FROM everyone WHERE CURRENT_USER() LIKE 'al%'", nil, all, true},
		{"SELECT id FROM everyone WHERE 'alice' IN (CURRENT_USER(), 'x') LIMIT length(CURRENT_USER()) - 4", nil, all, true},
		{"SELECT COUNT(*) FROM private, LATERAL (SELECT private.id AS p) AS l", nil, all, true},
		{"SELECT (SELECT COUNT(*) FROM private), EXISTS (SELECT 1 FROM more WHERE private_id = 50)", nil, all, true},
		{"SELECT id FROM everyone WHERE id IN (SELECT id FROM private) ORDER BY id", nil, all, true},
		{"SELECT * FROM own ORDER BY id", nil, all, true},
		{"WITH q AS (SELECT * FROM private) SELECT a.id FROM q AS a WHERE a.id = (SELECT MAX(id) FROM q)", nil, all, true},
		{"SELECT id FROM slugs WHERE slug = 'b'", nil, all, true},
		{"SELECT id, slug FROM slugs ORDER BY slug DESC LIMIT 1", nil, all, true},
		{"SELECT id FROM private UNION SELECT id FROM everyone ORDER BY 1", nil, all, true},
		{"VALUES (CURRENT_USER())", nil, all, true},
		{"SHOW STATS FOR TABLE private", nil, all, true},
		{"SHOW TABLES", nil, all, false},
		{"SELECT table_name FROM information_schema.tables ORDER BY 1", nil, all, false},
		{"SELECT e.id FROM everyone AS e JOIN everyone AS f ON f.id = e.id ORDER BY 1", nil, all, false},
		// The order of these joins is chosen by how many rows the user has.
		{"SELECT p.id FROM private AS p JOIN more AS m ON m.private_id = p.id ORDER BY 1", nil, own, true},
		{"SELECT p.body FROM everyone AS e JOIN private AS p ON p.id = e.id ORDER BY 1", nil, own, true},
		{"SELECT EXISTS (SELECT 1 FROM private AS p, more AS m WHERE m.private_id = p.id AND p.id = 50)", nil, own, true},
		{"INSERT INTO private (id, body) VALUES ($1, CURRENT_USER()) ON CONFLICT (id) DO UPDATE SET body = private.body || '+' RETURNING body", []datum.Datum{one}, all, true},
		{"INSERT INTO slugs VALUES ($1, 'c', 'n', 1) ON CONFLICT (slug) DO NOTHING RETURNING id", []datum.Datum{datum.NewBigInt(51)}, all, true},
		{"INSERT INTO more (k, private_id) SELECT 'n' || id, $1 FROM private", []datum.Datum{one}, all, true},
		{"UPDATE private SET n = $1 RETURNING id", []datum.Datum{one}, none, false}, // it has no WHERE
		{"UPDATE private SET n = $1 WHERE true RETURNING id", []datum.Datum{one}, all, true},
		{"DELETE FROM more WHERE private_id = $1 RETURNING k", []datum.Datum{datum.NewBigInt(3)}, all, true},
		// These are never kept.
		{"EXECUTE AS USER 'alice' (SELECT * FROM private)", nil, none, true},
		{"EXPORT USER DATA", nil, none, true},
		{"WITH w AS (DELETE FROM private WHERE id = $1 RETURNING body) SELECT * FROM w", []datum.Datum{one}, none, true},
	}
	lab := newSharedLab(t)
	for _, c := range cases {
		before := lab.keeping.engine.CachedPlans()
		first := lab.ask(t, lab.users[0], c.sql, c.params...)
		second := lab.ask(t, lab.users[1], c.sql, c.params...)
		if got := lab.keeping.engine.CachedPlans() - before; got != c.plans {
			t.Errorf("%s: two users need %d plans, want %d", c.sql, got, c.plans)
		}
		if (first != second) != c.differ {
			t.Errorf("%s: alice is told\n%sand the other\n%s", c.sql, first, second)
		}
		lab.compare(t)
	}
}

// TestExportsAreShownToTheirOwner: the list of exports is a query over everybody's, of which each sees his own.
func TestExportsAreShownToTheirOwner(t *testing.T) {
	t.Parallel()
	n := startNode(t, nil)
	alice, bob := caller("alice", session.RoleUser), caller("bob", session.RoleUser)
	n.must(t, "CREATE USER alice WITH PASSWORD 'password' ROLE user; CREATE USER bob WITH PASSWORD 'password' ROLE user")
	n.mustAs(t, alice, "EXPORT USER DATA")
	for range 3 { // planned once, then from the cache
		if got := len(n.mustAs(t, alice, "SHOW EXPORT").Results[0].Rows); got != 1 {
			t.Errorf("alice sees %d exports, want her own", got)
		}
		if got := n.mustAs(t, bob, "SHOW EXPORT").Results[0].Rows; len(got) != 0 {
			t.Errorf("bob, who has no export, sees %v", got)
		}
	}
	n.mustAs(t, bob, "EXPORT USER DATA")
	hers, his := text(t, n.mustAs(t, alice, "SHOW EXPORT")), text(t, n.mustAs(t, bob, "SHOW EXPORT"))
	if hers == his || hers == "" || his == "" {
		t.Errorf("alice sees %q and bob %q", hers, his)
	}
}

// TestUsersRunOnePlanAtOnce lets users say the same statements at the same time; each is told of his own rows.
func TestUsersRunOnePlanAtOnce(t *testing.T) {
	t.Parallel()
	n := startNode(t, func(deps *exec.Deps) { deps.Clock = clock.Real{} }) // statements that meet a conflict pause
	n.must(t, "CREATE USER TABLE notes (id BIGINT PRIMARY KEY, owner TEXT DEFAULT CURRENT_USER(), n BIGINT DEFAULT 0); CREATE INDEX notes_n ON notes (n)")
	const users, turns = 6, 15
	var wg sync.WaitGroup
	for u := range users {
		as := caller(fmt.Sprintf("user%d", u), session.RoleUser)
		wg.Go(func() {
			for turn := range int64(turns) {
				for _, c := range []struct{ sql, want string }{
					{"INSERT INTO notes (id) VALUES ($1) RETURNING owner", string(as.User)},
					{"UPDATE notes SET n = n + 1 WHERE id <= $1 AND owner = CURRENT_USER() RETURNING id", ""},
					{"SELECT COUNT(*), MIN(owner), MAX(owner) FROM notes WHERE id <= $1", fmt.Sprintf("%d|%s|%s", turn+1, as.User, as.User)},
					{"SELECT owner FROM notes WHERE n IN (SELECT MIN(n) FROM notes) AND owner ~ '^user[0-9]+$' AND id = $1", string(as.User)},
					{"WITH q AS (SELECT * FROM notes) SELECT (SELECT owner FROM q WHERE q.id = p.id) FROM q AS p WHERE p.id = $1", string(as.User)},
					{"SELECT owner FROM notes WHERE id <= $1 ORDER BY n DESC LIMIT 1", string(as.User)},
				} {
					response, err := n.engine.Execute(t.Context(), exec.Request{SQL: c.sql, Params: []datum.Datum{datum.NewBigInt(turn)}, Session: as})
					if err != nil {
						t.Errorf("%s of %s: %v", c.sql, as.User, err)
						return
					}
					if got := strings.TrimSpace(rowsText(response.Results[0].Rows)); c.want != "" && got != c.want {
						t.Errorf("%s of %s gives %q, want %q", c.sql, as.User, got, c.want)
					}
				}
			}
		})
	}
	wg.Wait()
	hits, _ := n.engine.PlanUse()
	if hits < users*turns {
		t.Errorf("%d requests found a plan: the answers prove little", hits)
	}
}
