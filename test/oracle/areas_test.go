package oracle

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// areas are what scripts are written about.
var areas = []struct {
	name string
	make func(s *areaSpeaker) string
}{
	{"mixed", func(s *areaSpeaker) string { sql, _ := s.query(); return sql }},
	{"joins", (*areaSpeaker).joins},
	{"aggregates", (*areaSpeaker).aggregates},
	{"nulls", (*areaSpeaker).nulls},
	{"windows", (*areaSpeaker).windows},
	{"decimals", (*areaSpeaker).decimals},
	{"times", (*areaSpeaker).times},
	{"texts", (*areaSpeaker).texts},
	{"subqueries", (*areaSpeaker).subqueries},
	{"sets", (*areaSpeaker).sets},
	{"notations", (*areaSpeaker).notations},
}

// areaSpeaker makes queries about one area.
type areaSpeaker struct{ speaker }

// timeTable makes a table of times.
func timeTable(random *rand.Rand) []string {
	values := make([]string, 40)
	for id := range values {
		at, day := "NULL", "NULL"
		if random.IntN(7) > 0 {
			at = fmt.Sprintf("'20%02d-%02d-%02d %02d:%02d:%02d.%03d'", 20+random.IntN(8), 1+random.IntN(12), 1+random.IntN(28), random.IntN(24),
				random.IntN(60), random.IntN(60), 125*random.IntN(8))
		}
		if random.IntN(7) > 0 {
			day = fmt.Sprintf("'20%02d-%02d-%02d'", 20+random.IntN(8), 1+random.IntN(12), 1+random.IntN(28))
		}
		values[id] = fmt.Sprintf("(%d, %s, %s)", id, at, day)
	}
	return []string{
		"CREATE TABLE w (id INT PRIMARY KEY, moment TIMESTAMP, day DATE)", "INSERT INTO w VALUES " + strings.Join(values, ", "),
	}
}

func (s *areaSpeaker) whole() string { return s.pick("-3", "-1", "0", "1", "2", "5", "7", "10") }

func (s *areaSpeaker) compared(prefix string) string {
	switch s.random.IntN(9) {
	case 0:
		return prefix + "a IS " + s.pick("", "NOT ") + "NULL"
	case 1:
		return prefix + "c " + s.pick("LIKE", "NOT LIKE") + " " + s.pick("'text%'", "'%1'", "'%t _'", "'TEXT%'")
	case 2:
		return prefix + "a " + s.pick("BETWEEN", "NOT BETWEEN") + " " + s.whole() + " AND " + s.whole()
	case 3:
		return prefix + "a " + s.pick("IN", "NOT IN") + " (" + s.whole() + ", " + s.whole() + s.pick("", ", NULL") + ")"
	case 4:
		return prefix + "e"
	case 5:
		return prefix + "m " + s.pick("<", ">=", "=") + " " + s.pick("1.5", "0.00", "17.25", "10")
	case 6:
		return "NOT (" + prefix + "a " + s.pick("<", ">") + " " + s.whole() + ")"
	case 7:
		return "(" + s.compared(prefix) + s.pick(" AND ", " OR ") + s.compared(prefix) + ")"
	}
	return prefix + "id " + s.pick("<", ">", "<>", "=") + " " + s.pick("3", "10", "20", "40")
}

func (s *areaSpeaker) joins() string {
	join := s.pick("JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN")
	on := s.pick("t.a = u.a", "t.id = u.id", "t.c = u.c AND t.e = u.e", "t.a = u.a AND t.id < u.id", "t.id = u.a")
	columns := s.pick("t.id, u.id", "t.a, u.a, u.c", "t.c, u.m", "count(*), sum(t.a), sum(u.id)", "count(u.id), count(t.id), min(t.c), max(u.c)")
	switch s.random.IntN(5) {
	case 0:
		return fmt.Sprintf("SELECT %s FROM t %s u USING (%s)", s.pick("count(*), sum(t.id)", "t.id, u.m", "count(u.m)"), join, s.pick("id", "a", "id, a"))
	case 1:
		return fmt.Sprintf("SELECT count(*), sum(x.id), sum(z.a) FROM t x %s u y ON x.a = y.a %s t z ON z.id = %s.id WHERE %s", s.pick("JOIN", "LEFT JOIN"),
			s.pick("JOIN", "LEFT JOIN"), s.pick("x", "y"), s.compared("x."))
	}
	return fmt.Sprintf("SELECT %s FROM t %s u ON %s WHERE %s", columns, join, on, s.compared(s.pick("t.", "u.")))
}

