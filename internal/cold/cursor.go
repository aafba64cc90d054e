package cold

import (
	"bytes"

	"github.com/kalamdb/kalamdb-go/internal/datum"
)

// Cursor walks cold versions in ascending order of their keys, the newest of each. It belongs to one goroutine and must be
// closed.
//
// Segments of a scope mostly hold keys of different ranges, and the row store few keys between theirs. So the rows of a
// block that lie below the next key of everybody else are given one after the other, without a look at their keys.
type Cursor struct {
	view      *View
	positions []int
	high      []byte
	sources   []*source

	ahead *readAhead // nil until the scan is long

	readsAll bool // the scan counts as long at once
	readsSeq bool // somebody asked for a _seq
	entered  int  // blocks so far

	at    *source // that the row at hand is of; nil before the first
	left  int     // rows behind it that need no comparison
	moved bool    // at stands on a row that was given
}

// Next moves to the next version with a key below a bound; nil is none. It reports false when there is none, which
// may change with a higher bound.
func (c *Cursor) Next(bound []byte) (bool, error) {
	if c.left > 0 {
		c.at.row++
		c.left--
		return true, nil
	}
	if c.moved {
		c.moved = false
		if err := c.at.stand(c.at.row + 1); err != nil {
			return false, err
		}
	}
	limit := bound
	if limit == nil || c.high != nil && bytes.Compare(c.high, limit) < 0 {
		limit = c.high
	}
	if err := c.choose(); err != nil {
		return false, err
	}
	if c.at == nil || limit != nil && bytes.Compare(c.at.key, limit) >= 0 {
		c.at = nil
		return false, nil
	}
	if err := c.run(limit); err != nil {
		return false, err
	}
	c.plan()
	return true, nil
}

// choose finds the source with the lowest key and makes at be the one that has its newest version. It is nil at the end.
func (c *Cursor) choose() error {
	for {
		c.at = nil
		kept := c.sources[:0]
		for _, s := range c.sources {
			if s.ended {
				s.close()
				continue
			}
			kept = append(kept, s)
			if c.at == nil || bytes.Compare(s.key, c.at.key) < 0 || s.file == nil && bytes.Equal(s.key, c.at.key) {
				c.at = s
			}
		}
		clear(c.sources[len(kept):])
		c.sources = kept
		if c.at == nil {
			return nil
		}
		if c.at.file != nil {
			break
		}
		if c.high != nil && bytes.Compare(c.at.key, c.high) >= 0 {
			return nil // nobody reads beyond
		}
		if err := c.at.begin(c.positions); err != nil {
			return err
		}
	}
	return c.settle()
}

// settle moves the other sources that stand on the same key past it, so that the newest version is left.
func (c *Cursor) settle() error {
	for _, s := range c.sources {
		if s == c.at || !bytes.Equal(s.key, c.at.key) {
			continue
		}
		seq, err := s.seq()
		if err != nil {
			return err
		}
		best, err := c.at.seq()
		if err != nil {
			return err
		}
		loser := s
		if seq > best {
			loser, c.at = c.at, s
		}
		if err := loser.stand(loser.row + 1); err != nil {
			return err
		}
	}
	return nil
}

// run counts the rows behind the one at hand that come before every other source and the limit.
func (c *Cursor) run(limit []byte) error {
	for _, s := range c.sources {
		if s != c.at && !s.ended && (limit == nil || bytes.Compare(s.key, limit) < 0) {
			limit = s.key
		}
	}
	c.moved, c.left = true, c.at.rows-c.at.row-1
	if limit == nil || c.left == 0 {
		return nil
	}
	end, err := c.at.search(limit)
	c.left = max(end-c.at.row-1, 0)
	return err
}

// Skip moves past a version with exactly this key, if it is the next one. Rows below the key were all given.
func (c *Cursor) Skip(key []byte) error {
	for _, s := range c.sources {
		if s.ended {
			continue
		}
		if s == c.at && c.moved {
			if err := s.stand(s.row + 1); err != nil {
				return err
			}
			c.moved = false
			if s.ended {
				continue
			}
		}
		if bytes.Compare(s.key, key) > 0 {
			continue
		}
		if s.file == nil {
			if err := s.begin(c.positions); err != nil {
				return err
			}
		}
		if !s.ended && bytes.Equal(s.key, key) {
			if err := s.stand(s.row + 1); err != nil {
				return err
			}
		}
	}
	return nil
}

// Key is the encoded primary key of the row at hand; the caller owns it.
func (c *Cursor) Key() ([]byte, error) {
	if err := c.at.read(&c.at.keys, c.at.file.reader.KeyColumn()); err != nil {
		return nil, err
	}
	return datum.AppendKey(nil, c.at.keys.At(c.at.row)), nil
}

// Seq is the _seq of the row at hand.
func (c *Cursor) Seq() (uint64, error) {
	c.readsSeq = true
	return c.at.seq()
}

// Deleted reports whether the row at hand is a deletion.
func (c *Cursor) Deleted() (bool, error) { return c.at.isDeleted() }

// Fill puts the wanted values of the row at hand into their positions. They share no memory that anybody changes.
func (c *Cursor) Fill(row []datum.Datum) error { return c.at.fill(row) }

// Close gives the files back.
func (c *Cursor) Close() error {
	for _, s := range c.sources {
		s.close()
	}
	c.sources, c.at = nil, nil
	return nil
}
