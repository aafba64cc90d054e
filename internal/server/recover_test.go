package server

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/raftlog"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	"github.com/kalamdb/kalamdb-go/internal/storage/rowvalue"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
	nodev1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/node/v1"
)

// TestLateMemberOfALostCluster: of two survivors one has applied the orders that add a node, that give it a new disk, and that tell of an
// address, also of the disk that was replaced, and orders about votes and a removal that were refused; the other has them in its log only. After the recovery both have the same members, none
// of the lost cluster's, remember the same answers, and go on to count alike.
func TestLateMemberOfALostCluster(t *testing.T) {
	t.Parallel()
	nodes := openCluster(t)
	waitReady(t, nodes...)
	within(t, "orders name their cluster", func() bool { return nodes[0].commonFormat() >= command.VotesFormat })
	within(t, "node 3 has what there is", func() bool {
		return nodes[2].catalog.Current().Index() == nodes[0].catalog.Current().Index() && len(nodes[2].catalog.Current().Members()) == 3
	})
	closeNode(t, nodes[2])
	orderVotes(t, nodes[0])
	addMemberTo(t, nodes[0], 4, 4, "n4:1")
	addMemberTo(t, nodes[0], 4, 4, "n4:0")
	addMemberTo(t, nodes[0], 4, 5, "n4:1") // which nobody has seen alive, so that another disk may stand in for it
	addMemberTo(t, nodes[0], 4, 5, "n4:2")
	addMemberTo(t, nodes[0], 5, 6, "n5:1")
	announceRemoved(t, nodes[0], 4, 4, "n4:9")
	if _, err := nodes[0].exec.Execute(t.Context(), shard.Meta, &commandv1.Command{
		Body: &commandv1.Command_RemoveMember{RemoveMember: &commandv1.RemoveMember{ReplicaId: uint64(nodes[0].catalog.Current().LastReplica())}},
	}); err != nil {
		t.Fatal(err)
	}
	announceRemoved(t, nodes[0], 5, 6, "n5:9")
	last, ids := nodes[0].engine().Applied(shard.Meta), nodes[0].catalog.Current().LastReplica()
	closeNode(t, nodes[1])
	closeNode(t, nodes[0])
	handOver(t, nodes[0], nodes[2], last)

	for _, n := range []*Node{nodes[0], nodes[2]} {
		if _, err := Recover(n.cfg.Storage.DataPath, []ident.NodeID{1, 3}, true); err != nil {
			t.Fatal(err)
		}
	}
	first, third := reopen(t, nodes[0].cfg).Node, reopen(t, nodes[2].cfg).Node
	waitReady(t, first, third)
	addMemberTo(t, first, 6, 7, "n6:1")
	state := func(n *Node) string {
		lo, hi := keys.GroupSpan(shard.Meta)
		entries, digest, err := rowvalue.SpanDigest(n.store, lo, hi)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("%s%d keys, digest %x", memberLines(n.catalog.Current()), entries, digest)
	}
	var one, other string
	within(t, "both survivors have applied the same", func() bool {
		applied := func() [2]uint64 {
			return [2]uint64{first.engine().Applied(shard.Meta), third.engine().Applied(shard.Meta)}
		}
		before := applied()
		one, other = state(first), state(third)
		return before[0] == before[1] && before == applied()
	})
	if one != other {
		t.Errorf("node 1:\n%s\nnode 3:\n%s", one, other)
	}
	if first.catalog.Current().LastReplica() != ids+1 {
		t.Errorf("%d ids are used", first.catalog.Current().LastReplica())
	}
	for _, m := range first.catalog.Current().Members() {
		if lost := m.Node != 1 && m.Node != 3 && m.Node != 6; m.Removed != lost {
			t.Errorf("member %+v", m)
		}
	}
}

