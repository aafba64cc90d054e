package multiraft

import (
	"errors"
	"log/slog"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/raftlog"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/transport"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage"
)

// TestReplicaThatWasCutOffDeposesNobody keeps a node away for many election timeouts. It would be elected by nobody, so
// when it comes back every group has the leader and the term that it had.
func TestReplicaThatWasCutOffDeposesNobody(t *testing.T) {
	l := threeNodes(t, 701)
	l.until(1000, "the balancer rests", func() bool { return l.allAsleep() })
	for _, n := range l.nodes {
		n.manager.cfg.NoBalance = true // it would move leaders to those that are left
	}
	away := l.nodes[3]
	type leadership struct {
		leader ident.ReplicaID
		term   uint64
	}
	led := func(g shard.GroupID) leadership {
		n := l.leader(g)
		return leadership{n.replica, n.manager.Glance(g).Term}
	}
	// What the cut-off node leads moves away; only what it does to others is looked at.
	before := map[shard.GroupID]leadership{}
	for _, g := range l.groups {
		if now := led(g); now.leader != away.replica {
			before[g] = now
		}
	}
	if len(before) == 0 {
		t.Fatal("one node leads everything")
	}
	l.isolate(away)
	for range 20 * defaultElectionTicks {
		l.tick()
	}
	for g, was := range before {
		if away.manager.Glance(g).Leader != 0 {
			t.Fatalf("%v: the node that is cut off does not campaign: the test shows nothing", g)
		}
		if now := led(g); now != was {
			t.Errorf("%v: %+v before and %+v while a follower was cut off", g, was, now)
		}
	}
	l.network.HealAll()
	l.until(400, "the node follows again", func() bool {
		for g := range before {
			if away.manager.Glance(g).Leader == 0 {
				return false
			}
		}
		return true
	})
	for g, was := range before {
		if now := led(g); now != was {
			t.Errorf("%v: %+v before and %+v after a follower came back", g, was, now)
		}
	}
}

// TestElectionsAreStaggered restarts a whole cluster of many groups: they do not all elect at the same tick, none
// elects before the election timeout, and meta is half as patient again.
func TestElectionsAreStaggered(t *testing.T) {
	l := newLab(t, 702, 20)
	l.startThree()
	for _, n := range l.nodes {
		n.halt()
	}
	for _, n := range l.nodes {
		n.restart()
	}
	elected := map[shard.GroupID]int{}
	for tick := 0; len(elected) < len(l.groups) && tick < 10*defaultElectionTicks; tick++ {
		for _, g := range l.groups {
			if _, known := elected[g]; !known && l.leader(g) != nil {
				elected[g] = tick
			}
		}
		l.tick()
	}
	if len(elected) < len(l.groups) {
		t.Fatalf("%d of %d groups have elected", len(elected), len(l.groups))
	}
	at := map[int]int{}
	for g, tick := range elected {
		at[tick]++
		least := defaultElectionTicks
		if g == shard.Meta {
			least += defaultElectionTicks / 2
		}
		if tick < least {
			t.Errorf("%v elected at tick %d, before its timeout of %d", g, tick, least)
		}
	}
	for tick, groups := range at {
		if groups > len(l.groups)/2 {
			t.Errorf("%d of %d groups elected at tick %d", groups, len(l.groups), tick)
		}
	}
}

