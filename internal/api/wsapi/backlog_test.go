package wsapi

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/live"
)

// receiver is a connection without a server around it, over one that takes only what is read from it.
func receiver(t *testing.T, p protocol, limit int, timeout time.Duration) (*Conn, net.Conn) {
	t.Helper()
	server, client := net.Pipe()
	c := newConn(&Server{codec: newCodec()}, "")
	c.protocol = p
	c.out = newOutbox(server, limit, timeout, &c.server.drains, c.tooSlow)
	c.out.encode = c.encode
	t.Cleanup(func() {
		c.out.abort()
		_ = client.Close() // a test may have closed it
		c.out.wait()
	})
	return c, client
}

func subOf(p protocol, id string) *live.Subscription {
	return &live.Subscription{ID: id, Tag: changeTag(p, id)}
}

var everyProtocol = []protocol{{}, {gzip: true}, {msgpack: true}, {msgpack: true, gzip: true}}

// TestLargeDeliveriesAreWhatSmallOnesAre: whatever is copied and whatever is shared, a receiver is sent the same frames in the same order.
func TestLargeDeliveriesAreWhatSmallOnesAre(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(8, 9))
	for _, p := range everyProtocol {
		c, client := receiver(t, p, 1<<30, time.Minute)
		subs := []*live.Subscription{subOf(p, "a"), subOf(p, "another one")}
		var want []byte
		for range 20 {
			list := make([]live.Notification, 1+random.IntN(300)*random.IntN(2))
			for i := range list {
				size := random.IntN(600)
				if random.IntN(20) == 0 {
					size = random.IntN(5 * portionBytes)
				}
				text := make([]byte, size)
				for n := range text {
					text[n] = 'a' + byte(random.IntN(20))
				}
				list[i] = live.Notification{Sub: subs[random.IntN(len(subs))], Event: insertEvent(string(text))}
				list[i].Event.Seq = uint64(i + 1)
				frame := c.server.codec.changeOf(p, list[i])
				want = frame.append(want)
			}
			c.Deliver(list)
			clear(list) // it is the stream's
		}
		if held := c.out.heldBytes(); held != len(want) {
			t.Errorf("%+v: %d bytes count as held, %d are", p, held, len(want))
		}
		got := make([]byte, len(want))
		if _, err := io.ReadFull(client, got); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%+v: other frames came, %v", p, err)
		}
		if err := c.out.pace(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// TestLargeEventsAreWhatSmallOnesAre: so it is with Server-Sent Events, which count what they are, and know the cursor behind what they have taken.
func TestLargeEventsAreWhatSmallOnesAre(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(10, 11))
	e, sub := newEventStream(1<<30), subOf(protocol{}, eventsID)
	var want, got []byte
	seq := uint64(0)
	for range 20 {
		list := make([]live.Notification, 1+random.IntN(300)*random.IntN(2))
		for i := range list {
			size := random.IntN(600)
			if random.IntN(20) == 0 {
				size = random.IntN(5 * portionBytes)
			}
			list[i] = live.Notification{Sub: sub, Event: insertEvent(strings.Repeat("x", size))}
			seq += 1 + random.Uint64N(1<<20)
			list[i].Event.Seq = seq
			want = appendEvent(want, "change", seq, sub.Tag, list[i].Event.JSON)
		}
		e.Deliver(list)
		clear(list) // it is the stream's
	}
	if e.held.bytes != len(want) {
		t.Errorf("%d bytes count as held, %d are", e.held.bytes, len(want))
	}
	e.Ended(sub, &live.Error{Code: live.CodeFailed, Message: "over"})
	last := appendFailure(nil, 0, &live.Error{Code: live.CodeFailed, Message: "over"})
	for ended := false; !ended; {
		var next portion
		if next, ended = e.take(); next.left() == 0 {
			t.Fatal("nothing comes before the end")
		}
		got = append(got, bytes.Join(next.parts[:], nil)...)
		at := bytes.LastIndex(got, []byte("id: "))
		if id, _, _ := bytes.Cut(got[at+len("id: "):], []byte("\n")); string(id) != strconv.FormatUint(e.taken, 10) {
			t.Fatalf("the cursor is %d behind the event %s", e.taken, id)
		}
	}
	if !bytes.Equal(got, append(want, last...)) || e.taken != seq {
		t.Errorf("other events came, up to %d of %d", e.taken, seq)
	}
}

