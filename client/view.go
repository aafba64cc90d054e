package client

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// View keeps the rows of a live query by its events. It belongs to one goroutine.
//
// Its rows are told apart by columns that the query selects: the primary key of the table, or what the query groups
// by; none when it has aggregates and no groups.
type View struct {
	keys []string
	rows []Row
	// pending rows are put in when the change of a result is complete.
	pending []Row
	ready   bool
}

// NewView makes a view without rows, whose rows are told apart by the columns.
func NewView(keys ...string) *View { return &View{keys: keys} }

// Rows are the rows as of the last event, in the order of the query if it has one. They must not be changed.
func (v *View) Rows() []Row { return v.rows }

// Complete reports whether the rows are those of one moment: the initial rows are there, and no change of a result is
// half done.
func (v *View) Complete() bool { return v.ready && len(v.pending) == 0 }

// Apply takes an event. A change may be about a row that was not given: one that LastRows left out, that was given before From, that changed
// while the initial rows were being fetched, or whose time was over. It is there from an update on. The error says that the event does not
// fit the rows, which a server never causes.
func (v *View) Apply(event Event) error {
	switch event.Kind {
	case Reset:
		v.rows, v.pending, v.ready = nil, nil, false
		return nil
	case Ready:
		v.ready = true
		return nil
	case Cut:
		return nil // of all queries together
	case Rows:
		for _, row := range event.Rows {
			if at := v.find(row); at >= 0 {
				v.rows[at] = row // it was changed while the subscription was away
				continue
			}
			v.rows = append(v.rows, row)
		}
		return nil
	case Insert, Update, Delete:
		return v.change(event)
	}
	return fmt.Errorf("unknown event %q", event.Kind)
}

func (v *View) change(event Event) error {
	before := map[string]Row{}
	for _, old := range event.OldValues {
		at := v.find(old)
		if at < 0 {
			continue
		}
		before[v.key(old)] = v.rows[at]
		v.rows = slices.Delete(v.rows, at, at+1)
	}
	for i, row := range event.Rows {
		if event.Kind == Update {
			merged := maps.Clone(before[v.key(row)])
			if merged == nil {
				merged = make(Row, len(row))
			}
			if i < len(event.OldValues) {
				for name := range event.OldValues[i] {
					delete(merged, name) // what is not there any more is NULL
				}
			}
			maps.Copy(merged, row)
			row = merged
		}
		v.pending = append(v.pending, row)
	}
	if event.More {
		return nil
	}
	slices.SortStableFunc(v.pending, func(a, b Row) int { return position(a, 0) - position(b, 0) })
	for _, row := range v.pending {
		if v.find(row) >= 0 {
			return fmt.Errorf("insert of %v, which is there already", row)
		}
		at := position(row, len(v.rows))
		if at > len(v.rows) {
			return fmt.Errorf("row %v does not fit in at %d of %d", row, at, len(v.rows))
		}
		v.rows = slices.Insert(v.rows, at, row)
	}
	v.pending = nil
	return nil
}

func (v *View) find(row Row) int {
	key := v.key(row)
	return slices.IndexFunc(v.rows, func(other Row) bool { return v.key(other) == key })
}

func (v *View) key(row Row) string {
	parts := make([]string, len(v.keys))
	for i, name := range v.keys {
		parts[i] = fmt.Sprint(row[name])
	}
	return strings.Join(parts, "\x00")
}

// position is the place of a row in the order of its result; otherwise when the result has none.
func position(row Row, otherwise int) int {
	number, ok := row["_position"].(json.Number)
	if !ok {
		return otherwise
	}
	at, err := number.Int64()
	if err != nil {
		return otherwise
	}
	return int(at)
}
