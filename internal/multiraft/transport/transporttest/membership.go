package transporttest

import (
	"errors"
	"strings"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/transport"
	nodev1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/node/v1"
)

// refusedEverywhere checks that b serves a neither stream nor call, and says so.
func (f *fixture) refusedEverywhere(t *testing.T) {
	t.Helper()
	f.a.Send(replicaB, []transport.Message{bulk(1), beat(2)})
	f.recA.AwaitUnreachable(t, replicaB, 0)
	retry := newTicker(t)
	for {
		_, err := f.a.Forward(t.Context(), replicaB, &nodev1.ForwardRequest{Data: []byte("x")})
		if !errors.Is(err, transport.ErrNotDelivered) {
			t.Fatalf("Forward = %v, want ErrNotDelivered", err)
		}
		if errors.Is(err, transport.ErrRefused) {
			break
		}
		retry.wait(t, "the refusal of a proposal") // until then the pause after the refused stream
	}
	err := f.a.SendSnapshot(t.Context(), replicaB, &nodev1.SnapshotHeader{From: uint64(replicaA), To: uint64(replicaB)}, chunks("x"))
	if !errors.Is(err, transport.ErrRefused) {
		t.Errorf("SendSnapshot = %v, want ErrRefused", err)
	}
	f.recB.Look(func(s *State) {
		if len(s.Messages)+len(s.Snapshots)+s.Forwards > 0 {
			t.Errorf("something was delivered: %d messages, %d snapshots, %d forwards", len(s.Messages), len(s.Snapshots), s.Forwards)
		}
	})
}

func wrongCluster(t *testing.T, cluster Cluster) {
	t.Helper()
	f := newFixture(t, cluster, transport.Limits{})
	f.b.SetIdentity(transport.Identity{ClusterUID: ident.ClusterUID{9}, Replica: replicaB})
	f.refusedEverywhere(t)
}

func wrongAddressee(t *testing.T, cluster Cluster) {
	t.Helper()
	f := newFixture(t, cluster, transport.Limits{})
	f.b.SetIdentity(identityOf(12)) // its disk was replaced, and it was admitted anew
	f.refusedEverywhere(t)
}

func ownID(t *testing.T, cluster Cluster) {
	t.Helper()
	f := newFixture(t, cluster, transport.Limits{})
	f.a.SetIdentity(identityOf(replicaB))
	f.refusedEverywhere(t)
}

func strangers(t *testing.T, cluster Cluster) {
	t.Helper()
	directory, recA, recB := &Directory{}, NewRecorder(), NewRecorder()
	a, _ := cluster.Start(t, "a", directory, recA, transport.Limits{})
	b, addrB := cluster.Start(t, "b", directory, recB, transport.Limits{})
	directory.Set(replicaB, addrB)

	info, err := a.NodeInfo(t.Context(), addrB, &nodev1.GetNodeInfoRequest{WithGroups: true})
	if err != nil || info.GetHostname() != "recorder" || len(info.GetGroups()) != 1 {
		t.Errorf("NodeInfo = %v, %v", info, err)
	}
	joined, err := a.Join(t.Context(), addrB, &nodev1.JoinRequest{NodeId: 3})
	if err != nil || joined.GetReplicaId() != 103 {
		t.Errorf("Join = %v, %v", joined, err)
	}
	a.Send(replicaB, []transport.Message{bulk(1)})
	recA.AwaitUnreachable(t, replicaB, 0)
	if _, err := a.Forward(t.Context(), replicaB, &nodev1.ForwardRequest{}); !errors.Is(err, transport.ErrNotMember) || !errors.Is(err, transport.ErrNotDelivered) {
		t.Errorf("Forward before membership = %v, want ErrNotMember and ErrNotDelivered", err)
	}
	if err := a.SendSnapshot(t.Context(), replicaB, &nodev1.SnapshotHeader{}, chunks()); !errors.Is(err, transport.ErrNotMember) {
		t.Errorf("SendSnapshot before membership = %v, want ErrNotMember", err)
	}

	// A member is refused by a node that is none yet, until that node becomes one.
	a.SetIdentity(identityOf(replicaA))
	f := &fixture{cluster: cluster, directory: directory, a: a, b: b, recA: recA, recB: recB}
	f.refusedEverywhere(t)
	b.SetIdentity(identityOf(replicaB))
	sendUntilArrived(t, a, recB, bulk(5))
}

func restart(t *testing.T, cluster Cluster) {
	t.Helper()
	f := newFixture(t, cluster, transport.Limits{})
	sendUntilArrived(t, f.a, f.recB, bulk(1))
	f.b.Stop(t.Context())
	before := 0
	f.recA.Look(func(s *State) { before = s.Unreachable[replicaB] })
	retry := newTicker(t)
	for lost := false; !lost; f.recA.Look(func(s *State) { lost = s.Unreachable[replicaB] > before }) {
		f.a.Send(replicaB, []transport.Message{bulk(2)})
		retry.wait(t, "the loss of a message to a stopped peer")
	}

	rec := NewRecorder()
	b, addr := f.cluster.Start(t, "b", f.directory, rec, transport.Limits{})
	b.SetIdentity(identityOf(replicaB))
	f.directory.Set(replicaB, addr)
	sendUntilArrived(t, f.a, rec, bulk(3))
	sendUntilArrived(t, f.a, rec, beat(4))
	resp, err := f.a.Forward(t.Context(), replicaB, &nodev1.ForwardRequest{Data: []byte("again")})
	if err != nil || string(resp.GetResult()) != "again" {
		t.Errorf("Forward after the restart = %v, %v", resp, err)
	}
}

