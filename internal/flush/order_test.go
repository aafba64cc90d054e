package flush

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/executor"
	"github.com/kalamdb/kalamdb-go/internal/shard"
)

// scripted are leaders that answer one thing after the other.
type scripted struct {
	answers []error
	asked   []Order
}

func (s *scripted) Flush(_ context.Context, order Order) (Piece, error) {
	s.asked = append(s.asked, order)
	err := s.answers[min(len(s.asked), len(s.answers))-1]
	return Piece{Moved: Result{Rows: 1}}, err
}

// barriers is an executor that only counts barriers.
type barriers struct {
	executor.CommandExecutor
	groups []shard.GroupID
}

func (b *barriers) Barrier(_ context.Context, group shard.GroupID) (uint64, error) {
	b.groups = append(b.groups, group)
	return 0, nil
}

// TestLeadersAreAskedAgain says which answers of a leader make a run ask again, behind a barrier of the group, and how often.
func TestLeadersAreAskedAgain(t *testing.T) {
	t.Parallel()
	broken := errors.New("no space left")
	for name, test := range map[string]struct {
		answers []error
		asked   int
		want    error
	}{
		"done":                {[]error{nil}, 1, nil},
		"another one leads":   {[]error{fmt.Errorf("replica 2: %w", ErrNotLeader), nil}, 2, nil},
		"nobody answers":      {[]error{ErrNoAnswer, ErrNoAnswer, ErrNotLeader, nil}, 4, nil},
		"nobody ever answers": {[]error{ErrNoAnswer}, maxAttempts + 1, ErrNoAnswer},
		"the job was lost":    {[]error{ErrClaimLost}, 1, ErrClaimLost},
		"a failure":           {[]error{broken}, 1, broken},
	} {
		leaders, exec := &scripted{answers: test.answers}, &barriers{}
		w := &Worker{Leaders: leaders, Executor: exec}
		order := Order{Job: 3, Token: 4, Table: 5, Group: shard.UserShard(1), From: Position{User: "ann", Key: []byte{7}}}
		piece, err := w.ask(t.Context(), order)
		if !errors.Is(err, test.want) || len(leaders.asked) != test.asked || piece.Moved.Rows != int64(test.asked) {
			t.Errorf("%s: %v after %d questions, %d rows counted", name, err, len(leaders.asked), piece.Moved.Rows)
		}
		if lost := errors.Is(test.answers[0], ErrNoAnswer); piece.Moved.More != lost {
			t.Errorf("%s: perhaps more was moved: %v", name, piece.Moved.More)
		}
		if len(exec.groups) != test.asked-1 {
			t.Errorf("%s: %d barriers between %d questions", name, len(exec.groups), test.asked)
		}
		for _, asked := range leaders.asked {
			if asked.Token != 4 || asked.From.User != "ann" {
				t.Errorf("%s: asked %+v", name, asked)
			}
		}
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	leaders := &scripted{answers: []error{ErrNoAnswer}}
	if _, err := (&Worker{Leaders: leaders, Executor: &barriers{}}).ask(gone, Order{Token: 1}); !errors.Is(err, ErrNoAnswer) || len(leaders.asked) != 1 {
		t.Errorf("a run that was cancelled asks %d times: %v", len(leaders.asked), err)
	}
}
