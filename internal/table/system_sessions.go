package table

import (
	"context"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/ident"
)

// OpenTransaction is one row of system.transactions.
type OpenTransaction struct {
	ID                    string
	Owner                 ident.UserID
	Origin                string // session when it may outlive its request, else request
	State                 string // active while a request holds it, else open or failed
	AgeMillis, IdleMillis int64
	Rows, Bytes, Tables   int64 // written so far
}

// OpenSession is one row of system.sessions: a request that is under way, or a transaction between two.
type OpenSession struct {
	ID                       string // what KILL QUERY takes
	Schema                   string
	State                    string // active, or idle in transaction
	User                     ident.UserID
	Client                   string
	Transport                string // websocket; "" for http
	OpenedMicros, SeenMicros int64
	Method                   string // first word of the statement
	Transaction              string // "" for none
	TransactionState         string
	Writes                   bool // the transaction has written
}

// sessionViews declares the views of what is open: sessions on all nodes, transactions on this one.
func sessionViews() []viewDefinition {
	return []viewDefinition{
		{SystemNamespace, "sessions", (*System).sessionsRows, []viewColumn{
			text("session_id"), orNull(integer("backend_pid")), orNull(text("current_schema")), text("state"),
			orNull(text("transaction_id")), orNull(text("transaction_state")), boolean("transaction_has_writes"),
			orNull(text("client_addr")), text("transport"), timestamp("opened_at"), timestamp("last_seen_at"),
			orNull(text("last_method")), text("user_id"),
		}},
		{SystemNamespace, "transactions", (*System).transactionsRows, []viewColumn{
			text("transaction_id"), text("owner_id"), text("origin"), text("state"), bigInt("age_ms"), bigInt("idle_ms"),
			bigInt("write_count"), bigInt("write_bytes"), bigInt("touched_tables_count"), orNull(bigInt("snapshot_commit_seq")),
		}},
	}
}

func (s *System) sessionsRows(ctx context.Context, _ *ViewRequest) ([][]datum.Datum, error) {
	if s.options.Sessions == nil {
		return nil, nil
	}
	var rows [][]datum.Datum
	for _, open := range s.options.Sessions(ctx) {
		transport := "http"
		if open.Transport != "" {
			transport = open.Transport
		}
		rows = append(rows, []datum.Datum{
			textValue(open.ID),
			{},
			optionalText(open.Schema), textValue(open.State), optionalText(open.Transaction), optionalText(open.TransactionState),
			datum.NewBool(open.Writes), optionalText(open.Client), textValue(transport), instant(open.OpenedMicros),
			instant(open.SeenMicros), optionalText(open.Method), textValue(string(open.User)),
		})
	}
	return rows, nil
}

func (s *System) transactionsRows(context.Context, *ViewRequest) ([][]datum.Datum, error) {
	if s.options.Transactions == nil {
		return nil, nil
	}
	var rows [][]datum.Datum
	for _, open := range s.options.Transactions() {
		rows = append(rows, []datum.Datum{
			textValue(open.ID), textValue(string(open.Owner)), textValue(open.Origin), textValue(open.State),
			number(open.AgeMillis), number(open.IdleMillis), number(open.Rows), number(open.Bytes), number(open.Tables),
			{}, // a snapshot is one of the store, which has no commit number of its own
		})
	}
	return rows, nil
}
