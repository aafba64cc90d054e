package server

import (
	"fmt"
	"os"
	"runtime"
	"strconv"

	"github.com/kalamdb/kalamdb-go/internal/table"
)

// statRows are rows of system.stats about this node, beside those that package table knows.
func (n *Node) statRows() []table.Stat {
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	log := n.log.Stats()
	row := func(name string, value any) table.Stat { return table.Stat{Name: name, Value: fmt.Sprint(value)} }
	transactions, queryBytes := n.sql.Usage()
	plansFound, plansMade := n.sql.PlanUse()
	connections, connectionsPeak := n.api.Connections()
	picture := n.catalog.Current()
	rows := []table.Stat{
		row("active_connections", connections),
		row("active_connections_peak", connectionsPeak),
		row("websocket_sessions", n.live.sockets.Connections()),
		row("websocket_sessions_peak", n.live.sockets.Peak()),
		row("active_subscriptions", n.live.service.Count()),
		row("active_subscriptions_peak", n.live.service.Peak()),
		row("total_live_queries", n.live.service.Count()),
		row("schema_cache_size", len(picture.Tables())+len(picture.Views())),
		row("plan_cache_size", n.sql.CachedPlans()),
		row("plan_cache_hits", plansFound),
		row("plan_cache_misses", plansMade),
		row("open_transactions", transactions),
		row("query_memory_bytes", queryBytes),
		row("server_version", n.build.Version),
		row("cluster_mode", !n.cfg.Standalone()),
		row("memory_usage_mb", (memory.Sys-memory.HeapReleased)>>20),
		row("cpu_usage_percent", strconv.FormatFloat(n.gossip.usage.percent.load(), 'f', 1, 64)),
		row("uptime_seconds", int64(n.clock.Now().Sub(n.started).Seconds())),
		row("log_live_bytes", log.LiveBytes),
		row("log_syncs", log.Syncs),
	}
	if n.who().LogStore == "" {
		rows = append(rows, row("log_segments", log.Segments))
	}
	if open, ok := openFiles(); ok {
		rows = append(rows, row("open_files_total", open))
	}
	return rows
}

// openFiles counts the files and sockets that this process has open, where the system tells.
func openFiles() (count int, ok bool) {
	entries, err := os.ReadDir("/proc/self/fd")
	return len(entries), err == nil
}
