package parse_test

import (
	"strings"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
)

// benchmarkParse parses one text over and over.
func benchmarkParse(b *testing.B, text string) {
	b.Helper()
	b.ReportAllocs()
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if _, err := parse.Parse(text); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParsePointSelect(b *testing.B) {
	benchmarkParse(b, "SELECT id, name FROM app.users WHERE id = $1")
}

func BenchmarkParseInsert(b *testing.B) {
	benchmarkParse(b, "INSERT INTO app.users (id, name, email) VALUES ($1, $2, $3)")
}

func BenchmarkParseJoin(b *testing.B) {
	benchmarkParse(b, "SELECT u.id, count(*) AS n FROM app.users u LEFT JOIN app.orders o ON o.user_id = u.id AND o.total > 10 "+
		"WHERE u.name LIKE 'a%' GROUP BY u.id HAVING count(*) > 1 ORDER BY n DESC LIMIT 10")
}

func BenchmarkParseThousandRows(b *testing.B) {
	benchmarkParse(b, "INSERT INTO t (a, b) VALUES (1, 'text')"+strings.Repeat(", (1, 'text')", 999))
}
