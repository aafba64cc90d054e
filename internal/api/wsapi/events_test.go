package wsapi

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/live"
)

// TestSlowEventsAreTold: a client of Server-Sent Events that has taken nothing for too long and reads again gets the events of the write that
// was stuck, whole and in order, then the notice with the cursor behind them, and the end. One that reads in time gets all of them.
func TestSlowEventsAreTold(t *testing.T) {
	t.Parallel()
	for _, slow := range []bool{true, false} {
		e := newEventStream(1 << 30)
		served := make(chan error, 1)
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			out := eventWriter{w: w, control: http.NewResponseController(w), stream: e, timeout: time.Minute, grace: time.Minute}
			if err := out.open(); err != nil {
				served <- err
				return
			}
			if slow {
				out.timeout = time.Millisecond
			}
			served <- out.pump(r.Context())
		}))
		defer server.Close()
		const count = 512
		body := `"change_type":"insert","rows":["` + strings.Repeat("x", 64<<10) + `"]}`
		sub := &live.Subscription{Tag: []byte("{")}
		deliver := func(first, last uint64) {
			for seq := first; seq <= last; seq++ {
				e.Deliver([]live.Notification{{Sub: sub, Event: &live.Event{Seq: seq, JSON: []byte(body)}}})
			}
		}
		answer := getNarrowly(t, server.URL) //nolint:bodyclose // closed there
		deliver(1, count)
		if slow {
			for !e.passed(0) { // the write is stuck: the sockets hold less than that
				continue
			}
			deliver(count+1, count+1) // comes too late
		} else {
			e.Ended(sub, &live.Error{Code: live.CodeFailed, Message: "over"})
		}
		all, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		if err := <-served; err != nil {
			t.Fatal(err)
		}
		read, end := readAll(t, all)
		last, _ := strconv.Atoi(read[len(read)-1])
		for i, id := range read {
			if id != strconv.Itoa(i+1) {
				t.Fatalf("slow %v: event %d has the id %s", slow, i+1, id)
			}
		}
		switch {
		case slow && (last > count || !strings.HasPrefix(end, fmt.Sprintf("id: %d\nevent: failure\n", last)) || !strings.Contains(end, codeSlowConsumer)):
			t.Errorf("%d events, at the end %q", last, end)
		case !slow && (last != count || !strings.Contains(end, string(live.CodeFailed))):
			t.Errorf("a reader in time got %d of %d events, at the end %q", last, count, end)
		}
	}
}

// TestFullEventsAreTold: when more is pending than a client may have, it is dropped, and the client resumes behind what it got.
func TestFullEventsAreTold(t *testing.T) {
	t.Parallel()
	e, sub := newEventStream(100), &live.Subscription{Tag: []byte("{")}
	deliver := func(seq uint64) {
		e.Deliver([]live.Notification{{Sub: sub, Event: &live.Event{Seq: seq, JSON: bytes.Repeat([]byte("x"), 60)}}})
	}
	deliver(7)
	if next, ended := e.take(); ended || !bytes.HasPrefix(next.first(), []byte("id: 7\n")) {
		t.Fatalf("%q, ended %v", next.first(), ended)
	}
	for seq := range uint64(10) {
		deliver(8 + seq)
	}
	next, ended := e.take()
	pending := next.first()
	if want := "id: 7\nevent: failure\n"; !ended || !strings.HasPrefix(string(pending), want) || bytes.Contains(pending, []byte("xxx")) {
		t.Errorf("%q, ended %v", pending, ended)
	}
}

// TestOneCommandIsTakenWhole: what one command changed comes in one call, and a reader that has everything before it gets all of it, however
// much it is.
func TestOneCommandIsTakenWhole(t *testing.T) {
	t.Parallel()
	e, sub := newEventStream(100), &live.Subscription{Tag: []byte("{")}
	all := make([]live.Notification, 10)
	for i := range all {
		all[i] = live.Notification{Sub: sub, Event: &live.Event{Seq: uint64(i + 1), JSON: bytes.Repeat([]byte("x"), 60)}}
	}
	e.Deliver(all)
	if next, ended := e.take(); ended || bytes.Count(next.first(), []byte("event: change")) != len(all) {
		t.Errorf("%d changes, ended %v", bytes.Count(next.first(), []byte("event: change")), ended)
	}
}

// getNarrowly asks over a connection that takes in little ahead of its reader.
func getNarrowly(t *testing.T, url string) *http.Response {
	t.Helper()
	transport := &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return conn, conn.(*net.TCPConn).SetReadBuffer(128 << 10) //nolint:errcheck,forcetypeassert // dialled as TCP
	}}
	t.Cleanup(transport.CloseIdleConnections)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := transport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = answer.Body.Close() }) // it has been read to its end
	return answer
}

// readAll takes a stream apart: the ids of the changes, and the last event.
func readAll(t *testing.T, all []byte) (ids []string, end string) {
	t.Helper()
	text, begun := strings.CutPrefix(string(all), reconnectAfter)
	events := strings.Split(text, "\n\n")
	if !begun || len(events) < 2 || events[len(events)-1] != "" {
		t.Fatalf("%d bytes that begin with %.30q", len(all), all)
	}
	events = events[:len(events)-1]
	for _, event := range events[:len(events)-1] {
		head, data, found := strings.Cut(event, "\nevent: change\ndata: {")
		if !found || !strings.HasSuffix(data, "]}") {
			t.Fatalf("a change is broken: %.60q", event)
		}
		ids = append(ids, strings.TrimPrefix(head, "id: "))
	}
	if len(ids) == 0 {
		t.Fatal("no change came")
	}
	return ids, events[len(events)-1]
}
