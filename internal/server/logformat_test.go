package server

import (
	"strings"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/config"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
)

// TestLogFormatIsRaisedTogether: while one member's program reads log entries of one command only, nobody writes others.
// Once all read them, the cluster says so for ever: it survives a restart, and a store whose program does not is kept out.
func TestLogFormatIsRaisedTogether(t *testing.T) {
	t.Parallel()
	cfg, opts := newcomer(t, 1, &Node{cfg: config.Default()})
	cfg.Cluster.ClusterID = "test"
	opts.oldLogs = true
	first := openNode(t, cfg, opts)
	waitReady(t, first)
	cfg2, opts2 := newcomer(t, 2, first)
	cfg2.Cluster.Join = config.Join{Wanted: true, Addresses: []string{first.RPCAddr()}}
	second := openNode(t, cfg2, opts2)
	waitReady(t, second)
	within(t, "the nodes have heard of each other", func() bool {
		_, one := first.gossip.get(second.self())
		_, two := second.gossip.get(first.self())
		return one && two
	})
	for _, n := range []*Node{first, second} {
		n.raiseLogFormat(t.Context())
	}
	for _, n := range []*Node{first, second} {
		if format := n.catalog.Current().Cluster().LogFormat; format != 0 || n.packs() {
			t.Errorf("node %d: the logs have format %d while node 1 does not read it", n.cfg.Cluster.NodeID, format)
		}
	}

	closeNode(t, first)
	opts = Options{APIListener: relisten(t, first.apiAddr), RPCListener: relisten(t, first.rpcAddr)}
	first = openNode(t, cfg, opts)
	within(t, "both nodes write entries of several commands", func() bool { return first.packs() && second.packs() })
	value, ok, err := first.store.Get(keys.Cluster())
	if err != nil || !ok || value[0] != 2 {
		t.Errorf("the cluster is stored as %x, %v; a program that does not know raised formats must not read it", value, err)
	}

	cfg3, opts3 := newcomer(t, 3, first)
	cfg3.Cluster.Join = config.Join{Wanted: true, Addresses: []string{first.RPCAddr()}}
	opts3.oldLogs = true
	third, err := Open(t.Context(), cfg3, opts3)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeNode(t, third) })
	within(t, "a node that reads no such entries is refused", func() bool {
		return strings.Contains(third.whyWaiting(), "the logs of this cluster have format 7, the program of node 3 reads 0")
	})
	if third.self() != 0 || len(second.catalog.Current().Members()) != 2 {
		t.Errorf("it is replica %d, and there are %d members", third.self(), len(second.catalog.Current().Members()))
	}
}
