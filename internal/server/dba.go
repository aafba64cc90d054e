package server

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/session"
	"github.com/kalamdb/kalamdb-go/internal/sql/exec"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// Names of the tables that every cluster is founded with.
const (
	dbaNamespace       = "dba"
	statsTable         = "stats"
	notificationsTable = "notifications"
)

// firstTables are the tables that a cluster is founded with. Their order is that of their ids and never changes; a table that is
// added comes last.
func firstTables() []*commandv1.Table {
	text, when := datum.Type{Kind: datum.Text}, datum.Type{Kind: datum.Timestamp}
	now := schema.Default{Kind: schema.DefaultNow}
	key := schema.Column{Name: "id", Type: text, PrimaryKey: true, Default: schema.Default{Kind: schema.DefaultUUIDv7}}
	stats := &schema.Table{Name: statsTable, Access: schema.AccessDBA, Columns: []schema.Column{
		key,
		{Name: "node_id", Type: text},
		{Name: "metric_name", Type: text},
		{Name: "metric_value", Type: datum.Type{Kind: datum.Double}},
		{Name: "metric_unit", Type: text, Nullable: true},
		{Name: "sampled_at", Type: when, Default: now},
	}}
	notifications := &schema.Table{Name: notificationsTable, Access: schema.AccessPublic, Columns: []schema.Column{
		key,
		{Name: "user_id", Type: text},
		{Name: "title", Type: text},
		{Name: "body", Type: text, Nullable: true},
		{Name: "is_read", Type: datum.Type{Kind: datum.Boolean}, Default: schema.Default{Kind: schema.DefaultLiteral, Literal: datum.NewBool(false)}},
		{Name: "created_at", Type: when, Default: now},
		{Name: "updated_at", Type: when, Default: now},
	}}
	var list []*commandv1.Table
	for _, table := range []*schema.Table{stats, notifications} {
		table.Namespace, table.Kind = dbaNamespace, schema.KindShared
		for i := range table.Columns {
			table.Columns[i].ID = uint32(i) + 1
		}
		list = append(list, catalog.TableToProto(table))
	}
	return list
}

const (
	// statsPeriod is the time between two samples of dba.stats.
	statsPeriod = 5 * time.Minute
	// statsSamples is how many samples of a node dba.stats keeps: a day. The next one takes the place of the oldest.
	statsSamples = 288
	// statsTimeout bounds the writing of a sample; one that could not be written is left out.
	statsTimeout = 30 * time.Second
)

// recordStats writes a sample of this node's statistics into dba.stats every statsPeriod, until the context ends.
func (n *Node) recordStats(ctx context.Context) {
	for {
		n.pause(ctx, statsPeriod)
		if ctx.Err() != nil {
			return
		}
		bound, cancel := context.WithTimeout(ctx, statsTimeout)
		err := n.sampleStats(bound, n.clock.Now())
		cancel()
		if err != nil && ctx.Err() == nil {
			n.logger.Warn("a sample of dba.stats was not written", slog.String("error", err.Error()))
		}
	}
}

// sampleStats writes the statistics that are numbers, where the table that the cluster was founded with still is.
func (n *Node) sampleStats(ctx context.Context, now time.Time) error {
	if own, exists := n.catalog.Current().Table(dbaNamespace, statsTable); !exists || !own.ID.Reserved() {
		return nil
	}
	place := now.Unix() / int64(statsPeriod/time.Second) % statsSamples
	var rows []string
	for _, stat := range n.statRows() {
		value, err := strconv.ParseFloat(stat.Value, 64)
		if err != nil {
			continue // a name or a version
		}
		rows = append(rows, fmt.Sprintf("('%d/%s/%d', '%d', '%s', %g, %s, '%s')", n.cfg.Cluster.NodeID, stat.Name, place, n.cfg.Cluster.NodeID,
			stat.Name, value, unitOf(stat.Name), now.UTC().Format("2006-01-02 15:04:05.000000")))
	}
	_, err := n.sql.Execute(ctx, exec.Request{
		SQL: "INSERT INTO dba.stats (id, node_id, metric_name, metric_value, metric_unit, sampled_at) VALUES " + strings.Join(rows, ", ") +
			" ON CONFLICT (id) DO UPDATE SET metric_value = excluded.metric_value, sampled_at = excluded.sampled_at",
		Session: session.Session{User: "system", Role: session.RoleSystem, Namespace: dbaNamespace},
	})
	if fault.KindOf(err) == fault.TableNotFound {
		return nil // it was dropped a moment ago
	}
	return err
}

// unitOf is the SQL literal of the unit that ends the name of a statistic; NULL for counts.
func unitOf(name string) string {
	for _, unit := range []string{"percent", "bytes", "seconds", "mb"} {
		if strings.HasSuffix(name, "_"+unit) {
			return "'" + unit + "'"
		}
	}
	return "NULL"
}