func (s *areaSpeaker) aggregates() string {
	call := func() string {
		column := s.pick("a", "id", "m", "d")
		return s.pick("sum("+column+")", "min("+column+")", "max("+column+")", "count("+column+")", "count(*)", "count(DISTINCT a)", "min(c)", "max(c)",
			"bool_and(e)", "bool_or(e)", "avg("+column+")", "sum(a * 2 + id)", "string_agg(c, ',' ORDER BY id)")
	}
	filter := ""
	if s.random.IntN(3) == 0 {
		filter = " FILTER (WHERE " + s.compared("") + ")"
	}
	where := ""
	if s.random.IntN(2) == 0 {
		where = " WHERE " + s.compared("")
	}
	table := s.pick("t", "u")
	switch s.random.IntN(4) {
	case 0:
		return fmt.Sprintf("SELECT %s%s, %s FROM %s%s", call(), filter, call(), table, where)
	case 1:
		key := s.pick("a", "c", "e", "a % 3", "id % 4", "upper(c)", "a IS NULL")
		return fmt.Sprintf("SELECT %s, %s, %s%s FROM %s%s GROUP BY %s", key, call(), call(), filter, table, where, key)
	case 2:
		return fmt.Sprintf("SELECT c, e, %s FROM %s%s GROUP BY c, e HAVING count(*) > %s", call(), table, where, s.pick("0", "1", "3"))
	}
	return fmt.Sprintf("SELECT count(*), sum(n) FROM (SELECT a, count(*) AS n FROM %s%s GROUP BY a) g WHERE g.n > %s", table, where, s.pick("0", "1", "2"))
}

func (s *areaSpeaker) nulls() string {
	value := func() string {
		return s.pick("a", "NULLIF(a, 2)", "COALESCE(a, -1)", "CASE WHEN a > 3 THEN a END", "CASE e WHEN true THEN id WHEN false THEN NULL ELSE -7 END",
			"GREATEST(a, 1)", "LEAST(a, id)", "a + NULL", "NULLIF(id, id)", "COALESCE(NULLIF(a, 1), id)")
	}
	truth := func() string {
		return s.pick("a > 2", "e", "a = NULL", "c IS NULL", "NOT e", "a IS DISTINCT FROM 3", "a IS NOT DISTINCT FROM NULL", "e IS TRUE", "e IS NOT FALSE",
			"a IN (1, NULL)", "a NOT IN (1, NULL)", "NULL", "c = 'text 1' OR NULL", "(a > 2 AND NULL)")
	}
	switch s.random.IntN(3) {
	case 0:
		return fmt.Sprintf("SELECT id, %s, %s FROM t WHERE %s %s %s", value(), value(), truth(), s.pick("AND", "OR"), truth())
	case 1:
		return fmt.Sprintf("SELECT id, (%s), (%s %s NOT (%s)) FROM u", truth(), truth(), s.pick("AND", "OR"), truth())
	}
	return fmt.Sprintf("SELECT count(%s), count(*), sum(%s) FROM t WHERE (%s) IS %s", value(), value(), truth(), s.pick("NULL", "NOT NULL"))
}

func (s *areaSpeaker) windows() string {
	call := s.pick("row_number()", "rank()", "dense_rank()", "sum(a)", "count(a)", "min(m)", "max(id)", "lag(a)", "lead(id, 2)", "first_value(c)", "last_value(id)",
		"ntile(3)", "percent_rank()", "cume_dist()", "count(*)", "lag(c, 1)", "nth_value(id, 2)")
	partition := s.pick("", "PARTITION BY c ", "PARTITION BY e ", "PARTITION BY a % 3 ")
	frame := ""
	if strings.HasPrefix(call, "sum") || strings.HasPrefix(call, "count") || strings.HasPrefix(call, "m") || strings.Contains(call, "_value") {
		frame = s.pick("", " ROWS BETWEEN 2 PRECEDING AND CURRENT ROW", " ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING",
			" ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING", " ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING")
	}
	order := s.pick("id", "id DESC", "a NULLS FIRST, id", "m DESC NULLS LAST, id")
	where := ""
	if s.random.IntN(2) == 0 {
		where = " WHERE " + s.compared("")
	}
	return fmt.Sprintf("SELECT id, %s OVER (%sORDER BY %s%s) FROM %s%s", call, partition, order, frame, s.pick("t", "u"), where)
}

