package httpapi

import (
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/auth"
	"github.com/kalamdb/kalamdb-go/internal/sql/exec"
)

// transactionHeader names the transaction that a request goes on in, or says "new" when the request may leave
// one open; in an answer, the one that is open.
const transactionHeader = "X-Transaction-Id"

// followHeader, with the value 1, says that the client sends its next changes to where leaderHeader of the answer points: the URL of
// the node that leads what the request changed. An answer without it came from the right node, or from one that does not know.
const (
	followHeader = "X-Follow-Leader"
	leaderHeader = "X-Leader"
)

// handleSQL runs the statements of one request.
func (s *Server) handleSQL(w http.ResponseWriter, r *http.Request) {
	started := s.config.Clock.Now()
	identity, f := s.caller(r)
	if f != nil {
		if f.status == http.StatusUnauthorized {
			w.Header().Set("WWW-Authenticate", "Bearer")
		}
		s.writeSQLFailure(w, f, false, started)
		return
	}
	admin := identity.User.Role.IsAdmin()
	rows := &rowStream{w: w, buffer: s.buffers.get()}
	rows.body = rows.buffer.AvailableBuffer()
	defer rows.giveBack(&s.buffers)
	response, f := s.runSQL(r, identity, rows)
	if f != nil && rows.sent {
		s.breakOff(r, f)
	}
	if f != nil {
		if f.transaction != "" {
			w.Header().Set(transactionHeader, f.transaction)
		}
		s.writeSQLFailure(w, f, admin, started)
		return
	}
	if response.Transaction != "" {
		w.Header().Set(transactionHeader, response.Transaction)
	}
	if response.Leader != "" {
		w.Header().Set(leaderHeader, urlOf(response.Leader))
	}
	if len(response.Results) == 1 && response.Results[0].Streamed {
		if rows.finish(response, s.since(started)) {
			s.writeSQL(w, http.StatusOK, rows.body)
		}
		return
	}
	body, err := appendSuccess(rows.body[:0], response, s.since(started))
	if err != nil {
		s.writeSQLFailure(w, s.failureOf(r, err), admin, started)
		return
	}
	rows.body = body
	s.writeSQL(w, http.StatusOK, body)
}

// breakOff ends an answer of which a part was sent, with the status of success: the connection is cut, so that nobody takes
// the part for the whole.
func (s *Server) breakOff(r *http.Request, f *failure) {
	s.config.Logger.LogAttrs(r.Context(), slog.LevelWarn, "an answer was broken off: the query failed after rows of it were sent",
		slog.String("code", string(f.code)), slog.String("error", f.message), slog.String("request_id", requestID(r)))
	panic(http.ErrAbortHandler)
}

func (s *Server) since(started time.Time) time.Duration { return s.config.Clock.Now().Sub(started) }

// caller authenticates a request of a route that takes access tokens in the header and nothing else.
func (s *Server) caller(r *http.Request) (auth.Identity, *failure) {
	header := r.Header.Get("Authorization")
	token, ok := bearer(header)
	if header != "" && !ok {
		return auth.Identity{}, refusal(http.StatusUnauthorized, codeCredentials, "Only Bearer tokens are accepted here")
	}
	identity, err := s.config.Auth.Authenticate(r.Context(), token)
	if err != nil {
		return auth.Identity{}, s.authFailure(r, err)
	}
	return identity, nil
}

// bearer returns the token of an Authorization header; ok is false for any other scheme.
func bearer(header string) (token string, ok bool) {
	// An empty token loses its space on the way: headers arrive trimmed.
	scheme, token, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return "", false
	}
	return strings.TrimSpace(token), true
}

// runSQL applies the bounds on queries, decodes the request and runs it.
func (s *Server) runSQL(r *http.Request, identity auth.Identity, rows *rowStream) (*exec.Response, *failure) {
	if ok, wait := s.queries.Allow(string(identity.User.ID)); !ok {
		s.measurements.refusedRates.WithLabelValues("queries").Inc()
		return nil, tooMany("Too many queries of this user; try again later", wait)
	}
	user := string(identity.User.ID)
	if !s.running.Enter(user) {
		if s.running.FullFor(user) {
			s.measurements.refusedRates.WithLabelValues("concurrent_queries").Inc()
			return nil, tooMany("Too many queries of this user are under way on this node; try again later", time.Second)
		}
		f := refusal(http.StatusServiceUnavailable, exec.CodeClusterUnavailable, "Too many queries are under way on this node; try again later")
		f.retry = true
		return nil, f
	}
	defer s.running.Leave(user)
	buffer := s.buffers.get()
	defer s.buffers.put(buffer)
	request, f := readSQLRequest(r, buffer, s.config.Settings.Limits)
	if f != nil {
		return nil, f
	}
	repeat, f := readRepeat(r.Header)
	if f != nil {
		return nil, f
	}
	response, err := s.config.SQL.Execute(request.inMode(r.Context()), exec.Request{
		SQL:       request.sql,
		Params:    request.params,
		Session:   identity.Session(request.namespace, s.clientAddr(r).String()),
		RequestID: requestID(r),
		RepeatKey: repeat.key, RepeatAge: repeat.age,
		Transaction: r.Header.Get(transactionHeader), Rows: sinkOf(r, rows),
		TellLeader: r.Header.Get(followHeader) == "1",
	})
	if err != nil {
		return nil, s.failureOf(r, err)
	}
	return response, nil
}

// writeSQLFailure answers in the SQL envelope, except for bodies that are too large: those are refused in
// the shape of the guard, whether their length was announced or not.
func (s *Server) writeSQLFailure(w http.ResponseWriter, f *failure, admin bool, started time.Time) {
	if f.code == codePayloadTooLarge {
		s.writeGuard(w, f)
		return
	}
	f.setRetryAfter(w)
	buffer := s.buffers.get()
	defer s.buffers.put(buffer)
	s.writeSQL(w, f.status, appendFailure(buffer.AvailableBuffer(), f, admin, s.since(started)))
}

// sinkOf streams the rows of a request. One of a transaction is answered as a whole: the header that names the transaction
// comes before the rows, and is known after them.
func sinkOf(r *http.Request, rows *rowStream) exec.RowSink {
	if r.Header.Get(transactionHeader) != "" {
		return nil
	}
	return rows
}

// The values of setSQLHeader, which all answers share and nobody changes.
var (
	jsonValue    = []string{contentTypeJSON}
	nosniffValue = []string{"nosniff"}
)

func setSQLHeader(header http.Header) {
	header["Content-Type"] = jsonValue
	header["X-Content-Type-Options"] = nosniffValue
}

// writeSQL sends a complete body.
func (s *Server) writeSQL(w http.ResponseWriter, status int, body []byte) {
	header := w.Header()
	setSQLHeader(header)
	header.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // a client that went away is no failure of ours
}
