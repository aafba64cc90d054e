package exec_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/session"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/sql/exec"
)

// scopeLab is two nodes with the same statements of one user. On the first, another user whose rows are in the same
// group has rows in the same tables. Whatever the user says, both nodes must answer alike, and the rows of the other
// user must stay as they are.
type scopeLab struct {
	shared, lonely *node
	user, other    session.Session
	before         string
}

// otherRows are what the other user has; its keys overlap with the user's.
const otherRows = "INSERT INTO private VALUES (1, 'secret of id 1', 101), (2, 'secret of id 2', NULL), (50, 'secret of id 50', 7), " +
	"(51, 'secret of id 50', 7); INSERT INTO more VALUES ('k1', 1, 'secret more'), ('k9', 50, 'secret more 9'), ('k8', NULL, 'secret more'); " +
	"INSERT INTO slugs VALUES (1, 'a', 'x', 1), (7, 'b', 'secret b', 2), (50, 'c', 'secret c', NULL)"

func newScopeLab(tb testing.TB) *scopeLab {
	tb.Helper()
	shards := shard.Map{UserShards: 2, SharedShards: 1}
	l := &scopeLab{user: caller("alice", session.RoleUser)}
	for i := 0; l.other.User == "" || shards.RouteUser(l.other.User) != shards.RouteUser(l.user.User); i++ {
		l.other = caller(fmt.Sprintf("bob%d", i), session.RoleUser)
	}
	unlimited := func(deps *exec.Deps) { deps.Limits = exec.Limits{} }
	l.shared, l.lonely = startNode(tb, unlimited), startNode(tb, unlimited)
	for _, n := range []*node{l.shared, l.lonely} {
		makeScopeTables(tb, n)
		n.must(tb, fmt.Sprintf("CREATE USER '%s' WITH PASSWORD 'password of alice' ROLE user", l.user.User))
		n.must(tb, fmt.Sprintf("CREATE USER '%s' WITH PASSWORD 'password of bob' ROLE user", l.other.User))
	}
	l.shared.mustAs(tb, l.other, otherRows)
	for _, n := range []*node{l.shared, l.lonely} {
		n.mustAs(tb, l.user, "INSERT INTO private VALUES (1, 'mine', 5), (3, 'mine too', NULL); INSERT INTO more VALUES ('k1', 3, 'm'); "+
			"INSERT INTO slugs VALUES (2, 'b', 'mine', 2)")
	}
	l.before = l.othersRows(tb)
	return l
}

// makeScopeTables makes private tables, one that all share, and views.
func makeScopeTables(tb testing.TB, n *node) {
	tb.Helper()
	n.must(tb, "CREATE TABLE private (id BIGINT PRIMARY KEY, body TEXT, n INT) WITH (TYPE = 'USER')")
	n.must(tb, "CREATE TABLE more (k TEXT PRIMARY KEY, private_id BIGINT, body TEXT DEFAULT 'none') WITH (TYPE = 'USER')")
	n.must(tb, "CREATE TABLE slugs (id BIGINT PRIMARY KEY, slug TEXT UNIQUE, body TEXT, n INT, UNIQUE (body, n)) WITH (TYPE = 'USER')")
	n.must(tb, "CREATE TABLE everyone (id BIGINT PRIMARY KEY, body TEXT) WITH (TYPE = 'SHARED', ACCESS_LEVEL = 'public')")
	n.must(tb, "CREATE VIEW own AS SELECT * FROM private; "+
		"CREATE VIEW own_more AS SELECT o.id, o.body, o.n, m.k, m.private_id FROM own o LEFT JOIN more m ON m.private_id = o.id")
	n.must(tb, "INSERT INTO everyone VALUES (1, 'all'), (2, 'see'), (50, 'this')")
}

// othersRows prints everything that the other user has, its versions included.
func (l *scopeLab) othersRows(tb testing.TB) string {
	tb.Helper()
	return text(tb, l.shared.mustAs(tb, l.other, "SELECT id, body, n, _seq, _deleted FROM private WHERE _deleted IN (TRUE, FALSE)")) +
		text(tb, l.shared.mustAs(tb, l.other, "SELECT k, private_id, body, _seq, _deleted FROM more WHERE _deleted IN (TRUE, FALSE)")) +
		text(tb, l.shared.mustAs(tb, l.other, "SELECT id, slug, body, n, _seq, _deleted FROM slugs WHERE _deleted IN (TRUE, FALSE)"))
}

