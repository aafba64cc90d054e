package server

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/api/httpapi"
	"github.com/kalamdb/kalamdb-go/internal/auth"
	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/table"
	nodev1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/node/v1"
)

// clusterView implements table.ClusterView and httpapi.Health from what the node knows.
type clusterView struct{ n *Node }

// Nodes implements table.ClusterView.
func (v clusterView) Nodes(ctx context.Context) ([]table.ClusterNode, error) {
	n := v.n
	n.gossip.refreshForView(ctx)
	return v.nodes(ctx)
}

// nodes is Nodes from memory.
func (v clusterView) nodes(ctx context.Context) ([]table.ClusterNode, error) {
	n := v.n
	members := liveMembers(n.catalog.Current())
	committed := n.gossip.committed(members)
	nodes := make([]table.ClusterNode, 0, len(members))
	for _, m := range members {
		info, fresh := n.gossip.get(m.Replica)
		isSelf := m.Replica == n.self()
		if isSelf {
			info, fresh = n.describe(ctx, true), true
		}
		nodes = append(nodes, v.node(m, info, fresh, isSelf, committed))
	}
	slices.SortFunc(nodes, func(a, b table.ClusterNode) int { return cmp.Compare(a.NodeID, b.NodeID) })
	return nodes, nil
}

func liveMembers(c *catalog.Catalog) []*catalog.Member {
	return slices.DeleteFunc(slices.Clone(c.Members()), func(m *catalog.Member) bool { return m.Removed })
}

func (v clusterView) node(m *catalog.Member, info *nodev1.GetNodeInfoResponse, fresh, isSelf bool, committed map[uint64]uint64) table.ClusterNode {
	n := v.n
	s := summarise(info, committed)
	node := table.ClusterNode{
		ClusterID: n.cfg.Cluster.ClusterID, NodeID: m.Node, RPCAddr: m.RPCAddr, APIAddr: m.APIAddr, IsSelf: isSelf,
		Role: "follower", Status: "offline", TotalGroups: int32(len(n.who().Shards.Groups())),
	}
	if !fresh {
		return node
	}
	node.Status = "joining"
	if n.cfg.Standalone() {
		node.Status, node.Role, node.IsLeader = "active", "leader", true
		node.GroupsLeading = node.TotalGroups
	} else if s.voting == int(node.TotalGroups) {
		node.Status = "active"
		if info.GetDraining() {
			node.Status = "draining"
		}
	}
	node.GroupsLeading = max(node.GroupsLeading, int32(s.leading))
	node.ReplicationLag = &s.lag
	if meta := s.meta; meta != nil {
		node.Role, node.IsLeader = meta.GetState(), meta.GetState() == "leader"
		term, applied, last := meta.GetTerm(), meta.GetApplied(), committed[uint64(shard.Meta)]
		node.CurrentTerm, node.LastAppliedLog, node.LeaderLastLogIndex = &term, &applied, &last
		first := meta.GetFirstIndex() - 1
		node.SnapshotIndex = &first
	}
	total := s.applied + s.lag
	progress := int32(100)
	if total > 0 {
		progress = int32(100 * s.applied / total)
	}
	node.CatchupProgressPct = &progress
	host, version := info.GetHostname(), info.GetVersion()
	memory := int64(info.GetMemoryBytes() >> 20)
	uptime := int64(n.clock.Now().Sub(time.UnixMicro(info.GetStartedMicros())).Seconds())
	human := (time.Duration(uptime) * time.Second).String()
	node.Hostname, node.Version, node.MemoryUsageMB = &host, &version, &memory
	node.UptimeSeconds, node.UptimeHuman = &uptime, &human
	system, processor, busy := info.GetOs(), info.GetArch(), float32(info.GetCpuPercent())
	node.OperatingSystem, node.ProcessorArchitecture, node.CPUUsagePercent = &system, &processor, &busy
	return node
}

// Groups implements table.ClusterView: every replica of every member, as the member itself says. Who leads a group is
// what the leader of the highest term says, so that all rows of a group agree.
func (v clusterView) Groups(ctx context.Context) ([]table.ClusterGroup, error) {
	n := v.n
	if n.engine() == nil {
		return v.soloGroups(), nil
	}
	n.gossip.refreshForView(ctx)
	infos := map[ident.ReplicaID]*nodev1.GetNodeInfoResponse{}
	members := liveMembers(n.catalog.Current())
	for _, m := range members {
		info, fresh := n.gossip.get(m.Replica)
		if m.Replica == n.self() {
			info, fresh = n.describe(ctx, true), true
		}
		if fresh {
			infos[m.Replica] = info
		}
	}
	leaders := leadersOf(infos)
	var groups []table.ClusterGroup
	for _, m := range members {
		info, fresh := infos[m.Replica]
		if !fresh {
			groups = append(groups, v.silentGroups(m, leaders, infos)...)
			continue
		}
		for _, s := range info.GetGroups() {
			groups = append(groups, v.group(m, s, leaders))
		}
	}
	slices.SortFunc(groups, func(a, b table.ClusterGroup) int {
		return cmp.Or(cmp.Compare(a.GroupID, b.GroupID), cmp.Compare(a.NodeID, b.NodeID))
	})
	return groups, nil
}

