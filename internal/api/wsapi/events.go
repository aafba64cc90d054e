package wsapi

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/auth"
	"github.com/kalamdb/kalamdb-go/internal/live"
	"github.com/kalamdb/kalamdb-go/internal/session"
)

// EventsPath serves live queries as Server-Sent Events, for clients that have no WebSocket:
//
//	GET /v1/events?sql=SELECT …&batch_size=&last_rows=&from=
//
// The events are the messages of the WebSocket surface in JSON, named by their type; errors are named failure. The id of
// an event is the cursor behind it, so that a browser that reconnects resumes by its Last-Event-ID. A cursor that is too
// old is taken back by an empty id: the next attempt starts again. The caller is known by a Bearer token or by the cookie
// of a login, which browsers send by themselves.
const EventsPath = "/v1/events"

const (
	eventsID       = "events" // of the only subscription
	accessCookie   = "kalamdb_auth"
	eventsBeat     = 15 * time.Second // between comments that show an idle connection to be alive
	reconnectAfter = "retry: 500\n\n"
)

// eventStream is the sink of one response. Its handler's goroutine writes.
type eventStream struct {
	limit int
	wake  chan struct{} // has room for one signal

	mu      sync.Mutex // guards what is below
	pending []byte
	ended   bool // nothing more is taken
}

// serveEvents answers until the client leaves, the subscription ends or the server stops.
func (s *Server) serveEvents(w http.ResponseWriter, r *http.Request) {
	caller, ok := s.eventsCaller(w, r)
	if !ok {
		return
	}
	request, err := eventsRequest(r)
	if err != nil {
		answerFailure(w, http.StatusBadRequest, codeProtocol, err.Error())
		return
	}
	if !s.enter() {
		w.Header().Set("Retry-After", "1")
		http.Error(w, "the server is shutting down", http.StatusServiceUnavailable)
		return
	}
	defer s.running.Done()
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(s.stopping, cancel)()
	e := &eventStream{limit: s.config.OutboxBytes, wake: make(chan struct{}, 1)}
	sub, err := s.config.Live.Subscribe(ctx, caller, e, request)
	known := liveError(err)
	if err != nil && known.Code != live.CodeCursorTooOld {
		answerFailure(w, statusOf(known.Code), string(known.Code), known.Message)
		return
	}
	out := eventWriter{w: w, control: http.NewResponseController(w), timeout: s.config.WriteTimeout}
	if out.open() != nil {
		return // the client is gone
	}
	if err == nil {
		defer sub.Close()
		err = out.follow(ctx, e, sub)
		known = liveError(err)
	}
	if err != nil && ctx.Err() == nil {
		_ = out.write(appendFailure(nil, known)) // the client may be gone
	}
}

// liveError is an error as clients are told; nil for nil.
func liveError(err error) *live.Error {
	var known *live.Error
	if err == nil || errors.As(err, &known) {
		return known
	}
	return &live.Error{Code: live.CodeFailed, Message: "the live query failed"}
}

// eventsCaller proves the caller, or answers.
func (s *Server) eventsCaller(w http.ResponseWriter, r *http.Request) (session.Session, bool) {
	token, given := bearer(r.Header.Get("Authorization"))
	if cookie, err := r.Cookie(accessCookie); !given && err == nil {
		token, given = cookie.Value, true
	}
	if !given || !s.allowsOrigin(r) {
		answerFailure(w, http.StatusUnauthorized, codeAuthRequired, "a Bearer token or the cookie of a login is needed, from an allowed origin")
		return session.Session{}, false
	}
	bound, cancel := context.WithTimeout(r.Context(), s.config.RequestTimeout)
	defer cancel()
	identity, err := s.config.Auth.Authenticate(bound, token)
	if err == nil {
		return identity.Session("default", peerIP(r)), true
	}
	if _, refused := auth.ReasonOf(err); refused {
		answerFailure(w, http.StatusUnauthorized, codeAuthRequired, err.Error())
	} else {
		answerFailure(w, http.StatusServiceUnavailable, codeAuthRequired, "the server cannot authenticate now; try again")
	}
	return session.Session{}, false
}

