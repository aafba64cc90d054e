package admin

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/sql/exec"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
	nodev1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/node/v1"
)

// fleet is three nodes that carry out every order, and an executor that fails as it is told.
type fleet struct {
	Nodes // whatever is not declared below is not asked for

	orders  []nodev1.Order // to node 3, in their order
	failure error          // of every command
}

func (f *fleet) Self() ident.ReplicaID { return 1 }

func (f *fleet) Live(context.Context, ident.ReplicaID) bool { return true }

func (f *fleet) Operate(_ context.Context, replica ident.ReplicaID, req *nodev1.OperateRequest) (*nodev1.OperateResponse, error) {
	if replica == 3 {
		f.orders = append(f.orders, req.GetOrder())
	}
	return &nodev1.OperateResponse{}, nil
}

func (f *fleet) Groups(context.Context, ident.ReplicaID) ([]*nodev1.GroupStatus, error) {
	return nil, nil
}

func (f *fleet) Execute(context.Context, shard.GroupID, *commandv1.Command) (*commandv1.Response, error) {
	return nil, f.failure
}

func (f *fleet) Barrier(context.Context, shard.GroupID) (uint64, error) { return 1, nil }

// threeMembers is what a cluster of three nodes knows of itself.
func threeMembers() *catalog.Store {
	store := catalog.NewStore()
	edit := store.Current().Edit()
	edit.SetCluster(&catalog.Cluster{UID: ident.ClusterUID{7}, Shards: shard.Map{UserShards: 2, SharedShards: 1}, LogFormat: command.VotesFormat})
	for id := ident.ReplicaID(1); id <= 3; id++ {
		edit.SetMember(&catalog.Member{Replica: id, Node: ident.NodeID(id)})
	}
	store.Publish(edit.Picture())
	return store
}

// TestFailedRemovalLeavesNoDrain: a node that could not be taken out leads again; nobody asked to drain it.
func TestFailedRemovalLeavesNoDrain(t *testing.T) {
	t.Parallel()
	store := threeMembers()
	f := &fleet{failure: fault.New(fault.Timeout, "nobody answered")}
	c := New(Config{Catalog: store, Executor: f, Nodes: f, Clock: clock.NewManual(time.Unix(1, 0))})
	_, err := c.Operate(t.Context(), exec.ClusterOrder{Action: parse.ClusterLeave, Node: 3})
	if fault.KindOf(err) != fault.Timeout {
		t.Errorf("the removal failed with %v", err)
	}
	if want := []nodev1.Order{nodev1.Order_ORDER_DRAIN, nodev1.Order_ORDER_RESUME}; !slices.Equal(f.orders, want) {
		t.Errorf("node 3 was ordered %v, want %v", f.orders, want)
	}
}

// heard is a fleet that tells what it was to execute, and refuses it.
type heard struct {
	fleet
	commands []*commandv1.Command
}

func (h *heard) Execute(_ context.Context, _ shard.GroupID, cmd *commandv1.Command) (*commandv1.Response, error) {
	if h.commands = append(h.commands, cmd); cmd.GetRemoveMember() != nil {
		return nil, fault.New(fault.Timeout, "nobody answered")
	}
	return &commandv1.Response{}, nil
}

// TestRemovalIsNoOrderOfALostCluster: a removal names no cluster. Where orders of a lost one may still come, an order of this one comes before it.
func TestRemovalIsNoOrderOfALostCluster(t *testing.T) {
	t.Parallel()
	for _, lost := range []bool{false, true} {
		store := threeMembers()
		if lost {
			edit := store.Current().Edit()
			cluster, members := store.Current().Recovered(ident.ClusterUID{7}, ident.ClusterUID{8}, []ident.ReplicaID{1, 2, 3})
			edit.SetCluster(cluster)
			for _, m := range members {
				edit.SetMember(m)
			}
			store.Publish(edit.Picture())
		}
		f := &heard{}
		c := New(Config{Catalog: store, Executor: f, Nodes: f, Clock: clock.NewManual(time.Unix(1, 0))})
		if _, err := c.Operate(t.Context(), exec.ClusterOrder{Action: parse.ClusterLeave, Node: 3}); fault.KindOf(err) != fault.Timeout {
			t.Errorf("the removal failed with %v", err)
		}
		if last := f.commands[len(f.commands)-1].GetRemoveMember(); last.GetReplicaId() != 3 {
			t.Errorf("the removal is %v", f.commands)
		}
		uid := ident.ClusterUID{8}
		ends := len(f.commands) > 1 && string(f.commands[0].GetChangeVotes().GetClusterUid()) == string(uid[:]) &&
			len(f.commands[0].GetChangeVotes().GetGroups()) == 0
		if ends != lost || len(f.commands) > 2 {
			t.Errorf("after a recovery (%v): %v", lost, f.commands)
		}
	}
}

// forgetful is a node that starts anew with an empty directory after each invitation but the third.
type forgetful struct {
	fleet

	uid     ident.ClusterUID
	invited int
}

func (f *forgetful) Info(context.Context, string) (*nodev1.GetNodeInfoResponse, error) {
	info := &nodev1.GetNodeInfoResponse{NodeId: 3}
	if f.invited == 3 {
		info.ReplicaId, info.ClusterUid = 3, f.uid[:]
	}
	return info, nil
}

func (f *forgetful) Invite(_ context.Context, _ string, _ ident.NodeID, votesIn []uint64) (*nodev1.InviteResponse, error) {
	if !slices.Equal(votesIn, []uint64{200}) {
		return &nodev1.InviteResponse{Refused: "the invitation is not what was ordered"}, nil
	}
	f.invited++
	return &nodev1.InviteResponse{}, nil
}

func (f *forgetful) Groups(context.Context, ident.ReplicaID) ([]*nodev1.GroupStatus, error) {
	return []*nodev1.GroupStatus{{Group: 200, State: "leader", Term: 1, Voters: []uint64{1, 2, 3}}}, nil
}

// TestInvitesUntilTheNodeIsAMember: one invitation may be lost with the directory of the node.
func TestInvitesUntilTheNodeIsAMember(t *testing.T) {
	t.Parallel()
	store := threeMembers()
	f := &forgetful{uid: store.Current().Cluster().UID}
	c := New(Config{Catalog: store, Executor: f, Nodes: f, Clock: clock.Real{}})
	rows, err := c.Operate(t.Context(), exec.ClusterOrder{
		Action: parse.ClusterJoin, Node: 3, RPCAddr: "127.0.0.1:1", Groups: []shard.GroupID{200},
	})
	if err != nil || len(rows) != 1 || rows[0].Error != "" || f.invited != 3 {
		t.Errorf("after %d invitations: %+v, %v", f.invited, rows, err)
	}
}
