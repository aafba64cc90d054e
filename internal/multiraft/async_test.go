package multiraft

import (
	"encoding/binary"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/shard"
)

// TestTruncationWaitsForRaft cuts the log of a group whose newest entry waits for the meta group. The entries
// before it are applied and durable, but Raft has not heard so and would still read them in an election.
func TestTruncationWaitsForRaft(t *testing.T) {
	l := newLab(t, 7, 2)
	l.retain = 5
	n := l.add(1)
	l.until(100, "all groups have a leader", l.settled)
	group := shard.UserShard(0)
	for range 30 {
		if _, err := n.manager.Submit(group, l.id(), binary.BigEndian.AppendUint64(nil, 1)); err != nil {
			t.Fatal(err)
		}
	}
	waits := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, 1), 1000)
	late, err := n.manager.Submit(group, l.id(), waits)
	if err != nil {
		t.Fatal(err)
	}
	l.pump()
	if got := n.sum(group); got != 30 {
		t.Fatalf("the sum is %d, want that of the entries before the one that waits", got)
	}
	if _, _, done, _ := late.Poll(); done {
		t.Fatal("the entry that waits has a result")
	}
	if err := n.store.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := n.manager.Maintain(); err != nil {
		t.Fatal(err)
	}
	for range truncateEvery {
		l.tick()
	}
	applied := n.manager.groups[group].node.BasicStatus().Applied
	if first := n.log.Group(group).FirstIndex(); first > applied+1 {
		t.Fatalf("the log starts at %d, but Raft has heard only that %d is applied", first, applied)
	}
}

func TestReadingWaitsForTheAppliedIndex(t *testing.T) {
	l := newLab(t, 8, 2)
	n := l.add(1)
	l.until(100, "all groups have a leader", l.settled)
	group := shard.UserShard(1)
	if _, err := n.manager.BeginRead(shard.GroupID(5)); err == nil {
		t.Error("a read of an unknown group began")
	}
	if _, err := n.manager.Submit(shard.GroupID(5), l.id(), nil); err == nil {
		t.Error("a proposal to an unknown group was taken")
	}
	submitted, err := n.manager.Submit(group, l.id(), binary.BigEndian.AppendUint64(nil, 3))
	if err != nil {
		t.Fatal(err)
	}
	l.pump()
	_, index, done, err := submitted.Poll()
	if !done || err != nil {
		t.Fatalf("Poll = %v, %v; want a result", done, err)
	}
	reading, err := n.manager.BeginRead(group)
	if err != nil {
		t.Fatal(err)
	}
	if _, done, _ := reading.Poll(); done {
		t.Fatal("a read was answered before anything moved")
	}
	l.pump()
	if at, done, err := reading.Poll(); !done || err != nil || at < index {
		t.Fatalf("Poll = %d, %v, %v; want at least %d", at, done, err, index)
	}
	seen := n.manager.Glance(group)
	if !seen.Leading || seen.Applied < index || !seen.Voter || n.manager.Glance(5).Term != 0 {
		t.Errorf("Glance = %+v", seen)
	}
}
