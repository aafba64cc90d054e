package cold

import (
	"errors"
	"fmt"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/manifest"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// View is the cold part of a scope in one picture of the store. It may be used by many goroutines.
type View struct {
	store    *Store
	table    *schema.Table
	manifest *commandv1.Manifest
	memory   func(bytes int64) error // counts what cursors hold; nil does not
}

// View returns the cold part of a scope, nil when there is none. The reader is the picture that the hot rows are read
// from. The Store may be nil; then a scope that has segments is an error.
func (s *Store) View(reader storage.Reader, group shard.GroupID, table *schema.Table, user ident.UserID) (*View, error) {
	if table.Kind != schema.KindShared && table.Kind != schema.KindUser {
		return nil, nil
	}
	m, err := s.Manifest(reader, group, table.ID, user)
	if err != nil {
		return nil, fmt.Errorf("cold rows of %s: %w", table.FullName(), err)
	}
	if m == nil {
		return nil, nil
	}
	return &View{store: s, table: table, manifest: m}, nil
}

// Counting returns a view whose cursors have a function told how many bytes of decoded values they come to hold, or no longer hold when
// they are negative. An error of more ends the reading. Such a view belongs to one goroutine, as the function does.
func (v *View) Counting(memory func(bytes int64) error) *View {
	counting := *v
	counting.memory = memory
	return &counting
}

// Version is the version of the manifest.
func (v *View) Version() uint64 { return v.manifest.GetVersion() }

// Manifest is what the view reads. It must not be changed.
func (v *View) Manifest() *commandv1.Manifest { return v.manifest }

// Cursor walks the newest cold versions with low <= key < high, deletions included; nil bounds are open. Positions of the
// table's columns are those that Fill gives.
func (v *View) Cursor(low, high []byte, positions []int) *Cursor {
	return v.cursor(v.manifest.GetSegments(), low, high, positions)
}

// CursorOf is Cursor over some of the segments only, in whole. What it reads does not push out what statements keep in the
// cache.
func (v *View) CursorOf(segments []*commandv1.Segment, positions []int) *Cursor {
	c := v.cursor(segments, nil, nil, positions)
	for _, s := range c.sources {
		s.passing = true
	}
	return c
}

func (v *View) cursor(segments []*commandv1.Segment, low, high []byte, positions []int) *Cursor {
	c := &Cursor{view: v, positions: positions, high: high}
	for _, s := range segments {
		if !manifest.Overlaps(s, low, high) {
			continue
		}
		first := low
		if string(s.GetMinKey()) > string(low) {
			first = s.GetMinKey()
		}
		c.sources = append(c.sources, &source{view: v, cursor: c, segment: s, key: first})
	}
	return c
}

// Find returns a cursor that stands on the newest cold version of a key, or nil when there is none.
func (v *View) Find(primaryKey []byte, positions []int) (*Cursor, error) {
	high := append(append(make([]byte, 0, len(primaryKey)+1), primaryKey...), 0)
	c := v.Cursor(primaryKey, high, positions)
	if len(c.sources) == 0 {
		return nil, nil
	}
	for _, s := range c.sources {
		s.point = true
	}
	ok, err := c.Next(nil)
	if err != nil || !ok {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// values decodes what a table's column reads as in a segment.
type values struct {
	position int
	place    int         // in the file; -1 when the file is without the column
	constant datum.Datum // when the file is without it
	convert  bool        // the column had another type then
}

// mapping says where the values at positions come from. A file of a later schema than the statement knows is
// fault.Altered.
func (v *View) mapping(f *file, positions []int) ([]values, error) {
	if f.reader.Table() != uint64(v.table.ID) {
		return nil, fmt.Errorf("segment %s holds rows of table %d, not of %s", f.key.path, f.reader.Table(), v.table.FullName())
	}
	if f.reader.Version() > v.table.Version {
		return nil, fault.New(fault.Altered, "table '%s' was altered while the statement ran; run it again: %w", v.table.FullName(), schema.ErrAltered)
	}
	found := make([]values, 0, len(positions))
	for _, position := range positions {
		column := &v.table.Columns[position]
		place, kind, ok := f.reader.Column(column.ID)
		m := values{position: position, place: place, convert: kind != column.Type}
		if !ok {
			m.place, m.convert = -1, false
			if column.AddedIn > f.reader.Version() {
				m.constant = column.Initial
			}
		}
		found = append(found, m)
	}
	return found, nil
}
