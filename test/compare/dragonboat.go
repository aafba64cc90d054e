package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/lni/dragonboat/v4"
	"github.com/lni/dragonboat/v4/client"
	"github.com/lni/dragonboat/v4/config"
	"github.com/lni/dragonboat/v4/logger"
	"github.com/lni/dragonboat/v4/statemachine"
)

// defaultWorkers is how many step, commit and apply workers and log stores dragonboat has by itself.
const defaultWorkers = 16

// Election timeouts are 500 to 1000 ms, as those of kalamdb. Heartbeats come every 200 ms: ours come every 250, and dragonboat wants fewer than half of
// the shortest election timeout between them.
const (
	tick        = 50 // milliseconds
	electionMin = 10 // ticks; the longest is twice that
	heartbeat   = 4  // ticks
)

// dragonboatNode is one host of dragonboat with a replica of every group.
type dragonboatNode struct {
	cfg      workerConfig
	host     *dragonboat.NodeHost
	sessions map[uint64]*client.Session
	counters map[uint64]*counter
}

func openDragonboat(_ context.Context, cfg workerConfig) (engine, error) {
	for _, name := range []string{"raft", "rsm", "transport", "dragonboat", "logdb", "pebblekv", "config", "settings", "server", "registry", "LogDB"} {
		logger.GetLogger(name).SetLevel(logger.ERROR)
	}
	host, err := dragonboat.NewNodeHost(hostConfig(cfg))
	if err != nil {
		return nil, fmt.Errorf("open the host: %w", err)
	}
	n := &dragonboatNode{cfg: cfg, host: host, sessions: make(map[uint64]*client.Session), counters: make(map[uint64]*counter)}
	for group := uint64(1); group <= cfg.Groups; group++ {
		n.counters[group] = &counter{}
	}
	create := func(group, _ uint64) statemachine.IStateMachine { return n.counters[group] }
	for group := uint64(1); group <= cfg.Groups; group++ {
		err := host.StartReplica(cfg.Addresses, false, create, config.Config{
			ReplicaID: cfg.Replica, ShardID: group, ElectionRTT: electionMin, HeartbeatRTT: heartbeat, CheckQuorum: true, PreVote: true,
		})
		if err != nil {
			host.Close()
			return nil, fmt.Errorf("start group %d: %w", group, err)
		}
		n.sessions[group] = host.GetNoOPSession(group)
	}
	return n, nil
}

func hostConfig(cfg workerConfig) config.NodeHostConfig {
	workers := config.GetDefaultEngineConfig()
	if cfg.Workers != defaultWorkers {
		workers.ExecShards, workers.CommitShards, workers.ApplyShards = cfg.Workers, cfg.Workers, cfg.Workers
	}
	return config.NodeHostConfig{
		NodeHostDir: cfg.Dir, RTTMillisecond: tick, RaftAddress: cfg.Addresses[cfg.Replica],
		Expert: config.ExpertConfig{Engine: workers, LogDB: logStores(cfg.Workers)},
	}
}

// logStores is the configuration of the log. A store keeps some files, each as large from its first byte as the largest buffer: with the
// default of 128 MiB, 16 of them on three nodes take more than 20 GB. Buffers begin with 256 KiB and double, whatever the largest; 16 stores have
// 16 MiB, to which none comes in three seconds, so that they flush as they would with the default.
func logStores(workers uint64) config.LogDBConfig {
	if workers == defaultWorkers {
		return config.GetSmallMemLogDBConfig()
	}
	logs := config.GetDefaultLogDBConfig()
	logs.Shards = workers
	return logs
}

// home is the replica that should lead a group.
func home(group uint64) uint64 { return group%nodes + 1 }

// settle implements engine: dragonboat itself does not spread leaderships.
func (n *dragonboatNode) settle() {
	for group := uint64(1); group <= n.cfg.Groups; group++ {
		if home(group) != n.cfg.Replica && n.leads(group) {
			// Refused while another transfer runs.
			_ = n.host.RequestLeaderTransfer(group, home(group))
		}
	}
}

func (n *dragonboatNode) leads(group uint64) bool {
	leader, _, known, err := n.host.GetLeaderID(group)
	return err == nil && known && leader == n.cfg.Replica
}

// led implements engine.
func (n *dragonboatNode) led() []uint64 {
	var led []uint64
	for group := uint64(1); group <= n.cfg.Groups; group++ {
		if home(group) == n.cfg.Replica && n.leads(group) {
			led = append(led, group)
		}
	}
	return led
}

// propose implements engine.
func (n *dragonboatNode) propose(_ context.Context, _ int, group uint64, payload []byte) (known bool, err error) {
	state, err := n.host.Propose(n.sessions[group], payload, patience)
	if err != nil {
		return false, fmt.Errorf("propose to group %d: %w", group, err)
	}
	result := <-state.AppliedC()
	state.Release()
	switch {
	case result.Completed():
		return true, nil
	case result.Timeout(), result.Dropped(): // the leader moved
		return false, nil
	}
	return false, fmt.Errorf("group %d answers %v", group, result)
}

// applied implements engine.
func (n *dragonboatNode) applied() (int, error) {
	sum := uint64(0)
	for _, c := range n.counters {
		sum += c.count.Load()
	}
	return int(sum), nil
}

// close implements engine.
func (n *dragonboatNode) close() error {
	n.host.Close()
	return nil
}

// counter is the state machine of a group.
type counter struct{ count atomic.Uint64 }

// Update implements statemachine.IStateMachine.
func (c *counter) Update(statemachine.Entry) (statemachine.Result, error) {
	return statemachine.Result{Value: c.count.Add(1)}, nil
}

// Lookup implements statemachine.IStateMachine.
func (c *counter) Lookup(any) (any, error) { return c.count.Load(), nil }

// SaveSnapshot implements statemachine.IStateMachine.
func (c *counter) SaveSnapshot(w io.Writer, _ statemachine.ISnapshotFileCollection, _ <-chan struct{}) error {
	return binary.Write(w, binary.BigEndian, c.count.Load())
}

// RecoverFromSnapshot implements statemachine.IStateMachine.
func (c *counter) RecoverFromSnapshot(r io.Reader, _ []statemachine.SnapshotFile, _ <-chan struct{}) error {
	var count uint64
	err := binary.Read(r, binary.BigEndian, &count)
	c.count.Store(count)
	return err
}

// Close implements statemachine.IStateMachine.
func (c *counter) Close() error { return nil }