// check runs a statement of the user on both nodes.
func (l *scopeLab) check(tb testing.TB, sql string) (failed bool) {
	tb.Helper()
	with, withErr := l.shared.run(tb, l.user, sql)
	without, withoutErr := l.lonely.run(tb, l.user, sql)
	got, want := answerText(with, withErr), answerText(without, withoutErr)
	if got != want {
		tb.Fatalf("%s\nbeside another user's rows:\n%s\nwithout them:\n%s", sql, got, want)
	}
	if strings.Contains(got, "secret") && !strings.Contains(sql, "secret") {
		tb.Fatalf("%s\nshows another user's rows:\n%s", sql, got)
	}
	if after := l.othersRows(tb); after != l.before {
		tb.Fatalf("%s\nchanged another user's rows:\n%s\nthey were:\n%s", sql, after, l.before)
	}
	return withErr != nil
}

// forbidden is all that one who alters a table is told of the private rows of others: that some of them forbid it.
var forbidden = regexp.MustCompile("^error SQL_EXECUTION_ERROR: Statement 1 failed: (Unique violation: two rows of one user have the same values in unique index '[a-z0-9_]+' of table 'app[.][a-z]+'" +
	"|NOT NULL violation: column '[a-z0-9_]+' of table 'app[.][a-z]+' has rows without a value" +
	"|.*column '[a-z0-9_]+' is NOT NULL and the table has rows: give it a DEFAULT that is the same for all of them)$")

// checkChange runs a statement of the user that changes a table on both nodes, and then the one that takes it back. Rows of the other user
// may forbid the change, which is the one thing that the user learns.
func (l *scopeLab) checkChange(tb testing.TB, sql, back string) (failed bool) {
	tb.Helper()
	with, withErr := l.shared.run(tb, l.user, sql)
	without, withoutErr := l.lonely.run(tb, l.user, sql)
	got, want := answerText(with, withErr), answerText(without, withoutErr)
	if changeNumbers.ReplaceAllString(got, "") != changeNumbers.ReplaceAllString(want, "") && !forbidden.MatchString(got) {
		tb.Fatalf("%s\nbeside another user's rows:\n%s\nwithout them:\n%s", sql, got, want)
	}
	if strings.Contains(got, "secret") {
		tb.Fatalf("%s\nshows another user's rows:\n%s", sql, got)
	}
	if withErr == nil {
		l.shared.mustAs(tb, l.user, back)
	}
	if withoutErr == nil {
		l.lonely.mustAs(tb, l.user, back)
	}
	if after := l.othersRows(tb); after != l.before {
		tb.Fatalf("%s; %s\nchanged another user's rows:\n%s\nthey were:\n%s", sql, back, after, l.before)
	}
	return withErr != nil
}

// changeNumbers are the version of its table and the job that a change names: those of refused changes count too.
var changeNumbers = regexp.MustCompile(`Schema version: \d+|Job ID: SC-\d+`)

// answerText prints all that a user is told. Values of _seq are positions in the log, which the other user's
// changes move.
func answerText(response *exec.Response, err error) string {
	if err != nil {
		if told, ok := errors.AsType[*exec.Error](err); ok {
			return fmt.Sprintf("error %v: %s", told.Code, told.Error())
		}
		return "error " + err.Error()
	}
	var b strings.Builder
	for _, result := range response.Results {
		fmt.Fprintf(&b, "%d rows, %q\n", result.RowCount, result.Message)
		for _, row := range result.Rows {
			for i, value := range row {
				if result.Columns[i].Name != "_seq" {
					fmt.Fprintf(&b, "%v|", value)
				}
			}
			b.WriteByte('\n')
		}
	}
	return b.String()
}

// scopeSpeaker makes statements that try to name the rows of somebody else.
type scopeSpeaker struct {
	random *rand.Rand
	other  ident.UserID
	depth  int
	named  []string // common table expressions
	alias  int
}

