package oracle

import (
	"context"
	"crypto/md5"
	"database/sql"
	"encoding/hex"
	"fmt"
	"math/big"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/duckdb/duckdb-go/v2"
)

// dialect finds queries that this server means to refuse: see differences.
var dialect = regexp.MustCompile(`^SELECT (a .*(UNION|INTERSECT|EXCEPT)( ALL)? SELECT c|c .*(UNION|INTERSECT|EXCEPT)( ALL)? SELECT a|.*M(IN|AX)\(CASE WHEN EXISTS|.*FILTER \(WHERE [^)]*\(SELECT)`)

// mostValues is how many values of a result a script spells out; more are given as a hash.
const mostValues = 12

// TestWriteScripts writes scripts for test/sqllogic into the directory WRITE: made-up queries of several areas, with the results
// that DuckDB gives. What this server answers plays no part in it; internal/sql/exec.TestSQLLogic compares.
func TestWriteScripts(t *testing.T) {
	dir := os.Getenv("WRITE")
	if dir == "" {
		t.Skip("WRITE names no directory")
	}
	seed, count := number("SEED", 1), int(number("N", 300)) //nolint:gosec // a count of queries
	for i, area := range areas {
		db := openDuckDB(t)
		random := rand.New(rand.NewPCG(seed, uint64(i))) //nolint:gosec // a position
		var out strings.Builder
		fmt.Fprintf(&out, "# Made-up queries about %s. The results are those of DuckDB; test/oracle wrote them.\n", area.name)
		for _, statement := range append(tables(random), timeTable(random)...) {
			if _, err := db.ExecContext(t.Context(), statement); err != nil {
				t.Fatalf("%.80s: %v", statement, err)
			}
			fmt.Fprintf(&out, "\nstatement ok\n%s\n", statement)
		}
		s := &areaSpeaker{speaker: speaker{random: random}}
		seen := map[string]bool{}
		for written, tries := 0, 0; written < count && tries < 20*count; tries++ {
			query := area.make(s)
			if seen[query] || dialect.MatchString(query) {
				continue
			}
			seen[query] = true
			if record, ok := record(t.Context(), db, query); ok {
				out.WriteString(record)
				written++
			}
		}
		if err := os.WriteFile(filepath.Join(dir, "duckdb_"+area.name+".slt"), []byte(out.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// record runs a query and writes it with its result; ok is false when it fails or gives what no script can hold.
func record(ctx context.Context, db *sql.DB, query string) (text string, ok bool) {
	found, err := db.QueryContext(ctx, query)
	if err != nil {
		return "", false
	}
	defer found.Close() //nolint:errcheck // it was only read
	kinds, err := found.ColumnTypes()
	if err != nil {
		return "", false
	}
	letters := make([]byte, len(kinds))
	var rows [][]string
	for found.Next() {
		values, places := make([]any, len(kinds)), make([]any, len(kinds))
		for i := range values {
			places[i] = &values[i]
		}
		if err := found.Scan(places...); err != nil {
			return "", false
		}
		row := make([]string, len(values))
		for i, value := range values {
			if row[i], letters[i], ok = printed(value, kinds[i].DatabaseTypeName()); !ok {
				return "", false
			}
		}
		rows = append(rows, row)
	}
	if found.Err() != nil {
		return "", false
	}
	for i := range letters {
		if letters[i] == 0 {
			letters[i] = letterOf(kinds[i].DatabaseTypeName())
		}
	}
	mode := ""
	if !strings.Contains(query, "ORDER BY everything") {
		mode = " rowsort"
		slices.SortFunc(rows, slices.Compare)
	}
	var values []string
	var lines strings.Builder
	for _, row := range rows {
		values = append(values, row...)
		lines.WriteString(strings.Join(row, " ") + "\n")
	}
	expected := lines.String()
	if len(values) > mostValues {
		sum := md5.Sum([]byte(strings.Join(values, "\n") + "\n")) //nolint:gosec // the format says MD5
		expected = fmt.Sprintf("%d values hashing to %s\n", len(values), hex.EncodeToString(sum[:]))
	}
	return fmt.Sprintf("\nquery %s%s\n%s\n----\n%s", letters, mode, query, expected), true
}

func letterOf(kind string) byte {
	switch {
	case kind == "DOUBLE" || kind == "FLOAT" || strings.HasPrefix(kind, "DECIMAL"):
		return 'F'
	case strings.HasSuffix(kind, "INT") || kind == "INTEGER":
		return 'I'
	}
	return 'T'
}

// printed is a value as a script holds it.
func printed(value any, kind string) (text string, letter byte, ok bool) {
	letter = letterOf(kind)
	switch v := value.(type) {
	case nil:
		return "NULL", letter, true
	case bool:
		return map[bool]string{true: "t", false: "f"}[v], letter, true
	case float64:
		if v != v || v > 1e12 || v < -1e12 {
			return "", 0, false
		}
		return strconv.FormatFloat(v+0, 'f', 3, 64), letter, true
	case duckdb.Decimal:
		f, _ := new(big.Float).Quo(new(big.Float).SetInt(v.Value), new(big.Float).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(v.Scale)), nil))).Float64()
		return strconv.FormatFloat(f, 'f', 3, 64), letter, true
	case time.Time:
		if kind == "DATE" {
			return v.UTC().Format("2006-01-02"), letter, true
		}
		return v.UTC().Format("2006-01-02 15:04:05.999999"), letter, true
	case string:
		if v == "" {
			return "(empty)", letter, true
		}
		return v, letter, !strings.ContainsAny(v, "\n\r\t") && strings.TrimSpace(v) == v && !strings.Contains(v, "  ")
	case int8, int16, int32, int64, *big.Int:
		return fmt.Sprint(v), letter, true
	}
	return "", 0, false
}
