package cold

import (
	"bytes"
	"errors"
	"sort"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/storage/segment"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// source is one segment under a cursor. It is opened when its rows may be next.
type source struct {
	view    *View
	cursor  *Cursor
	segment *commandv1.Segment
	point   bool // only the key at hand is wanted
	passing bool // what is read does not stay in the cache
	// unwanted reports whether a block may be left out; nil leaves none out.
	unwanted func(bounds func(column uint32) (low, high datum.Datum, ok bool)) bool
	key      []byte // of the row at hand; before the file is open, no row has a lower one
	file     *file
	mapping  []values
	ended    bool

	opening *aheadFile    // nil unless the file is opened ahead
	ahead   []*aheadBlock // blocks behind the one at hand that are read ahead, in order
	taken   *aheadBlock   // the block at hand, if it was read ahead

	held             int64 // bytes of the block at hand
	block, row, rows int
	// columns of the block at hand; those that were not read are empty.
	columns []datum.Column // like mapping
	keys    datum.Column
	seqs    datum.Column
	deleted datum.Column
}

// begin opens the file and moves to the first row that is not below the key at hand.
func (s *source) begin(positions []int) error {
	file, err := s.acquire()
	if err != nil {
		return err
	}
	s.file = file
	if s.mapping, err = s.view.mapping(file, positions); err != nil {
		return err
	}
	low := s.key
	at := file.reader.BlockOf(low)
	if at < 0 {
		return s.enter(0)
	}
	if err = s.enter(at); err != nil || bytes.Equal(s.key, low) {
		return err
	}
	if s.point {
		may, err := s.mayHold(at, low)
		if err != nil || !may {
			s.ended = true
			return err
		}
	}
	return s.moveTo(low)
}

// acquire opens the file, or takes it when it was opened ahead.
func (s *source) acquire() (*file, error) {
	a := s.opening
	if a == nil {
		return s.view.store.acquire(s.segment)
	}
	s.opening = nil
	s.cursor.ahead.take(&a.step)
	return a.file, a.err
}

// mayHold asks the filter of a block.
func (s *source) mayHold(block int, key []byte) (bool, error) {
	_, kind, ok := s.file.reader.Column(s.view.table.Columns[s.view.table.PrimaryKey()].ID)
	if !ok {
		return true, nil
	}
	value, rest, err := datum.DecodeKey(key, kind)
	if err != nil || len(rest) > 0 {
		return true, nil //nolint:nilerr // what cannot be asked is not ruled out
	}
	may, err := s.view.store.mayHold(s.file, block, value)
	if errors.Is(err, segment.ErrDamaged) {
		if err = s.reopen(err); err == nil {
			may, err = s.view.store.mayHold(s.file, block, value)
		}
	}
	return may, err
}

// reopen takes the file that was fetched in the place of one that turned out to be damaged.
func (s *source) reopen(damage error) error {
	again, err := s.view.store.acquire(s.segment)
	if err != nil {
		return errors.Join(damage, err)
	}
	s.view.store.release(s.file)
	s.file = again
	return nil
}

// enter moves to the first row of a block, or to the end.
func (s *source) enter(block int) error {
	reader := s.file.reader
	s.leave()
	if block = s.firstWanted(s.file, block); block >= reader.Blocks() {
		s.ended = true
		return nil
	}
	s.block, s.row, s.rows, s.key = block, 0, reader.BlockRows(block), reader.FirstKey(block)
	s.columns = make([]datum.Column, len(s.mapping))
	s.cursor.entered++
	s.takeAhead()
	return nil
}

// leave gives up what is held of the block at hand.
func (s *source) leave() {
	s.columns, s.keys, s.seqs, s.deleted = nil, datum.Column{}, datum.Column{}, datum.Column{}
	if s.taken != nil {
		if !s.taken.taken {
			s.cursor.ahead.drop(&s.taken.step)
		}
		s.taken = nil
	}
	if s.held > 0 && s.view.memory != nil {
		_ = s.view.memory(-s.held) // less never fails
	}
	s.held = 0
}

// firstWanted is the first block from the given one on that may have rows that somebody wants; it may be behind the last.
func (s *source) firstWanted(f *file, block int) int {
	for s.unwanted != nil && block < f.reader.Blocks() && s.unwanted(func(id uint32) (low, high datum.Datum, ok bool) {
		return f.reader.Bounds(block, id)
	}) {
		block++
	}
	return block
}

// moveTo moves forward within the block to the first row that is not below a key, or to the next block.
func (s *source) moveTo(key []byte) error {
	row, err := s.search(key)
	if err != nil {
		return err
	}
	return s.stand(row)
}

// stand moves to a row of the block, or behind it.
func (s *source) stand(row int) (err error) {
	if row >= s.rows {
		return s.enter(s.block + 1)
	}
	s.row = row
	if err = s.read(&s.keys, s.file.reader.KeyColumn()); err == nil {
		s.key = datum.AppendKey(nil, s.keys.At(row))
	}
	return err
}

// search finds the first row of the block, from the one at hand on, that is not below a key.
func (s *source) search(key []byte) (int, error) {
	if s.block+1 < s.file.reader.Blocks() && bytes.Compare(s.file.reader.FirstKey(s.block+1), key) <= 0 {
		return s.rows, nil
	}
	if err := s.read(&s.keys, s.file.reader.KeyColumn()); err != nil {
		return 0, err
	}
	var encoded []byte
	return s.row + sort.Search(s.rows-s.row, func(i int) bool {
		encoded = datum.AppendKey(encoded[:0], s.keys.At(s.row+i))
		return bytes.Compare(encoded, key) >= 0
	}), nil
}

// read makes a column of the block be there. One that turns out to be damaged is read once more, from the file that was
// fetched in its place.
func (s *source) read(column *datum.Column, place int) (err error) {
	if !column.IsEmpty() {
		return nil
	}
	found, err := s.column(place)
	if errors.Is(err, segment.ErrDamaged) {
		if err = s.reopen(err); err != nil {
			return err
		}
		found, err = s.view.store.column(s.file, s.block, place, !s.passing)
	}
	if err != nil {
		return err
	}
	s.held += found.bytes
	if s.view.memory != nil {
		if err = s.view.memory(found.bytes); err != nil {
			return err
		}
	}
	*column = found.values
	return nil
}

// seq is the _seq of the row at hand.
func (s *source) seq() (uint64, error) {
	if err := s.read(&s.seqs, segment.SeqColumn); err != nil {
		return 0, err
	}
	return uint64(s.seqs.At(s.row).Int()), nil //nolint:gosec // it was stored as such
}

// isDeleted reports whether the row at hand is a deletion.
func (s *source) isDeleted() (bool, error) {
	if s.segment.GetDeletions() == 0 {
		return false, nil
	}
	if err := s.read(&s.deleted, segment.DeletedColumn); err != nil {
		return false, err
	}
	return s.deleted.At(s.row).Bool(), nil
}

// fill puts the values of the row at hand into their positions.
func (s *source) fill(row []datum.Datum) error {
	for i := range s.mapping {
		m := &s.mapping[i]
		if m.place < 0 {
			row[m.position] = m.constant
			continue
		}
		if s.columns[i].IsEmpty() {
			if err := s.read(&s.columns[i], m.place); err != nil {
				return err
			}
		}
		value := s.columns[i].At(s.row)
		if m.convert && !value.IsNull() {
			var err error
			if value, err = schema.Convert(value, &s.view.table.Columns[m.position]); err != nil {
				return err
			}
		}
		row[m.position] = value
	}
	return nil
}

func (s *source) close() {
	s.dropAhead()
	if s.file != nil {
		s.view.store.release(s.file)
		s.file = nil
	}
}
