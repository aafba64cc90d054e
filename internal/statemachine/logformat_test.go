package statemachine

import (
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// TestLogFormatIsRaisedForEver: the format of the logs rises once, not when a member has joined that was not asked, and
// from then on a new store whose program does not read it is refused, while known ones may change their addresses.
func TestLogFormatIsRaisedForEver(t *testing.T) {
	t.Parallel()
	r := newReplica(t, shard.Meta)
	index := uint64(0)
	run := func(cmd *commandv1.Command) *commandv1.Response {
		t.Helper()
		index++
		outcome, err := r.apply([]command.Entry{{Index: index, Term: 1, Data: encode(t, cmd)}})
		must(t, err)
		return decodeResult(t, outcome.Results[0])
	}
	member := func(node byte) *commandv1.Member {
		return &commandv1.Member{NodeId: uint64(node), StoreId: append(make([]byte, 15), node), RpcAddr: "a:1"}
	}
	add := func(m *commandv1.Member, format uint32) *commandv1.Command {
		return &commandv1.Command{Body: &commandv1.Command_AddMember{AddMember: &commandv1.AddMember{Member: m, LogFormat: format}}}
	}
	raise := func(last uint64) *commandv1.Command {
		return &commandv1.Command{Body: &commandv1.Command_RaiseLogFormat{
			RaiseLogFormat: &commandv1.RaiseLogFormat{LogFormat: 2, LastReplica: last},
		}}
	}
	moved := member(2)
	moved.RpcAddr = "b:1"
	for i, step := range []struct {
		cmd     *commandv1.Command
		refused bool
		format  uint32 // after it
	}{
		{raise(0), true, 0}, // not founded
		{&commandv1.Command{Body: &commandv1.Command_Found{Found: &commandv1.Found{
			ClusterUid: append(make([]byte, 15), 7), ClusterId: "c", UserShards: 2, SharedShards: 1, Member: member(1),
		}}}, false, 0},
		{add(member(2), 0), false, 0},
		{raise(1), true, 0},
		{raise(2), false, 2},
		{raise(1), false, 2}, // already
		{add(member(3), 0), true, 2},
		{add(moved, 0), false, 2},
		{add(member(3), 2), false, 2},
	} {
		response := run(step.cmd)
		if format := r.store.Current().Cluster(); response.GetFailure() != nil != step.refused || format != nil && format.LogFormat != step.format {
			t.Errorf("step %d: %v, format %+v; want refused %v, %d", i, response, format, step.refused, step.format)
		}
		r.restart(t)
	}
	if members := len(r.store.Current().Members()); members != 3 {
		t.Errorf("%d members, want 3", members)
	}
	index++
	_, err := r.apply([]command.Entry{{Index: index, Term: 1, Data: encode(t, &commandv1.Command{
		Body: &commandv1.Command_RaiseLogFormat{RaiseLogFormat: &commandv1.RaiseLogFormat{LogFormat: command.LogFormat + 1, LastReplica: 3}},
	})}})
	if err == nil {
		t.Error("a format that this program does not read was raised")
	}
}
