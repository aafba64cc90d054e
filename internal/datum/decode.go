package datum

import (
	"encoding/binary"
	"math"
)

// DecodeTo is DecodeValue into a place, for scans: what columns hold most often takes the shortest way. texts,
// which may be nil, gives equal texts that come again the same memory. It reports false for malformed bytes, and the
// place may then hold anything.
func DecodeTo(dst *Datum, src []byte, texts *Texts) (rest []byte, ok bool) {
	if len(src) == 0 {
		return nil, false
	}
	switch kind := Kind(src[0]); kind { //nolint:exhaustive // the kinds not named share the last case
	case BigInt, Int, SmallInt, Timestamp, DateTime, Date, Time:
		v, n := varint(src[1:])
		if n <= 0 || kind < BigInt && !fitsKind(v, kind) {
			return nil, false
		}
		*dst = Datum{kind: kind, num: v}
		return src[1+n:], true
	case Text, JSON, File, Bytes:
		var raw []byte
		if raw, rest, ok = lengthPrefixed(src[1:]); ok {
			*dst = NewString(kind, texts.of(raw))
		}
		return rest, ok
	case Double:
		if len(src) < 9 {
			return nil, false
		}
		*dst = NewDouble(math.Float64frombits(binary.LittleEndian.Uint64(src[1:])))
		return src[9:], true
	}
	*dst, rest, ok = decodeValue(src, 0)
	return rest, ok
}

// varint is binary.Varint with a short way for small numbers.
func varint(src []byte) (v int64, n int) {
	if len(src) >= 2 {
		if a := src[0]; a < 0x80 {
			return int64(a>>1) ^ -int64(a&1), 1
		}
		if b := src[1]; b < 0x80 {
			u := uint64(src[0]&0x7f) | uint64(b)<<7
			return int64(u>>1) ^ -int64(u&1), 2
		}
	}
	return binary.Varint(src)
}

// The bounds of what Texts remembers.
const (
	textSlots     = 64 // a power of two
	maxKnownText  = 32
	textTrial     = 1024 // lookups after which Texts judges whether it is of use
	minTextHits   = textTrial / 4
	textScrambler = 0x9e3779b97f4a7c15
)

// Texts remembers short texts that were decoded lately, so that a column of few values costs no memory for
// each row. It stops looking when values hardly ever come again. The zero value is ready and nil remembers nothing;
// it belongs to one goroutine.
type Texts struct {
	known         [textSlots]string
	lookups, hits int
	useless       bool
}

// of returns the text of bytes, which it does not keep.
func (t *Texts) of(raw []byte) string {
	if t == nil || t.useless || len(raw) > maxKnownText || len(raw) == 0 {
		return string(raw)
	}
	if t.lookups++; t.lookups == textTrial {
		t.useless = t.hits < minTextHits
		t.lookups, t.hits = 0, 0
	}
	var tail uint64
	if len(raw) >= 8 {
		tail = binary.LittleEndian.Uint64(raw[len(raw)-8:])
	} else {
		for _, b := range raw {
			tail = tail<<8 | uint64(b)
		}
	}
	slot := &t.known[(tail*textScrambler)>>58]
	if *slot == string(raw) {
		t.hits++
		return *slot
	}
	*slot = string(raw)
	return *slot
}
