package server

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// twinTables makes the tables that drawn statements are about.
func twinTables(c client) {
	for _, sql := range []string{
		"CREATE NAMESPACE app", "CREATE SHARED TABLE app.pub (id INT PRIMARY KEY, n INT, t TEXT, d DECIMAL(8,2) NOT NULL DEFAULT 1.5)",
		"CREATE USER TABLE app.own (id INT PRIMARY KEY, n INT, t TEXT, d DECIMAL(8,2) NOT NULL DEFAULT 1.5)",
		"CREATE INDEX by_n ON app.pub (n)", "CREATE UNIQUE INDEX by_t ON app.own (t)",
		"CREATE SHARED TABLE app.pub_kept (id INT PRIMARY KEY, n INT, t TEXT, CONSTRAINT pub_alike UNIQUE (n, t))",
		"CREATE USER TABLE app.own_kept (id INT PRIMARY KEY, n INT, t TEXT, CONSTRAINT own_alike UNIQUE (n, t))",
		"CREATE SHARED TABLE app.list (id INT PRIMARY KEY, tags INT[])",
	} {
		c.sql(sql)
	}
}

// TestHotEqualsFlushed runs the same drawn statements on two nodes, of which one moves its rows into files all the time: the answers
// are the same to the letter.
func TestHotEqualsFlushed(t *testing.T) {
	t.Parallel()
	hot := openNode(t, testConfig(t.TempDir()), Options{})
	cold := openNode(t, testConfig(t.TempDir()), Options{})
	waitReady(t, hot, cold)
	warm, flushed := login(t, hot, "root", rootPassword), login(t, cold, "root", rootPassword)
	twinTables(warm)
	twinTables(flushed)
	seed := rand.Uint64()
	s := statements{rand.New(rand.NewPCG(seed, 4))}
	for i := range 240 {
		sql := s.read()
		if s.random.IntN(3) > 0 {
			sql = s.write()
		}
		want, _ := plainAnswer(t, warm, sql)
		got, _ := plainAnswer(t, flushed, sql)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("seed %d: %s\nhot (-) and flushed (+):\n%s", seed, sql, diff)
		}
		if i%16 == 15 {
			flushTable(t, flushed, cold, s.one(s.table(), s.keep(s.table()), "app.list"))
		}
	}
	if got := flushed.grid("SELECT count(*) FROM system.manifest WHERE namespace_id = 'app'"); got == "0" {
		t.Error("nothing was flushed")
	}
}

// TestLiteralsEqualParameters runs statements on two tables, on one with their values written into them and on the other with the
// same values as parameters: answers and rows are the same.
func TestLiteralsEqualParameters(t *testing.T) {
	t.Parallel()
	n := openNode(t, testConfig(t.TempDir()), Options{})
	waitReady(t, n)
	root := login(t, n, "root", rootPassword)
	root.sql("CREATE NAMESPACE app")
	for _, table := range []string{"a", "b"} {
		root.sql("CREATE TABLE app." + table + " (id INT PRIMARY KEY, n BIGINT, t TEXT, d DECIMAL(8,2), f DOUBLE, b BOOLEAN, at TIMESTAMP, u UUID)")
		root.sql("CREATE INDEX by_n_" + table + " ON app." + table + " (n)")
	}
	templates := []string{
		"INSERT INTO %T (id, n, t, d, f, b) VALUES (:i, :i, :s, :d, :f, :b)",
		"INSERT INTO %T (id, n, t, at, u) VALUES (:i, :i, :s, :a, :u) ON CONFLICT (id) DO UPDATE SET n = excluded.n + :i, t = :s",
		"UPDATE %T SET n = n + :i, t = :s WHERE id = :i", "UPDATE %T SET d = :d, b = :b WHERE n > :i AND t <> :s", "DELETE FROM %T WHERE id = :i OR t = :s",
		"SELECT id, n, t FROM %T WHERE id = :i", "SELECT id FROM %T WHERE id IN (:i, :i, :i) ORDER BY id", "SELECT id FROM %T WHERE n BETWEEN :i AND :i ORDER BY id",
		"SELECT id, t FROM %T WHERE t LIKE :p ORDER BY id", "SELECT id FROM %T WHERE d > :d OR f < :f ORDER BY id", "SELECT count(*), sum(n) FROM %T WHERE b = :b",
		"SELECT id FROM %T WHERE at >= :a ORDER BY id", "SELECT id FROM %T WHERE u = :u", "SELECT id, n + :i FROM %T WHERE n % :i = 1 ORDER BY id",
		"SELECT id, coalesce(t, :s) FROM %T ORDER BY n NULLS FIRST, id LIMIT 5", "SELECT t, count(*) FROM %T GROUP BY t HAVING count(*) > :i ORDER BY t",
		"SELECT CASE WHEN n > :i THEN :s ELSE t END FROM %T ORDER BY id", "SELECT x.id FROM %T x JOIN %T y ON x.n = y.id WHERE y.t = :s ORDER BY 1",
		"SELECT id FROM %T WHERE id = (SELECT max(id) FROM %T WHERE n < :i)", "SELECT upper(:s), length(:s), :i::bigint + 1 FROM %T WHERE id < :i",
	}
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 5))
	const all = "SELECT id, n, t, d, f, b, at, u FROM app.%s ORDER BY id"
	held := false
	for i := range 250 {
		if i%50 == 49 {
			held = held || root.grid(fmt.Sprintf(all, "a")) != ""
		}
		literal, numbered, values := filled(random, templates[random.IntN(len(templates))])
		want, _ := plainAnswer(t, root, strings.ReplaceAll(literal, "%T", "app.a"))
		got := parameterAnswer(t, root, strings.ReplaceAll(numbered, "%T", "app.b"), values)
		if diff := cmp.Diff(alike(want), alike(got)); diff != "" {
			t.Fatalf("seed %d: %s\n%s %v\nliterals (-) and parameters (+):\n%s", seed, literal, numbered, values, diff)
		}
	}
	if a, b := root.grid(fmt.Sprintf(all, "a")), root.grid(fmt.Sprintf(all, "b")); a != b || !held {
		t.Errorf("seed %d: with literals\n%s\nwith parameters\n%s", seed, a, b)
	}
}

