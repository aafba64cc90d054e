package server

import (
	"context"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/multiraft"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	nodev1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/node/v1"
)

// gossip is what this node last heard from every member, itself included. Members are asked several times within
// the time after which they count as dead, so that health checks answer from memory; every second time they also
// say how their groups are.
type gossip struct {
	n        *Node
	hostname string

	removed atomic.Bool // a member said that this replica is none any more

	mu    sync.Mutex // guards infos
	infos map[ident.ReplicaID]heard
	lags  map[shard.GroupID][]commitSample // see lag.go

	usage usage // of the processor; belongs to the goroutine that keeps house
}

// heard is one node's description of itself.
type heard struct {
	info *nodev1.GetNodeInfoResponse
	// at is when it was asked for: the node was alive then, and may have died before its answer arrived.
	at     time.Time
	offset time.Duration // of its clock from this node's, and what the answer took; zero when it was not told
}

// staleAfter is how old a description may be before its node counts as offline: two of the longest election
// timeouts.
func (g *gossip) staleAfter() time.Duration {
	_, longest := g.n.cfg.Cluster.ElectionTimeout()
	return 2 * longest
}

func newGossip(n *Node) *gossip {
	// Without a name the column is shown empty.
	hostname, _ := os.Hostname()
	return &gossip{
		n: n, hostname: hostname, infos: make(map[ident.ReplicaID]heard), lags: make(map[shard.GroupID][]commitSample),
	}
}

// viewPatience bounds how long a view waits for the newest word of the members.
const viewPatience = 300 * time.Millisecond

// refreshForView asks the members that are alive as far as is known; who is dead is not waited for.
func (g *gossip) refreshForView(ctx context.Context) {
	g.ask(ctx, viewPatience, true, func(m *catalog.Member) bool {
		_, fresh := g.get(m.Replica)
		return fresh
	})
}

// refresh asks all members at once; one that does not answer in time keeps its last description.
func (g *gossip) refresh(ctx context.Context, withGroups bool) {
	g.ask(ctx, housePeriod, withGroups, func(*catalog.Member) bool { return true })
}

func (g *gossip) ask(ctx context.Context, patience time.Duration, withGroups bool, which func(*catalog.Member) bool) {
	bound, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var asking sync.WaitGroup
	for _, m := range g.n.catalog.Current().Members() {
		if m.Removed {
			continue
		}
		if m.Replica == g.n.self() {
			g.store(m.Replica, g.n.describe(bound, withGroups), g.n.clock.Now())
			continue
		}
		if g.n.network == nil || !which(m) {
			continue
		}
		asking.Go(func() {
			asked := g.n.clock.Now()
			info, err := g.n.network.MemberInfo(bound, m.Replica, &nodev1.GetNodeInfoRequest{
				WithGroups: withGroups, Caller: uint64(g.n.self()),
			})
			if err == nil && info.GetReplicaId() == uint64(m.Replica) {
				g.hear(m.Replica, info, asked)
			}
		})
	}
	asking.Wait()
	if withGroups {
		g.sampleCommits()
	}
}

// hear takes in what another member, asked at that time, says of itself and of this node.
func (g *gossip) hear(replica ident.ReplicaID, info *nodev1.GetNodeInfoResponse, asked time.Time) {
	g.store(replica, info, asked)
	if manager := g.n.engine(); manager != nil {
		manager.Avoid(replica, info.GetDraining())
	}
	if info.GetCallerRemoved() {
		g.removed.Store(true)
	}
}

func (g *gossip) store(replica ident.ReplicaID, info *nodev1.GetNodeInfoResponse, asked time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if before, ok := g.infos[replica]; ok && len(info.GetGroups()) == 0 {
		// It was not asked for its groups, or could not describe them in time: what it said of them last still counts.
		info.Groups = before.info.GetGroups()
		if len(info.GetMembers()) == 0 {
			info.Members, info.MemoryBytes = before.info.GetMembers(), before.info.GetMemoryBytes()
		}
	}
	offset := time.Duration(0)
	if told := info.GetClockMicros(); told != 0 {
		offset = time.UnixMicro(told).Sub(g.n.clock.Now())
	}
	g.infos[replica] = heard{info: info, at: asked, offset: offset}
}

// offset is by how much the clock of a member differs from this node's; told is false when that is not known.
func (g *gossip) offset(replica ident.ReplicaID) (by time.Duration, told bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	h, ok := g.infos[replica]
	return h.offset, ok && h.info.GetClockMicros() != 0 && g.n.clock.Now().Sub(h.at) < g.staleAfter()
}

