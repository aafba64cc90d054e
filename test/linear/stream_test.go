package linear

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/kalamdb/kalamdb-go/client"
)

// streams are live queries over rows that are inserted, changed and deleted. What a subscriber was given, applied in
// order, is the table; nothing is given twice, and everything that was acknowledged is given.
type streams struct {
	mu          sync.Mutex // guards what is below
	writes      []streamWrite
	value       int64
	subscribers []*subscriber
	final       map[int64]int64
	ended       context.CancelFunc
	following   sync.WaitGroup
}

// streamWrite is a change of a row; value zero is a deletion.
type streamWrite struct {
	call
	id, value int64
}

// subscriber is one live query and what came of it.
type subscriber struct {
	number int

	mu       sync.Mutex // guards what is below
	rows     map[int64]int64
	seen     map[int64]bool // values since the last reset
	everSeen map[int64]bool
	cursor   uint64
	ready    time.Duration // when the first rows were complete; zero is never
	resets   int
	events   int
	wrong    []anomaly
	failed   error
}

// rowsPerWriter is how many rows each writer changes.
const rowsPerWriter = 10

func (s *streams) name() string { return "live-stream" }

func (s *streams) prepare(ctx context.Context, admin *client.Client) error {
	return create(ctx, admin, "CREATE TABLE lab.stream (id BIGINT PRIMARY KEY, value BIGINT) WITH (TYPE='SHARED')")
}

func (s *streams) clients(t *traffic) []func(context.Context) {
	ctx, cancel := context.WithCancel(context.Background())
	s.ended = cancel
	for i := range size {
		one := &subscriber{number: i + 1, rows: map[int64]int64{}, seen: map[int64]bool{}, everSeen: map[int64]bool{}}
		s.subscribers = append(s.subscribers, one)
		u := t.newUser(1)
		s.following.Go(func() { one.follow(ctx, u) })
	}
	var loops []func(context.Context)
	for i := range 2 {
		u := t.newUser(1 + i*5)
		loops = append(loops, func(ctx context.Context) { s.write(ctx, u, int64(i)*rowsPerWriter) })
	}
	return loops
}

func (s *streams) write(ctx context.Context, u *user, first int64) {
	w := streamWrite{id: first + u.random.Int64N(rowsPerWriter)}
	if u.random.IntN(4) > 0 {
		s.mu.Lock()
		s.value++
		w.value = s.value
		s.mu.Unlock()
	}
	w.call = u.time(func() (err error) {
		if w.value == 0 {
			_, err = u.Exec(ctx, "DELETE FROM lab.stream WHERE id = $1", w.id)
			return err
		}
		_, err = u.Exec(ctx, "INSERT INTO lab.stream (id, value) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET value = excluded.value",
			w.id, w.value)
		return err
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writes = append(s.writes, w)
}

// follow takes events until the context ends.
func (s *subscriber) follow(ctx context.Context, u *user) {
	live := u.Subscribe(client.Live{SQL: "SELECT id, value FROM lab.stream"})
	defer live.Close()
	for {
		event, err := live.Next(ctx)
		if ctx.Err() != nil {
			return
		}
		s.mu.Lock()
		if err != nil {
			s.failed = err
			s.mu.Unlock()
			return
		}
		s.take(event, u.now())
		s.mu.Unlock()
	}
}

// take applies an event. It needs mu.
func (s *subscriber) take(event client.Event, now time.Duration) {
	s.events++
	switch event.Kind {
	case client.Reset:
		s.resets++
		s.rows, s.seen, s.cursor = map[int64]int64{}, map[int64]bool{}, 0
		return
	case client.Ready:
		if s.ready == 0 {
			s.ready = now
		}
		return
	case client.Cut:
		s.complain("malformed", "a cut, which only several subscriptions together have: %v", event)
	case client.Delete:
		for _, row := range event.OldValues {
			if id, err := number(row["id"]); err == nil {
				delete(s.rows, id)
			} else {
				s.complain("malformed", "%v: %v", event, err)
			}
		}
	case client.Rows, client.Insert, client.Update:
		for _, row := range event.Rows {
			s.takeRow(event, row)
		}
	}
	if event.Cursor < s.cursor {
		s.complain("went back", "cursor %d after %d", event.Cursor, s.cursor)
	}
	s.cursor = event.Cursor
}

func (s *subscriber) takeRow(event client.Event, row client.Row) {
	id, err := number(row["id"])
	value, err2 := number(row["value"])
	if err = errors.Join(err, err2); err != nil {
		s.complain("malformed", "%v: %v", event, err)
		return
	}
	if s.seen[value] {
		s.complain("twice", "value %d of row %d came twice, the second time as %s", value, id, event.Kind)
	}
	s.seen[value], s.everSeen[value] = true, true
	s.rows[id] = value
}

func (s *subscriber) complain(kind, format string, args ...any) {
	s.wrong = append(s.wrong, anomaly{
		workload: "live-stream", kind: kind, text: fmt.Sprintf("subscriber %d: ", s.number) + fmt.Sprintf(format, args...),
	})
}

// finish waits until every subscriber has what the table has.
func (s *streams) finish(ctx context.Context, t *traffic) error {
	defer s.following.Wait()
	defer s.ended()
	result, err := t.newUser(10).Query(ctx, "SELECT id, value FROM lab.stream ORDER BY id")
	if err != nil {
		return err
	}
	ids, err := numbers(result, 0)
	if err != nil {
		return err
	}
	values, err := numbers(result, 1)
	if err != nil {
		return err
	}
	s.final = map[int64]int64{}
	for i, id := range ids {
		s.final[id] = values[i]
	}
	deadline := time.Now().Add(patience / 2)
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for _, one := range s.subscribers {
		for !one.has(s.final) && time.Now().Before(deadline) {
			<-ticker.C
		}
	}
	return nil
}

func (s *subscriber) has(rows map[int64]int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Equal(s.rows, rows)
}

func (s *streams) summary() string {
	events, resets := 0, 0
	for _, one := range s.subscribers {
		events += one.events
		resets += one.resets
	}
	return fmt.Sprintf("%d changes; %d subscribers took %d events and began anew %d times", len(s.writes), len(s.subscribers), events, resets)
}

func (s *streams) judge() []anomaly {
	var found []anomaly
	written := map[int64]streamWrite{}
	for _, w := range s.writes {
		if w.value != 0 {
			written[w.value] = w
		}
	}
	for _, one := range s.subscribers {
		if one.failed != nil {
			one.complain("refused", "%v", one.failed)
		}
		if !maps.Equal(one.rows, s.final) {
			one.complain("differs", "it was given %v, the table is %v", one.rows, s.final)
		}
		for value := range one.everSeen {
			if w, known := written[value]; !known || w.outcome == refused {
				one.complain("phantom", "value %d came, which was never written or was refused", value)
			}
		}
		for value, w := range written {
			if w.outcome == done && one.resets == 0 && one.ready != 0 && w.begin > one.ready && !one.everSeen[value] {
				one.complain("lost", "value %d of row %d never came: %v", value, w.id, w.call)
			}
		}
		found = append(found, one.wrong...)
	}
	return found
}
