package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/ident"
)

// ColdOptions say how much is measured.
type ColdOptions struct {
	Rows    int // of the large table
	Repeats int // of every query
	// Cases is which parts are measured: flush, queries, files, writes; empty for all. The queries need the rows of the flush.
	Cases []string
}

// Validate reports the first option that cannot work.
func (o ColdOptions) Validate() error {
	if o.Rows < wideBatch || o.Repeats < 1 {
		return fmt.Errorf("want at least %d rows and one repeat", wideBatch)
	}
	for _, name := range o.Cases {
		if !slices.ContainsFunc(coldParts, func(p coldPart) bool { return p.name == name }) {
			return fmt.Errorf("no part '%s'; there are flush, queries, files and writes", name)
		}
	}
	return nil
}

const (
	coldSmallRows  = 10_000
	coldSmallFiles = 20
	coldRounds     = 3
	coldFirsts     = 7    // times that a query is measured with nothing in the cache
	coldWrites     = 5000 // hot writes that are measured without a flush, in each round
)

// coldCase is one printed result.
type coldCase struct {
	Case      string  `json:"case"`
	Rows      int     `json:"rows"`
	RowsPerS  float64 `json:"rows_per_s,omitempty"`
	P50Micros float64 `json:"p50_us,omitempty"`
	P90Micros float64 `json:"p90_us,omitempty"`
	P99Micros float64 `json:"p99_us,omitempty"`
	MaxMicros float64 `json:"max_us,omitempty"`
	FirstTime float64 `json:"first_us,omitempty"` // with nothing in the cache and all files closed, at the median
	FirstMin  float64 `json:"first_min_us,omitempty"`
	MinMicros float64 `json:"min_us,omitempty"`
	P99Ratio  float64 `json:"p99_ratio,omitempty"` // to that without a flush
	Bytes     int64   `json:"bytes,omitempty"`
	Segments  int     `json:"segments,omitempty"`
}

// Cold measures rows in segments: how fast they become cold, how fast they are read, and what hot writes feel meanwhile. The
// engine is in this process, over a store on disk. It prints one JSON object for each case.
func Cold(ctx context.Context, o ColdOptions, out io.Writer) error {
	if err := o.Validate(); err != nil {
		return err
	}
	return withSQLEngine(ctx, func(e *sqlEngine) error {
		b := &coldBench{engine: e, out: json.NewEncoder(out), options: o}
		if err := e.statement(ctx, "CREATE NAMESPACE bench"); err != nil {
			return err
		}
		for _, part := range coldParts {
			if len(o.Cases) > 0 && !slices.Contains(o.Cases, part.name) {
				continue
			}
			if err := part.run(b, ctx); err != nil {
				return err
			}
		}
		return nil
	})
}

// coldPart is what can be measured by itself.
type coldPart struct {
	name string
	run  func(*coldBench, context.Context) error
}

var coldParts = []coldPart{
	{"flush", (*coldBench).flush}, {"queries", (*coldBench).queries}, {"files", (*coldBench).smallFiles}, {"writes", (*coldBench).hotWrites},
}

type coldBench struct {
	engine  *sqlEngine
	out     *json.Encoder
	options ColdOptions
}

// flush measures how fast rows of eight columns become cold.
func (b *coldBench) flush(ctx context.Context) error {
	id, err := b.engine.makeWide(ctx, "large")
	if err != nil {
		return err
	}
	if err = b.engine.fillWide(ctx, "large", 1, b.options.Rows); err != nil {
		return err
	}
	started := time.Now()
	moved, err := b.engine.flusher().Table(ctx, id, nil)
	if err != nil {
		return err
	}
	return b.out.Encode(coldCase{
		Case: "flush_8_columns", Rows: int(moved.Rows), RowsPerS: float64(moved.Rows) / time.Since(started).Seconds(), Bytes: moved.Bytes,
		Segments: moved.Segments,
	})
}

// measure runs a query a few times with nothing in the cache, and then again and again with what is there by then.
func (b *coldBench) measure(ctx context.Context, name, sql string, params func(n int) []datum.Datum) error {
	var first, times []time.Duration
	for n := range coldFirsts + b.options.Repeats {
		if n < coldFirsts {
			if err := b.engine.cold.Forget(); err != nil {
				return err
			}
		}
		var given []datum.Datum
		if params != nil {
			given = params(n)
		}
		started := time.Now()
		if err := b.engine.statement(ctx, sql, given...); err != nil {
			return err
		}
		if took := time.Since(started); n < coldFirsts {
			first = append(first, took)
		} else {
			times = append(times, took)
		}
	}
	result, fresh := quantiles(times), quantiles(first)
	result.Case, result.Rows, result.FirstTime, result.FirstMin = name, b.options.Rows, fresh.P50Micros, fresh.MinMicros
	return b.out.Encode(result)
}

