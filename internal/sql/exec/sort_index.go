package exec

import (
	"bytes"
	"errors"
	"slices"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/sql/expr"
	"github.com/kalamdb/kalamdb-go/internal/sql/plan"
	"github.com/kalamdb/kalamdb-go/internal/table"
)

// The bounds of what is looked at of an index to find the first rows of an ordering: more rows than that are sorted, and when
// the condition lets too few of the entries pass the table is gone through.
const (
	maxFirstRows    = 1024
	entriesForFirst = 16 // for each row that is wanted
	minFirstEntries = 256
)

// openSorted starts the input of a sort. When an index has the first rows, only they are read, and all that are equal to the
// last of them: the sort then gives the rows that it would have found in the whole table, in the same order.
func (r *run) openSorted(n *plan.Sort) (op operator, handled bool, err error) {
	scan, ok := n.Input.(*plan.Scan)
	if !ok || !n.FromEnd && n.ByIndex == nil {
		return nil, false, nil
	}
	skip, count, err := r.limits(n.Top)
	if err != nil || count < 0 || skip > maxFirstRows || count > maxFirstRows-skip || skip+count == 0 {
		return nil, false, err
	}
	find := r.firstRows
	if n.FromEnd {
		find = r.lastRows
	}
	at, err := find(n, scan, int(skip+count))
	if at == nil || err != nil {
		return nil, false, err
	}
	input, err := r.openAt(scan, at)
	if err != nil {
		return nil, true, err
	}
	if op, err = r.wrapSort(n, input); err != nil {
		return nil, true, errors.Join(err, input.close())
	}
	return op, true, nil
}

// firstRows locates the first rows of an ordering; nil when the index cannot be used, or does not pay. What a transaction has written
// may hide as many of them, and is laid over what is read; it depends on the part of the index that was gone through.
func (r *run) firstRows(n *plan.Sort, scan *plan.Scan, wanted int) (*location, error) {
	span, ok := n.ByIndex.Span(scan, r.eval)
	if !ok {
		return nil, nil
	}
	at := &location{}
	var err error
	if at.scope, err = r.scopeOf(scan.Table); err != nil {
		return nil, err
	}
	if at.bounds, err = scan.Bounds(r.eval); err != nil || at.bounds.Points != nil {
		return nil, err
	}
	if r.tx != nil {
		if wanted += len(r.overlaid().Within(&at.scope, &at.bounds)); wanted > maxFirstRows {
			return nil, nil
		}
	}
	x := n.ByIndex.Choice.Index
	snapshot := r.openSnapshot()
	if ok, err = r.indexStands(scan.Table, x); !ok || err != nil {
		return nil, err
	}
	f := &firstFinder{
		run: r, scan: scan, at: at, index: x.Name, keys: n.Keys[:n.ByIndex.Keys], wanted: wanted,
		left: max(minFirstEntries, entriesForFirst*wanted), condition: expr.Prepare(scan.Condition, r.eval), row: make([]datum.Datum, scan.Width()),
		last: make([]datum.Datum, n.ByIndex.Keys), points: [][]byte{},
	}
	if err = table.WalkIndex(snapshot, at.scope, x, span, n.ByIndex.Backwards, f.visit); err != nil || f.tooMany {
		return nil, err
	}
	if r.tx != nil {
		if ok, err = r.tx.ReadIndex(&at.scope, x, []table.Span{f.walked(span, n.ByIndex.Backwards)}, []uint32{f.visited}); !ok || err != nil {
			return nil, err
		}
	}
	slices.SortFunc(f.points, bytes.Compare)
	at.byIndex = &indexRead{index: x, points: f.points}
	return at, nil
}

