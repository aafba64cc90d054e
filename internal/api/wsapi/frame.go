package wsapi

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"slices"
	"unicode/utf8"

	"github.com/gorilla/websocket"
)

// Opcodes of frames.
const (
	opContinuation byte = 0x0
	opText         byte = 0x1
	opBinary       byte = 0x2
	opClose        byte = 0x8
	opPing         byte = 0x9
	opPong         byte = 0xa
	finBit         byte = 0x80
	reservedBits   byte = 0x70
	maskBit        byte = 0x80
)

// maxFrameHeader is the longest header of a frame that a server sends.
const maxFrameHeader = 10

// maxControl is the longest payload of a control frame.
const maxControl = 125

// appendFrame appends the header of a whole message; the caller appends size bytes.
func appendFrame(dst []byte, opcode byte, size int) []byte {
	dst = append(dst, finBit|opcode)
	switch {
	case size < 126:
		return append(dst, byte(size)) //nolint:gosec // bounded where it enters
	case size < 1<<16:
		return binary.BigEndian.AppendUint16(append(dst, 126), uint16(size))
	}
	return binary.BigEndian.AppendUint64(append(dst, 127), uint64(size))
}

// frameHeaderSize is how many bytes appendFrame appends.
func frameHeaderSize(size int) int {
	switch {
	case size < 126:
		return 2
	case size < 1<<16:
		return 4
	}
	return maxFrameHeader
}

// frameEnd is where the frame ends of which the byte before at is a part; frames are those of appendFrame, one behind the other.
func frameEnd(frames []byte, at int) int {
	end := 0
	for end < at {
		head, size := 2, uint64(frames[end+1])
		switch size {
		case 126:
			head, size = 4, uint64(binary.BigEndian.Uint16(frames[end+2:]))
		case 127:
			head, size = 10, binary.BigEndian.Uint64(frames[end+2:])
		}
		end += head + int(size) //nolint:gosec // it lies within frames
	}
	return end
}

func appendClose(dst []byte, code int, reason string) []byte {
	payload := websocket.FormatCloseMessage(code, reason)
	return append(appendFrame(dst, opClose, len(payload)), payload...)
}

// readAhead is what an idle connection keeps for reading: a usual message comes in one read. It holds a control frame.
const readAhead = 256

// frameReader reads the frames of a client. It is a part of its connection and keeps nothing beside its buffer, and the
// wait for the next frame is a shallow call, so that the stack of an idle connection's goroutine never grows.
type frameReader struct {
	conn     net.Conn
	from, to int   // what of ahead was read from the connection and not yet taken
	failure  error // of the wait; the next read says so
	ahead    [readAhead]byte
}

// frameHeader is what a frame says of itself.
type frameHeader struct {
	opcode byte
	final  bool
	size   uint64
	mask   [4]byte
}

// protocolError says which rule of RFC 6455 a client broke.
type protocolError struct{ rule string }

// Error implements error.
func (e *protocolError) Error() string { return "malformed frame: " + e.rule }

func broken(format string, values ...any) error {
	return &protocolError{fmt.Sprintf(format, values...)}
}

// holds reports whether bytes have come that were not taken.
func (r *frameReader) holds() bool { return r.from < r.to }

// wait returns once bytes have come, or the connection failed. Nothing may be held.
func (r *frameReader) wait() {
	r.from = 0
	r.to, r.failure = r.conn.Read(r.ahead[:])
}

// fill reads at least one byte more behind those that are held; there must be room.
func (r *frameReader) fill() error {
	if r.failure != nil {
		return r.failure
	}
	if r.from > 0 {
		r.to = copy(r.ahead[:], r.ahead[r.from:r.to])
		r.from = 0
	}
	n, err := r.conn.Read(r.ahead[r.to:])
	r.to += n
	if n > 0 {
		r.failure = err
		return nil
	}
	return err
}

// take returns the next bytes, at most readAhead. They are good until the next call.
func (r *frameReader) take(n int) ([]byte, error) {
	for r.to-r.from < n {
		if err := r.fill(); err != nil {
			return nil, err
		}
	}
	taken := r.ahead[r.from : r.from+n]
	r.from += n
	return taken, nil
}

