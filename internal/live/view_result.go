package live

import (
	"slices"
	"strconv"
	"strings"

	"github.com/kalamdb/kalamdb-go/internal/changefeed"
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/sql/exec"
)

// result is the result of a view as of a cursor. It is not changed.
type result struct {
	cursor  uint64
	columns []schema.Column
	names   []string // as JSON strings with the colon behind them
	keys    []int    // columns that rows are known by
	ordered bool
	rows    []resultRow
	at      map[string]int // position by key
}

// resultRow holds the values as JSON.
type resultRow struct {
	key   string
	cells []string
}

// newResult encodes the rows. The system columns of * are left out: every row has the cursor as its _seq.
func newResult(q *query, rows *exec.Result, cursor uint64) (*result, error) {
	r := &result{cursor: cursor, ordered: q.view.ordered, at: make(map[string]int, len(rows.Rows))}
	var kept []int
	seen := make(map[string]bool, len(rows.Columns))
	for i, column := range rows.Columns {
		if q.view.star && (column.Name == schema.SeqColumn || column.Name == schema.DeletedColumn) {
			continue
		}
		if strings.HasPrefix(column.Name, "_") || seen[column.Name] {
			return nil, refuse(CodeInvalidSQL, "a live query needs a name of its own for each column; %s is taken: use AS", column.Name)
		}
		seen[column.Name] = true
		isKey := slices.Contains(q.view.keys, i) || !q.view.grouped && column.Name == q.view.key
		if isKey {
			r.keys = append(r.keys, len(kept))
		}
		kept = append(kept, i)
		r.columns = append(r.columns, schema.Column{Name: column.Name, Type: column.Type, Nullable: !isKey})
		r.names = append(r.names, jsonName(column.Name))
	}
	r.rows = make([]resultRow, len(rows.Rows))
	size := 0
	var text []byte
	for i, row := range rows.Rows {
		cells := make([]string, len(kept))
		for n, position := range kept {
			var err error
			if text, err = datum.AppendJSON(text[:0], row[position], rows.Columns[position].Type); err != nil {
				return nil, refuse(CodeConversion, "a row of the result could not be sent: %v", err)
			}
			cells[n] = string(text)
			size += len(text)
		}
		key := make([]string, len(r.keys))
		for n, position := range r.keys {
			key[n] = cells[position]
		}
		r.rows[i] = resultRow{strings.Join(key, "\x00"), cells}
		r.at[r.rows[i].key] = i
	}
	if len(r.at) != len(r.rows) {
		return nil, refuse(CodeInvalidSQL, "the rows of the result cannot be told apart by what the live query selects")
	}
	if size > maxViewBytes {
		return nil, refuse(CodeTooLarge, "the result of the live query is too large: it has %d bytes, at most %d are kept", size, maxViewBytes)
	}
	return r, nil
}

func (r *result) sameColumns(other *result) bool {
	return slices.EqualFunc(r.columns, other.columns, func(a, b schema.Column) bool {
		return a.Name == b.Name && a.Type.WireName() == b.Type.WireName()
	})
}

func everyColumn(int) bool { return true }

// appendRow appends a row with those of its columns that are wanted. In an ordered result it has its position.
func (r *result) appendRow(dst []byte, at int, seq uint64, want func(column int) bool) []byte {
	dst = append(dst, '{')
	for i, cell := range r.rows[at].cells {
		if !want(i) {
			continue
		}
		dst = append(append(append(dst, r.names[i]...), cell...), ',')
	}
	dst = append(dst, `"_seq":"`...)
	dst = append(strconv.AppendUint(dst, seq, 10), '"')
	if r.ordered {
		dst = strconv.AppendInt(append(dst, `,"_position":`...), int64(at), 10)
	}
	return append(dst, '}')
}

