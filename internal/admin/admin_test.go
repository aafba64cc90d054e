package admin

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/clock"
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

// TestFailedRemovalLeavesNoDrain: a node that could not be taken out leads again; nobody asked to drain it.
func TestFailedRemovalLeavesNoDrain(t *testing.T) {
	t.Parallel()
	store := catalog.NewStore()
	edit := store.Current().Edit()
	edit.SetCluster(&catalog.Cluster{Shards: shard.Map{UserShards: 2, SharedShards: 1}})
	for id := ident.ReplicaID(1); id <= 3; id++ {
		edit.SetMember(&catalog.Member{Replica: id, Node: ident.NodeID(id)})
	}
	store.Publish(edit.Picture())
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
