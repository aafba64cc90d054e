package datum

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"flag"
	"math"
	"math/big"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/cockroachdb/apd/v3"
	"github.com/google/go-cmp/cmp"
)

var rewrite = flag.Bool("rewrite", false, "write golden files anew")

// storedTypes are the types that columns may have.
func storedTypes() []Type {
	var out []Type
	for k := Boolean; k <= Time; k++ {
		out = append(out, Of(k))
	}
	return append(out, Type{Kind: Embedding, Dims: 3}, Type{Kind: Array, Elem: Text}, Of(Interval))
}

// randomDatum draws edges often.
func randomDatum(r *rand.Rand, t Type) Datum {
	edges := []int64{0, 1, -1, math.MaxInt16, math.MinInt16, math.MaxInt32, math.MinInt32, math.MaxInt64, math.MinInt64}
	number := func() int64 {
		if r.IntN(2) == 0 {
			return edges[r.IntN(len(edges))]
		}
		return int64(r.Uint64()) >> r.IntN(64)
	}
	text := func() string {
		raw := make([]byte, r.IntN(6))
		for i := range raw {
			raw[i] = []byte{0, 1, 'a', 'b', 0xFE, 0xFF}[r.IntN(6)]
		}
		return string(raw)
	}
	float := func() float64 {
		floats := []float64{0, math.Copysign(0, -1), 1, -1, math.NaN(), math.Inf(1), math.Inf(-1), math.MaxFloat64, 5e-324, 0.1}
		if r.IntN(2) == 0 {
			return floats[r.IntN(len(floats))]
		}
		return math.Float64frombits(r.Uint64())
	}
	switch t.Kind {
	case Boolean:
		return NewBool(r.IntN(2) == 0)
	case SmallInt:
		return NewInt(SmallInt, int64(int16(number())))
	case Int:
		return NewInt(Int, int64(int32(number())))
	case BigInt, Timestamp, DateTime, Date, Time:
		return NewInt(t.Kind, number())
	case Float:
		return NewFloat(float())
	case Double:
		return NewDouble(float())
	case Decimal:
		d := apd.New(number()>>r.IntN(64), -int32(r.IntN(30)))
		if r.IntN(4) == 0 {
			d.Coeff.Mul(&d.Coeff, apd.NewBigInt(number()))
		}
		if r.IntN(4) == 0 {
			d.Exponent += int32(r.IntN(30))
		}
		d.Negative = d.Negative != (d.Coeff.Sign() < 0)
		d.Coeff.Abs(&d.Coeff)
		BoundDecimal(d)
		return NewDecimal(d)
	case Text, JSON, File, Bytes:
		return NewString(t.Kind, text())
	case UUID:
		return NewString(UUID, (text() + strings.Repeat("\x00", uuidBytes))[:uuidBytes])
	case Embedding:
		return NewEmbedding([]float32{float32(float()), float32(float()), float32(float())})
	case Array:
		values := make([]Datum, r.IntN(3))
		for i := range values {
			if r.IntN(4) > 0 {
				values[i] = NewText(text())
			}
		}
		return NewArray(values)
	case Interval:
		return NewInterval(Span{Months: int32(number()), Days: int32(number()), Micros: number()})
	case Null:
	}
	return Datum{}
}

func TestKeyOrderIsValueOrder(t *testing.T) {
	t.Parallel()
	const seed, draws = 1, 4000
	for _, typ := range storedTypes() {
		r := rand.New(rand.NewPCG(seed, uint64(typ.Kind)))
		for range draws {
			a, b := randomDatum(r, typ), randomDatum(r, typ)
			if r.IntN(50) == 0 {
				b = Datum{}
			}
			checkKeys(t, typ, a, b)
		}
	}
}

// checkKeys asserts that byte order equals value order, with anything behind the keys, and the round trip.
func checkKeys(t *testing.T, typ Type, a, b Datum) {
	t.Helper()
	keyA, keyB := AppendKey(nil, a), AppendKey(nil, b)
	want := Compare(a, b)
	if got := bytes.Compare(keyA, keyB); got != want {
		t.Fatalf("%s: keys of %s and %s compare %d, values %d\n%x\n%x", typ, a, b, got, want, keyA, keyB)
	}
	if want != 0 {
		tailed := bytes.Compare(append(slices.Clone(keyA), 0xFF, 0xFF), append(slices.Clone(keyB), 0x00))
		if tailed != want {
			t.Fatalf("%s: with bytes behind them the keys of %s and %s compare %d, values %d", typ, a, b, tailed, want)
		}
	}
	back, rest, err := DecodeKey(append(slices.Clone(keyA), 0xAB), typ)
	if err != nil {
		t.Fatalf("%s: decode key of %s: %v", typ, a, err)
	}
	if Compare(back, a) != 0 || len(rest) != 1 {
		t.Fatalf("%s: %s reads back as %s with %d bytes left", typ, a, back, len(rest))
	}
}

