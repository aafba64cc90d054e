package cold

import (
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/storage/segment"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// Unwanted says which rows nobody needs to see. Both functions may be guesses to one side: false is always right.
type Unwanted struct {
	// Segment reports whether no row of a segment is wanted.
	Segment func(s *commandv1.Segment) bool
	// Block reports whether no row of a block is wanted, by the bounds that the file has of a column's values there: those
	// of a column are false when they are not known.
	Block func(bounds func(column uint32) (low, high datum.Datum, ok bool)) bool
}

// Without makes the cursor leave rows out that nobody needs. It is called before the first Next. A segment is only left out
// when no other one may have older versions of its keys, which would come to light.
func (c *Cursor) Without(u *Unwanted) {
	if u == nil {
		return
	}
	alone := func(s *source) bool {
		for _, o := range c.sources {
			if o != s && o.segment.GetMinSeq() < s.segment.GetMaxSeq() &&
				string(o.segment.GetMinKey()) <= string(s.segment.GetMaxKey()) && string(s.segment.GetMinKey()) <= string(o.segment.GetMaxKey()) {
				return false
			}
		}
		return true
	}
	var left []*source
	for _, s := range c.sources {
		if !alone(s) {
			left = append(left, s)
			continue
		}
		if u.Segment != nil && u.Segment(s.segment) {
			continue
		}
		s.unwanted = u.Block
		left = append(left, s)
	}
	c.sources = left
}

// Columns gives the versions that come next, below a bound, by columns, as many as lie side by side in one block: n of them,
// none of which is a deletion, with the wanted values in their positions. Deletions in front of them are passed over. It gives none when
// no such versions come next, which may change with a higher bound. What is given must not be changed, and holds
// until the next call. Of a scan that will read all, what comes next is read ahead at once.
func (c *Cursor) Columns(bound []byte, columns []datum.Column, all bool) (n int, err error) {
	c.readsAll = c.readsAll || all
	for {
		if c.left == 0 {
			ok, failure := c.Next(bound)
			if !ok || failure != nil {
				return 0, failure
			}
			c.at.row-- // it is given below
			c.left++
		}
		start, count := c.at.row+1, c.left
		s, skip := c.at, 0
		n = count
		if s.segment.GetDeletions() > 0 {
			if skip, n, err = s.liveRun(start, count); err != nil {
				return 0, err
			}
		}
		s.row, c.left = start+skip+n-1, count-skip-n
		if n > 0 {
			return n, s.fillColumns(start+skip, n, columns)
		}
	}
}

// liveRun counts the deletions in front of some rows, and the rows behind those up to the next deletion.
func (s *source) liveRun(start, count int) (skip, n int, err error) {
	if err := s.read(&s.deleted, segment.DeletedColumn); err != nil {
		return 0, 0, err
	}
	for skip < count && s.deleted.At(start+skip).Bool() {
		skip++
	}
	for skip+n < count && !s.deleted.At(start+skip+n).Bool() {
		n++
	}
	return skip, n, nil
}

// fillColumns puts the values of rows side by side into their positions.
func (s *source) fillColumns(start, n int, columns []datum.Column) error {
	for i := range s.mapping {
		m := &s.mapping[i]
		if m.place < 0 {
			columns[m.position] = datum.Repeat(m.constant, n)
			continue
		}
		if s.columns[i].IsEmpty() {
			if err := s.read(&s.columns[i], m.place); err != nil {
				return err
			}
		}
		columns[m.position] = s.columns[i].Slice(start, start+n)
		if !m.convert {
			continue
		}
		converted := make([]datum.Datum, n)
		for row := range converted {
			value := columns[m.position].At(row)
			if !value.IsNull() {
				var err error
				if value, err = schema.Convert(value, &s.view.table.Columns[m.position]); err != nil {
					return err
				}
			}
			converted[row] = value
		}
		columns[m.position] = datum.NewColumn(converted)
	}
	return nil
}