func (s *scopeSpeaker) pick(choices ...string) string { return choices[s.random.IntN(len(choices))] }

func (s *scopeSpeaker) name() string {
	other := string(s.other)
	choices := []string{
		"private", "app.private", "kalam.app.private", `"app"."private"`, `"private"`, "own", "own_more", "more", "app.more", "slugs", "everyone",
		other + ".private", `"` + other + `".private`, `"app.` + other + `".private`, "system.users", "information_schema.tables",
		"information_schema.columns", "system.stats",
	}
	if s.random.IntN(3) > 0 {
		choices = append(choices[:10:10], s.named...)
	}
	return s.pick(choices...)
}

// source is an item of FROM; every one has the alias that it is asked to have.
func (s *scopeSpeaker) source(alias string) string {
	if s.depth++; s.depth > 12 {
		return "private AS " + alias
	}
	switch s.random.IntN(8) {
	case 0:
		return "(" + s.query() + ") AS " + alias
	case 1:
		return "(VALUES (1, 'v', 2), (50, 'w', 3)) AS " + alias + "(id, body, n)"
	case 2:
		return "(SELECT * FROM " + s.name() + " WHERE " + s.condition("") + ") " + alias
	case 3:
		return "(WITH q AS (" + s.query() + ") SELECT * FROM q) AS " + alias
	}
	return s.name() + " AS " + alias
}

func (s *scopeSpeaker) condition(prefix string) string {
	if s.depth++; s.depth > 12 {
		return "TRUE"
	}
	column := prefix + s.pick("id", "body", "n", "k", "private_id", "_deleted", "_seq", "user_id", "_user")
	switch s.random.IntN(12) {
	case 0:
		return prefix + "id IN (" + s.query() + ")"
	case 1:
		return "EXISTS (" + s.query() + ")"
	case 2:
		return "(" + s.condition(prefix) + " OR " + s.condition(prefix) + ")"
	case 3:
		return "NOT (" + s.condition(prefix) + ")"
	case 4:
		return prefix + "id = (SELECT MAX(id) FROM " + s.name() + ")"
	case 5:
		return prefix + "id " + s.pick("=", ">=", "<", "<>") + " " + s.pick("1", "2", "50", "NULL", "-9223372036854775808")
	case 6:
		return prefix + "id IN (1, 2, 50, NULL)"
	case 7:
		return "_deleted IN (TRUE, FALSE)"
	case 8:
		return column + " IS " + s.pick("", "NOT ") + "NULL"
	case 9:
		return column + " = '" + string(s.other) + "'"
	case 10:
		return prefix + "body LIKE '%'"
	}
	return s.pick("TRUE", "1 = 1", "CURRENT_USER() <> ''")
}

func (s *scopeSpeaker) query() string {
	s.depth++
	s.alias++
	a, b := fmt.Sprintf("a%d", s.alias), fmt.Sprintf("b%d", s.alias)
	switch s.random.IntN(11) {
	case 0:
		join := s.pick("JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN")
		return fmt.Sprintf("SELECT %s.id FROM %s %s %s ON %s.id = %s.%s", s.pick(a, b), s.source(a), join, s.source(b), a, b,
			s.pick("id", "id", "private_id"))
	case 1:
		return fmt.Sprintf("SELECT %s.* FROM %s CROSS JOIN %s", s.pick(a, b), s.source(a), s.source(b))
	case 2:
		return fmt.Sprintf("SELECT * FROM %s NATURAL JOIN %s", s.source(a), s.source(b))
	case 3:
		return fmt.Sprintf("SELECT id FROM %s %s SELECT id FROM %s", s.source(a),
			s.pick("UNION", "UNION ALL", "EXCEPT", "INTERSECT"), s.source(b))
	case 4:
		return fmt.Sprintf("SELECT COUNT(*), MIN(id), MAX(body), STRING_AGG(body, ',') FROM %s WHERE %s", s.source(a), s.condition(a+"."))
	case 5:
		return "SELECT id, ROW_NUMBER() OVER (ORDER BY id), SUM(id) OVER () FROM " + s.source(a)
	case 6:
		return fmt.Sprintf("SELECT id, (SELECT COUNT(*) FROM %s WHERE %s.id = %s.id) FROM %s", s.source(b), b, a, s.source(a))
	case 7:
		return fmt.Sprintf("SELECT body FROM %s GROUP BY body HAVING COUNT(*) > 0 ORDER BY 1 DESC LIMIT 3", s.source(a))
	case 8:
		return fmt.Sprintf("SELECT DISTINCT %s.id FROM %s, %s WHERE %s", a, s.source(a), s.source(b), s.condition(a+"."))
	}
	return fmt.Sprintf("SELECT * FROM %s WHERE %s", s.source(a), s.condition(a+"."))
}