// TestCompareNumbersLikeRationals compares numbers of all kinds with the naive twin.
func TestCompareNumbersLikeRationals(t *testing.T) {
	t.Parallel()
	kinds := []Kind{SmallInt, Int, BigInt, Float, Double, Decimal}
	r := rand.New(rand.NewPCG(2, 0))
	for range 20000 {
		a := randomDatum(r, Of(kinds[r.IntN(len(kinds))]))
		b := randomDatum(r, Of(kinds[r.IntN(len(kinds))]))
		if r.IntN(3) == 0 { // values close to each other
			if cast, err := Cast(a, Of(b.Kind())); err == nil {
				b = cast
			}
		}
		x, y := rational(a), rational(b)
		if x == nil || y == nil {
			continue
		}
		if got, want := Compare(a, b), x.Cmp(y); got != want {
			t.Fatalf("%s %s against %s %s: %d, want %d", a.Kind(), a, b.Kind(), b, got, want)
		}
	}
}

func rational(d Datum) *big.Rat {
	switch {
	case d.Kind().IsInteger():
		return new(big.Rat).SetInt64(d.Int())
	case d.Kind().IsFloat():
		return new(big.Rat).SetFloat64(d.Float())
	}
	out, _ := new(big.Rat).SetString(d.Decimal().Text('f'))
	return out
}

func TestCompareAcrossKinds(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		a, b Datum
		want int
	}{
		{NewBigInt(1), NewDouble(1), 0},
		{NewBigInt(1<<53 + 1), NewDouble(1 << 53), 1},
		{NewBigInt(math.MaxInt64), NewDouble(1 << 63), -1},
		{NewBigInt(math.MinInt64), NewDouble(-1 << 63), 0},
		{mustDecimal(t, "0.1"), NewDouble(0.1), -1},
		{mustDecimal(t, "1e900"), NewDouble(math.MaxFloat64), 1},
		{mustDecimal(t, "1e900"), NewDouble(math.Inf(1)), -1},
		{mustDecimal(t, "-1e900"), NewDouble(math.Inf(-1)), 1},
		{NewDouble(math.NaN()), NewDouble(math.Inf(1)), 1},
		{NewDouble(math.NaN()), NewBigInt(math.MaxInt64), 1},
		{NewDouble(math.NaN()), mustDecimal(t, "1"), 1},
		{NewDouble(math.NaN()), NewFloat(math.NaN()), 0},
		{NewDouble(math.Copysign(0, -1)), NewDouble(0), 0},
		{mustDecimal(t, "1.50"), mustDecimal(t, "1.5"), 0},
		{NewText("b"), NewString(JSON, "a"), 1},
		{NewInt(Date, 1), NewInt(Timestamp, microsPerDay), 0},
		{NewInt(Date, math.MaxInt32), NewInt(Timestamp, math.MaxInt64), 1},
		{NewInt(DateTime, 5), NewInt(Timestamp, 6), -1},
		{NewInterval(Span{Months: 1}), NewInterval(Span{Days: 30}), 0},
		{NewInterval(Span{Months: math.MaxInt32}), NewInterval(Span{Micros: math.MaxInt64}), 1},
		{Datum{}, NewText(""), 1},
		{Datum{}, Datum{}, 0},
		{NewBool(true), NewText("a"), -1},
	} {
		if got := Compare(c.a, c.b); got != c.want {
			t.Errorf("Compare(%s %s, %s %s) = %d, want %d", c.a.Kind(), c.a, c.b.Kind(), c.b, got, c.want)
		}
		if got := Compare(c.b, c.a); got != -c.want {
			t.Errorf("Compare(%s %s, %s %s) = %d, want %d", c.b.Kind(), c.b, c.a.Kind(), c.a, got, -c.want)
		}
	}
}

func FuzzDecodeKey(f *testing.F) {
	for _, typ := range storedTypes() {
		r := rand.New(rand.NewPCG(3, uint64(typ.Kind)))
		for range 4 {
			f.Add(uint8(typ.Kind), AppendKey(nil, randomDatum(r, typ)))
		}
	}
	f.Fuzz(func(t *testing.T, kind uint8, src []byte) {
		typ := Type{Kind: Kind(kind), Elem: Text, Dims: 3}
		d, rest, err := DecodeKey(src, typ)
		if err != nil {
			return
		}
		used := src[:len(src)-len(rest)]
		if again := AppendKey(nil, d); !bytes.Equal(again, used) {
			t.Fatalf("%x decodes to %s, which encodes as %x", used, d, again)
		}
	})
}

