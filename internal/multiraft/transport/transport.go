// Package transport carries what replicas say to each other: Raft messages, snapshots and forwarded
// proposals.
//
// GRPC is the network of production; Memory is its twin for tests and the simulator, driven by hand from
// one goroutine. Both run the same codec, the same identity checks and the same bounds, and both pass the
// suite in transporttest.
//
// Raft messages of all groups share one stream per peer and lane. The control lane (votes, heartbeats,
// read index, the meta group) is never queued behind the bulk lane (log entries). A lane keeps order; a
// message is delivered at most once or dropped, and a drop is reported with HandleUnreachable. Nothing
// here blocks a caller of Send: queues are bounded by count and bytes, and a full queue drops.
//
// Forwarded proposals share one stream per peer too: all that wait travel in one frame, each with its own patience, end and
// answer. Their number and bytes are bounded; what comes beyond is answered as by an overloaded leader.
//
// Every stream and call says which cluster, protocol version, sender and addressee it means; a server that
// is not meant refuses it. Every Raft message must come from the stream's sender and be addressed to this
// replica, and frames carry a CRC-32C. The formats are in docs/design/formats/frames.md.
//
// The package knows nothing of groups beyond their number. Only multiraft, server and sim import it.
package transport

import (
	"context"
	"errors"

	raftpb "go.etcd.io/raft/v3/raftpb"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	nodev1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/node/v1"
)

// Message is one Raft message of one group. From and To inside are replica ids.
type Message struct {
	Group shard.GroupID
	Raft  *raftpb.Message
}

// Handler receives what peers send. Its methods are called from many goroutines at once.
type Handler interface {
	// HandleMessages takes ownership of msgs, which arrived in this order on one lane. It must not block.
	// Entry data aliases the frame it came in (up to the frame target, or one oversized message).
	HandleMessages(from ident.ReplicaID, msgs []Message)
	// HandleUnreachable says that messages to a replica were dropped, or may have been lost with a
	// stream. It is called at most once per replica and GRPCConfig.ReportInterval, and never from inside Send.
	HandleUnreachable(to ident.ReplicaID)
	// HandleSnapshot installs the state of one group. next returns the chunks in order, each with its
	// checksum verified, and io.EOF after the last; any other error means that the stream broke and nothing
	// may be installed. A chunk is owned by the caller of next.
	HandleSnapshot(ctx context.Context, header *nodev1.SnapshotHeader, next func() ([]byte, error)) error
	// HandleForward runs a proposal; it may wait for the outcome within ctx.
	HandleForward(ctx context.Context, req *nodev1.ForwardRequest) *nodev1.ForwardResponse
	// HandleNodeInfo says who this node is; strangers may ask.
	HandleNodeInfo(ctx context.Context, req *nodev1.GetNodeInfoRequest) *nodev1.GetNodeInfoResponse
	// HandleJoin admits a store or refuses it; strangers may ask.
	HandleJoin(ctx context.Context, req *nodev1.JoinRequest) *nodev1.JoinResponse
}

// Resolver says where a replica listens.
type Resolver interface {
	// Address returns host:port, or false while it is not known. It must be quick and is asked again on
	// every connection attempt and call, so that a changed address heals by itself.
	Address(replica ident.ReplicaID) (addr string, ok bool)
}

// WayChooser is what a Resolver also implements when it can know several addresses of a replica. None of them is trusted: what is tried
// there is to reach the replica itself.
type WayChooser interface {
	// Addresses lists them, the first choice first. It must be quick and is asked again and again while there is no connection. One that is
	// established, and over which the replica has accepted a stream, is kept whatever becomes known.
	Addresses(replica ident.ReplicaID) []string
	// AddressTaken says at which of several addresses a replica was found. It must be quick.
	AddressTaken(replica ident.ReplicaID, addr string)
}

// AddressKeeper is what a Handler also implements when it learns from members themselves where they are.
type AddressKeeper interface {
	// HandleAddress takes what a member that was let in says of where it can be reached; moved is true when it is another
	// place than before: what leads elsewhere is then connected anew. It must not block.
	HandleAddress(from ident.ReplicaID, addr string) (moved bool)
}

// Identity is who this node is. Cluster and replica are set or the node is no member yet.
type Identity struct {
	ClusterUID ident.ClusterUID
	Replica    ident.ReplicaID
	// Address is where peers reach this node, which it says with every stream and call; empty is not said.
	Address string
}

// known reports whether the node is a member.
func (i Identity) known() bool { return !i.ClusterUID.IsZero() && i.Replica != 0 }

// ProtocolVersion is the version of the conversation between nodes. A peer that speaks another is refused.
const ProtocolVersion = 1

// Errors a caller branches on.
var (
	// ErrNotDelivered marks a call that surely did not reach the peer's handler: repeating it is safe
	// even where it could not be recognised as a repeat. An error without it leaves the outcome unknown.
	ErrNotDelivered = errors.New("not delivered")
	// ErrRefused marks a stream or call that the peer refused: another cluster, another replica, another
	// protocol version or a certificate of somebody else.
	ErrRefused = errors.New("refused by the peer")
	// ErrStopped is returned after Stop.
	ErrStopped = errors.New("transport is stopped")
	// ErrUnknownAddress is returned while the Resolver does not know a replica.
	ErrUnknownAddress = errors.New("address of the replica is not known")
	// ErrNotMember is returned before SetIdentity.
	ErrNotMember = errors.New("this node is not a member of a cluster yet")
	// ErrMalformed marks bytes that are no valid frame or message.
	ErrMalformed = errors.New("malformed frame")
	// ErrCorrupt marks bytes whose checksum does not match.
	ErrCorrupt = errors.New("checksum mismatch")
	// ErrForbiddenMessage marks a Raft message that may not travel between nodes.
	ErrForbiddenMessage = errors.New("message may not travel between nodes")
)
