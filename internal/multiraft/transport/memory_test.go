package transport

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	raftpb "go.etcd.io/raft/v3/raftpb"

	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	nodev1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/node/v1"
)

// byNumber is a resolver that names a node after its replica.
type byNumber struct{}

func (byNumber) Address(replica ident.ReplicaID) (string, bool) {
	return fmt.Sprintf("n%d", replica), true
}

// diary is a handler of one node that writes into a list shared by all.
type diary struct {
	quietHandler
	name  string
	lines *[]string
}

func (d *diary) HandleMessages(from ident.ReplicaID, msgs []Message) {
	for _, m := range msgs {
		*d.lines = append(*d.lines, fmt.Sprintf("%s got %d from %d", d.name, m.Raft.GetIndex(), from))
	}
}

func (d *diary) HandleUnreachable(to ident.ReplicaID) {
	*d.lines = append(*d.lines, fmt.Sprintf("%s lost %d", d.name, to))
}

// world is a network of members n1 to n3, driven by the test alone.
type world struct {
	clock   *clock.Manual
	network *Network
	nodes   map[ident.ReplicaID]*Memory
	lines   []string
}

func newWorld(t *testing.T, limits Limits) *world {
	t.Helper()
	w := &world{clock: clock.NewManual(time.Unix(1000, 0)), nodes: map[ident.ReplicaID]*Memory{}}
	w.network = NewNetwork(w.clock)
	for replica := ident.ReplicaID(1); replica <= 3; replica++ {
		name := fmt.Sprintf("n%d", replica)
		node, err := w.network.Node(MemoryConfig{
			Address: name, Resolver: byNumber{}, Limits: limits, ReportInterval: time.Second,
		}, &diary{name: name, lines: &w.lines})
		if err != nil {
			t.Fatal(err)
		}
		node.SetIdentity(Identity{ClusterUID: ident.ClusterUID{1}, Replica: replica})
		w.nodes[replica] = node
	}
	return w
}

// send puts one message per index on the network, each in a Send of its own.
func (w *world) send(from, to ident.ReplicaID, indexes ...uint64) {
	for _, index := range indexes {
		w.nodes[from].Send(to, []Message{{Group: shard.UserShard(0), Raft: &raftpb.Message{
			Type: raftpb.MsgApp.Enum(), From: new(uint64(from)), To: new(uint64(to)), Index: &index,
		}}})
	}
}

// expect delivers what is due and compares the diary since the last call.
func (w *world) expect(t *testing.T, want ...string) {
	t.Helper()
	w.network.Deliver(1000)
	if diff := cmp.Diff(want, w.lines); diff != "" {
		t.Errorf("diary differs (-want +got):\n%s", diff)
	}
	w.lines = nil
}

func TestNetworkFaults(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Limits{})
	w.send(1, 2, 1, 2)
	if w.network.Pending() != 2 || len(w.lines) != 0 {
		t.Fatalf("%d packets are pending and %v was delivered before any step", w.network.Pending(), w.lines)
	}
	w.expect(t, "n2 got 1 from 1", "n2 got 2 from 1")

	verdicts := map[uint64]Verdict{
		11: {Drop: true}, 12: {Copies: 2}, 13: {Delay: time.Second}, 15: {Overtake: true}, 16: {Delay: -time.Second},
	}
	w.network.SetFault(func(p *Packet) Verdict {
		msgs, err := decodeFrame(p.Frame, defaultFrameLimit)
		if err != nil {
			t.Error(err)
		}
		return verdicts[msgs[0].Raft.GetIndex()]
	})
	w.send(1, 2, 11, 12, 13, 14, 15, 16)
	w.expect(t, "n2 got 15 from 1", "n2 got 12 from 1", "n2 got 12 from 1", "n2 got 12 from 1", "n2 got 14 from 1", "n2 got 16 from 1")
	due, ok := w.network.NextDue()
	if !ok || !due.Equal(w.clock.Now().Add(time.Second)) {
		t.Errorf("the next packet is due at %v, %t", due, ok)
	}
	w.clock.Advance(time.Second)
	w.expect(t, "n2 got 13 from 1")
	w.network.SetFault(nil)

	w.network.PartitionOneWay("n1", "n2")
	w.send(1, 2, 21, 22)
	w.send(2, 1, 23)
	w.send(1, 3, 24)
	w.expect(t, "n1 got 23 from 2", "n3 got 24 from 1", "n1 lost 2")
	w.send(1, 2, 25)
	w.expect(t) // a report within the interval waits
	w.clock.Advance(time.Second)
	w.expect(t, "n1 lost 2")
	w.network.HealAll()
	w.network.Partition("n2", "n3")
	w.send(2, 3, 31)
	w.send(3, 2, 32)
	w.send(1, 2, 33)
	w.expect(t, "n2 got 33 from 1", "n2 lost 3", "n3 lost 2")
	w.network.Heal("n2", "n3")
	w.send(3, 2, 34)
	w.expect(t, "n2 got 34 from 3")

	for replica, node := range w.nodes {
		for key, q := range node.queues {
			if q.messages != 0 || q.bytes != 0 {
				t.Errorf("queue of %d to %v holds %d messages and %d bytes at rest", replica, key, q.messages, q.bytes)
			}
		}
	}
}

func TestMemoryQueueIsBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Limits{QueueMessages: 3})
	w.send(1, 2, 1, 2, 3, 4, 5)
	w.send(1, 3, 6)
	w.expect(t, "n2 got 1 from 1", "n2 got 2 from 1", "n2 got 3 from 1", "n1 lost 2", "n3 got 6 from 1")
	w.send(1, 2, 7)
	w.expect(t, "n2 got 7 from 1")
}

func TestNetworkNodes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Limits{})
	if _, err := w.network.Node(MemoryConfig{Address: "n1", Resolver: byNumber{}}, &quietHandler{}); err == nil {
		t.Error("an address was given twice")
	}
	for _, cfg := range []MemoryConfig{{Resolver: byNumber{}}, {Address: "x"}, {Address: "x", Resolver: byNumber{}, Limits: Limits{FrameLimit: 1}}} {
		if _, err := w.network.Node(cfg, &quietHandler{}); err == nil {
			t.Errorf("%+v was accepted", cfg)
		}
	}
	w.send(2, 1, 1)
	w.nodes[2].Stop(t.Context())
	w.send(1, 2, 2)
	w.send(2, 1, 3)
	w.expect(t, "n1 got 1 from 2", "n1 lost 2") // what a dead node sent may still arrive
	again, err := w.network.Node(MemoryConfig{Address: "n2", Resolver: byNumber{}}, &diary{name: "n2'", lines: &w.lines})
	if err != nil {
		t.Fatal(err)
	}
	again.SetIdentity(Identity{ClusterUID: ident.ClusterUID{1}, Replica: 9}) // it lost its disk
	w.send(1, 2, 4)
	w.clock.Advance(time.Second)
	w.expect(t, "n1 lost 2")
}

func TestNetworkCallFaults(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Limits{})
	var kinds []CallKind
	verdict := DeliverCall
	w.network.SetCallFault(func(c *Call) CallVerdict {
		kinds = append(kinds, c.Kind)
		return verdict
	})
	forward := func() error {
		_, err := w.nodes[1].Forward(t.Context(), 2, &nodev1.ForwardRequest{})
		return err
	}
	if err := forward(); err != nil {
		t.Error(err)
	}
	verdict = LoseRequest
	if err := forward(); !errors.Is(err, ErrNotDelivered) {
		t.Errorf("Forward with a lost request = %v, want ErrNotDelivered", err)
	}
	if _, err := w.nodes[1].NodeInfo(t.Context(), "n2", &nodev1.GetNodeInfoRequest{}); err == nil {
		t.Error("NodeInfo with a lost request succeeded")
	}
	verdict = LoseResponse
	if err := forward(); err == nil || errors.Is(err, ErrNotDelivered) {
		t.Errorf("Forward with a lost response = %v, want an unknown outcome", err)
	}
	if _, err := w.nodes[1].Join(t.Context(), "n2", &nodev1.JoinRequest{}); err == nil {
		t.Error("Join with a lost response succeeded")
	}
	if want := []CallKind{CallForward, CallForward, CallNodeInfo, CallForward, CallJoin}; !slices.Equal(kinds, want) {
		t.Errorf("judged %v, want %v", kinds, want)
	}
}
