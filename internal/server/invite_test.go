package server

import (
	"slices"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/config"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	nodev1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/node/v1"
)

// TestInvitationOutlivesARestart: a node that is invited while the cluster does not answer, and starts again before it is a member, knows
// who has invited it and in which groups it is to vote. Requests that fail meanwhile are made again with the same.
func TestInvitationOutlivesARestart(t *testing.T) {
	t.Parallel()
	first := openFirst(t)
	within(t, "the cluster knows votes by group", func() bool { return first.catalog.Current().Cluster().LogFormat >= command.VotesFormat })
	cfg, opts := newcomer(t, 2, first)
	cfg.Cluster.Join = config.Join{Wanted: true}
	second := openNode(t, cfg, opts)
	invite := func(addr string, votesIn ...uint64) {
		t.Helper()
		got := peerHandler{second}.HandleInvite(t.Context(), &nodev1.InviteRequest{ClusterId: "test", NodeId: 2, RpcAddr: addr, VotesIn: votesIn})
		if got.GetRefused() != "" {
			t.Fatal(got.GetRefused())
		}
	}
	closeNode(t, first)
	invite("127.0.0.1:1", 101)
	invite(first.rpcAddr, 200, 100) // the newest counts
	within(t, "the node has looked for who invited it", func() bool { return second.whyWaiting() != "" })
	closeNode(t, second)

	second = openNode(t, cfg, Options{APIListener: relisten(t, second.apiAddr), RPCListener: relisten(t, second.rpcAddr)})
	if got := second.who().Invited; !slices.Equal(got.Addresses, []string{"127.0.0.1:1", first.rpcAddr}) || !slices.Equal(got.VotesIn, []uint64{200, 100}) {
		t.Fatalf("after the restart the node is invited by %+v", got)
	}
	again := openNode(t, first.cfg, Options{APIListener: relisten(t, first.apiAddr), RPCListener: relisten(t, first.rpcAddr)})
	waitReady(t, again, second)
	m, known := catalogMember(again.catalog.Current(), ident.NodeID(2))
	var want []shard.GroupID
	for _, id := range again.who().Shards.Groups() {
		if id != 200 && id != 100 {
			want = append(want, id)
		}
	}
	if !known || !slices.Equal(m.Observes, want) {
		t.Errorf("node 2 is recorded as %+v, want it to observe all groups but 100 and 200", m)
	}
	if got := second.who().Invited; len(got.Addresses)+len(got.VotesIn) > 0 {
		t.Errorf("a member keeps the invitation %+v", got)
	}
	if got := (peerHandler{second}).HandleInvite(t.Context(), &nodev1.InviteRequest{ClusterId: "test", NodeId: 2, RpcAddr: first.rpcAddr}); got.GetRefused() == "" {
		t.Error("a member can be invited")
	}
	if err := second.noteInvitation(first.rpcAddr, nil); err == nil {
		t.Error("a member notes an invitation")
	}
}

// TestInvitationsAreBounded: the newest few addresses are remembered, and a repeat takes no room.
func TestInvitationsAreBounded(t *testing.T) {
	t.Parallel()
	seed := &Node{cfg: config.Default()}
	seed.cfg.Cluster.ClusterID = "test"
	cfg, opts := newcomer(t, 2, seed)
	cfg.Cluster.Join = config.Join{Wanted: true}
	n := openNode(t, cfg, opts)
	for _, addr := range []string{"a:1", "b:1", "c:1", "c:1", "d:1", "e:1", "f:1", "c:1"} {
		if err := n.noteInvitation(addr, nil); err != nil {
			t.Fatal(err)
		}
	}
	if got := n.who().Invited.Addresses; !slices.Equal(got, []string{"c:1", "d:1", "e:1", "f:1"}) {
		t.Errorf("invited by %v", got)
	}
}