// orderVotes takes all votes of a group but those of node 1, whose last vote and place then cannot be taken.
func orderVotes(t *testing.T, n *Node) {
	t.Helper()
	group, uid := shard.SharedShard(0), n.catalog.Current().Cluster().UID
	take := func(replica uint64) *commandv1.Command {
		return &commandv1.Command{Body: &commandv1.Command_ChangeVotes{ChangeVotes: &commandv1.ChangeVotes{
			ReplicaId: replica, Groups: []uint64{uint64(group)}, ClusterUid: uid[:],
		}}}
	}
	last := uint64(n.self())
	for _, m := range n.catalog.Current().Members() {
		if replica := uint64(m.Replica); replica != last {
			if _, err := n.exec.Execute(t.Context(), shard.Meta, take(replica)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, order := range []*commandv1.Command{
		take(last), {Body: &commandv1.Command_RemoveMember{RemoveMember: &commandv1.RemoveMember{ReplicaId: last}}},
	} {
		if _, err := n.exec.Execute(t.Context(), shard.Meta, order); fault.KindOf(err) != fault.InvalidStatement {
			t.Fatalf("the only voter of a group: %v", err)
		}
	}
}

// announceRemoved has a store that an order removed tell of its address, which is refused.
func announceRemoved(t *testing.T, n *Node, node uint64, store byte, addr string) {
	t.Helper()
	uid := n.catalog.Current().Cluster().UID
	_, err := n.exec.Execute(t.Context(), shard.Meta, &commandv1.Command{Body: &commandv1.Command_AddMember{AddMember: &commandv1.AddMember{
		Member:    &commandv1.Member{NodeId: node, StoreId: bytes.Repeat([]byte{store}, 16), RpcAddr: addr},
		LogFormat: command.LogFormat, ClusterUid: uid[:],
	}}})
	if fault.KindOf(err) != fault.PermissionDenied {
		t.Fatalf("a removed store is answered: %v", err)
	}
}

// addMemberTo admits a store of a node that does not run.
func addMemberTo(t *testing.T, n *Node, node uint64, store byte, addr string) {
	t.Helper()
	within(t, fmt.Sprintf("store %d of node %d is admitted", store, node), func() bool {
		answer, err := n.admit(t.Context(), &nodev1.JoinRequest{
			ClusterId: "test", NodeId: node, StoreId: bytes.Repeat([]byte{store}, 16), RpcAddr: addr, LogFormat: command.LogFormat,
		})
		return err == nil && answer.GetRefused() == ""
	})
}

func memberLines(c *catalog.Catalog) string {
	var lines strings.Builder
	for _, m := range c.Members() {
		fmt.Fprintf(&lines, "%+v\n", *m)
	}
	fmt.Fprintf(&lines, "last replica %d\n", c.LastReplica())
	return lines.String()
}

// handOver puts the entries of the meta group up to an index into the log of another stopped node, which learns nothing of their commit.
func handOver(t *testing.T, from, to *Node, upto uint64) {
	t.Helper()
	opened := make([]*Node, 2)
	for i, n := range []*Node{from, to} {
		var err error
		if opened[i], err = openStopped(n.cfg.Storage.DataPath); err != nil {
			t.Fatal(err)
		}
	}
	source, target := opened[0].log.Group(shard.Meta), opened[1].log.Group(shard.Meta)
	entries, err := source.Entries(target.LastIndex()+1, upto+1, 1<<30)
	if err != nil || len(entries) == 0 {
		t.Fatalf("%d entries, %v", len(entries), err)
	}
	hard := target.HardState()
	if hard.Commit >= entries[0].GetIndex() {
		t.Fatal("the node knows of the commit; the test shows nothing")
	}
	hard.Term, hard.Vote = source.HardState().Term, 0
	if err := opened[1].log.Append([]raftlog.Update{{Group: shard.Meta, Entries: entries, Hard: &hard}}, true); err != nil {
		t.Fatal(err)
	}
	for _, n := range opened {
		if err := n.closeStores(); err != nil {
			t.Fatal(err)
		}
	}
}
