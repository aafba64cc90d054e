package wsapi

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/kalamdb/kalamdb-go/internal/datum"
)

func quote(text string) []byte { return datum.AppendJSONString(nil, text) }

// transcode turns a JSON text that this server made into msgpack: objects become maps with string keys in the
// same order, numbers with a fraction or exponent become floats.
func transcode(text []byte) []byte {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	packed, err := appendPacked(make([]byte, 0, len(text)), decoder)
	if err != nil {
		panic(fmt.Sprintf("wsapi: a message of this server is no JSON: %v", err))
	}
	return packed
}

func appendPacked(dst []byte, decoder *json.Decoder) ([]byte, error) {
	token, err := decoder.Token()
	if err != nil {
		return nil, err
	}
	switch value := token.(type) {
	case nil:
		return append(dst, 0xc0), nil
	case bool:
		if value {
			return append(dst, 0xc3), nil
		}
		return append(dst, 0xc2), nil
	case string:
		return appendPackedString(dst, value), nil
	case json.Number:
		return appendPackedNumber(dst, value.String())
	case json.Delim:
		return appendPackedParts(dst, decoder, value == '{')
	}
	return nil, fmt.Errorf("token %v", token)
}

// appendPackedParts packs the rest of an object or array.
func appendPackedParts(dst []byte, decoder *json.Decoder, object bool) ([]byte, error) {
	var parts []byte
	count := 0
	var err error
	for decoder.More() {
		if parts, err = appendPacked(parts, decoder); err != nil {
			return nil, err
		}
		if object {
			if parts, err = appendPacked(parts, decoder); err != nil {
				return nil, err
			}
		}
		count++
	}
	if _, err = decoder.Token(); err != nil {
		return nil, err
	}
	small, large := byte(0x90), byte(0xdc)
	if object {
		small, large = 0x80, 0xde
	}
	switch {
	case count < 16:
		dst = append(dst, small|byte(count))
	case count < 1<<16:
		dst = binary.BigEndian.AppendUint16(append(dst, large), uint16(count))
	default:
		dst = binary.BigEndian.AppendUint32(append(dst, large+1), uint32(count))
	}
	return append(dst, parts...), nil
}

func appendPackedString(dst []byte, value string) []byte {
	switch n := len(value); {
	case n < 32:
		dst = append(dst, 0xa0|byte(n))
	case n < 1<<8:
		dst = append(dst, 0xd9, byte(n))
	case n < 1<<16:
		dst = binary.BigEndian.AppendUint16(append(dst, 0xda), uint16(n))
	default:
		dst = binary.BigEndian.AppendUint32(append(dst, 0xdb), uint32(n)) //nolint:gosec // a message is smaller
	}
	return append(dst, value...)
}

func appendPackedNumber(dst []byte, text string) ([]byte, error) {
	if strings.ContainsAny(text, ".eE") {
		f, err := strconv.ParseFloat(text, 64)
		return binary.BigEndian.AppendUint64(append(dst, 0xcb), math.Float64bits(f)), err
	}
	if u, err := strconv.ParseUint(text, 10, 64); err == nil {
		switch {
		case u < 128:
			return append(dst, byte(u)), nil
		case u < 1<<16:
			return binary.BigEndian.AppendUint16(append(dst, 0xcd), uint16(u)), nil
		case u < 1<<32:
			return binary.BigEndian.AppendUint32(append(dst, 0xce), uint32(u)), nil
		}
		return binary.BigEndian.AppendUint64(append(dst, 0xcf), u), nil
	}
	i, err := strconv.ParseInt(text, 10, 64)
	if i >= -32 {
		return append(dst, byte(i)), err //nolint:gosec // a negative fixint
	}
	return binary.BigEndian.AppendUint64(append(dst, 0xd3), uint64(i)), err //nolint:gosec // the bits are kept
}

var errPacked = errors.New("malformed msgpack")

// maxPackedDepth bounds the nesting of what clients send.
const maxPackedDepth = 16

// unpack turns msgpack from a client into JSON. Extensions, binary values and keys that are no strings are
// refused: no message holds them.
func unpack(data []byte) ([]byte, error) {
	u := unpacker{rest: data}
	text, err := u.value(make([]byte, 0, 2*len(data)), 0)
	if err == nil && len(u.rest) > 0 {
		return nil, errPacked
	}
	return text, err
}

