package server

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"encoding/json"
	"io"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gorilla/websocket"
)

// unpackAny reads one msgpack value as encoding/json would: maps with string keys, numbers as float64.
func unpackAny(t *testing.T, data []byte) (value any, rest []byte) {
	t.Helper()
	b := data[0]
	take := func(n int) []byte {
		part := data[1 : 1+n]
		data = data[n:]
		return part
	}
	count, kind := 0, byte(0)
	switch {
	case b < 0x80:
		return float64(b), data[1:]
	case b >= 0xe0:
		return float64(int8(b)), data[1:]
	case b < 0x90:
		count, kind = int(b&0xf), 'm'
	case b < 0xa0:
		count, kind = int(b&0xf), 'a'
	case b < 0xc0:
		count, kind = int(b&0x1f), 's'
	case b == 0xc0:
		return nil, data[1:]
	case b == 0xc2 || b == 0xc3:
		return b == 0xc3, data[1:]
	case b == 0xcb:
		return math.Float64frombits(binary.BigEndian.Uint64(take(8))), data[1:]
	case b == 0xcc:
		return float64(take(1)[0]), data[1:]
	case b == 0xcd:
		return float64(binary.BigEndian.Uint16(take(2))), data[1:]
	case b == 0xce:
		return float64(binary.BigEndian.Uint32(take(4))), data[1:]
	case b == 0xcf:
		return float64(binary.BigEndian.Uint64(take(8))), data[1:]
	case b == 0xd9:
		count, kind = int(take(1)[0]), 's'
	case b == 0xda:
		count, kind = int(binary.BigEndian.Uint16(take(2))), 's'
	case b == 0xdb:
		count, kind = int(binary.BigEndian.Uint32(take(4))), 's'
	case b == 0xdc:
		count, kind = int(binary.BigEndian.Uint16(take(2))), 'a'
	case b == 0xde:
		count, kind = int(binary.BigEndian.Uint16(take(2))), 'm'
	default:
		t.Fatalf("byte %x of %q", b, data)
	}
	data = data[1:]
	switch kind {
	case 's':
		return string(data[:count]), data[count:]
	case 'a':
		list := make([]any, count)
		for i := range list {
			list[i], data = unpackAny(t, data)
		}
		return list, data
	}
	object := make(map[string]any, count)
	for range count {
		var name any
		name, data = unpackAny(t, data)
		object[name.(string)], data = unpackAny(t, data) //nolint:errcheck // another key ends the test, as it should
	}
	return object, data
}

// spoken is a connection and how it speaks.
type spoken struct {
	*socket
	msgpack, gzip bool
	zipped        int // compressed frames that came
}

// hear reads a message and checks that its frame is what was settled.
func (s *spoken) hear() map[string]any {
	s.t.Helper()
	message, err := s.listen()
	if err != nil {
		s.t.Fatal(err)
	}
	return message
}

// listen is hear that may meet the end of the connection.
func (s *spoken) listen() (map[string]any, error) {
	s.t.Helper()
	if err := s.ws.SetReadDeadline(time.Now().Add(tooLong)); err != nil {
		return nil, err
	}
	kind, data, err := s.ws.ReadMessage()
	if err != nil {
		return nil, err
	}
	zipped := len(data) > 1 && data[0] == 0x1f && data[1] == 0x8b
	want := websocket.TextMessage
	if s.msgpack || zipped {
		want = websocket.BinaryMessage
	}
	if kind != want || zipped && !s.gzip {
		s.t.Fatalf("frame of kind %d, compressed %v", kind, zipped)
	}
	if zipped {
		s.zipped++
		r, err := gzip.NewReader(bytes.NewReader(data))
		if err != nil {
			s.t.Fatal(err)
		}
		if data, err = io.ReadAll(r); err != nil {
			s.t.Fatal(err)
		}
		if len(data) < 512 {
			s.t.Fatalf("%d bytes were compressed", len(data))
		}
	}
	if s.msgpack {
		value, rest := unpackAny(s.t, data)
		if len(rest) > 0 {
			s.t.Fatalf("%d bytes behind a message", len(rest))
		}
		return value.(map[string]any), nil //nolint:errcheck // anything else ends the test, as it should
	}
	var value map[string]any
	if err := json.Unmarshal(data, &value); err != nil {
		s.t.Fatalf("%s: %v", data, err)
	}
	return value, nil
}

// say sends a message in the form of the connection.
func (s *spoken) say(message string) {
	s.t.Helper()
	if !s.msgpack {
		s.send(message)
		return
	}
	var value map[string]any
	if err := json.Unmarshal([]byte(message), &value); err != nil {
		s.t.Fatal(err)
	}
	if err := s.ws.WriteMessage(websocket.BinaryMessage, packAny(nil, value)); err != nil {
		s.t.Fatal(err)
	}
}