func (s *areaSpeaker) decimals() string {
	value := s.pick("m + 1.25", "m - 0.01", "m * 2", "m * 1.5", "-m", "abs(m)", "round(m, 1)", "round(m)", "floor(m)", "ceil(m)", "m + a", "CAST(m AS DECIMAL(12,4))", "CAST(m AS DOUBLE)",
		"CAST(m AS INT)", "sign(m)", "m % 3", "GREATEST(m, 2.5)", "CAST(a AS DECIMAL(8,3)) + m", "trunc(m)")
	switch s.random.IntN(3) {
	case 0:
		return fmt.Sprintf("SELECT id, %s FROM t WHERE %s", value, s.compared(""))
	case 1:
		return fmt.Sprintf("SELECT sum(%s), min(%s), count(*) FROM %s WHERE m %s %s", value, value, s.pick("t", "u"), s.pick("<", ">", "<>"), s.pick("3.3", "0", "12.5"))
	}
	return fmt.Sprintf("SELECT m, count(*), sum(%s) FROM %s WHERE %s GROUP BY m", value, s.pick("t", "u"), s.compared(""))
}

func (s *areaSpeaker) times() string {
	value := s.pick("moment", "day", "moment + INTERVAL '1 day'", "moment - INTERVAL '2 months'", "day + 3", "day - DATE '2020-01-01'", "extract(year FROM moment)", "extract(month FROM day)",
		"extract(day FROM moment)", "extract(hour FROM moment)", "extract(minute FROM moment)", "date_trunc('month', moment)", "date_trunc('hour', moment)", "date_trunc('year', moment)",
		"date_part('doy', day)", "date_part('week', day)", "date_part('quarter', moment)", "CAST(moment AS DATE)", "extract(dow FROM day)", "moment + INTERVAL '90 minutes'")
	condition := s.pick("moment > TIMESTAMP '2023-06-01 00:00:00'", "day BETWEEN DATE '2021-01-01' AND DATE '2025-12-31'", "moment IS NULL", "day = CAST(moment AS DATE)", "moment < day", "id % 2 = 0",
		"extract(year FROM day) = 2024", "day >= DATE '2022-02-28'", "NOT (moment > TIMESTAMP '2024-01-01 12:00:00')")
	switch s.random.IntN(3) {
	case 0:
		return fmt.Sprintf("SELECT id, %s FROM w WHERE %s", value, condition)
	case 1:
		return fmt.Sprintf("SELECT min(%s), max(%s), count(*) FROM w WHERE %s AND id > %s", value, value, condition, s.pick("3", "10", "20"))
	}
	return fmt.Sprintf("SELECT %s, count(*) FROM w WHERE %s AND id <> %s GROUP BY 1", value, condition, s.pick("1", "2", "3", "4"))
}

func (s *areaSpeaker) texts() string {
	value := s.pick("upper(c)", "lower(upper(c))", "length(c)", "c || '-' || id", "substring(c, 2, 3)", "substring(c FROM 3)", "replace(c, 't', 'T')", "left(c, 2)", "right(c, 3)", "reverse(c)",
		"trim(c)", "lpad(c, 8, '*')", "rpad(c, 8, '+')", "repeat(c, 2)", "strpos(c, 'x')", "split_part(c, ' ', 2)", "concat(c, NULL, id)", "starts_with(c, 'te')", "c LIKE '%2'", "c ILIKE 'TEXT%'",
		"CAST(id AS TEXT) || c", "ascii(c)", "chr(65 + id)", "translate(c, 'tx', 'TX')", "md5(c)", "regexp_replace(c, '[0-9]', '#')", "concat_ws('/', c, id)", "position('t' IN c)")
	if s.random.IntN(2) == 0 {
		return fmt.Sprintf("SELECT id, %s FROM t WHERE %s", value, s.compared(""))
	}
	return fmt.Sprintf("SELECT %s, count(*) FROM %s WHERE %s GROUP BY 1", value, s.pick("t", "u"), s.compared(""))
}

func (s *areaSpeaker) subqueries() string {
	switch s.random.IntN(8) {
	case 0:
		return fmt.Sprintf("SELECT id FROM t WHERE a %s (SELECT a FROM u WHERE %s)", s.pick("IN", "NOT IN"), s.compared(""))
	case 1:
		return fmt.Sprintf("SELECT id FROM t WHERE %sEXISTS (SELECT 1 FROM u WHERE u.a = t.a AND %s)", s.pick("", "NOT "), s.compared("u."))
	case 2:
		return fmt.Sprintf("SELECT id, (SELECT %s FROM u WHERE u.a = t.a AND %s) FROM t", s.pick("count(*)", "sum(u.id)", "max(u.c)", "min(u.m)"), s.compared("u."))
	case 3:
		return fmt.Sprintf("SELECT id FROM t WHERE a %s %s (SELECT a FROM u WHERE a IS NOT NULL AND %s)", s.pick("<", ">", "=", "<>"), s.pick("ALL", "ANY"), s.compared(""))
	case 4:
		return fmt.Sprintf("WITH x AS (SELECT a, count(*) AS n FROM t WHERE %s GROUP BY a) SELECT u.id, x.n FROM u %s x ON x.a = u.a", s.compared(""), s.pick("JOIN", "LEFT JOIN"))
	case 5:
		return fmt.Sprintf("SELECT o.id, l.s FROM u o, LATERAL (SELECT sum(id) AS s FROM t WHERE t.a = o.a AND %s) l", s.compared("t."))
	case 6:
		return fmt.Sprintf("WITH RECURSIVE r(n) AS (SELECT %s UNION ALL SELECT n + %s FROM r WHERE n < %s) SELECT count(*), sum(n), max(n) FROM r JOIN t ON t.id = r.n WHERE %s",
			s.pick("0", "1", "-3"), s.pick("1", "2", "3"), s.pick("10", "20", "45"), s.compared("t."))
	}
	return fmt.Sprintf("SELECT count(*) FROM t WHERE (a, e) IN (SELECT a, e FROM u WHERE %s)", s.compared(""))
}

