package httpapi

import (
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/kalamdb/kalamdb-go/internal/config"
)

// FuzzScannedBodies holds the quick reader of bodies against the general one: what it takes, that one takes too and
// understands alike.
func FuzzScannedBodies(f *testing.F) {
	for _, body := range scannedBodies() {
		f.Add([]byte(body))
	}
	for _, body := range otherBodies() {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		quick, ok := scanSQLBody(raw)
		if !ok || !utf8.Valid(raw) { // others were refused before
			return
		}
		slow, err := readSQLBody(raw)
		if err != nil {
			t.Fatalf("%q was taken, and is wrong: %v", raw, err)
		}
		if diff := cmp.Diff(slow, quick); diff != "" {
			t.Errorf("%q is understood otherwise:\n%s", raw, diff)
		}
	})
}

func scannedBodies() []string {
	return []string{
		`{"sql":"SELECT 1"}`,
		` { "sql" : "SELECT $1, $2" , "params" : [ 1 , -0.5e+3, "text with ünïcode", null, true,false ] , "namespace_id":"a"}` + "\n",
		`{"params":[],"sql":"","replication_mode":"all","read_level":"local"}`,
		`{}`,
	}
}

func otherBodies() []string {
	return []string{
		``, `{`, `[]`, `null`, `{"sql":"a" "params":[]}`, `{"sql":"a",}`, `{,"sql":"a"}`, `{"sql":"a"}x`, `{"sql":null}`, `{"sql":"a","sql":"b"}`,
		`{"SQL":"a"}`, `{"sql":"a\n"}`, `{"sql":"a` + "\n" + `"}`, `{"sql":"a","other":1}`, `{"sql":"a","params":[[1]]}`, `{"sql":"a","params":[01]}`,
		`{"sql":"a","params":[1.]}`, `{"sql":"a","params":[-]}`, `{"sql":"a","params":[1e]}`, `{"sql":"a","params":[1,]}`, `{"sql":"a","params":[nul]}`,
		`{"sql":"a","params":[truefalse]}`, `{"sql":"a","params":null}`, `{"sql":"a","params":[1],"params":[2]}`, `{"sql":"a","max_staleness_ms":5}`,
		`{"sql":"a`, `{"sql":"a","params":["\ud800"]}`, `{"s\u0071l":"a"}`,
	}
}

func TestScannedBodies(t *testing.T) {
	t.Parallel()
	for _, body := range scannedBodies() {
		if _, ok := scanSQLBody([]byte(body)); !ok {
			t.Errorf("%s is left to the general decoder", body)
		}
	}
	for _, body := range otherBodies() {
		if _, ok := scanSQLBody([]byte(body)); ok {
			t.Errorf("%s is not left to the general decoder", body)
		}
	}
}

func TestScannedBodyKeepsNothingOfItsBuffer(t *testing.T) {
	t.Parallel()
	raw := []byte(`{"sql":"SELECT $1","params":["kept"],"namespace_id":"mine"}`)
	request, f := decodeSQLBody(raw, config.Limits{MaxSQLBytes: 100, MaxParams: 5, MaxParamBytes: 100})
	if f != nil {
		t.Fatal(f.message)
	}
	clear(raw)
	if request.sql != "SELECT $1" || request.namespace != "mine" || request.params[0].String() != "kept" {
		t.Errorf("the request became %q, %q, %v with its buffer", request.sql, request.namespace, request.params)
	}
}

func BenchmarkDecodeSQLBody(b *testing.B) {
	raw := []byte(`{"sql":"INSERT INTO bench.rows (id, body) VALUES ($1, 'the body of a row that is not very long')","params":[123456]}`)
	limits := config.Limits{MaxSQLBytes: 1000, MaxParams: 5, MaxParamBytes: 100}
	b.ReportAllocs()
	for b.Loop() {
		if _, f := decodeSQLBody(raw, limits); f != nil {
			b.Fatal(f.message)
		}
	}
}
