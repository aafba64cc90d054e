package multiraft

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/shard"
)

// soloConfig is the configuration of a standalone node on the lab node's disk.
func soloConfig(n *labNode) Config {
	return Config{
		Replica: n.replica, Groups: n.lab.groups, Engine: n.store, Log: LogOf(n.log), Clock: n.lab.clock,
		Logger:        slog.New(slog.DiscardHandler),
		StateMachines: func(g shard.GroupID) StateMachine { return &tally{group: g} },
		RetainEntries: 10, RetainBytes: 64 << 20,
		MinFreeBytes: n.lab.minFree, FreeBytes: func() (int64, error) { return n.free, nil }, FreesSpace: addsNothing,
	}
}

// soloNode founds a directory for a standalone node.
func soloNode(t *testing.T, l *lab) *labNode {
	t.Helper()
	n := &labNode{lab: l, replica: 1, fs: vfs.NewCrashableMem()}
	n.openStores()
	if err := Found(n.store, LogOf(n.log), l.groups, 1); err != nil {
		t.Fatal(err)
	}
	return n
}

func openSolo(t *testing.T, n *labNode) *Solo {
	t.Helper()
	s, err := OpenSolo(soloConfig(n))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// proposeSolo proposes on the test's goroutine by pumping.
func proposeSolo(t *testing.T, s *Solo, g shard.GroupID, id ident.RequestID, amount uint64) uint64 {
	t.Helper()
	type answer struct {
		result []byte
		err    error
	}
	done := make(chan answer, 1)
	go func() {
		result, _, err := s.Propose(t.Context(), g, id, binary.BigEndian.AppendUint64(nil, amount))
		done <- answer{result, err}
	}()
	for {
		select {
		case a := <-done:
			if a.err != nil {
				t.Fatal(a.err)
			}
			return binary.BigEndian.Uint64(a.result)
		case <-s.wake:
			if err := s.Pump(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestSoloAcknowledgesOnlyWhatIsOnDisk(t *testing.T) {
	l := newLab(t, 11, 2)
	n := soloNode(t, l)
	s := openSolo(t, n)
	g := shard.UserShard(1)
	if got := proposeSolo(t, s, g, l.id(), 5); got != 5 {
		t.Fatalf("sum = %d, want 5", got)
	}
	n.fs = n.fs.CrashClone(vfs.CrashCloneCfg{})
	n.openStores()
	s = openSolo(t, n)
	if got := proposeSolo(t, s, g, l.id(), 1); got != 6 {
		t.Fatalf("after a crash the sum is %d, want 6", got)
	}
}

func TestSoloDirectoryGrowsIntoACluster(t *testing.T) {
	l := newLab(t, 12, 2)
	n := soloNode(t, l)
	s := openSolo(t, n)
	for _, g := range l.groups {
		proposeSolo(t, s, g, l.id(), 9)
	}
	s.Stop()
	n.fs = n.fs.CrashClone(vfs.CrashCloneCfg{})
	n.openStores()
	l.nodes[1] = n
	l.members = []Member{{Replica: 1, Node: 1}}
	n.open()
	l.until(200, "the only voter leads", l.settled)
	l.add(2)
	l.add(3)
	l.until(3000, "three voters everywhere", l.settled)
	if _, err := l.propose(shard.Meta, l.id(), 1); err != nil {
		t.Fatal(err)
	}
	l.until(400, "all nodes have the sum", func() bool {
		for _, node := range l.nodes {
			if node.sum(shard.Meta) != 10 || node.sum(shard.UserShard(0)) != 9 {
				return false
			}
		}
		return true
	})
	for _, node := range l.nodes {
		node.halt()
		node.manager = nil
	}
	n.fs = n.fs.CrashClone(vfs.CrashCloneCfg{})
	n.openStores()
	if _, err := OpenSolo(soloConfig(n)); err == nil {
		t.Fatal("a member of a cluster of three was opened standalone")
	}
}

func TestSoloDropsTheFrontOfTheLog(t *testing.T) {
	l := newLab(t, 13, 1)
	n := soloNode(t, l)
	s := openSolo(t, n)
	g := shard.UserShard(0)
	for i := range uint64(50) {
		proposeSolo(t, s, g, l.id(), i)
	}
	for range 2 { // the first round flushes, the second cuts
		if err := s.Maintain(); err != nil {
			t.Fatal(err)
		}
	}
	if first := n.log.Group(g).FirstIndex(); first < 40 {
		t.Fatalf("the log still starts at %d", first)
	}
	n.fs = n.fs.CrashClone(vfs.CrashCloneCfg{})
	n.openStores()
	s = openSolo(t, n)
	if got := proposeSolo(t, s, g, l.id(), 0); got != 49*50/2 {
		t.Fatalf("after a crash the sum is %d, want %d", got, 49*50/2)
	}
}

func TestSoloBoundsAndStop(t *testing.T) {
	l := newLab(t, 14, 1)
	n := soloNode(t, l)
	cfg := soloConfig(n)
	cfg.MaxWaiting, cfg.MaxProposal = 1, 8
	s, err := OpenSolo(cfg)
	if err != nil {
		t.Fatal(err)
	}
	g := shard.UserShard(0)
	gone, cancel := context.WithCancel(t.Context())
	if _, _, err := s.Propose(gone, 5, l.id(), nil); !errors.Is(err, ErrUnknownGroup) {
		t.Errorf("unknown group: %v", err)
	}
	if _, _, err := s.Propose(gone, g, l.id(), make([]byte, 9)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
	first := make(chan error, 1)
	go func() {
		_, _, err := s.Propose(gone, g, l.id(), make([]byte, 8))
		first <- err
	}()
	<-s.wake // the first proposal waits
	if _, _, err := s.Propose(gone, g, l.id(), make([]byte, 8)); !errors.Is(err, ErrOverloaded) {
		t.Errorf("second proposal: %v, want ErrOverloaded", err)
	}
	cancel()
	if err := <-first; !errors.Is(err, ErrOutcomeUnknown) || !errors.Is(err, context.Canceled) {
		t.Errorf("abandoned proposal: %v", err)
	}
	s.Stop()
	if _, _, err := s.Propose(t.Context(), g, l.id(), make([]byte, 8)); !errors.Is(err, ErrStopped) {
		t.Errorf("after Stop: %v, want ErrStopped", err)
	}
}

func TestSoloRunsOnItsOwnGoroutines(t *testing.T) {
	l := newLab(t, 15, 1)
	n := soloNode(t, l)
	s := openSolo(t, n)
	s.Start()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for i := range 100 {
		if _, _, err := s.Propose(ctx, shard.Meta, l.id(), binary.BigEndian.AppendUint64(nil, 1)); err != nil {
			t.Fatalf("proposal %d: %v", i, err)
		}
	}
	index, err := s.Barrier(ctx, shard.Meta)
	if err != nil || index < 101 {
		t.Fatalf("Barrier = %d, %v; want at least 101", index, err)
	}
	s.Stop()
}
