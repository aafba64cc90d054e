package server

import (
	"fmt"
	"math/rand/v2"
)

// statements draws statements over two tables: good ones, and such as fail in every way that data can make them fail.
type statements struct{ random *rand.Rand }

func (s statements) one(of ...string) string { return of[s.random.IntN(len(of))] }

func (s statements) table() string { return s.one("app.pub", "app.own") }

func (s statements) value() string {
	return s.one("NULL", "0", "1", "-3", "7", "2147483647", "12", "5", "9", "40 / 8")
}

func (s statements) text() string {
	return s.one("NULL", "''", "'a'", "'b'", "'Ä'", "'a' || 'b'", "'long'", "'7'")
}

func (s statements) condition() string {
	return s.one(
		"id < 10", "id = 3", "id IN (1, 4, 9, 16)", "n > 2", "n IS NULL", "t LIKE 'a%'", "t = 'b' OR n < 0", "NOT (n = 1)", "id BETWEEN 5 AND 12",
		"n = (SELECT max(n) FROM app.pub)", "id IN (SELECT id FROM app.own WHERE n > 0)", "d > 1.5", "coalesce(n, 0) % 2 = 0", "t ~ '^[ab]'", "true",
		"10 / n > 1", "t::int > 3", "EXISTS (SELECT 1 FROM app.pub p WHERE p.id = id)", "n * 2147483647 > 5", "id = 1 AND id = 2",
	)
}

func (s statements) write() string {
	table, id := s.table(), s.random.IntN(25)
	switch s.random.IntN(14) {
	case 0, 1:
		return fmt.Sprintf("INSERT INTO %s (id, n, t, d) VALUES (%d, %s, %s, %d.25)", table, id, s.value(), s.text(), s.random.IntN(4))
	case 2:
		return fmt.Sprintf("INSERT INTO %s (id, n) VALUES (%d, 1), (%d, 2), (%d, %s)", table, id, id+1, s.random.IntN(25), s.value())
	case 3:
		return fmt.Sprintf("INSERT INTO %s (id, n, t) VALUES (%d, %s, %s) ON CONFLICT (id) DO UPDATE SET n = excluded.n, t = 'again' RETURNING id, n, t",
			table, id, s.value(), s.text())
	case 4:
		return fmt.Sprintf("UPDATE %s SET n = %s, t = %s WHERE %s", table, s.one("n + 1", s.value(), "id * 2", "(SELECT count(*) FROM app.own)"), s.text(), s.condition())
	case 5:
		return fmt.Sprintf("DELETE FROM %s WHERE %s RETURNING id", table, s.condition())
	case 6, 7, 8, 9:
		return s.newer()
	case 10:
		return s.together()
	case 11:
		return s.array()
	case 12:
		return fmt.Sprintf("INSERT INTO %s (id, n, t) SELECT id + %d, n, t FROM %s WHERE %s", table, s.random.IntN(30), s.table(), s.condition())
	}
	return fmt.Sprintf("BEGIN; UPDATE %s SET n = %s WHERE id = %d; INSERT INTO app.pub (id, n) VALUES (%d, 1); %s", "app.pub", s.value(), id, s.random.IntN(30),
		s.one("COMMIT", "ROLLBACK"))
}

func (s statements) read() string {
	table := s.table()
	switch s.random.IntN(8) {
	case 6:
		return s.arrayRead()
	case 7:
		return fmt.Sprintf("SELECT k.id, k.n, x.t FROM %s k LEFT JOIN %s x USING (id) ORDER BY 1", s.keep(table), table)
	case 0:
		return fmt.Sprintf("SELECT id, n, t, d FROM %s WHERE %s ORDER BY id LIMIT %d", table, s.condition(), 1+s.random.IntN(20))
	case 1:
		return fmt.Sprintf("SELECT t, count(*), sum(n), avg(d), min(id), max(t) FROM %s WHERE %s GROUP BY t ORDER BY t NULLS FIRST", table, s.condition())
	case 2:
		return fmt.Sprintf("SELECT p.id, p.n, o.t FROM app.pub p %s JOIN app.own o ON p.%s = o.%s ORDER BY 1, 2, 3, p.id, o.id",
			s.one("", "LEFT", "RIGHT", "FULL"), s.one("id", "n"), s.one("id", "n"))
	case 3:
		return fmt.Sprintf("SELECT id, rank() OVER (PARTITION BY t ORDER BY n, id), sum(n) OVER (ORDER BY id ROWS 2 PRECEDING) FROM %s ORDER BY id", table)
	case 4:
		return "SELECT id, n FROM app.pub " + s.one("UNION", "UNION ALL", "EXCEPT", "INTERSECT") + " SELECT id, n FROM app.own ORDER BY 1, 2"
	}
	return fmt.Sprintf("WITH RECURSIVE r(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r WHERE i < %d) SELECT r.i, x.t FROM r LEFT JOIN %s x ON x.id = r.i ORDER BY 1",
		s.random.IntN(20), table)
}