// leadersOf says who leads each group: of all that say so of themselves, the one with the highest term.
func leadersOf(infos map[ident.ReplicaID]*nodev1.GetNodeInfoResponse) map[uint64]ident.ReplicaID {
	leaders, terms := map[uint64]ident.ReplicaID{}, map[uint64]uint64{}
	for replica, info := range infos {
		for _, g := range info.GetGroups() {
			if g.GetState() == "leader" && g.GetTerm() > terms[g.GetGroup()] {
				leaders[g.GetGroup()], terms[g.GetGroup()] = replica, g.GetTerm()
			}
		}
	}
	return leaders
}

// stateOffline is the state of a replica whose node is not heard of.
const stateOffline = "offline"

// silentGroups are the rows of a member that is not heard of: how far it is behind is what the leaders say.
func (v clusterView) silentGroups(
	m *catalog.Member, leaders map[uint64]ident.ReplicaID, infos map[ident.ReplicaID]*nodev1.GetNodeInfoResponse,
) []table.ClusterGroup {
	var groups []table.ClusterGroup
	state := stateOffline
	for _, id := range v.n.who().Shards.Groups() {
		group := table.ClusterGroup{
			GroupID: id, ClusterID: v.n.cfg.Cluster.ClusterID, NodeID: m.Node, GroupType: id.Class().String(), State: &state,
		}
		group.CurrentLeader = v.leader(leaders, uint64(id))
		group.LagEntries = behindLeader(infos[leaders[uint64(id)]], uint64(id), m.Replica)
		groups = append(groups, group)
	}
	return groups
}

// behindLeader is how many entries a replica is not known to have, as the node says that leads the group; nil when it says nothing.
func behindLeader(leader *nodev1.GetNodeInfoResponse, group uint64, replica ident.ReplicaID) *uint64 {
	for _, g := range leader.GetGroups() {
		if g.GetGroup() != group {
			continue
		}
		for _, p := range g.GetProgress() {
			if p.GetReplicaId() == uint64(replica) {
				return new(g.GetLastIndex() - min(p.GetMatch(), g.GetLastIndex()))
			}
		}
	}
	return nil
}

// leader is the node that leads a group, nil when nobody says so.
func (v clusterView) leader(leaders map[uint64]ident.ReplicaID, group uint64) *ident.NodeID {
	if m, ok := v.n.catalog.Current().Member(leaders[group]); ok {
		return &m.Node
	}
	return nil
}

func (v clusterView) group(m *catalog.Member, s *nodev1.GroupStatus, leaders map[uint64]ident.ReplicaID) table.ClusterGroup {
	vote := fmt.Sprintf(`{"term":%d,"replica_id":%d}`, s.GetTerm(), s.GetVote())
	purged, id := s.GetFirstIndex()-1, shard.GroupID(s.GetGroup())
	term, last, applied, snapshot := s.GetTerm(), s.GetLastIndex(), s.GetApplied(), s.GetSnapshotIndex()
	committed, state := s.GetCommitted(), s.GetState()
	group := table.ClusterGroup{
		GroupID: id, ClusterID: v.n.cfg.Cluster.ClusterID, NodeID: m.Node, GroupType: id.Class().String(),
		CurrentTerm: &term, Vote: &vote, LastLogIndex: &last, LastApplied: &applied, Snapshot: &snapshot, Purged: &purged,
		Committed: &committed, State: &state, CurrentLeader: v.leader(leaders, s.GetGroup()),
	}
	if ack := s.GetQuorumAckMillis(); ack >= 0 {
		group.MillisSinceQuorumAck = &ack
	}
	if a := s.GetActivity(); a != nil {
		group.LagEntries, group.LagBytes, group.LagMillis = new(a.GetLagEntries()), new(a.GetLagBytes()), new(a.GetLagMillis())
		group.SnapshotBytesSent, group.SnapshotBytesReceived = new(a.GetSnapshotBytesSent()), new(a.GetSnapshotBytesReceived())
		if took := a.GetProposeMicros(); took > 0 {
			group.ProposeMillis = new(float64(took) / 1000)
		}
		if a.SnapshotPercent != nil {
			group.SnapshotProgressPct = new(int32(min(a.GetSnapshotPercent(), 100)))
		}
	}
	return group
}