// TestAppendsShareFramesAndAreNotWaitedFor proposes to two groups in one pass, three times, while no answer of the
// followers arrives: each pass makes one frame for each follower, and each next one follows without an answer.
func TestAppendsShareFramesAndAreNotWaitedFor(t *testing.T) {
	l := threeNodes(t, 703)
	leader := l.nodes[1]
	var led []shard.GroupID
	for _, g := range l.groups[1:] {
		if n := l.leader(g); n != leader {
			if _, err := n.manager.Submit(g, l.id(), make([]byte, 8)); err != nil {
				t.Fatal(err)
			}
			l.pump()
			n.manager.groups[g].worker.enqueue(item{group: n.manager.groups[g], do: func(g *group) { g.node.TransferLeader(1) }})
			l.until(100, "the group has moved", func() bool { return l.leader(g) == leader })
		}
		led = append(led, g)
	}
	before := map[shard.GroupID]uint64{}
	for _, g := range led {
		before[g] = leader.manager.Glance(g).LastIndex
	}
	frames := map[ident.ReplicaID]int{}
	l.network.SetFault(func(p *transport.Packet) transport.Verdict {
		if p.From == leader.replica && p.Lane == transport.LaneBulk {
			frames[p.To]++
		}
		return transport.Verdict{Drop: p.To == leader.replica}
	})
	const rounds = 3
	for range rounds {
		for _, g := range led {
			if _, err := leader.manager.Submit(g, l.id(), make([]byte, 8)); err != nil {
				t.Fatal(err)
			}
		}
		l.pump()
	}
	for id := ident.ReplicaID(2); id <= 3; id++ {
		if frames[id] != rounds {
			t.Errorf("%d passes with appends of %d groups made %d frames for replica %d", rounds, len(led), frames[id], id)
		}
		for _, g := range led {
			if last := l.nodes[id].manager.Glance(g).LastIndex; last != before[g]+rounds {
				t.Errorf("replica %d has %d of %d entries of %v while its answers are lost", id, last-before[g], rounds, g)
			}
		}
	}
}

// brokenMachine cannot apply what is called "broken".
type brokenMachine struct{ tally }

var errBroken = errors.New("this machine is broken")

func (m *brokenMachine) Apply(batch *storage.Batch, entries []command.Entry) (command.Outcome, error) {
	for i := range entries {
		if string(entries[i].Data) == "broken" {
			return command.Outcome{}, errBroken
		}
	}
	return m.tally.Apply(batch, entries)
}

// TestFailedApplyStopsTheNode: an entry that cannot be applied has no result, is not counted as applied and is not
// passed over. The node stops and says why.
func TestFailedApplyStopsTheNode(t *testing.T) {
	fs := vfs.NewMem()
	groups := shard.Map{UserShards: 1, SharedShards: 1}.Groups()
	store, err := storage.Open(storage.Options{FS: fs, Dir: "store"})
	if err != nil {
		t.Fatal(err)
	}
	log, err := raftlog.Open(raftlog.Config{FS: fs, Dir: "log", SegmentBytes: 1 << 18, SpareSegments: 1})
	if err != nil {
		t.Fatal(err)
	}
	if err = Found(store, LogOf(log), groups, 1); err != nil {
		t.Fatal(err)
	}
	m, err := Open(Config{
		Replica: 1, Groups: groups, Engine: store, Log: LogOf(log), Clock: clock.Real{}, Logger: slog.New(slog.DiscardHandler),
		StateMachines: func(g shard.GroupID) StateMachine { return &brokenMachine{tally{group: g}} }, StagingDir: "staging",
	}, wire{crew: &crew{}, from: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		m.Stop()
		if failed := errors.Join(log.Close(), store.Close()); failed != nil {
			t.Error(failed)
		}
	})
	g := groups[1]
	for range 10 * defaultElectionTicks {
		m.Tick()
		if err = m.Pump(); err != nil {
			t.Fatal(err)
		}
	}
	applied := m.Applied(g)
	submitted, err := m.Submit(g, ident.RequestID{1}, []byte("broken"))
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Pump(); !errors.Is(err, errBroken) {
		t.Errorf("the engine goes on after an entry that cannot be applied: %v", err)
	}
	if !errors.Is(m.Failure(), errBroken) {
		t.Errorf("the engine's failure is %v", m.Failure())
	}
	if result, _, done, err := submitted.Poll(); done && err == nil {
		t.Errorf("the proposal has the result %q", result)
	}
	if stored, err := ReadApplied(store, g); err != nil || stored != applied || m.Applied(g) != applied {
		t.Errorf("applied index %d, stored %d, want %d (error %v)", m.Applied(g), stored, applied, err)
	}
}
