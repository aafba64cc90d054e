package exec_test

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/kalamdb/kalamdb-go/internal/ident"
)

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
