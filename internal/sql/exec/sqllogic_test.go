package exec_test

import (
	"bufio"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/sql/exec"
)

// TestSQLLogic runs scripts in the sqllogictest text format, each on a fresh node: those of test/sqllogic,
// or the files that the environment variable SQLLOGIC_FILES lists.
func TestSQLLogic(t *testing.T) {
	t.Parallel()
	for _, file := range logicFiles(t) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			records, err := readLogic(file)
			if err != nil {
				t.Fatal(err)
			}
			n := startNode(t, func(deps *exec.Deps) { deps.Limits = exec.Limits{} })
			for _, record := range records {
				if message := record.check(t, n); message != "" {
					t.Errorf("%s:%d: %s\n%s", file, record.line, message, record.sql)
				}
			}
		})
	}
}

// logicFiles lists the scripts that are to be run.
func logicFiles(t *testing.T) []string {
	t.Helper()
	files := strings.Fields(os.Getenv("SQLLOGIC_FILES"))
	if len(files) > 0 {
		return files
	}
	found, err := filepath.Glob(filepath.Join("..", "..", "..", "test", "sqllogic", "*.slt"))
	if err != nil || len(found) == 0 {
		t.Fatalf("no scripts in test/sqllogic: %v", err)
	}
	return found
}

// logicRecord is one statement or query of a script and what is expected of it.
type logicRecord struct {
	line     int
	words    []string // of the first line: statement ok, query II rowsort …
	sql      string
	expected []string
}

// readLogic parses a script: records are separated by empty lines, # starts a comment.
func readLogic(file string) ([]logicRecord, error) {
	opened, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer opened.Close() //nolint:errcheck // it was only read
	var records []logicRecord
	var lines []string
	first := 0
	flush := func() {
		if record, ok := parseLogic(lines, first); ok {
			records = append(records, record)
		}
		lines = nil
	}
	scanner := bufio.NewScanner(opened)
	scanner.Buffer(nil, 1<<20)
	for number := 1; scanner.Scan(); number++ {
		line := strings.TrimRight(scanner.Text(), " \t\r")
		switch {
		case line == "halt":
			flush()
			return records, nil
		case line == "":
			flush()
		case strings.HasPrefix(line, "#"):
		default:
			if len(lines) == 0 {
				first = number
			}
			lines = append(lines, line)
		}
	}
	flush()
	return records, scanner.Err()
}

func parseLogic(lines []string, first int) (logicRecord, bool) {
	for len(lines) > 0 {
		words := strings.Fields(lines[0])
		switch words[0] {
		case "skipif":
			if words[1] == "kalamdb" {
				return logicRecord{}, false
			}
		case "onlyif":
			if words[1] != "kalamdb" {
				return logicRecord{}, false
			}
		case "hash-threshold":
			return logicRecord{}, false
		default:
			record := logicRecord{line: first, words: words}
			sql, expected, _ := strings.Cut(strings.Join(lines[1:], "\n")+"\n", "\n----\n")
			record.sql = strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(sql), ";"))
			if expected = strings.TrimRight(expected, "\n"); expected != "" {
				record.expected = strings.Split(expected, "\n")
			}
			return record, true
		}
		lines = lines[1:]
	}
	return logicRecord{}, false
}

// check runs a record and says what is wrong with its outcome.
func (r *logicRecord) check(t *testing.T, n *node) string {
	t.Helper()
	response, err := n.run(t, admin(), r.sql)
	switch {
	case r.words[0] == "statement" && r.words[1] == "error":
		if err == nil {
			return "succeeded, but must fail"
		}
		if pattern := strings.Join(r.words[2:], " "); pattern != "" && !regexp.MustCompile(pattern).MatchString(err.Error()) {
			return fmt.Sprintf("fails with %q, want a match of %q", err, pattern)
		}
		return ""
	case err != nil:
		return err.Error()
	case r.words[0] == "statement":
		return ""
	case r.words[0] != "query" || len(r.words) < 2 || len(response.Results) != 1:
		return "unknown record " + strings.Join(r.words, " ")
	}
	types, mode := r.words[1], "nosort"
	if len(r.words) > 2 {
		mode = r.words[2]
	}
	var rows [][]string
	for _, row := range response.Results[0].Rows {
		if len(row) != len(types) {
			return fmt.Sprintf("gives %d columns, want %d", len(row), len(types))
		}
		values := make([]string, len(row))
		for i := range row {
			values[i] = logicValue(row[i], types[i])
		}
		rows = append(rows, values)
	}
	return r.compare(rows, mode)
}

// threePlaces prints a number of any type with three places.
func threePlaces(value datum.Datum) string {
	double, err := datum.Cast(value, datum.Of(datum.Double))
	if err != nil {
		return err.Error()
	}
	return strconv.FormatFloat(double.Float()+0, 'f', 3, 64)
}

// logicValue prints a value as the type letter of a query asks: I, R or T, or F for numbers of any type with three places.
func logicValue(value datum.Datum, letter byte) string {
	kind := value.Kind()
	switch {
	case value.IsNull():
		return "NULL"
	case letter == 'R' && kind.IsFloat(), letter == 'F':
		return threePlaces(value)
	case letter == 'I' && kind.IsFloat():
		return strconv.FormatInt(int64(value.Float()), 10)
	case letter == 'I' && kind == datum.Boolean && value.Bool():
		return "1"
	case letter == 'I' && kind == datum.Boolean:
		return "0"
	case value.String() == "":
		return "(empty)"
	}
	return value.String()
}

// compare accepts the expected values one in a line, one row in a line, or as a count and a hash.
func (r *logicRecord) compare(rows [][]string, mode string) string {
	if mode == "rowsort" {
		slices.SortFunc(rows, slices.Compare)
	}
	var values, lines []string
	for _, row := range rows {
		values = append(values, row...)
		lines = append(lines, strings.Join(row, " "))
	}
	if mode == "valuesort" {
		slices.Sort(values)
	}
	if len(r.expected) == 1 && strings.Contains(r.expected[0], " values hashing to ") {
		sum := md5.Sum([]byte(strings.Join(values, "\n") + "\n"))
		if got := fmt.Sprintf("%d values hashing to %s", len(values), hex.EncodeToString(sum[:])); got != r.expected[0] {
			return "gives " + got + ", want " + r.expected[0]
		}
		return ""
	}
	expected := make([]string, len(r.expected))
	for i, line := range r.expected {
		expected[i] = strings.Join(strings.Fields(line), " ")
	}
	if mode == "rowsort" && len(expected) == len(lines) {
		slices.Sort(expected)
		slices.Sort(lines)
	}
	if slices.Equal(r.expected, values) || slices.Equal(expected, lines) {
		return ""
	}
	return "gives\n" + strings.Join(lines, "\n") + "\nwant\n" + strings.Join(r.expected, "\n")
}
