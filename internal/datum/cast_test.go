package datum

import (
	"math"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/fault"
)

func mustType(tb testing.TB, name string, args ...int) Type {
	tb.Helper()
	parsed, err := ParseTypeName(name, args)
	if err != nil {
		tb.Fatal(err)
	}
	return parsed
}

func mustDecimal(tb testing.TB, text string) Datum {
	tb.Helper()
	d, err := ParseText(text, Of(Decimal))
	if err != nil {
		tb.Fatal(err)
	}
	return d
}

func TestCastRefuses(t *testing.T) {
	t.Parallel()
	tests := []struct {
		value Datum
		to    Type
		want  fault.Kind
	}{
		{NewBigInt(40000), Of(SmallInt), fault.OutOfRange},
		{NewBigInt(math.MaxInt32 + 1), Of(Int), fault.OutOfRange},
		{NewDouble(9.3e18), Of(BigInt), fault.OutOfRange},
		{NewDouble(9223372036854775808), Of(BigInt), fault.OutOfRange},
		{NewDouble(math.NaN()), Of(Int), fault.OutOfRange},
		{NewDouble(math.Inf(1)), Of(Decimal), fault.OutOfRange},
		{NewDouble(1e300), Of(Float), fault.OutOfRange},
		{NewDouble(1e-300), Of(Float), fault.OutOfRange},
		{mustDecimal(t, "99999999999999999999"), Of(BigInt), fault.OutOfRange},
		{mustDecimal(t, "100"), mustType(t, "decimal", 4, 2), fault.OutOfRange},
		{mustDecimal(t, "99.995"), mustType(t, "decimal", 4, 2), fault.OutOfRange},
		{NewText("1e2000"), Of(Decimal), fault.OutOfRange},
		{NewText("1e99999999999"), Of(Decimal), fault.OutOfRange},
		{NewText("NaN"), Of(Decimal), fault.InvalidStatement},
		{NewText("abc"), Of(Int), fault.InvalidStatement},
		{NewText(""), Of(Int), fault.InvalidStatement},
		{NewText("1.5"), Of(Int), fault.InvalidStatement},
		{NewText("0x10"), Of(Double), fault.InvalidStatement},
		{NewText("1_000"), Of(Double), fault.InvalidStatement},
		{NewText("1e999"), Of(Double), fault.OutOfRange},
		{NewText("maybe"), Of(Boolean), fault.InvalidStatement},
		{NewText("2024-02-30"), Of(Date), fault.InvalidStatement},
		{NewText("2024-13-01"), Of(Date), fault.InvalidStatement},
		{NewText("2024-01-01 25:00:00"), Of(Timestamp), fault.InvalidStatement},
		{NewText("2024-01-01 10:60:00"), Of(Timestamp), fault.InvalidStatement},
		{NewText("2024-01-01garbage"), Of(Timestamp), fault.InvalidStatement},
		{NewText("yesterday"), Of(Timestamp), fault.InvalidStatement},
		{NewText("{"), Of(JSON), fault.InvalidStatement},
		{NewText("1234"), Of(UUID), fault.InvalidStatement},
		{NewText(`\xabc`), Of(Bytes), fault.InvalidStatement},
		{NewText(`\9`), Of(Bytes), fault.InvalidStatement},
		{NewText("[1,2]"), mustType(t, "embedding", 3), fault.InvalidStatement},
		{NewText("[1,null]"), mustType(t, "embedding", 3), fault.InvalidStatement},
		{NewText("[null,0,0]"), mustType(t, "embedding", 3), fault.InvalidStatement},
		{NewText("[0,0, null ]"), mustType(t, "embedding", 3), fault.InvalidStatement},
		{NewText("[1e300]"), mustType(t, "embedding", 1), fault.OutOfRange},
		{NewText("null"), mustType(t, "embedding", 1), fault.InvalidStatement},
		{NewBool(true), Of(Double), fault.InvalidStatement},
		{NewBigInt(1), Of(UUID), fault.InvalidStatement},
		{NewBigInt(-1), Of(Time), fault.OutOfRange},
		{NewBigInt(1 << 40), Of(Date), fault.OutOfRange},
		{NewInt(Date, math.MaxInt32), Of(Timestamp), fault.OutOfRange},
		{NewText("3 apples"), Of(Interval), fault.InvalidStatement},
	}
	for _, c := range tests {
		got, err := Cast(c.value, c.to)
		if err == nil || fault.KindOf(err) != c.want {
			t.Errorf("Cast(%s %s, %s) = %s, %v; want %s", c.value.Kind(), c.value, c.to, got, err, c.want)
		}
	}
}

