package wsapi

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kalamdb/kalamdb-go/internal/changefeed"
	"github.com/kalamdb/kalamdb-go/internal/live"
	"github.com/kalamdb/kalamdb-go/internal/session"
)

var rewrite = flag.Bool("rewrite", false, "write golden files anew")

func insertEvent(body string) *live.Event {
	return &live.Event{Kind: changefeed.Insert, JSON: []byte(`"change_type":"insert","rows":[{"id":"1","body":"` + body + `","_seq":"65536"}]}`)}
}

func updateEvent() *live.Event {
	return &live.Event{Kind: changefeed.Update, JSON: []byte(
		`"change_type":"update","rows":[{"id":7,"f":1.5,"ok":true}],"old_values":[{"id":7,"f":null,"n":-40000}]}`)}
}

func frameOf(c *codec, p protocol, event *live.Event) []byte {
	sub := &live.Subscription{ID: `chat "1"`, Tag: changeTag(p, `chat "1"`)}
	ch := c.changeOf(p, live.Notification{Sub: sub, Event: event})
	return ch.append(nil)
}

// TestGoldenFrames pins what goes over the wire.
func TestGoldenFrames(t *testing.T) {
	t.Parallel()
	c := newCodec()
	text, packed := protocol{}, protocol{msgpack: true}
	var list strings.Builder
	line := func(name string, frame []byte) { fmt.Fprintf(&list, "%s\n%q\n", name, frame) }
	line("insert, json", frameOf(c, text, insertEvent("hello")))
	line("update, json", frameOf(c, text, updateEvent()))
	line("insert, msgpack", frameOf(c, packed, insertEvent("hello")))
	line("update, msgpack", frameOf(c, packed, updateEvent()))
	line("insert of 300 bytes, json", frameOf(c, text, insertEvent(strings.Repeat("x", 300))))
	line("auth_success", c.appendMessage(nil, text, authSuccess("ada", session.RoleDBA, protocol{gzip: true})))
	line("auth_error", c.appendMessage(nil, text, authError("The token has expired")))
	line("error", c.appendMessage(nil, text, errorMessage("chat", codeSlowConsumer, "too slow")))
	line("error, msgpack", c.appendMessage(nil, packed, errorMessage("chat", codeSlowConsumer, "too slow")))
	line("error that is final", c.appendMessage(nil, text, endMessage("chat", &live.Error{Code: live.CodeFailed, Message: "no", Final: true})))
	line("batch 0", batchMessage("chat", &live.Batch{Rows: []byte(`[{"id":1}]`), Count: 1, HasMore: true, LastSeq: 65537}))
	line("batch 1", batchMessage("chat", &live.Batch{Number: 1, Rows: []byte(`[]`), HasMore: true}))
	line("batch 2", batchMessage("chat", &live.Batch{Number: 2, Rows: []byte(`[]`)}))
	line("close", appendClose(nil, 1001, "bye"))
	const path = "testdata/frames.txt"
	if *rewrite {
		if err := os.WriteFile(path, []byte(list.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), list.String()); diff != "" {
		t.Errorf("frames (-want +got):\n%s", diff)
	}
}

// payload takes a server's frame apart.
func payload(t *testing.T, frame []byte) (opcode byte, content []byte) {
	t.Helper()
	header := 2
	switch frame[1] {
	case 126:
		header = 4
	case 127:
		header = 10
	}
	return frame[0] & 0x0f, frame[header:]
}

// TestCompressedFrames: whatever was spliced, the client sees the same message.
func TestCompressedFrames(t *testing.T) {
	t.Parallel()
	c := newCodec()
	for _, size := range []int{0, 300, 600, 5000, 100_000} {
		for _, packed := range []bool{false, true} {
			event := insertEvent(strings.Repeat("abc ", size/4))
			_, plain := payload(t, frameOf(c, protocol{msgpack: packed}, event))
			opcode, content := payload(t, frameOf(c, protocol{msgpack: packed, gzip: true}, event))
			compressed := bytes.HasPrefix(content, []byte{0x1f, 0x8b})
			if want := len(plain) >= minCompressed; compressed != want || compressed && opcode != opBinary {
				t.Errorf("%d bytes, msgpack %v: compressed %v, opcode %d", len(plain), packed, compressed, opcode)
			}
			if compressed {
				r, err := gzip.NewReader(bytes.NewReader(content))
				if err != nil {
					t.Fatal(err)
				}
				r.Multistream(false) // many clients read the first member only
				if content, err = io.ReadAll(r); err != nil {
					t.Fatalf("%d bytes, msgpack %v: %v", len(plain), packed, err)
				}
			}
			if !bytes.Equal(content, plain) {
				t.Errorf("%d bytes, msgpack %v: another message came out", len(plain), packed)
			}
		}
	}
}

// TestEventIsEncodedOnce: however many receive an event and in whatever forms, each form of it is made once.
func TestEventIsEncodedOnce(t *testing.T) {
	t.Parallel()
	c := newCodec()
	event := insertEvent(strings.Repeat("abc ", 400))
	type form struct{ body, deflated *byte }
	at := func(data []byte) *byte {
		if len(data) == 0 {
			return nil
		}
		return &data[0]
	}
	seen := map[form]int{}
	const receivers = 10_000
	for i := range receivers {
		p := protocol{msgpack: i%2 == 0, gzip: i%4 < 2}
		frame := c.changeOf(p, live.Notification{Sub: &live.Subscription{Tag: changeTag(p, strconv.Itoa(i))}, Event: event})
		seen[form{at(frame.body), at(frame.deflated)}]++
	}
	if len(seen) != 4 {
		t.Errorf("%d receivers of four forms were given %d", receivers, len(seen))
	}
	for form, count := range seen {
		if count != receivers/4 || form.body == nil {
			t.Errorf("%d receivers share %v, want %d", count, form, receivers/4)
		}
	}
}

func TestUnpackRefuses(t *testing.T) {
	t.Parallel()
	for name, data := range map[string][]byte{
		"nothing": {}, "cut string": {0xa5, 'a'}, "cut map": {0x81, 0xa1, 'a'}, "number as key": {0x81, 0x01, 0x01},
		"binary": {0xc4, 0x01, 0x00}, "extension": {0xd4, 0x01, 0x00}, "reserved": {0xc1}, "two values": {0x01, 0x02},
		"long array without content": {0xdd, 0xff, 0xff, 0xff, 0xff}, "not a number": {0xca, 0x7f, 0xc0, 0, 0},
		"deep": bytes.Repeat([]byte{0x91}, 40),
	} {
		if text, err := unpack(data); err == nil {
			t.Errorf("%s: %s", name, text)
		}
	}
}

func TestTranscodeAndBack(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		`{"type":"subscribe","subscription":{"id":"a","options":{"batch_size":5,"from":18446744073709551615}}}`,
		`[1,127,128,65535,65536,4294967295,4294967296,-1,-32,-33,-9223372036854775808,1.25,true,false,null,""]`,
		`[` + strings.Repeat(`"`+strings.Repeat("x", 40)+`",`, 20) + `"` + strings.Repeat("y", 70_000) + `"]`,
	} {
		back, err := unpack(transcode([]byte(text)))
		if err != nil || string(back) != text {
			t.Errorf("%.80s came back as %.80s, %v", text, back, err)
		}
	}
}

