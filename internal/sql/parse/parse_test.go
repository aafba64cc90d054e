package parse_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
)

// treesEqual compares trees without their positions.
func treesEqual() cmp.Option {
	return cmp.Options{cmpopts.IgnoreTypes(parse.Pos{}), cmpopts.EquateEmpty()}
}

// printCase is a statement and how it is printed; "=" means as it was written.
type printCase struct{ text, printed string }

// checkPrinted parses every case, compares the print, and parses the print again.
func checkPrinted(t *testing.T, cases []printCase) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.text, func(t *testing.T) {
			t.Parallel()
			tree, err := parse.Parse(c.text)
			if err != nil {
				t.Fatalf("Parse(%q): %v", c.text, err)
			}
			want := c.printed
			if want == "=" {
				want = c.text
			}
			printed := parse.Print(tree)
			if printed != want {
				t.Errorf("Print(Parse(%q)) =\n\t%s\nwant\n\t%s", c.text, printed, want)
			}
			again, err := parse.Parse(printed)
			if err != nil {
				t.Fatalf("Parse of the print %q: %v", printed, err)
			}
			if diff := cmp.Diff(tree, again, treesEqual()); diff != "" {
				t.Errorf("the print %q gives another tree (-first +second):\n%s", printed, diff)
			}
		})
	}
}

func TestParseBatchSplitsStatements(t *testing.T) {
	t.Parallel()
	text := "-- first\n;; SELECT 'a;b', \"c;d\", `e;f` /* ; /* nested ; */ */ , $$;$$ ;\n" +
		"\tbegin; -- trailing ; comment\n é := 1"
	if _, err := parse.ParseBatch(text); err == nil {
		t.Fatal("ParseBatch accepted a batch whose last statement is none")
	}
	text = strings.TrimSuffix(text, "é := 1") + "INSERT INTO t VALUES ($2, 'é', $1);;"
	batch, err := parse.ParseBatch(text)
	if err != nil {
		t.Fatalf("ParseBatch: %v", err)
	}
	for i := range batch {
		batch[i].Statement = nil
	}
	want := []parse.Parsed{
		{Text: "SELECT 'a;b', \"c;d\", `e;f` /* ; /* nested ; */ */ , $$;$$", Line: 2, Column: 4},
		{Text: "begin", Line: 3, Column: 2},
		{Text: "INSERT INTO t VALUES ($2, 'é', $1)", Line: 4, Column: 2, Parameters: 2},
	}
	if diff := cmp.Diff(want, batch); diff != "" {
		t.Errorf("batch differs (-want +got):\n%s", diff)
	}
}

func TestParseBatchOfNothing(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", " \n\t", ";;;", "-- only", "/* a */ ; -- b\n;"} {
		batch, err := parse.ParseBatch(text)
		if err != nil || len(batch) != 0 {
			t.Errorf("ParseBatch(%q) = %d statements, %v; want none and no error", text, len(batch), err)
		}
	}
}

func TestPositions(t *testing.T) {
	t.Parallel()
	tree, err := parse.Parse("SELECT 'é',\n  a.b + f(1)\nFROM t")
	if err != nil {
		t.Fatalf("Parse: %v", err)
	}
	body := tree.(*parse.Query).Body.(*parse.Select) //nolint:errcheck // a wrong tree fails the test by panicking
	sum := body.Items[1].Expr.(*parse.Binary)        //nolint:errcheck // as above
	got := []parse.Pos{
		body.Items[0].Expr.Position(), sum.Left.Position(), sum.Position(), sum.Right.Position(),
		body.From[0].Position(),
	}
	want := []parse.Pos{
		{Offset: 7, Line: 1, Column: 8},
		{Offset: 15, Line: 2, Column: 3},
		{Offset: 19, Line: 2, Column: 7},
		{Offset: 21, Line: 2, Column: 9},
		{Offset: 31, Line: 3, Column: 6},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("positions differ (-want +got):\n%s", diff)
	}
}

func TestTreeOfPointSelect(t *testing.T) {
	t.Parallel()
	got, err := parse.Parse(`select Id, "Na""me" as N from App.Users where id = $1 and x is not null limit 5`)
	if err != nil {
		t.Fatalf("Parse: %v", err)
	}
	want := &parse.Query{
		Body: &parse.Select{
			Items: []parse.SelectItem{
				{Expr: &parse.ColumnRef{Name: "id"}},
				{Expr: &parse.ColumnRef{Name: `Na"me`}, Alias: "n"},
			},
			From: []parse.TableExpr{&parse.TableRef{Name: parse.ObjectName{Namespace: "app", Name: "users"}}},
			Where: &parse.Logical{Operands: []parse.Expr{
				&parse.Binary{Op: "=", Left: &parse.ColumnRef{Name: "id"}, Right: &parse.Param{Index: 1}},
				&parse.Is{Kind: parse.IsNull, Not: true, Expr: &parse.ColumnRef{Name: "x"}},
			}},
		},
		Limit: &parse.IntegerLiteral{Value: 5},
	}
	if diff := cmp.Diff(want, got, treesEqual()); diff != "" {
		t.Errorf("tree differs (-want +got):\n%s", diff)
	}
}

