package sim

import (
	"context"
	"testing"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/multiraft"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/transport"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	nodev1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/node/v1"
)

// engine is what a node runs on: multiraft.Manager in a cluster, alone on a node without one.
type engine interface {
	Submit(shard.GroupID, ident.RequestID, []byte) (*multiraft.Submitted, error)
	SubmitAll(shard.GroupID, ident.RequestID, []byte) (*multiraft.SubmittedAll, error)
	BeginRead(shard.GroupID) (*multiraft.Reading, error)
	Applied(shard.GroupID) uint64
	Standings([]multiraft.Standing) []multiraft.Standing
	Glance(shard.GroupID) multiraft.Glance
	Leader(shard.GroupID) ident.ReplicaID
	Live(ident.ReplicaID) bool
	Pump() error
	PumpApply() error
	PumpLog() error
	Tick()
	Maintain() error
	Stop()
	Avoid(ident.ReplicaID, bool)
	TransferLeadership(shard.GroupID, ident.ReplicaID) error
	HandleMessages(ident.ReplicaID, []transport.Message)
	HandleUnreachable(ident.ReplicaID)
	ReceiveSnapshot(context.Context, *nodev1.SnapshotHeader, func() ([]byte, error), chan<- error) error
	HandleSnapshotProgress(context.Context, *nodev1.SnapshotProgressRequest) *nodev1.SnapshotProgressResponse
}

// alone is the engine of a standalone node. What it does not have, other nodes would ask for; there are none.
type alone struct {
	*multiraft.Manager // nil
	*multiraft.Solo
	n *simNode
}

// Submit implements engine.
func (a alone) Submit(g shard.GroupID, id ident.RequestID, data []byte) (*multiraft.Submitted, error) {
	return a.Solo.Submit(g, id, data)
}

// Applied implements engine.
func (a alone) Applied(g shard.GroupID) uint64 { return a.Solo.Applied(g) }

// Standings implements engine.
func (a alone) Standings(to []multiraft.Standing) []multiraft.Standing { return a.Solo.Standings(to) }

// Glance implements engine.
func (a alone) Glance(g shard.GroupID) multiraft.Glance {
	log, self := a.n.log.Group(g), a.n.self.Replica
	hard := log.HardState()
	return multiraft.Glance{ // what is in its log is committed
		Term: hard.Term, Commit: log.LastIndex(), Applied: a.Solo.Applied(g), FirstIndex: log.FirstIndex(), LastIndex: log.LastIndex(),
		Leader: self, Leading: true, Voter: true, Voters: []ident.ReplicaID{self},
	}
}

// Leader implements engine.
func (a alone) Leader(shard.GroupID) ident.ReplicaID { return a.n.self.Replica }

// Live implements engine.
func (a alone) Live(id ident.ReplicaID) bool { return id == a.n.self.Replica }

// Pump implements engine.
func (a alone) Pump() error { return a.Solo.Pump() }

// PumpApply implements engine: one goroutine writes and applies.
func (a alone) PumpApply() error { return nil }

// PumpLog implements engine; no store of a standalone node hangs.
func (a alone) PumpLog() error { return nil }

// Tick implements engine.
func (a alone) Tick() { a.Solo.Tick() }

// Maintain implements engine.
func (a alone) Maintain() error { return a.Solo.Maintain() }

// Stop implements engine.
func (a alone) Stop() { a.Solo.Stop() }

// Avoid implements engine.
func (a alone) Avoid(ident.ReplicaID, bool) {}

// openManager opens the engine of a member, or of a node that is alone. Such a node may also run as a cluster of one:
// it does so in every third life.
func (n *simNode) openManager(cfg multiraft.Config) (engine, error) {
	if !n.w.opt.solo || n.life%6 == 5 {
		m, err := multiraft.Open(cfg, n.wire)
		if err != nil {
			return nil, err
		}
		return m, nil
	}
	s, err := multiraft.OpenSolo(cfg)
	if err != nil {
		return nil, err
	}
	return alone{nil, s, n}, nil
}

// drawSolo draws the shape of a node without a cluster.
func drawSolo(o options, seed uint64) options {
	if seed%8 == 5 {
		o.nodes, o.solo = 1, true
	}
	return o
}

// TestStandaloneNodeKeepsWhatItAcknowledged runs a standalone node under traffic and ends it in every way, with its disk
// slow, full and failing in between, and as a cluster of one now and then.
func TestStandaloneNodeKeepsWhatItAcknowledged(t *testing.T) {
	scenario(t, 1, func(o *options) { o.solo, o.sql, o.retain = true, true, 20 }, func(l *lab) {
		n := l.nodes[0]
		l.c.begin()
		both := map[bool]int{}
		for round := range 12 {
			l.run(time.Second)
			_, single := n.manager.(alone)
			both[single]++
			switch round % 6 {
			case 0:
				n.crash("story")
			case 1:
				n.stop("story")
			case 2:
				n.disk.crashIn, n.disk.tear = 3, true
			case 3:
				n.disk.failSync = true
			case 4:
				n.disk.latency, n.disk.healAt = 40*time.Millisecond, l.step+200
			case 5:
				n.fillDisk(true, false, l.step+200)
			}
			l.run(5 * time.Second)
			l.until(healBound, "the node runs", func() bool { return running(n) })
		}
		if both[true] == 0 || both[false] == 0 {
			l.fail("alone in %d rounds, a cluster of one in %d; the story does not happen", both[true], both[false])
		}
	})
}
