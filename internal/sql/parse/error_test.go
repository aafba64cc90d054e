package parse_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
)

// failed returns the located error of a text that must not parse.
func failed(t *testing.T, text string) *fault.Error {
	t.Helper()
	tree, err := parse.Parse(text)
	var located *fault.Error
	if !errors.As(err, &located) {
		t.Fatalf("Parse gives %T and %v, want a located error", tree, err)
	}
	return located
}

func TestErrorsNamePlaceTokenAndExpectation(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text         string
		line, column int
		message      string
	}{
		{"DELETE FORM t", 1, 8, `unexpected "FORM", expected FROM`},
		{"", 1, 1, `unexpected end of statement, expected a statement`},
		{"  -- x\n", 2, 1, `unexpected end of statement, expected a statement`},
		{"SELECT 1 SELECT 2", 1, 10, `unexpected "SELECT", expected end of statement`},
		{"SELECT 1; SELECT 2", 1, 11, `unexpected "SELECT", expected end of statement`},
		{"SELEC 1", 1, 1, `unexpected "SELEC", expected a statement`},
		{"42", 1, 1, `unexpected "42", expected a statement`},
		{"SELECT a FROM t GROUP BY ROLLUP ()", 1, 34, `unexpected ")", expected an expression`},
		{"SELECT a FROM t GROUP BY GROUPING SETS a", 1, 40, `unexpected "a", expected "("`},
		{"SELECT * FROM (WITH d AS (DELETE FROM t) SELECT 1) x", 1, 27, `a WITH that changes rows must stand at the top of the statement`},
		{"WITH a AS (WITH d AS (UPDATE t SET a = 1) SELECT 1) SELECT 1", 1, 23, `a WITH that changes rows must stand at the top of the statement`},
		{"CREATE VIEW v AS WITH d AS (INSERT INTO t VALUES (1)) SELECT 1", 1, 29, `a WITH that changes rows must stand at the top of the statement`},
		{"WITH d AS (DROP TABLE t) SELECT 1", 1, 12, `unexpected "DROP", expected SELECT, VALUES or a query in parentheses`},
		{"SELECT", 1, 7, `unexpected end of statement, expected an expression`},
		{"SELECT U&'a' UESCAPE", 1, 21, `invalid escape character, expected one character in quotes behind UESCAPE: no digit, letter from a to f, blank, quote or +`},
		{"SELECT U&'!00g1'\n  UESCAPE '!'", 1, 8, `invalid escape in the Unicode string, expected ! and 4 hexadecimal digits of a character`},
		{"SELECT U&'a'\n  UESCAPE 'ab'", 2, 11, `invalid escape character, expected one character in quotes behind UESCAPE: no digit, letter from a to f, blank, quote or +`},
		{"SELECT a FROM", 1, 14, `unexpected end of statement, expected the name of a table`},
		{"SELECT a FROM t WHERE", 1, 22, `unexpected end of statement, expected an expression`},
		{"SELECT a\nFROM t\n WHERE a = = 1", 3, 12, `unexpected "=", expected an expression`},
		{"SELECT 'é' || 'ö' )", 1, 19, `unexpected ")", expected end of statement`},
		{"SELECT (1", 1, 10, `unexpected end of statement, expected ")"`},
		{"SELECT (1, 2", 1, 13, `unexpected end of statement, expected ")"`},
		{"SELECT f(1", 1, 11, `unexpected end of statement, expected ")"`},
		{"SELECT a FROM t GROUP a", 1, 23, `unexpected "a", expected BY`},
		{"SELECT a FROM t ORDER a", 1, 23, `unexpected "a", expected BY`},
		{"SELECT a FROM t JOIN u", 1, 23, `unexpected end of statement, expected ON or USING`},
		{"SELECT a FROM t LEFT u ON x", 1, 22, `unexpected "u", expected JOIN`},
		{"SELECT a FROM t LIMIT", 1, 22, `unexpected end of statement, expected an expression`},
		{"SELECT a b c", 1, 12, `unexpected "c", expected end of statement`},
		{"SELECT a < b < c", 1, 14, `unexpected "<", expected parentheses around one of the comparisons`},
		{"SELECT a IS 5", 1, 13, `unexpected "5", expected NULL, TRUE, FALSE, UNKNOWN, DISTINCT FROM or NORMALIZED`},
		{"SELECT a IS NULL IS NULL", 1, 18, `unexpected "IS", expected parentheses around one of the comparisons`},
		{"SELECT a LIKE b LIKE c", 1, 17, `unexpected "LIKE", expected parentheses around one of the comparisons`},
		{"SELECT a IN 1", 1, 13, `unexpected "1", expected "("`},
		{"SELECT a IN ()", 1, 14, `unexpected ")", expected an expression`},
		{"SELECT a BETWEEN 1", 1, 19, `unexpected end of statement, expected AND`},
		{"SELECT CASE END", 1, 13, `unexpected "END", expected an expression`},
		{"SELECT CASE WHEN a", 1, 19, `unexpected end of statement, expected THEN`},
		{"SELECT CASE WHEN a THEN b", 1, 26, `unexpected end of statement, expected WHEN, ELSE or END`},
		{"SELECT CAST(a, int)", 1, 14, `unexpected ",", expected AS`},
		{"SELECT a::", 1, 11, `unexpected end of statement, expected the name of a type`},
		{"SELECT a::1", 1, 11, `unexpected "1", expected the name of a type`},
		{"SELECT a::\"Big Int\"", 1, 11, `unexpected "Big Int", expected the name of a type`},
		{"SELECT 'abc", 1, 8, `unterminated string, expected "'"`},
		{"SELECT \"abc", 1, 8, `unterminated quoted identifier, expected '"'`},
		{"SELECT \"\"", 1, 8, `a quoted identifier is empty, expected a name`},
		{"SELECT `a", 1, 8, "unterminated quoted identifier, expected '`'"},
		{"SELECT E'\\u12'", 1, 8, "invalid escape \"\\u\" in the string, expected 4 hexadecimal digits of a character"},
		{"SELECT E'\\x00'", 1, 8, `the escapes of the string do not make valid text`},
		{"SELECT E'\\xff'", 1, 8, `the escapes of the string do not make valid text`},
		{"SELECT E'a", 1, 8, `unterminated string, expected "'"`},
		{"SELECT $$abc", 1, 8, `unterminated string, expected $$`},
		{"SELECT $tag$abc$tag", 1, 8, `unterminated string, expected $tag$`},
		{"SELECT $", 1, 8, `unexpected "$", expected a parameter such as $1`},
		{"SELECT $0", 1, 8, `unexpected "$0", expected a parameter from $1 to $65535`},
		{"SELECT $70000", 1, 8, `unexpected "$70000", expected a parameter from $1 to $65535`},
		{"SELECT $1a", 1, 10, `unexpected "a" behind the parameter "$1", expected a space or an operator`},
		{"SELECT 12abc", 1, 10, `unexpected "abc" behind the number "12", expected a space or an operator`},
		{"SELECT 0x", 1, 8, `invalid number "0x", expected digits of base 16`},
		{"SELECT 1e", 1, 8, `invalid number "1e", expected digits after the exponent sign`},
		{"SELECT 1.5.5", 1, 11, `unexpected ".5", expected end of statement`},
		{"SELECT X'0'", 1, 8, `invalid byte string, expected pairs of hexadecimal digits`},
		{"SELECT X'zz'", 1, 8, `invalid byte string, expected pairs of hexadecimal digits`},
		{"SELECT /* a /* b */ c", 1, 8, `unterminated comment, expected "*/"`},
		{"SELECT a ; é \x01", 1, 12, `unexpected "é", expected end of statement`},
		{"SELECT \u00a0 1", 1, 8, "unexpected character '\\u00a0'"},
		{"SELECT \\", 1, 8, `unexpected character '\\'`},
		{"SELECT a.b.c.d.e", 1, 15, `unexpected ".", expected a name of at most four parts`},
		{"SELECT * FROM a.b.c.d", 1, 20, `unexpected ".", expected a name of at most three parts`},
		{"SELECT EXISTS (1)", 1, 16, `unexpected "1", expected a query`},
		{"SELECT ARRAY(1)", 1, 14, `unexpected "1", expected a query`},
		{"SELECT ARRAY[1", 1, 15, `unexpected end of statement, expected "]"`},
		{"SELECT a[1", 1, 11, `unexpected end of statement, expected "]"`},
		{"SELECT INTERVAL '1' DAY TO YEAR", 1, 8, `unexpected range of units in the interval, expected a finer unit after TO`},
		{"SELECT INTERVAL 5", 1, 18, `unexpected end of statement, expected a unit such as DAY`},
		{"SELECT sum(a) OVER 5", 1, 20, `unexpected "5", expected the name of a window`},
		{"SELECT sum(a) OVER (ROWS BETWEEN CURRENT ROW AND 1 PRECEDING)", 1, 21, `the frame starts after its end, expected an earlier start`},
		{"SELECT sum(a) OVER (ROWS 5)", 1, 27, `unexpected ")", expected PRECEDING or FOLLOWING`},
		{"SELECT DEFAULT", 1, 8, `unexpected "DEFAULT", expected an expression`},
		{"INSERT t VALUES (1)", 1, 8, `unexpected "t", expected INTO`},
		{"INSERT INTO t", 1, 14, `unexpected end of statement, expected VALUES, SELECT or DEFAULT VALUES`},
		{"INSERT INTO t (a b) VALUES (1)", 1, 18, `unexpected "b", expected ")"`},
		{"INSERT INTO t VALUES 1", 1, 22, `unexpected "1", expected "("`},
		{"INSERT INTO t VALUES ()", 1, 23, `unexpected ")", expected an expression`},
		{"INSERT INTO t VALUES (1) ON CONFLICT DO", 1, 40, `unexpected end of statement, expected NOTHING or UPDATE`},
		{"UPDATE t a = 1", 1, 12, `unexpected "=", expected SET`},
		{"UPDATE t SET a", 1, 15, `unexpected end of statement, expected "="`},
		{"UPDATE t SET a == 1", 1, 17, `unexpected "=", expected an expression`},
		{"WITH a AS SELECT 1 SELECT 2", 1, 11, `unexpected "SELECT", expected "("`},
		{"SELECT 1 UNION", 1, 15, `unexpected end of statement, expected SELECT, VALUES or a query in parentheses`},
		{"SELECT 1 FOR LOCK", 1, 14, `unexpected "LOCK", expected UPDATE or SHARE`},
		{"CREATE", 1, 7, `unexpected end of statement, expected TABLE, VIEW, INDEX, NAMESPACE, USER, STORAGE or TOPIC`},
		{"CREATE FAST TABLE t", 1, 8, `unexpected "FAST", expected TABLE, VIEW, INDEX, NAMESPACE, USER, STORAGE or TOPIC`},
		{"CREATE TABLE t", 1, 15, `unexpected end of statement, expected "("`},
		{"CREATE TABLE t ()", 1, 17, `unexpected ")", expected a column name`},
		{"CREATE TABLE t (a)", 1, 18, `unexpected ")", expected the name of a type`},
		{"CREATE TABLE t (select int)", 1, 17, `unexpected "select", expected a column name`},
		{"CREATE TABLE t (PRIMARY KEY (a))", 1, 33, `unexpected end of statement, expected column definitions or AS`},
		{"CREATE TABLE t (a int NOT 5)", 1, 27, `unexpected "5", expected NULL`},
		{"CREATE TABLE t (a int NULL NOT NULL)", 1, 28, `the column is declared both NULL and NOT NULL, expected one of them`},
		{"CREATE TABLE t (a int) WITH (x)", 1, 31, `unexpected ")", expected "="`},
		{"ALTER TABLE t", 1, 14, `unexpected end of statement, expected ADD, DROP, MODIFY, ALTER, RENAME, SET or CREATE INDEX`},
		{"ALTER TABLE t FROB", 1, 15, `unexpected "FROB", expected ADD, DROP, MODIFY, ALTER, RENAME, SET or CREATE INDEX`},
		{"DROP t", 1, 6, `unexpected "t", expected TABLE, VIEW, INDEX, NAMESPACE, USER, STORAGE or TOPIC`},
		{"DROP TABLE IF t", 1, 15, `unexpected "t", expected end of statement`},
		{"CREATE USER u", 1, 14, `unexpected end of statement, expected PASSWORD, OAUTH or INTERNAL`},
		{"CREATE USER u WITH PASSWORD p ROLE x", 1, 29, `unexpected "p", expected a password in quotes`},
		{"CREATE STORAGE s", 1, 17, `unexpected end of statement, expected a setting such as TYPE or PATH`},
		{"CREATE STORAGE s TYPE s3 TYPE s3", 1, 26, `unexpected second TYPE, expected each setting once`},
		{"STORAGE FLUSH t", 1, 15, `unexpected "t", expected TABLE or ALL`},
		{"KILL 5", 1, 6, `unexpected "5", expected JOB, QUERY, TRANSACTION or LIVE QUERY`},
		{"CREATE SCHEDULE s DO SELECT 1", 1, 19, `unexpected "DO", expected EVERY or CRON`},
		{"ALTER SCHEDULE s", 1, 17, `unexpected end of statement, expected SET, PAUSE or RESUME`},
		{"KILL JOB", 1, 9, `unexpected end of statement, expected the identifier of a job`},
		{"EXECUTE AS USER x SELECT 1", 1, 19, `unexpected "SELECT", expected "("`},
		{"EXECUTE AS USER 'x' (SELECT 1; SELECT 2)", 1, 30, `unexpected ";", expected ")"`},
		{"CLUSTER DANCE", 1, 9, `unexpected "DANCE", expected SNAPSHOT, PURGE, TRIGGER ELECTION, TRANSFER LEADER, STEPDOWN, DRAIN, RESUME, CLEAR, REBALANCE, RETAIN CHANGES, JOIN or LEAVE`},
		{"CLUSTER REBALANCE DRY", 1, 22, `unexpected end of statement, expected RUN`},
		{"CLUSTER STEPDOWN ON 3", 1, 21, `unexpected "3", expected GROUP`},
		{"CLUSTER DRAIN 3 ON GROUP 10", 1, 17, `unexpected "ON", expected the end of the statement, which concerns every group`},
		{"CLUSTER RETAIN", 1, 15, `unexpected end of statement, expected CHANGES`},
		{"CLUSTER RETAIN CHANGES", 1, 23, `unexpected end of statement, expected ENTRIES, BYTES or SECONDS`},
		{"CLUSTER RETAIN CHANGES BYTES 0", 1, 30, `unexpected "0", expected a number above zero`},
		{"CLUSTER RETAIN CHANGES BYTES 7 BYTES 8", 1, 32, `unexpected "BYTES", expected end of statement`},
		{"CLUSTER PURGE 5", 1, 15, `unexpected "5", expected UPTO`},
		{"CONSUME t", 1, 9, `unexpected "t", expected FROM`},
		{"ACK t", 1, 6, `unexpected end of statement, expected GROUP`},
		{"SUBSCRIBE t", 1, 11, `unexpected "t", expected TO`},
		{"SET x", 1, 6, `unexpected end of statement, expected "=" or TO`},
		{"SHOW STATS t", 1, 12, `unexpected "t", expected FOR`},
		{"EXPLAIN", 1, 8, `unexpected end of statement, expected a statement`},
		{"BEGIN 5", 1, 7, `unexpected "5", expected end of statement`},
		{"SAVEPOINT", 1, 10, `unexpected end of statement, expected the name of a savepoint`},
		{"USE", 1, 4, `unexpected end of statement, expected the name of a namespace`},
		{"CREATE TOPIC t PARTITIONS x", 1, 27, `unexpected "x", expected a number of partitions`},
		{"SELECT \"a\x00\"", 1, 10, `the SQL text holds a zero byte`},
		{"SELECT \xff", 1, 8, `the SQL text is not valid UTF-8`},
	} {
		t.Run(c.text, func(t *testing.T) {
			t.Parallel()
			got := failed(t, c.text)
			want := fmt.Sprintf("syntax error at line %d, column %d: %s", c.line, c.column, c.message)
			if got.Kind != fault.Syntax || got.Line != c.line || got.Column != c.column || got.Message != want {
				t.Errorf("Parse(%q) fails with %v at %d:%d\n\t%s\nwant syntax at %d:%d\n\t%s",
					c.text, got.Kind, got.Line, got.Column, got.Message, c.line, c.column, want)
			}
		})
	}
}

