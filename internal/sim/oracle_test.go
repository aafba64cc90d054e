package sim

import (
	"fmt"
	"strings"

	"github.com/cespare/xxhash/v2"
	raftpb "go.etcd.io/raft/v3/raftpb"

	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/transport"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	"github.com/kalamdb/kalamdb-go/internal/storage/rowvalue"
)

// oracle remembers everything that must stay true, over all nodes and all their lives.
type oracle struct {
	w         *world
	groups    map[shard.GroupID]*groupTruth
	never     map[ident.RequestID]bool // clients were told that these were not and will not be applied
	succeeded map[ident.RequestID]bool // these ran, and were not refused
	jobs      *jobTruth
	cooled    map[tableIn]bool                // these have, or had, cold rows
	cleaned   int                             // tables
	locals    map[ident.ReplicaID]*groupTruth // of the groups that are not replicated
}

// tableIn is what a group has of a table.
type tableIn struct {
	group shard.GroupID
	table uint64
}

type groupTruth struct {
	base      uint64        // the index before its first
	committed [][]committed // by index behind base, and by position in the entry
	model     *model        // nil for meta
	leaders   map[uint64]ident.ReplicaID
	votes     map[replicaTerm]ident.ReplicaID
	promises  map[ident.ReplicaID]promise
	digests   map[uint64]digest // by applied index
	terms     map[ident.ReplicaID]uint64
}

// committed is one command of the log that some replica has applied.
type committed struct {
	term         uint64
	hash, result uint64
	needs        uint64 // the meta index that its command waits for
}

type replicaTerm struct {
	replica ident.ReplicaID
	term    uint64
}

// promise is the most that a replica said to have durably in its log.
type promise struct{ term, index uint64 }

type digest struct {
	sum  uint64
	node ident.NodeID
}

func newOracle(w *world) *oracle {
	o := &oracle{
		w: w, groups: make(map[shard.GroupID]*groupTruth),
		never: make(map[ident.RequestID]bool), succeeded: make(map[ident.RequestID]bool),
		jobs: newJobTruth(w), cooled: make(map[tableIn]bool),
		locals: make(map[ident.ReplicaID]*groupTruth),
	}
	for _, g := range w.groups {
		o.groups[g] = newTruthOf(g)
	}
	return o
}

func newTruthOf(g shard.GroupID) *groupTruth {
	truth := &groupTruth{
		leaders: make(map[uint64]ident.ReplicaID), votes: make(map[replicaTerm]ident.ReplicaID),
		promises: make(map[ident.ReplicaID]promise), digests: make(map[uint64]digest),
		terms: make(map[ident.ReplicaID]uint64),
	}
	if g != shard.Meta {
		truth.model = newModel(g)
	}
	return truth
}

// messages looks at what arrives: who leads, who voted for whom, who promised what.
func (o *oracle) messages(from ident.ReplicaID, messages []transport.Message) {
	for i := range messages {
		m := messages[i].Raft
		truth := o.groups[messages[i].Group]
		term := m.GetTerm()
		switch m.GetType() { //nolint:exhaustive // the other kinds promise nothing
		case raftpb.MsgApp, raftpb.MsgHeartbeat:
			o.leads(messages[i].Group, truth, from, term)
		case raftpb.MsgVoteResp:
			o.remember(truth, from, term)
			if m.GetReject() {
				break
			}
			key := replicaTerm{from, term}
			to := ident.ReplicaID(m.GetTo())
			if first, ok := truth.votes[key]; ok && first != to {
				o.w.fail("replica %d voted twice in term %d of %s: for %d and for %d", from, term, messages[i].Group, first, to)
			}
			truth.votes[key] = to
			o.w.saw(ruleOneVote)
		case raftpb.MsgAppResp:
			o.remember(truth, from, term)
			if p := truth.promises[from]; !m.GetReject() && (term > p.term || term == p.term && m.GetIndex() > p.index) {
				truth.promises[from] = promise{term, m.GetIndex()}
			}
		default:
		}
	}
}

func (o *oracle) remember(truth *groupTruth, from ident.ReplicaID, term uint64) {
	truth.terms[from] = max(truth.terms[from], term)
}

func (o *oracle) leads(g shard.GroupID, truth *groupTruth, replica ident.ReplicaID, term uint64) {
	first, ok := truth.leaders[term]
	if ok {
		o.w.saw(ruleOneLeader)
	}
	if ok && first != replica {
		o.w.fail("term %d of %s has two leaders: replicas %d and %d", term, g, first, replica)
	}
	if !ok && o.w.handed[g] == replica {
		delete(o.w.handed, g)
		o.w.saw(leadershipMoved)
	}
	truth.leaders[term] = replica
}

