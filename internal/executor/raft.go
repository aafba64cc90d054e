package executor

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// Bounds of retrying. Between attempts the pause doubles from the first to the last, with jitter over its
// upper half, so that callers of a group without a leader do not come back together.
const (
	firstPause      = 5 * time.Millisecond
	lastPause       = 200 * time.Millisecond
	defaultPatience = 10 * time.Second
	overloadedRetry = 100 * time.Millisecond
	diskFullRetry   = time.Second
	firstAttempt    = 2 * time.Second // doubled after every attempt whose outcome is unknown
	maxHints        = 2
)

// Raft executes commands in a cluster: at this replica when it leads the group, else at the leader. An
// attempt that failed, or whose outcome is unknown, is repeated under the same request id until its
// patience or the caller's ends; the group's table of requests makes sure that it is applied once.
type Raft struct {
	stamp    stamper
	proposer Proposer
	peers    Peers
	clock    clock.Clock
	random   io.Reader
	patience time.Duration
	attempts clock.Limits // of first attempts, which share marks since they have one length
	waits    clock.Limits // of reads
	modes    Modes
	reads    Reads // of queries that do not ask for another level
	fresh    *freshness
	barriers [readLevels]atomic.Uint64      // by level
	spared   atomic.Uint64                  // of Bounded and Local, those that waited for nobody
	retries  [LastOutcome + 1]atomic.Uint64 // attempts that ended so, by outcome
	hints    atomic.Uint64
}

// Telemetry counts, since the start, how attempts to propose ended and how often a hint to a leader was followed.
type Telemetry struct {
	Attempts map[Outcome]uint64
	Hints    uint64
	Barriers map[ReadLevel]uint64 // before reads, by level
	Spared   uint64               // barriers that waited for nobody
}

// Telemetry reads the counters.
func (r *Raft) Telemetry() Telemetry {
	t := Telemetry{Attempts: make(map[Outcome]uint64, len(r.retries)), Hints: r.hints.Load()}
	for i := range r.retries {
		t.Attempts[Outcome(i)] = r.retries[i].Load()
	}
	t.Barriers, t.Spared = make(map[ReadLevel]uint64, readLevels), r.spared.Load()
	for i := range r.barriers {
		t.Barriers[ReadLevel(i)] = r.barriers[i].Load()
	}
	return t
}

// NewRaft makes the executor of a cluster node. Random feeds request ids and jitter; patience
// bounds every request and every barrier, whatever its context allows; zero means 10 s. The history may be nil:
// then nothing is known of the past.
func NewRaft(
	proposer Proposer, peers Peers, wall clock.Clock, random io.Reader, patience time.Duration, modes Modes, history *History,
) *Raft {
	if patience <= 0 {
		patience = defaultPatience
	}
	return &Raft{
		proposer: proposer, peers: peers, clock: wall, random: random, patience: patience, modes: modes,
		stamp: stamper{clock: wall, random: random, proposer: proposer, history: history}, fresh: newFreshness(wall),
	}
}

// SetReads says how queries read that do not ask for a level; it is called before the first. Without it they are
// linearizable.
func (r *Raft) SetReads(reads Reads) { r.reads = reads }

// SetFormat says how to learn the format of logs that every member reads; it is called before the first command. Without it that is
// the first format.
func (r *Raft) SetFormat(format func() uint32) { r.stamp.format = format }

// Execute implements CommandExecutor.
func (r *Raft) Execute(ctx context.Context, group shard.GroupID, cmd *commandv1.Command) (*commandv1.Response, error) {
	id, data, err := r.stamp.seal(ctx, group, cmd)
	if err != nil {
		return nil, err
	}
	mode := modeOf(ctx, r.modes, group, cmd)
	// The first attempt is nearly always the last: the patience with all of them gets a context only behind it.
	limit := min(firstAttempt, r.patience)
	if mode == All {
		limit = r.patience
	}
	first := r.attempts.Within(ctx, limit)
	begun, _ := first.Deadline()
	attempt := r.attempt(first, 0, mode, group, id, data)
	first.Release()
	if attempt.Outcome == Done {
		r.retries[Done].Add(1)
		return readResponse(attempt.Result)
	}
	ctx, cancel := context.WithDeadline(ctx, begun.Add(r.patience-limit))
	defer cancel()
	return r.goOn(ctx, attempt, mode, group, id, data)
}

