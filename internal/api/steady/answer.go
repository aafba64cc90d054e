package steady

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// heldBytes is how much of an answer without a length is held back to find its length. A longer one is sent in chunks.
const heldBytes = 64 << 10

// keepBytes is up to how much memory a connection keeps for the next request, and for the next answer.
const (
	keepBytes       = 16 << 10
	keepAnswerBytes = 4 << 10
)

// answer implements http.ResponseWriter. It belongs to one connection and is used again.
type answer struct {
	conn    *conn
	header  http.Header
	status  int // zero until the head is decided
	length  int // announced; -1 is none
	written int // bytes of the body
	chunked bool
	failed  error  // of the connection; nothing more is written
	head    []byte // not sent yet, without how the body is framed
	out     []byte // not sent yet: where the length is announced, all of it; else body
}

func (a *answer) reset() {
	clear(a.header)
	a.status, a.length, a.written, a.chunked, a.failed, a.head, a.out = 0, -1, 0, false, nil, a.head[:0], a.out[:0]
}

// Header implements http.ResponseWriter.
func (a *answer) Header() http.Header { return a.header }

// WriteHeader implements http.ResponseWriter.
func (a *answer) WriteHeader(status int) {
	if a.status != 0 || status < http.StatusOK {
		return
	}
	a.status = status
	if length := a.header["Content-Length"]; len(length) == 1 {
		if n, err := strconv.Atoi(length[0]); err == nil && n >= 0 {
			a.length = n
		}
	}
	a.appendHead()
	if a.length >= 0 {
		a.out = append(a.out, a.head...)
		a.out = appendLength(a.out, a.length)
	}
}

// appendHead renders the head up to how the body is framed.
func (a *answer) appendHead() {
	a.head = append(a.head, "HTTP/1.1 "...)
	a.head = strconv.AppendInt(a.head, int64(a.status), 10)
	a.head = append(append(append(a.head, ' '), http.StatusText(a.status)...), "\r\nDate: "...)
	a.head = append(a.head, date()...)
	for name, values := range a.header {
		if name == "Content-Length" {
			continue // it is written when it is known
		}
		for _, value := range values {
			if strings.ContainsAny(value, "\r\n") {
				value = oneLine.Replace(value)
			}
			a.head = append(append(append(append(a.head, "\r\n"...), name...), ": "...), value...)
		}
	}
	if a.conn.last() && !a.closes() {
		a.head = append(a.head, "\r\nConnection: close"...)
	}
}

// oneLine keeps values of the header on their line.
var oneLine = strings.NewReplacer("\r", " ", "\n", " ") //nolint:gochecknoglobals // never changed

func appendLength(out []byte, length int) []byte {
	out = append(out, "\r\nContent-Length: "...)
	return append(strconv.AppendInt(out, int64(length), 10), "\r\n\r\n"...)
}

// Write implements http.ResponseWriter.
func (a *answer) Write(body []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	if a.failed != nil {
		return 0, a.failed
	}
	if a.length >= 0 && a.written+len(body) > a.length {
		return 0, http.ErrContentLength
	}
	a.written += len(body)
	switch {
	case a.length >= 0:
		a.put(body)
		if a.written == a.length || len(a.out) >= heldBytes {
			a.flush()
		}
	case !a.chunked && a.written <= heldBytes:
		a.out = append(a.out, body...)
	default:
		a.chunk(body)
	}
	if a.failed != nil {
		return 0, a.failed
	}
	return len(body), nil
}

// chunk sends a part of an answer whose length is not known, behind what was held back.
func (a *answer) chunk(body []byte) {
	if !a.chunked {
		a.chunked = true
		held := a.out
		a.out = append(a.head, "\r\nTransfer-Encoding: chunked\r\n\r\n"...)
		a.putChunk(held)
		a.head = held[:0]
	}
	a.putChunk(body)
	a.flush()
}

func (a *answer) putChunk(body []byte) {
	if len(body) == 0 {
		return // an empty one would be the last
	}
	a.out = append(strconv.AppendInt(a.out, int64(len(body)), 16), "\r\n"...)
	a.put(body)
	a.out = append(a.out, "\r\n"...)
}

// put adds to what is sent next. What is long is sent from where it is, so that an answer of many MiB is not in memory twice.
func (a *answer) put(part []byte) {
	if len(part) < heldBytes {
		a.out = append(a.out, part...)
		return
	}
	a.flush()
	if a.failed == nil {
		_, a.failed = a.conn.Write(part)
	}
}

// SetWriteDeadline is for http.ResponseController.
func (a *answer) SetWriteDeadline(deadline time.Time) error {
	a.conn.limited = true // the next request sets its own
	return a.conn.SetWriteDeadline(deadline)
}

// finish sends what is left; false says that the connection cannot go on.
func (a *answer) finish() bool {
	a.WriteHeader(http.StatusOK)
	switch {
	case a.chunked:
		a.out = append(a.out, "0\r\n\r\n"...)
	case a.length >= 0 && a.written != a.length:
		return false // a part must not pass for the whole
	case a.length < 0:
		body := a.out
		a.out = append(appendLength(a.head, len(body)), body...)
		a.head = body[:0]
	}
	a.flush()
	if cap(a.out) > keepAnswerBytes {
		a.out = nil // the connection may be silent for long
	}
	if cap(a.head) > keepAnswerBytes {
		a.head = nil
	}
	return a.failed == nil
}

func (a *answer) flush() {
	if len(a.out) > 0 && a.failed == nil {
		_, a.failed = a.conn.Write(a.out)
	}
	a.out = a.out[:0]
}

// closes reports whether the handler wants the connection to end.
func (a *answer) closes() bool { return slices.Contains(a.header["Connection"], "close") }

// dated is the text of a second.
type dated struct {
	second int64
	text   string
}

var today atomic.Pointer[dated] //nolint:gochecknoglobals // a cache of the time of day

// date is the value of the Date field, which is spelled once a second.
func date() string {
	now := time.Now()
	if last := today.Load(); last != nil && last.second == now.Unix() {
		return last.text
	}
	next := &dated{now.Unix(), now.UTC().Format(http.TimeFormat)}
	today.Store(next)
	return next.text
}
