package multiraft

import (
	"sync"

	"github.com/kalamdb/kalamdb-go/internal/ident"
)

// leaderPolicy remembers which replicas want no leaderships. The zero value is ready.
type leaderPolicy struct {
	mu      sync.Mutex               // guards all below
	avoided map[ident.ReplicaID]bool // they drain
	notices uint64                   // of replicas that have begun to drain
	tight   map[ident.ReplicaID]bool // their disks are nearly full, or their stores hang, as their last beats say
}

// How little a replica wants leaderships.
const (
	willing   = iota
	tightDisk // its disk is nearly full, or its store hangs: when that is so everywhere
	drains    // when nobody else is left
)

// reluctance is how little a replica wants leaderships.
func (p *leaderPolicy) reluctance(id ident.ReplicaID) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.avoided[id]:
		return drains
	case p.tight[id]:
		return tightDisk
	}
	return willing
}

// setTight takes in what a beat says of its sender's disk and store.
func (p *leaderPolicy) setTight(id ident.ReplicaID, tight bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	note(&p.tight, id, tight)
}

func (p *leaderPolicy) avoids(id ident.ReplicaID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.avoided[id]
}

func (p *leaderPolicy) set(id ident.ReplicaID, avoid bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	note(&p.avoided, id, avoid)
}

// notice is set for one that has begun to drain, and tells so by itself.
func (p *leaderPolicy) notice(id ident.ReplicaID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.notices++
	note(&p.avoided, id, true)
}

// heard is Manager.Heard.
func (p *leaderPolicy) heard(id ident.ReplicaID, draining bool, notices uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if draining || p.notices == notices {
		note(&p.avoided, id, draining)
	}
}

// note puts a replica into a set or takes it out.
func note(set *map[ident.ReplicaID]bool, id ident.ReplicaID, in bool) {
	if *set == nil {
		*set = make(map[ident.ReplicaID]bool)
	}
	if in {
		(*set)[id] = true
		return
	}
	delete(*set, id)
}

// Avoid tells the balancer of this node whether a replica wants leaderships. A draining one does not: it is
// handed none as long as another live voter can take them.
func (m *Manager) Avoid(id ident.ReplicaID, avoid bool) { m.policy.set(id, avoid) }

// Notices counts the replicas that have told this one that they begin to drain.
func (m *Manager) Notices() uint64 {
	m.policy.mu.Lock()
	defer m.policy.mu.Unlock()
	return m.policy.notices
}

// Heard is Avoid by what a replica has answered. Notices was so high before it was asked: when it has risen since, the answer may be from before the
// notice, and that a replica does not drain counts only when it says so again.
func (m *Manager) Heard(id ident.ReplicaID, draining bool, notices uint64) {
	m.policy.heard(id, draining, notices)
}

// Draining reports whether this replica gives its leaderships away.
func (m *Manager) Draining() bool { return m.policy.avoids(m.cfg.Replica) }
