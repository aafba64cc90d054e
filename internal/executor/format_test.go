package executor

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// TestFormatIsNamedWhereItMatters: a command that may remove rows without a trace names the format of logs that every member
// reads; others do not, so that members of earlier versions read them.
func TestFormatIsNamedWhereItMatters(t *testing.T) {
	t.Parallel()
	rows := func(deleted ...bool) *commandv1.Command {
		body := &commandv1.WriteRows{}
		for _, d := range deleted {
			body.Rows = append(body.Rows, &commandv1.RowWrite{TableId: 1, PrimaryKey: []byte{1}, Row: []byte{1, 1}, Deleted: d})
		}
		return &commandv1.Command{Body: &commandv1.Command_WriteRows{WriteRows: body}}
	}
	purge := &commandv1.Command{Body: &commandv1.Command_PurgeDeleted{PurgeDeleted: &commandv1.PurgeDeleted{TableId: 1}}}
	segment := &commandv1.Command{Body: &commandv1.Command_CommitSegment{CommitSegment: &commandv1.CommitSegment{TableId: 1}}}
	cluster := func(format func() uint32) func(*script) CommandExecutor {
		return func(s *script) CommandExecutor {
			r := NewRaft(s, s, clock.Real{}, rand.NewChaCha8([32]byte{1}), time.Minute, Modes{}, nil)
			r.SetFormat(format)
			return r
		}
	}
	alone := func(s *script) CommandExecutor { return NewDirect(s, clock.Real{}, rand.NewChaCha8([32]byte{1}), nil) }
	for name, c := range map[string]struct {
		executor func(*script) CommandExecutor
		cmd      *commandv1.Command
		want     uint32
	}{
		"an insert":                             {cluster(func() uint32 { return 5 }), rows(false, false), 0},
		"a deletion":                            {cluster(func() uint32 { return 5 }), rows(false, true), 5},
		"a purge":                               {cluster(func() uint32 { return 7 }), purge, 7},
		"a segment":                             {cluster(func() uint32 { return 6 }), segment, 6},
		"a deletion beside an earlier version":  {cluster(func() uint32 { return 0 }), rows(true), 0},
		"a deletion, nobody says which version": {cluster(nil), rows(true), 0},
		"an insert, alone":                      {alone, rows(false), 0},
		"a deletion, alone":                     {alone, rows(true), command.LogFormat},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &script{t: t, self: 1, leader: 1, answers: []Attempt{done(t, &commandv1.Response{Index: 5})}}
			if _, err := c.executor(s).Execute(t.Context(), shard.UserShard(3), c.cmd); err != nil {
				t.Fatal(err)
			}
			sent, err := command.Decode(s.sent[0])
			if err != nil {
				t.Fatal(err)
			}
			if got := sent.GetHeader().GetLogFormat(); got != c.want {
				t.Errorf("the command names format %d, want %d", got, c.want)
			}
			if c.cmd.GetHeader() != nil {
				t.Error("the caller's command was changed")
			}
		})
	}
}
