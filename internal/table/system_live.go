package table

import (
	"context"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/ident"
)

// LiveQuery is one row of system.live.
type LiveQuery struct {
	ID                                                 string // as KILL LIVE QUERY wants it
	Connection, Subscription, Namespace, Table, Status string
	User                                               ident.UserID
	Node                                               ident.NodeID // whose connection it is
	Query                                              string
	CreatedMicros                                      int64
	UpdatedMicros                                      int64 // of the newest change that it was given; zero when there was none
	Changes                                            uint64
	Options                                            string // JSON; empty for none
	SeenMicros                                         int64  // when the last message of its connection came; zero when it sends none
}

// liveViews declares the view of live queries, those of all nodes.
func liveViews() []viewDefinition {
	return []viewDefinition{{SystemNamespace, "live", (*System).liveRows, []viewColumn{
		text("live_id"), text("connection_id"), text("subscription_id"), text("namespace_id"), text("table_name"), text("user_id"),
		text("query"), orNull(jsonText("options")), text("status"), timestamp("created_at"), timestamp("last_update"), bigInt("changes"),
		bigInt("node_id"), orNull(timestamp("last_ping_at")),
	}}}
}

func (s *System) liveRows(ctx context.Context, _ *ViewRequest) ([][]datum.Datum, error) {
	if s.options.Live == nil {
		return nil, nil
	}
	list := s.options.Live(ctx)
	rows := make([][]datum.Datum, len(list))
	for i := range list {
		q := &list[i]
		options, seen := datum.Datum{}, datum.Datum{}
		if q.Options != "" {
			options = datum.NewString(datum.JSON, q.Options)
		}
		if q.SeenMicros > 0 {
			seen = instant(q.SeenMicros)
		}
		rows[i] = []datum.Datum{
			textValue(q.ID), textValue(q.Connection), textValue(q.Subscription), textValue(q.Namespace), textValue(q.Table),
			textValue(string(q.User)), textValue(q.Query),
			options,
			textValue(q.Status), instant(q.CreatedMicros),
			instant(max(q.CreatedMicros, q.UpdatedMicros)), number(q.Changes), number(q.Node),
			seen,
		}
	}
	return rows, nil
}