// keep names the second table of the group of the first: its t is unique, with its n.
func (s statements) keep(table string) string { return table + "_kept" }

// safe is a condition that no row makes fail.
func (s statements) safe(table string) string {
	return table + "." + s.one("id < 10", "id = 3", "n > 2", "n IS NULL", "t LIKE 'a%'", "id BETWEEN 5 AND 12", "id % 3 = 1")
}

// newer draws changes by unique values, by the rows of other tables, and of whole tables.
func (s statements) newer() string {
	table, id := s.table(), s.random.IntN(25)
	kept := s.keep(table)
	switch s.random.IntN(10) {
	case 0:
		return fmt.Sprintf("INSERT INTO app.own (id, n, t) VALUES (%d, %s, %s), (%d, 2, %s) ON CONFLICT (t) DO UPDATE SET n = excluded.n + 1, d = own.d + 1 RETURNING id, n, t, d",
			id, s.value(), s.text(), s.random.IntN(25), s.text())
	case 1:
		return fmt.Sprintf("INSERT INTO app.own (id, n, t) VALUES (%d, %s, %s) ON CONFLICT (t) DO %s RETURNING id", id, s.value(), s.text(),
			s.one("NOTHING", "UPDATE SET t = 'b'", "UPDATE SET n = -1 WHERE own.n > 2", "UPDATE SET d = 0.5 WHERE excluded.n IS NOT NULL"))
	case 2:
		return fmt.Sprintf("INSERT INTO %s (id, n, t) SELECT id + %d, n, t FROM %s WHERE %s ORDER BY id ON CONFLICT DO NOTHING", kept, s.random.IntN(9), table, s.safe(table))
	case 3:
		return fmt.Sprintf("INSERT INTO %s AS k (id, n, t) VALUES (%d, %s, %s) ON CONFLICT ON CONSTRAINT %s DO UPDATE SET n = k.n + excluded.n RETURNING id, n",
			kept, id, s.value(), s.text(), s.one(table[4:]+"_alike", table[4:]+"_alike", "nothing"))
	case 4:
		return fmt.Sprintf("INSERT INTO %s AS k (id, n, t) VALUES (%d, %s, %s) ON CONFLICT (t, n) DO UPDATE SET t = k.t || excluded.id RETURNING id, t",
			kept, id, s.value(), s.text())
	case 5, 6:
		return fmt.Sprintf("UPDATE %s AS x SET n = k.id + %d, t = k.t FROM %s k WHERE k.id = x.id AND %s", table, s.random.IntN(5), kept, s.safe("k"))
	case 7:
		return fmt.Sprintf("DELETE FROM %s AS x USING %s k WHERE k.id = x.id AND %s", kept, table, s.safe("k"))
	case 8:
		return fmt.Sprintf("UPDATE %s SET (n, t) = (SELECT k.n, k.t FROM %s k WHERE k.id = %d) WHERE id = %d RETURNING id, n, t", table, kept, id, s.random.IntN(25))
	}
	if s.random.IntN(4) == 0 {
		return "TRUNCATE TABLE " + kept
	}
	return fmt.Sprintf("INSERT INTO %s (id, n, t) SELECT g, g * %d, 'r' || g FROM generate_series(%d, %d) AS g", kept, s.random.IntN(4), id, id+s.random.IntN(4))
}