// header reads the header of the next frame and checks what can be checked without the frames before.
func (r *frameReader) header() (h frameHeader, err error) {
	first, err := r.take(2)
	if err != nil {
		return h, err
	}
	h.opcode, h.final, h.size = first[0]&0xf, first[0]&finBit != 0, uint64(first[1]&^maskBit)
	switch {
	case first[0]&reservedBits != 0:
		return h, broken("a reserved bit is set")
	case first[1]&maskBit == 0:
		return h, broken("a frame of a client is not masked")
	case h.opcode > opBinary && h.opcode < opClose || h.opcode > opPong:
		return h, broken("unknown opcode %d", h.opcode)
	case h.control() && (!h.final || h.size > maxControl):
		return h, broken("a control frame is long or in parts")
	}
	rest := 4
	switch h.size {
	case 126:
		rest += 2
	case 127:
		rest += 8
	}
	more, err := r.take(rest)
	if err != nil {
		return h, err
	}
	switch h.size {
	case 126:
		h.size = uint64(binary.BigEndian.Uint16(more))
	case 127:
		if h.size = binary.BigEndian.Uint64(more); h.size >= 1<<63 {
			return h, broken("a frame of %d bytes", h.size)
		}
	}
	h.mask = [4]byte(more[rest-4:])
	return h, nil
}

func (h frameHeader) control() bool { return h.opcode >= opClose }

// payload gives the payload of a frame piece by piece; pieces are good until give returns.
func (r *frameReader) payload(h frameHeader, give func(piece []byte)) error {
	for at := uint64(0); at < h.size; {
		if !r.holds() {
			if err := r.fill(); err != nil {
				return err
			}
		}
		piece, err := r.take(int(min(h.size-at, uint64(r.to-r.from)))) //nolint:gosec // at most readAhead
		if err != nil {
			return err
		}
		for i := range piece {
			piece[i] ^= h.mask[(at+uint64(i))&3]
		}
		at += uint64(len(piece))
		give(piece)
	}
	return nil
}

// closeCodeOf reads the payload of a close frame.
func closeCodeOf(payload []byte) (int, error) {
	if len(payload) < 2 {
		return websocket.CloseNormalClosure, nil
	}
	code := int(binary.BigEndian.Uint16(payload))
	known := []int{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013}
	if !slices.Contains(known, code) && (code < 3000 || code > 4999) {
		return 0, broken("close code %d", code)
	}
	if !utf8.Valid(payload[2:]) {
		return 0, broken("the reason of a close is not UTF-8")
	}
	return code, nil
}

var (
	errClosing = errors.New("the client closed the connection")
	errEndless = errors.New("the message does not end")
)

// maxSkipped is how much of an oversized message is read to its end; a longer one ends the connection.
const maxSkipped = 64 << 20

// messageReader puts the frames of one message together.
type messageReader struct {
	limit   uint64
	opcode  byte // of the first frame; zero before it
	data    []byte
	skipped uint64 // bytes of a message over the limit
}

// next reads a frame that is no control frame and reports whether it was the last of its message. One over the limit is
// read to its end, and is errTooLarge then.
func (m *messageReader) next(r *frameReader, h frameHeader) (done bool, err error) {
	switch {
	case m.opcode == 0 && h.opcode == opContinuation:
		return false, broken("the continuation of nothing")
	case m.opcode != 0 && h.opcode != opContinuation:
		return false, broken("a message begins within another")
	}
	if m.opcode == 0 {
		m.opcode = h.opcode
	}
	if m.skipped > 0 || uint64(len(m.data))+h.size > m.limit {
		m.skipped += uint64(len(m.data)) + h.size
		if m.data = nil; m.skipped > m.limit+maxSkipped {
			return false, errEndless
		}
		if err = r.payload(h, func([]byte) {}); err == nil && h.final {
			err = errTooLarge
		}
		return h.final, err
	}
	// What a header claims is not yet there: the message takes memory as it comes.
	err = r.payload(h, func(piece []byte) { m.data = append(m.data, piece...) })
	return h.final, err
}
