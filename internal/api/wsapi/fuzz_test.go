package wsapi

import (
	"bytes"
	"encoding/json"
	"testing"
)

// FuzzClientFrame: whatever a client sends is a message or an error, within the limit, and what it says in msgpack is
// JSON.
func FuzzClientFrame(f *testing.F) {
	f.Add([]byte(`{"type":"subscribe","subscription":{"id":"a","sql":"SELECT 1","options":{"from":"7","batch_size":2}}}`))
	f.Add([]byte(`{"type":"next_batch","subscription_id":"a","last_seq_id":12}`))
	f.Add(transcode([]byte(`{"type":"ping","list":[1,-2,3.5,null,true,"x",{}]}`)))
	f.Add([]byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff})
	f.Add([]byte{0xdd, 0xff, 0xff, 0xff, 0xff})
	f.Add(bytes.Repeat([]byte{0x91}, 20_000))
	f.Fuzz(func(t *testing.T, frame []byte) {
		const limit = 1 << 16
		if m, err := parseMessage(frame); err == nil && m == nil {
			t.Error("neither a message nor an error")
		}
		if plain, err := inflate(frame, limit); err == nil && len(plain) > limit {
			t.Errorf("%d bytes came out of a frame over a limit of %d", len(plain), limit)
		}
		if text, err := unpack(frame); err == nil && !json.Valid(text) {
			t.Errorf("msgpack %x became %q, which is no JSON", frame, text)
		}
	})
}
