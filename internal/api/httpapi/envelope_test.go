package httpapi_test

import (
	"context"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/apd/v3"

	"github.com/kalamdb/kalamdb-go/internal/config"
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/session"
	"github.com/kalamdb/kalamdb-go/internal/sql/exec"
	"github.com/kalamdb/kalamdb-go/internal/sql/plan"
)

// oneOfEach is a result with a column of every type.
func oneOfEach(t *testing.T) exec.Result {
	t.Helper()
	price, _, err := apd.NewFromString("-0.50")
	if err != nil {
		t.Fatal(err)
	}
	column := func(name string, kind datum.Kind) exec.Column { return exec.Column{Name: name, Type: datum.Of(kind)} }
	columns := []exec.Column{
		{Name: "id", Type: datum.Of(datum.BigInt), Flags: plan.FlagPrimaryKey | plan.FlagNotNull | plan.FlagUnique},
		{Name: "flag", Type: datum.Of(datum.Boolean), Flags: plan.FlagNotNull},
		column("small", datum.SmallInt), column("int", datum.Int), column("float", datum.Float), column("double", datum.Double),
		{Name: "price", Type: datum.Type{Kind: datum.Decimal, Precision: 10, Scale: 2}},
		column("text", datum.Text), column("json", datum.JSON), column("bytes", datum.Bytes), column("uuid", datum.UUID),
		column("timestamp", datum.Timestamp), column("datetime", datum.DateTime), column("date", datum.Date), column("time", datum.Time),
		{Name: "embedding", Type: datum.Type{Kind: datum.Embedding, Dims: 2}},
	}
	return exec.Result{
		Columns: columns, HasRows: true, RowCount: 2, AsUser: "alice",
		Rows: [][]datum.Datum{{
			datum.NewBigInt(math.MaxInt64), datum.NewBool(true), datum.NewInt(datum.SmallInt, -7), datum.NewInt(datum.Int, 42),
			datum.NewFloat(1.1), datum.NewDouble(2.5), datum.NewDecimal(price), datum.NewText("a \"quoted\"\n<b>\u2028ü"),
			datum.NewString(datum.JSON, `{"a":1}`), datum.NewString(datum.Bytes, "\x00\xff"),
			datum.NewString(datum.UUID, "0123456789abcdef"), datum.NewInt(datum.Timestamp, 1_000_001),
			datum.NewInt(datum.DateTime, -1), datum.NewInt(datum.Date, 20_000), datum.NewInt(datum.Time, 3_600_000_000),
			datum.NewEmbedding([]float32{0.5, -1}),
		}, make([]datum.Datum, len(columns))},
	}
}

func TestGoldenResponses(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	token := w.addUser("alice", session.RoleUser)
	w.sql.work = func(context.Context) { w.clock.Advance(1234567 * time.Nanosecond) }
	id := []exec.Column{{Name: "id", Type: datum.Of(datum.BigInt), Flags: plan.FlagPrimaryKey}}
	for name, response := range map[string]*exec.Response{
		"select_all_types": {Results: []exec.Result{oneOfEach(t)}, SingleRows: true},
		"select_empty":     {Results: []exec.Result{{Columns: id, HasRows: true, Rows: [][]datum.Datum{}, AsUser: "alice"}}, SingleRows: true},
		"insert":           {Results: []exec.Result{{RowCount: 2, Message: "Inserted 2 row(s)", AsUser: "alice"}}},
		"create_table":     {Results: []exec.Result{{Message: "Table 'shop.items' created successfully", AsUser: "alice"}}},
		"batch": {Results: []exec.Result{
			{Columns: id, HasRows: true, RowCount: 1, Rows: [][]datum.Datum{{datum.NewBigInt(1)}}, AsUser: "alice"},
			{RowCount: 3, Message: "Inserted 3 row(s)", AsUser: "alice"},
			{RowCount: 1, Message: "Deleted 1 row(s)", AsUser: "alice"},
		}},
		"batch_without_results": {},
	} {
		w.sql.response = response
		answer := w.query(token, oneStatement)
		if answer.Code != http.StatusOK {
			t.Errorf("%s: %d %s", name, answer.Code, answer.Body)
		}
		wantGolden(t, name, answer)
	}
	w.sql.err = fault.New(fault.DuplicateKey, "Primary key violation: id 1 already exists in shop.items")
	wantGolden(t, "duplicate_key", w.query(token, oneStatement))
	w.sql.err = fault.New(fault.Syntax, "unexpected word").At(1, 8)
	wantGolden(t, "syntax_error_redacted", w.query(token, oneStatement))
}

func TestValuesWithoutJSONFormFailTheWholeResponse(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	token := w.addUser("alice", session.RoleUser)
	double := []exec.Column{{Name: "ratio", Type: datum.Of(datum.Double)}}
	w.sql.response = &exec.Response{SingleRows: true, Results: []exec.Result{{
		Columns: double, HasRows: true, RowCount: 1, Rows: [][]datum.Datum{{datum.NewDouble(1)}, {datum.NewDouble(math.NaN())}},
	}}}
	if got := readFailure(t, w.query(token, oneStatement)); got.status != http.StatusBadRequest || !strings.Contains(got.message, "ratio") {
		t.Errorf("NaN: %+v", got)
	}
	w.sql.response = &exec.Response{Results: []exec.Result{{Columns: double, HasRows: true, Rows: [][]datum.Datum{{}}}}}
	if got := readFailure(t, w.query(token, oneStatement)); got.status != http.StatusInternalServerError {
		t.Errorf("a row of the wrong width: %+v", got)
	}
}

func TestLargeAndSmallResponsesDoNotMix(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *config.Config) { c.RateLimit.MaxQueriesPerSec = 0 })
	token := w.addUser("alice", session.RoleUser)
	text := []exec.Column{{Name: "t", Type: datum.Of(datum.Text)}}
	for _, size := range []int{10, 3 << 20, 100_000, 1, 500_000, 0} {
		value := strings.Repeat("x", size)
		w.sql.response = &exec.Response{SingleRows: true, Results: []exec.Result{{
			Columns: text, HasRows: true, RowCount: 1, Rows: [][]datum.Datum{{datum.NewText(value)}}, AsUser: "alice",
		}}}
		want := `{"status":"success","results":[{"schema":[{"name":"t","data_type":"Text","index":0}],"rows":[["` + value +
			`"]],"row_count":1,"as_user":"alice"}],"took":0.0,"error":null}`
		if got := w.query(token, oneStatement).Body.String(); got != want {
			t.Errorf("a value of %d bytes: answer of %d bytes differs", size, len(got))
		}
	}
}