// movesAndSays stops a node and starts it at another address, of which the other learns by nothing but what the node itself
// sends; and what cannot be an address is not taken for one.
func movesAndSays(t *testing.T, cluster Cluster) {
	t.Helper()
	f := newFixture(t, cluster, transport.Limits{})
	f.recA.KeepAddresses(f.directory)
	sendUntilArrived(t, f.a, f.recB, bulk(1))
	f.b.Stop(t.Context())
	rec := NewRecorder()
	// The directory of the one that moved knows the other.
	own := &Directory{}
	addrA, _ := f.directory.Address(replicaA)
	own.Set(replicaA, addrA)
	b, addr := f.cluster.Start(t, "b", own, rec, transport.Limits{})
	before, _ := f.directory.Address(replicaB)
	for _, said := range []string{"", "nowhere", ":1", strings.Repeat("x", 300) + ":1", "0.0.0.0:9188", "[::]:9188", "localhost:0", "localhost:65536"} {
		identity := identityOf(replicaB)
		identity.Address = said
		b.SetIdentity(identity)
		if _, err := b.Forward(t.Context(), replicaA, &nodev1.ForwardRequest{Data: []byte("x")}); err != nil {
			t.Errorf("a member whose address is %q is answered %v", said, err)
		}
		b.Forget(replicaA) // who has an identity keeps it for its peers
		if now, _ := f.directory.Address(replicaB); now != before {
			t.Fatalf("%q is taken for the address %q", said, now)
		}
	}
	identity := identityOf(replicaB)
	identity.Address = addr
	b.SetIdentity(identity)
	back := bulk(2)
	back.Raft.From, back.Raft.To = new(uint64(replicaB)), new(uint64(replicaA))
	sendUntilArrived(t, b, f.recA, back)
	sendUntilArrived(t, f.a, rec, bulk(3))
	if resp, err := f.a.Forward(t.Context(), replicaB, &nodev1.ForwardRequest{Data: []byte("there")}); err != nil || string(resp.GetResult()) != "there" {
		t.Errorf("Forward to the node that moved = %v, %v", resp, err)
	}
}

func partition(t *testing.T, cluster Cluster) {
	t.Helper()
	f := newFixture(t, cluster, transport.Limits{})
	sendUntilArrived(t, f.a, f.recB, bulk(1))
	f.cluster.Cut("a", "b")
	before := 0
	f.recA.Look(func(s *State) { before = s.Unreachable[replicaB] })
	retry := newTicker(t)
	for lost := false; !lost; f.recA.Look(func(s *State) { lost = s.Unreachable[replicaB] > before }) {
		f.a.Send(replicaB, []transport.Message{bulk(2)})
		retry.wait(t, "the loss of a message to a peer behind a partition")
	}
	if _, err := f.a.Forward(t.Context(), replicaB, &nodev1.ForwardRequest{}); !errors.Is(err, transport.ErrNotDelivered) {
		t.Errorf("Forward into a partition = %v, want ErrNotDelivered", err)
	}
	f.cluster.Heal("a", "b")
	sendUntilArrived(t, f.a, f.recB, bulk(3))
	f.a.Forget(replicaB)
	sendUntilArrived(t, f.a, f.recB, bulk(4)) // forgotten is not forbidden
}

func unknownAddress(t *testing.T, cluster Cluster) {
	t.Helper()
	f := newFixture(t, cluster, transport.Limits{})
	const nowhere ident.ReplicaID = 40
	m := bulk(1)
	m.Raft.To = new(uint64(nowhere))
	f.a.Send(nowhere, []transport.Message{m})
	f.recA.AwaitUnreachable(t, nowhere, 0)
	_, err := f.a.Forward(t.Context(), nowhere, &nodev1.ForwardRequest{})
	if !errors.Is(err, transport.ErrNotDelivered) || !errors.Is(err, transport.ErrUnknownAddress) {
		t.Errorf("Forward = %v, want ErrNotDelivered and ErrUnknownAddress", err)
	}
	err = f.a.SendSnapshot(t.Context(), nowhere, &nodev1.SnapshotHeader{}, chunks("x"))
	if !errors.Is(err, transport.ErrUnknownAddress) {
		t.Errorf("SendSnapshot = %v, want ErrUnknownAddress", err)
	}
}

func stopped(t *testing.T, cluster Cluster) {
	t.Helper()
	f := newFixture(t, cluster, transport.Limits{})
	sendUntilArrived(t, f.a, f.recB, bulk(1))
	f.a.Stop(t.Context())
	f.a.Stop(t.Context()) // again, to no effect
	f.a.Send(replicaB, []transport.Message{bulk(2)})
	f.a.Forget(replicaB)
	_, err := f.a.Forward(t.Context(), replicaB, &nodev1.ForwardRequest{})
	if !errors.Is(err, transport.ErrNotDelivered) || !errors.Is(err, transport.ErrStopped) {
		t.Errorf("Forward = %v, want ErrNotDelivered and ErrStopped", err)
	}
	if err := f.a.SendSnapshot(t.Context(), replicaB, &nodev1.SnapshotHeader{}, chunks()); !errors.Is(err, transport.ErrStopped) {
		t.Errorf("SendSnapshot = %v, want ErrStopped", err)
	}
	if _, err := f.a.NodeInfo(t.Context(), "127.0.0.1:1", &nodev1.GetNodeInfoRequest{}); !errors.Is(err, transport.ErrStopped) {
		t.Errorf("NodeInfo = %v, want ErrStopped", err)
	}
}