// lastRows locates the last rows of a scan: from a key on that has as many rows behind it as are wanted. It is nil when so many
// do not satisfy the condition among those that are worth looking at, or are not hot. What a transaction has written may hide
// as many of them, and is laid over what is read.
func (r *run) lastRows(_ *plan.Sort, scan *plan.Scan, wanted int) (*location, error) {
	at := &location{}
	var err error
	if at.scope, err = r.scopeOf(scan.Table); err != nil {
		return nil, err
	}
	if at.bounds, err = scan.Bounds(r.eval); err != nil || at.bounds.Points != nil {
		return nil, err
	}
	if r.tx != nil {
		wanted += len(r.overlaid().Within(&at.scope, &at.bounds))
	}
	left := max(minFirstEntries, entriesForFirst*wanted)
	condition := expr.Prepare(scan.Condition, r.eval)
	row := make([]datum.Datum, scan.Width())
	options := table.ScanOptions{Decoder: scan.Decoder, NowMicros: r.eval.Env.NowMicros}
	err = table.WalkBack(r.openSnapshot(), at.scope, at.bounds, options, row, func(primaryKey []byte) (bool, error) {
		if left--; left < 0 {
			return false, nil
		}
		if condition != nil {
			if keep, failure := expr.Test(condition, r.eval, row); !keep || failure != nil {
				return true, failure
			}
		}
		if wanted--; wanted > 0 {
			return true, nil
		}
		at.bounds.Low = bytes.Clone(primaryKey)
		return false, nil
	})
	if wanted > 0 || err != nil {
		return nil, err
	}
	return at, nil
}

// firstFinder goes through the entries of an index until it knows the first rows.
type firstFinder struct {
	run       *run
	scan      *plan.Scan
	at        *location
	index     string
	keys      []expr.Order // which the index has
	wanted    int
	left      int // entries that may still be looked at
	condition expr.Expr
	row       []datum.Datum
	last      []datum.Datum // keys of the last row that is wanted
	points    [][]byte
	tooMany   bool
	visited   uint32 // entries
	stopped   []byte // the place of the last of them; nil when there was no more
}

// walked is the part of a span that was gone through.
func (f *firstFinder) walked(span table.Span, backwards bool) table.Span {
	switch {
	case f.stopped == nil:
	case backwards:
		span.Low = f.stopped
	default:
		span.High = append(f.stopped, 0) // the entry itself is within
	}
	return span
}

func (f *firstFinder) visit(place, primaryKey []byte) (more bool, err error) {
	if f.left--; f.left < 0 {
		f.tooMany = true
		return false, nil
	}
	f.visited++
	if more, err = f.look(primaryKey); !more {
		f.stopped = bytes.Clone(place)
	}
	return more, err
}

// look takes the row of an entry, if it is among the first.
func (f *firstFinder) look(primaryKey []byte) (more bool, err error) {
	if !within(primaryKey, f.at.bounds) {
		return true, nil
	}
	point := bytes.Clone(primaryKey)
	if keep, err := f.read(point); !keep || err != nil {
		return true, err
	}
	for i, key := range f.keys {
		value, err := key.Expr.Eval(f.run.eval, f.row)
		if err != nil {
			return false, err
		}
		switch {
		case len(f.points) < f.wanted:
			f.last[i] = value
		case key.Compare(value, f.last[i]) != 0:
			return false, nil // behind the last one that is wanted
		}
	}
	f.points = append(f.points, point)
	return true, f.run.budget.takeBytes(int64(len(point)) + entryBytes)
}

// read fills the row of a key and reports whether the scan gives it.
func (f *firstFinder) read(point []byte) (keep bool, err error) {
	bounds := table.Bounds{Points: [][]byte{point}, Index: f.index}
	cursor, err := table.Open(f.run.openSnapshot(), f.at.scope, bounds, table.ScanOptions{Decoder: f.scan.Decoder, Memory: f.run.budget.takeBytes})
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, cursor.Close()) }()
	if keep, err = cursor.Next(f.row); !keep || err != nil || f.condition == nil {
		return keep, err
	}
	return expr.Test(f.condition, f.run.eval, f.row)
}