// glance checks a replica that believes to lead.
func (o *oracle) glance(n *simNode, g shard.GroupID) {
	seen := n.manager.Glance(g)
	if seen.Leading {
		o.leads(g, o.groups[g], n.self.Replica, seen.Term)
	}
	if seen.Applied > seen.Commit {
		o.w.fail("node %d applied %d of %s, but only %d is committed", n.id, seen.Applied, g, seen.Commit)
	}
}

// opened checks that a replica that starts remembers what it said in earlier lives.
func (o *oracle) opened(n *simNode) {
	for _, g := range o.w.groups {
		truth := o.groups[g]
		seen := n.manager.Glance(g)
		if truth.terms[n.self.Replica] > 0 {
			o.w.saw(ruleRemembers)
		}
		if seen.Term < truth.terms[n.self.Replica] {
			o.w.fail("node %d starts %s in term %d, but has spoken in term %d", n.id, g, seen.Term, truth.terms[n.self.Replica])
		}
		if p := truth.promises[n.self.Replica]; seen.Term == p.term && seen.LastIndex < p.index {
			o.w.fail("node %d starts %s with a log up to %d, but has confirmed %d in the same term", n.id, g, seen.LastIndex, p.index)
		}
	}
}

// wiped forgets a replica that will never speak again.
func (o *oracle) wiped(ident.ReplicaID) {}

// applied checks one entry against everybody else's.
func (o *oracle) applied(n *simNode, g shard.GroupID, s *shown) {
	e, result := &s.entry, s.result
	truth := o.of(n, g)
	o.w.trace.bytes('a', uint64(n.id), uint64(g)<<32|e.Index, nil)
	seen := committed{term: e.Term, hash: hashEntry(e), result: xxhash.Sum64(result)}
	at := o.place(n, g, truth, e)
	for uint64(len(truth.committed)) <= at {
		truth.committed = append(truth.committed, nil)
	}
	var first committed
	if known := truth.committed[at]; e.Position < len(known) {
		first = known[e.Position]
	}
	switch {
	case first.term == 0:
		seen.needs = o.interpret(g, truth, e, result)
		truth.committed[at] = append(truth.committed[at], seen)
		first = seen
	case first.term != seen.term || first.hash != seen.hash:
		o.w.fail("node %d applies another entry at %d of %s: term %d, before term %d", n.id, e.Index, g, seen.term, first.term)
	case first.result != seen.result:
		o.w.fail("node %d has another result at %d of %s", n.id, e.Index, g)
	default:
		o.w.saw(ruleCommitted)
	}
	if g != shard.Meta && first.needs > 0 {
		o.w.saw(ruleMeta)
	}
	if g != shard.Meta && first.needs > s.meta {
		o.w.fail("node %d applies %d of %s, which needs meta %d, at meta %d", n.id, e.Index, g, first.needs, s.meta)
	}
}

func hashEntry(e *command.Entry) uint64 {
	var h xxhash.Digest
	h.Reset()
	_, _ = h.Write(e.RequestID[:]) // a hash cannot fail
	_, _ = h.Write([]byte{byte(e.Position), byte(e.Position >> 8), map[bool]byte{true: 1}[e.More]})
	_, _ = h.Write(e.Data)
	return h.Sum64()
}

