package multiraft

import (
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/shard"
)

// addsNothing is Config.FreesSpace of the lab: a proposal of zero needs no room.
func addsNothing(data []byte) bool { return binary.BigEndian.Uint64(data) == 0 }

func amount(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

// bulk is a proposal of one that takes a good part of a segment.
func bulk() []byte { return append(amount(1), make([]byte, 20<<10)...) }

// TestNearlyFullDiskRefusesOnlyWhatAdds takes the room from every node: adding is refused with ErrDiskFull, everything
// else goes on, a new member included, and adding too as soon as there is room.
func TestNearlyFullDiskRefusesOnlyWhatAdds(t *testing.T) {
	l := newLab(t, 31, 1)
	l.minFree = 1 << 20
	l.startThree()
	g := shard.UserShard(0)
	setFree := func(free int64) {
		for _, n := range l.nodes {
			n.free = free
		}
	}
	setFree(l.minFree)
	l.tick()
	// The floor itself is enough as long as it was not passed.
	if _, err := l.leader(g).manager.Submit(g, l.id(), amount(5)); !errors.Is(err, ErrDiskFull) {
		t.Fatalf("with no room since the start: %v", err)
	}
	setFree(l.minFree + l.minFree/8)
	l.tick()
	wantSubmitted(t, l, g, amount(5), 5)

	setFree(l.minFree - 1)
	l.tick()
	if _, err := l.leader(g).manager.Submit(g, l.id(), amount(5)); !errors.Is(err, ErrDiskFull) || errors.Is(err, ErrOverloaded) {
		t.Fatalf("below the floor: %v", err)
	}
	if refused := l.leader(g).manager.Refusals().DiskFull; refused == 0 {
		t.Error("the refusal was not counted")
	}
	wantSubmitted(t, l, g, amount(0), 5)
	for _, n := range l.nodes {
		read := n.read(g)
		l.until(100, "a read", func() bool { return len(read.done) > 0 })
		if answer := <-read.done; answer.err != nil {
			t.Errorf("replica %d: %v", n.replica, answer.err)
		}
	}
	l.add(4)
	l.until(3000, "four voters everywhere", l.settled)
	setFree(2 * l.minFree)
	l.tick()
	wantSubmitted(t, l, g, amount(2), 7)
}

// TestLeadershipsLeaveATightDisk fills the disk of a node almost: it hands over all that it leads, meta included, before it
// refuses anything, is handed nothing meanwhile, and leads again when there is room. When the disks of all nodes are so, the
// leaderships stay spread.
func TestLeadershipsLeaveATightDisk(t *testing.T) {
	l := newLab(t, 35, 6)
	l.minFree = 1 << 20
	l.startThree()
	roomy, tight := 2*l.minFree, l.minFree+l.minFree/8
	setFree := func(free int64, nodes ...*labNode) {
		for _, n := range nodes {
			n.free = free
		}
	}
	all := []*labNode{l.nodes[1], l.nodes[2], l.nodes[3]}
	setFree(roomy, all...)
	l.until(1000, "leaders spread over all nodes", func() bool { return l.leads(all...) })
	full := l.leader(shard.Meta)
	setFree(tight, full)
	l.until(200, "the node leads nothing", func() bool { return full.manager.LeaderCount() == 0 && l.leader(shard.Meta) != nil })
	if full.manager.DiskFull() || !full.manager.DiskTight() || full.manager.Refusals().DiskFull != 0 {
		t.Error("the node refuses what adds data while there is room")
	}
	for range 3 * balanceRest {
		l.tick()
		if n := full.manager.LeaderCount(); n > 0 {
			t.Fatalf("the node is handed %d leaderships", n)
		}
	}
	wantSubmitted(t, l, shard.UserShard(0), amount(3), 3)
	setFree(roomy, full)
	l.until(1000, "the node leads again", func() bool { return full.manager.LeaderCount() > 0 })

	setFree(tight, all...)
	for range 3 * balanceRest {
		l.tick()
	}
	if !l.leads(all...) {
		t.Errorf("with no room anywhere not every node leads: %s", l.describe())
	}
	// Below the floor a hold by an operator does not count either.
	setFree(roomy, all...)
	l.until(1000, "leaders spread over all nodes", func() bool { return l.leads(all...) })
	g := shard.UserShard(0)
	full = l.leader(g)
	full.manager.Hold(g, HoldFor)
	setFree(0, full)
	l.until(200, "the node leads nothing", func() bool { return full.manager.LeaderCount() == 0 && l.leader(g) != nil })
	wantSubmitted(t, l, g, amount(3), 6)
}

// leads reports whether each of some nodes leads a group.
func (l *lab) leads(nodes ...*labNode) bool {
	return !slices.ContainsFunc(nodes, func(n *labNode) bool { return n.manager.LeaderCount() == 0 })
}

// wantSubmitted proposes at the leader, past its admission, and wants the sum.
func wantSubmitted(t *testing.T, l *lab, g shard.GroupID, data []byte, want uint64) {
	t.Helper()
	s, err := l.leader(g).manager.Submit(g, l.id(), data)
	if err != nil {
		t.Fatal(err)
	}
	for range 200 {
		if result, _, done, err := s.Poll(); err != nil {
			t.Fatal(err)
		} else if done {
			if got := binary.BigEndian.Uint64(result); got != want {
				t.Errorf("the sum is %d, want %d", got, want)
			}
			return
		}
		l.tick()
	}
	t.Fatal("no result")
}

// TestLogWithoutRoomStandsStill lets the leader's log run out of segments: another replica leads within the election
// timeout, nothing acknowledged is lost, reads are refused instead of waiting, and when there is room the old leader
// goes on by itself.
func TestLogWithoutRoomStandsStill(t *testing.T) {
	l := newLab(t, 32, 1)
	l.startThree()
	g := shard.UserShard(0)
	full := l.leader(g)
	full.noRoom = true
	acknowledged := uint64(0)
	for !full.manager.workers[0].blocked {
		id := l.id()
		if acknowledged > 200 {
			t.Fatal("the log never runs out of room")
		}
		if sum, err := l.proposeAt(g, id, bulk()); err == nil {
			acknowledged = sum
		}
	}
	// The groups that sleep notice as well: a node that stands still sends no beats.
	l.until(3*2*defaultElectionTicks, "another leader of every group", func() bool {
		for _, id := range l.groups {
			led := false
			for _, n := range l.nodes {
				led = led || n != full && n.manager.groups[id].leading.Load()
			}
			if !led {
				return false
			}
		}
		return true
	})
	read := full.read(g)
	l.tick()
	if answer := <-read.done; !errors.Is(answer.err, ErrDiskFull) {
		t.Errorf("a read of the replica without room: %v", answer.err)
	}
	full.noRoom = false
	l.until(200, "everything is applied everywhere", func() bool {
		for _, n := range l.nodes {
			if n.sum(g) < acknowledged || n.sum(g) != full.sum(g) || n.manager.workers[0].blocked {
				return false
			}
		}
		return true
	})
	if sum, err := l.proposeAt(g, l.id(), amount(1)); err != nil || sum <= acknowledged {
		t.Errorf("afterwards: %d, %v; %d was acknowledged before", sum, err, acknowledged)
	}
}

// proposeAt proposes bytes at whichever node leads now and waits for a while.
func (l *lab) proposeAt(g shard.GroupID, id ident.RequestID, data []byte) (uint64, error) {
	n := l.leader(g)
	if n == nil {
		l.tick()
		return 0, errors.New("no leader")
	}
	w, err := n.submit(g, id, data)
	if err != nil {
		return 0, err
	}
	for range 60 {
		l.pump()
		select {
		case result := <-w.done:
			if result.err != nil {
				return 0, result.err
			}
			return binary.BigEndian.Uint64(result.data), nil
		default:
		}
		if n.manager.workers[0].blocked {
			return 0, ErrDiskFull
		}
		l.tick()
	}
	return 0, errors.New("no result")
}

// TestSoloWithoutRoomGoesOn lets the log of a standalone node run out of segments under a write, which ends well once
// there is room, and before the one that came after it.
func TestSoloWithoutRoomGoesOn(t *testing.T) {
	l := newLab(t, 33, 1)
	n := soloNode(t, l)
	s := openSolo(t, n)
	defer s.Stop()
	g := shard.UserShard(0)
	n.noRoom = true
	type answer struct {
		result []byte
		err    error
	}
	done := make(chan answer, 1)
	acknowledged := uint64(0)
	for s.held == nil {
		if acknowledged > 200 {
			t.Fatal("the log never runs out of room")
		}
		go func() {
			result, _, err := s.Propose(t.Context(), g, l.id(), bulk())
			done <- answer{result, err}
		}()
		<-s.wake
		if err := s.Pump(); err != nil {
			t.Fatal(err)
		}
		if s.held == nil {
			got := <-done
			if got.err != nil {
				t.Fatal(got.err)
			}
			acknowledged = binary.BigEndian.Uint64(got.result)
		}
	}
	select {
	case got := <-done:
		t.Fatalf("acknowledged without room: %+v", got)
	default:
	}
	n.noRoom = false
	s.Tick()
	if err := s.Pump(); err != nil {
		t.Fatal(err)
	}
	if got := <-done; got.err != nil || binary.BigEndian.Uint64(got.result) != acknowledged+1 {
		t.Errorf("the write that waited: %+v, want the sum %d", got, acknowledged+1)
	}
	if got := proposeSolo(t, s, g, l.id(), 5); got != acknowledged+6 {
		t.Errorf("the next write: %d, want %d", got, acknowledged+6)
	}
}

// TestSoloRefusesBelowTheFloor refuses what adds, and takes what does not.
func TestSoloRefusesBelowTheFloor(t *testing.T) {
	l := newLab(t, 34, 1)
	l.minFree = 1 << 20
	n := soloNode(t, l)
	s := openSolo(t, n)
	defer s.Stop()
	g := shard.UserShard(0)
	if _, _, err := s.Propose(t.Context(), g, l.id(), amount(1)); !errors.Is(err, ErrDiskFull) {
		t.Errorf("adding: %v", err)
	}
	if got := proposeSolo(t, s, g, l.id(), 0); got != 0 {
		t.Errorf("adding nothing gives %d", got)
	}
	n.free = 2 * l.minFree
	s.Tick()
	if got := proposeSolo(t, s, g, l.id(), 4); got != 4 {
		t.Errorf("with room again: %d", got)
	}
}
