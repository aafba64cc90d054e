package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"
)

const (
	// cachedEntries are kept in memory before the log. 512 is what its users take; a batch is to find room.
	cachedEntries = 4096
	// pooledConnections for each peer, as its documentation has it in its examples.
	pooledConnections = 3
	transportPatience = 10 * time.Second
)

// hashicorpNode is a replica of the one group that hashicorp/raft knows.
type hashicorpNode struct {
	raft      *raft.Raft
	log       io.Closer
	transport io.Closer
	counted   *countedBatches
}

// openHashicorp sets what its documentation says for throughput: BatchApplyCh, so that proposals that wait are appended together; MaxAppendEntries of them
// at most; a state machine that takes batches; a cache before the log; pipelining, which is on by default. Timeouts are its defaults. No snapshots.
func openHashicorp(_ context.Context, cfg workerConfig) (engine, error) {
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, err
	}
	log, err := wal.Open(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("open the log: %w", err)
	}
	cache, err := raft.NewLogCache(cachedEntries, log)
	if err != nil {
		return nil, err
	}
	address, err := net.ResolveTCPAddr("tcp", cfg.Addresses[cfg.Replica])
	if err != nil {
		return nil, err
	}
	transport, err := raft.NewTCPTransport(address.String(), address, pooledConnections, transportPatience, io.Discard)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	settings := raft.DefaultConfig()
	settings.LocalID = serverID(cfg.Replica)
	settings.Logger = hclog.New(&hclog.LoggerOptions{Level: hclog.Error, Output: os.Stderr})
	settings.BatchApplyCh = true
	settings.MaxAppendEntries = cfg.AppendEntries
	settings.SnapshotThreshold = math.MaxUint64
	snapshots := raft.NewInmemSnapshotStore()
	var members raft.Configuration
	for id, address := range cfg.Addresses {
		members.Servers = append(members.Servers, raft.Server{ID: serverID(id), Address: raft.ServerAddress(address)})
	}
	if err = raft.BootstrapCluster(settings, cache, log, snapshots, transport, members); err != nil {
		return nil, fmt.Errorf("found the group: %w", err)
	}
	n := &hashicorpNode{log: log, transport: transport, counted: &countedBatches{}}
	if n.raft, err = raft.NewRaft(settings, n.counted, cache, log, snapshots, transport); err != nil {
		return nil, fmt.Errorf("start the group: %w", err)
	}
	return n, nil
}

func serverID(replica uint64) raft.ServerID { return raft.ServerID(strconv.FormatUint(replica, 10)) }

// settle implements engine. Whoever leads the group may: the clients go where it is led.
func (n *hashicorpNode) settle() {}

// led implements engine.
func (n *hashicorpNode) led() []uint64 {
	if n.raft.State() != raft.Leader {
		return nil
	}
	return []uint64{1}
}

// propose implements engine. What is proposed belongs to the library from then on: its cache hands it to followers that come later.
func (n *hashicorpNode) propose(_ context.Context, _ int, _ uint64, payload []byte) (known bool, err error) {
	err = n.raft.Apply(slices.Clone(payload), patience).Error()
	if errors.Is(err, raft.ErrLeadershipLost) || errors.Is(err, raft.ErrNotLeader) || errors.Is(err, raft.ErrEnqueueTimeout) {
		return false, nil
	}
	return err == nil, err
}

// applied implements engine.
func (n *hashicorpNode) applied() (int, error) { return int(n.counted.count.Load()), nil }

// close implements engine.
func (n *hashicorpNode) close() error {
	return errors.Join(n.raft.Shutdown().Error(), n.transport.Close(), n.log.Close())
}

// countedBatches is a state machine that counts.
type countedBatches struct{ count atomic.Int64 }

// ApplyBatch implements raft.BatchingFSM.
func (c *countedBatches) ApplyBatch(logs []*raft.Log) []any {
	results := make([]any, len(logs))
	for i, l := range logs {
		if l.Type == raft.LogCommand {
			results[i] = c.count.Add(1)
		}
	}
	return results
}

// Apply implements raft.FSM.
func (c *countedBatches) Apply(*raft.Log) any { return c.count.Add(1) }

// Snapshot implements raft.FSM.
func (c *countedBatches) Snapshot() (raft.FSMSnapshot, error) {
	return nil, errors.New("no snapshot is taken here")
}

// Restore implements raft.FSM.
func (c *countedBatches) Restore(from io.ReadCloser) error { return from.Close() }
