package exec

import (
	"context"
	"math"
	"sort"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/sql/expr"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
)

// frameBounds are the distances of a frame's bounds, which no row changes, and the groups of a partition.
type frameBounds struct {
	start, end datum.Datum
	groups     []int // where the groups of equal rows begin, and the end of the partition
	groupOf    []int // the group of each row
}

// measure computes the distances.
func (b *frameBounds) measure(frame *expr.Frame, eval *expr.EvalContext) (err error) {
	if frame == nil {
		return nil
	}
	if b.start, err = distance(&frame.Start, eval); err != nil {
		return err
	}
	b.end, err = distance(&frame.End, eval)
	return err
}

func distance(bound *expr.FrameBound, eval *expr.EvalContext) (datum.Datum, error) {
	if bound.Offset == nil {
		return datum.Datum{}, nil
	}
	offset, err := bound.Offset.Eval(eval, nil)
	if err != nil {
		return datum.Datum{}, err
	}
	negative := offset.IsNull()
	switch k := offset.Kind(); {
	case k.IsInteger():
		negative = offset.Int() < 0
	case k == datum.Decimal:
		negative = offset.Decimal().Sign() < 0
	case k.IsFloat():
		negative = math.IsNaN(offset.Float()) || offset.Float() < 0
	case k == datum.Interval:
		negative = datum.Compare(offset, datum.NewInterval(datum.Span{})) < 0
	}
	if negative {
		return datum.Datum{}, fault.New(fault.InvalidStatement, "the distance of a frame's bound must be neither NULL nor negative")
	}
	return offset, nil
}

// countGroups finds the groups of equal rows of the partition at hand, for frames that need them.
func (w *windowRun) countGroups() {
	frame := w.call.Frame
	if frame == nil || frame.Mode == parse.FrameRows && frame.Exclude == parse.ExcludeNothing {
		return
	}
	w.bounds.groups, w.bounds.groupOf = w.bounds.groups[:0], w.bounds.groupOf[:0]
	for i := range w.part {
		if i == 0 || w.compareOrder(w.part[i-1], w.part[i]) != 0 {
			w.bounds.groups = append(w.bounds.groups, i)
		}
		w.bounds.groupOf = append(w.bounds.groupOf, len(w.bounds.groups)-1)
	}
	w.bounds.groups = append(w.bounds.groups, len(w.part))
}

// frame returns which rows of the partition count for one of them, those that the frame excludes among them.
func (w *windowRun) frame(i int) (low, high int, err error) {
	frame := w.call.Frame
	size := len(w.part)
	if frame == nil {
		if len(w.call.OrderBy) == 0 {
			return 0, size, nil
		}
		if i < w.peersFrom || i >= w.peersTo {
			w.peersFrom, w.peersTo = i, i+1
			for w.peersTo < size && w.compareOrder(w.part[i], w.part[w.peersTo]) == 0 {
				w.peersTo++
			}
		}
		return 0, w.peersTo, nil
	}
	if low, err = w.bound(i, &frame.Start, w.bounds.start, false); err != nil {
		return 0, 0, err
	}
	high, err = w.bound(i, &frame.End, w.bounds.end, true)
	return low, max(low, high), err
}

// bound is where a frame begins, or behind its last row.
func (w *windowRun) bound(i int, bound *expr.FrameBound, distance datum.Datum, end bool) (int, error) {
	size := len(w.part)
	after := 0
	if end {
		after = 1
	}
	switch {
	case bound.Kind == parse.UnboundedPreceding:
		return 0, nil
	case bound.Kind == parse.UnboundedFollowing:
		return size, nil
	case w.call.Frame.Mode == parse.FrameRows:
		at := shifted(int64(i), bound, distance, int64(size)) + int64(after)
		return int(min(max(at, 0), int64(size))), nil
	case bound.Kind == parse.CurrentRow:
		return w.bounds.groups[w.bounds.groupOf[i]+after], nil
	case w.call.Frame.Mode == parse.FrameGroups:
		last := int64(len(w.bounds.groups)) - 1
		at := shifted(int64(w.bounds.groupOf[i]), bound, distance, last) + int64(after)
		return w.bounds.groups[min(max(at, 0), last)], nil
	}
	return w.reach(i, bound, distance, end)
}