func TestCast(t *testing.T) {
	t.Parallel()
	money := mustType(t, "decimal", 10, 2)
	tests := []struct {
		value Datum
		to    Type
		want  string // text form
	}{
		{Datum{}, Of(Int), "NULL"},
		{NewDouble(2.5), Of(Int), "2"},
		{NewDouble(3.5), Of(Int), "4"},
		{NewDouble(-2.5), Of(BigInt), "-2"},
		{mustDecimal(t, "2.5"), Of(Int), "3"},
		{mustDecimal(t, "-2.5"), Of(Int), "-3"},
		{mustDecimal(t, "9223372036854775807.4"), Of(BigInt), "9223372036854775807"},
		{mustDecimal(t, "1.005"), money, "1.01"},
		{mustDecimal(t, "-1.005"), money, "-1.01"},
		{mustDecimal(t, "-0.001"), money, "0.00"},
		{NewBigInt(7), money, "7.00"},
		{NewDouble(19.99), Of(Decimal), "19.99"},
		{NewDouble(0.1 + 0.2), Of(Decimal), "0.3"},
		{NewFloat(1.1), Of(Decimal), "1.1"},
		{NewText("1e3"), Of(Decimal), "1000"},
		{NewText(" 42 "), Of(Int), "42"},
		{NewText("+5"), Of(Int), "5"},
		{NewText("Infinity"), Of(Double), "Infinity"},
		{NewText("-0"), Of(Double), "-0"},
		{NewText("TRUE"), Of(Boolean), "t"},
		{NewText("off"), Of(Boolean), "f"},
		{NewBigInt(-3), Of(Boolean), "t"},
		{NewBool(true), Of(Text), "true"},
		{NewBool(true), Of(Int), "1"},
		{NewText("2024-01-02"), Of(Timestamp), "2024-01-02 00:00:00"},
		{NewText("2024-01-02T03:04:05Z"), Of(Timestamp), "2024-01-02 03:04:05"},
		{NewText("2024-01-02T03:04:05.123456+02:00"), Of(Timestamp), "2024-01-02 01:04:05.123456"},
		{NewText("2024-01-01T00:30:00+02:00"), Of(DateTime), "2023-12-31 22:30:00+00"},
		{NewText("2024-01-02 03:04"), Of(DateTime), "2024-01-02 03:04:00+00"},
		{NewText("2024-01-02 03:04:05.1234567"), Of(Timestamp), "2024-01-02 03:04:05.123457"},
		{NewText("2024-01-02 24:00:00"), Of(Timestamp), "2024-01-03 00:00:00"},
		{NewText("2024-02-29T23:00:00-05"), Of(Date), "2024-02-29"},
		{NewText("0044-03-15 BC"), Of(Date), "0044-03-15 BC"},
		{NewText("12:34:56.7"), Of(Time), "12:34:56.7"},
		{NewBigInt(1), Of(Timestamp), "1970-01-01 00:00:00.000001"},
		{NewBigInt(-1), Of(Timestamp), "1969-12-31 23:59:59.999999"},
		{NewInt(Timestamp, -1), Of(Date), "1969-12-31"},
		{NewInt(Timestamp, -1), Of(Time), "23:59:59.999999"},
		{NewInt(Date, 1), Of(DateTime), "1970-01-02 00:00:00+00"},
		{NewInt(Timestamp, 5), Of(BigInt), "5"},
		{NewText("A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"), Of(UUID), "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"},
		{NewText("{a0eebc999c0b4ef8bb6d6bb9bd380a11}"), Of(UUID), "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"},
		{NewText(`\xDEad`), Of(Bytes), `\xdead`},
		{NewText(`a\\b\001`), Of(Bytes), `\x615c6201`},
		{NewText(`{"a": 1}`), Of(JSON), `{"a": 1}`},
		{NewText("[1, 2.5, -3e2]"), mustType(t, "embedding", 3), "[1,2.5,-300]"},
		{NewText("1 year 2 mons 3 days 04:05:06.5"), Of(Interval), "1 year 2 mons 3 days 04:05:06.5"},
		{NewText("90 minutes"), Of(Interval), "01:30:00"},
		{NewText("5ms"), Of(Interval), "00:00:00.005"},
		{NewText("1 day ago"), Of(Interval), "-1 days"},
		{NewText("1.5 days"), Of(Interval), "1 day 12:00:00"},
	}
	for _, c := range tests {
		got, err := Cast(c.value, c.to)
		if err != nil {
			t.Errorf("Cast(%s %s, %s): %v", c.value.Kind(), c.value, c.to, err)
			continue
		}
		if got.String() != c.want {
			t.Errorf("Cast(%s %s, %s) = %s, want %s", c.value.Kind(), c.value, c.to, got, c.want)
		}
		if !got.IsNull() && got.Kind() != c.to.Kind {
			t.Errorf("Cast(%s, %s) has kind %s", c.value, c.to, got.Kind())
		}
	}
}

func TestTextForms(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		value Datum
		want  string
	}{
		{NewDouble(1e15), "1e+15"},
		{NewDouble(123456789012345), "123456789012345"},
		{NewDouble(0.0001), "0.0001"},
		{NewDouble(0.00001), "1e-05"},
		{NewFloat(1.1), "1.1"},
		{NewFloat(1e6), "1e+06"},
		{NewFloat(123456), "123456"},
		{NewDouble(math.Copysign(0, -1)), "-0"},
		{mustDecimal(t, "-0.50"), "-0.50"},
		{mustDecimal(t, "1.10"), "1.10"},
		{mustDecimal(t, "0.00000001"), "0.00000001"},
		{NewInt(Date, -719528-1), "0002-12-31 BC"},
		{NewInt(Timestamp, math.MinInt64), "290309-12-21 19:59:05.224192 BC"},
		{NewArray([]Datum{NewText("a"), NewText("b c"), {}, NewText(`q"`)}), `{a,"b c",NULL,"q\""}`},
		{NewInterval(Span{Micros: math.MinInt64}), "-2562047788:00:54.775807"},
	} {
		if got := c.value.String(); got != c.want {
			t.Errorf("%s prints as %q, want %q", c.value.Kind(), got, c.want)
		}
	}
}