func TestMessages(t *testing.T) {
	t.Parallel()
	m, err := parseMessage([]byte(`{"type":"subscribe","subscription":{"id":"a","sql":"s","options":{"from_seq_id":"9007199254740993"}}}`))
	if err != nil || *m.Subscription.Options.initial().From != 9007199254740993 {
		t.Errorf("%+v, %v", m, err)
	}
	for _, text := range []string{``, `nul`, `[]`, `{"type":1}`, `{"type":"next_batch","last_seq_id":-1}`, `{"type":"ping"} x`} {
		if _, err := parseMessage([]byte(text)); err == nil {
			t.Errorf("%q was accepted", text)
		}
	}
	for _, s := range []*speaking{nil, {}, {Serialization: "json"}, {Serialization: "xml", Compression: "none"}, {Serialization: "json", Compression: "br"}} {
		if _, err := s.protocol(); err == nil {
			t.Errorf("%+v was accepted", s)
		}
	}
}

// FuzzInbound: no frame of a client breaks the server's reading, and msgpack that is read gives JSON.
func FuzzInbound(f *testing.F) {
	f.Add([]byte(`{"type":"ping"}`))
	f.Add(transcode([]byte(`{"type":"subscribe","subscription":{"id":"a","sql":"x","options":{"batch_size":1}}}`)))
	f.Add([]byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff})
	f.Add([]byte{0xdf, 0xff, 0xff, 0xff, 0xff})
	f.Add([]byte{0xcb, 0x7f, 0xf0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		const limit = 1 << 16
		if plain, err := inflate(data, limit); err == nil && len(plain) > limit {
			t.Errorf("inflated to %d bytes", len(plain))
		}
		if text, err := unpack(data); err == nil && !json.Valid(text) {
			t.Errorf("%x became %q", data, text)
		}
		if m, err := parseMessage(data); err == nil && m.Subscription != nil {
			_ = m.Subscription.Options.initial()
		}
	})
}

func BenchmarkChangeFrame(b *testing.B) {
	for _, gzipped := range []bool{false, true} {
		b.Run(fmt.Sprint("gzip ", gzipped), func(b *testing.B) {
			c, p := newCodec(), protocol{gzip: gzipped}
			event := insertEvent(strings.Repeat("abcd", 1000))
			sub := &live.Subscription{Tag: changeTag(p, "chat")}
			var dst []byte
			b.ReportAllocs()
			for b.Loop() {
				ch := c.changeOf(p, live.Notification{Sub: sub, Event: event})
				dst = ch.append(dst[:0])
			}
		})
	}
}