func (s *areaSpeaker) sets() string {
	part := func() string {
		return fmt.Sprintf("SELECT %s FROM %s WHERE %s", "a, c", s.pick("t", "u"), s.compared(""))
	}
	op := func() string {
		return s.pick("UNION", "UNION ALL", "INTERSECT", "EXCEPT", "EXCEPT ALL", "INTERSECT ALL")
	}
	switch s.random.IntN(3) {
	case 0:
		return part() + " " + op() + " " + part()
	case 1:
		return "(" + part() + " " + op() + " " + part() + ") " + op() + " " + part()
	}
	return fmt.Sprintf("SELECT count(*), count(DISTINCT c), sum(a) FROM (%s %s %s) x", part(), op(), part())
}

// notation writes a condition in one of the ways that PostgreSQL's grammar has beside the usual ones.
func (s *speaker) notation(prefix string, depth int) string {
	switch s.random.IntN(5) {
	case 0:
		return fmt.Sprintf("(%s %s (ARRAY[%s, 2, %s]))", s.number(prefix, depth-1), s.pick("= ANY", "<> ALL", "< ANY", ">= ALL"), s.pick("NULL", "7", "-1"), s.pick("0", "5", "9"))
	case 1:
		return fmt.Sprintf("(%s %s '%s')", s.text(prefix, depth-1), s.pick("~~", "!~~", "^@"), s.pick("text%", "%3", "te", "_"))
	case 2: // without NULLs, which DuckDB orders within rows
		return fmt.Sprintf("((coalesce(%sid, 0) %% 5, coalesce(%sid, 0)) %s (%s, %s))", prefix, prefix, s.pick("<", ">=", "=", "<>"), s.pick("1", "3"), s.pick("4", "11", "20"))
	case 3:
		return fmt.Sprintf("(POSITION('t' IN %s) %s 1)", s.text(prefix, depth-1), s.pick("=", ">"))
	}
	return fmt.Sprintf("(%s LIKE '%s' ESCAPE '#')", s.text(prefix, depth-1), s.pick("text#_%", "#%%", "t%#%", "%"))
}

func (s *areaSpeaker) notations() string {
	value := s.pick("TRIM(BOTH 't' FROM c)", "TRIM(LEADING FROM c)", "SUBSTRING(c FROM 2 FOR 3)", "SUBSTRING(c FROM 4)", "POSITION('x' IN c)", "EXTRACT(year FROM DATE '2024-02-29')",
		"CASE WHEN e THEN 1 END", "(id, a) IN ((1, 2), (3, 4))", "id = ANY (SELECT a FROM u)", "ARRAY(SELECT id FROM u WHERE u.id < 3 ORDER BY id)", "(SELECT max(v) FROM (VALUES (1), (id)) AS w(v))")
	switch s.random.IntN(4) {
	case 0:
		return fmt.Sprintf("SELECT %s, count(*) FROM t WHERE %s GROUP BY %s", s.pick("e, c", "c, e"), s.notation("", 1), s.pick("ROLLUP (e, c)", "CUBE (c, e)", "GROUPING SETS ((e, c), (c), ())"))
	case 1:
		return fmt.Sprintf("SELECT x.id, l.n FROM t x, LATERAL (SELECT count(*) AS n FROM u WHERE u.a = x.a AND %s) l WHERE %s", s.notation("u.", 1), s.notation("x.", 1))
	case 2:
		return fmt.Sprintf("SELECT count(*) FROM (VALUES (1, 'a'), (2, NULL), (%s, 'text 3')) AS v(a, c) JOIN t ON t.a = v.a WHERE %s", s.whole(), s.notation("t.", 1))
	}
	return fmt.Sprintf("SELECT id, %s FROM t WHERE %s", value, s.notation("", 1))
}
