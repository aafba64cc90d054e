package datum

import (
	"encoding/json"
	"math"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/fault"
)

func TestAppendJSONRefusesWhatJSONHasNot(t *testing.T) {
	t.Parallel()
	for _, value := range []Datum{
		NewDouble(math.NaN()), NewDouble(math.Inf(-1)), NewFloat(math.Inf(1)), NewEmbedding([]float32{1, float32(math.NaN())}),
	} {
		out, err := AppendJSON(nil, value, Type{Kind: value.Kind(), Dims: 2})
		if fault.KindOf(err) != fault.OutOfRange || err == nil {
			t.Errorf("%s: %s, %v; want out of range", value, out, err)
		}
	}
}

func TestAppendJSON(t *testing.T) {
	t.Parallel()
	money := mustType(t, "decimal", 10, 2)
	for _, c := range []struct {
		value Datum
		typ   Type
		want  string
	}{
		{Datum{}, Of(Text), "null"},
		{NewBool(true), Of(Boolean), "true"},
		{NewInt(SmallInt, -3), Of(SmallInt), "-3"},
		{NewInt(Int, 42), Of(Int), "42"},
		{NewBigInt(math.MaxInt64), Of(BigInt), `"9223372036854775807"`},
		{NewFloat(1.1), Of(Float), "1.100000023841858"},
		{NewDouble(1), Of(Double), "1.0"},
		{NewDouble(0), Of(Double), "0.0"},
		{NewDouble(-0.25), Of(Double), "-0.25"},
		{NewDouble(1e15), Of(Double), "1000000000000000.0"},
		{NewDouble(1e16), Of(Double), "1e16"},
		{NewDouble(1.5e300), Of(Double), "1.5e300"},
		{NewDouble(1e-5), Of(Double), "0.00001"},
		{NewDouble(1.25e-7), Of(Double), "1.25e-7"},
		{mustDecimal(t, "-0.5"), money, `"-0.50"`},
		{mustDecimal(t, "-0.05"), money, `"-0.05"`},
		{mustDecimal(t, "12"), money, `"12.00"`},
		{mustDecimal(t, "1.50"), Of(Decimal), `"1.50"`},
		{NewText("a\"b\\c\n\t\x01<é>&\u2028"), Of(Text), "\"a\\\"b\\\\c\\n\\t\\u0001<é>&\u2028\""},
		{NewText("bad\xff!"), Of(Text), "\"bad\uFFFD!\""},
		{NewString(JSON, `{"a":1}`), Of(JSON), `"{\"a\":1}"`},
		{NewString(Bytes, "\x00\x7f\xff"), Of(Bytes), "[0,127,255]"},
		{NewString(Bytes, ""), Of(Bytes), "[]"},
		{NewString(UUID, "0123456789abcdef"), Of(UUID), `"30313233-3435-3637-3839-616263646566"`},
		{NewInt(Timestamp, 1700000000123456), Of(Timestamp), "1700000000123456"},
		{NewInt(DateTime, -1), Of(DateTime), "-1"},
		{NewInt(Date, 19000), Of(Date), "19000"},
		{NewInt(Time, 1), Of(Time), "1"},
		{NewEmbedding([]float32{1, 0.1}), mustType(t, "embedding", 2), "[1.0,0.10000000149011612]"},
		{NewInt(Int, 5), Of(BigInt), `"5"`},
		{NewInterval(Span{Days: 1}), Of(Interval), `"1 day"`},
	} {
		got, err := AppendJSON(nil, c.value, c.typ)
		if err != nil {
			t.Errorf("AppendJSON(%s, %s): %v", c.value, c.typ, err)
			continue
		}
		if string(got) != c.want {
			t.Errorf("AppendJSON(%s, %s) = %s, want %s", c.value, c.typ, got, c.want)
		}
		if !json.Valid(got) {
			t.Errorf("AppendJSON(%s, %s) = %s is not JSON", c.value, c.typ, got)
		}
	}
}

func FuzzJSONString(f *testing.F) {
	f.Add("plain")
	f.Add("\x00\x1f\"\\\u2029\xc3")
	f.Fuzz(func(t *testing.T, s string) {
		var back string
		out := AppendJSONString(nil, s)
		if err := json.Unmarshal(out, &back); err != nil {
			t.Fatalf("%q becomes %s: %v", s, out, err)
		}
		var reference string
		encoded, _ := json.Marshal(s)
		if err := json.Unmarshal(encoded, &reference); err != nil || back != reference {
			t.Fatalf("%q reads back as %q, want %q", s, back, reference)
		}
	})
}

func FuzzJSONFloat(f *testing.F) {
	f.Add(1.1)
	f.Add(1e16)
	f.Add(5e-324)
	f.Fuzz(func(t *testing.T, v float64) {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return
		}
		out, err := AppendJSON(nil, NewDouble(v), Of(Double))
		if err != nil {
			t.Fatal(err)
		}
		var back float64
		if err := json.Unmarshal(out, &back); err != nil || back != v {
			t.Fatalf("%v becomes %s and reads back as %v: %v", v, out, back, err)
		}
	})
}
