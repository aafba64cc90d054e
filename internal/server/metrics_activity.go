package server

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kalamdb/kalamdb-go/internal/executor"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/multiraft"
)

// activityDescs are the metrics about lag, elections, queues and attempts. Their labels are groups and nodes: a series
// for each group, and for what a leader says of its followers and for snapshots on their way, one for each pair.
type activityDescs struct {
	elections, lagEntries, lagBytes, lagSeconds                                 *prometheus.Desc
	propose, latest, groupSnapBytes, snapPercent                                *prometheus.Desc
	waiting, waitingBytes, refused, groupLogBytes, ack                          *prometheus.Desc
	followerLag, snapFailed, snapFailing                                        *prometheus.Desc
	inbox, dropped, truncated                                                   *prometheus.Desc
	barriers, spared, leaseReads, attempts, hints, snapProgress, snapPairs, cpu *prometheus.Desc
}

func newActivityDescs() activityDescs {
	group := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("kalamdb_group_"+name, help, append([]string{"group"}, labels...), nil)
	}
	plain := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("kalamdb_"+name, help, labels, nil)
	}
	return activityDescs{
		elections: group("elections_total", "Times this node became leader of the group since the start."),
		lagEntries: group("lag_entries",
			"Log entries that some member had committed when it was last heard and this node has not applied."),
		lagBytes:   group("lag_bytes", "About the bytes of these entries, by the average of those in the log."),
		lagSeconds: group("lag_seconds", "Time since this node had applied everything that was committed anywhere."),
		waiting:    group("waiting_proposals", "Proposals on this node that wait for their result."),
		refused: group("refused_total",
			"Proposals turned away since the start because too many wait, or because a live follower is too far behind.", "reason"),
		waitingBytes: group("waiting_bytes",
			"Bytes of the proposals on this node that wait for their result."),
		propose: group("propose_seconds",
			"Time from proposals at this node, as the leader, to their results: how many there were, and what they took together."),
		latest: group("propose_latest_seconds", "About the time that the latest of these proposals took."),
		groupSnapBytes: group("snapshot_bytes_total",
			"Bytes of snapshots of the group, compressed, since the start.", "direction"),
		snapPercent: plain("snapshot_transfer_percent",
			"About the part that is done of a snapshot on its way, in percent.", "direction", "group", "node"),
		groupLogBytes: group("log_bytes", "Bytes of the group's entries in the log of this node."),
		ack:           group("quorum_ack_seconds", "Leaders only: time since a majority was last heard of."),
		followerLag:   group("follower_lag_entries", "Leaders only: entries that a follower is not known to have.", "node"),
		inbox:         plain("worker_inbox_items", "Messages, proposals and reads that wait for the workers of the groups."),
		dropped:       plain("worker_dropped_messages_total", "Raft messages that found a worker's inbox full."),
		truncated:     plain("log_truncated_entries_total", "Entries dropped from the fronts of the groups' logs."),
		attempts:      plain("propose_attempts_total", "Attempts to propose for statements of this node, by how they ended.", "outcome"),
		barriers:      plain("read_barriers_total", "Waits before reads for statements of this node, by the level of the read.", "level"),
		spared:        plain("read_barriers_spared_total", "Such waits that needed nobody's answer: local reads, and bounded ones of state that was new enough."),
		leaseReads:    plain("lease_reads_total", "Reads that this node answered as a leader from its lease."),
		hints:         plain("propose_hints_total", "Attempts sent on to the leader that a replica named."),
		snapProgress:  plain("snapshot_transfer_bytes", "Bytes so far of a snapshot on its way, compressed.", "direction", "group", "node"),
		snapPairs:     plain("snapshot_transfer_pairs", "Keys so far of a snapshot on its way.", "direction", "group", "node"),
		snapFailed:    plain("snapshot_failures_total", "Snapshots that peers could not take, since the start."),
		snapFailing:   plain("snapshot_failures_in_a_row", "Snapshots of a group that a peer could not take, one after the other; there is another attempt.", "group", "node"),
		cpu:           plain("cpu_percent", "Share of one processor that this process took lately, in percent."),
	}
}

// collectActivity reads what groups and queues do, without asking the workers.
func (c *groupCollector) collectActivity(
	manager *multiraft.Manager, gauge func(*prometheus.Desc, float64, ...string), out chan<- prometheus.Metric,
) {
	count := func(desc *prometheus.Desc, value uint64, labels ...string) {
		out <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(value), labels...)
	}
	for _, g := range c.n.gossip.activity(manager) {
		name := g.Group.String()
		count(c.more.elections, g.Elections, name)
		gauge(c.more.lagEntries, float64(g.lagEntries), name)
		gauge(c.more.lagBytes, float64(g.lagBytes), name)
		gauge(c.more.lagSeconds, g.behind.Seconds(), name)
		out <- prometheus.MustNewConstSummary(c.more.propose, g.Proposals, g.Proposing.Seconds(), nil, name)
		gauge(c.more.latest, g.Latest.Seconds(), name)
		count(c.more.groupSnapBytes, g.Snapshots.Sent, name, "sent")
		count(c.more.groupSnapBytes, g.Snapshots.Received, name, "received")
		count(c.more.refused, g.RefusedWaiting, name, "waiting")
		count(c.more.refused, g.RefusedLag, name, "follower_lag")
		gauge(c.more.waiting, float64(g.Waiting), name)
		gauge(c.more.waitingBytes, float64(g.WaitingBytes), name)
		gauge(c.more.groupLogBytes, float64(g.LogBytes), name)
	}
	gauge(c.more.inbox, float64(manager.InboxItems()))
	gauge(c.more.cpu, c.n.gossip.usage.percent.load())
	count(c.more.dropped, manager.DroppedMessages())
	count(c.more.leaseReads, manager.LeaseReads())
	count(c.more.truncated, manager.Truncated())
	c.n.mu.Lock()
	proposing := c.n.proposing
	c.n.mu.Unlock()
	if proposing == nil {
		return
	}
	telemetry := proposing.Telemetry()
	count(c.more.hints, telemetry.Hints)
	count(c.more.spared, telemetry.Spared)
	for level, n := range telemetry.Barriers {
		count(c.more.barriers, n, level.String())
	}
	for outcome := executor.Done; outcome <= executor.LastOutcome; outcome++ {
		count(c.more.attempts, telemetry.Attempts[outcome], outcome.String())
	}
}

// collectFollowers tells what a leader knows of its followers.
func (c *groupCollector) collectFollowers(s *multiraft.GroupStatus, gauge func(*prometheus.Desc, float64, ...string)) {
	if s.QuorumAck >= 0 {
		gauge(c.more.ack, s.QuorumAck.Seconds(), s.Group.String())
	}
	for _, p := range s.Progress {
		if p.Replica != c.n.self() {
			gauge(c.more.followerLag, float64(s.LastIndex-min(p.Match, s.LastIndex)), s.Group.String(), c.nodeName(p.Replica))
		}
	}
}

// nodeName is the number of the node that a replica belongs to, for a label; a replica that is not recorded yet
// is named by its own id.
func (c *groupCollector) nodeName(replica ident.ReplicaID) string {
	if m, ok := c.n.catalog.Current().Member(replica); ok {
		return strconv.FormatUint(uint64(m.Node), 10)
	}
	return "replica " + strconv.FormatUint(uint64(replica), 10)
}
