package steady

import (
	"context"
	"io"
	"net/http"
	"testing"
	"time"
)

// TestDrain: what is under way or has begun to come is answered, what is silent is closed, a new connection may send one request.
func TestDrain(t *testing.T) {
	t.Parallel()
	entered, release := make(chan struct{}), make(chan struct{})
	s := serveWith(t, Config{Idle: patience, Header: patience, Rest: patience, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if body, _ := io.ReadAll(r.Body); string(body) == "long" {
			entered <- struct{}{}
			<-release
			if r.Context().Err() != nil {
				t.Error("the request was cut off")
			}
		}
		_, _ = io.WriteString(w, "done")
	})}, false)
	silent, fresh, half, busy := s.dial(), s.dial(), s.dial(), s.dial()
	half.send(ask("half")[:20])
	silent.send(ask("a"))
	silent.want("done")
	busy.send(ask("long"))
	<-entered
	s.holds(4)
	s.watched(begun) // when it is told
	s.front.Drain()
	if !silent.ended() {
		t.Error("a silent connection is open")
	}
	fresh.send(ask("a"))
	half.send(ask("half")[20:])
	for _, c := range []*client{fresh, half} {
		if answer := c.want("done"); !answer.Close || !c.ended() {
			t.Errorf("the connection goes on: %+v", answer)
		}
	}
	late := s.dial() // is the business of net/http
	late.send(ask("a"))
	if answer := late.want("done"); answer.Close {
		t.Errorf("%+v", answer)
	}
	short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := s.front.Wait(short); err == nil {
		t.Error("nothing is under way any more")
	}
	close(release)
	if answer := busy.want("done"); !answer.Close || !busy.ended() {
		t.Errorf("the connection goes on: %+v", answer)
	}
	if err := s.front.Wait(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestDrainDoesNotWaitForNewConnections for longer than for the rest of a request.
func TestDrainDoesNotWaitForNewConnections(t *testing.T) {
	t.Parallel()
	s := serveWith(t, Config{Header: time.Hour, Rest: 20 * time.Millisecond, Handler: http.HandlerFunc(echo)}, false)
	fresh, known := s.dial(), s.dial()
	known.send(ask("a"))
	if _, err := known.receive(); err != nil {
		t.Fatal(err)
	}
	s.holds(2)
	s.front.Drain()
	if !fresh.ended() || !known.ended() {
		t.Error("a silent connection is open")
	}
	if err := s.front.Wait(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestCut ends what is under way.
func TestCut(t *testing.T) {
	t.Parallel()
	entered, ended := make(chan struct{}), make(chan struct{})
	s := serveWith(t, Config{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(entered)
		<-r.Context().Done()
		close(ended)
	})}, false)
	c := s.dial()
	c.send(ask("a"))
	<-entered
	s.front.Cut()
	<-ended
	if !c.ended() {
		t.Error("the connection is open")
	}
}

// TestSilence: connections that say nothing are closed, new ones by their own time.
func TestSilence(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]Config{
		"new":  {Header: 20 * time.Millisecond, Idle: time.Hour},
		"idle": {Header: time.Hour, Idle: 20 * time.Millisecond},
	} {
		c.Handler = http.HandlerFunc(echo)
		s := serveWith(t, c, false)
		client := s.dial()
		if name == "idle" {
			client.send(ask("a"))
			if _, err := client.receive(); err != nil {
				t.Fatal(err)
			}
		}
		if !client.ended() {
			t.Errorf("%s: the connection is open", name)
		}
	}
}
