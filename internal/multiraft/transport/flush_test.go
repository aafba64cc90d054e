package transport_test

import (
	"context"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/transport"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/transport/transporttest"
	nodev1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/node/v1"
)

// flusher is a handler that takes orders to flush.
type flusher struct{ *transporttest.Recorder }

func (flusher) HandleFlushGroup(_ context.Context, req *nodev1.FlushGroupRequest) *nodev1.FlushGroupResponse {
	return &nodev1.FlushGroupResponse{Rows: req.GetToken(), NextUser: req.GetAfterUser(), NextKey: req.GetAfterKey(), More: true}
}

// TestFlushGroup orders a flush of a peer that takes orders, and of one whose program does not know them, which the caller can tell from all else.
func TestFlushGroup(t *testing.T) {
	t.Parallel()
	cluster, directory := newGRPCCluster(t), &transporttest.Directory{}
	uid := ident.ClusterUID{1}
	var asks *transport.GRPC
	for i, handler := range []transport.Handler{transporttest.NewRecorder(), flusher{transporttest.NewRecorder()}} {
		replica := ident.ReplicaID(i + 1)
		node, addr := cluster.Start(t, string(rune('a'+i)), directory, handler, transport.Limits{})
		directory.Set(replica, addr)
		node.SetIdentity(transport.Identity{ClusterUID: uid, Replica: replica})
		known, ok := node.(*transport.GRPC)
		if !ok {
			t.Fatal("the cluster is not the one of production")
		}
		if i == 0 {
			asks = known
			continue
		}
		resp, err := asks.FlushGroup(t.Context(), replica, &nodev1.FlushGroupRequest{Token: 7, AfterUser: "ann", AfterKey: []byte{1}})
		if err != nil || resp.GetRows() != 7 || resp.GetNextUser() != "ann" || len(resp.GetNextKey()) != 1 || !resp.GetMore() {
			t.Errorf("a peer that takes orders answers %v, %v", resp, err)
		}
		if _, err = known.FlushGroup(t.Context(), 1, &nodev1.FlushGroupRequest{}); !transport.NotImplemented(err) {
			t.Errorf("a peer that knows no orders answers %v", err)
		}
	}
	if _, err := asks.FlushGroup(t.Context(), 9, &nodev1.FlushGroupRequest{}); err == nil || transport.NotImplemented(err) {
		t.Errorf("nobody answers %v", err)
	}
}
