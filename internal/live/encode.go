package live

import (
	"strconv"

	"github.com/kalamdb/kalamdb-go/internal/changefeed"
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/sql/exec"
)

// Forms is the number of further forms that an Event can hold.
const Forms = 4

// Event is one change as the subscribers of one projection see it. It is encoded once for all of them. An
// event belongs to the goroutine that calls Sink.Deliver, until Deliver returns. A Sink may keep it, and ask it from any goroutine for
// those forms that it has asked for while it was delivered: they do not change.
type Event struct {
	Kind changefeed.Kind
	Seq  uint64 // the cursor after this event
	// JSON is the change without the opening of its object and without the subscription:
	// "change_type":"insert","rows":[{…}]}
	JSON  []byte
	forms [Forms][]byte
}

// Form returns another encoding of the event, made on first use. slot is 0 to Forms-1 and means the same for
// all sinks.
func (e *Event) Form(slot int, encode func(*Event) []byte) []byte {
	if e.forms[slot] == nil {
		e.forms[slot] = encode(e)
	}
	return e.forms[slot]
}

// appendSeq appends the member _seq. It is a 64-bit integer and thus a string.
func appendSeq(dst []byte, seq uint64) []byte {
	if dst[len(dst)-1] != '{' {
		dst = append(dst, ',')
	}
	dst = append(dst, `"_seq":"`...)
	dst = strconv.AppendUint(dst, seq, 10)
	return append(dst, '"')
}

// appendSystem appends the system columns that the projection has.
func (p *Projection) appendSystem(dst []byte, seq uint64, deleted bool) []byte {
	dst = appendSeq(dst, seq)
	if !p.star {
		return dst
	}
	dst = append(dst, `,"_deleted":`...)
	return strconv.AppendBool(dst, deleted)
}

// appendRow appends a row with all columns of the projection.
func (p *Projection) appendRow(dst []byte, row []datum.Datum, seq uint64, deleted bool) ([]byte, error) {
	dst = append(dst, '{')
	var err error
	for i, position := range p.positions {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, p.names[i]...)
		if dst, err = p.appendValue(dst, row, position); err != nil {
			return dst, err
		}
	}
	return append(p.appendSystem(dst, seq, deleted), '}'), nil
}

// appendValue appends what the subscriber is shown of a value.
func (p *Projection) appendValue(dst []byte, row []datum.Datum, position int) ([]byte, error) {
	if p.masked != nil && p.masked[position] {
		return datum.AppendJSON(dst, exec.Masked(p.Table.Columns[position].Type), p.Table.Columns[position].Type)
	}
	return datum.AppendJSON(dst, row[position], p.Table.Columns[position].Type)
}

// appendSome opens an object with the primary key and those columns of the projection that are wanted.
func (p *Projection) appendSome(dst []byte, row []datum.Datum, want func(position int) bool) ([]byte, error) {
	dst = append(dst, '{')
	var err error
	member := func(name string, position int) {
		if err != nil {
			return
		}
		if dst[len(dst)-1] != '{' {
			dst = append(dst, ',')
		}
		dst = append(dst, name...)
		dst, err = p.appendValue(dst, row, position)
	}
	if p.key >= 0 {
		member(p.keyName, p.key)
	}
	for i, position := range p.positions {
		if position != p.key && want(position) {
			member(p.names[i], position)
		}
	}
	return dst, err
}

// rows is a change with its rows decoded; before or after is nil when there is none.
type rows struct {
	change        *changefeed.Change
	before, after []datum.Datum
}

// event encodes what a change is for those who see it as kind: a row that left a condition is deleted for
// them whatever happened to it.
func (p *Projection) event(r *rows, kind changefeed.Kind) (*Event, error) {
	e := &Event{Kind: kind, Seq: r.change.Seq}
	dst := make([]byte, 0, 64+2*(len(r.change.Old)+len(r.change.New))+24*len(p.positions))
	var err error
	switch kind { //nolint:exhaustive // a purge is no event
	case changefeed.Insert:
		dst = append(dst, `"change_type":"insert","rows":[`...)
		dst, err = p.appendRow(dst, r.after, r.change.Seq, false)
	case changefeed.Delete:
		dst = append(dst, `"change_type":"delete","old_values":[`...)
		dst, err = p.appendRow(dst, r.before, r.change.Seq, true)
	case changefeed.Update:
		dst = append(dst, `"change_type":"update","rows":[`...)
		dst, err = p.appendSome(dst, r.after, func(i int) bool { return !r.after[i].IsNull() })
		if err != nil {
			break
		}
		dst = append(p.appendSystem(dst, r.change.Seq, false), `}],"old_values":[`...)
		dst, err = p.appendSome(dst, r.before, func(i int) bool { return !same(r.before[i], r.after[i]) })
		dst = append(appendSeq(dst, r.change.OldSeq), '}') // neither version is deleted, so that did not change
	}
	if err != nil {
		return nil, err
	}
	e.JSON = append(dst, `]}`...)
	return e, nil
}

// same reports whether a column did not change.
func same(a, b datum.Datum) bool {
	if a.IsNull() || b.IsNull() {
		return a.IsNull() && b.IsNull()
	}
	return datum.Equal(a, b)
}