// heldBytes is how much the outbox counts as not sent.
func (o *outbox) heldBytes() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.held.bytes + o.writing
}

// TestLargeCommandIsHeldOnce: many receivers take nothing while a command of many rows, and one of a large row, come. Each counts all of
// it against its bound, and the memory is that of one.
func TestLargeCommandIsHeldOnce(t *testing.T) {
	const receivers, size = 32, 4 << 20
	row := strings.Repeat("x", 200)
	for name, rows := range map[string][]string{
		"a large row": {strings.Repeat("x", size)}, "many rows": strings.Split(strings.TrimSuffix(strings.Repeat(row+",", size/len(row)), ","), ","),
	} {
		for _, events := range []bool{false, true} {
			list := make([]live.Notification, len(rows))
			for i := range rows {
				list[i].Event = insertEvent(rows[i])
				list[i].Event.Seq = uint64(i + 1)
			}
			sinks := make([]live.Sink, receivers)
			for i := range sinks {
				if sinks[i] = newEventStream(1 << 20); !events {
					sinks[i], _ = receiver(t, protocol{}, 1<<20, time.Hour)
				}
			}
			before := heapInUse()
			for i, sink := range sinks {
				sub := subOf(protocol{}, strconv.Itoa(i))
				for n := range list {
					list[n].Sub = sub
				}
				sink.Deliver(list)
			}
			grown := heapInUse() - before
			for i, sink := range sinks {
				held := 0
				switch sink := sink.(type) {
				case *Conn:
					held = sink.out.heldBytes()
				case *eventStream:
					held = sink.held.bytes
				}
				if held < size {
					t.Errorf("%s: receiver %d has %d bytes before it", name, i, held)
				}
			}
			// A receiver keeps a list of 16 bytes for each row, and what it is being sent.
			if bound := int64(receivers*(16*len(rows)+4*portionBytes) + 1<<20); grown > bound {
				t.Errorf("%s, events %v: %d receivers take %d bytes, want at most %d", name, events, receivers, grown, bound)
			}
			runtime.KeepAlive(list)
		}
	}
}

func heapInUse() int64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.GC() // what a pool kept goes with the second
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

// TestReaderTooLateForALargeRow: who has taken a part of a frame whose body is shared gets the rest of it, and then the notice.
func TestReaderTooLateForALargeRow(t *testing.T) {
	t.Parallel()
	for _, p := range everyProtocol {
		synctest.Test(t, func(t *testing.T) { testTooLateForALargeRow(t, p) })
	}
}

func testTooLateForALargeRow(t *testing.T, p protocol) {
	t.Helper()
	c, client := receiver(t, p, 1<<20, time.Second)
	stuck, told := make(chan struct{}), c.out.stuck
	c.out.stuck = func() {
		told()
		close(stuck)
	}
	sub := subOf(p, "a")
	c.subs["a"] = sub
	text := make([]byte, 8*portionBytes)
	random := rand.New(rand.NewPCG(1, 2))
	for i := range text {
		text[i] = 'a' + byte(random.IntN(26))
	}
	n := live.Notification{Sub: sub, Event: insertEvent(string(text))}
	frame := c.server.codec.changeOf(p, n)
	want := frame.append(nil)
	c.Deliver([]live.Notification{n, n})
	got := []byte(read(t, client, len(want)/2)) // it has begun
	<-stuck
	rest, err := io.ReadAll(client)
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, rest...)
	end := c.server.codec.appendMessage(nil, p, errorMessage("a", codeSlowConsumer, "the client reads too slowly; resume from the last _seq received"))
	end = appendClose(end, 1013, "the client reads too slowly; resume from the last _seq received")
	if !bytes.Equal(got, append(want, end...)) {
		t.Errorf("%+v: %d bytes came, want a frame of %d and %d of the end", p, len(got), len(want), len(end))
	}
}

// TestSlowReaderIsToldInsteadOfRows: who asks for rows and takes what is before them too slowly is told, and not left without an answer.
func TestSlowReaderIsToldInsteadOfRows(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, client := receiver(t, protocol{}, 1<<20, time.Hour)
		c.subs["a"] = subOf(protocol{}, "a")
		c.send([]byte(`{}`))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		c.nextBatch(ctx, c.subs["a"], true)
		rest, err := io.ReadAll(client)
		if err != nil || !bytes.Contains(rest, []byte(codeSlowConsumer)) {
			t.Errorf("%q, %v", rest, err)
		}
	})
}
