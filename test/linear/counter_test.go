package linear

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/kalamdb/kalamdb-go/client"
)

// counter is a row that is incremented by statements which their client sends again until they are acknowledged: each
// counts once. Whoever reads sees no less than anybody saw before, and the _seq of the row grows with its value.
type counter struct {
	mu    sync.Mutex // guards what is below
	adds  []call
	reads []counterRead
}

type counterRead struct {
	call
	value, seq int64
}

func (c *counter) name() string { return "monotonic" }

func (c *counter) prepare(ctx context.Context, admin *client.Client) error {
	return create(ctx, admin,
		"CREATE TABLE lab.counter (id BIGINT PRIMARY KEY, value BIGINT) WITH (TYPE='SHARED')",
		"INSERT INTO lab.counter (id, value) VALUES (1, 0)")
}

func (c *counter) clients(t *traffic) []func(context.Context) {
	var loops []func(context.Context)
	for range 2 {
		u := t.newUser(1000)
		loops = append(loops, func(ctx context.Context) {
			added := u.time(func() error {
				_, err := u.Exec(ctx, "UPDATE lab.counter SET value = value + 1 WHERE id = 1")
				return err
			})
			c.mu.Lock()
			defer c.mu.Unlock()
			c.adds = append(c.adds, added)
		})
	}
	for range 2 {
		u := t.newUser(1)
		loops = append(loops, func(ctx context.Context) {
			_ = c.read(ctx, u) // a read that failed says nothing
		})
	}
	return loops
}

func (c *counter) read(ctx context.Context, u *user) error {
	r := counterRead{}
	var err error
	r.call = u.time(func() error {
		result, failure := u.Query(ctx, "SELECT value, _seq FROM lab.counter WHERE id = 1")
		if err = failure; err != nil {
			return err
		}
		if len(result.Rows) != 1 {
			err = fmt.Errorf("the counter has %d rows", len(result.Rows))
			return err
		}
		if r.value, err = number(result.Rows[0][0]); err == nil {
			r.seq, err = number(result.Rows[0][1])
		}
		return err
	})
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reads = append(c.reads, r)
	return nil
}

func (c *counter) finish(ctx context.Context, t *traffic) error {
	for range size {
		if err := c.read(ctx, t.newUser(10)); err != nil {
			return err
		}
	}
	return nil
}

func (c *counter) summary() string {
	return fmt.Sprintf("%d increments, %d reads", len(c.adds), len(c.reads))
}

func (c *counter) judge() []anomaly {
	var found []anomaly
	wrong := func(kind, format string, args ...any) {
		found = append(found, anomaly{workload: c.name(), kind: kind, text: fmt.Sprintf(format, args...)})
	}
	reads := slices.Clone(c.reads)
	slices.SortFunc(reads, func(a, b counterRead) int { return int(a.end - b.end) })
	highest := make([]int64, len(reads)) // among the reads up to here
	for i, r := range reads {
		highest[i] = r.value
		if i > 0 {
			highest[i] = max(highest[i], highest[i-1])
		}
		least, most := c.bounds(r.begin, r.end)
		if r.value < least || r.value > most {
			wrong("lost or doubled", "read %d, want %d to %d: %v", r.value, least, most, r.call)
		}
		before, _ := slices.BinarySearchFunc(reads, r.begin, func(o counterRead, at time.Duration) int { return int(o.end - at) })
		if before > 0 && highest[before-1] > r.value {
			wrong("went back", "read %d after somebody had read %d: %v", r.value, highest[before-1], r.call)
		}
	}
	slices.SortFunc(reads, func(a, b counterRead) int { return int(a.value - b.value) })
	for i := 1; i < len(reads); i++ {
		a, b := reads[i-1], reads[i]
		if (a.value == b.value) != (a.seq == b.seq) || a.seq > b.seq {
			wrong("_seq does not grow", "%d has _seq %d (%v), %d has _seq %d (%v)", a.value, a.seq, a.call, b.value, b.seq, b.call)
		}
	}
	return found
}

// bounds is what a read that began and ended at these times may show: at least what was acknowledged before, at most what
// anybody had asked for.
func (c *counter) bounds(begin, end time.Duration) (least, most int64) {
	for _, add := range c.adds {
		if add.outcome == done && add.end < begin {
			least++
		}
		if add.outcome != refused && add.begin <= end {
			most++
		}
	}
	return least, most
}
