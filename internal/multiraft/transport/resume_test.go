package transport_test

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/transport"
	nodev1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/node/v1"
)

// keeper is a handler that has one range of a snapshot of group 7; plain has no such method.
type keeper struct{ transport.Handler }

type plain struct{ transport.Handler }

func (keeper) HandleSnapshotProgress(_ context.Context, req *nodev1.SnapshotProgressRequest) *nodev1.SnapshotProgressResponse {
	if req.GetGroup() != 7 {
		return &nodev1.SnapshotProgressResponse{}
	}
	return &nodev1.SnapshotProgressResponse{Ranges: []*nodev1.SnapshotRange{{Last: []byte("k"), Pairs: 3, Digest: 1 << 63}}}
}

// at resolves every replica to one address.
type at string

func (a at) Address(ident.ReplicaID) (string, bool) { return string(a), true }

// asker is what both networks offer.
type asker interface {
	SnapshotProgress(ctx context.Context, to ident.ReplicaID, req *nodev1.SnapshotProgressRequest) (*nodev1.SnapshotProgressResponse, error)
	SetIdentity(identity transport.Identity)
}

func TestSnapshotProgressIsAskedOfMembersOnly(t *testing.T) {
	t.Parallel()
	overMemory := func(t *testing.T, h transport.Handler) (client, server asker) {
		t.Helper()
		network := transport.NewNetwork(clock.NewManual(time.Unix(0, 0)))
		a, err := network.Node(transport.MemoryConfig{Address: "a", Resolver: at("b")}, plain{})
		if err != nil {
			t.Fatal(err)
		}
		b, err := network.Node(transport.MemoryConfig{Address: "b", Resolver: at("a")}, h)
		if err != nil {
			t.Fatal(err)
		}
		return a, b
	}
	overGRPC := func(t *testing.T, h transport.Handler) (client, server asker) {
		t.Helper()
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		cfg := transport.GRPCConfig{Resolver: at(listener.Addr().String()), Clock: clock.Real{}}
		a, err := transport.NewGRPC(cfg, plain{})
		if err != nil {
			t.Fatal(err)
		}
		b, err := transport.NewGRPC(cfg, h)
		if err != nil {
			t.Fatal(err)
		}
		go func() { _ = b.Serve(listener) }() // ends with Stop
		t.Cleanup(func() { a.Stop(context.Background()); b.Stop(context.Background()) })
		return a, b
	}
	for name, open := range map[string]func(*testing.T, transport.Handler) (asker, asker){"memory": overMemory, "grpc": overGRPC} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			ask := func(h transport.Handler, cluster byte, group uint64) (*nodev1.SnapshotProgressResponse, error) {
				client, server := open(t, h)
				client.SetIdentity(transport.Identity{ClusterUID: ident.ClusterUID{cluster}, Replica: 1})
				server.SetIdentity(transport.Identity{ClusterUID: ident.ClusterUID{1}, Replica: 2})
				return client.SnapshotProgress(ctx, 2, &nodev1.SnapshotProgressRequest{Group: group})
			}
			if _, err := ask(keeper{}, 9, 7); err == nil {
				t.Error("a stranger was answered")
			}
			if _, err := ask(plain{}, 1, 7); err == nil {
				t.Error("a node that keeps nothing answered")
			}
			got, err := ask(keeper{}, 1, 7)
			if err != nil {
				t.Fatal(err)
			}
			want := keeper{}.HandleSnapshotProgress(ctx, &nodev1.SnapshotProgressRequest{Group: 7})
			if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
				t.Error(diff)
			}
		})
	}
}
