package datum

import (
	"fmt"
	"slices"
	"testing"
	"unsafe"
)

// TestDecodeAtEqualsDecodeValue compares the short way with the long one, over whole values, cut ones and damaged
// ones.
func TestDecodeAtEqualsDecodeValue(t *testing.T) {
	t.Parallel()
	values := []Datum{
		{},
		NewBool(true), NewInt(SmallInt, -1<<15), NewInt(Int, 1<<31-1), NewDouble(-0.5), NewFloat(1.5), NewText(""), NewText("text"),
		NewString(Bytes, "\x00\xff"), NewString(UUID, "0123456789abcdef"), NewEmbedding([]float32{1, 2}), NewInterval(Span{Months: 1, Micros: 5}),
		NewInt(Date, -5), NewInt(Time, 1), NewInt(Timestamp, 1<<50), NewArray([]Datum{NewText("a"), {}}),
	}
	for shift := range 64 {
		values = append(values, NewBigInt(1<<shift), NewBigInt(-1<<shift), NewBigInt(1<<shift-1))
	}
	for _, value := range values {
		encoded := AppendValue(nil, value)
		inputs := [][]byte{append(slices.Clip(encoded), "rest"...)}
		for cut := range len(encoded) {
			inputs = append(inputs, encoded[:cut])
			damaged := append([]byte(nil), encoded...)
			damaged[cut] ^= 0x81
			inputs = append(inputs, damaged)
		}
		for _, input := range inputs {
			want, wantRest, err := DecodeValue(input)
			got := NewText("what was there before")
			front := append([]byte("front"), input...)
			end := DecodeAt(&got, front, 5, &Texts{})
			if end >= 0 != (err == nil) || err == nil && (got.Kind() != want.Kind() || !Equal(got, want) || string(front[end:]) != string(wantRest)) {
				t.Errorf("%x: got %v, end %d; DecodeValue gives %v, %q, %v", input, got, end, want, wantRest, err)
			}
			if skipped := SkipAt(front, 5); err == nil && skipped != end {
				t.Errorf("%x: SkipAt ends at %d, DecodeAt at %d", input, skipped, end)
			}
		}
	}
}

func TestTextsShareMemoryOnlyOfEqualTexts(t *testing.T) {
	t.Parallel()
	var texts Texts
	raw := []byte("a text")
	first := texts.of(raw)
	second := texts.of(raw)
	raw[0] = 'A' // the caller's bytes are its own
	if first != "a text" || unsafe.StringData(first) != unsafe.StringData(second) {
		t.Errorf("got %q and %q, want one text", first, second)
	}
	for i := range 5000 { // more than there are slots, so that slots are taken over
		want := fmt.Sprintf("%d text %d", i%300, i%7)
		if got := texts.of([]byte(want)); got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
	}
	for i := range 3 * textTrial {
		texts.of(fmt.Appendf(nil, "unique %d", i))
	}
	if !texts.useless {
		t.Error("texts that never come again are still looked up")
	}
}
