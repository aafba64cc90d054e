package sim

import (
	"slices"
	"testing"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// This file takes nodes' votes in some groups, and gives them back, as JOIN and LEAVE of some groups do: the node then observes these
// groups. A group may come down to one voter. Whoever is one of two voters, or the only one, keeps its disk: with it what was committed
// would be lost, and no rule of ours says that it is not.

// votes is who is to observe what, as it was ordered.
type votes struct {
	taken   map[ident.NodeID]map[shard.GroupID]bool
	invited map[ident.NodeID][]uint64 // in which groups a node votes that comes back with an empty disk after it was removed; none is all
	ordered bool                      // an order is on its way
}

func newVotes() votes {
	return votes{taken: make(map[ident.NodeID]map[shard.GroupID]bool), invited: make(map[ident.NodeID][]uint64)}
}

// observes reports whether a node is to have no vote in a group.
func (v *votes) observes(n *simNode, g shard.GroupID) bool { return v.taken[n.id][g] }

func (v *votes) set(n *simNode, groups []shard.GroupID, taken bool) {
	if v.taken[n.id] == nil {
		v.taken[n.id] = make(map[shard.GroupID]bool)
	}
	for _, g := range groups {
		v.taken[n.id][g] = taken
	}
}

// otherVoters counts the other nodes that are to vote in a group.
func (w *world) otherVoters(n *simNode, g shard.GroupID) int {
	count := 0
	for _, other := range w.nodes {
		if other != n && !w.votes.observes(other, g) {
			count++
		}
	}
	return count
}

// spares reports whether so many others vote in each group in which a node does.
func (w *world) spares(n *simNode, others int) bool {
	for _, g := range w.groups {
		if !w.votes.observes(n, g) && w.otherVoters(n, g) < others {
			return false
		}
	}
	return true
}

// strikeVotes takes votes of a node, or gives them back. Sometimes it takes the disk of a node without some votes, which then votes where it
// did before, or a node out of the cluster, which then begins with some votes.
func (p *plan) strikeVotes() {
	w := p.w
	if !p.chance(p.votes) || len(w.nodes) == 1 || !p.complete() {
		return
	}
	n := p.pick(upright)
	switch kind := w.rng.IntN(8); {
	case n == nil:
	case kind < 2 && len(w.nodes) > 3 && running(n) && w.spares(n, 1):
		p.takeOut(n)
	case kind < 4 && w.observesSome(n) && w.spares(n, 2) && w.agreed():
		w.loseDisk(n)
	default:
		take := w.rng.IntN(2) == 0
		var groups []shard.GroupID
		for _, g := range w.groups {
			if w.rng.IntN(3) == 0 && take != w.votes.observes(n, g) && (!take || w.otherVoters(n, g) > 0) {
				groups = append(groups, g)
			}
		}
		if len(groups) > 0 {
			w.orderVotes(n, groups, take)
		}
	}
}

// agreed reports whether all nodes know the same voters and learners of each group. Before that a disk cannot be spared: of two voters
// that let a third one in, the one that stays may not know yet that they have, and waits for the one that is gone.
func (w *world) agreed() bool {
	for _, g := range w.groups {
		first := w.nodes[0]
		for _, n := range w.nodes {
			if !running(n) {
				return false
			}
			seen, want := n.manager.Glance(g), first.manager.Glance(g)
			if !slices.Equal(seen.Voters, want.Voters) || !slices.Equal(seen.Learners, want.Learners) {
				return false
			}
		}
	}
	return true
}

// orderVotes has the meta group record who votes, and waits until the groups have followed. It is ordered at any node.
func (w *world) orderVotes(n *simNode, groups []shard.GroupID, take bool) {
	w.votes.ordered = true
	order := &commandv1.ChangeVotes{ReplicaId: uint64(n.self.Replica), Votes: !take, ClusterUid: w.uid[:]}
	for _, g := range groups {
		order.Groups = append(order.Groups, uint64(g))
	}
	w.trace.event("node %d in groups %v: votes %v", n.id, groups, !take)
	w.spawn("votes", func(a *actor) {
		for recorded := false; !recorded; a.sleep(100 * time.Millisecond) {
			peer := w.plan.pick(running)
			if peer == nil {
				continue
			}
			a.serve(peer, func(s *session) {
				r := s.execute(shard.Meta, &commandv1.Command{Body: &commandv1.Command_ChangeVotes{ChangeVotes: order}})
				if r.outcome == refused {
					w.fail("an order about votes was refused: %v", r.err)
				}
				recorded = r.outcome == succeeded
			})
		}
		w.votes.set(n, groups, take)
		for !w.allSettled(groups) {
			a.sleep(100 * time.Millisecond)
		}
		w.votes.ordered = false
		if take {
			w.saw(votesTaken)
		} else {
			w.saw(votesGiven)
		}
	})
}

func (w *world) allSettled(groups []shard.GroupID) bool {
	for _, g := range groups {
		if !w.settled(g) {
			return false
		}
	}
	return true
}

// inviteAgain says where a node votes that was removed and comes back: in all groups, or in some.
func (w *world) inviteAgain(n *simNode) {
	delete(w.votes.taken, n.id)
	delete(w.votes.invited, n.id)
	if !w.opt.votes || w.rng.IntN(2) == 0 {
		return
	}
	for _, g := range w.groups {
		if w.rng.IntN(2) == 0 || w.otherVoters(n, g) == 0 {
			w.votes.invited[n.id] = append(w.votes.invited[n.id], uint64(g))
		} else {
			w.votes.set(n, []shard.GroupID{g}, true)
		}
	}
	if len(w.votes.invited[n.id]) == 0 {
		delete(w.votes.taken, n.id) // a node that is to vote nowhere cannot be invited: no groups are all groups
		return
	}
	w.saw(memberOfSome)
}

// observesSome reports whether a node is to have no vote in some group.
func (w *world) observesSome(n *simNode) bool {
	for _, g := range w.groups {
		if w.votes.observes(n, g) {
			return true
		}
	}
	return false
}

// observing counts the groups in which nodes are to have no vote.
func (w *world) observing() int {
	count := 0
	for _, n := range w.nodes {
		for _, g := range w.groups {
			if w.votes.observes(n, g) {
				count++
			}
		}
	}
	return count
}

// judgeVotes looks at those who observe, once the world is whole: they have all and lead nothing. Of some runs it gives all votes back
// and waits for them; others are judged with their observers.
func (w *world) judgeVotes() {
	if w.observing() == 0 {
		return
	}
	for _, n := range w.nodes {
		for _, g := range w.groups {
			if !w.votes.observes(n, g) {
				continue
			}
			if seen := n.manager.Glance(g); seen.Leading || seen.Voter {
				w.fail("node %d observes %s and leads it: %v, or votes in it: %v", n.id, g, seen.Leading, seen.Voter)
			}
			w.saw(ruleObservers)
		}
	}
	if w.rng.IntN(2) == 0 {
		w.giveAllVotes()
	}
}

// giveAllVotes makes every node a voter of every group.
func (w *world) giveAllVotes() {
	for _, n := range w.nodes {
		var groups []shard.GroupID
		for _, g := range w.groups {
			if w.votes.observes(n, g) {
				groups = append(groups, g)
			}
		}
		if len(groups) == 0 {
			continue
		}
		w.orderVotes(n, groups, false)
		w.until(healBound, "the votes are given back", func() bool { return !w.votes.ordered })
	}
	w.until(healBound, "all nodes vote everywhere and are equal", w.whole)
}

// TestGroupComesDownToOneVoter takes the votes of two of three nodes in a group, one after the other. Its only voter answers for it alone
// while both observers are away, which then get what they have missed, by the log and by a snapshot; and when it is away, they answer
// for nothing. In the other groups they vote all the while.
func TestGroupComesDownToOneVoter(t *testing.T) {
	scenario(t, 3, func(o *options) { o.retain = 20 }, func(l *lab) {
		g, other := shard.SharedShard(0), shard.UserShard(0)
		only := l.nodes[0]
		l.lead(only)
		for _, n := range l.others(only) {
			l.orderVotes(n, []shard.GroupID{g}, true)
			l.until(30*time.Second, "the vote is taken", func() bool { return !l.votes.ordered })
		}
		shared := l.counter(len(l.c.users))
		for _, n := range l.others(only) {
			l.hold(n)
		}
		l.run(time.Second)
		for range 100 {
			l.do(only, func(s *session) { l.c.increment(s, shared) })
		}
		if known := l.store.counters[shared]; known == nil || known.acknowledged < 100 {
			l.fail("the only voter has not answered for 100 writes: %+v", known)
		}
		for _, n := range l.others(only) {
			l.release(n)
		}
		l.whole()
		l.hold(only)
		l.run(5 * time.Second)
		for _, n := range l.others(only) {
			if seen := n.manager.Glance(g); seen.Leading {
				l.fail("node %d leads a group in which it has no vote", n.id)
			}
			if n.manager.Glance(other).Leader == 0 || n.manager.Glance(other).Leader == only.self.Replica {
				l.fail("node %d knows no new leader of %s", n.id, other)
			}
		}
		l.release(only)
		l.whole()
	})
}
