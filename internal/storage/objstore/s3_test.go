package objstore_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/storage/objstore"
	"github.com/kalamdb/kalamdb-go/internal/storage/objstore/objstoretest"
)

func copyAll(to io.Writer, body io.ReadCloser) (int64, error) {
	n, err := io.Copy(to, body)
	return n, errors.Join(err, body.Close())
}

// openS3 opens a store that tries again without making the test wait.
func openS3(t *testing.T, server *objstoretest.Server, change func(*objstore.S3Config)) *objstore.S3 {
	t.Helper()
	cfg := objstore.S3Config{
		Endpoint: server.URL, Bucket: objstoretest.Bucket, Prefix: "some/prefix", AccessKey: "key", SecretKey: "secret",
		FirstPause: time.Millisecond, LastPause: 4 * time.Millisecond, Clock: clock.Real{},
	}
	if change != nil {
		change(&cfg)
	}
	store, err := objstore.OpenS3(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	return store
}

func TestS3KeepsThePromises(t *testing.T) {
	t.Parallel()
	objstoretest.Run(t, func(t *testing.T) objstore.Store {
		t.Helper()
		return openS3(t, objstoretest.NewServer(t), nil)
	})
}

func anything(*http.Request) bool { return true }

func method(name string) func(*http.Request) bool {
	return func(r *http.Request) bool { return r.Method == name }
}

func TestS3TriesAgainWhenThrottled(t *testing.T) {
	t.Parallel()
	for name, refusal := range map[string]http.Handler{
		"slow down": objstoretest.Answer(http.StatusServiceUnavailable, "SlowDown"),
		"too many":  objstoretest.Answer(http.StatusTooManyRequests, "TooManyRequests"),
		"internal":  objstoretest.Answer(http.StatusInternalServerError, "InternalError"),
		"conflict":  objstoretest.Answer(http.StatusConflict, "ConditionalRequestConflict"),
		"broken":    http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }), // the connection breaks
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testRefusal(t, refusal)
		})
	}
}

func testRefusal(t *testing.T, refusal http.Handler) {
	t.Helper()

	server := objstoretest.NewServer(t)
	store := openS3(t, server, nil)
	for name, call := range map[string]func() error{
		"put": func() error {
			_, err := store.Put(t.Context(), "k", strings.NewReader("content"), 7, objstore.PutOptions{})
			return err
		},
		"put parts": func() error {
			_, err := store.Put(t.Context(), "l", bytes.NewReader(make([]byte, objstoretest.Large)), objstoretest.Large, objstore.PutOptions{})
			return err
		},
		"stat": func() error { _, err := store.Stat(t.Context(), "there"); return err },
		"get":  func() error { _, err := content(store, "there"); return err },
		"list": func() error { return store.List(t.Context(), "", func(objstore.ObjectInfo) error { return nil }) },
		"delete": func() error {
			return store.Delete(t.Context(), "nothing")
		},
	} {
		server.Fail(nil)
		if _, err := store.Put(t.Context(), "there", strings.NewReader("x"), 1, objstore.PutOptions{}); err != nil {
			t.Fatal(err)
		}
		before := server.Requests()
		server.Fail(objstoretest.First(3, anything, refusal))
		if err := call(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if n := server.Requests() - before; n < 4 {
			t.Errorf("%s: %d requests came", name, n)
		}
	}
}

// TestS3PausesGrow shows on a clock that is moved by hand that pauses double, up to the last.
func TestS3PausesGrow(t *testing.T) {
	t.Parallel()
	manual := clock.NewManual(time.Unix(0, 0))
	pauses := &watchedClock{Manual: manual}
	server := objstoretest.NewServer(t)
	server.Fail(func(*http.Request) http.Handler {
		return objstoretest.Answer(http.StatusServiceUnavailable, "SlowDown")
	})
	store := openS3(t, server, func(cfg *objstore.S3Config) {
		cfg.FirstPause, cfg.LastPause, cfg.Clock, cfg.Tries = 100*time.Millisecond, time.Second, pauses, 6
	})
	_, err := store.Stat(t.Context(), "k")
	if !errors.Is(err, objstore.ErrUnavailable) || !strings.Contains(err.Error(), "6 tries") {
		t.Fatal(err)
	}
	want := []int{100, 200, 400, 800, 1000} // milliseconds
	if len(pauses.lengths) != len(want) {
		t.Fatalf("pauses: %v", pauses.lengths)
	}
	for i, length := range pauses.lengths {
		if longest := time.Duration(want[i]) * time.Millisecond; length < longest/2 || length > longest {
			t.Errorf("pause %d is %s, not within the half of %s", i, length, longest)
		}
	}
}

// watchedClock notes the timers that are asked for, and fires them at once.
type watchedClock struct {
	*clock.Manual
	lengths []time.Duration
}

func (c *watchedClock) NewTimer(d time.Duration) clock.Timer {
	c.lengths = append(c.lengths, d)
	timer := c.Manual.NewTimer(d)
	c.Advance(d)
	return timer
}

func TestS3KeepsTheDeadline(t *testing.T) {
	t.Parallel()
	server := objstoretest.NewServer(t)
	server.Fail(func(*http.Request) http.Handler {
		return objstoretest.Answer(http.StatusServiceUnavailable, "SlowDown")
	})
	store := openS3(t, server, func(cfg *objstore.S3Config) { cfg.FirstPause, cfg.LastPause = time.Hour, time.Hour })
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, err := store.Stat(ctx, "k") // returns now, not in a minute: the next try is beyond the deadline
	if !errors.Is(err, objstore.ErrUnavailable) || ctx.Err() != nil {
		t.Error(err, ctx.Err())
	}
	if server.Requests() != 1 {
		t.Errorf("%d requests came", server.Requests())
	}
	hang := make(chan struct{})
	t.Cleanup(func() { close(hang) })
	server.Fail(func(*http.Request) http.Handler {
		return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			select {
			case <-hang:
			case <-r.Context().Done():
			}
		})
	})
	short, cancelShort := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancelShort()
	if _, err := store.Stat(short, "k"); !errors.Is(err, objstore.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a server that hangs: %v", err)
	}
	stalling := openS3(t, server, func(cfg *objstore.S3Config) { cfg.Stall, cfg.Tries = 50*time.Millisecond, 2 })
	if _, err := stalling.Stat(t.Context(), "k"); !errors.Is(err, objstore.ErrUnavailable) {
		t.Errorf("a server that hangs, without a deadline: %v", err)
	}
}