func (s *scopeSpeaker) statement() string {
	s.depth, s.alias, s.named = 0, 0, nil
	switch s.random.IntN(23) {
	case 0:
		return fmt.Sprintf("UPDATE %s SET body = 'changed %d' WHERE %s", s.name(), s.random.IntN(9), s.condition(""))
	case 1:
		return fmt.Sprintf("UPDATE %s SET n = (SELECT COUNT(*) FROM %s) WHERE id IN (1, 2, 50) RETURNING *", s.name(), s.name())
	case 2:
		return fmt.Sprintf("DELETE FROM %s WHERE %s", s.name(), s.condition(""))
	case 3:
		return fmt.Sprintf("INSERT INTO %s (id, body) VALUES (%d, 'x')", s.name(), s.random.IntN(60))
	case 4:
		return fmt.Sprintf("INSERT INTO private (id, body) SELECT id + %d, body FROM %s", s.random.IntN(5), s.source("a"))
	case 5:
		return fmt.Sprintf("INSERT INTO private (id, body) VALUES (%d, 'y') ON CONFLICT (id) DO %s RETURNING *", s.random.IntN(60),
			s.pick("NOTHING", "UPDATE SET body = private.body || '+'", "UPDATE SET n = 1"))
	case 6:
		return fmt.Sprintf("EXECUTE AS USER '%s' (%s)", s.other, s.query())
	case 7:
		s.named = []string{"q"}
		return fmt.Sprintf("WITH q AS (%s) SELECT * FROM q WHERE %s", s.query(), s.condition("q."))
	case 8:
		return fmt.Sprintf("WITH RECURSIVE q(id) AS (SELECT id FROM %s UNION SELECT q.id + 1 FROM q JOIN %s ON p.id = q.id) SELECT * FROM q",
			s.name(), s.source("p"))
	case 9:
		return s.joinedChange()
	case 12, 13:
		return s.uniqueChange()
	case 14, 15:
		return s.changesWithin()
	case 10:
		return fmt.Sprintf("SELECT a.x, a.y FROM %s AS a(x, y) WHERE a.x IN (%s) ORDER BY 1, 2", s.name(), s.query())
	case 11:
		return s.pick("USE "+string(s.other), "SHOW TABLES", "SHOW STATS FOR TABLE private", "DESCRIBE private", "EXPLAIN SELECT * FROM private")
	}
	return s.query()
}

// joinedChange is a change that reads other tables beside its own.
func (s *scopeSpeaker) joinedChange() string {
	target := s.pick("private", "private", "more", s.name())
	switch s.random.IntN(6) {
	case 0:
		return fmt.Sprintf("UPDATE %s AS t SET body = 'from ' || s.id FROM %s WHERE s.id = t.%s RETURNING *", target, s.source("s"), s.pick("id", "private_id"))
	case 1:
		return fmt.Sprintf("UPDATE %s AS t SET n = (SELECT COUNT(*) FROM %s) FROM %s WHERE %s", target, s.name(), s.source("s"), s.condition("s."))
	case 2:
		return fmt.Sprintf("DELETE FROM %s AS t USING %s WHERE s.id = t.%s RETURNING t.*, s.*", target, s.source("s"), s.pick("id", "private_id"))
	case 3:
		s.named = []string{"q"}
		return fmt.Sprintf("WITH q AS (%s) UPDATE private SET n = 8 FROM %s WHERE s.id = private.id RETURNING private.id, s.*", s.query(), s.source("s"))
	case 4:
		return fmt.Sprintf("WITH q AS (%s) INSERT INTO private (id, body) SELECT q.id + 7, 'q' FROM q RETURNING *, (SELECT COUNT(*) FROM %s)", s.query(), s.name())
	}
	return fmt.Sprintf("WITH q AS (%s) DELETE FROM private WHERE id IN (SELECT id FROM q) RETURNING id, EXISTS (%s)", s.query(), s.query())
}

