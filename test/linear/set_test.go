package linear

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/kalamdb/kalamdb-go/client"
)

// elements are rows that are inserted and never removed. From the moment one is acknowledged, or anybody saw it, every
// read that begins must show it; what was refused is never seen.
type elements struct {
	mu    sync.Mutex // guards what is below
	adds  map[int64]call
	reads []setRead
	next  int64
}

type setRead struct {
	call
	seen []int64
}

func (s *elements) name() string { return "set" }

func (s *elements) prepare(ctx context.Context, admin *client.Client) error {
	s.adds = map[int64]call{}
	return create(ctx, admin, "CREATE TABLE lab.elements (id BIGINT PRIMARY KEY) WITH (TYPE='SHARED')")
}

func (s *elements) clients(t *traffic) []func(context.Context) {
	var loops []func(context.Context)
	for i := range 2 {
		u := t.newUser(1 + i*5)
		loops = append(loops, func(ctx context.Context) { s.add(ctx, u) })
	}
	reader := t.newUser(1)
	return append(loops, func(ctx context.Context) {
		for range 20 { // a read costs as much as many inserts
			if ctx.Err() == nil {
				s.add(ctx, reader)
			}
		}
		_ = s.read(ctx, reader) // a read that failed says nothing
	})
}

func (s *elements) add(ctx context.Context, u *user) {
	s.mu.Lock()
	s.next++
	id := s.next
	s.mu.Unlock()
	c := u.time(func() error {
		_, err := u.Exec(ctx, "INSERT INTO lab.elements (id) VALUES ($1)", id)
		return err
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.adds[id] = c
}

func (s *elements) read(ctx context.Context, u *user) error {
	var seen []int64
	var err error
	c := u.time(func() error {
		var result *client.Result
		if result, err = u.Query(ctx, "SELECT id FROM lab.elements LIMIT 1000000"); err == nil {
			seen, err = numbers(result, 0)
		}
		return err
	})
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads = append(s.reads, setRead{call: c, seen: seen})
	return nil
}

func (s *elements) finish(ctx context.Context, t *traffic) error {
	for range size {
		if err := s.read(ctx, t.newUser(10)); err != nil {
			return err
		}
	}
	return nil
}

func (s *elements) summary() string {
	return fmt.Sprintf("%d inserts, %d reads", len(s.adds), len(s.reads))
}

func (s *elements) judge() []anomaly {
	var found []anomaly
	wrong := func(kind, format string, args ...any) {
		found = append(found, anomaly{workload: s.name(), kind: kind, text: fmt.Sprintf(format, args...)})
	}
	// since is when an element was there at the latest.
	since := map[int64]time.Duration{}
	for id, c := range s.adds {
		since[id] = c.until()
		if c.outcome == refused {
			since[id] = endless
		}
	}
	for _, r := range s.reads {
		seen := make(map[int64]bool, len(r.seen))
		for _, id := range r.seen {
			add, asked := s.adds[id]
			switch {
			case !asked || add.begin > r.end:
				wrong("phantom", "%d was read before anybody inserted it: %v", id, r.call)
			case add.outcome == refused:
				wrong("refused and there", "%d was refused (%s), and read: %v", id, add.complaint, r.call)
			case seen[id]:
				wrong("twice", "%d was read twice by %v", id, r.call)
			}
			seen[id] = true
			since[id] = min(since[id], r.end)
		}
	}
	for _, r := range s.reads {
		seen := make(map[int64]bool, len(r.seen))
		for _, id := range r.seen {
			seen[id] = true
		}
		for id, at := range since {
			if at < r.begin && !seen[id] {
				wrong("lost or stale", "%d was there at %v (%v), and is not in a read that began later: %v", id, at, s.adds[id], r.call)
			}
		}
	}
	return found
}
