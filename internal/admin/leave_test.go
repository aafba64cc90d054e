package admin

import (
	"context"
	"slices"
	"strings"
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

// four is four nodes of which the last is dead, and whose groups let nobody go.
type four struct {
	fleet

	store    *catalog.Store
	drained  func() // runs when node 3 drains
	recorded func() // runs when a removal is recorded
	seen     func() // runs when the groups were looked at after that
	removals int
}

func (f *four) Live(_ context.Context, replica ident.ReplicaID) bool { return replica != 4 }

func (f *four) remove(replica ident.ReplicaID) {
	edit := f.store.Current().Edit()
	member, _ := f.store.Current().Member(replica)
	gone := *member
	gone.Removed = true
	edit.SetMember(&gone)
	f.store.Publish(edit.Picture())
}

func (f *four) Operate(ctx context.Context, replica ident.ReplicaID, req *nodev1.OperateRequest) (*nodev1.OperateResponse, error) {
	if req.GetOrder() == nodev1.Order_ORDER_DRAIN && f.drained != nil {
		f.drained()
	}
	return f.fleet.Operate(ctx, replica, req)
}

func (f *four) Execute(_ context.Context, _ shard.GroupID, cmd *commandv1.Command) (*commandv1.Response, error) {
	f.removals++
	f.remove(ident.ReplicaID(cmd.GetRemoveMember().GetReplicaId()))
	f.recorded()
	return &commandv1.Response{}, nil
}

func (f *four) Groups(_ context.Context, replica ident.ReplicaID) ([]*nodev1.GroupStatus, error) {
	if replica != 1 {
		return []*nodev1.GroupStatus{}, nil
	}
	if f.removals > 0 {
		defer f.seen()
	}
	var groups []*nodev1.GroupStatus
	for _, id := range f.store.Current().Cluster().Shards.Groups() {
		groups = append(groups, &nodev1.GroupStatus{Group: uint64(id), State: "leader", Term: 7, Voters: []uint64{1, 2, 3, 4}})
	}
	return groups, nil
}

func newFour() (*four, *Cluster) {
	store := threeMembers()
	edit := store.Current().Edit()
	edit.SetMember(&catalog.Member{Replica: 4, Node: 4})
	store.Publish(edit.Picture())
	f := &four{store: store}
	return f, New(Config{Catalog: store, Executor: f, Nodes: f, Clock: clock.NewManual(time.Unix(1, 0))})
}

// TestRemovalIsJudgedAgainOnceDrained: another node was taken out while this one drained. It is not taken out, and leads again.
func TestRemovalIsJudgedAgainOnceDrained(t *testing.T) {
	t.Parallel()
	f, c := newFour()
	f.drained = func() { f.remove(2) }
	_, err := c.Operate(t.Context(), exec.ClusterOrder{Action: parse.ClusterLeave, Node: 3})
	if fault.KindOf(err) != fault.InvalidStatement || !strings.Contains(err.Error(), "of the 2 nodes that would stay, 1 are alive") {
		t.Errorf("the removal ended with %v", err)
	}
	if f.removals != 0 {
		t.Error("the removal was recorded")
	}
	if want := []nodev1.Order{nodev1.Order_ORDER_DRAIN, nodev1.Order_ORDER_RESUME}; !slices.Equal(f.orders, want) {
		t.Errorf("node 3 was ordered %v, want %v", f.orders, want)
	}
}

// TestHeldRemovalIsNoSuccess: two removals were recorded at the same time, and the groups can spare but one. The order says so, however often it
// is given.
func TestHeldRemovalIsNoSuccess(t *testing.T) {
	t.Parallel()
	f, c := newFour()
	f.recorded = func() { f.remove(2) }
	for range 2 {
		ctx, enough := context.WithCancel(t.Context())
		f.seen = enough
		rows, err := c.Operate(ctx, exec.ClusterOrder{Action: parse.ClusterLeave, Node: 3})
		if err != nil || len(rows) != len(f.store.Current().Cluster().Shards.Groups()) {
			t.Fatalf("the removal was answered by %v, %v", rows, err)
		}
		for _, row := range rows {
			if !strings.Contains(row.Error, "of the 2 nodes that stay 1 are alive") {
				t.Errorf("group %d: %q", *row.Group, row.Error)
			}
		}
	}
	if f.removals != 1 {
		t.Errorf("%d removals were recorded, want 1", f.removals)
	}
}