// interpret compares the first result of an entry with what a naive reading of the log says, and returns the meta index that
// its command waits for.
func (o *oracle) interpret(g shard.GroupID, truth *groupTruth, e *command.Entry, result []byte) (needs uint64) {
	o.w.stats.applied++
	if e.Position > 0 {
		o.w.stats.packed++
	}
	if len(e.Data) == 0 {
		return 0
	}
	cmd, err := command.Decode(e.Data)
	if err != nil {
		o.w.fail("decode entry %d of %s: %v", e.Index, g, err)
	}
	response, err := command.DecodeResponse(result)
	if err != nil {
		o.w.fail("decode result %d of %s: %v", e.Index, g, err)
	}
	needs = cmd.GetHeader().GetMetaIndex()
	got := answered{ok: response.GetFailure() == nil}
	if !got.ok {
		got.kind = fault.Kind(response.GetFailure().GetKind())
	}
	id := command.RequestID(cmd)
	if got.ok {
		if g == shard.Meta && !o.succeeded[id] {
			o.jobs.apply(e.Index, cmd, response)
		}
		o.succeeded[id] = true
		if o.never[id] {
			o.w.fail("request %s runs at %d of %s, but its client was told that it will not", id, e.Index, g)
		}
	}
	if got.ok {
		if cmd.GetCleanupDone() != nil {
			o.cleaned++
		}
		o.coldCommand(g, e.Index, cmd)
	}
	if truth.model == nil {
		return needs
	}
	want, repeated := truth.model.apply(e.Index, cmd, o.w.trusted(cmd, got))
	if repeated {
		o.w.stats.repeats++
		o.w.saw(ruleRepeats)
	}
	o.w.saw(ruleResults)
	if got != want {
		o.w.fail("entry %d of %s (repeated %v) ends with %+v, a naive reading of the log says %+v", e.Index, g, repeated, got, want)
	}
	if !repeated && got.ok && response.GetIndex() != e.Index {
		o.w.fail("entry %d of %s answers index %d", e.Index, g, response.GetIndex())
	}
	return needs
}

// digest compares a replica's whole key span with that of every other replica at the same applied index, and
// checks that every row lies where it belongs.
func (o *oracle) digest(n *simNode, g shard.GroupID) {
	view := n.store.NewSnapshot()
	defer func() { _ = view.Close() }() // it was only read
	index := n.manager.Applied(g)
	if index == 0 {
		return
	}
	lo, hi := keys.GroupSpan(g)
	_, sum, err := rowvalue.SpanDigest(view, lo, hi)
	if err != nil {
		o.w.fail("digest of %s at node %d: %v", g, n.id, err)
	}
	truth := o.groups[g]
	first, ok := truth.digests[index]
	if ok && first.node != n.id {
		o.w.saw(ruleDigest)
	}
	if ok && first.sum != sum {
		o.w.fail("nodes %d and %d differ in %s at applied index %d", first.node, n.id, g, index)
	}
	truth.digests[index] = digest{sum, n.id}
	o.w.stats.digests++
	o.w.indexes(n, g)
	if g.Class() == shard.ClassUser {
		o.isolation(n, g, view)
	}
}

// isolation checks that every private row belongs to its user and lies in that user's group.
func (o *oracle) isolation(n *simNode, g shard.GroupID, reader storage.Reader) {
	err := eachRow(reader, g, func(name rowName, row modelRow) {
		if o.w.load != nil && o.w.load.live.rows[row.value].id != "" &&
			o.w.shards.RouteUser(liveUser) == g && isLiveUser(o.w.load, name.user) {
			return // a row of columns does not say whose it is; the log does, and with it those who follow
		}
		if o.w.sqlIDs[name.table] {
			if o.w.shards.RouteUser(ident.UserID(name.user)) != g {
				o.w.fail("node %d holds a row of user %q in %s", n.id, name.user, g)
			}
			return
		}
		owner, _, _ := strings.Cut(row.value, "/")
		o.w.saw(ruleIsolation)
		if owner != name.user || o.w.shards.RouteUser(ident.UserID(name.user)) != g {
			o.w.fail("node %d holds a row of user %q in %s under user %q", n.id, owner, g, name.user)
		}
	})
	if err != nil {
		o.w.fail("scan %s at node %d: %v", g, n.id, err)
	}
}

// refused records that a client was told its request was not carried out and never will be.
func (o *oracle) refused(id ident.RequestID) {
	o.never[id] = true
	o.w.saw(ruleRefused)
	if o.succeeded[id] {
		o.w.fail("request %s ran, but its client is told that it will not", id)
	}
}

// describe prints the logs' ends for a failure.
func (w *world) describe() string {
	var text strings.Builder
	for _, a := range w.actors {
		if a.node == nil {
			fmt.Fprintf(&text, "still busy: %s\n", a.name)
		}
	}
	for _, n := range w.nodes {
		fmt.Fprintf(&text, "node %d: up %v paused %v life %d replica %d\n", n.id, n.up, n.paused, n.life, n.self.Replica)
		if n.manager == nil {
			continue
		}
		for _, g := range w.groups {
			s := n.manager.Glance(g)
			fmt.Fprintf(&text, "  %s: term %d leader %d commit %d applied %d log %d..%d voters %v learners %v joint %v\n",
				g, s.Term, s.Leader, s.Commit, s.Applied, s.FirstIndex, s.LastIndex, s.Voters, s.Learners, s.Joint)
		}
	}
	return text.String()
}
