package parse_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
)

// TestInspectReachesEveryExpression numbers parameters in the order of the text, one in every place that can
// hold an expression, and expects to meet them all in that order.
func TestInspectReachesEveryExpression(t *testing.T) {
	t.Parallel()
	for text, count := range map[string]int{
		"WITH a AS (SELECT $1) SELECT DISTINCT ON ($2) $3, f($4 ORDER BY $5) FILTER (WHERE $6) OVER (PARTITION BY $7 " +
			"ORDER BY $8 ROWS BETWEEN $9 PRECEDING AND $10 FOLLOWING) FROM (SELECT $11) s JOIN u ON $12, g($13) WHERE $14 " +
			"GROUP BY $15 HAVING $16 WINDOW w AS (ORDER BY $17) UNION VALUES ($18, $19) ORDER BY $20 LIMIT $21 OFFSET $22": 22,
		"SELECT -$1, NOT $2, $3 + $4, $5 AND $6, $7 IS NULL, $8 IS DISTINCT FROM $9, $10 BETWEEN $11 AND $12, " +
			"$13 LIKE $14 ESCAPE $15, $16::int, $17 COLLATE c, ($18)[$19:$20], $21 = ANY ($22), $23 = ALL (SELECT $24), " +
			"$25 IN ($26), $27 IN (SELECT $28), EXISTS (SELECT $29), (SELECT $30), ARRAY[$31], ARRAY(SELECT $32), ROW($33), " +
			"CASE $34 WHEN $35 THEN $36 ELSE $37 END, p($38) WITHIN GROUP (ORDER BY $39)": 39,
		"WITH a AS (SELECT $1) INSERT INTO t VALUES ($2) ON CONFLICT (a) WHERE $3 DO UPDATE SET a = $4 WHERE $5 RETURNING $6": 6,
		"WITH a AS (SELECT $1) UPDATE t SET a = $2 FROM f($3) WHERE $4 RETURNING $5":                                          5,
		"WITH a AS (SELECT $1) DELETE FROM t USING f($2) WHERE $3 RETURNING $4":                                               4,
		"EXPLAIN EXECUTE AS USER u (SELECT $1)":                                                                               1,
		"SUBSCRIBE TO t WHERE $1 OPTIONS (a = $2)":                                                                            2,
		"SET x = $1, $2":                         2,
		"ALTER NAMESPACE n SET OPTIONS (a = $1)": 1,
		"CREATE TABLE t (a int DEFAULT $1 CHECK ($2), CHECK ($3)) WITH (a = $4) AS SELECT $5": 5,
		"ALTER TABLE t ADD a int DEFAULT $1":                                                  1,
		"ALTER TABLE t ALTER a SET DEFAULT $1":                                                1,
		"ALTER TABLE t SET (a = $1)":                                                          1,
		"CREATE VIEW v AS SELECT $1":                                                          1,
		"CREATE INDEX i ON t (($1)) WITH (a = $2) WHERE $3":                                   3,
		"CREATE STORAGE s TYPE $1":                                                            1,
		"ALTER STORAGE s SET NAME $1":                                                         1,
		"CREATE TOPIC t WITH (a = $1)":                                                        1,
		"ALTER TOPIC t ADD SOURCE s ON INSERT WHERE $1 WITH (a = $2)":                         2,
	} {
		batch, err := parse.ParseBatch(text)
		if err != nil {
			t.Errorf("ParseBatch(%q): %v", text, err)
			continue
		}
		var want, got []int
		for index := 1; index <= count; index++ {
			want = append(want, index)
		}
		parse.Inspect(batch[0].Statement, func(node parse.Node) bool {
			if param, ok := node.(*parse.Param); ok {
				got = append(got, param.Index)
			}
			return true
		})
		if diff := cmp.Diff(want, got); diff != "" || batch[0].Parameters != count {
			t.Errorf("parameters of %q (%d counted by the parser) differ (-want +got):\n%s", text, batch[0].Parameters, diff)
		}
	}
}

func TestInspectPrunes(t *testing.T) {
	t.Parallel()
	tree, err := parse.Parse("SELECT a + (SELECT b), c")
	if err != nil {
		t.Fatalf("Parse: %v", err)
	}
	var columns []string
	parse.Inspect(tree, func(node parse.Node) bool {
		if column, ok := node.(*parse.ColumnRef); ok {
			columns = append(columns, column.Name)
		}
		_, below := node.(*parse.Subquery)
		return !below
	})
	if diff := cmp.Diff([]string{"a", "c"}, columns); diff != "" {
		t.Errorf("visited columns differ (-want +got):\n%s", diff)
	}
}
