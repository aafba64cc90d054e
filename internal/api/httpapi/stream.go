package httpapi

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/sql/exec"
)

// streamBytes is how much of an answer is held back. One that is complete within it is sent whole, with its length; of a
// longer one no more than this is in memory.
const streamBytes = 64 << 10

// partPatience is how long a client may take no part of an answer before its connection is cut.
const partPatience = 10 * time.Second

// errSent ends a query that must begin anew after rows of it were sent.
var errSent = errors.New("rows of the query were sent already")

// rowStream renders the rows of a query as they come and sends what exceeds streamBytes. It belongs to one request.
type rowStream struct {
	w       http.ResponseWriter
	buffer  *bytes.Buffer // lent by the pool; body was appended to its free space
	body    []byte        // what is not sent yet
	columns []exec.Column
	rows    int
	sent    bool // the status of success is out
}

// Begin implements exec.RowSink.
func (o *rowStream) Begin(columns []exec.Column, _ ident.UserID) error {
	if o.sent {
		return errSent
	}
	o.columns, o.rows = columns, 0
	o.body = append(o.body[:0], successStart...)
	o.body = appendSchema(append(o.body, '{'), columns)
	o.body = append(o.body, `"rows":[`...)
	return nil
}

// Row implements exec.RowSink.
func (o *rowStream) Row(row []datum.Datum) error {
	body, err := appendRow(o.body, o.columns, o.rows, row)
	if err != nil {
		return err
	}
	o.body = body
	if o.rows++; len(o.body) < streamBytes {
		return nil
	}
	return o.send()
}

// send writes what was rendered; the first time it says that the request succeeds.
func (o *rowStream) send() error {
	if !o.sent {
		o.sent = true
		setSQLHeader(o.w.Header())
		o.w.WriteHeader(http.StatusOK)
	}
	// A client that does not read must not keep the query, its picture of the store and its place among the requests.
	err := http.NewResponseController(o.w).SetWriteDeadline(time.Now().Add(partPatience))
	if err != nil && !errors.Is(err, http.ErrNotSupported) {
		return fmt.Errorf("send rows: %w", err)
	}
	if _, err := o.w.Write(o.body); err != nil {
		return fmt.Errorf("send rows: %w", err)
	}
	o.body = o.body[:0]
	return nil
}

// finish renders the rest of the answer and sends it, if the rest was not all of it.
func (o *rowStream) finish(response *exec.Response, took time.Duration) (complete bool) {
	o.body = append(o.body, `],`...)
	o.body = appendSuccessEnd(appendResultEnd(o.body, &response.Results[0]), response, took)
	if o.sent {
		_ = o.send() // a client that went away is no failure of ours
	}
	return !o.sent
}

// giveBack lends the grown memory to the next request.
func (o *rowStream) giveBack(pool *bufferPool) {
	if cap(o.body) > o.buffer.Cap() {
		*o.buffer = *bytes.NewBuffer(o.body[:0])
	}
	pool.put(o.buffer)
}
