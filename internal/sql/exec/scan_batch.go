package exec

import (
	"math"
	"slices"

	"github.com/kalamdb/kalamdb-go/internal/cold"
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/sql/expr"
)

// A scan takes cold rows that lie side by side as columns, once it has turned out to be more than a look at a few rows. What its
// condition says of columns of whole numbers is asked of those first, in a loop over plain numbers; the condition itself is
// evaluated only for the rows that are left.

const (
	// batchAfter is the number of rows after which a scan takes columns, and tries again when there were none.
	batchAfter = 8
	// batchPoints bounds the numbers that a list may name to be asked for so.
	batchPoints = 8
)

// columnLimit is what a condition says about the values of one column: rows whose value it rules out do not meet the condition.
type columnLimit struct {
	position int
	id       uint32
	kind     datum.Kind
	values   expr.KeyRange
}

// rulesOut says by bounds of columns which segments and blocks have no row that meets a condition.
type rulesOut []columnLimit

// numberLimit is a columnLimit of whole numbers or times: from low to high, or one of some points.
type numberLimit struct {
	position  int
	kind      datum.Kind
	low, high int64
	points    []int64
}

// numbers are those limits that can be asked of numbers.
func (l rulesOut) numbers() []numberLimit {
	var found []numberLimit
	for i := range l {
		if n, ok := l[i].numbers(); ok {
			found = append(found, n)
		}
	}
	return found
}

func (l *columnLimit) numbers() (n numberLimit, ok bool) {
	if !datum.IsNumeric(l.kind) || l.kind == datum.Boolean || l.kind.IsFloat() {
		return n, false
	}
	n = numberLimit{position: l.position, kind: l.kind, low: math.MinInt64, high: math.MaxInt64}
	if l.values.IsPoints {
		if len(l.values.Points) > batchPoints {
			return n, false
		}
		n.points = make([]int64, 0, len(l.values.Points))
		for _, point := range l.values.Points {
			if point.Kind() != l.kind {
				return n, false
			}
			n.points = append(n.points, point.Int())
		}
		return n, true
	}
	// A bound that does not belong itself is let through: the condition is evaluated all the same.
	if low := l.values.Low; !low.IsNull() {
		if low.Kind() != l.kind {
			return n, false
		}
		n.low = low.Int()
	}
	if high := l.values.High; !high.IsNull() {
		if high.Kind() != l.kind {
			return n, false
		}
		n.high = high.Int()
	}
	return n, true
}

func (n *numberLimit) allows(v int64) bool {
	if n.points == nil {
		return n.low <= v && v <= n.high
	}
	return slices.Contains(n.points, v)
}

// candidates lists the rows of columns that limits do not rule out, in room that is reused. NULL meets no limit.
func candidates(limits []numberLimit, columns []datum.Column, n int, room []int) []int {
	room = room[:0]
	all := true
	for i := range limits {
		limit := &limits[i]
		kind, nums, nulls, ok := columns[limit.position].Numbers()
		if !ok || kind != limit.kind {
			continue
		}
		if !all {
			room = slices.DeleteFunc(room, func(at int) bool { return nulls != nil && nulls[at] || !limit.allows(nums[at]) })
			continue
		}
		all = false
		switch {
		case limit.points == nil:
			for at, v := range nums {
				if limit.low <= v && v <= limit.high && (nulls == nil || !nulls[at]) {
					room = append(room, at)
				}
			}
		case len(limit.points) == 1:
			point := limit.points[0]
			for at, v := range nums {
				if v == point && (nulls == nil || !nulls[at]) {
					room = append(room, at)
				}
			}
		default:
			for at, v := range nums {
				if limit.allows(v) && (nulls == nil || !nulls[at]) {
					room = append(room, at)
				}
			}
		}
	}
	if all {
		for at := range n {
			room = append(room, at)
		}
	}
	return room
}

// scanBatch is what a scan has taken as columns and not given yet.
type scanBatch struct {
	columns []datum.Column
	filled  []int // positions of the columns that are there
	rows    []int // to be given, or to be tried
	limits  []numberLimit
}

// takeBatch takes the rows that come next as columns, if they come so.
func (o *scanOperator) takeBatch() (taken bool, err error) {
	b := o.batch
	n, err := o.cursor.Columns(b.columns, false)
	if n == 0 || err != nil {
		return false, err
	}
	b.filled = filledOf(b.columns, b.filled)
	b.rows = candidates(b.limits, b.columns, n, b.rows)
	return true, nil
}

// giveBatch fills the row with the next one that was taken; it reports false when there is none.
func (o *scanOperator) giveBatch() bool {
	b := o.batch
	if len(b.rows) == 0 {
		return false
	}
	at := b.rows[0]
	b.rows = b.rows[1:]
	for _, i := range b.filled {
		o.row[i] = b.columns[i].At(at)
	}
	return true
}

// filledOf lists the columns that are there.
func filledOf(columns []datum.Column, room []int) []int {
	room = room[:0]
	for i := range columns {
		if !columns[i].IsEmpty() {
			room = append(room, i)
		}
	}
	return room
}

// unwanted is what a scan of cold rows leaves out; nil leaves none out.
func (l rulesOut) unwanted() *cold.Unwanted {
	if len(l) == 0 {
		return nil
	}
	return &cold.Unwanted{Segment: l.segment, Block: l.block}
}
