package multiraft

import (
	"slices"

	"go.etcd.io/raft/v3"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/shard"
)

// This file makes elections short. Left alone, Raft's voters wait for a time that each draws between one and two
// election timeouts; two that wait equally long split the vote and wait again. Here the node that led has fallen
// silent for all groups at once, and every node can tell which voter is next: the voters that are heard of, in the
// order of their ids, beginning at the group's place in the list of groups. So a node's groups spread over those that
// are left, where the balancer would put them anyway. The first in line campaigns as soon as an election timeout of
// silence is over, which is when the others grant a pre-vote; each further one waits a little longer. An election that
// nobody won, because the vote was split or a voter still counted on the old leader, is repeated after a moment, again
// by place in line, each time after twice as long.
//
// None of this decides anything: a campaign at a wrong time is refused by Raft, and its own timeouts stay behind it.

// maxRetrials is how often a failed election is repeated early; after that Raft's own timeouts are waited for, so that
// replicas without a quorum do not campaign all the time.
const maxRetrials = 3

// succession is what one replica knows of an election that is under way. Its worker owns it.
type succession struct {
	stood    int // tick of this replica's last campaign, zero while a leader is known
	retrials int // campaigns since a leader was known that were not waited for
}

// standSpacing is how many ticks apart two voters of a line campaign. A retrial waits for one more.
func (c *Config) standSpacing() int { return max(c.ElectionTicks/5, 1) }

// standAfter is how many ticks beyond the shortest election timeout a voter at that place in line waits, but never beyond
// the longest one.
func (c *Config) standAfter(rank int, g *group) int {
	longest := c.MaxElectionTicks - c.ElectionTicks
	if g.id == shard.Meta {
		longest += longest / 2 // as patient again as in electionTicks
	}
	return min(rank*c.standSpacing()+spread(g), longest-1)
}

// succeed lets this replica campaign when it is its turn. It runs once a tick, for groups that are awake.
func (w *worker) succeed(g *group) {
	g.unled++
	if g.leading.Load() || g.install != nil {
		g.succession = succession{}
		return
	}
	s := &g.succession
	if lead := g.lead.Load(); lead != 0 {
		over := w.silences[ident.ReplicaID(lead)] - w.m.cfg.electionTicks(g.id)
		if over <= 0 {
			*s = succession{}
		} else if rank, ok := w.rank(g); ok && s.stood == 0 && over > w.m.cfg.standAfter(rank, g) && w.tick-g.ledAt >= w.m.cfg.leaseTicks() {
			w.stand(g)
		}
		return
	}
	if s.stood == 0 || s.retrials == maxRetrials {
		return
	}
	rank, ok := w.rank(g)
	if wait := (w.m.cfg.standSpacing()*(rank+1) + 1) << s.retrials; ok && w.tick-s.stood >= wait {
		s.retrials++
		w.stand(g)
	}
}

// stand campaigns now, by way of a pre-vote.
func (w *worker) stand(g *group) {
	g.succession.stood = w.tick
	if err := g.node.Campaign(); err != nil {
		w.m.stats.ignoredMessages.Add(1)
	}
	w.mark(g)
}

// noteState notes that Raft's own timeout made this replica a candidate, or that it was elected.
func (g *group) noteState(state raft.StateType, tick int) {
	if state == raft.StateLeader {
		g.ledSince = tick
	}
	if state == raft.StatePreCandidate || state == raft.StateCandidate {
		g.succession.stood = tick
	}
}

// spread is by how many ticks a group stands back, so that thousands of groups do not elect in one tick.
func spread(g *group) int {
	const atOnce, ticks = 64, 4
	return g.place / atOnce % ticks
}

// rank is this replica's place in the line of the voters that may lead the group next; false when it may not.
func (w *worker) rank(g *group) (int, bool) {
	conf := g.confirmed.Conf
	self := uint64(w.m.cfg.Replica)
	voters := slices.Concat(conf.GetVoters(), conf.GetVotersOutgoing())
	slices.Sort(voters)
	voters = slices.DeleteFunc(slices.Compact(voters), func(id uint64) bool {
		return id != self && !w.m.peers.heardWithin(ident.ReplicaID(id), w.m.cfg.silentAfter())
	})
	at := slices.Index(voters, self)
	if at < 0 {
		return 0, false
	}
	first := 0
	if g.id != shard.Meta { // stays where it is, so it has no place of its own
		first = g.place % len(voters)
	}
	rank := (at - first + len(voters)) % len(voters)
	own := w.m.policy.reluctance(w.m.cfg.Replica)
	if slices.ContainsFunc(voters, func(id uint64) bool { return w.m.policy.reluctance(ident.ReplicaID(id)) < own }) {
		rank += len(voters) // behind all others
	}
	return rank, true
}

// silences writes into all for how many ticks each peer has been silent, as a node that leads: a node whose disk
// hangs sends no beats, whatever else it sends.
func (p *peerClock) silences(all map[ident.ReplicaID]int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(all)
	for id, last := range p.last {
		if beat, ok := p.beat[id]; ok {
			last = min(last, beat)
		}
		all[id] = int(p.now - last)
	}
}