// together draws changes within WITH.
func (s statements) together() string {
	table, id := s.table(), s.random.IntN(25)
	kept := s.keep(table)
	switch s.random.IntN(7) {
	case 0:
		return fmt.Sprintf("WITH gone AS (DELETE FROM %s AS x WHERE %s RETURNING id, n, t) INSERT INTO %s (id, n, t) SELECT id, n, t FROM gone ORDER BY id%s",
			table, s.safe("x"), kept, s.one("", " ON CONFLICT DO NOTHING", " ON CONFLICT (id) DO UPDATE SET n = excluded.n"))
	case 1:
		return fmt.Sprintf("WITH back AS (DELETE FROM %s AS x WHERE %s RETURNING id, n), done AS (UPDATE %s AS y SET n = back.n FROM back WHERE back.id = y.id RETURNING y.id, y.n) "+
			"SELECT id, n FROM done ORDER BY 1", kept, s.safe("x"), table)
	case 2:
		return fmt.Sprintf("WITH a AS (UPDATE %s SET n = %s WHERE id = %d RETURNING id, n), b AS (UPDATE %s SET n = 99 WHERE id IN (%d, %d) RETURNING id) "+
			"SELECT (SELECT count(*) FROM a), (SELECT string_agg(id::text, ',' ORDER BY id) FROM b), (SELECT sum(n) FROM %s)",
			table, s.one("n", "1", "n + 1"), id, table, id, s.random.IntN(25), table)
	case 3:
		return fmt.Sprintf("WITH i AS (INSERT INTO %s (id, n, t) VALUES (%d, 1, %s) ON CONFLICT DO NOTHING RETURNING id) "+
			"INSERT INTO %s (id, n, t) SELECT id, 5, 'new' FROM i RETURNING id, n", table, id, s.text(), kept)
	case 4:
		return fmt.Sprintf("WITH gone AS (DELETE FROM app.own WHERE id = %d RETURNING id) INSERT INTO app.pub (id) SELECT id FROM gone", id)
	case 5:
		return fmt.Sprintf("WITH up AS (UPDATE %s SET d = d + 1 WHERE id = %d RETURNING id) INSERT INTO %s (id, d) SELECT %d, 2 WHERE NOT EXISTS (SELECT 1 FROM up)",
			table, id, table, id)
	}
	return fmt.Sprintf("BEGIN; WITH gone AS (DELETE FROM %s AS x WHERE %s RETURNING id, n, t) INSERT INTO %s (id, n, t) SELECT id, n, t FROM gone; %s",
		kept, s.safe("x"), table, s.one("COMMIT", "ROLLBACK"))
}

// array draws changes of a column that is declared as an array.
func (s statements) array() string {
	value := s.one("ARRAY[3, 1, 2]", "'{}'", "'{4,NULL,5}'", "NULL", "array_append(ARRAY[7], 8)", "ARRAY(SELECT id FROM app.pub ORDER BY id LIMIT 3)", "'{6}'", "ARRAY[1, 2] || 9")
	if s.random.IntN(2) == 0 {
		return fmt.Sprintf("INSERT INTO app.list (id, tags) VALUES (%d, %s) ON CONFLICT (id) DO UPDATE SET tags = excluded.tags RETURNING id, tags", s.random.IntN(9), value)
	}
	return fmt.Sprintf("UPDATE app.list SET tags = %s WHERE %s RETURNING id, tags", value, s.one("id = 3", "1 = ANY (tags)", "tags[1] = '3'", "tags IS NULL", "id < 4"))
}

// arrayRead draws queries about it.
func (s statements) arrayRead() string {
	return s.one(
		"SELECT id, tags, tags[1], tags[2:3] FROM app.list ORDER BY id", "SELECT id FROM app.list WHERE 2 = ANY (tags) ORDER BY id",
		"SELECT l.id, u FROM app.list l, unnest(l.tags) AS u ORDER BY 1, 2", "SELECT id FROM app.list WHERE 3 > ALL (tags) ORDER BY id",
		"SELECT array_agg(id ORDER BY id DESC) FROM app.list", "SELECT id, cardinality(tags::int[]), array_length(tags::int[], 1) FROM app.list ORDER BY id",
		"SELECT count(*) FROM app.list a JOIN app.list b ON a.tags = b.tags",
	)
}
