package exec

import (
	"time"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/session"
	"github.com/kalamdb/kalamdb-go/internal/sql/plan"
)

// Request is one text of SQL and who asks for it.
type Request struct {
	SQL       string          // one or more statements separated by semicolons
	Params    []datum.Datum   // values of $1 …; only with a single statement
	Session   session.Session // the caller; its Namespace resolves unqualified names
	RequestID string          // the client's name for the request, "" when it gave none; for logs only

	// RepeatKey names the request for as long as its sender may repeat it, "" when he will not. A change that
	// arrives again under the same key, from the same user and with the same text, is carried out once and
	// answered with the first result.
	RepeatKey string
	// RepeatAge is how long ago the request was sent for the first time; zero says that this is the first time.
	RepeatAge time.Duration
	// Transaction is the id of the open transaction that the request goes on in; NewTransaction when it may
	// leave one open; "" when it must not.
	Transaction string
	// Rows takes the rows of a request that is one query, as they are produced; nil collects them in the Response.
	Rows RowSink
	// TellLeader asks for Response.Leader.
	TellLeader bool
}

// RowSink takes the rows of a query. An error ends the query with that error.
type RowSink interface {
	// Begin comes before the first row. When it comes again the query has begun anew, and the rows before are void; it fails
	// when they can no longer be taken back.
	Begin(columns []Column, asUser ident.UserID) error
	// Row takes a row, which it must not keep.
	Row(row []datum.Datum) error
}

// Column describes one column of a result: name, type and the table's metadata flags.
type Column = plan.Column

// Result is one entry of a response.
type Result struct {
	Columns  []Column        // empty for statements without rows
	Rows     [][]datum.Datum // positional, in the order of Columns; nil for statements without rows
	Streamed bool            // the rows were given to Request.Rows instead
	HasRows  bool            // whether the statement returns rows, even if there are none
	RowCount int             // rows returned, or rows affected; zero for DDL
	Message  string          // one sentence; empty for results with rows
	AsUser   ident.UserID    // the effective user
}

// Response is the outcome of a request that succeeded as a whole.
type Response struct {
	// Results holds what is not DML in statement order; then, for a request of several statements, at
	// most three entries with the totals of inserted, updated and deleted rows that are above zero. A
	// request of one DML statement has its one entry, whatever the count.
	Results []Result
	// SingleRows reports a request of exactly one statement that returns rows, whose envelope ends with
	// a null error.
	SingleRows bool
	// Transaction is the id of the transaction that is open after the request, "" for none.
	Transaction string
	// Leader is where clients reach the node that leads what the request changed, host:port or a URL: the next change of the same
	// table takes a step less there. "" when that is this node, when nothing was changed, and when nobody asked.
	Leader string
}
