// Package bareraft is what etcd Raft costs by itself: three replicas of one group in memory, without a disk, a network,
// a codec or an engine around them. What the engine adds is judged beside it, and so is the machine, since the same work
// was measured on another day.
//
// A Cluster is owned by one goroutine. Only benchmarks use it.
package bareraft

import (
	"errors"
	"fmt"

	"go.etcd.io/raft/v3"
	raftpb "go.etcd.io/raft/v3/raftpb"
)

const (
	replicas = 3
	// keepEntries bounds the log in memory: so many entries behind the applied ones it is cut off.
	keepEntries = 1024
	// maxExchanges bounds the rounds of messages until a batch is committed everywhere; four are enough.
	maxExchanges = 64
)

// Cluster is three replicas of one group; the first leads.
type Cluster struct {
	nodes   [replicas]*raft.RawNode
	stores  [replicas]*raft.MemoryStorage
	applied [replicas]uint64
	entries [replicas]int // with data, applied so far
	kept    [replicas]uint64
	mail    []*raftpb.Message
}

// New makes a cluster whose first replica leads.
func New() (*Cluster, error) {
	c := &Cluster{}
	voters := []uint64{1, 2, 3}
	for i := range c.nodes {
		c.stores[i] = raft.NewMemoryStorage()
		if err := c.stores[i].ApplySnapshot(&raftpb.Snapshot{Metadata: &raftpb.SnapshotMetadata{
			ConfState: &raftpb.ConfState{Voters: voters}, Index: new(uint64(1)), Term: new(uint64(1)),
		}}); err != nil {
			return nil, fmt.Errorf("found replica %d: %w", i+1, err)
		}
		c.applied[i], c.kept[i] = 1, 1
		node, err := raft.NewRawNode(&raft.Config{
			ID: voters[i], ElectionTick: 10, HeartbeatTick: 1, Storage: c.stores[i], Applied: 1,
			MaxSizePerMsg: 1 << 20, MaxInflightMsgs: 256, Logger: quiet{},
		})
		if err != nil {
			return nil, fmt.Errorf("start replica %d: %w", i+1, err)
		}
		c.nodes[i] = node
	}
	if err := c.nodes[0].Campaign(); err != nil {
		return nil, fmt.Errorf("elect a leader: %w", err)
	}
	if err := c.exchange(func() bool { return c.nodes[0].BasicStatus().RaftState == raft.StateLeader }); err != nil {
		return nil, fmt.Errorf("elect a leader: %w", err)
	}
	return c, nil
}

// Commit proposes count commands, each in a message of its own, and returns once all three replicas have applied them.
func (c *Cluster) Commit(command []byte, count int) error {
	want := c.entries[0] + count
	for range count {
		if err := c.nodes[0].Propose(command); err != nil {
			return fmt.Errorf("propose: %w", err)
		}
	}
	return c.exchange(func() bool {
		for _, n := range c.entries {
			if n < want {
				return false
			}
		}
		return true
	})
}

// Applied is how many commands a replica has applied.
func (c *Cluster) Applied(replica int) int { return c.entries[replica] }

// exchange lets the replicas write, apply and talk until done.
func (c *Cluster) exchange(done func() bool) error {
	for range maxExchanges {
		for i := range c.nodes {
			if err := c.take(i); err != nil {
				return err
			}
		}
		if done() {
			return nil
		}
		mail := c.mail
		c.mail = nil
		for _, m := range mail {
			if err := c.nodes[m.GetTo()-1].Step(m); err != nil {
				return fmt.Errorf("step %v: %w", m.GetType(), err)
			}
		}
	}
	return errors.New("the replicas come to no end")
}

// take does what a replica wants done.
func (c *Cluster) take(i int) error {
	node, store := c.nodes[i], c.stores[i]
	if !node.HasReady() {
		return nil
	}
	rd := node.Ready()
	if rd.HardState != nil {
		if err := store.SetHardState(rd.HardState); err != nil {
			return fmt.Errorf("keep a hard state: %w", err)
		}
	}
	if err := store.Append(rd.Entries); err != nil {
		return fmt.Errorf("append: %w", err)
	}
	for _, e := range rd.CommittedEntries {
		if len(e.GetData()) > 0 {
			c.entries[i]++
		}
		c.applied[i] = e.GetIndex()
	}
	c.mail = append(c.mail, rd.Messages...)
	node.Advance(rd)
	if c.applied[i]-c.kept[i] < 2*keepEntries {
		return nil
	}
	c.kept[i] = c.applied[i] - keepEntries
	if err := store.Compact(c.kept[i]); err != nil {
		return fmt.Errorf("cut the log: %w", err)
	}
	return nil
}

// quiet is a raft.Logger that says nothing but what ends the program.
type quiet struct{}

func (quiet) Debug(...any)            {}
func (quiet) Debugf(string, ...any)   {}
func (quiet) Error(...any)            {}
func (quiet) Errorf(string, ...any)   {}
func (quiet) Info(...any)             {}
func (quiet) Infof(string, ...any)    {}
func (quiet) Warning(...any)          {}
func (quiet) Warningf(string, ...any) {}
func (quiet) Fatal(v ...any)          { panic(fmt.Sprint(v...)) }
func (quiet) Fatalf(f string, v ...any) {
	panic(fmt.Sprintf(f, v...))
}
func (quiet) Panic(v ...any) { panic(fmt.Sprint(v...)) }
func (quiet) Panicf(f string, v ...any) {
	panic(fmt.Sprintf(f, v...))
}
