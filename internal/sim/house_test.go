package sim

import (
	"slices"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// join makes a fresh directory a member, as a server's admission does: it asks one peer after another.
func join(a *actor) {
	w, n := a.w, a.node
	for n.manager == nil {
		a.sleep(150 * time.Millisecond)
		peer := w.plan.pick(func(p *simNode) bool {
			return p != n && p.up && !p.paused && p.manager != nil && !w.isCut(n, p) && !w.isCut(p, n)
		})
		if peer == nil {
			continue
		}
		var told whoami
		a.serve(peer, func(s *session) { told = s.admit(n) })
		if told.Replica == 0 || w.isCut(peer, n) {
			continue
		}
		n.self = told
		if err := n.saveIdentity(); err != nil {
			w.fail("save the identity of node %d: %v", n.id, err)
		}
		w.trace.event("node %d joins as replica %d", n.id, n.self.Replica)
		if err := n.openEngine(); err != nil {
			w.bootFailed(n, err)
		}
	}
}

// admit is the peer's part of joining. The answer has no replica while the store cannot be taken.
func (s *session) admit(n *simNode) (told whoami) {
	if !s.barrier(shard.Meta) {
		return told
	}
	current := s.n.catalog.Current()
	if current.Cluster() == nil {
		return told
	}
	replaces := false
	for _, m := range current.Members() {
		replaces = replaces || m.Node == n.id && !m.Removed && m.Store != n.self.Store
		silent := !s.n.manager.Live(m.Replica)
		if m.Store == n.self.Store && m.Removed || m.Node == n.id && !m.Removed && m.Store != n.self.Store && !silent {
			return told
		}
	}
	store := n.self.Store
	r := s.execute(shard.Meta, &commandv1.Command{Body: &commandv1.Command_AddMember{AddMember: &commandv1.AddMember{
		Member:  &commandv1.Member{NodeId: uint64(n.id), StoreId: store[:], RpcAddr: address(n.id)},
		VotesIn: s.a.w.votes.invited[n.id],
	}}})
	if r.outcome != succeeded || !s.barrier(shard.Meta) {
		return told
	}
	s.a.w.saw(memberAdded)
	if replaces {
		s.a.w.saw(memberReplaced)
	}
	told = whoami{Store: store, Replica: ident.ReplicaID(r.response.GetObjectId())}
	for _, m := range s.n.catalog.Current().Members() {
		if !m.Removed {
			told.Members = append(told.Members, knownMember{m.Replica, m.RPCAddr})
		}
	}
	return told
}

// announce gives the cluster its first command; every later start finds it done.
func announce(a *actor) {
	n := a.node
	for done := false; !done; a.sleep(200 * time.Millisecond) {
		a.serve(n, func(s *session) {
			if !s.barrier(shard.Meta) {
				return
			}
			if n.catalog.Current().Cluster() != nil {
				done = true
				return
			}
			if n.self.Replica != 1 {
				return
			}
			s.execute(shard.Meta, &commandv1.Command{Body: &commandv1.Command_Found{Found: &commandv1.Found{
				ClusterUid: n.w.uid[:], ClusterId: "sim", UserShards: n.w.shards.UserShards, SharedShards: n.w.shards.SharedShards,
				Member: &commandv1.Member{NodeId: uint64(n.id), StoreId: n.self.Store[:], RpcAddr: address(n.id)},
			}}})
		})
	}
}

// removeNode takes a node's replica out of the cluster and lets the node come back with an empty disk.
func (a *actor) removeNode(n *simNode) {
	w, replica := a.w, n.self.Replica
	w.trace.event("replica %d of node %d is removed", replica, n.id)
	for removed := false; !removed; a.sleep(100 * time.Millisecond) {
		peer := w.plan.pick(func(p *simNode) bool { return p != n && running(p) })
		if peer == nil {
			continue
		}
		a.serve(peer, func(s *session) {
			r := s.execute(shard.Meta, &commandv1.Command{
				Body: &commandv1.Command_RemoveMember{RemoveMember: &commandv1.RemoveMember{ReplicaId: uint64(replica)}},
			})
			removed = r.outcome == succeeded
		})
	}
	w.saw(memberRemoved)
	// Its copy counts until every group has let it go.
	for !w.released(replica) {
		a.sleep(100 * time.Millisecond)
	}
	if n.up {
		n.crash("its replica was removed")
	}
	w.inviteAgain(n)
	n.wipe()
	w.plan.leaving = nil
}

// released reports that no replica's newest configuration holds a replica any more.
func (w *world) released(replica ident.ReplicaID) bool {
	for _, g := range w.groups {
		led, held := false, false
		for _, n := range w.nodes {
			if n.manager == nil || n.self.Replica == replica {
				continue
			}
			if seen := n.manager.Glance(g); seen.Leading {
				led = true
				held = held || seen.Joint || slices.Contains(seen.Voters, replica) || slices.Contains(seen.Learners, replica)
			}
		}
		if !led || held {
			return false
		}
	}
	return true
}

// gossip asks the members this node knows which members they know. A node that was away while the cluster
// changed may be led by a replica whose address stands in entries that only this leader can send.
func gossip(a *actor) {
	w, n := a.w, a.node
	for ; ; a.sleep(time.Second) {
		for _, peer := range w.nodes {
			if peer == n || !running(peer) || w.isCut(n, peer) || w.isCut(peer, n) || !n.knows(peer) {
				continue
			}
			for _, m := range peer.catalog.Current().Members() {
				if !m.Removed {
					n.heard[m.Replica] = m.RPCAddr
				}
			}
		}
	}
}

// knows reports whether a node has the address of a peer from its catalog or from joining.
func (n *simNode) knows(peer *simNode) bool {
	for _, m := range n.catalog.Current().Members() {
		if !m.Removed && m.RPCAddr == address(peer.id) {
			return true
		}
	}
	for _, m := range n.self.Members {
		if m.Address == address(peer.id) {
			return true
		}
	}
	return false
}
