package executor

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// TestRepeatKeepsTheFloorOfTheFirst: the floor that a repeated request carries was applied before the request was
// first sent, so that no earlier copy can stand below it.
func TestRepeatKeepsTheFloorOfTheFirst(t *testing.T) {
	wall := clock.NewManual(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	applied := uint64(100)
	history := NewHistory(wall, []shard.GroupID{shard.Meta}, func(shard.GroupID) uint64 { return applied })
	for range 300 {
		wall.Advance(time.Second)
		applied += 10
		history.Sample()
	}
	s := &script{t: t, self: 1}
	d := NewDirect(s, wall, rand.NewChaCha8([32]byte{2}), history)
	id := ident.RequestID{1, 2, 3}
	for _, test := range []struct {
		age   time.Duration
		floor uint64
	}{
		{0, 41},                                 // sent for the first time: what the proposer has applied now
		{time.Millisecond, 3100 - 11*10},        // the last sample before the margin
		{5 * time.Second, 3100 - 15*10},         //
		{169 * time.Second, 3100 - 179*10},      // the oldest sample
		{170*time.Second + time.Millisecond, 0}, // from before the history: as old as the log
	} {
		s.answers = []Attempt{done(t, &commandv1.Response{})}
		_, err := d.Execute(WithOrigin(t.Context(), Origin{ID: id, Age: test.age}), shard.Meta, &commandv1.Command{
			Body: &commandv1.Command_DropUser{DropUser: &commandv1.DropUser{Id: "bob"}},
		})
		if err != nil {
			t.Fatal(err)
		}
		cmd, err := command.Decode(s.sent[len(s.sent)-1])
		if err != nil {
			t.Fatal(err)
		}
		if got := cmd.GetHeader().GetMinIndex(); got != test.floor {
			t.Errorf("age %v: floor %d, want %d", test.age, got, test.floor)
		}
		if command.RequestID(cmd) != id || s.ids[len(s.ids)-1] != id {
			t.Errorf("age %v: the request has the id %s", test.age, command.RequestID(cmd))
		}
	}
}

// TestModes: a request's mode goes before its class's, and what the server writes for itself takes a quorum.
func TestModes(t *testing.T) {
	modes := Modes{Meta: All, User: Quorum, Shared: All}
	user := &commandv1.Command{Header: &commandv1.Header{Actor: "ann"}}
	own := &commandv1.Command{Header: &commandv1.Header{}}
	login := &commandv1.Command{
		Header: &commandv1.Header{Actor: "ann"}, Body: &commandv1.Command_RecordLogin{RecordLogin: &commandv1.RecordLogin{}},
	}
	ctx := t.Context()
	for _, test := range []struct {
		name string
		got  Mode
		want Mode
	}{
		{"meta", modeOf(ctx, modes, shard.Meta, user), All},
		{"user", modeOf(ctx, modes, shard.UserShard(1), user), Quorum},
		{"shared", modeOf(ctx, modes, shard.SharedShard(0), user), All},
		{"request for all", modeOf(WithMode(ctx, All), modes, shard.UserShard(1), user), All},
		{"request for a quorum", modeOf(WithMode(ctx, Quorum), modes, shard.Meta, user), Quorum},
		{"the server's own", modeOf(ctx, modes, shard.Meta, own), Quorum},
		{"a login", modeOf(WithMode(ctx, All), modes, shard.Meta, login), Quorum},
	} {
		if test.got != test.want {
			t.Errorf("%s: mode %d, want %d", test.name, test.got, test.want)
		}
	}
}
