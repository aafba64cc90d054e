package server

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/live"
	"github.com/kalamdb/kalamdb-go/internal/session"
	nodev1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/node/v1"
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

// killPatience bounds the time in which another node ends a live query.
const killPatience = 5 * time.Second

// Kill implements exec.LiveQueries. A live query of another node is ended there.
func (q liveQueries) Kill(ctx context.Context, id string) error {
	node, number, _ := strings.Cut(id, "-")
	n, err := strconv.ParseUint(number, 10, 64)
	on, malformed := strconv.ParseUint(node, 10, 64)
	if err != nil || malformed != nil {
		return fault.New(fault.NotFound, "live query '%s' not found; system.live has the ids", id)
	}
	ended := fault.New(fault.NotFound, "live query '%s' not found; it has ended", id)
	if on == q.n.cfg.Cluster.NodeID {
		if !q.n.live.service.Kill(n) {
			return ended
		}
		return nil
	}
	member := q.member(ident.NodeID(on))
	if member == nil {
		return fault.New(fault.NotFound, "live query '%s' not found: node %d is not a member", id, on)
	}
	bound, cancel := context.WithTimeout(ctx, killPatience)
	defer cancel()
	response, err := q.n.network.Operate(bound, member.Replica, &nodev1.OperateRequest{Order: nodev1.Order_ORDER_KILL_LIVE_QUERY, Upto: n})
	switch {
	case err != nil:
		return fault.New(fault.Unavailable, "node %d, which has live query '%s', cannot be asked; try again: %w", on, id, err)
	case response.GetRefused() == noSuchLiveQuery:
		return ended
	case response.GetRefused() != "":
		return fault.New(fault.Unavailable, "node %d did not end live query '%s': %s", on, id, response.GetRefused())
	}
	return nil
}

// noSuchLiveQuery is what a node says that does not have the live query it was told to end.
const noSuchLiveQuery = "there is no such live query"

// killLiveQuery ends a live query of this node for another one.
func (n *Node) killLiveQuery(number uint64) *nodev1.OperateResponse {
	if n.live.service == nil || !n.live.service.Kill(number) {
		return &nodev1.OperateResponse{Refused: noSuchLiveQuery}
	}
	return &nodev1.OperateResponse{}
}

// member finds the member that a node is now; nil when there is none.
func (q liveQueries) member(node ident.NodeID) *catalog.Member {
	if q.n.network == nil {
		return nil
	}
	for _, m := range liveMembers(q.n.catalog.Current()) {
		if m.Node == node {
			return m
		}
	}
	return nil
}

func (q liveQueries) node() string { return strconv.FormatUint(q.n.cfg.Cluster.NodeID, 10) }
