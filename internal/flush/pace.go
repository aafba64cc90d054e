package flush

import (
	"context"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/clock"
)

// How a run gives way to writes of others.
const (
	paceRows  = 64                     // rows between two looks at the traffic
	paceShare = 5                      // a pause is so many times as long as the work before it
	paceTrail = 50 * time.Millisecond  // for so long after the last sign of traffic there is some
	maxPause  = 250 * time.Millisecond // of one pause
)

// pacer keeps a run from taking the processors from statements: while others write, a pause follows each piece of work, so that it
// takes a sixth of the time of one processor at most, and never much of it at once. A run that is alone never waits. It belongs to the
// goroutine that is at work.
type pacer struct {
	worker *Worker
	began  time.Time // of the piece of work at hand
	seen   uint64    // traffic at that time
	moved  time.Time // when traffic was last seen to grow; zero for never
	rows   int       // of the piece
}

func (w *Worker) pacer() *pacer {
	p := &pacer{worker: w}
	if w.Traffic != nil {
		p.began, p.seen = w.Clock.Now(), w.Traffic()
	}
	return p
}

// row is called after each row.
func (p *pacer) row(ctx context.Context) error {
	if p.rows++; p.rows < paceRows {
		return nil
	}
	return p.piece(ctx)
}

// piece is called after each piece of work.
func (p *pacer) piece(ctx context.Context) error {
	if p.worker.Traffic == nil {
		return nil
	}
	if seen := p.worker.Traffic(); seen != p.seen {
		p.moved, p.seen = p.worker.Clock.Now(), seen
	}
	return p.pause(ctx)
}

// named is called when a file was written and a command named it. The command is traffic of the run's own, which does not count.
func (p *pacer) named(ctx context.Context) error {
	if p.worker.Traffic == nil {
		return nil
	}
	p.seen = p.worker.Traffic()
	return p.pause(ctx)
}

func (p *pacer) pause(ctx context.Context) error {
	now := p.worker.Clock.Now()
	rest := min(paceShare*now.Sub(p.began), maxPause)
	p.rows, p.began = 0, now
	if rest <= 0 || p.moved.IsZero() || now.Sub(p.moved) > paceTrail {
		return nil
	}
	if clock.Pause(ctx, p.worker.Clock, rest) != nil {
		return context.Cause(ctx)
	}
	p.began = p.worker.Clock.Now()
	return nil
}

// pacedRows are the rows of a file, given at the speed that a pacer allows.
type pacedRows struct {
	source

	ctx   context.Context //nolint:containedctx // of the one file that it is made for
	pacer *pacer
}

func (r pacedRows) read(sizeBytes int64) (*row, error) {
	if err := r.pacer.row(r.ctx); err != nil {
		return nil, err
	}
	return r.source.read(sizeBytes)
}

// column is called after each page that was made of rows.
func (r pacedRows) column() error { return r.pacer.piece(r.ctx) }