// uniqueChange inserts rows with values that are unique among those of one user.
func (s *scopeSpeaker) uniqueChange() string {
	values := fmt.Sprintf("(%d, '%s', '%s', %s)", s.random.IntN(60), s.pick("a", "b", "c", "d"), s.pick("mine", "y", "x"), s.pick("1", "2", "NULL"))
	target := s.pick("", "", "(slug)", "(n, body)", "(id)", "(slug) WHERE "+s.condition("slugs."), "ON CONSTRAINT slugs_slug_key", "ON CONSTRAINT slugs_pkey")
	do := s.pick("NOTHING", "UPDATE SET body = slugs.body || excluded.body", "UPDATE SET n = slugs.n + 1 WHERE "+s.condition("slugs."),
		fmt.Sprintf("UPDATE SET slug = 'e', n = (SELECT COUNT(*) FROM %s)", s.name()))
	if s.random.IntN(3) == 0 {
		values = fmt.Sprintf("(1, 'a', 'v', 1), %s, (%d, 'e', NULL, NULL)", values, s.random.IntN(60))
	}
	return fmt.Sprintf("INSERT INTO slugs VALUES %s ON CONFLICT %s DO %s RETURNING *", values, target, do)
}

// changesWithin changes rows within WITH.
func (s *scopeSpeaker) changesWithin() string {
	target := s.pick("private", "private", "more", "slugs", s.name())
	change := s.pick(
		fmt.Sprintf("DELETE FROM %s WHERE %s RETURNING *", target, s.condition("")),
		fmt.Sprintf("UPDATE %s SET body = 'within %d' WHERE %s RETURNING *", target, s.random.IntN(9), s.condition("")),
		fmt.Sprintf("INSERT INTO private (id, body) SELECT id + %d, body FROM %s RETURNING *", s.random.IntN(5), s.source("a")),
		strings.ReplaceAll(s.uniqueChange(), ";", ""),
	)
	s.named = []string{"w"}
	return fmt.Sprintf("WITH w AS (%s) ", change) + s.pick(
		"SELECT * FROM w WHERE "+s.condition("w."),
		s.query(),
		fmt.Sprintf("INSERT INTO private (id, body) SELECT id + %d, 'moved' FROM w ON CONFLICT DO NOTHING RETURNING *", s.random.IntN(9)),
		fmt.Sprintf("UPDATE private SET n = 4 FROM w WHERE private.id = w.id RETURNING w.*, EXISTS (%s)", s.query()),
		fmt.Sprintf("DELETE FROM %s WHERE id IN (SELECT id FROM w) RETURNING *", s.name()),
		fmt.Sprintf("SELECT (SELECT COUNT(*) FROM %s), w.* FROM w", s.name()),
	)
}

// change makes a statement that changes a table in which others have rows, and the one that takes it back.
func (s *scopeSpeaker) change() (sql, back string) {
	table, columns := "private", s.pick("body", "n", "body, n", "n, body", "id")
	if s.random.IntN(3) == 0 {
		table, columns = "more", s.pick("body", "private_id", "body, private_id", "k")
	}
	column := s.pick("body", "n")
	if table == "more" {
		column = s.pick("body", "private_id")
	}
	switch s.random.IntN(6) {
	case 0, 1:
		return fmt.Sprintf("CREATE UNIQUE INDEX extra ON %s (%s)", table, columns), "DROP INDEX extra"
	case 2:
		return fmt.Sprintf("ALTER TABLE %s ADD CONSTRAINT extra UNIQUE (%s)", table, columns), "DROP INDEX extra"
	case 3:
		return fmt.Sprintf("ALTER TABLE %s ADD COLUMN extra TEXT %s", table, s.pick("NOT NULL", "UNIQUE", "DEFAULT 'x' UNIQUE", "UNIQUE DEFAULT CURRENT_USER()")),
			fmt.Sprintf("ALTER TABLE %s DROP COLUMN extra", table)
	case 4:
		return fmt.Sprintf("ALTER TABLE %s MODIFY COLUMN %s %s NOT NULL", table, column, s.pick("TEXT", "INT", "BIGINT")),
			fmt.Sprintf("ALTER TABLE %s ALTER COLUMN %s DROP NOT NULL", table, column)
	}
	return fmt.Sprintf("ALTER TABLE %s ALTER COLUMN %s SET NOT NULL", table, column), fmt.Sprintf("ALTER TABLE %s ALTER COLUMN %s DROP NOT NULL", table, column)
}

