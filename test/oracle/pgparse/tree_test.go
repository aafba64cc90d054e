package pgparse

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
)

// differences are the ways in which a printed statement is meant to give another tree than what was written.
var differences = []struct {
	reason  string
	pattern *regexp.Regexp // of the statement as it was written
}{
	{"CURRENT_SCHEMA() is CURRENT_SCHEMA", regexp.MustCompile(`(?i)current_schema\(\)`)},
	{"a subscript of ARRAY[..] is printed without parentheses", regexp.MustCompile(`(?i)\(ARRAY\[.*\]\)\[`)},
	{"ROW(..) and (..) are one row", regexp.MustCompile(`(?i)\brow\(|\) = \(`)},
	{"a frame without an end is printed with CURRENT ROW", regexp.MustCompile(`(?i)(rows|range|groups) (current row|[0-9]+ preceding|unbounded preceding)( exclude [a-z ]+)?\)`)},
	{"a field of a field is printed without parentheses", regexp.MustCompile(`\(\(a\)\.b\)\.c`)},
	{"LIMIT ALL is none", regexp.MustCompile(`(?i)limit all`)},
	{"a plus sign in front is dropped", regexp.MustCompile(`SELECT \+a`)},
	{"an operator ends before a sign, here; PostgreSQL reads ||-", regexp.MustCompile(`\|\|-`)},
	{"SUBSTRING(x FOR n) casts n in PostgreSQL", regexp.MustCompile(`(?i)substring\((a|'hello') for`)},
	{"operators that have a word are printed as the word", regexp.MustCompile(`~~`)},
	{"operators that are functions are printed as such", regexp.MustCompile(`\^@|\|/|@ -`)},
	{"ORDER BY x USING > is DESC", regexp.MustCompile(`(?i) using [<>]`)},
	{"FOR UPDATE and its sisters are not kept", regexp.MustCompile(`(?i) for (no key update|update|key share|share)\b`)},
	{"TRUNCATE is a DELETE of all rows", regexp.MustCompile(`(?i)^truncate\b`)},
	{"N'..' is text, not BPCHAR", regexp.MustCompile(`N'x'`)},
}

// TestPrintedTreesAreEqual prints every query and change of the scripts and of the parser's seeds that PostgreSQL's parser reads
// too. What is printed must give it the same tree as what was written.
func TestPrintedTreesAreEqual(t *testing.T) {
	compared, foreign, excused := 0, 0, map[string]int{}
	for _, sql := range statements(t) {
		statement, err := parse.Parse(sql)
		if err != nil {
			continue
		}
		switch statement.(type) {
		case *parse.Query, *parse.Insert, *parse.Update, *parse.Delete:
		default:
			continue
		}
		want, err := tree(sql)
		if err != nil {
			foreign++
			continue
		}
		printed := parse.Print(statement)
		got, err := tree(printed)
		if err == nil && got == want {
			compared++
			continue
		}
		if reason := known(sql); reason != "" {
			excused[reason]++
			continue
		}
		t.Errorf("written: %.300s\nprinted: %.300s\nerror: %v\n%s", sql, printed, err, firstDifference(want, got))
	}
	for reason, times := range excused {
		t.Logf("%d times: %s", times, reason)
	}
	t.Logf("%d statements give equal trees, %d are none of PostgreSQL's", compared, foreign)
	if compared < 3000 {
		t.Errorf("only %d statements were compared", compared)
	}
}

func known(sql string) string {
	for _, d := range differences {
		if d.pattern.MatchString(sql) {
			return d.reason
		}
	}
	return ""
}

var places = regexp.MustCompile(`"(location|stmt_len|stmt_location|list_start|list_end)":-?[0-9]+,?`)

// tree is PostgreSQL's tree of a statement without places.
func tree(sql string) (string, error) {
	text, err := pg.ParseToJSON(sql)
	text = places.ReplaceAllString(text, "")
	text = strings.ReplaceAll(text, "SORTBY_ASC", "SORTBY_DEFAULT") // ASC says nothing new
	// Notations such as SUBSTRING(x FROM 1) are printed as the calls that they stand for.
	text = strings.ReplaceAll(text, `{"String":{"sval":"pg_catalog"}},`, "")
	text = strings.ReplaceAll(text, "COERCE_SQL_SYNTAX", "COERCE_EXPLICIT_CALL")
	text = strings.ReplaceAll(text, `{"sval":"position"}`, `{"sval":"strpos"}`)
	return strings.ReplaceAll(text, ",}", "}"), err
}

func firstDifference(a, b string) string {
	i := 0
	for i < len(a) && i < len(b) && a[i] == b[i] {
		i++
	}
	cut := func(s string) string { return s[max(0, i-60):min(len(s), i+120)] }
	return "written: …" + cut(a) + "\nprinted: …" + cut(b)
}

// statements lists what the scripts and the seeds hold.
func statements(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("../../sqllogic/*.slt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	var list []string
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for record := range strings.SplitSeq(string(text), "\n\n") {
			var lines []string
			for line := range strings.SplitSeq(record, "\n") {
				if !strings.HasPrefix(line, "#") && line != "" {
					lines = append(lines, line)
				}
			}
			if len(lines) < 2 || !strings.HasPrefix(lines[0], "query") && !strings.HasPrefix(lines[0], "statement ok") {
				continue
			}
			sql, _, _ := strings.Cut(strings.Join(lines[1:], "\n"), "\n----")
			list = append(list, sql)
		}
	}
	seeds, err := os.ReadFile("../../../internal/sql/parse/testdata/seeds.sql")
	if err != nil {
		t.Fatal(err)
	}
	return append(list, strings.Split(string(seeds), "\n")...)
}