// goOn judges an attempt that is not done, and repeats it as long as the context allows.
func (r *Raft) goOn(
	ctx context.Context, attempt Attempt, mode Mode, group shard.GroupID, id ident.RequestID, data []byte,
) (*commandv1.Response, error) {
	ran, followed, limit, pause := false, 0, firstAttempt, firstPause
	for {
		r.retries[attempt.Outcome].Add(1)
		var hint ident.ReplicaID
		switch attempt.Outcome {
		case Done:
			return readResponse(attempt.Result)
		case Missing:
			if ran {
				return r.learn(ctx, attempt, group, id, data)
			}
			return nil, verdict(ctx, group, attempt, ran)
		case TooLarge, Overloaded, Behind, DiskFull:
			return nil, verdict(ctx, group, attempt, ran)
		case Unknown:
			ran = true
			limit *= 2
		case NotLeader:
			// A hint is followed at once, but not for ever: two replicas that point at each other must
			// not make a loop without pauses.
			if attempt.Leader != 0 && followed < maxHints && ctx.Err() == nil {
				hint = attempt.Leader
				followed++
				r.hints.Add(1)
			}
		case Stopped, Unreachable:
		}
		if hint == 0 {
			followed = 0
			if err := r.rest(ctx, pause); err != nil {
				return nil, verdict(ctx, group, attempt, ran)
			}
		}
		pause = min(2*pause, lastPause)
		attempt = r.bounded(ctx, limit, hint, mode, group, id, data)
	}
}

// learn ends a request in mode All that is refused because a voter is missing, after an attempt of which nobody knows whether it was committed:
// its leader may be the voter that is missing. The request is made once more for a quorum, which commits it if nobody has, so that the
// caller hears what became of it.
func (r *Raft) learn(
	ctx context.Context, refused Attempt, group shard.GroupID, id ident.RequestID, data []byte,
) (*commandv1.Response, error) {
	again := r.bounded(ctx, firstAttempt, 0, Quorum, group, id, data)
	r.retries[again.Outcome].Add(1)
	if again.Outcome != Done {
		return nil, verdict(ctx, group, refused, true)
	}
	if response, err := readResponse(again.Result); err != nil {
		return response, err
	}
	return nil, verdict(ctx, group, Attempt{Outcome: Behind, Err: fmt.Errorf("committed, not yet applied everywhere: %w", refused.Err)}, true)
}

// bounded is an attempt that ends after limit, so that a leader that hangs is left for its successor; in mode All waiting is the
// point.
func (r *Raft) bounded(
	ctx context.Context, limit time.Duration, hint ident.ReplicaID, mode Mode, group shard.GroupID, id ident.RequestID, data []byte,
) Attempt {
	if mode != All {
		bound, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		ctx = bound
	}
	return r.attempt(ctx, hint, mode, group, id, data)
}

// attempt proposes once where the leader is believed to be.
func (r *Raft) attempt(ctx context.Context, hint ident.ReplicaID, mode Mode, group shard.GroupID, id ident.RequestID, data []byte) Attempt {
	leader := hint
	if leader == 0 {
		leader = r.peers.Leader(group)
	}
	switch leader {
	case 0:
		return Attempt{Outcome: NotLeader, Err: fmt.Errorf("no leader of %s is known", group)}
	case r.peers.Self():
		return r.proposer.Propose(ctx, mode, group, id, data)
	}
	attempt := r.peers.Forward(ctx, leader, mode, group, id, data)
	if attempt.Outcome == Done {
		tellElsewhere(ctx, leader)
	}
	return attempt
}

// rest waits for half the pause to the whole of it.
func (r *Raft) rest(ctx context.Context, pause time.Duration) error {
	var draw [8]byte
	if _, err := io.ReadFull(r.random, draw[:]); err != nil {
		return fmt.Errorf("draw jitter: %w", err)
	}
	half := uint64(pause / 2)
	return clock.Pause(ctx, r.clock, time.Duration(half+binary.LittleEndian.Uint64(draw[:])%(half+1)))
}

// Weak implements WeakReader.
func (r *Raft) Weak(ctx context.Context) bool {
	level := readsOf(ctx, r.reads).Level
	return level == Local || level == Bounded
}

// Barrier implements CommandExecutor. Under AsQuery it waits for as much as the level asks for.
func (r *Raft) Barrier(ctx context.Context, group shard.GroupID) (uint64, error) {
	reads := readsOf(ctx, r.reads)
	r.barriers[reads.Level].Add(1)
	if reads.Level == Local || reads.Level == Bounded && r.fresh.within(group, reads.Staleness) {
		r.spared.Add(1)
		return r.proposer.Applied(group), nil
	}
	bound := r.waits.Within(ctx, r.patience)
	defer bound.Release()
	ask := r.proposer.Barrier
	if leases, ok := r.proposer.(LeaseReader); ok && reads.Level == Lease {
		ask = leases.LeaseBarrier
	}
	begun := r.clock.Now()
	index, err := barrier(bound, ask, group)
	if err == nil && reads.Level != Lease {
		r.fresh.note(group, begun)
	}
	return index, err
}
