package table

import (
	"github.com/kalamdb/kalamdb-go/internal/cold"
	"github.com/kalamdb/kalamdb-go/internal/datum"
)

// A version in the row store counts before the cold ones of its key: it is newer, because a flush removes from the row
// store exactly the versions that it made cold.

// coldPart is the cold side of a cursor.
type coldPart struct {
	rows    *cold.Cursor // nil when the scope has no segments
	given   bool         // the row at hand is a cold one
	skipSeq bool
	memory  func(bytes int64) error
	prefix  int // bytes of a row's key before the primary key

	waiting bool // the next hot version is known
	value   []byte
	ok      bool
	view    *cold.View // of single keys
	viewed  bool
}

func (p *coldPart) close() error {
	p.given = false
	if p.rows == nil {
		return nil
	}
	err := p.rows.Close()
	p.rows = nil
	return err
}

// merged returns the next version in order of the keys.
func (c *Cursor) merged() (value []byte, ok bool, err error) {
	p := &c.cold
	p.given = false
	if !p.waiting {
		if p.value, p.ok, err = c.hot(); err != nil {
			return nil, false, err
		}
		p.waiting = true
	}
	var bound []byte
	if p.ok {
		bound = c.iterator.Key()[p.prefix:]
	}
	if p.given, err = p.rows.Next(bound); p.given || err != nil {
		return nil, p.given, err
	}
	if !p.ok {
		return nil, false, nil
	}
	if err = p.rows.Skip(bound); err != nil {
		return nil, false, err
	}
	p.waiting = false
	return p.value, true, nil
}

// HasColumns reports whether Columns can give rows: the scope has cold ones in the range, and the cursor shows neither deletions nor
// system columns.
func (c *Cursor) HasColumns() bool {
	return c.cold.rows != nil && c.iterator != nil && !c.includeDeleted && c.omitSystem
}

// Columns gives the rows that come next by columns when they are cold and lie side by side: n of them, with the needed values in
// their positions. It gives none when others come next; Next gives those. Whether all rows will be read decides when it begins to read
// ahead. What Seq and PrimaryKey say is undefined after it.
func (c *Cursor) Columns(columns []datum.Column, all bool) (n int, err error) {
	p := &c.cold
	if !c.HasColumns() {
		return 0, nil
	}
	if !p.waiting {
		if p.value, p.ok, err = c.hot(); err != nil {
			return 0, c.failure(err)
		}
		p.waiting = true
	}
	var bound []byte
	if p.ok {
		bound = c.iterator.Key()[p.prefix:]
	}
	n, err = p.rows.Columns(bound, columns, all)
	return n, c.failure(err)
}

// coldPoint looks for a key that is not hot. The manifest is read after the row store: a row that was moved between the
// two reads is found.
func (c *Cursor) coldPoint(primaryKey []byte) (found bool, err error) {
	p := &c.cold
	if !p.viewed {
		if p.view, err = c.scope.View(c.reader); err != nil {
			return false, err
		}
		if p.view != nil {
			p.view = p.view.Counting(p.memory)
		}
		// One key after the other may be read from different pictures only when there is just one.
		p.viewed = true
	}
	if p.view == nil {
		return false, nil
	}
	if p.rows, err = p.view.Find(primaryKey, c.decoder.Positions()); err != nil {
		return false, err
	}
	p.given = p.rows != nil
	return p.given, nil
}

// showCold fills row with the cold version at hand and reports whether the scan gives it.
func (c *Cursor) showCold(row []datum.Datum) (bool, error) {
	rows := c.cold.rows
	deleted, err := rows.Deleted()
	if err != nil || deleted && !c.includeDeleted {
		return false, c.failure(err)
	}
	if err = rows.Fill(row); err != nil {
		return false, c.failure(err)
	}
	if c.omitSystem {
		return true, nil
	}
	declared := len(c.scope.Table.Columns)
	if !c.cold.skipSeq {
		if c.seq, err = rows.Seq(); err != nil {
			return false, c.failure(err)
		}
		row[declared] = datum.NewBigInt(int64(c.seq)) //nolint:gosec // a log index takes 47 bits for ages to come
	}
	row[declared+1] = datum.NewBool(deleted)
	return true, nil
}
