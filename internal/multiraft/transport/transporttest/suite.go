// Package transporttest holds the promises that every transport between nodes keeps, as tests.
//
// Run takes a way to make clusters, and checks order, bounds, snapshots, forwarded proposals, healing and
// refusals against it. A Cluster hides how nodes are made, how faults are caused, and who moves messages; the suite
// waits for effects and never for time.
//
// Only tests import it.
package transporttest

import (
	"context"
	"sync"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/transport"
	nodev1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/node/v1"
)

// Node is what every transport offers.
type Node interface {
	SetIdentity(identity transport.Identity)
	Send(to ident.ReplicaID, msgs []transport.Message)
	SendSnapshot(ctx context.Context, to ident.ReplicaID, header *nodev1.SnapshotHeader, next func() ([]byte, error)) error
	Forward(ctx context.Context, to ident.ReplicaID, req *nodev1.ForwardRequest) (*nodev1.ForwardResponse, error)
	NodeInfo(ctx context.Context, addr string, req *nodev1.GetNodeInfoRequest) (*nodev1.GetNodeInfoResponse, error)
	Join(ctx context.Context, addr string, req *nodev1.JoinRequest) (*nodev1.JoinResponse, error)
	Forget(replica ident.ReplicaID)
	Stop(ctx context.Context)
}

// Cluster makes nodes that can reach each other. Everything it made ends with the test.
type Cluster interface {
	// Start runs a node and returns it with its address. A name may be started again after its Stop; its
	// address may then be another.
	Start(t *testing.T, name string, resolver transport.Resolver, handler transport.Handler, limits transport.Limits) (Node, string)
	// Cut breaks all connections between two names and lets no new ones through.
	Cut(a, b string)
	// Heal lets connections through again.
	Heal(a, b string)
	// Corrupt flips one bit wherever the marker travels over the network from now on.
	Corrupt(marker []byte)
}

// Directory is a Resolver whose addresses a test may change.
type Directory struct {
	mu        sync.Mutex // guards addresses
	addresses map[ident.ReplicaID]string
}

// Address implements transport.Resolver.
func (d *Directory) Address(replica ident.ReplicaID) (string, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	addr, ok := d.addresses[replica]
	return addr, ok
}

// Set records where a replica listens.
func (d *Directory) Set(replica ident.ReplicaID, addr string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.addresses == nil {
		d.addresses = map[ident.ReplicaID]string{}
	}
	d.addresses[replica] = addr
}

// fixture is two nodes, named "a" and "b", that are replicas 1 and 2 of one cluster.
type fixture struct {
	cluster    Cluster
	directory  *Directory
	a, b       Node
	recA, recB *Recorder
}

const (
	replicaA ident.ReplicaID = 1
	replicaB ident.ReplicaID = 2
)

// home is the cluster of the fixture.
func home() ident.ClusterUID { return ident.ClusterUID{0: 1, 15: 2} }

func identityOf(replica ident.ReplicaID) transport.Identity {
	return transport.Identity{ClusterUID: home(), Replica: replica}
}

func newFixture(t *testing.T, cluster Cluster, limits transport.Limits) *fixture {
	t.Helper()
	f := &fixture{cluster: cluster, directory: &Directory{}, recA: NewRecorder(), recB: NewRecorder()}
	var addrA, addrB string
	f.a, addrA = cluster.Start(t, "a", f.directory, f.recA, limits)
	f.b, addrB = cluster.Start(t, "b", f.directory, f.recB, limits)
	f.directory.Set(replicaA, addrA)
	f.directory.Set(replicaB, addrB)
	f.a.SetIdentity(identityOf(replicaA))
	f.b.SetIdentity(identityOf(replicaB))
	return f
}

// Run checks all promises. make is called once per case.
func Run(t *testing.T, newCluster func(t *testing.T) Cluster) {
	t.Helper()
	cases := []struct {
		name string
		run  func(*testing.T, Cluster)
	}{
		{"messages keep their order on each lane", orderPerLane},
		{"a full queue drops and reports", fullQueue},
		{"forbidden messages are dropped and others arrive", forbiddenMessages},
		{"a message over the frame limit is dropped and others arrive", oversizedMessage},
		{"a frame over the limit of the receiver is refused", oversizedFrame},
		{"a message in the name of another replica is refused", foreignMessage},
		{"a corrupted frame is refused and the stream heals", corruptedFrame},
		{"another cluster is refused", wrongCluster},
		{"a replica that is not the addressee refuses", wrongAddressee},
		{"a peer that claims the receiver's own id is refused", ownID},
		{"before membership only strangers' calls work", strangers},
		{"a restarted peer at another address heals", restart},
		{"a member that moved is found where it says", movesAndSays},
		{"a partition drops, reports and heals", partition},
		{"a replica without address is reported", unknownAddress},
		{"a snapshot arrives whole", snapshotWhole},
		{"an empty snapshot arrives", snapshotEmpty},
		{"a snapshot that its source breaks off is not installed", snapshotSourceFails},
		{"a snapshot whose stream breaks is not installed", snapshotStreamBreaks},
		{"a corrupted chunk is refused", snapshotCorrupted},
		{"a chunk over the limit is not sent", snapshotChunkTooLarge},
		{"a snapshot in the name of another replica is refused", snapshotForeign},
		{"the sender learns why a snapshot was not installed", snapshotInstallFails},
		{"a forwarded proposal is answered", forwardAnswered},
		{"a proposal that surely was not delivered says so", forwardNotDelivered},
		{"a proposal that may have been delivered does not claim otherwise", forwardUnknown},
		{"a stopped node does nothing", stopped},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.run(t, newCluster(t))
		})
	}
}
