package exec

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/sql/expr"
	"github.com/kalamdb/kalamdb-go/internal/sql/plan"
)

// openWindow reads all rows of the input and puts the results of the window functions behind each.
func (r *run) openWindow(ctx context.Context, n *plan.Window) (operator, error) {
	width := n.Windows.Width
	if n.Input.Width() > width {
		return nil, fmt.Errorf("the rows under a window have %d values, more than the %d that were planned", n.Input.Width(), width)
	}
	rows, err := r.collectWide(ctx, n.Input, 0, n.Width())
	if err != nil {
		return nil, err
	}
	for i, call := range n.Windows.Calls {
		w := &windowRun{run: r, call: call, rows: rows, width: width, target: width + i}
		if err := w.compute(ctx); err != nil {
			return nil, err
		}
	}
	return &rowsOperator{rows: rows}, nil
}

// windowRun computes one window function.
type windowRun struct {
	run    *run
	call   *expr.WindowCall
	rows   [][]datum.Datum
	width  int
	target int // position of the result
	places []windowPlace
	part   []windowPlace // the partition at hand

	steps              int // since the statement was asked whether it is still wanted
	peersFrom, peersTo int // rows of the partition that are equal in order, the last that were asked for
	bounds             frameBounds
}

// keyRoom is how much more than its bytes a key takes.
const keyRoom = 16

// windowPlace is a row in the order of the window.
type windowPlace struct {
	partition string
	order     []datum.Datum
	args      []datum.Datum
	row       int
	omitted   bool // FILTER leaves it out of the aggregate
}

func (w *windowRun) compute(ctx context.Context) error {
	if err := w.arrange(ctx); err != nil {
		return err
	}
	if err := w.bounds.measure(w.call.Frame, w.run.eval); err != nil {
		return err
	}
	for start := 0; start < len(w.places); {
		end := start + 1
		for end < len(w.places) && w.places[end].partition == w.places[start].partition {
			end++
		}
		w.part, w.peersFrom, w.peersTo = w.places[start:end], 0, 0
		w.countGroups()
		if err := w.partition(ctx); err != nil {
			return err
		}
		start = end
	}
	return nil
}

// arrange orders the rows by partition and within it.
func (w *windowRun) arrange(ctx context.Context) error {
	eval := w.run.eval
	if err := w.run.budget.takeBytes(int64(len(w.rows)) * sizeOf[windowPlace]()); err != nil {
		return err
	}
	w.places = make([]windowPlace, len(w.rows))
	for i, row := range w.rows {
		if i%cancelInterval == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		place := windowPlace{row: i}
		var key []byte
		for _, e := range w.call.PartitionBy {
			value, err := e.Eval(eval, row[:w.width])
			if err != nil {
				return err
			}
			key = datum.AppendKey(key, value)
		}
		place.partition = string(key)
		place.order, place.args = make([]datum.Datum, 0, len(w.call.OrderBy)), make([]datum.Datum, 0, len(w.call.Args))
		for _, item := range w.call.OrderBy {
			value, err := item.Expr.Eval(eval, row[:w.width])
			if err != nil {
				return err
			}
			place.order = append(place.order, value)
		}
		for _, e := range w.call.Args {
			value, err := e.Eval(eval, row[:w.width])
			if err != nil {
				return err
			}
			place.args = append(place.args, value)
		}
		if w.call.Aggregate != nil && w.call.Aggregate.Filter != nil {
			keep, err := expr.Test(w.call.Aggregate.Filter, eval, row[:w.width])
			if err != nil {
				return err
			}
			place.omitted = !keep
		}
		if err := w.run.budget.takeBytes(rowBytes(place.order) + rowBytes(place.args) + int64(len(key)) + keyRoom); err != nil {
			return err
		}
		w.places[i] = place
	}
	return arrange(ctx, w.places, slices.SortStableFunc, func(a, b windowPlace) int {
		if c := strings.Compare(a.partition, b.partition); c != 0 {
			return c
		}
		return w.compareOrder(a, b)
	})
}

func (w *windowRun) compareOrder(a, b windowPlace) int {
	for i, item := range w.call.OrderBy {
		if c := item.Compare(a.order[i], b.order[i]); c != 0 {
			return c
		}
	}
	return 0
}

func (w *windowRun) set(position int, value datum.Datum) {
	w.rows[w.part[position].row][w.target] = value
}

func (w *windowRun) partition(ctx context.Context) error {
	switch w.call.Name {
	case "row_number", "rank", "dense_rank":
		w.number()
		return nil
	case "percent_rank", "cume_dist":
		w.share()
		return nil
	case "ntile":
		return w.tiles()
	case "nth_value":
		return w.nth(ctx)
	case "lag", "lead":
		w.shifted()
		return nil
	case "first_value", "last_value":
		return w.ends(ctx)
	}
	return w.aggregate(ctx)
}

// number gives row_number, rank and dense_rank.
func (w *windowRun) number() {
	rank, dense := int64(0), int64(0)
	for i := range w.part {
		if i == 0 || w.compareOrder(w.part[i-1], w.part[i]) != 0 {
			rank, dense = int64(i)+1, dense+1
		}
		value := int64(i) + 1
		switch w.call.Name {
		case "rank":
			value = rank
		case "dense_rank":
			value = dense
		}
		w.set(i, datum.NewBigInt(value))
	}
}

// shifted gives lag and lead.
func (w *windowRun) shifted() {
	for i := range w.part {
		args := w.part[i].args
		offset := int64(1)
		if len(args) > 1 {
			if args[1].IsNull() {
				continue
			}
			offset = args[1].Int()
		}
		if w.call.Name == "lag" {
			offset = -offset
		}
		if at := int64(i) + offset; offset > -int64(len(w.part)) && offset < int64(len(w.part)) && at >= 0 && at < int64(len(w.part)) {
			w.set(i, w.part[at].args[0])
		} else if len(args) > 2 {
			w.set(i, args[2])
		}
	}
}
