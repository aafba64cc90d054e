package exec

import (
	"context"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
)

// share gives percent_rank and cume_dist: which part of the partition comes before a row, or not after it.
func (w *windowRun) share() {
	size := len(w.part)
	for low := 0; low < size; {
		high := low + 1
		for high < size && w.compareOrder(w.part[low], w.part[high]) == 0 {
			high++
		}
		value := float64(high) / float64(size)
		if w.call.Name == "percent_rank" {
			value = 0
			if size > 1 {
				value = float64(low) / float64(size-1)
			}
		}
		for i := low; i < high; i++ {
			w.set(i, datum.NewDouble(value))
		}
		low = high
	}
}

// tiles gives ntile: the number of the part that a row is in, the first ones with one row more when they cannot be equal.
func (w *windowRun) tiles() error {
	size := int64(len(w.part))
	for i := range w.part {
		if w.part[i].args[0].IsNull() {
			continue
		}
		parts := w.part[i].args[0].Int()
		if parts < 1 {
			return fault.New(fault.InvalidStatement, "the argument of ntile must be 1 or more, not %d", parts)
		}
		least, larger := size/parts, size%parts
		at := int64(i)
		tile := at / (least + 1)
		if at >= larger*(least+1) {
			tile = larger + (at-larger*(least+1))/least
		}
		w.set(i, datum.NewInt(datum.Int, tile+1))
	}
	return nil
}

// nth gives nth_value: a row of the frame by its number.
func (w *windowRun) nth(ctx context.Context) error {
	for i := range w.part {
		if err := w.pace(ctx); err != nil {
			return err
		}
		number := w.part[i].args[1]
		if number.IsNull() {
			continue
		}
		if number.Int() < 1 {
			return fault.New(fault.InvalidStatement, "the number of nth_value must be 1 or more, not %d", number.Int())
		}
		low, high, err := w.frame(i)
		if err != nil {
			return err
		}
		left := number.Int()
		if w.call.Frame == nil || w.call.Frame.Exclude == parse.ExcludeNothing {
			if left <= int64(high-low) {
				w.set(i, w.part[low+int(left)-1].args[0])
			}
			continue
		}
		for at := low; at < high; at++ {
			if err := w.pace(ctx); err != nil {
				return err
			}
			if w.excludes(i, at) {
				continue
			}
			if left--; left == 0 {
				w.set(i, w.part[at].args[0])
				break
			}
		}
	}
	return nil
}
