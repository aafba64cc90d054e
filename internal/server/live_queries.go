package server

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/live"
	"github.com/kalamdb/kalamdb-go/internal/session"
	"github.com/kalamdb/kalamdb-go/internal/table"
)

// liveQueries implements exec.LiveQueries. The id of a live query is the number of its node, a dash and its own.
type liveQueries struct{ n *Node }

// Check implements exec.LiveQueries.
func (q liveQueries) Check(ctx context.Context, caller session.Session, sql string) error {
	err := q.n.live.service.Check(ctx, caller, sql)
	var known *live.Error
	if !errors.As(err, &known) {
		return err
	}
	kind := fault.InvalidStatement
	switch known.Code { //nolint:exhaustive // the others are about the text
	case live.CodeNotFound:
		kind = fault.TableNotFound
	case live.CodeUnauthorized:
		kind = fault.PermissionDenied
	case live.CodeUnsupported:
		kind = fault.Unsupported
	}
	return fault.New(kind, "%s", known.Message)
}

// URL implements exec.LiveQueries.
func (q liveQueries) URL() string { return "ws://" + q.n.APIAddr() + "/v1/ws" }

// Kill implements exec.LiveQueries.
func (q liveQueries) Kill(_ context.Context, id string) error {
	node, number, _ := strings.Cut(id, "-")
	n, err := strconv.ParseUint(number, 10, 64)
	switch {
	case err != nil:
		return fault.New(fault.NotFound, "live query '%s' not found; system.live has the ids", id)
	case node != q.node():
		return fault.New(fault.NotFound, "live query '%s' is on node %s; run the statement there", id, node)
	case !q.n.live.service.Kill(n):
		return fault.New(fault.NotFound, "live query '%s' not found; it has ended", id)
	}
	return nil
}

func (q liveQueries) node() string { return strconv.FormatUint(q.n.cfg.Cluster.NodeID, 10) }

// List implements exec.LiveQueries.
func (q liveQueries) List() []table.LiveQuery {
	if q.n.live.service == nil {
		return nil
	}
	list := q.n.live.service.List()
	rows := make([]table.LiveQuery, len(list))
	for i := range list {
		info := &list[i]
		status := "active"
		if !info.Live {
			status = "loading"
		}
		rows[i] = table.LiveQuery{
			ID:         q.node() + "-" + strconv.FormatUint(info.Number, 10),
			Connection: q.node() + "-" + strconv.FormatUint(info.Connection, 10), Subscription: info.ID, Namespace: info.Namespace,
			Table: info.Table, User: info.User, Query: info.SQL, Status: status, CreatedMicros: info.Created.UnixMicro(),
			UpdatedMicros: info.LastMicros, Changes: info.Changes,
		}
	}
	return rows
}