func TestS3DoesNotRepeatWhatCannotHelp(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		status int
		code   string
		want   error
	}{
		{http.StatusForbidden, "AccessDenied", objstore.ErrDenied},
		{http.StatusForbidden, "SignatureDoesNotMatch", objstore.ErrDenied},
		{http.StatusForbidden, "InvalidAccessKeyId", objstore.ErrDenied},
		{http.StatusBadRequest, "EntityTooLarge", objstore.ErrTooLarge},
		{http.StatusNotFound, "NoSuchBucket", nil},
		{http.StatusNotImplemented, "NotImplemented", nil},
	} {
		server := objstoretest.NewServer(t)
		server.Fail(func(*http.Request) http.Handler { return objstoretest.Answer(c.status, c.code) })
		store := openS3(t, server, nil)
		_, err := store.Put(t.Context(), "k", strings.NewReader("x"), 1, objstore.PutOptions{})
		if err == nil || c.want != nil && !errors.Is(err, c.want) || errors.Is(err, objstore.ErrUnavailable) || errors.Is(err, objstore.ErrNotFound) {
			t.Errorf("%s: %v", c.code, err)
		}
		if server.Requests() != 1 {
			t.Errorf("%s: %d requests came", c.code, server.Requests())
		}
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("the error shows the credentials: %v", err)
		}
	}
}

// TestS3KnowsItsOwnObject loses the answer to a conditional Put: the second try finds the object of the first.
func TestS3KnowsItsOwnObject(t *testing.T) {
	t.Parallel()
	server := objstoretest.NewServer(t)
	store := openS3(t, server, nil)
	lost := objstoretest.Wrap(func(_ http.ResponseWriter, r *http.Request, s3 http.Handler) {
		s3.ServeHTTP(discard{http.Header{}}, r)
		panic(http.ErrAbortHandler)
	})
	server.Fail(objstoretest.First(1, method(http.MethodPut), lost))
	only := objstore.PutOptions{IfNotExists: true}
	if _, err := store.Put(t.Context(), "k", strings.NewReader("mine"), 4, only); err != nil {
		t.Errorf("the object is its own: %v", err)
	}
	server.Fail(objstoretest.First(1, method(http.MethodPut), objstoretest.Answer(http.StatusServiceUnavailable, "SlowDown")))
	if _, err := store.Put(t.Context(), "k", strings.NewReader("late"), 4, only); !errors.Is(err, objstore.ErrExists) {
		t.Errorf("the object is another's: %v", err)
	}
	server.Fail(objstoretest.First(1, func(r *http.Request) bool {
		return r.Method == http.MethodPost && r.URL.Query().Get("uploadId") != ""
	}, lost))
	info, err := store.Put(t.Context(), "l", bytes.NewReader(make([]byte, objstoretest.Large)), objstoretest.Large, only)
	if err != nil || info.Size != objstoretest.Large {
		t.Errorf("parts whose completion was not heard of: %+v, %v", info, err)
	}
}

