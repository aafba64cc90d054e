package wsapi

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
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
// old is taken back by an empty id: the next attempt starts again. A client that reads too slowly is told by a failure whose id is the cursor
// to resume from, behind whole events. The caller is known by a Bearer token or by the cookie
// of a login, which browsers send by themselves.
const EventsPath = "/v1/events"

const (
	eventsID       = "events" // of the only subscription
	accessCookie   = "kalamdb_auth"
	eventsBeat     = 15 * time.Second // between comments that show an idle connection to be alive
	reconnectAfter = "retry: 500\n\n"
)

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
	e := newEventStream(s.config.OutboxBytes)
	sub, err := s.config.Live.Subscribe(ctx, caller, e, request)
	known := liveError(err)
	if err != nil && known.Code != live.CodeCursorTooOld {
		answerFailure(w, statusOf(known), string(known.Code), known.Message)
		return
	}
	out := eventWriter{w: w, control: http.NewResponseController(w), stream: e, timeout: s.config.WriteTimeout, grace: s.config.WriteTimeout}
	if out.open() != nil {
		return // the client is gone
	}
	if err == nil {
		defer sub.Close()
		err = out.follow(ctx, sub)
		known = liveError(err)
	}
	if err != nil && ctx.Err() == nil {
		_ = out.write(appendFailure(nil, 0, known)) // the client may be gone
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
func statusOf(why *live.Error) int {
	switch why.Code { //nolint:exhaustive // the others are about what was asked for
	case live.CodeUnauthorized:
		return http.StatusForbidden
	case live.CodeNotFound:
		return http.StatusNotFound
	case live.CodeLimit:
		return http.StatusTooManyRequests
	case live.CodeFailed:
		if !why.Final {
			return http.StatusServiceUnavailable
		}
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
	dst = appendEventHead(dst, name, id)
	for _, part := range parts {
		dst = append(dst, part...) // JSON has no line breaks
	}
	return append(dst, eventEnd...)
}

const eventEnd = "\n\n"

// appendEventHead appends what is before the data.
func appendEventHead(dst []byte, name string, id uint64) []byte {
	if id != 0 {
		dst = append(strconv.AppendUint(append(dst, "id: "...), id, 10), '\n')
	}
	return append(append(append(dst, "event: "...), name...), "\ndata: "...)
}

// appendFailure says why the stream ends; id is the cursor to resume from, zero to keep that of the last event. A cursor that is of no
// use any more is taken back.
func appendFailure(dst []byte, id uint64, why *live.Error) []byte {
	if why.Code == live.CodeCursorTooOld {
		dst = append(dst, "id\n"...)
	}
	return appendEvent(dst, "failure", id, endMessage(eventsID, why))
}