// get returns what is known of a member; fresh is false when it was not heard lately.
func (g *gossip) get(replica ident.ReplicaID) (info *nodev1.GetNodeInfoResponse, fresh bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	h, ok := g.infos[replica]
	return h.info, ok && g.n.clock.Now().Sub(h.at) < g.staleAfter()
}

// describe says who this node is and how its groups are.
func (n *Node) describe(ctx context.Context, withGroups bool) *nodev1.GetNodeInfoResponse {
	id := n.who()
	info := &nodev1.GetNodeInfoResponse{
		ClusterId: n.cfg.Cluster.ClusterID, NodeId: n.cfg.Cluster.NodeID, StoreId: id.Store[:],
		RpcAddr: n.advertisedRPC(), ApiAddr: n.advertisedAPI(), Version: n.build.Version,
		Hostname: n.gossip.hostname, StartedMicros: n.started.UnixMicro(),
		ClockMicros: n.clock.Now().UnixMicro(), LogFormat: n.logFormat, Os: runtime.GOOS, Arch: runtime.GOARCH, CpuPercent: n.gossip.usage.percent.load(),
	}
	if id.State == stateRepairing {
		info.ClusterUid = id.Cluster[:]
	}
	if id.State != stateMember {
		return info
	}
	info.ClusterUid, info.ReplicaId = id.Cluster[:], uint64(id.Replica)
	if m := n.engine(); m != nil {
		info.Draining = m.Draining()
	}
	if !withGroups {
		return info
	}
	info.Members = n.passOn()
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	info.MemoryBytes = memory.Sys - memory.HeapReleased
	if m := n.engine(); m != nil {
		// Without an answer the groups are left out: the engine is stopping, or its log stands still.
		bound, cancel := context.WithTimeout(ctx, housePeriod)
		defer cancel()
		statuses, err := m.Status(bound)
		if err == nil {
			info.Groups = groupInfos(id.seen(statuses))
			n.gossip.describeActivity(m, info.GetGroups())
		}
	}
	return info
}

func groupInfos(statuses []multiraft.GroupStatus) []*nodev1.GroupStatus {
	infos := make([]*nodev1.GroupStatus, len(statuses))
	for i, s := range statuses {
		info := &nodev1.GroupStatus{
			Group: uint64(s.Group), Term: s.Term, Vote: uint64(s.Vote), Leader: uint64(s.Leader), State: s.State,
			FirstIndex: s.FirstIndex, LastIndex: s.LastIndex, Committed: s.Committed, Applied: s.Applied,
			SnapshotIndex: s.Snapshot, QuorumAckMillis: -1,
		}
		if s.QuorumAck >= 0 {
			info.QuorumAckMillis = s.QuorumAck.Milliseconds()
		}
		for _, id := range s.Voters {
			info.Voters = append(info.Voters, uint64(id))
		}
		for _, id := range s.Learners {
			info.Learners = append(info.Learners, uint64(id))
		}
		for _, p := range s.Progress {
			info.Progress = append(info.Progress, &nodev1.PeerProgress{
				ReplicaId: uint64(p.Replica), Match: p.Match, State: p.State, Active: p.Active,
			})
		}
		infos[i] = info
	}
	return infos
}

// summary condenses one node's groups.
type summary struct {
	total, leading int
	voting         int
	applied        uint64 // sum over groups
	lag            uint64 // entries that the leaders have committed and this node has not applied
	meta           *nodev1.GroupStatus
}

// summarise counts a node's groups against what their leaders have committed.
func summarise(info *nodev1.GetNodeInfoResponse, committed map[uint64]uint64) summary {
	var s summary
	for _, g := range info.GetGroups() {
		s.total++
		s.applied += g.GetApplied()
		if g.GetState() == "leader" {
			s.leading++
		}
		if g.GetState() != "learner" && g.GetState() != "outside" && g.GetState() != groupDamaged {
			s.voting++
		}
		if ahead := committed[g.GetGroup()]; ahead > g.GetApplied() {
			s.lag += ahead - g.GetApplied()
		}
		if g.GetGroup() == uint64(shard.Meta) {
			s.meta = g
		}
	}
	return s
}

// committed is the highest commit index that any node reports, by group.
func (g *gossip) committed(members []*catalog.Member) map[uint64]uint64 {
	highest := make(map[uint64]uint64)
	for _, m := range members {
		info, _ := g.get(m.Replica)
		for _, group := range info.GetGroups() {
			highest[group.GetGroup()] = max(highest[group.GetGroup()], group.GetCommitted())
		}
	}
	return highest
}