func TestErrorsOfBatchesCountFromTheStart(t *testing.T) {
	t.Parallel()
	batch, err := parse.ParseBatch("SELECT 1;\nSELECT 2;\n  SELEKT 3;")
	var located *fault.Error
	if !errors.As(err, &located) || located.Line != 3 || located.Column != 3 || batch != nil {
		t.Errorf("ParseBatch = %v, %v; want an error at 3:3", batch, err)
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	nested := func(open, middle, shut string, count int) string {
		return "SELECT " + strings.Repeat(open, count) + middle + strings.Repeat(shut, count)
	}
	for name, c := range map[string]struct{ within, beyond string }{
		"text": {
			"SELECT 1" + strings.Repeat(" ", parse.MaxTextBytes-8),
			"SELECT 1" + strings.Repeat(" ", parse.MaxTextBytes-7),
		},
		"parentheses":   {nested("(", "1", ")", 199), nested("(", "1", ")", 200)},
		"calls":         {nested("f(", "1", ")", 199), nested("f(", "1", ")", 200)},
		"subqueries":    {nested("(SELECT ", "1", ")", 199), nested("(SELECT ", "1", ")", 200)},
		"signs":         {nested("- ", "a", "", 199), nested("- ", "a", "", 200)},
		"negations":     {nested("NOT ", "a", "", 199), nested("NOT ", "a", "", 200)},
		"cases":         {nested("CASE WHEN ", "a", " THEN 1 END", 199), nested("CASE WHEN ", "a", " THEN 1 END", 200)},
		"arrays":        {nested("ARRAY[", "1", "]", 99), nested("ARRAY[", "1", "]", 200)},
		"tables":        {"SELECT 1 FROM " + nestedTable(199), "SELECT 1 FROM " + nestedTable(201)},
		"common tables": {nestedWith(199), nestedWith(201)},
		"explanations":  {strings.Repeat("EXPLAIN ", 199) + "SELECT 1", strings.Repeat("EXPLAIN ", 201) + "SELECT 1"},
		"IN lists":      {"SELECT a" + nestedIn(99), "SELECT a" + nestedIn(201)},
		"subscripts":    {"SELECT a" + strings.Repeat("[a", 99) + strings.Repeat("]", 99), "SELECT a" + strings.Repeat("[a", 201) + strings.Repeat("]", 201)},
		"chain":         {"SELECT 1" + strings.Repeat("+1", 10_001), "SELECT 1" + strings.Repeat("+1", 10_002)},
		"casts":         {"SELECT 1" + strings.Repeat("::int", 10_001), "SELECT 1" + strings.Repeat("::int", 10_002)},
		"conditions":    {"SELECT a" + strings.Repeat(" AND a", 99_999), "SELECT a" + strings.Repeat(" AND a", 100_000)},
		"list":          {"SELECT f(1" + strings.Repeat(",1", 99_999) + ")", "SELECT f(1" + strings.Repeat(",1", 100_000) + ")"},
		"unions":        {"VALUES (1)" + strings.Repeat(" UNION VALUES (1)", 1000), "VALUES (1)" + strings.Repeat(" UNION VALUES (1)", 1001)},
		"joins":         {"SELECT 1 FROM a" + strings.Repeat(" CROSS JOIN b", 1000), "SELECT 1 FROM a" + strings.Repeat(" CROSS JOIN b", 1001)},
		"name":          {"SELECT " + strings.Repeat("a", 255), "SELECT " + strings.Repeat("a", 256)},
		"quoted name":   {"SELECT \"" + strings.Repeat("a", 255) + "\"", "SELECT \"" + strings.Repeat("a", 256) + "\""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if tree, err := parse.Parse(c.within); err != nil {
				t.Errorf("within the limit: %v", err)
			} else if again, err := parse.Parse(parse.Print(tree)); err != nil || again == nil {
				t.Errorf("the print of what is within the limit: %v", err)
			}
			if got := failed(t, c.beyond); got.Kind != fault.LimitExceeded || got.Line != 1 || got.Column < 1 {
				t.Errorf("beyond the limit: %v at %d:%d: %s", got.Kind, got.Line, got.Column, got.Message)
			}
		})
	}
}