// scopeStatements is how many statements one seed makes: some change the user's rows, so that later ones find others.
const scopeStatements = 40

// scopeChanges is how many changes of tables come after them.
const scopeChanges = 8

// FuzzNobodyReachesAnothersRows says statements as one user and looks for the rows of another.
func FuzzNobodyReachesAnothersRows(f *testing.F) {
	for seed := range uint64(6) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		lab := newScopeLab(t)
		speaker := &scopeSpeaker{random: rand.New(rand.NewPCG(seed, 3)), other: lab.other.User}
		refused := 0
		for range scopeStatements {
			if lab.check(t, speaker.statement()) {
				refused++
			}
		}
		for range scopeChanges {
			sql, back := speaker.change()
			lab.checkChange(t, sql, back)
			lab.check(t, speaker.query())
		}
		if refused > scopeStatements*9/10 {
			t.Errorf("seed %d: %d of %d statements were refused: the others prove little", seed, refused, scopeStatements)
		}
	})
}

// TestChangesOfTablesTellNoValues changes a table in which the rows of another user forbid it.
func TestChangesOfTablesTellNoValues(t *testing.T) {
	t.Parallel()
	lab := newScopeLab(t)
	for _, sql := range []string{
		"CREATE UNIQUE INDEX extra ON private (body)", "CREATE UNIQUE INDEX extra ON private (n)", "CREATE UNIQUE INDEX extra ON private (body, n)",
		"ALTER TABLE private ADD UNIQUE (body)", "ALTER TABLE more ADD CONSTRAINT extra UNIQUE (body)",
		"ALTER TABLE more ALTER COLUMN private_id SET NOT NULL",
		"ALTER TABLE private MODIFY COLUMN n INT NOT NULL", "ALTER TABLE more ADD COLUMN extra INT NOT NULL",
	} {
		response, err := lab.shared.run(t, lab.user, sql)
		if told := answerText(response, err); !forbidden.MatchString(told) {
			t.Errorf("%s\ntells: %s", sql, told)
		}
	}
	// What everybody who may alter a table can read is told.
	lab.shared.must(t, "CREATE TABLE open (id BIGINT PRIMARY KEY, body TEXT) WITH (TYPE = 'SHARED'); INSERT INTO open VALUES (1, 'same'), (2, 'same')")
	_, err := lab.shared.run(t, admin(), "CREATE UNIQUE INDEX extra ON open (body)")
	if err == nil || !strings.Contains(err.Error(), "another row has (body) = (same) in unique index 'extra'") {
		t.Errorf("a shared table tells %v", err)
	}
}

// TestScopeLabSeesAnothersRows shows that the comparison would notice: an administrator may act as the other user.
func TestScopeLabSeesAnothersRows(t *testing.T) {
	t.Parallel()
	lab := newScopeLab(t)
	as := fmt.Sprintf("EXECUTE AS USER '%s' (SELECT * FROM private)", lab.other.User)
	with, withErr := lab.shared.run(t, caller("admin", session.RoleDBA), as)
	without, withoutErr := lab.lonely.run(t, caller("admin", session.RoleDBA), as)
	got, want := answerText(with, withErr), answerText(without, withoutErr)
	if got == want || !strings.Contains(got, "secret") {
		t.Errorf("an administrator sees\n%s\nand without the rows\n%s", got, want)
	}
}
