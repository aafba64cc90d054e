package oracle

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// speaker makes up queries that mean the same in both systems. Every query has either a total order or is compared
// without one.
type speaker struct {
	random *rand.Rand
	alias  int
}

func (s *speaker) pick(choices ...string) string { return choices[s.random.IntN(len(choices))] }

func (s *speaker) number(prefix string, depth int) string {
	if depth <= 0 {
		return s.pick(prefix+"a", prefix+"id", prefix+"a", "NULL::INT", "0", "1", "-3", "7")
	}
	switch s.random.IntN(9) {
	case 0, 1, 2:
		return fmt.Sprintf("(%s %s %s)", s.number(prefix, depth-1), s.pick("+", "-", "*"), s.number(prefix, depth-1))
	case 3:
		return fmt.Sprintf("(%s %% %s)", s.number(prefix, depth-1), s.pick("2", "5", "-7"))
	case 4:
		return fmt.Sprintf("CASE WHEN %s THEN %s ELSE %s END", s.condition(prefix, depth-1), s.number(prefix, depth-1), s.number(prefix, depth-1))
	case 5:
		return fmt.Sprintf("COALESCE(%s, %s)", s.number(prefix, depth-1), s.number(prefix, depth-1))
	case 6:
		return fmt.Sprintf("NULLIF(%s, %s)", s.number(prefix, depth-1), s.number(prefix, depth-1))
	case 7:
		return fmt.Sprintf("LENGTH(%s)", s.text(prefix, depth-1))
	}
	return fmt.Sprintf("ABS(%s)", s.number(prefix, depth-1))
}

func (s *speaker) text(prefix string, depth int) string {
	if depth <= 0 {
		return s.pick(prefix+"c", prefix+"c", "'x'", "''", "NULL::TEXT", "'text 3'")
	}
	switch s.random.IntN(6) {
	case 0:
		return fmt.Sprintf("(%s || %s)", s.text(prefix, depth-1), s.text(prefix, depth-1))
	case 1:
		return fmt.Sprintf("UPPER(%s)", s.text(prefix, depth-1))
	case 2:
		return fmt.Sprintf("SUBSTR(%s, %d, %d)", s.text(prefix, depth-1), 1+s.random.IntN(4), s.random.IntN(4))
	case 3:
		return fmt.Sprintf("COALESCE(%s, 'none')", s.text(prefix, depth-1))
	case 4:
		return fmt.Sprintf("REPLACE(%s, 'e', 'EE')", s.text(prefix, depth-1))
	}
	return s.text(prefix, 0)
}

func (s *speaker) condition(prefix string, depth int) string {
	if depth <= 0 {
		return s.pick(prefix+"a > 3", prefix+"e", prefix+"c IS NULL", prefix+"id <> 4", prefix+"m < 20.5", prefix+"d >= 0.25", prefix+"c = 'text 3'")
	}
	switch s.random.IntN(17) {
	case 13, 14, 15, 16:
		return s.notation(prefix, depth)
	case 0:
		return fmt.Sprintf("(%s AND %s)", s.condition(prefix, depth-1), s.condition(prefix, depth-1))
	case 1:
		return fmt.Sprintf("(%s OR %s)", s.condition(prefix, depth-1), s.condition(prefix, depth-1))
	case 2:
		return fmt.Sprintf("(NOT %s)", s.condition(prefix, depth-1))
	case 3:
		return fmt.Sprintf("(%s %s %s)", s.number(prefix, depth-1), s.pick("=", "<>", "<", "<=", ">", ">="), s.number(prefix, depth-1))
	case 4:
		return fmt.Sprintf("(%s %sIN (%s, 1, %s))", s.number(prefix, depth-1), s.pick("", "NOT "), s.pick("NULL", "2", "9"), s.number(prefix, 0))
	case 5:
		return fmt.Sprintf("(%s %sBETWEEN %s AND %s)", s.number(prefix, depth-1), s.pick("", "NOT "), s.number(prefix, 0), s.number(prefix, depth-1))
	case 6:
		return fmt.Sprintf("(%s %sLIKE '%s')", s.text(prefix, depth-1), s.pick("", "NOT "), s.pick("%x%", "text _", "%", "t%3", ""))
	case 7:
		return fmt.Sprintf("(%s IS %sDISTINCT FROM %s)", s.number(prefix, depth-1), s.pick("", "NOT "), s.number(prefix, depth-1))
	case 8:
		return fmt.Sprintf("(%s IS %sNULL)", s.number(prefix, depth-1), s.pick("", "NOT "))
	case 9:
		return fmt.Sprintf("%sid %sIN (SELECT z.id FROM u AS z WHERE %s)", prefix, s.pick("", "NOT "), s.condition("z.", depth-1))
	case 10:
		return fmt.Sprintf("EXISTS (SELECT 1 FROM u AS y WHERE y.a = %sa AND %s)", prefix, s.condition("y.", depth-1))
	case 11:
		return fmt.Sprintf("(%s %s %s)", s.text(prefix, depth-1), s.pick("=", "<>", "<", ">="), s.text(prefix, depth-1))
	}
	return fmt.Sprintf("(%sm %s %s)", prefix, s.pick("<", ">", "="), s.pick("10.00", "20.5", prefix+"a"))
}