// soloGroups describes the groups of a standalone node: it leads them all, without terms or votes.
func (v clusterView) soloGroups() []table.ClusterGroup {
	v.n.mu.Lock()
	solo := v.n.solo
	v.n.mu.Unlock()
	if solo == nil {
		return nil
	}
	state, self := "leader", ident.NodeID(v.n.cfg.Cluster.NodeID)
	var groups []table.ClusterGroup
	for _, id := range v.n.who().Shards.Groups() {
		applied, log := solo.Applied(id), v.n.log.Group(id)
		last, purged := log.LastIndex(), log.Marker().Index
		groups = append(groups, table.ClusterGroup{
			GroupID: id, NodeID: self, GroupType: id.Class().String(), LastLogIndex: &last, LastApplied: &applied,
			Purged: &purged, Committed: &last, State: &state, CurrentLeader: &self,
		})
	}
	return groups
}

// Ready implements httpapi.Health.
func (v clusterView) Ready(ctx context.Context) httpapi.Readiness {
	n := v.n
	notReady := func(reason string) httpapi.Readiness {
		return httpapi.Readiness{Reasons: []httpapi.NotReady{{Reason: reason}}}
	}
	select {
	case <-n.failed:
		return notReady("the node is stopping: " + n.failure.Error())
	case <-n.draining:
		return notReady("the node is shutting down")
	default:
	}
	if !n.admitted() {
		return notReady("not a member of the cluster yet: " + n.whyWaiting())
	}
	if why := n.whyWaiting(); why != "" {
		return notReady(why)
	}
	total := len(n.who().Shards.Groups())
	if n.catalog.Current().Cluster() == nil {
		return notReady("the catalog has not arrived yet")
	}
	if _, ok := n.catalog.Current().User(auth.RootUser); !ok {
		return notReady("the account of root has not been made yet")
	}
	manager := n.engine()
	if manager == nil {
		return httpapi.Readiness{Ready: true, Groups: &httpapi.GroupCount{Total: total, Ready: total}}
	}
	lagging, err := manager.Lagging(ctx)
	if err != nil {
		return notReady(err.Error())
	}
	readiness := httpapi.Readiness{
		Ready: len(lagging) == 0, Groups: &httpapi.GroupCount{Total: total, Ready: total - len(lagging)},
	}
	damaged := n.who().Damage != nil
	for group, reason := range lagging {
		if damaged {
			reason = "was damaged and is being repaired from the other nodes: " + reason
		}
		readiness.Reasons = append(readiness.Reasons, httpapi.NotReady{GroupID: uint64(group), Reason: reason})
	}
	slices.SortFunc(readiness.Reasons, func(a, b httpapi.NotReady) int { return cmp.Compare(a.GroupID, b.GroupID) })
	return readiness
}

// quorumAck is how long ago the leader of the meta group heard of a quorum, nil when this node does not lead it.
func (v clusterView) quorumAck(ctx context.Context) *int64 {
	for _, g := range v.n.describe(ctx, true).GetGroups() {
		if ack := g.GetQuorumAckMillis(); g.GetGroup() == uint64(shard.Meta) && ack >= 0 {
			return &ack
		}
	}
	return nil
}

// Cluster implements httpapi.Health.
func (v clusterView) Cluster(ctx context.Context) (httpapi.ClusterHealth, error) {
	n := v.n
	health := httpapi.ClusterHealth{
		Status: httpapi.StatusHealthy, IsClusterMode: !n.cfg.Standalone(), ClusterID: n.cfg.Cluster.ClusterID,
		NodeID: n.cfg.Cluster.NodeID, TotalGroups: len(configuredShards(n.cfg).Groups()),
	}
	nodes, err := v.nodes(ctx)
	if err != nil {
		return health, err
	}
	offline := 0
	for _, node := range nodes {
		if node.Status != "active" {
			offline++
		}
		described := httpapi.NodeHealth{
			NodeID: uint64(node.NodeID), Role: node.Role, Status: node.Status, APIAddr: node.APIAddr,
			IsSelf: node.IsSelf, IsLeader: node.IsLeader, ReplicationLag: node.ReplicationLag, Hostname: node.Hostname,
			UptimeHuman: node.UptimeHuman, CPUUsagePercent: node.CPUUsagePercent,
		}
		if node.CatchupProgressPct != nil {
			progress := uint8(*node.CatchupProgressPct)
			described.CatchupProgressPct = &progress
		}
		if node.MemoryUsageMB != nil && node.UptimeSeconds != nil {
			memory, uptime := uint64(*node.MemoryUsageMB), uint64(*node.UptimeSeconds)
			described.MemoryUsageMB, described.UptimeSeconds = &memory, &uptime
		}
		if node.IsSelf {
			health.IsLeader, health.GroupsLeading = node.IsLeader, int(node.GroupsLeading)
			health.CurrentTerm, health.LastApplied = node.CurrentTerm, node.LastAppliedLog
			health.MillisSinceQuorumAck = v.quorumAck(ctx)
		}
		health.Nodes = append(health.Nodes, described)
	}
	switch {
	case !v.Ready(ctx).Ready:
		health.Status = httpapi.StatusUnhealthy
	case offline > 0:
		health.Status = httpapi.StatusDegraded
	}
	return health, nil
}
