package server

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kalamdb/kalamdb-go/internal/multiraft"
	"github.com/kalamdb/kalamdb-go/internal/shard"
)

// groupCollector reads the state of every group when metrics are scraped.
type groupCollector struct {
	n           *Node
	applied     *prometheus.Desc
	committed   *prometheus.Desc
	lastIndex   *prometheus.Desc
	firstIndex  *prometheus.Desc
	term        *prometheus.Desc
	leading     *prometheus.Desc
	hasLeader   *prometheus.Desc
	damaged     *prometheus.Desc
	diskFree    *prometheus.Desc
	diskTight   *prometheus.Desc
	ailing      *prometheus.Desc
	logBytes    *prometheus.Desc
	logSegments *prometheus.Desc
	logSyncs    *prometheus.Desc
	refused     *prometheus.Desc
	snapshots   *prometheus.Desc
	snapBytes   *prometheus.Desc
	more        activityDescs
}

func newGroupCollector(n *Node) *groupCollector {
	group := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("kalamdb_group_"+name, help, []string{"group"}, nil)
	}
	log := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("kalamdb_log_"+name, help, nil, nil)
	}
	return &groupCollector{
		n:          n,
		more:       newActivityDescs(),
		applied:    group("applied_index", "Highest log index applied on this node."),
		committed:  group("committed_index", "Highest log index this node knows to be committed."),
		lastIndex:  group("last_index", "Highest log index on this node."),
		firstIndex: group("first_index", "Oldest log index still kept on this node."),
		term:       group("term", "Current Raft term."),
		leading:    group("leader", "1 when this node leads the group, else 0."),
		hasLeader:  group("has_leader", "1 when this node knows a leader of the group, else 0."),
		damaged:    group("damaged", "1 while this node's copy of the group was damaged and is not whole again, else 0."),
		diskFree:   prometheus.NewDesc("kalamdb_disk_free_bytes", "Bytes free on the disk of the data directory.", nil, nil),
		diskTight: prometheus.NewDesc("kalamdb_disk_tight",
			"1 while this node hands its leaderships to nodes with more room on their disks, else 0.", nil, nil),
		ailing: prometheus.NewDesc("kalamdb_store_hangs",
			"1 while this node hands its leaderships to nodes whose stores answer, else 0.", nil, nil),
		logBytes:    log("live_bytes", "Bytes of log entries that are kept."),
		logSegments: log("segments", "Files of the log."),
		logSyncs:    log("syncs_total", "Syncs of the log since the start."),
		refused: prometheus.NewDesc("kalamdb_proposals_refused_total",
			"Proposals turned away before they entered the log.", []string{"reason"}, nil),
		snapshots: prometheus.NewDesc("kalamdb_snapshots_active", "Snapshots of groups on their way right now.", []string{"direction"}, nil),
		snapBytes: prometheus.NewDesc("kalamdb_snapshot_bytes_total",
			"Bytes of snapshots, compressed, since the start.", []string{"direction"}, nil),
	}
}

// Describe implements prometheus.Collector.
func (c *groupCollector) Describe(out chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, out) }

// Collect implements prometheus.Collector.
func (c *groupCollector) Collect(out chan<- prometheus.Metric) {
	gauge := func(desc *prometheus.Desc, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
	}
	stats := c.n.log.Stats()
	gauge(c.logBytes, float64(stats.LiveBytes))
	if c.n.who().LogStore == "" {
		gauge(c.logSegments, float64(stats.Segments))
	}
	out <- prometheus.MustNewConstMetric(c.logSyncs, prometheus.CounterValue, float64(stats.Syncs))
	if free, err := c.n.freeBytes(); err == nil {
		gauge(c.diskFree, float64(free))
	}
	c.collectLocal(gauge)
	manager := c.n.engine()
	if manager == nil {
		return
	}
	gauge(c.diskTight, truth(manager.DiskTight()))
	gauge(c.ailing, truth(manager.Ailing()))
	refusals := manager.Refusals()
	for _, r := range []struct {
		reason string
		count  uint64
	}{
		{"not_leader", refusals.NotLeader},
		{"waiting", refusals.Waiting},
		{"follower_lag", refusals.FollowerLag},
		{"too_large", refusals.TooLarge},
		{"disk_full", refusals.DiskFull},
	} {
		out <- prometheus.MustNewConstMetric(c.refused, prometheus.CounterValue, float64(r.count), r.reason)
	}
	c.collectSnapshots(manager, out)
	c.collectActivity(manager, gauge, out)
	bound, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	statuses, err := manager.Status(bound)
	if err != nil {
		// The engine is stopping or very busy; a scrape without groups shows exactly that.
		return
	}
	for _, s := range c.n.who().seen(statuses) {
		name := s.Group.String()
		gauge(c.applied, float64(s.Applied), name)
		gauge(c.committed, float64(s.Committed), name)
		gauge(c.lastIndex, float64(s.LastIndex), name)
		gauge(c.firstIndex, float64(s.FirstIndex), name)
		gauge(c.term, float64(s.Term), name)
		gauge(c.leading, truth(s.State == "leader"), name)
		gauge(c.hasLeader, truth(s.Leader != 0), name)
		gauge(c.damaged, truth(s.State == groupDamaged), name)
		c.collectFollowers(&s, gauge)
	}
}

// collectLocal tells of the group of node-local rows, which has no term and no leader.
func (c *groupCollector) collectLocal(gauge func(desc *prometheus.Desc, value float64, labels ...string)) {
	solo := c.n.local.running.Load()
	if solo == nil {
		return
	}
	name, log := shard.Local.String(), c.n.log.Group(shard.Local)
	gauge(c.applied, float64(solo.Applied(shard.Local)), name)
	gauge(c.lastIndex, float64(log.LastIndex()), name)
	gauge(c.firstIndex, float64(log.FirstIndex()), name)
}

// truth is how a gauge shows a truth.
func truth(set bool) float64 {
	if set {
		return 1
	}
	return 0
}

// collectSnapshots tells of the snapshots on their way, also while the engine is too busy for its status.
func (c *groupCollector) collectSnapshots(manager *multiraft.Manager, out chan<- prometheus.Metric) {
	active, bytes := manager.Snapshots()
	running := map[string]int{}
	for _, s := range active {
		running[s.Direction]++
		name := s.Group.String()
		out <- prometheus.MustNewConstMetric(c.more.snapProgress, prometheus.GaugeValue, float64(s.Bytes), s.Direction, name, c.nodeName(s.Peer))
		if s.Percent >= 0 {
			out <- prometheus.MustNewConstMetric(c.more.snapPercent, prometheus.GaugeValue, float64(s.Percent), s.Direction, name, c.nodeName(s.Peer))
		}
		out <- prometheus.MustNewConstMetric(c.more.snapPairs, prometheus.GaugeValue, float64(s.Pairs), s.Direction, name, c.nodeName(s.Peer))
	}
	failing, failed := manager.SnapshotFailures()
	for _, f := range failing {
		out <- prometheus.MustNewConstMetric(c.more.snapFailing, prometheus.GaugeValue, float64(f.Failures), f.Group.String(), c.nodeName(f.Peer))
	}
	out <- prometheus.MustNewConstMetric(c.more.snapFailed, prometheus.CounterValue, float64(failed))
	for direction, total := range map[string]uint64{"sent": bytes.Sent, "received": bytes.Received} {
		out <- prometheus.MustNewConstMetric(c.snapshots, prometheus.GaugeValue, float64(running[direction]), direction)
		out <- prometheus.MustNewConstMetric(c.snapBytes, prometheus.CounterValue, float64(total), direction)
	}
}