func (s *speaker) aggregate(prefix string) string {
	distinct := s.pick("", "", "DISTINCT ")
	switch s.random.IntN(8) {
	case 0:
		return "COUNT(*)"
	case 1:
		return fmt.Sprintf("COUNT(%s%s)", distinct, s.number(prefix, 1))
	case 2:
		return fmt.Sprintf("SUM(%s%s)", distinct, s.number(prefix, 1))
	case 3:
		return fmt.Sprintf("MIN(%s)", s.text(prefix, 1))
	case 4:
		return fmt.Sprintf("MAX(%s)", s.number(prefix, 2))
	case 5:
		return fmt.Sprintf("AVG(%sa)", prefix)
	case 6:
		return fmt.Sprintf("SUM(%sm)", prefix)
	}
	return fmt.Sprintf("COUNT(*) FILTER (WHERE %s)", s.condition(prefix, 1))
}

func (s *speaker) from() string {
	join := s.pick("JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN")
	on := s.pick("l.a = r.a", "l.id = r.id", "l.id = r.a", "l.c = r.c", "l.a = r.id AND l.c <> r.c")
	return fmt.Sprintf("%s AS l %s %s AS r ON %s", s.pick("t", "u"), join, s.pick("t", "u"), on)
}

// query makes a query; ordered says that it has a total order.
func (s *speaker) query() (sql string, ordered bool) {
	switch s.random.IntN(9) {
	case 0, 1:
		return fmt.Sprintf("SELECT id, %s, %s FROM t WHERE %s", s.number("", 2), s.text("", 2), s.condition("", 3)), false
	case 2:
		order := []string{s.number("", 1), s.text("", 1), "id"}
		for i := range order {
			order[i] = fmt.Sprintf("(%s) %s NULLS %s", order[i], s.pick("ASC", "DESC"), s.pick("FIRST", "LAST"))
		}
		return fmt.Sprintf("SELECT id, a, c FROM t WHERE %s ORDER BY %s LIMIT %d OFFSET %d", s.condition("", 2),
			strings.Join(order, ", "), s.random.IntN(30), s.random.IntN(5)), true
	case 3:
		return fmt.Sprintf("SELECT l.id, r.id, %s, %s FROM %s WHERE %s", s.number("l.", 1), s.text("r.", 1), s.from(), s.condition("l.", 2)), false
	case 4:
		key := s.pick("a", "c", "e", "a % 3")
		return fmt.Sprintf("SELECT %s, %s, %s FROM t WHERE %s GROUP BY %s", key, s.aggregate(""), s.aggregate(""), s.condition("", 1), key), false
	case 5:
		return fmt.Sprintf("SELECT l.a, %s, %s FROM %s GROUP BY l.a HAVING %s > 1", s.aggregate("l."), s.aggregate("r."), s.from(),
			s.pick("COUNT(*)", "SUM(l.a)", "COUNT(r.id)")), false
	case 6:
		return fmt.Sprintf("SELECT %s FROM t WHERE %s %s SELECT %s FROM u", s.pick("a", "c"), s.condition("", 1),
			s.pick("UNION", "UNION ALL", "EXCEPT", "INTERSECT", "EXCEPT ALL", "INTERSECT ALL"), s.pick("a", "c")), false
	case 7:
		return fmt.Sprintf("SELECT id, %s OVER (PARTITION BY e ORDER BY id %s), ROW_NUMBER() OVER (ORDER BY c NULLS FIRST, id) FROM t WHERE %s",
			s.pick("SUM(a)", "COUNT(c)", "MIN(c)", "LAG(a)", "RANK()", "MAX(m)"), s.pick("", "", "DESC"), s.condition("", 2)), false
	}
	return fmt.Sprintf("WITH q AS (SELECT a AS k, COUNT(*) AS n FROM t GROUP BY a) SELECT DISTINCT q.n, u.a FROM q JOIN u ON u.a = q.k WHERE %s",
		s.condition("u.", 2)), false
}
