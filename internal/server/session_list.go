package server

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/table"
	nodev1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/node/v1"
)

// listSessionsMost bounds what one node tells another of what is open: requests and transactions first, then its oldest
// connections. The node itself shows all of it.
const listSessionsMost = 5000

// listSessions tells another node what is open here.
func (n *Node) listSessions() *nodev1.OperateResponse {
	answer := &nodev1.OperateResponse{}
	if n.sql == nil {
		return answer // it does not serve yet
	}
	for _, open := range n.sql.OpenSessions() {
		if answer.More = len(answer.GetSessions()) == listSessionsMost; answer.GetMore() {
			break
		}
		answer.Sessions = append(answer.Sessions, &nodev1.OpenSession{
			Id: open.ID, Schema: open.Schema, State: open.State, User: string(open.User), Client: open.Client, Transport: open.Transport,
			OpenedMicros: open.OpenedMicros, SeenMicros: open.SeenMicros, Method: open.Method,
			Transaction: open.Transaction, TransactionState: open.TransactionState, Writes: open.Writes,
		})
	}
	return answer
}

// sessionsElsewhere lists what is open on the other nodes.
func (n *Node) sessionsElsewhere(ctx context.Context) []table.OpenSession {
	return gather(ctx, n, func(ctx context.Context, m *catalog.Member) ([]table.OpenSession, error) {
		answer, err := n.network.Operate(ctx, m.Replica, &nodev1.OperateRequest{Order: nodev1.Order_ORDER_LIST_SESSIONS})
		if err == nil && answer.GetRefused() != "" {
			err = fmt.Errorf("refused: %s", answer.GetRefused())
		}
		if err != nil {
			return nil, err
		}
		if answer.GetMore() {
			n.logger.Warn("a node has more open than it tells; ask it for all", slog.Uint64("node", uint64(m.Node)))
		}
		rows := make([]table.OpenSession, len(answer.GetSessions()))
		for i, open := range answer.GetSessions() {
			rows[i] = table.OpenSession{
				ID: open.GetId(), Schema: open.GetSchema(), State: open.GetState(), User: ident.UserID(open.GetUser()),
				Client: open.GetClient(), Transport: open.GetTransport(), OpenedMicros: open.GetOpenedMicros(),
				SeenMicros: open.GetSeenMicros(), Method: open.GetMethod(), Transaction: open.GetTransaction(),
				TransactionState: open.GetTransactionState(), Writes: open.GetWrites(),
			}
		}
		return rows, nil
	})
}
