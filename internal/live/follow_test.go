package live

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/changefeed"
)

// pacedTape is a tape that knows what it was given while its stream stood still, which is what no pace was asked for.
type pacedTape struct {
	tape
	paced bool
	held  int // the most at once
}

// Deliver implements Sink.
func (p *pacedTape) Deliver(notifications []Notification) {
	if !p.paced {
		p.held = max(p.held, len(notifications))
	}
	p.paced = false
	p.tape.Deliver(notifications)
}

// TestNobodyIsHeldUpForLong: while a receiver takes its time, much is written. Its stream is not held up for all of that, however often it
// happens; it is for what writers that never stop write meanwhile, so that whoever begins gets there; and nothing is lost.
func TestNobodyIsHeldUpForLong(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ rows, times int }{
		"a slow receiver": {mostHeld + 1, catchUpRounds + 5}, "quick writers": {4 * heldChanges, 1 << 30},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testHeldUp(t, c.rows, c.times)
		})
	}
}

func testHeldUp(t *testing.T, rows, times int) {
	t.Helper()
	l := newLab(t, changefeed.Config{})
	l.sql("admin", "CREATE NAMESPACE app")
	l.sql("admin", "CREATE TABLE app.busy (id BIGINT PRIMARY KEY) WITH (TYPE='SHARED', ACCESS_LEVEL='public')")
	written, asked := 0, 0
	write := func() {
		values := make([]string, rows)
		for i := range values {
			values[i] = fmt.Sprintf("(%d)", written)
			written++
		}
		l.sql("bot", "INSERT INTO app.busy VALUES "+strings.Join(values, ","))
		l.settle() // the stream is past it
	}
	sink := &pacedTape{}
	sub, err := l.service.Subscribe(t.Context(), callerOf("alice"), sink, Request{ID: "s", SQL: "SELECT id FROM app.busy"})
	l.must(err)
	write()
	l.must(sub.Follow(t.Context(), func(context.Context) error {
		if asked++; asked > 100 {
			return errors.New("it does not get there")
		}
		if asked < times {
			write()
		}
		sink.paced = true
		return nil
	}))
	if sink.held > mostHeld {
		t.Errorf("the stream was held up for %d changes, want at most %d", sink.held, mostHeld)
	}
	l.sql("bot", "INSERT INTO app.busy VALUES (1000000)")
	l.settle()
	lines := strings.Split(sink.take(), "\n")
	if len(lines) != written+1 {
		t.Fatalf("%d changes came, want %d", len(lines), written+1)
	}
	for i, line := range lines[:written] {
		if !strings.Contains(line, fmt.Sprintf(`"id":"%d"`, i)) {
			t.Fatalf("change %d is %s", i, line)
		}
	}
	sub.Close()
}