// since says what to do to an earlier result so that it becomes this one: to take out the rows of the deletes and of
// the updates, and then to put in the rows of updates and inserts, by position from the lowest when the result is
// ordered. There is at most one event of each kind, in that order; has_more is true in all but the last.
func (r *result) since(before *result) []*Event {
	if r == before {
		return nil
	}
	var gone, changed, come []int
	kept := r.keepPlaces(before)
	for i := range before.rows {
		if _, stays := r.at[before.rows[i].key]; !stays {
			gone = append(gone, i)
		}
	}
	for i := range r.rows {
		was, known := before.at[r.rows[i].key]
		switch {
		case !known:
			come = append(come, i)
		case !kept[i] || !slices.Equal(before.rows[was].cells, r.rows[i].cells):
			changed = append(changed, i)
		}
	}
	var events []*Event
	add := func(kind changefeed.Kind, write func(dst []byte) []byte) {
		dst := append([]byte(`"change_type":"`), kind.String()...)
		events = append(events, &Event{Kind: kind, Seq: r.cursor, JSON: write(append(dst, `",`...))})
	}
	if len(gone) > 0 {
		add(changefeed.Delete, func(dst []byte) []byte {
			return appendRows(dst, "old_values", gone, func(dst []byte, i int) []byte { return before.appendRow(dst, i, r.cursor, everyColumn) })
		})
	}
	if len(changed) > 0 {
		add(changefeed.Update, func(dst []byte) []byte {
			dst = appendRows(dst, "rows", changed, func(dst []byte, i int) []byte { return r.appendRow(dst, i, r.cursor, everyColumn) })
			return appendRows(append(dst, ','), "old_values", changed, func(dst []byte, i int) []byte { return r.appendOld(dst, i, before) })
		})
	}
	if len(come) > 0 {
		add(changefeed.Insert, func(dst []byte) []byte {
			return appendRows(dst, "rows", come, func(dst []byte, i int) []byte { return r.appendRow(dst, i, r.cursor, everyColumn) })
		})
	}
	for i, event := range events {
		event.JSON = strconv.AppendBool(append(event.JSON, `,"has_more":`...), i < len(events)-1)
		event.JSON = append(event.JSON, '}')
	}
	return events
}

func appendRows(dst []byte, name string, list []int, write func(dst []byte, i int) []byte) []byte {
	dst = append(append(append(dst, '"'), name...), `":[`...)
	for n, i := range list {
		if n > 0 {
			dst = append(dst, ',')
		}
		dst = write(dst, i)
	}
	return append(dst, ']')
}

// appendOld appends what a row was before: its key and what became different.
func (r *result) appendOld(dst []byte, at int, before *result) []byte {
	was := before.at[r.rows[at].key]
	return before.appendRow(dst, was, before.cursor, func(column int) bool {
		return slices.Contains(r.keys, column) || before.rows[was].cells[column] != r.rows[at].cells[column]
	})
}

// keepPlaces says of every row whether it can stay where it is while others are moved around it: the most rows that
// stand in the same order in both results. Without an order every row stays.
func (r *result) keepPlaces(before *result) []bool {
	kept := make([]bool, len(r.rows))
	if !r.ordered {
		for i := range kept {
			kept[i] = true
		}
		return kept
	}
	// The longest increasing run of former positions; ends holds the row at the end of the best run of each length.
	var ends []int
	previous := make([]int, len(r.rows))
	former := func(i int) int { return before.at[r.rows[i].key] }
	for i := range r.rows {
		was, known := before.at[r.rows[i].key]
		if !known {
			continue
		}
		length, _ := slices.BinarySearchFunc(ends, was, func(end, was int) int { return former(end) - was })
		if previous[i] = -1; length > 0 {
			previous[i] = ends[length-1]
		}
		if length == len(ends) {
			ends = append(ends, i)
		} else {
			ends[length] = i
		}
	}
	if len(ends) == 0 {
		return kept
	}
	for i := ends[len(ends)-1]; i >= 0; i = previous[i] {
		kept[i] = true
	}
	return kept
}
