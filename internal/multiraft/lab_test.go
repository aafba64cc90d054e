package multiraft

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/cryptotest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/transport"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage"
)

// lab is a cluster of managers over a memory network and crashable memory disks, driven by the test's
// goroutine alone.
type lab struct {
	t       *testing.T
	clock   *clock.Manual
	network *transport.Network
	groups  []shard.GroupID
	nodes   map[ident.ReplicaID]*labNode
	members []Member
	opened  []*storage.Engine // and not closed yet
	uid     ident.ClusterUID
	retain  uint64
	// followerLag is Config.MaxFollowerLag, zero for the default.
	followerLag uint64
	// followerBytes is Config.MaxFollowerBytes, likewise.
	followerBytes uint64
	quietTicks    int  // Config.QuietTicks, zero for the default
	packs         bool // Config.Packs
	workers       int  // Config.Workers
	sinceFault    int  // ticks, where a test counts them
	// The like-named fields of Config.
	snapshotChunk int
	snapshotFile  uint64
	serial        byte
	minFree       int64
	overPairs     bool                      // logs are kept in pairlog
	hostile       bool                      // some peer says what no replica says
	watch         func([]transport.Message) // sees what a node is handed; may be nil
}

func newLab(t *testing.T, seed uint64, userShards uint32) *lab {
	t.Helper()
	cryptotest.SetGlobalRandom(t, seed)
	l := &lab{
		t: t, clock: clock.NewManual(time.Unix(1_700_000_000, 0)), nodes: map[ident.ReplicaID]*labNode{},
		groups: shard.Map{UserShards: userShards, SharedShards: 1}.Groups(), uid: ident.ClusterUID{1}, retain: 1000,
	}
	l.network = transport.NewNetwork(l.clock)
	t.Cleanup(l.close)
	return l
}

func address(id ident.ReplicaID) string { return fmt.Sprintf("replica-%d", id) }

// Address implements transport.Resolver.
func (l *lab) Address(id ident.ReplicaID) (string, bool) { return address(id), true }

// add starts a replica on an empty disk; the first one founds the cluster, later ones wait to be added.
func (l *lab) add(id ident.ReplicaID) *labNode {
	l.t.Helper()
	n := &labNode{lab: l, replica: id, fs: vfs.NewCrashableMem()}
	l.nodes[id] = n
	n.openStores()
	if len(l.members) == 0 {
		if err := Found(n.store, n.entries(), l.groups, id); err != nil {
			l.t.Fatal(err)
		}
	}
	l.members = append(l.members, Member{Replica: id, Node: ident.NodeID(id)})
	n.open()
	return n
}

// close ends what a test has left, so that the goroutines of the stores end, too.
func (l *lab) close() {
	for _, n := range l.nodes {
		if slices.Contains(l.opened, n.store) {
			if n.manager != nil {
				n.checkRefused()
				n.manager.Stop()
			}
			_ = n.closeLog() // the disk is thrown away
		}
	}
	for _, store := range l.opened {
		_ = store.Close()
	}
}

// pump moves all nodes and messages until everything is quiet.
func (l *lab) pump() {
	l.t.Helper()
	for range 10_000 {
		for id := ident.ReplicaID(1); id <= 9; id++ {
			n := l.nodes[id]
			if n == nil || n.manager == nil || n.paused {
				continue
			}
			if err := n.manager.Pump(); err != nil {
				l.t.Fatalf("replica %d: %v", id, err)
			}
		}
		if l.network.Deliver(1_000_000) == 0 {
			return
		}
	}
	l.t.Fatal("the cluster does not come to rest")
}

func (l *lab) tick() {
	l.t.Helper()
	l.clock.Advance(50 * time.Millisecond)
	for id := ident.ReplicaID(1); id <= 9; id++ {
		if n := l.nodes[id]; n != nil && n.manager != nil && !n.paused {
			n.manager.Tick()
		}
	}
	l.pump()
}

// until ticks until ok, at most n times.
func (l *lab) until(n int, what string, ok func() bool) {
	l.t.Helper()
	for range n {
		if ok() {
			return
		}
		l.tick()
	}
	l.t.Fatalf("after %d ticks still not: %s\n%s", n, what, l.describe())
}

func (l *lab) describe() string {
	var text strings.Builder
	for id := ident.ReplicaID(1); id <= 9; id++ {
		n := l.nodes[id]
		if n == nil || n.manager == nil {
			continue
		}
		for _, g := range n.manager.order {
			s := g.describe(n.manager)
			fmt.Fprintf(&text, "replica %d %s: %s term %d leader %d log %d..%d commit %d applied %d voters %v learners %v %v\n",
				id, s.Group, s.State, s.Term, s.Leader, s.FirstIndex, s.LastIndex, s.Committed, s.Applied, s.Voters, s.Learners, s.Progress)
		}
	}
	return text.String()
}

// startThree adds three replicas and waits until all vote everywhere.
func (l *lab) startThree() {
	l.t.Helper()
	for id := ident.ReplicaID(1); id <= 3; id++ {
		l.add(id)
	}
	l.until(3000, "three voters everywhere", l.settled)
}

// otherThan returns the live node with the lowest replica id that is not n.
func (l *lab) otherThan(n *labNode) *labNode {
	for id := ident.ReplicaID(1); id <= 9; id++ {
		if other := l.nodes[id]; other != nil && other != n && other.manager != nil {
			return other
		}
	}
	l.t.Fatal("there is no other node")
	return nil
}

// leader returns the node that leads a group, nil when there is none.
func (l *lab) leader(g shard.GroupID) *labNode {
	for _, n := range l.nodes {
		if n.manager != nil && n.manager.groups[g].leading.Load() {
			return n
		}
	}
	return nil
}

// settled reports whether every group has a leader and exactly the members vote in it.
func (l *lab) settled() bool {
	var live []ident.ReplicaID
	for _, m := range l.members {
		if !m.Removed {
			live = append(live, m.Replica)
		}
	}
	for _, g := range l.groups {
		n := l.leader(g)
		if n == nil {
			return false
		}
		s := n.manager.groups[g].describe(n.manager)
		if !slices.Equal(s.Voters, live) || len(s.Learners) != 0 {
			return false
		}
	}
	return true
}

// propose runs a proposal at the group's leader and returns its result.
func (l *lab) propose(g shard.GroupID, id ident.RequestID, amount uint64) (uint64, error) {
	l.t.Helper()
	n := l.leader(g)
	if n == nil {
		return 0, errors.New("no leader")
	}
	w, err := n.submit(g, id, binary.BigEndian.AppendUint64(nil, amount))
	if err != nil {
		return 0, err
	}
	for range 200 {
		l.pump()
		select {
		case result := <-w.done:
			if result.err != nil {
				return 0, result.err
			}
			return binary.BigEndian.Uint64(result.data), nil
		default:
		}
		l.tick()
	}
	return 0, errors.New("no result")
}

func (l *lab) id() ident.RequestID {
	l.serial++
	return ident.RequestID{l.serial, 1}
}
