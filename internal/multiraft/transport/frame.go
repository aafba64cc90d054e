package transport

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// A frame is a header and the encoded messages. All header numbers are little-endian.
//
//	0  version   1 byte, frameVersion
//	1  reserved  3 bytes, zero
//	4  crc32c    4 bytes, over everything from offset 8 to the end
//	8  length    4 bytes, of the whole frame
//	12 messages  4 bytes, how many follow
//	16 entries   4 bytes, how many log entries all messages hold together
//	20 messages
const (
	frameVersion    = 1
	frameHeaderSize = 20

	offsetChecksum = 4
	offsetLength   = 8
	offsetMessages = 12
	offsetEntries  = 16

	// maxFrameMessages and maxFrameEntries bound what the decoder allocates for a frame of tiny pieces.
	maxFrameMessages = 1 << 16
	maxFrameEntries  = 1 << 18
)

// frameBuilder encodes messages into one buffer.
type frameBuilder struct {
	buf      []byte
	messages int
	entries  int
}

// reset starts a frame in buf, whose content is overwritten.
func (b *frameBuilder) reset(buf []byte) {
	var header [frameHeaderSize]byte
	b.buf = append(buf[:0], header[:]...)
	b.messages, b.entries = 0, 0
}

// add appends a message. After an error the frame is as before.
func (b *frameBuilder) add(msg Message) error {
	start := len(b.buf)
	buf, err := appendMessage(b.buf, msg)
	if err != nil {
		b.buf = b.buf[:start]
		return err
	}
	b.buf = buf
	b.messages++
	b.entries += len(msg.Raft.Entries)
	return nil
}

// hasRoom reports whether a message of the given size and entries still belongs into this frame.
func (b *frameBuilder) hasRoom(size, entries, target int) bool {
	if b.messages == 0 {
		return true
	}
	return len(b.buf)+size <= target && b.messages < maxFrameMessages && b.entries+entries <= maxFrameEntries
}

// finish completes the header and returns the frame.
func (b *frameBuilder) finish() []byte {
	b.buf[0] = frameVersion
	binary.LittleEndian.PutUint32(b.buf[offsetLength:], uint32(len(b.buf)))   //nolint:gosec // bounded by the frame limit
	binary.LittleEndian.PutUint32(b.buf[offsetMessages:], uint32(b.messages)) //nolint:gosec // bounded by the frame limit
	binary.LittleEndian.PutUint32(b.buf[offsetEntries:], uint32(b.entries))   //nolint:gosec // bounded by the frame limit
	binary.LittleEndian.PutUint32(b.buf[offsetChecksum:], checksum(b.buf[offsetLength:]))
	return b.buf
}

// decodeFrame checks a frame and returns its messages, which alias it.
func decodeFrame(frame []byte, limit int) ([]Message, error) {
	if len(frame) < frameHeaderSize {
		return nil, fmt.Errorf("frame of %d bytes is shorter than its header: %w", len(frame), ErrMalformed)
	}
	if len(frame) > limit {
		return nil, fmt.Errorf("frame of %d bytes is over the limit of %d: %w", len(frame), limit, ErrMalformed)
	}
	if frame[0] != frameVersion {
		return nil, fmt.Errorf("frame version %d is not %d: %w", frame[0], frameVersion, ErrMalformed)
	}
	if frame[1]|frame[2]|frame[3] != 0 {
		return nil, fmt.Errorf("reserved frame bytes are not zero: %w", ErrMalformed)
	}
	if length := binary.LittleEndian.Uint32(frame[offsetLength:]); uint64(length) != uint64(len(frame)) {
		return nil, fmt.Errorf("frame says %d bytes and has %d: %w", length, len(frame), ErrMalformed)
	}
	if sum := binary.LittleEndian.Uint32(frame[offsetChecksum:]); sum != checksum(frame[offsetLength:]) {
		return nil, fmt.Errorf("frame of %d bytes: %w", len(frame), ErrCorrupt)
	}
	messages := binary.LittleEndian.Uint32(frame[offsetMessages:])
	entries := binary.LittleEndian.Uint32(frame[offsetEntries:])
	return decodeMessages(frame[frameHeaderSize:], messages, entries)
}

// checksum is the CRC-32C that guards frames and snapshot chunks.
func checksum(data []byte) uint32 {
	return crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli))
}
