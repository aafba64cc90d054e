package objstoretest

import (
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
)

// Bucket is the bucket of every Server.
const Bucket = "kalamdb-test"

// Server is an S3 server in memory, reached over HTTP.
type Server struct {
	URL string

	mu       sync.Mutex // guards the rest
	fault    func(r *http.Request) http.Handler
	requests int
}

// NewServer starts a server with an empty bucket; it ends with the test.
func NewServer(tb testing.TB) *Server {
	tb.Helper()
	backend := s3mem.New()
	if err := backend.CreateBucket(Bucket); err != nil {
		tb.Fatal(err)
	}
	s := &Server{}
	s3 := gofakes3.New(backend, gofakes3.WithLogger(gofakes3.DiscardLog())).Server()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.requests++
		var handler http.Handler
		if s.fault != nil {
			handler = s.fault(r)
		}
		s.mu.Unlock()
		switch wrap, isWrap := handler.(Wrap); {
		case isWrap:
			wrap(w, r, s3)
		case handler != nil:
			handler.ServeHTTP(w, r)
		default:
			s3.ServeHTTP(w, r)
		}
	}))
	tb.Cleanup(server.Close)
	s.URL = server.URL
	return s
}

// Fail asks fault about every request from now on; nil is no fault. fault answers with the handler that takes the
// place of the server, nil for the server itself.
func (s *Server) Fail(fault func(r *http.Request) http.Handler) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = fault
}

// Requests is how many requests came.
func (s *Server) Requests() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests
}

// Wrap is a fault that may hand on to the server.
type Wrap func(w http.ResponseWriter, r *http.Request, s3 http.Handler)

// ServeHTTP implements http.Handler; a Server calls the function itself.
func (f Wrap) ServeHTTP(w http.ResponseWriter, r *http.Request) { f(w, r, http.NotFoundHandler()) }

// Answer is a refusal as S3 words it.
func Answer(status int, code string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // the client may be writing
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, "<Error><Code>"+code+"</Code><Message>made up</Message></Error>") // a client that is gone has no use for it
	})
}

// First gives the first n requests that match to a fault.
func First(n int, match func(*http.Request) bool, fault http.Handler) func(*http.Request) http.Handler {
	return func(r *http.Request) http.Handler {
		if n <= 0 || !match(r) {
			return nil
		}
		n--
		return fault
	}
}
