package multiraft

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage"
)

// Config describes one node's replication engine. Zero values of limits mean the default named beside them.
type Config struct {
	Replica       ident.ReplicaID                  // this data directory's Raft id, not zero
	Groups        []shard.GroupID                  // all groups, meta first; or the node-local one alone
	Engine        *storage.Engine                  // where state is kept
	Log           Log                              // where entries are kept
	StateMachines func(shard.GroupID) StateMachine // called once per group
	Clock         clock.Clock                      // timers of the driver
	Logger        *slog.Logger                     // events of the engine
	StagingDir    string                           // directory for arriving snapshots; emptied at start

	// Members lists what the meta group records, for the reconciler; nil keeps the membership as it is.
	Members func() []Member

	// Registerer takes the engine's metrics; nil leaves them unregistered.
	Registerer prometheus.Registerer

	// NoBalance leaves leaderships where elections put them.
	NoBalance bool

	TickInterval     time.Duration // one tick of Raft time; default 50 ms
	HeartbeatTicks   int           // ticks between heartbeats; default 5
	ElectionTicks    int           // shortest election timeout in ticks, the longest is one less than twice that; default 10
	MaxElectionTicks int           // ticks of a leader's silence after which every voter that is heard of campaigns, whatever its place in line; default twice ElectionTicks
	QuietTicks       int           // ticks without work after which a group may fall asleep; default 20, negative is never
	Workers          int           // goroutines that step groups; default 1
	LogWrites        int           // writes of the log that a worker may have under way, for slow disks; default 1
	MaxProposal      int           // bytes of one proposal; default 4 MiB, never more than the log's largest entry
	MaxWaiting       int           // proposals of one group waiting for a result; default 8192, then ErrOverloaded
	MaxWaitingBytes  int64         // bytes of the same; default 64 MiB, then ErrOverloaded
	MaxFollowerLag   uint64        // entries a live follower may be behind; default 50000, then ErrOverloaded
	MaxFollowerBytes uint64        // bytes of the same; default four times the retention of the group, at least 64 MiB
	MaxInbox         int           // Raft messages of one worker not yet stepped; default 65536, then the newest are dropped
	RetainEntries    uint64        // entries kept behind the applied index for slow followers; default 10000
	RetainBytes      uint64        // bytes of the same per group; default 64 MiB; whichever is reached first
	// Retain overrides RetainEntries and RetainBytes for a class of groups; what is zero in it is not overridden.
	Retain map[shard.Class]Retention

	SnapshotSends   int // snapshots sent at once; default 2
	SnapshotReceive int // snapshots received at once; default 4; more wait

	SnapshotBytesPerSecond int64 // what this node sends of snapshots, all together, compressed; 0 is without limit
	VerifyInstalled        bool  // read an installed group back from the store; its group and all others wait meanwhile

	// MinFreeBytes is what the disk must have free for proposals that add data; below, they end with ErrDiskFull.
	// Zero is without limit.
	MinFreeBytes int64
	// FreeBytes asks the file system how much is free; nil does not know. It must not wait for the disk.
	FreeBytes func() (int64, error)
	// DiskHangs reports whether a call of the disk has been under way for so long that the node is better not a leader. It must not wait for
	// the disk, and is asked once a tick; nil does not know.
	DiskHangs func() bool
	// FreesSpace reports whether a proposal makes room, or is needed to keep the cluster going, so that it may use what is
	// kept free; nil says no to all. It is asked only while the disk is nearly full.
	FreesSpace func(data []byte) bool

	// Understands says why a command that a peer forwards could not be applied, nil when it could. A command that is in the
	// log and not understood ends every replica, so it is asked before. Nil understands everything.
	Understands func(data []byte) error

	// Packs reports whether every node of the cluster reads log entries that hold several commands, so that a leader may
	// write them; once true it stays so. It is asked for each pass over a group that has more than one proposal. Nil says no.
	Packs func() bool

	SnapshotChunkBytes int    // of pairs in a chunk; zero is the default of package snapshot
	SnapshotFileBytes  uint64 // of one file of a received snapshot, likewise
}

// Retention is how much of a group's log is kept for followers that were away; whichever bound is reached first holds.
type Retention struct {
	Entries, Bytes uint64
}

// retain is the retention of a group.
func (c *Config) retain(id shard.GroupID) Retention {
	kept := c.Retain[id.Class()]
	setDefault(&kept.Entries, c.RetainEntries)
	setDefault(&kept.Bytes, c.RetainBytes)
	return kept
}

// followerBytes is how many bytes of a group's log a live follower may lack.
func (c *Config) followerBytes(id shard.GroupID) uint64 {
	if c.MaxFollowerBytes != 0 {
		return c.MaxFollowerBytes
	}
	return max(4*c.retain(id).Bytes, maxInflightBytes) // so much is on its way to a follower that is not slow
}

