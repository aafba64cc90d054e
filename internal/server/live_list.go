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

// List implements exec.LiveQueries. Members that were not heard of lately are not waited for, and one that does not
// answer in time is left out: system.cluster tells which nodes are there.
func (q liveQueries) List(ctx context.Context) []table.LiveQuery {
	members := []*catalog.Member(nil)
	if q.n.network != nil {
		members = liveMembers(q.n.catalog.Current())
	}
	lists := make([][]table.LiveQuery, len(members)+1)
	bound, cancel := context.WithTimeout(ctx, peerPatience)
	defer cancel()
	var asking sync.WaitGroup
	for i, m := range members {
		if m.Replica == q.n.self() || !q.n.heardOf(m.Replica) {
			continue
		}
		asking.Go(func() {
			var err error
			if lists[i], err = q.ask(bound, m); err != nil {
				q.n.logger.Warn("the live queries of another node could not be listed",
					slog.Uint64("node", uint64(m.Node)), slog.Any("error", err))
			}
		})
	}
	if q.n.live.service != nil {
		for _, info := range q.n.live.service.List(0, 0) {
			lists[len(members)] = append(lists[len(members)], liveRow(ident.NodeID(q.n.cfg.Cluster.NodeID), describeLive(info)))
		}
	}
	asking.Wait()
	return slices.Concat(lists...)
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
	size := 0
	for _, info := range n.live.service.List(after, listPageRows+1) {
		if page.More = len(page.GetLiveQueries()) == listPageRows || size > listPageBytes; page.GetMore() {
			break
		}
		page.LiveQueries = append(page.LiveQueries, describeLive(info))
		size += len(info.SQL) + len(info.ID) + len(info.Table) + len(info.Namespace)
	}
	return page
}

func describeLive(info live.Info) *nodev1.LiveQuery {
	return &nodev1.LiveQuery{
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
	}
}
