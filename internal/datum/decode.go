package datum

import (
	"encoding/binary"
	"math"
)

// DecodeAt is DecodeValue of the value at a position, into a place, for scans: what columns hold most often takes the
// shortest way. texts, which may be nil, gives equal texts that come again the same memory. It returns the position
// behind the value, or a negative number for malformed bytes, and the place may then hold anything.
func DecodeAt(dst *Datum, src []byte, at int, texts *Texts) int {
	if uint(at) >= uint(len(src)) || len(src)-at < 2 {
		return decodeAtLength(dst, src, at)
	}
	switch kind := Kind(src[at]); kind { //nolint:exhaustive // the kinds not named share the last case
	case BigInt, Timestamp, DateTime, Date, Time, Int, SmallInt:
		u := uint64(src[at+1])
		end := at + 2
		if u >= 0x80 {
			if end < len(src) && src[end] < 0x80 {
				u, end = u&0x7f|uint64(src[end])<<7, end+1
			} else {
				long, n := binary.Uvarint(src[at+1:])
				if n <= 0 {
					return -1
				}
				u, end = long, at+1+n
			}
		}
		v := int64(u>>1) ^ -int64(u&1)
		if kind < BigInt && !fitsKind(v, kind) {
			return -1
		}
		*dst = Datum{kind: kind, num: v}
		return end
	case Text, JSON, File, Bytes:
		first, end := at+2, at+2+int(src[at+1])
		if src[at+1] >= 0x80 || end > len(src) {
			return decodeAtLength(dst, src, at)
		}
		*dst = NewString(kind, texts.of(src[first:end]))
		return end
	case Double:
		if len(src)-at < 9 {
			return -1
		}
		*dst = NewDouble(math.Float64frombits(binary.LittleEndian.Uint64(src[at+1:])))
		return at + 9
	}
	return decodeAtLength(dst, src, at)
}

// decodeAtLength is DecodeAt of everything.
func decodeAtLength(dst *Datum, src []byte, at int) int {
	if at > len(src) {
		return -1
	}
	value, rest, ok := decodeValue(src[at:], 0)
	if !ok {
		return -1
	}
	*dst = value
	return len(src) - len(rest)
}

// SkipAt returns the position behind the value at a position, without building it, or a negative number for malformed
// bytes.
func SkipAt(src []byte, at int) int {
	if at >= 0 && len(src)-at >= 2 {
		switch Kind(src[at]) { //nolint:exhaustive // the kinds not named take the long way
		case BigInt, Timestamp, DateTime, Date, Time, Int, SmallInt:
			const sure = 9 // bytes of a varint that cannot be too large
			for end := at + 1; end < len(src) && end <= at+sure; end++ {
				if src[end] < 0x80 {
					return end + 1
				}
			}
		case Text, JSON, File, Bytes:
			if end := at + 2 + int(src[at+1]); src[at+1] < 0x80 && end <= len(src) {
				return end
			}
		}
	}
	if at > len(src) {
		return -1
	}
	rest, ok := skipValue(src[at:])
	if !ok {
		return -1
	}
	return len(src) - len(rest)
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
	known         [textSlots]knownText
	lookups, hits int
	useless       bool
}

// knownText is a text with its first and last bytes as numbers: up to sixteen bytes are compared without looking at the text.
type knownText struct {
	head, tail uint64
	text       string
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
	var head, tail uint64
	if len(raw) >= 8 {
		head, tail = binary.LittleEndian.Uint64(raw), binary.LittleEndian.Uint64(raw[len(raw)-8:])
	} else {
		for _, b := range raw {
			tail = tail<<8 | uint64(b)
		}
	}
	const numbered = 16 // bytes that head and tail hold together
	slot := &t.known[(tail*textScrambler)>>58]
	if slot.tail == tail && slot.head == head && len(slot.text) == len(raw) && (len(raw) <= numbered || slot.text == string(raw)) {
		t.hits++
		return slot.text
	}
	*slot = knownText{head, tail, string(raw)}
	return slot.text
}
