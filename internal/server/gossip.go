package server

import (
	"context"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/multiraft"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	nodev1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/node/v1"
)

// gossip is what this node last heard from every member, itself included. Members are asked four times within
// the time after which they count as dead, so that health checks answer from memory; every second time they also
// say how their groups are. They are asked side by side, and no round waits for the answers of another: who swallows a question, or whose disk
// stands still, makes nobody look dead but itself.
type gossip struct {
	n        *Node
	hostname string

	removed atomic.Bool // a member said that this replica is none any more

	mu    sync.Mutex // guards the fields below
	infos map[ident.ReplicaID]heard
	asked map[ident.ReplicaID]bool         // whose answer to keepAsking is still to come
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
		n: n, hostname: hostname, infos: make(map[ident.ReplicaID]heard), asked: make(map[ident.ReplicaID]bool),
		lags: make(map[shard.GroupID][]commitSample),
	}
}

// viewPatience bounds how long a view waits for the newest word of the members.
const viewPatience = 300 * time.Millisecond

// refreshForView asks the members that are alive as far as is known; who is dead is not waited for.
func (g *gossip) refreshForView(ctx context.Context) {
	bound, cancel := context.WithTimeout(ctx, viewPatience)
	defer cancel()
	var asking sync.WaitGroup
	for _, m := range liveMembers(g.n.catalog.Current()) {
		if _, fresh := g.get(m.Replica); fresh || m.Replica == g.n.self() {
			asking.Go(func() { g.ask(bound, m.Replica, true) })
		}
	}
	asking.Wait()
	g.sampleCommits()
}

// keepAsking asks all members in rounds until the context ends. Who has not answered yet is not asked again before it has, or its time is over, which is
// half of that after which it counts as dead. Then it keeps its last description.
func (g *gossip) keepAsking(ctx context.Context) {
	var asking sync.WaitGroup
	defer asking.Wait()
	questions := make(map[ident.ReplicaID]int) // of each member: one that always answers a round late would else be asked for its groups never
	for ctx.Err() == nil {
		for _, m := range liveMembers(g.n.catalog.Current()) {
			if !g.begin(m.Replica) {
				continue
			}
			withGroups := questions[m.Replica]%2 == 0
			questions[m.Replica]++
			asking.Go(func() {
				defer g.end(m.Replica)
				bound, cancel := context.WithTimeout(ctx, 2*g.n.roundPause())
				defer cancel()
				if g.ask(bound, m.Replica, withGroups); withGroups {
					g.sampleCommits()
				}
			})
		}
		g.n.pause(ctx, g.n.roundPause())
	}
}

// begin reports whether a member can be asked, which it then is until end.
func (g *gossip) begin(replica ident.ReplicaID) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.asked[replica] {
		return false
	}
	g.asked[replica] = true
	return true
}

func (g *gossip) end(replica ident.ReplicaID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.asked, replica)
}

// ask has a member, which may be this node, describe itself.
func (g *gossip) ask(ctx context.Context, replica ident.ReplicaID, withGroups bool) {
	if replica == g.n.self() {
		g.store(replica, g.n.describe(ctx, withGroups), g.n.clock.Now())
		return
	}
	if g.n.network == nil {
		return
	}
	asked, notices := g.n.clock.Now(), g.notices()
	info, err := g.n.network.MemberInfo(ctx, replica, &nodev1.GetNodeInfoRequest{WithGroups: withGroups, Caller: uint64(g.n.self())})
	if err == nil && info.GetReplicaId() == uint64(replica) {
		g.hear(replica, info, asked, notices)
	}
}

// notices counts the members that have told this node that they begin to drain.
func (g *gossip) notices() uint64 {
	if manager := g.n.engine(); manager != nil {
		return manager.Notices()
	}
	return 0
}

// hear takes in what another member, asked at that time and after so many notices, says of itself and of this node.
func (g *gossip) hear(replica ident.ReplicaID, info *nodev1.GetNodeInfoResponse, asked time.Time, notices uint64) {
	g.store(replica, info, asked)
	if manager := g.n.engine(); manager != nil {
		manager.Heard(replica, info.GetDraining(), notices)
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
		// Without an answer the groups are left out: the engine is stopping, or its log stands still. Who asks must hear of the rest in time.
		bound, cancel := context.WithTimeout(ctx, groupsPatience(ctx))
		defer cancel()
		statuses, err := m.Status(bound)
		if err == nil {
			info.Groups = groupInfos(id.seen(statuses))
			n.gossip.describeActivity(m, info.GetGroups())
		}
	}
	return info
}

// groupsPatience is how long the groups may take to be described for somebody who waits as long as a context.
func groupsPatience(ctx context.Context) time.Duration {
	if end, ok := ctx.Deadline(); ok {
		return min(clock.Left(end)/2, housePeriod)
	}
	return housePeriod
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
