package wsapi

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/live"
)

// eventStream is the sink of one response. Its handler's goroutine writes.
type eventStream struct {
	wake chan struct{} // has room for one signal

	mu      sync.Mutex // guards what is below
	allowed allowance
	held    backlog
	taken   uint64 // cursor behind what was taken to be written
	ended   bool   // nothing more is taken in
}

func newEventStream(limit int) *eventStream {
	return &eventStream{allowed: allowance{limit: limit}, wake: make(chan struct{}, 1)}
}

func (e *eventStream) signal() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// Deliver implements live.Sink.
func (e *eventStream) Deliver(notifications []live.Notification) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ended {
		return
	}
	size := 0
	for _, n := range notifications {
		size += eventSize(n)
	}
	switch {
	case !e.allowed.takes(e.held.bytes, size):
		e.giveUp()
	case size >= sharedFrom:
		e.held.share(size, slices.Clone(notifications)) // whoever delivers uses the list again
	default:
		for _, n := range notifications {
			e.append(appendEvent(e.held.own, changeName, n.Event.Seq, n.Sub.Tag, n.Event.JSON))
			e.held.cursor = n.Event.Seq
		}
	}
	e.signal()
}

const changeName = "change"

// append makes own what is pending behind the shared deliveries. The caller holds mu.
func (e *eventStream) append(own []byte) {
	e.held.bytes += len(own) - len(e.held.own)
	e.held.own = own
}

// eventSize is how many bytes appendEvent appends for a change.
func eventSize(n live.Notification) int {
	var digits [20]byte
	return len("id: \nevent: \ndata: \n\n") + len(strconv.AppendUint(digits[:0], n.Event.Seq, 10)) + len(changeName) + len(n.Sub.Tag) + len(n.Event.JSON)
}

// encodeEvent is an encoding.
func encodeEvent(dst []byte, n live.Notification) (out, body, tail []byte) {
	if len(n.Event.JSON) <= portionBytes {
		return appendEvent(dst, changeName, n.Event.Seq, n.Sub.Tag, n.Event.JSON), nil, nil
	}
	return append(appendEventHead(dst, changeName, n.Event.Seq), n.Sub.Tag...), n.Event.JSON, []byte(eventEnd)
}

// Ended implements live.Sink.
func (e *eventStream) Ended(_ *live.Subscription, why *live.Error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.ended {
		e.append(appendFailure(e.held.own, 0, why))
		e.ended = true
	}
	e.signal()
}

// giveUp drops what is pending for a reader that is too slow and puts the notice in its place. It resumes behind what was taken, which it
// still gets or has. The caller holds mu.
func (e *eventStream) giveUp() {
	slow := &live.Error{Code: codeSlowConsumer, Message: "the client reads too slowly; resume from the last id received"}
	e.held.clear()
	e.append(appendFailure(e.held.own, e.taken, slow))
	e.ended = true
}

// stuck is giveUp for a reader that has taken nothing of a write for too long.
func (e *eventStream) stuck() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.ended {
		e.giveUp()
	}
	e.signal()
}

// take returns what is to be written next; ended says that it is the last.
func (e *eventStream) take() (next portion, ended bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	next, cursor := e.held.next(encodeEvent, func() []byte { return make([]byte, 0, smallBuffer) })
	if cursor != 0 {
		e.taken = cursor
	}
	return next, e.ended && e.held.bytes == 0
}

// passed notes the cursor of rows that are written without having been pending, and reports whether the stream has ended meanwhile.
func (e *eventStream) passed(cursor uint64) (ended bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if cursor != 0 {
		e.taken = cursor
	}
	return e.ended
}

// pieceBytes is how much is written at once: for as long as a client takes one after the other, it is not stuck.
const pieceBytes = 64 << 10

// eventWriter writes one response. A client that takes nothing for timeout has what is pending dropped; if it goes on reading within grace, it
// gets the rest of what was being written, which are whole events, and then the notice.
type eventWriter struct {
	w       http.ResponseWriter
	control *http.ResponseController
	stream  *eventStream
	timeout time.Duration
	grace   time.Duration
}

func (o *eventWriter) open() error {
	// The limits of ordinary requests would end the stream.
	if err := o.control.SetReadDeadline(time.Time{}); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	header := o.w.Header()
	header.Set("Content-Type", "text/event-stream")
	header.Set("Cache-Control", "no-store")
	header.Set("X-Accel-Buffering", "no")
	o.w.WriteHeader(http.StatusOK)
	return o.write([]byte(reconnectAfter))
}

func (o *eventWriter) write(data []byte) error {
	for len(data) > 0 {
		piece := data[:min(len(data), pieceBytes)]
		data = data[len(piece):]
		if err := o.control.SetWriteDeadline(time.Now().Add(o.timeout + o.grace)); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return err
		}
		late := time.AfterFunc(o.timeout, o.stream.stuck)
		_, err := o.w.Write(piece) //nolint:gosec,nolintlint // events of JSON, which are no page; found only sometimes
		if err == nil {
			err = o.control.Flush()
		}
		late.Stop()
		if err != nil {
			return err
		}
	}
	return nil
}

// drain writes what is pending; it is errGone when that was the last.
func (o *eventWriter) drain() error {
	for {
		next, ended := o.stream.take()
		if next.left() == 0 && !ended {
			return nil
		}
		for _, part := range next.parts {
			if o.write(part) != nil {
				return errGone
			}
		}
		if ended {
			return errGone
		}
	}
}

// follow sends what is there and then what comes. errGone is an end that needs no words.
func (o *eventWriter) follow(ctx context.Context, sub *live.Subscription) error {
	for more, first := true, true; more; first = false {
		batch, err := sub.NextBatch(ctx)
		if err != nil {
			return err
		}
		var data []byte
		if first {
			data = appendEvent(data, "subscription_ack", 0, ackMessage(sub, &batch))
		}
		more = batch.HasMore
		if o.stream.passed(batch.LastSeq) {
			_ = o.drain() // it ends with what is told there
			return nil
		}
		if o.write(appendEvent(data, "initial_data_batch", batch.LastSeq, batchMessage(eventsID, &batch))) != nil {
			return nil //nolint:nilerr // the client is gone
		}
	}
	if err := sub.Follow(ctx, func(context.Context) error { return o.drain() }); err != nil {
		if errors.Is(err, errGone) {
			return nil
		}
		return err
	}
	return o.pump(ctx)
}

// pump sends what comes until the stream or its client ends.
func (o *eventWriter) pump(ctx context.Context) error {
	beat := time.NewTicker(eventsBeat)
	defer beat.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return nil
		case <-o.stream.wake:
			err = o.drain()
		case <-beat.C:
			err = o.write([]byte(":\n\n"))
		}
		if err != nil {
			return nil // the client is gone, or was told why the stream ends
		}
	}
}