type discard struct{ header http.Header }

func (d discard) Header() http.Header       { return d.header }
func (discard) Write(p []byte) (int, error) { return len(p), nil }
func (discard) WriteHeader(int)             {}

// TestS3GoesOnReading breaks the connection in the middle of an object, again and again.
func TestS3GoesOnReading(t *testing.T) {
	t.Parallel()
	server := objstoretest.NewServer(t)
	store := openS3(t, server, nil)
	want := strings.Repeat("0123456789abcdef", 1<<16)
	if _, err := store.Put(t.Context(), "k", strings.NewReader(want), int64(len(want)), objstore.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	torn := objstoretest.Wrap(func(w http.ResponseWriter, r *http.Request, s3 http.Handler) {
		s3.ServeHTTP(&tearing{ResponseWriter: w, rest: 100_000}, r)
	})
	server.Fail(objstoretest.First(5, method(http.MethodGet), torn))
	if got, err := content(store, "k"); err != nil || got != want {
		t.Errorf("%d bytes of %d, %v", len(got), len(want), err)
	}
	if n := server.Requests(); n != 1+6 {
		t.Errorf("%d requests came", n)
	}
	// Another content under the key must not be mixed with the first.
	server.Fail(objstoretest.First(1, method(http.MethodGet), torn))
	body, err := store.Get(t.Context(), "k", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	other := strings.Repeat("x", len(want))
	if _, err := store.Put(t.Context(), "k", strings.NewReader(other), int64(len(other)), objstore.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	if n, err := copyAll(io.Discard, body); err == nil {
		t.Errorf("%d bytes of two contents were read as one", n)
	}
}

// tearing breaks the connection after some bytes.
type tearing struct {
	http.ResponseWriter
	rest int
}

func (w *tearing) Write(p []byte) (int, error) {
	if w.rest -= len(p); w.rest < 0 {
		_, _ = w.ResponseWriter.Write(p[:len(p)+w.rest])
		panic(http.ErrAbortHandler)
	}
	return w.ResponseWriter.Write(p)
}

// TestS3ListsManyPages crosses the bound of a page, with a failure on the way.
func TestS3ListsManyPages(t *testing.T) {
	t.Parallel()
	server := objstoretest.NewServer(t)
	store := openS3(t, server, nil)
	const objects = 2100
	for i := range objects {
		key := "k/" + string(rune('a'+i%26)) + strings.Repeat("x", i/26)
		if _, err := store.Put(t.Context(), key, strings.NewReader(""), 0, objstore.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	lists := 0
	server.Fail(func(r *http.Request) http.Handler {
		if lists++; lists%2 == 0 {
			return objstoretest.Answer(http.StatusServiceUnavailable, "SlowDown")
		}
		return nil
	})
	seen := 0
	if err := store.List(t.Context(), "k/", func(objstore.ObjectInfo) error { seen++; return nil }); err != nil || seen != objects {
		t.Errorf("%d objects of %d, %v", seen, objects, err)
	}
}

func TestS3SweepsOldRemains(t *testing.T) {
	t.Parallel()
	server := objstoretest.NewServer(t)
	store := openS3(t, server, func(cfg *objstore.S3Config) { cfg.Tries = 1 })
	server.Fail(func(r *http.Request) http.Handler { // parts are taken, neither completed nor aborted
		if r.URL.Query().Get("uploadId") != "" && r.Method != http.MethodPut {
			return objstoretest.Answer(http.StatusServiceUnavailable, "SlowDown")
		}
		return nil
	})
	if _, err := store.Put(t.Context(), "l", bytes.NewReader(make([]byte, objstoretest.Large)), objstoretest.Large, objstore.PutOptions{}); err == nil {
		t.Fatal("the parts were completed")
	}
	server.Fail(nil)
	now := clock.Real{}.Now()
	if n, err := store.Sweep(t.Context(), now.Add(-time.Hour)); n != 0 || err != nil {
		t.Errorf("swept %d young uploads, %v", n, err)
	}
	if n, err := store.Sweep(t.Context(), now.Add(time.Hour)); n != 1 || err != nil {
		t.Errorf("swept %d old uploads, %v", n, err)
	}
	if n, err := store.Sweep(t.Context(), now.Add(time.Hour)); n != 0 || err != nil {
		t.Errorf("swept %d uploads the second time, %v", n, err)
	}
}