func FuzzKeyOrder(f *testing.F) {
	f.Add("a", "a\x00", int64(1), int64(-1), 1.5, -1.5)
	f.Add("", "\xff", int64(math.MaxInt64), int64(math.MinInt64), math.NaN(), 0.0)
	f.Fuzz(func(t *testing.T, s1, s2 string, i1, i2 int64, f1, f2 float64) {
		checkKeys(t, Of(Text), NewText(s1), NewText(s2))
		checkKeys(t, Of(BigInt), NewBigInt(i1), NewBigInt(i2))
		checkKeys(t, Of(Double), NewDouble(f1), NewDouble(f2))
		checkKeys(t, Of(Decimal), decimalOf(i1, len(s1)), decimalOf(i2, len(s2)))
	})
}

func decimalOf(coefficient int64, scale int) Datum {
	d := apd.New(coefficient, -int32(scale%40))
	BoundDecimal(d)
	return NewDecimal(d)
}

func FuzzDecodeValue(f *testing.F) {
	for _, typ := range storedTypes() {
		r := rand.New(rand.NewPCG(4, uint64(typ.Kind)))
		for range 4 {
			f.Add(AppendValue(nil, randomDatum(r, typ)))
		}
	}
	f.Add(binary.AppendUvarint([]byte{byte(Text)}, 1<<60))
	f.Add(bytes.Repeat([]byte{byte(Array), 1}, 100))
	f.Fuzz(func(t *testing.T, src []byte) {
		d, rest, err := DecodeValue(src)
		skipped := SkipAt(src, 0)
		if err != nil {
			return
		}
		if skipped != len(src)-len(rest) {
			t.Fatalf("decoding ends at %d, skipping at %d", len(src)-len(rest), skipped)
		}
		encoded := AppendValue(nil, d)
		again, _, err := DecodeValue(encoded)
		if err != nil || Compare(again, d) != 0 || !bytes.Equal(AppendValue(nil, again), encoded) {
			t.Fatalf("%s reads back as %s: %v", d, again, err)
		}
	})
}

func TestValueRoundTrip(t *testing.T) {
	t.Parallel()
	for _, typ := range append(storedTypes(), Of(Null)) {
		r := rand.New(rand.NewPCG(5, uint64(typ.Kind)))
		for range 1000 {
			d := randomDatum(r, typ)
			encoded := AppendValue(nil, d)
			back, rest, err := DecodeValue(append(encoded, 0xAB))
			if err != nil || len(rest) != 1 {
				t.Fatalf("%s %s: %v, %d bytes left", typ, d, err, len(rest))
			}
			if back.Kind() != d.Kind() || back.String() != d.String() {
				t.Fatalf("%s %s reads back as %s", typ, d, back)
			}
			for cut := range encoded {
				if _, rest, err := DecodeValue(encoded[:cut]); err == nil && len(rest) == 0 && cut > 0 && typ.Kind != Null {
					if _, again, _ := DecodeValue(encoded); len(again) == 0 {
						t.Fatalf("%s %s: cut to %d of %d bytes it still decodes", typ, d, cut, len(encoded))
					}
				}
			}
		}
	}
}

// TestGoldenBytes pins both encodings, which outlive the process.
func TestGoldenBytes(t *testing.T) {
	t.Parallel()
	values := []Datum{
		{},
		NewBool(false), NewBool(true), NewInt(SmallInt, -2), NewInt(Int, 300), NewBigInt(math.MinInt64), NewBigInt(0),
		NewFloat(1.1), NewDouble(-2.5), mustDecimal(t, "0"), mustDecimal(t, "-12.340"), mustDecimal(t, "123456789012345678901234567890"),
		NewText(""), NewText("a\x00b"), NewString(JSON, "{}"), NewString(File, "f"), NewString(Bytes, "\xff\x00"),
		NewString(UUID, "0123456789abcdef"), NewInt(Timestamp, 1700000000000000), NewInt(DateTime, -1), NewInt(Date, 19000),
		NewInt(Time, 1), NewEmbedding([]float32{1, -1}), NewArray([]Datum{NewText("x"), {}}), NewInterval(Span{Months: 1, Days: -2, Micros: 3}),
	}
	var got strings.Builder
	for _, d := range values {
		got.WriteString(d.Kind().String() + " " + d.String() + "\n  key   " + hex.EncodeToString(AppendKey(nil, d)) +
			"\n  value " + hex.EncodeToString(AppendValue(nil, d)) + "\n")
	}
	const path = "testdata/encodings.golden"
	if *rewrite {
		if err := os.WriteFile(path, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("stored bytes changed (-want +got):\n%s", diff)
	}
}

func TestSizeIsThatOfADatum(t *testing.T) {
	t.Parallel()
	if got := unsafe.Sizeof(Datum{}); got != Size && unsafe.Sizeof(uintptr(0)) == 8 {
		t.Errorf("a Datum has %d bytes, Size says %d", got, Size)
	}
}
