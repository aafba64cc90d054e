package exec_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"

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