// filled puts drawn values into a template, once as literals and once as numbered parameters.
func filled(random *rand.Rand, template string) (literal, numbered string, values []any) {
	pick := func(of ...string) string { return of[random.IntN(len(of))] }
	var written, counted strings.Builder
	for i := 0; i < len(template); i++ {
		if template[i] != ':' || template[i+1] == ':' || i > 0 && template[i-1] == ':' {
			written.WriteByte(template[i])
			counted.WriteByte(template[i])
			continue
		}
		i++
		var text string
		var value any
		switch template[i] {
		case 'i':
			number := random.IntN(12)
			text, value = strconv.Itoa(number), number
		case 'd', 'f':
			number := float64(random.IntN(40)) / 4
			text, value = fmt.Sprint(number), number
		case 'b':
			truth := random.IntN(2) == 1
			text, value = strconv.FormatBool(truth), truth
		default:
			word := map[byte]string{
				's': pick("", "a", "ab", "Ä", "it''s"), 'p': pick("a%", "%b", "_", "%"), 'a': pick("2026-01-02T03:04:05Z", "1999-12-31 23:59:59"),
				'u': pick("018f0000-0000-7000-8000-000000000001", "018f0000-0000-7000-8000-000000000002"),
			}[template[i]]
			text, value = "'"+word+"'", strings.ReplaceAll(word, "''", "'")
		}
		written.WriteString(text)
		values = append(values, value)
		fmt.Fprintf(&counted, "$%d", len(values))
	}
	return written.String(), counted.String(), values
}

func parameterAnswer(t *testing.T, c client, sql string, values []any) (answer map[string]any) {
	t.Helper()
	status, body := c.post("/v1/api/sql", map[string]any{"sql": sql, "params": values})
	if err := json.Unmarshal(body, &answer); err != nil {
		t.Fatalf("%s: %d %s: %v", sql, status, body, err)
	}
	delete(answer, "took")
	answer["http"] = status
	return answer
}

// alike leaves out what names the statement: headings of columns without a name, and the words of errors.
func alike(answer map[string]any) map[string]any {
	if answer["http"] != http.StatusOK {
		failure, _ := answer["error"].(map[string]any)
		return map[string]any{"http": answer["http"], "code": failure["code"]}
	}
	results, _ := answer["results"].([]any)
	var rows []any
	for _, result := range results {
		if r, ok := result.(map[string]any); ok {
			rows = append(rows, r["rows"], r["row_count"], r["message"])
		}
	}
	return map[string]any{"rows": rows}
}
