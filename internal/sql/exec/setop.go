package exec

import (
	"context"
	"errors"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
	"github.com/kalamdb/kalamdb-go/internal/sql/plan"
)

// openSource starts the nodes that do not simply pass on the rows of one input.
func (r *run) openSource(ctx context.Context, node plan.Node) (op operator, handled bool, err error) {
	switch n := node.(type) {
	case *plan.Sort:
		return r.openSorted(n)
	case *plan.Join:
		op, err = r.openJoin(ctx, n)
	case *plan.Lateral:
		op, err = r.openLateral(ctx, n)
	case *plan.Function:
		op, err = r.openFunction(n)
	case *plan.SetOperation:
		op, err = r.openSetOperation(ctx, n)
	case *plan.Window:
		op, err = r.openWindow(ctx, n)
	case *plan.Shared:
		op, err = r.openShared(ctx, n)
	case *plan.Recursive:
		op = r.openRecursive(n)
	case *plan.WorkTable:
		op = &rowsOperator{rows: r.state.work[n]}
	default:
		return nil, false, nil
	}
	if err != nil {
		return nil, true, err
	}
	return op, true, nil
}

// setOperator combines two inputs. For INTERSECT and EXCEPT it first counts the rows of the right one.
type setOperator struct {
	run         *run
	plan        *plan.SetOperation
	left, right operator
	onRight     bool           // UNION: the left input is at its end
	counts      map[string]int // rows of the right input that are not used up
	seen        map[string]struct{}
	key         []byte
	counted     bool
}

func (r *run) openSetOperation(ctx context.Context, n *plan.SetOperation) (operator, error) {
	left, err := r.open(ctx, n.Left)
	if err != nil {
		return nil, err
	}
	right, err := r.open(ctx, n.Right)
	if err != nil {
		return nil, errors.Join(err, left.close())
	}
	return &setOperator{
		run: r, plan: n, left: left, right: right, counts: map[string]int{}, seen: map[string]struct{}{},
	}, nil
}

func (o *setOperator) next(ctx context.Context) ([]datum.Datum, error) {
	if o.plan.Op != parse.Union && !o.counted {
		if err := o.count(ctx); err != nil {
			return nil, err
		}
		o.counted = true
	}
	for {
		row, err := o.pull(ctx)
		if row == nil || err != nil {
			return nil, err
		}
		if o.plan.Op == parse.Union && o.plan.All {
			return row, nil
		}
		o.key = appendRowKey(o.key[:0], row)
		if !o.keeps() {
			continue
		}
		if o.plan.All {
			return row, nil
		}
		if _, again := o.seen[string(o.key)]; again {
			continue
		}
		if err := o.run.budget.takeBytes(int64(len(o.key)) + entryBytes); err != nil {
			return nil, err
		}
		o.seen[string(o.key)] = struct{}{}
		return row, nil
	}
}

// pull gives the next row that may belong to the result.
func (o *setOperator) pull(ctx context.Context) ([]datum.Datum, error) {
	if !o.onRight {
		row, err := o.left.next(ctx)
		if row != nil || err != nil || o.plan.Op != parse.Union {
			return row, err
		}
		o.onRight = true
	}
	return o.right.next(ctx)
}

// keeps tells whether the row at hand belongs to the result, duplicates aside.
func (o *setOperator) keeps() bool {
	if o.plan.Op == parse.Union {
		return true
	}
	left := o.counts[string(o.key)]
	if left > 0 && o.plan.All {
		o.counts[string(o.key)] = left - 1
	}
	return (left > 0) == (o.plan.Op == parse.Intersect)
}

// count reads the right input.
func (o *setOperator) count(ctx context.Context) error {
	for {
		row, err := o.right.next(ctx)
		if row == nil || err != nil {
			return err
		}
		o.key = appendRowKey(o.key[:0], row)
		if _, known := o.counts[string(o.key)]; !known {
			if err := o.run.budget.takeBytes(int64(len(o.key)) + entryBytes); err != nil {
				return err
			}
		}
		o.counts[string(o.key)]++
	}
}

func (o *setOperator) close() error { return errors.Join(o.left.close(), o.right.close()) }

func appendRowKey(key []byte, row []datum.Datum) []byte {
	for _, value := range row {
		key = datum.AppendKey(key, value)
	}
	return key
}
