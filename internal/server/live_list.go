package server

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/live"
	"github.com/kalamdb/kalamdb-go/internal/table"
	nodev1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/node/v1"
)

// Bounds of one answer to a node that asks for the live queries of another. A query itself has at most the size of a
// message of its client.
const (
	listPageRows  = 2000
	listPageBytes = 1 << 20
)

// gather asks the other members for rows of a view, all at once. Those that were not heard of lately are not waited for, and
// one that does not answer in time is left out: system.cluster tells which nodes are there.
func gather[row any](ctx context.Context, n *Node, ask func(context.Context, *catalog.Member) ([]row, error)) (rows []row) {
	if n.network == nil {
		return nil
	}
	members := liveMembers(n.catalog.Current())
	lists := make([][]row, len(members))
	bound, cancel := context.WithTimeout(ctx, peerPatience)
	defer cancel()
	var asking sync.WaitGroup
	for i, m := range members {
		if m.Replica == n.self() || !n.heardOf(m.Replica) {
			continue
		}
		asking.Go(func() {
			var err error
			if lists[i], err = ask(bound, m); err != nil {
				n.logger.Warn("what is open on another node could not be listed",
					slog.Uint64("node", uint64(m.Node)), slog.Any("error", err))
			}
		})
	}
	asking.Wait()
	return slices.Concat(lists...)
}

// List implements exec.LiveQueries.
func (q liveQueries) List(ctx context.Context) []table.LiveQuery {
	rows := gather(ctx, q.n, q.ask)
	if q.n.live.service != nil {
		seen := q.n.live.seen()
		for _, info := range q.n.live.service.List(0, 0) {
			rows = append(rows, liveRow(ident.NodeID(q.n.cfg.Cluster.NodeID), describeLive(info, seen)))
		}
	}
	return rows
}

// ask lists the live queries of another node, page by page.
func (q liveQueries) ask(ctx context.Context, m *catalog.Member) (rows []table.LiveQuery, err error) {
	request := &nodev1.OperateRequest{Order: nodev1.Order_ORDER_LIST_LIVE_QUERIES}
	for {
		page, err := q.n.network.Operate(ctx, m.Replica, request)
		if err == nil && page.GetRefused() != "" {
			err = fmt.Errorf("refused: %s", page.GetRefused())
		}
		if err != nil {
			return nil, err
		}
		for _, described := range page.GetLiveQueries() {
			rows = append(rows, liveRow(m.Node, described))
			request.Upto = max(request.GetUpto(), described.GetNumber())
		}
		if !page.GetMore() || len(page.GetLiveQueries()) == 0 {
			return rows, nil
		}
	}
}

// listLiveQueries gives another node a page of this node's live queries.
func (n *Node) listLiveQueries(after uint64) *nodev1.OperateResponse {
	page := &nodev1.OperateResponse{}
	if n.live.service == nil {
		return page
	}
	size, seen := 0, n.live.seen()
	for _, info := range n.live.service.List(after, listPageRows+1) {
		if page.More = len(page.GetLiveQueries()) == listPageRows || size > listPageBytes; page.GetMore() {
			break
		}
		page.LiveQueries = append(page.LiveQueries, describeLive(info, seen))
		size += len(info.SQL) + len(info.ID) + len(info.Table) + len(info.Namespace)
	}
	return page
}

// seen says when the last message of each socket came, in microseconds since 1970 UTC. Event streams send none.
func (l *liveParts) seen() map[uint64]int64 {
	seen := make(map[uint64]int64)
	if l.sockets == nil {
		return seen
	}
	for _, connection := range l.sockets.Sessions() {
		seen[connection.Number] = connection.Seen.UnixMicro()
	}
	return seen
}

func describeLive(info live.Info, seen map[uint64]int64) *nodev1.LiveQuery {
	return &nodev1.LiveQuery{
		Options: info.Options, SeenMicros: seen[info.Connection],
		Number: info.Number, Connection: info.Connection, Subscription: info.ID, Namespace: info.Namespace, Table: info.Table,
		User: string(info.User), Query: info.SQL, Loading: !info.Live, CreatedMicros: info.Created.UnixMicro(),
		UpdatedMicros: info.LastMicros, Changes: info.Changes,
	}
}

// liveRow is a row of system.live. Numbers of live queries and connections are those of a node, so its own comes first.
func liveRow(node ident.NodeID, described *nodev1.LiveQuery) table.LiveQuery {
	status := "active"
	if described.GetLoading() {
		status = "loading"
	}
	id := func(number uint64) string {
		return strconv.FormatUint(uint64(node), 10) + "-" + strconv.FormatUint(number, 10)
	}
	return table.LiveQuery{
		ID: id(described.GetNumber()), Connection: id(described.GetConnection()), Subscription: described.GetSubscription(),
		Namespace: described.GetNamespace(), Table: described.GetTable(), User: ident.UserID(described.GetUser()), Node: node,
		Query: described.GetQuery(), Status: status, CreatedMicros: described.GetCreatedMicros(),
		UpdatedMicros: described.GetUpdatedMicros(), Changes: described.GetChanges(),
		Options: described.GetOptions(), SeenMicros: described.GetSeenMicros(),
	}
}
