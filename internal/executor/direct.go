package executor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// Direct executes commands on a node that runs alone: there is one replica and it decides.
type Direct struct {
	stamp    stamper
	proposer Proposer
}

// NewDirect makes the executor of a standalone node. Random feeds request ids. The history may be nil: then
// nothing is known of the past.
func NewDirect(proposer Proposer, wall clock.Clock, random io.Reader, history *History) *Direct {
	return &Direct{proposer: proposer, stamp: stamper{
		clock: wall, random: random, proposer: proposer, history: history,
		format: func() uint32 { return command.LogFormat }, // whoever applies is this program
	}}
}

// Execute implements CommandExecutor.
func (d *Direct) Execute(ctx context.Context, group shard.GroupID, cmd *commandv1.Command) (*commandv1.Response, error) {
	id, data, err := d.stamp.seal(ctx, group, cmd)
	if err != nil {
		return nil, err
	}
	attempt := d.proposer.Propose(ctx, Quorum, group, id, data)
	if attempt.Outcome == Done {
		return readResponse(attempt.Result)
	}
	return nil, verdict(ctx, group, attempt, attempt.Outcome == Unknown)
}

// Barrier implements CommandExecutor.
func (d *Direct) Barrier(ctx context.Context, group shard.GroupID) (uint64, error) {
	return barrier(ctx, d.proposer.Barrier, group)
}

// stamper writes what must be the same on every replica into a command.
type stamper struct {
	clock    clock.Clock
	random   io.Reader
	proposer Proposer
	history  *History
	format   func() uint32 // of logs that every member reads; nil is the first
}

// seal encodes cmd's body under a header of its own; cmd is not changed. The request id, the time and the floor below which the
// group may have forgotten it are drawn once for all attempts; for a request with an origin, once for all times
// that its sender sends it.
func (s *stamper) seal(ctx context.Context, group shard.GroupID, cmd *commandv1.Command) (ident.RequestID, []byte, error) {
	now := s.clock.Now().UnixMicro()
	id, floor := ident.RequestID{}, s.proposer.Applied(group)
	if origin, ok := originOf(ctx); ok {
		id = origin.ID
		if origin.Age > 0 {
			floor = s.history.before(group, origin.Age+transitMargin)
		}
	} else {
		var draw [10]byte
		if _, err := io.ReadFull(s.random, draw[:]); err != nil {
			return ident.RequestID{}, nil, fmt.Errorf("draw a request id: %w", err)
		}
		id = command.NewRequestID(now, draw)
	}
	header := &commandv1.Header{
		RequestId: id[:],
		MinIndex:  floor,
		NowMicros: now,
		Actor:     cmd.GetHeader().GetActor(),
		Audit:     cmd.GetHeader().GetAudit(),
	}
	if s.format != nil && dependsOnFormat(cmd) {
		header.LogFormat = s.format()
	}
	if group != shard.Meta {
		header.MetaIndex = s.proposer.Applied(shard.Meta)
	}
	data, err := command.Encode(&commandv1.Command{Header: header, Body: cmd.GetBody()})
	return id, data, err
}

// dependsOnFormat reports whether what is left of a command depends on the format: it may remove rows without a trace, or it names a segment.
func dependsOnFormat(cmd *commandv1.Command) bool {
	if cmd.GetPurgeDeleted() != nil || cmd.GetCommitSegment() != nil {
		return true
	}
	return slices.ContainsFunc(cmd.GetWriteRows().GetRows(), (*commandv1.RowWrite).GetDeleted)
}

// readResponse decodes a result and turns a refusal into its error.
func readResponse(raw []byte) (*commandv1.Response, error) {
	response, err := command.DecodeResponse(raw)
	if err != nil {
		return nil, err
	}
	return response, command.Failure(response)
}

// barrier wraps the error of a proposer's barrier for callers.
func barrier(ctx context.Context, ask func(context.Context, shard.GroupID) (uint64, error), group shard.GroupID) (uint64, error) {
	index, err := ask(ctx, group)
	switch {
	case err == nil:
		return index, nil
	case errors.Is(err, context.Canceled):
		return 0, err
	}
	return 0, fault.New(fault.Unavailable, "no quorum answered for %s in time: %w", group, err)
}

// verdict is the error of a request whose attempts are over. ran says that some attempt may have been applied.
func verdict(ctx context.Context, group shard.GroupID, last Attempt, ran bool) error {
	switch {
	case last.Outcome == Behind:
		return fault.New(fault.Timeout, "replication mode all: %w; the write will be there soon", last.Err)
	case last.Outcome == Missing && !ran:
		return fault.New(fault.Unavailable, "replication mode all: %w; nothing was written", last.Err)
	case last.Outcome == TooLarge:
		return fault.New(fault.LimitExceeded, "the statement writes too much at once: %w", last.Err)
	case last.Outcome == DiskFull && !ran:
		full := fault.New(fault.DiskFull, "the disk of the node that leads %s is nearly full: reading and deleting work, adding does not; "+
			"delete rows or drop tables, or give the node more room, and try again", group)
		full.RetryAfter = diskFullRetry
		return full
	case last.Outcome == Overloaded && !ran:
		overloaded := fault.New(fault.Overloaded, "%s takes no more writes for the moment: %w; try again", group, last.Err)
		overloaded.RetryAfter = overloadedRetry
		return overloaded
	case errors.Is(ctx.Err(), context.Canceled):
		return ctx.Err()
	case ran:
		return fault.New(fault.Timeout, "the outcome of the write to %s is not known: it was accepted, but its result did not arrive in time", group)
	}
	return fault.New(fault.Unavailable, "no leader of %s could be reached in time; nothing was written", group)
}