func quantiles(times []time.Duration) coldCase {
	slices.Sort(times)
	at := func(q float64) float64 { return micros(times[min(int(q*float64(len(times))), len(times)-1)]) }
	return coldCase{MinMicros: micros(times[0]), P50Micros: at(0.5), P90Micros: at(0.9), P99Micros: at(0.99), MaxMicros: micros(times[len(times)-1])}
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }

func (b *coldBench) queries(ctx context.Context) error {
	if err := b.measure(ctx, "aggregate_2_columns", "SELECT SUM(amount), MAX(score) FROM large", nil); err != nil {
		return err
	}
	return b.measure(ctx, "point_read", "SELECT * FROM large WHERE id = $1", func(n int) []datum.Datum {
		return []datum.Datum{datum.NewBigInt(int64(n*7919%b.options.Rows) + 1)}
	})
}

// smallFiles measures a filter over a table in many small segments.
func (b *coldBench) smallFiles(ctx context.Context) error {
	id, err := b.engine.makeWide(ctx, "small")
	if err != nil {
		return err
	}
	for n := range coldSmallFiles {
		if err = b.engine.fillWide(ctx, "small", 1+n*coldSmallRows, coldSmallRows); err != nil {
			return err
		}
		if _, err = b.engine.flusher().Table(ctx, id, nil); err != nil {
			return err
		}
	}
	return b.measure(ctx, "filter_limit_20_segments", "SELECT id, amount FROM small WHERE amount = 7 AND flag LIMIT 50", nil)
}

// hotWrites measures inserts into another table, by turns alone and for all of the time that a flush takes. What is flushed was
// all inserted before, so that no turn meets more of what the store has left to do than another.
func (b *coldBench) hotWrites(ctx context.Context) error {
	if _, err := b.engine.makeWide(ctx, "hot"); err != nil {
		return err
	}
	var moving [coldRounds]ident.TableID
	for round := range moving {
		name := fmt.Sprintf("moving%d", round)
		id, err := b.engine.makeWide(ctx, name)
		if err != nil {
			return err
		}
		moving[round] = id
		if err = b.engine.fillWide(ctx, name, 1, b.options.Rows); err != nil {
			return err
		}
	}
	w := &hotWriter{bench: b}
	if _, err := w.write(ctx, coldWrites, nil); err != nil { // warms up
		return err
	}
	var alone, during []time.Duration
	for _, id := range moving {
		times, err := w.write(ctx, coldWrites, nil)
		if err != nil {
			return err
		}
		alone = append(alone, times...)
		done := make(chan error, 1)
		go func() {
			_, failure := b.engine.flusher().Table(ctx, id, nil)
			done <- failure
		}()
		if times, err = w.write(ctx, math.MaxInt, done); err != nil {
			return err
		}
		during = append(during, times...)
	}
	without, with := quantiles(alone), quantiles(during)
	without.Case, without.Rows = "hot_write_alone", len(alone)
	with.Case, with.Rows, with.P99Ratio = "hot_write_during_flush", len(during), with.P99Micros/without.P99Micros
	return errors.Join(b.out.Encode(without), b.out.Encode(with))
}

// hotWriter inserts one row after the other.
type hotWriter struct {
	bench *coldBench
	next  int
}

// write inserts rows until there are so many, or until something ends, and says how long each took. When it returns without an error,
// that has ended.
func (w *hotWriter) write(ctx context.Context, most int, until <-chan error) (times []time.Duration, err error) {
	for len(times) < most {
		select {
		case err := <-until:
			if err == nil && len(times) == 0 {
				err = errors.New("the flush ended before a row was written")
			}
			return times, err
		default:
		}
		w.next++
		started := time.Now()
		if err := w.bench.engine.statement(ctx, "INSERT INTO hot (id, kind) VALUES ($1, 'a row')", datum.NewBigInt(int64(w.next))); err != nil {
			if until != nil {
				err = errors.Join(err, <-until)
			}
			return times, err
		}
		times = append(times, time.Since(started))
	}
	return times, nil
}
