package multiraft

import (
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/shard"
)

// led reports whether a running node leads the group.
func (l *lab) led(g shard.GroupID) bool {
	for _, n := range l.nodes {
		if n.manager != nil && !n.paused && n.manager.groups[g].leading.Load() {
			return true
		}
	}
	return false
}

// succeeds fails the test unless every group has a leader within the longest election timeout that a user configures,
// which for the meta group is half as long again, less the part of a heartbeat interval that has passed already.
func (l *lab) succeeds(seed uint64, what string) {
	l.t.Helper()
	spacing := defaultElectionTicks / 5
	for _, g := range l.groups {
		least := defaultElectionTicks
		if g == shard.Meta {
			least += defaultElectionTicks / 2
		}
		// The second in line may have to do it, or a vote that Raft's own timeouts split is repeated.
		l.wants(g, least+1+spacing+2, seed, what)
	}
}

// wants ticks until the group is led, at most until so many ticks after since.
func (l *lab) wants(g shard.GroupID, ticks int, seed uint64, what string) {
	l.t.Helper()
	for !l.led(g) {
		if l.sinceFault >= ticks {
			l.t.Fatalf("seed %d: %d ticks after %s nobody leads %v\n%s", seed, l.sinceFault, what, g, l.describe())
		}
		l.sinceFault++
		l.tick()
	}
}

// TestSuccessionIsQuick takes away the leader of the meta group, in all ways, from groups that are awake and from groups
// that sleep. Left to Raft's own timeouts, groups would be without leaders for up to twice as long.
func TestSuccessionIsQuick(t *testing.T) {
	for seed := range uint64(6) {
		for _, sleeping := range []bool{false, true} {
			for _, kind := range []string{"crash", "pause", "partition"} {
				l := awakeLab(t, 100+seed, sleeping)
				victim := l.leader(shard.Meta)
				l.sinceFault = 0
				switch kind {
				case "crash":
					victim.crash()
					delete(l.nodes, victim.replica)
				case "pause":
					victim.paused = true
				case "partition":
					victim.paused = true // to led, it does not lead
					for id := ident.ReplicaID(1); id <= 3; id++ {
						if id != victim.replica {
							l.network.Partition(address(victim.replica), address(id))
						}
					}
				}
				l.succeeds(seed, kind)
			}
		}
	}
}

// awakeLab is a cluster of three in which groups never sleep, or all do.
func awakeLab(t *testing.T, seed uint64, sleeping bool) *lab {
	t.Helper()
	if sleeping {
		return sleepingLab(t, seed)
	}
	l := newLab(t, seed, 4)
	l.quietTicks = -1
	for id := ident.ReplicaID(1); id <= 3; id++ {
		l.add(id)
	}
	rested := 0
	l.until(3000, "three voters everywhere, and the balancer rests", func() bool {
		rested++
		return l.settled() && rested > 300
	})
	return l
}

// TestSplitVoteIsRepeated lets both survivors campaign in the same moment: each votes for itself.
func TestSplitVoteIsRepeated(t *testing.T) {
	for seed := range uint64(5) {
		l := awakeLab(t, 200+seed, false)
		g := l.groups[1]
		victim := l.leader(g)
		victim.paused = true
		for range defaultElectionTicks - 1 {
			l.tick()
		}
		for _, n := range l.nodes {
			if n != victim {
				group := n.manager.groups[g]
				for range 2 * defaultElectionTicks { // until the lease of the old leader is surely over
					group.node.Tick()
				}
				if err := group.node.Campaign(); err != nil {
					t.Fatal(err)
				}
				group.worker.mark(group)
			}
		}
		l.pump()
		if l.led(g) {
			t.Fatalf("seed %d: the vote was not split", seed)
		}
		l.sinceFault = 0
		l.wants(g, defaultElectionTicks/5*2+1, seed, "a split vote")
	}
}

// TestRetrialsEnd: a replica without a quorum does not campaign all the time.
func TestRetrialsEnd(t *testing.T) {
	l := awakeLab(t, 300, false)
	g := l.groups[1]
	for _, n := range l.nodes {
		n.paused = n != l.nodes[1]
	}
	group := l.nodes[1].manager.groups[g]
	campaigns, last := 0, 0
	for range 20 * defaultElectionTicks {
		l.tick()
		if group.succession.stood != last {
			campaigns, last = campaigns+1, group.succession.stood
		}
	}
	if group.succession.retrials > maxRetrials || campaigns > 2+maxRetrials {
		t.Errorf("%d campaigns were noted without a quorum, %d of them early", campaigns, group.succession.retrials)
	}
	for _, n := range l.nodes {
		n.paused = false
	}
	l.until(4*defaultElectionTicks, "every group has a leader again", func() bool {
		for _, g := range l.groups {
			if !l.led(g) {
				return false
			}
		}
		return true
	})
}

// TestNobodyWaitsForLongerThanTheLongestTimeout gives voters places far back in line: the longest election timeout bounds
// their waiting, half as long again in the meta group.
func TestNobodyWaitsForLongerThanTheLongestTimeout(t *testing.T) {
	cfg := Config{ElectionTicks: 10, MaxElectionTicks: 16}
	data, meta := &group{replica: &replica{id: shard.UserShard(0)}, place: 0}, &group{replica: &replica{id: shard.Meta}}
	for rank, want := range []int{0, 2, 4, 5, 5, 5} {
		if got := cfg.standAfter(rank, data); got != want {
			t.Errorf("at place %d a voter waits for %d ticks more, want %d", rank, got, want)
		}
	}
	if got := cfg.standAfter(100, meta); got != 8 {
		t.Errorf("in the meta group a voter waits for %d ticks more, want 8", got)
	}
}