type unpacker struct{ rest []byte }

func (u *unpacker) take(n uint64) ([]byte, error) {
	if n > uint64(len(u.rest)) {
		return nil, errPacked
	}
	taken := u.rest[:n]
	u.rest = u.rest[n:]
	return taken, nil
}

// number reads n bytes as a big-endian number.
func (u *unpacker) number(n uint64) (uint64, error) {
	raw, err := u.take(n)
	v := uint64(0)
	for _, b := range raw {
		v = v<<8 | uint64(b)
	}
	return v, err
}

func (u *unpacker) value(dst []byte, depth int) ([]byte, error) {
	head, err := u.number(1)
	if err != nil || depth > maxPackedDepth {
		return nil, errPacked
	}
	switch {
	case head < 0x80:
		return strconv.AppendUint(dst, head, 10), nil
	case head < 0x90:
		return u.parts(dst, head&0x0f, true, depth)
	case head < 0xa0:
		return u.parts(dst, head&0x0f, false, depth)
	case head < 0xc0:
		return u.text(dst, head&0x1f)
	case head >= 0xe0:
		return strconv.AppendInt(dst, int64(int8(head)), 10), nil //nolint:gosec // a negative fixint
	}
	switch head {
	case 0xc0:
		return append(dst, "null"...), nil
	case 0xc2, 0xc3:
		return strconv.AppendBool(dst, head == 0xc3), nil
	case 0xca, 0xcb:
		return u.float(dst, head == 0xca)
	case 0xcc, 0xcd, 0xce, 0xcf:
		v, err := u.number(1 << (head - 0xcc))
		return strconv.AppendUint(dst, v, 10), err
	case 0xd0, 0xd1, 0xd2, 0xd3:
		width := uint64(1) << (head - 0xd0)
		v, err := u.number(width)
		shift := 64 - 8*width
		return strconv.AppendInt(dst, int64(v<<shift)>>shift, 10), err //nolint:gosec // the sign is extended
	}
	return u.long(dst, head, depth)
}

// long reads what has its length behind the head.
func (u *unpacker) long(dst []byte, head uint64, depth int) ([]byte, error) {
	switch head {
	case 0xd9, 0xda, 0xdb:
		n, err := u.number(1 << (head - 0xd9))
		if err != nil {
			return nil, err
		}
		return u.text(dst, n)
	case 0xdc, 0xdd, 0xde, 0xdf:
		n, err := u.number(2 << (head & 1))
		if err != nil {
			return nil, err
		}
		return u.parts(dst, n, head >= 0xde, depth)
	}
	return nil, errPacked
}

func (u *unpacker) float(dst []byte, short bool) ([]byte, error) {
	width := uint64(8)
	if short {
		width = 4
	}
	bits, err := u.number(width)
	f := math.Float64frombits(bits)
	if short {
		f = float64(math.Float32frombits(uint32(bits))) //nolint:gosec // four bytes were read
	}
	if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
		return nil, errPacked
	}
	if f == math.Trunc(f) && math.Abs(f) < 1<<53 {
		return strconv.AppendInt(dst, int64(f), 10), nil // clients without integers send cursors so
	}
	return strconv.AppendFloat(dst, f, 'g', -1, 64), nil
}

func (u *unpacker) text(dst []byte, n uint64) ([]byte, error) {
	raw, err := u.take(n)
	if err != nil {
		return nil, err
	}
	return datum.AppendJSONString(dst, string(raw)), nil
}

func (u *unpacker) parts(dst []byte, n uint64, object bool, depth int) ([]byte, error) {
	opening, closing := byte('['), byte(']')
	if object {
		opening, closing = '{', '}'
	}
	dst = append(dst, opening)
	var err error
	for i := range n {
		if i > 0 {
			dst = append(dst, ',')
		}
		if object {
			at := len(dst)
			if dst, err = u.value(dst, depth+1); err != nil {
				return nil, err
			}
			if dst[at] != '"' {
				return nil, errPacked
			}
			dst = append(dst, ':')
		}
		if dst, err = u.value(dst, depth+1); err != nil {
			return nil, err
		}
	}
	return append(dst, closing), nil
}