// shifted is a place at a distance from another one, at most one before the first and at most at the end.
func shifted(at int64, bound *expr.FrameBound, distance datum.Datum, size int64) int64 {
	if bound.Kind == parse.OffsetPreceding {
		return max(at-min(distance.Int(), size+1), -1)
	}
	if bound.Kind == parse.OffsetFollowing {
		return min(at+min(distance.Int(), size+1), size)
	}
	return at
}

// reach is a bound by the value of the order. Rows without one count for each other alone. What lies beyond all values of the type is
// beyond all rows.
func (w *windowRun) reach(i int, bound *expr.FrameBound, distance datum.Datum, end bool) (int, error) {
	value := w.part[i].order[0]
	if value.IsNull() {
		group := w.bounds.groupOf[i]
		if end {
			group++
		}
		return w.bounds.groups[group], nil
	}
	limit, err := bound.Reach.Eval(w.run.eval, []datum.Datum{value, distance})
	switch {
	case fault.KindOf(err) == fault.OutOfRange:
		return w.beyond(bound.Kind == parse.OffsetFollowing), nil
	case err != nil:
		return 0, err
	}
	item := w.call.OrderBy[0]
	return sort.Search(len(w.part), func(at int) bool {
		c := item.Compare(w.part[at].order[0], limit)
		return c > 0 || c == 0 && !end
	}), nil
}

// beyond is the place behind all rows that have a value, or before them.
func (w *windowRun) beyond(last bool) int {
	item := w.call.OrderBy[0]
	return sort.Search(len(w.part), func(at int) bool {
		null := w.part[at].order[0].IsNull()
		if last {
			return null && !item.NullsFirst
		}
		return !null || !item.NullsFirst
	})
}

// excludes reports whether a row of the frame of another one is left out.
func (w *windowRun) excludes(of, row int) bool {
	if w.call.Frame == nil {
		return false
	}
	switch w.call.Frame.Exclude {
	case parse.ExcludeCurrentRow:
		return row == of
	case parse.ExcludeGroup:
		return w.bounds.groupOf[row] == w.bounds.groupOf[of]
	case parse.ExcludeTies:
		return row != of && w.bounds.groupOf[row] == w.bounds.groupOf[of]
	case parse.ExcludeNothing:
	}
	return false
}

// ends gives first_value and last_value.
func (w *windowRun) ends(ctx context.Context) error {
	for i := range w.part {
		if err := w.pace(ctx); err != nil {
			return err
		}
		low, high, err := w.frame(i)
		if err != nil {
			return err
		}
		at, step := low, 1
		if w.call.Name == "last_value" {
			at, step = high-1, -1
		}
		for ; low <= at && at < high; at += step {
			if !w.excludes(i, at) {
				w.set(i, w.part[at].args[0])
				break
			}
			if err := w.pace(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// pace counts steps, and looks now and then whether the statement is still wanted.
func (w *windowRun) pace(ctx context.Context) error {
	if w.steps++; w.steps < cancelInterval {
		return nil
	}
	w.steps = 0
	return ctx.Err()
}

// aggregate adds up frames. While frames only grow at their end, one sum serves them all.
func (w *windowRun) aggregate(ctx context.Context) error {
	running := expr.NewAggregate(w.call.Aggregate)
	added, from := 0, 0
	excluding := w.call.Frame != nil && w.call.Frame.Exclude != parse.ExcludeNothing
	var value datum.Datum
	for i := range w.part {
		if i%cancelInterval == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		low, high, err := w.frame(i)
		if err != nil {
			return err
		}
		if i > 0 && low == from && high == added && !excluding { // the same rows again
			w.set(i, value)
			continue
		}
		if low != from || high < added || excluding {
			running, added, from = expr.NewAggregate(w.call.Aggregate), low, low
		}
		for ; added < high; added++ {
			if added%cancelInterval == 0 && ctx.Err() != nil {
				return ctx.Err()
			}
			if w.part[added].omitted || excluding && w.excludes(i, added) {
				continue
			}
			if err = running.Add(w.part[added].args); err != nil {
				return err
			}
		}
		if value, err = running.Result(w.run.eval); err != nil {
			return err
		}
		if err = w.run.budget.takeBytes(int64(valueBytes(value))); err != nil {
			return err
		}
		w.set(i, value)
	}
	return nil
}
