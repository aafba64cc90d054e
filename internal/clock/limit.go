package clock

import (
	"context"
	"sync"
	"time"
)

// limitStep is how much later than asked a Limited may end: those that end within the same step share one timer.
const limitStep = 100 * time.Millisecond

// Limits makes contexts with a time limit for waits that nearly always end before it. A context of the standard library takes a timer of
// its own and registers with its parent, which for a wait of a millisecond is much of the wait's processor time. The zero value is
// ready. It holds one timer for each step that some limit ends in, so at most a limit's length divided by a tenth of a second.
type Limits struct {
	mu     sync.Mutex              // guards what follows
	base   time.Time               // what steps are counted from, on the clock that nobody sets
	marks  map[int64]chan struct{} // by the step that they end with
	newest chan struct{}           // of marks
	step   int64                   // of newest
}

// mark returns what is closed within a step after until.
func (l *Limits) mark(now, until time.Time) <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.base.IsZero() {
		l.base = now
	}
	step := int64(until.Sub(l.base)/limitStep) + 1
	if step == l.step { // limits of one length, as nearly all are
		return l.newest
	}
	ended := l.marks[step]
	if ended == nil {
		ended = make(chan struct{})
		if l.marks == nil {
			l.marks = make(map[int64]chan struct{})
		}
		l.marks[step] = ended
		time.AfterFunc(time.Duration(step)*limitStep-now.Sub(l.base), func() { l.end(step, ended) })
	}
	l.newest, l.step = ended, step
	return ended
}

func (l *Limits) end(step int64, ended chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.marks, step)
	if l.step == step {
		l.newest, l.step = nil, 0
	}
	close(ended)
}

// Within returns a context that ends with its parent, or when the limit is over: never before, and at most a tenth of a second later. It is to be
// released once nobody waits for it any more.
func (l *Limits) Within(parent context.Context, limit time.Duration) *Limited {
	now := time.Now()
	until := now.Add(limit)
	return &Limited{Context: parent, until: until, ended: l.mark(now, until)}
}

// Limited is a context with a limit, see Limits. Who knows it waits for what Ends returns, and costs nothing more; for all others Done
// makes the context that it stands for.
type Limited struct {
	context.Context //nolint:containedctx // it is one itself

	until time.Time
	ended <-chan struct{}

	mu       sync.Mutex      // guards what follows
	full     context.Context //nolint:containedctx // stands for this one
	stop     context.CancelFunc
	released bool
}

// Ends returns what a wait under a context must look at: when either is closed, ctx.Err says why it is over.
func Ends(ctx context.Context) (done, limit <-chan struct{}) {
	if c, ok := ctx.(*Limited); ok {
		return c.Context.Done(), c.ended
	}
	return ctx.Done(), nil
}

// Deadline implements context.Context.
func (c *Limited) Deadline() (time.Time, bool) {
	if parent, ok := c.Context.Deadline(); ok && parent.Before(c.until) {
		return parent, true
	}
	return c.until, true
}

// Done implements context.Context.
func (c *Limited) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.full == nil {
		c.full, c.stop = context.WithDeadline(c.Context, c.until)
		if c.released {
			c.stop()
		}
	}
	return c.full.Done()
}

// Value implements context.Context. Contexts below this one find so what it stands for, and need no goroutine to watch it.
func (c *Limited) Value(key any) any {
	c.mu.Lock()
	full := c.full
	c.mu.Unlock()
	if full != nil {
		return full.Value(key)
	}
	return c.Context.Value(key)
}

// Err implements context.Context.
func (c *Limited) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.full != nil {
		if err := c.full.Err(); err != nil {
			return err
		}
	}
	if err := c.Context.Err(); err != nil {
		return err
	}
	select {
	case <-c.ended:
		return context.DeadlineExceeded
	default:
	}
	if c.released {
		return context.Canceled
	}
	return nil
}

// Release ends the context for whoever still waits by Done.
func (c *Limited) Release() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.released = true
	if c.stop != nil {
		c.stop()
	}
}
