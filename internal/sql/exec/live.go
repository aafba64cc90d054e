package exec

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/session"
	"github.com/kalamdb/kalamdb-go/internal/sql/plan"
	"github.com/kalamdb/kalamdb-go/internal/table"
)

// LiveQueries knows the live queries of the cluster.
type LiveQueries interface {
	// Check says whether the caller could subscribe to a query; the error is a *fault.Error.
	Check(ctx context.Context, caller session.Session, sql string) error
	// URL is where clients subscribe.
	URL() string
	// Kill ends a live query; the error is a *fault.Error when there is none of that id.
	Kill(ctx context.Context, id string) error
	// List describes the live queries of this node and of every other that answers.
	List(ctx context.Context) []table.LiveQuery
}

// liveRows is where system.live gets its rows.
func liveRows(live LiveQueries) func(context.Context) []table.LiveQuery {
	if live == nil {
		return nil
	}
	return live.List
}

var errNoLive = fault.New(fault.Unsupported, "this server has no live queries")

// subscribe answers SUBSCRIBE TO: HTTP cannot follow a live query, so it says where to ask for it and what to send.
func (e *Engine) subscribe(ctx context.Context, caller session.Session, s *plan.Subscribe) (Result, error) {
	if e.deps.Live == nil {
		return Result{}, errNoLive
	}
	if err := e.deps.Live.Check(ctx, caller, s.SQL); err != nil {
		return Result{}, err
	}
	var random [8]byte
	if _, err := io.ReadFull(e.deps.Random, random[:]); err != nil {
		return Result{}, fmt.Errorf("id of a subscription: %w", err)
	}
	message := append([]byte(`{"id":"sub-`), hex.EncodeToString(random[:])...)
	message = datum.AppendJSONString(append(message, `","sql":`...), s.SQL)
	row := []datum.Datum{
		datum.NewText("active"), datum.NewText(e.deps.Live.URL()), datum.NewString(datum.JSON, string(append(message, '}'))),
		datum.NewText("Open a WebSocket at ws_url, authenticate, and send the subscription in a message of type subscribe"),
	}
	return Result{Columns: plan.SubscribeColumns(), Rows: [][]datum.Datum{row}, HasRows: true, RowCount: 1, AsUser: caller.User}, nil
}

// killLive ends a live query.
func (e *Engine) killLive(ctx context.Context, caller session.Session, s *plan.KillLive) (Result, error) {
	if e.deps.Live == nil {
		return Result{}, errNoLive
	}
	if err := e.deps.Live.Kill(ctx, s.ID); err != nil {
		return Result{}, err
	}
	return Result{Message: "Live query killed: " + s.ID, AsUser: caller.User}, nil
}
