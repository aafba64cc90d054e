package wsapi

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"sync"

	"github.com/klauspost/compress/flate"

	"github.com/kalamdb/kalamdb-go/internal/live"
)

// protocol is how one connection speaks.
type protocol struct {
	msgpack bool
	gzip    bool
}

// minCompressed is the size from which a payload is compressed, in bytes.
const minCompressed = 512

// Slots of live.Event.Form.
const (
	slotMsgpack = iota
	slotDeflated
	slotMsgpackDeflated
)

// codec turns messages into frames.
type codec struct {
	deflaters sync.Pool // of *flate.Writer
}

func newCodec() *codec {
	return &codec{deflaters: sync.Pool{New: func() any {
		w, err := flate.NewWriter(io.Discard, flate.BestSpeed)
		if err != nil {
			panic(err) // the level is a constant
		}
		return w
	}}}
}

// deflate compresses without a header.
func (c *codec) deflate(payload []byte) []byte {
	var out bytes.Buffer
	w := c.deflaters.Get().(*flate.Writer) //nolint:errcheck // the pool holds nothing else
	defer c.deflaters.Put(w)
	w.Reset(&out)
	// Writing to memory does not fail.
	_, _ = w.Write(payload)
	_ = w.Close()
	return out.Bytes()
}

// gzip framing of a payload whose first part is stored and whose rest was compressed before.
const (
	gzipHeaderLen  = 10
	storedBlockLen = 5
	gzipTrailerLen = 8
	maxStored      = 1<<16 - 1
)

// appendStored appends what a gzip stream has before the compressed body: the head goes in as a stored block, which ends on a byte, so that
// compressed blocks follow as they are. An empty one does no harm.
func appendStored(dst []byte, head ...[]byte) []byte {
	size := 0
	for _, part := range head {
		size += len(part)
	}
	dst = append(dst, 0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff)
	dst = append(dst, 0) // stored, not the last block
	dst = binary.LittleEndian.AppendUint16(dst, uint16(size))
	dst = binary.LittleEndian.AppendUint16(dst, ^uint16(size))
	for _, part := range head {
		dst = append(dst, part...)
	}
	return dst
}

// appendTrailer appends what is behind the compressed body, where plain is everything that is compressed.
func appendTrailer(dst []byte, plain ...[]byte) []byte {
	sum, size := uint32(0), 0
	for _, part := range plain {
		sum, size = crc32.Update(sum, crc32.IEEETable, part), size+len(part)
	}
	dst = binary.LittleEndian.AppendUint32(dst, sum)
	return binary.LittleEndian.AppendUint32(dst, uint32(size)) // modulo 2^32, as the format says
}

// appendMessage appends the frame of a JSON message.
func (c *codec) appendMessage(dst []byte, p protocol, message []byte) []byte {
	opcode := opText
	if p.msgpack {
		opcode = opBinary
		message = transcode(message)
	}
	if p.gzip && len(message) >= minCompressed {
		deflated := c.deflate(message)
		if size := gzipHeaderLen + storedBlockLen + len(deflated) + gzipTrailerLen; size < len(message) {
			dst = append(appendStored(appendFrame(dst, opBinary, size)), deflated...)
			return appendTrailer(dst, message)
		}
	}
	return append(appendFrame(dst, opcode, len(message)), message...)
}

// changeTag is what is the same in all change frames of a subscription.
func changeTag(p protocol, id string) []byte {
	head := append([]byte(`{"type":"change","subscription_id":`), quote(id)...)
	if !p.msgpack {
		return append(head, ',')
	}
	return transcode(append(head, '}'))[1:]
}

// change is the frame of an event for one receiver, in parts.
type change struct {
	opcode   byte
	first    []byte // before the tag
	tag      []byte
	body     []byte
	deflated []byte // the compressed body; empty when the frame is not compressed
}

// changeOf finds the encoded parts of an event, encoding what nobody needed before.
func (c *codec) changeOf(p protocol, n live.Notification) change {
	e := n.Event
	out := change{opcode: opText, tag: n.Sub.Tag, body: e.JSON}
	slot := slotDeflated
	if p.msgpack {
		packed := e.Form(slotMsgpack, func(e *live.Event) []byte {
			return transcode(append([]byte{'{'}, e.JSON...))
		})
		// The members of the tag join those of the event in one map.
		out.opcode, out.first, out.body = opBinary, []byte{packed[0] + 2}, packed[1:]
		slot = slotMsgpackDeflated
	}
	raw := len(out.first) + len(out.tag) + len(out.body)
	if !p.gzip || raw < minCompressed || len(out.first)+len(out.tag) > maxStored {
		return out
	}
	deflated := e.Form(slot, func(*live.Event) []byte { return c.deflate(out.body) })
	if gzipHeaderLen+storedBlockLen+len(out.first)+len(out.tag)+len(deflated)+gzipTrailerLen < raw {
		out.opcode, out.deflated = opBinary, deflated
	}
	return out
}

// size is the number of payload bytes.
func (ch *change) size() int {
	head := len(ch.first) + len(ch.tag)
	if len(ch.deflated) > 0 {
		return gzipHeaderLen + storedBlockLen + head + len(ch.deflated) + gzipTrailerLen
	}
	return head + len(ch.body)
}

// frameSize is the number of bytes that append appends.
func (ch *change) frameSize() int { return frameHeaderSize(ch.size()) + ch.size() }

func (ch *change) append(dst []byte) []byte {
	dst = appendFrame(dst, ch.opcode, ch.size())
	if len(ch.deflated) == 0 {
		return append(append(append(dst, ch.first...), ch.tag...), ch.body...)
	}
	dst = append(appendStored(dst, ch.first, ch.tag), ch.deflated...)
	return appendTrailer(dst, ch.first, ch.tag, ch.body)
}

// split appends the frame up to its body, and returns the body, which is shared, and what comes behind it.
func (ch *change) split(dst []byte) (out, body, tail []byte) {
	dst = appendFrame(dst, ch.opcode, ch.size())
	if len(ch.deflated) == 0 {
		return append(append(dst, ch.first...), ch.tag...), ch.body, nil
	}
	return appendStored(dst, ch.first, ch.tag), ch.deflated, appendTrailer(nil, ch.first, ch.tag, ch.body)
}

// encode is an encoding in which large bodies are shared.
func (ch *change) encode(dst []byte) (out, body, tail []byte) {
	if ch.size() > portionBytes {
		return ch.split(dst)
	}
	return ch.append(dst), nil, nil
}

var errTooLarge = errors.New("message is too large")

// inflate undoes gzip, up to a bound.
func inflate(data []byte, limit int64) ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	plain, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(plain)) > limit {
		return nil, errTooLarge
	}
	return plain, nil
}
