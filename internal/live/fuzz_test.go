package live

import "testing"

// FuzzParseQuery checks that any text gives an error or a statement of which plainSelect takes or refuses the form.
func FuzzParseQuery(f *testing.F) {
	for _, text := range []string{
		"SELECT * FROM n.t WHERE a = 1", "SELECT a, count(*) FROM n.t GROUP BY a ORDER BY 2 DESC LIMIT 3", "SELECT 1; SELECT 2",
		"WITH x AS (SELECT 1) SELECT * FROM x", "VALUES (1)", "SELECT $1 FROM n.t", "SELECT * FROM a, b", "SELECT * FROM (SELECT 1) x",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		node, err := parseQuery(text)
		if err != nil {
			return
		}
		body, ref, err := plainSelect(node)
		if err == nil && (body == nil || ref == nil) {
			t.Fatalf("%q: taken without a table", text)
		}
	})
}