// electionTicks is the shortest election timeout of a group. The meta group is half as patient again: every node
// depends on it, so a short silence should not make it change hands.
func (c *Config) electionTicks(id shard.GroupID) int {
	if id == shard.Meta {
		return c.ElectionTicks + c.ElectionTicks/2
	}
	return c.ElectionTicks
}

// Bounds of one Raft instance. They follow the measured engine design: messages of up to 1 MiB, a window
// of 256 messages, and a cap on entries that are applied at once.
const (
	maxSizePerMessage      = 1 << 20
	maxInflightMessages    = 256
	maxInflightBytes       = 64 << 20
	maxCommittedPerReady   = 4 << 20
	maxUncommittedBytes    = 128 << 20
	maxProposalsPerPass    = 4096
	maxReadBatches         = 8
	maxLogWrites           = 8
	defaultTickInterval    = 50 * time.Millisecond
	defaultHeartbeatTicks  = 5
	defaultElectionTicks   = 10
	defaultQuietTicks      = 20
	defaultMaxProposal     = 4 << 20
	defaultMaxWaiting      = 8192
	defaultMaxWaitingBytes = 64 << 20
	defaultMaxInbox        = 1 << 16
	defaultMaxFollowerLag  = 50_000
	defaultRetainEntries   = 10_000
	defaultRetainBytes     = 64 << 20
)

// withDefaults fills what was left zero.
func (c Config) withDefaults() Config {
	setDefault(&c.TickInterval, defaultTickInterval)
	setDefault(&c.HeartbeatTicks, defaultHeartbeatTicks)
	setDefault(&c.ElectionTicks, defaultElectionTicks)
	setDefault(&c.MaxElectionTicks, 2*c.ElectionTicks)
	setDefault(&c.QuietTicks, defaultQuietTicks)
	setDefault(&c.Workers, 1)
	setDefault(&c.LogWrites, 1)
	setDefault(&c.MaxProposal, defaultMaxProposal)
	setDefault(&c.MaxWaiting, defaultMaxWaiting)
	setDefault(&c.MaxWaitingBytes, defaultMaxWaitingBytes)
	setDefault(&c.MaxInbox, defaultMaxInbox)
	setDefault(&c.MaxFollowerLag, defaultMaxFollowerLag)
	setDefault(&c.RetainEntries, defaultRetainEntries)
	setDefault(&c.RetainBytes, defaultRetainBytes)
	setDefault(&c.SnapshotSends, 2)
	setDefault(&c.SnapshotReceive, 4)
	if c.Log != nil {
		// What the log cannot hold must be refused before it is an entry: no replica could go past it.
		c.MaxProposal = min(c.MaxProposal, int(c.Log.MaxEntryBytes())-envelopeBytes)
	}
	return c
}

// LargestCommand is how many bytes a command may have so that a log takes it as one entry.
func LargestCommand(log interface{ MaxEntryBytes() int64 }) int {
	return min(defaultMaxProposal, int(log.MaxEntryBytes())-envelopeBytes)
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Validate reports the first field that cannot work.
func (c Config) Validate() error {
	switch {
	case c.Replica == 0:
		return errors.New("multiraft: Replica is zero")
	case len(c.Groups) == 0 || c.Groups[0] != shard.Meta && (len(c.Groups) > 1 || c.Groups[0] != shard.Local):
		return errors.New("multiraft: Groups must start with the meta group")
	case c.Engine == nil || c.Log == nil || c.StateMachines == nil || c.Clock == nil || c.Logger == nil:
		return errors.New("multiraft: Engine, Log, StateMachines, Clock and Logger are required")
	case c.HeartbeatTicks < 1 || c.ElectionTicks <= c.HeartbeatTicks:
		return fmt.Errorf("multiraft: ElectionTicks = %d: want more than HeartbeatTicks = %d",
			c.ElectionTicks, c.HeartbeatTicks)
	case c.MaxElectionTicks <= c.ElectionTicks:
		return fmt.Errorf("multiraft: MaxElectionTicks = %d: want more than ElectionTicks = %d", c.MaxElectionTicks, c.ElectionTicks)
	case c.SnapshotBytesPerSecond < 0:
		return fmt.Errorf("multiraft: SnapshotBytesPerSecond = %d: want zero or more", c.SnapshotBytesPerSecond)
	case c.LogWrites < 1 || c.LogWrites > maxLogWrites:
		return fmt.Errorf("multiraft: LogWrites = %d: want 1 to %d", c.LogWrites, maxLogWrites)
	case c.Workers < 1:
		return fmt.Errorf("multiraft: Workers = %d: want at least 1", c.Workers)
	}
	return nil
}