// eventsRequest reads the query of the URL and the cursor of a client that comes back.
func eventsRequest(r *http.Request) (live.Request, error) {
	query := r.URL.Query()
	initial := &live.Initial{}
	request := live.Request{ID: eventsID, Tag: changeTag(protocol{}, eventsID), SQL: query.Get("sql"), Initial: initial}
	var err error
	number := func(name string) *int {
		text := query.Get(name)
		if text == "" {
			return nil
		}
		n, failure := strconv.Atoi(text)
		if failure != nil {
			err = errors.New(name + " must be a number")
		}
		return &n
	}
	if n := number("batch_size"); n != nil {
		initial.BatchSize = *n
	}
	initial.LastRows = number("last_rows")
	from := r.Header.Get("Last-Event-ID")
	if from == "" {
		from = query.Get("from")
	}
	if from != "" {
		cursor, failure := strconv.ParseUint(from, 10, 64)
		if failure != nil {
			return request, errors.New("the cursor must be a number")
		}
		initial.From = &cursor
	}
	return request, err
}

// statusOf is the HTTP status of a subscription that could not start.
func statusOf(code live.Code) int {
	switch code { //nolint:exhaustive // the others are about what was asked for
	case live.CodeUnauthorized:
		return http.StatusForbidden
	case live.CodeNotFound:
		return http.StatusNotFound
	case live.CodeLimit:
		return http.StatusTooManyRequests
	case live.CodeFailed:
		return http.StatusServiceUnavailable
	}
	return http.StatusBadRequest
}

func answerFailure(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"code": code, "error": message}) // the client may be gone
}

// appendEvent appends one event; id is the cursor behind it, zero for none.
func appendEvent(dst []byte, name string, id uint64, parts ...[]byte) []byte {
	if id != 0 {
		dst = append(strconv.AppendUint(append(dst, "id: "...), id, 10), '\n')
	}
	dst = append(append(append(dst, "event: "...), name...), "\ndata: "...)
	for _, part := range parts {
		dst = append(dst, part...) // JSON has no line breaks
	}
	return append(dst, "\n\n"...)
}

// appendFailure says why the stream ends. A cursor that is of no use any more is taken back.
func appendFailure(dst []byte, why *live.Error) []byte {
	if why.Code == live.CodeCursorTooOld {
		dst = append(dst, "id\n"...)
	}
	return appendEvent(dst, "failure", 0, errorMessage(eventsID, string(why.Code), why.Message))
}

func (e *eventStream) signal() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// Deliver implements live.Sink. A reader that is too slow loses what is pending, is told so, and resumes by itself: its
// last event's id is the cursor.
func (e *eventStream) Deliver(notifications []live.Notification) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ended {
		return
	}
	for _, n := range notifications {
		if len(e.pending) > e.limit {
			slow := &live.Error{Code: codeSlowConsumer, Message: "the client reads too slowly; resume from the last id received"}
			e.pending, e.ended = appendFailure(e.pending[:0], slow), true
			break
		}
		e.pending = appendEvent(e.pending, "change", n.Event.Seq, n.Sub.Tag, n.Event.JSON)
	}
	e.signal()
}

// Ended implements live.Sink.
func (e *eventStream) Ended(_ *live.Subscription, why *live.Error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.ended {
		e.pending, e.ended = appendFailure(e.pending, why), true
	}
	e.signal()
}

// take returns what is pending.
func (e *eventStream) take() (pending []byte, ended bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	pending, e.pending = e.pending, nil
	return pending, e.ended
}

// eventWriter writes one response.
type eventWriter struct {
	w       http.ResponseWriter
	control *http.ResponseController
	timeout time.Duration
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
	if len(data) == 0 {
		return nil
	}
	if err := o.control.SetWriteDeadline(time.Now().Add(o.timeout)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	if _, err := o.w.Write(data); err != nil {
		return err
	}
	return o.control.Flush()
}

// drain writes what is pending; it is errGone when that was the last.
func (o *eventWriter) drain(e *eventStream) error {
	pending, ended := e.take()
	if err := o.write(pending); err != nil || ended {
		return errGone
	}
	return nil
}

// follow sends what is there and then what comes. errGone is an end that needs no words.
func (o *eventWriter) follow(ctx context.Context, e *eventStream, sub *live.Subscription) error {
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
		if o.write(appendEvent(data, "initial_data_batch", batch.LastSeq, batchMessage(eventsID, &batch))) != nil {
			return nil
		}
	}
	if err := sub.Follow(ctx, func(context.Context) error { return o.drain(e) }); err != nil {
		if errors.Is(err, errGone) {
			return nil
		}
		return err
	}
	beat := time.NewTicker(eventsBeat)
	defer beat.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return nil
		case <-e.wake:
			err = o.drain(e)
		case <-beat.C:
			err = o.write([]byte(":\n\n"))
		}
		if err != nil {
			return nil
		}
	}
}