// nestedTable nests a table in parentheses.
func nestedTable(depth int) string {
	return strings.Repeat("(", depth) + "a CROSS JOIN b" + strings.Repeat(")", depth)
}

// nestedWith nests common tables.
func nestedWith(depth int) string {
	return strings.Repeat("WITH a AS (", depth) + "VALUES (1)" + strings.Repeat(") SELECT * FROM a", depth)
}

// nestedIn nests IN lists.
func nestedIn(depth int) string {
	return strings.Repeat(" IN (a", depth) + strings.Repeat(")", depth)
}

func TestBatchLimit(t *testing.T) {
	t.Parallel()
	if batch, err := parse.ParseBatch(strings.Repeat("COMMIT;", parse.MaxStatements)); err != nil || len(batch) != parse.MaxStatements {
		t.Errorf("ParseBatch within the limit = %d statements, %v", len(batch), err)
	}
	if _, err := parse.ParseBatch(strings.Repeat("COMMIT;", parse.MaxStatements+1)); fault.KindOf(err) != fault.LimitExceeded {
		t.Errorf("ParseBatch beyond the limit = %v, want LimitExceeded", err)
	}
}

// TestRefusalsSayWhatToDo: what PostgreSQL has and this dialect has not is no word out of place: everybody reads what to do instead, at its place.
func TestRefusalsSayWhatToDo(t *testing.T) {
	t.Parallel()
	for text, column := range map[string]int{
		"PREPARE p AS SELECT 1": 1, "DEALLOCATE p": 1, "EXECUTE p": 1, "DECLARE c CURSOR FOR SELECT 1": 1, "COPY t FROM stdin": 1, "NOTIFY c": 1, "LOCK t": 1, "REVOKE ALL ON t FROM b": 1,
		"MERGE INTO t USING u ON true WHEN MATCHED THEN DELETE": 1, "ANALYZE t": 1, "DO 'x'": 1, "CALL f()": 1, "COMMENT ON TABLE t IS 'x'": 1, "DISCARD ALL": 1,
		"CREATE SCHEMA s": 1, "CREATE ROLE r": 1, "CREATE TEMP TABLE t (a INT)": 1, "CREATE MATERIALIZED VIEW v AS SELECT 1": 1, "CREATE SEQUENCE s": 1, "CREATE TRIGGER x": 1,
		"CREATE EXTENSION e": 1, "CREATE POLICY p ON t": 1, "SELECT B'01'": 8, "SELECT a INTO b FROM c": 10, "SELECT * FROM t TABLESAMPLE SYSTEM (1)": 17, "SELECT f(a => 1)": 10,
		"SELECT f(1, a := 2)": 15, "SELECT f(VARIADIC a)": 10, "SELECT f(1, VARIADIC a)": 13, "WITH RECURSIVE t AS (SELECT 1) SEARCH DEPTH FIRST BY a SET b SELECT 1": 32,
		"SELECT FROM t": 8, "SELECT (SELECT FROM t)": 16, "SELECT EXISTS (SELECT 1 FROM (SELECT FROM t) x)": 38, "SELECT EXISTS ((SELECT FROM t))": 24,
		"SELECT * FROM f() AS x(a int)": 26, "SELECT * FROM f() AS (a int)": 19, "SELECT * FROM f() x(a, b text)": 26, "SELECT (t).* FROM t": 12,
		"SELECT * FROM ROWS FROM (f(), g())": 15, "DELETE FROM t WHERE CURRENT OF c": 21,
	} {
		if got := failed(t, text); got.Kind != fault.Unsupported || got.Column != column || got.Line != 1 {
			t.Errorf("%s: %s at %d:%d: %v", text, got.Kind, got.Line, got.Column, got)
		}
	}
	for _, text := range []string{ // such words are names where they can be
		"SELECT prepare, declare, copy, variadic, cycle, search, overlaps, normalize, similar_to FROM merge", "SELECT rows FROM t AS rows", "SELECT current FROM t WHERE current > 1",
	} {
		if _, err := parse.Parse(text); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}