func TestPrintMaskedHidesSecrets(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"CREATE USER bob WITH PASSWORD 's3cret' ROLE dba":  "CREATE USER bob WITH PASSWORD '***' ROLE dba",
		"ALTER USER bob SET PASSWORD 's3cret'":             "ALTER USER bob SET PASSWORD '***'",
		"CREATE USER bob WITH OAUTH '{\"s3cret\"}' ROLE u": "CREATE USER bob WITH OAUTH '***' ROLE u",
		"EXECUTE AS USER 'x' (ALTER USER bob SET PASSWORD 's3cret')": "EXECUTE AS USER 'x' (ALTER USER bob SET " +
			"PASSWORD '***')",
		"CREATE STORAGE s TYPE s3 BUCKET 'b' CREDENTIALS '{s3cret}'": "CREATE STORAGE s TYPE 's3' BUCKET 'b' " +
			"CREDENTIALS '***'",
	} {
		tree, err := parse.Parse(text)
		if err != nil {
			t.Fatalf("Parse(%q): %v", text, err)
		}
		if got := parse.PrintMasked(tree); got != want {
			t.Errorf("PrintMasked(%q) = %s, want %s", text, got, want)
		}
	}
}

func TestLiterals(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]parse.Expr{
		`'it''s'`: &parse.StringLiteral{Value: "it's"},
		`E'a\n\t\\\'\x41\101\u00e9\U0001F600''z'`: &parse.StringLiteral{Value: "a\n\t\\'AAé😀'z"},
		`N'x'`:                          &parse.StringLiteral{Value: "x"},
		`$$it's$$`:                      &parse.StringLiteral{Value: "it's"},
		`$a$ $$ $b$ $a$`:                &parse.StringLiteral{Value: " $$ $b$ "},
		`X'00fF'`:                       &parse.BytesLiteral{Value: "\x00\xff"},
		`1_000`:                         &parse.IntegerLiteral{Value: 1000},
		`007`:                           &parse.IntegerLiteral{Value: 7},
		`0x1F`:                          &parse.IntegerLiteral{Value: 31},
		`0b101`:                         &parse.IntegerLiteral{Value: 5},
		`0o17`:                          &parse.IntegerLiteral{Value: 15},
		`-5`:                            &parse.IntegerLiteral{Value: -5},
		`- -5`:                          &parse.IntegerLiteral{Value: 5},
		`9223372036854775807`:           &parse.IntegerLiteral{Value: 9223372036854775807},
		`-9223372036854775808`:          &parse.IntegerLiteral{Value: -9223372036854775808},
		`9223372036854775808`:           &parse.DecimalLiteral{Text: "9223372036854775808"},
		`0xFFFFFFFFFFFFFFFFFF`:          &parse.DecimalLiteral{Text: "4722366482869645213695"},
		`-1.50`:                         &parse.DecimalLiteral{Text: "-1.50"},
		`.5`:                            &parse.DecimalLiteral{Text: ".5"},
		`5.`:                            &parse.DecimalLiteral{Text: "5."},
		`1e-3`:                          &parse.DecimalLiteral{Text: "1e-3"},
		`DATE '2024-01-01'`:             &parse.TypedLiteral{Type: parse.TypeName{Name: "date"}, Value: "2024-01-01"},
		`timestamp(3) 'x'`:              &parse.TypedLiteral{Type: parse.TypeName{Name: "timestamp", Args: []int{3}}, Value: "x"},
		`TIMESTAMP WITH TIME ZONE 'x'`:  &parse.TypedLiteral{Type: parse.TypeName{Name: "timestamp with time zone"}, Value: "x"},
		`double precision '1'`:          &parse.TypedLiteral{Type: parse.TypeName{Name: "double precision"}, Value: "1"},
		`INTERVAL '1 day'`:              &parse.IntervalLiteral{Value: "1 day", Precision: -1},
		`INTERVAL '1' DAY`:              &parse.IntervalLiteral{Value: "1", Fields: "day", Precision: -1},
		`INTERVAL 1 hour`:               &parse.IntervalLiteral{Value: "1", Fields: "hour", Precision: -1},
		`INTERVAL '1' DAY TO SECOND(2)`: &parse.IntervalLiteral{Value: "1", Fields: "day to second", Precision: 2},
		`date`:                          &parse.ColumnRef{Name: "date"},
		`interval`:                      &parse.ColumnRef{Name: "interval"},
		`offset`:                        &parse.ColumnRef{Name: "offset"},
		`user`:                          &parse.ColumnRef{Name: "user"},
		`a.b.c`:                         &parse.ColumnRef{Namespace: "a", Table: "b", Name: "c"},
		`default.t.select`:              &parse.ColumnRef{Namespace: "default", Table: "t", Name: "select"},
		`Größe`:                         &parse.ColumnRef{Name: "größe"},
		`ÄB`:                            &parse.ColumnRef{Name: "Äb"},
		`CURRENT_USER`:                  &parse.FuncCall{Name: parse.ObjectName{Name: "current_user"}},
		`current_timestamp(3)`:          &parse.FuncCall{Name: parse.ObjectName{Name: "current_timestamp"}, Args: []parse.Expr{&parse.IntegerLiteral{Value: 3}}},
		`FILE("a.png")`:                 &parse.FuncCall{Name: parse.ObjectName{Name: "file"}, Args: []parse.Expr{&parse.ColumnRef{Name: "a.png"}}},
	} {
		t.Run(text, func(t *testing.T) {
			t.Parallel()
			tree, err := parse.Parse("SELECT " + text)
			if err != nil {
				t.Fatalf("Parse: %v", err)
			}
			got := tree.(*parse.Query).Body.(*parse.Select).Items[0].Expr //nolint:errcheck // a wrong tree fails the test by panicking
			if diff := cmp.Diff(want, got, treesEqual()); diff != "" {
				t.Errorf("expression differs (-want +got):\n%s", diff)
			}
		})
	}
}