func packAny(dst []byte, value any) []byte {
	switch v := value.(type) {
	case string:
		dst = binary.BigEndian.AppendUint16(append(dst, 0xda), uint16(len(v)))
		return append(dst, v...)
	case float64:
		return binary.BigEndian.AppendUint64(append(dst, 0xcf), uint64(v))
	case []any:
		dst = binary.BigEndian.AppendUint16(append(dst, 0xdc), uint16(len(v)))
		for _, element := range v {
			dst = packAny(dst, element)
		}
		return dst
	case map[string]any:
		dst = binary.BigEndian.AppendUint16(append(dst, 0xde), uint16(len(v)))
		for name, element := range v {
			dst = packAny(packAny(dst, name), element)
		}
		return dst
	}
	return append(dst, 0xc0)
}

// TestFormsSayTheSame: JSON and msgpack, compressed and not, say the same of everything: acknowledgements, batches, changes,
// results, cuts, errors and authentication. Authentication is JSON whatever was chosen, by header and by message.
func TestFormsSayTheSame(t *testing.T) {
	t.Parallel()
	n, c := liveNode(t, nil)
	c.sql("CREATE TABLE chat.every (id BIGINT PRIMARY KEY, n INT, f DOUBLE, b BOOLEAN, t TEXT, j JSON, d DECIMAL(9,2), at TIMESTAMP) WITH (TYPE='SHARED')")
	long := strings.Repeat("long ", 200)
	c.sql("INSERT INTO chat.every VALUES (1, -5, 1.5, true, 'ä\"\n', '{\"k\":[1,-2.5e30]}', 1.50, '2026-01-02T03:04:05Z'), (2, NULL, NULL, NULL, NULL, NULL, NULL, NULL), (3, 70000, 1e300, false, '" +
		long + "', '[]', -0.01, NULL)")
	var all []*spoken
	for _, serialization := range []string{"json", "msgpack"} {
		for _, compression := range []string{"none", "gzip"} {
			for _, byHeader := range []bool{true, false} {
				s := &spoken{msgpack: serialization == "msgpack", gzip: compression == "gzip"}
				want := `{"type":"auth_success","user":"root","role":"system","protocol":{"serialization":"` + serialization + `","compression":"` + compression + `"}}`
				if byHeader {
					s.socket = dial(t, n, "?serialization="+serialization+"&compression="+compression, http.Header{"Authorization": {"Bearer " + c.token}})
				} else {
					s.socket = dial(t, n, "", nil)
					s.send(`{"type":"authenticate","method":"jwt","token":"` + c.token + `","protocol":{"serialization":"` + serialization + `","compression":"` + compression + `"}}`)
				}
				if kind, data, err := s.ws.ReadMessage(); err != nil || kind != websocket.TextMessage || string(data) != want {
					t.Fatalf("authentication of %s, %s: %s, %v", serialization, compression, data, err)
				}
				all = append(all, s)
			}
		}
	}
	step := func(what string, count int, act func(*spoken)) {
		t.Helper()
		var first []map[string]any
		for i, s := range all {
			if act != nil {
				act(s)
			}
			var list []map[string]any
			for range count {
				list = append(list, s.hear())
			}
			if i == 0 {
				first = list
			} else if diff := cmp.Diff(first, list); diff != "" {
				t.Fatalf("%s, msgpack %v, gzip %v (-first +this):\n%s", what, s.msgpack, s.gzip, diff)
			}
		}
	}
	say := func(message string) func(*spoken) { return func(s *spoken) { s.say(message) } }
	step("an error", 1, say(`{"type":"next_batch","subscription_id":"none"}`))
	step("the first batch", 2, say(subscribeText("rows", "SELECT * FROM chat.every", `{"batch_size":2}`)))
	step("the last batch", 1, say(`{"type":"next_batch","subscription_id":"rows","last_seq_id":1}`))
	step("a result", 2, say(subscribeText("result", "SELECT b, COUNT(*) AS n, AVG(f) AS f FROM chat.every GROUP BY b", `{}`)))
	c.sql("UPDATE chat.every SET n = 9, t = '" + long + "more' WHERE id = 1")
	step("an update", 1, nil)
	c.sql("DELETE FROM chat.every WHERE id = 3")
	step("a delete and the result's differences", 2, nil)
	step("a cut", 5, say(`{"type":"subscribe_all","id":"cut","subscriptions":[{"id":"a","sql":"SELECT id FROM chat.every","options":{}},`+
		`{"id":"b","sql":"SELECT * FROM chat.log","options":{"from":0}}]}`))
	for _, s := range all {
		if s.gzip != (s.zipped > 0) {
			t.Errorf("msgpack %v, gzip %v: %d frames were compressed", s.msgpack, s.gzip, s.zipped)
		}
	}
}
