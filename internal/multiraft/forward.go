package multiraft

import (
	"context"
	"errors"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	nodev1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/node/v1"
)

// HandleForward proposes for a peer and waits for the result. It implements transport.Handler.
func (m *Manager) HandleForward(ctx context.Context, req *nodev1.ForwardRequest) *nodev1.ForwardResponse {
	var id ident.RequestID
	if copy(id[:], req.GetRequestId()) != len(id) || len(req.GetRequestId()) != len(id) {
		return &nodev1.ForwardResponse{
			Error:   nodev1.ForwardError_FORWARD_ERROR_TOO_LARGE,
			Message: "the request id must have 16 bytes",
		}
	}
	// Both refusals are final, as is that of a command that is too large.
	if m.cfg.Understands != nil {
		if err := m.cfg.Understands(req.GetData()); err != nil {
			m.metrics.nonsense.Add(1)
			return &nodev1.ForwardResponse{
				Error:   nodev1.ForwardError_FORWARD_ERROR_TOO_LARGE,
				Message: "this node, which leads the group, does not understand the command: " + err.Error(),
			}
		}
	}
	propose := m.Propose
	if req.GetAll() {
		propose = m.ProposeAll
	}
	result, index, err := propose(ctx, shard.GroupID(req.GetGroup()), id, req.GetData())
	if err == nil {
		return &nodev1.ForwardResponse{Result: result, Index: index}
	}
	response := &nodev1.ForwardResponse{Result: result, Index: index, Error: forwardError(err), Message: err.Error()}
	if notLeader, ok := errors.AsType[*NotLeaderError](err); ok {
		response.LeaderHint = uint64(notLeader.Leader)
	}
	return response
}

// forwardError is the wire form of a failed proposal.
func forwardError(err error) nodev1.ForwardError {
	var notLeader *NotLeaderError
	var behind *BehindError
	var missing *MissingVoterError
	switch {
	case errors.As(err, &behind):
		return nodev1.ForwardError_FORWARD_ERROR_BEHIND
	case errors.As(err, &missing):
		return nodev1.ForwardError_FORWARD_ERROR_MISSING_VOTER
	case errors.As(err, &notLeader):
		return nodev1.ForwardError_FORWARD_ERROR_NOT_LEADER
	case errors.Is(err, ErrDiskFull):
		return nodev1.ForwardError_FORWARD_ERROR_DISK_FULL
	case errors.Is(err, ErrOverloaded):
		return nodev1.ForwardError_FORWARD_ERROR_OVERLOADED
	case errors.Is(err, ErrStopped), errors.Is(err, ErrUnknownGroup):
		return nodev1.ForwardError_FORWARD_ERROR_STOPPED
	case errors.Is(err, ErrTooLarge):
		return nodev1.ForwardError_FORWARD_ERROR_TOO_LARGE
	}
	return nodev1.ForwardError_FORWARD_ERROR_OUTCOME_UNKNOWN
}
