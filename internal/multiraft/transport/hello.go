package transport

import (
	"context"
	"fmt"
	"math"
	"net"
	"net/netip"
	"strconv"

	"google.golang.org/grpc/metadata"

	"github.com/kalamdb/kalamdb-go/internal/ident"
)

// Metadata keys of every member's stream and call.
const (
	metadataCluster  = "kalamdb-cluster-uid"
	metadataProtocol = "kalamdb-protocol"
	metadataFrom     = "kalamdb-from"
	metadataTo       = "kalamdb-to"
	metadataAddress  = "kalamdb-address"  // where the sender can be reached; nodes of earlier versions do not say it
	metadataLane     = "kalamdb-lane"     // Raft streams only
	metadataAccepted = "kalamdb-accepted" // in the response header of an accepted Raft stream
)

// hello is what a member says about itself and the one it believes it is talking to.
type hello struct {
	cluster  ident.ClusterUID
	protocol uint64
	from, to ident.ReplicaID
	address  string // of from; empty when it is not said
}

// helloTo is what a node of the given identity says to a peer.
func helloTo(own Identity, to ident.ReplicaID) hello {
	return hello{cluster: own.ClusterUID, protocol: ProtocolVersion, from: own.Replica, to: to, address: own.Address}
}

// attach adds the hello to an outgoing call.
func (h hello) attach(ctx context.Context) context.Context {
	if h.address != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, metadataAddress, h.address)
	}
	return metadata.AppendToOutgoingContext(ctx,
		metadataCluster, h.cluster.String(),
		metadataProtocol, strconv.FormatUint(h.protocol, 10),
		metadataFrom, strconv.FormatUint(uint64(h.from), 10),
		metadataTo, strconv.FormatUint(uint64(h.to), 10))
}

// receiveHello reads the hello of an incoming call. The protocol version is read first and alone, so that
// a later version may say the rest in another way.
func receiveHello(ctx context.Context) (hello, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	single := func(key string) string {
		if values := md.Get(key); len(values) == 1 {
			return values[0]
		}
		return ""
	}
	number := func(key string) (uint64, error) {
		v, err := strconv.ParseUint(single(key), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("metadata %s is missing or no number: %w", key, ErrMalformed)
		}
		return v, nil
	}
	var h hello
	var err error
	if h.protocol, err = number(metadataProtocol); err != nil {
		return h, err
	}
	if h.protocol != ProtocolVersion {
		return h, nil // check refuses it with a better sentence
	}
	uid, err := ident.ParseID16(single(metadataCluster))
	if err != nil {
		return h, fmt.Errorf("metadata %s: %w", metadataCluster, ErrMalformed)
	}
	h.cluster = ident.ClusterUID(uid)
	from, err := number(metadataFrom)
	if err != nil {
		return h, err
	}
	to, err := number(metadataTo)
	if err != nil {
		return h, err
	}
	h.from, h.to = ident.ReplicaID(from), ident.ReplicaID(to)
	h.address = single(metadataAddress)
	return h, nil
}

// maxAddressBytes bounds an address: a name of DNS has up to 255 bytes, a colon and a port up to six.
const maxAddressBytes = 261

// IsAddress reports whether a text can be the address of somebody else. One to listen on, as 0.0.0.0:9188, leads nowhere.
func IsAddress(addr string) bool {
	if len(addr) > maxAddressBytes {
		return false
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil || host == "" || port == "" {
		return false
	}
	if ip, notIP := netip.ParseAddr(host); notIP == nil && ip.IsUnspecified() {
		return false
	}
	number, err := strconv.Atoi(port)
	return err != nil || number > 0 && number <= math.MaxUint16 // services have names too
}

// tell hands what a member says of its address to a handler that keeps addresses. What can be none counts as not said:
// nothing but a way to the sender is lost.
func (h hello) tell(handler Handler) (moved bool) {
	keeper, ok := handler.(AddressKeeper)
	return ok && IsAddress(h.address) && keeper.HandleAddress(h.from, h.address)
}

// Reasons of refusal, as the metrics name them.
const (
	refusedStopping    = "stopping"
	refusedNotMember   = "not_member"
	refusedMalformed   = "malformed"
	refusedProtocol    = "protocol"
	refusedCluster     = "cluster"
	refusedAddressee   = "addressee"
	refusedSender      = "sender"
	refusedCertificate = "certificate"
	refusedFrame       = "frame"
	refusedMessage     = "message"
	refusedSnapshot    = "snapshot"
)

// refusal is a stream or call that this node does not serve: a reason for the metrics and a sentence for
// the operator of the other side.
type refusal struct {
	reason   string
	sentence string
	denied   bool // who it is, as opposed to what it says, is wrong
}

func (r *refusal) Error() string { return r.sentence }

// check holds a hello against this node's identity; nil means welcome.
func (h hello) check(own Identity) *refusal {
	refuse := func(reason string, denied bool, format string, args ...any) *refusal {
		return &refusal{reason: reason, denied: denied, sentence: fmt.Sprintf(format, args...)}
	}
	switch {
	case h.protocol != ProtocolVersion:
		return refuse(refusedProtocol, false, "protocol version %d is not spoken here; this node speaks %d", h.protocol, ProtocolVersion)
	case !own.known():
		return refuse(refusedNotMember, false, "this node is not a member of a cluster yet")
	case h.cluster != own.ClusterUID:
		return refuse(refusedCluster, true, "this node belongs to cluster %v, not %v", own.ClusterUID, h.cluster)
	case h.to != own.Replica:
		return refuse(refusedAddressee, false, "this is replica %d, not %d; its data directory may have been replaced", own.Replica, h.to)
	case h.from == 0 || h.from == own.Replica:
		return refuse(refusedSender, true, "replica %d cannot be the sender here", h.from)
	}
	return nil
}

// checkMessages holds every message of a frame against its stream: a member may speak for itself only.
func checkMessages(msgs []Message, from, to ident.ReplicaID) *refusal {
	for _, m := range msgs {
		if m.Raft.GetFrom() != uint64(from) || m.Raft.GetTo() != uint64(to) {
			return &refusal{reason: refusedMessage, denied: true, sentence: fmt.Sprintf(
				"%v: %v from replica %d to %d on the stream of replica %d to %d",
				m.Group, m.Raft.GetType(), m.Raft.GetFrom(), m.Raft.GetTo(), from, to)}
		}
	}
	return nil
}
