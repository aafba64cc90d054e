package transport

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	raftpb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	nodev1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/node/v1"
)

// quietHandler counts nothing and answers nothing; what reaches it is given to the functions that are set.
type quietHandler struct {
	messages func([]Message)
	snapshot func(next func() ([]byte, error)) error
	forward  func(ctx context.Context, req *nodev1.ForwardRequest) *nodev1.ForwardResponse
}

func (q *quietHandler) HandleMessages(_ ident.ReplicaID, msgs []Message) {
	if q.messages != nil {
		q.messages(msgs)
	}
}
func (q *quietHandler) HandleUnreachable(ident.ReplicaID) {}
func (q *quietHandler) HandleSnapshot(_ context.Context, _ *nodev1.SnapshotHeader, next func() ([]byte, error)) error {
	if q.snapshot != nil {
		return q.snapshot(next)
	}
	return nil
}

func (q *quietHandler) HandleForward(ctx context.Context, req *nodev1.ForwardRequest) *nodev1.ForwardResponse {
	if q.forward != nil {
		return q.forward(ctx, req)
	}
	return &nodev1.ForwardResponse{}
}

func (q *quietHandler) HandleNodeInfo(context.Context, *nodev1.GetNodeInfoRequest) *nodev1.GetNodeInfoResponse {
	return &nodev1.GetNodeInfoResponse{}
}

func (q *quietHandler) HandleJoin(context.Context, *nodev1.JoinRequest) *nodev1.JoinResponse {
	return &nodev1.JoinResponse{}
}

// fixedResolver knows one address for every replica.
type fixedResolver string

func (f fixedResolver) Address(ident.ReplicaID) (string, bool) { return string(f), f != "" }

// serve runs a transport on loopback until the test ends.
func serve(tb testing.TB, cfg GRPCConfig, handler Handler) (*GRPC, string) {
	tb.Helper()
	if cfg.Resolver == nil {
		cfg.Resolver = fixedResolver("")
	}
	if cfg.Clock == nil {
		cfg.Clock = clock.Real{}
	}
	node, err := NewGRPC(cfg, handler)
	if err != nil {
		tb.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- node.Serve(listener) }()
	tb.Cleanup(func() {
		node.Stop(context.Background())
		if err := <-served; err != nil {
			tb.Errorf("Serve = %v", err)
		}
	})
	return node, listener.Addr().String()
}

// victim is a member, replica 2, and a bare connection to it for a hostile peer.
func victim(t *testing.T, handler Handler) (*GRPC, *grpc.ClientConn, *prometheus.Registry) {
	t.Helper()
	registry := prometheus.NewRegistry()
	node, addr := serve(t, GRPCConfig{Registerer: registry, Limits: Limits{FrameLimit: 64 << 10}}, handler)
	node.SetIdentity(Identity{ClusterUID: ident.ClusterUID{7}, Replica: 2})
	conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(newWireCodec())))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return node, conn, registry
}

// goodHello is the metadata of a well-behaved replica 1.
func goodHello() map[string]string {
	return map[string]string{
		metadataCluster: ident.ClusterUID{7}.String(), metadataProtocol: "1", metadataFrom: "1", metadataTo: "2", metadataLane: "bulk",
	}
}

// speak opens a Raft stream with the metadata and sends frames; it returns how the victim ended the stream.
func speak(t *testing.T, conn *grpc.ClientConn, md map[string]string, frames ...[]byte) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(metadata.NewOutgoingContext(t.Context(), metadata.New(md)), 20*time.Second)
	defer cancel()
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, raftMethod)
	if err != nil {
		return err
	}
	for _, frame := range frames {
		if err := stream.SendMsg(&outFrame{buffer: mem.SliceBuffer(frame)}); err != nil {
			break // the reason comes with RecvMsg
		}
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	return stream.RecvMsg(&inFrame{})
}

func TestHostileHelloIsRefused(t *testing.T) {
	t.Parallel()
	handler := &quietHandler{messages: func([]Message) { t.Error("a message was delivered") }}
	_, conn, registry := victim(t, handler)
	frame := encodeFrame(t, Message{Group: 10, Raft: &raftpb.Message{
		Type: raftpb.MsgVote.Enum(), From: new(uint64(1)), To: new(uint64(2)),
	}})
	for name, c := range map[string]struct {
		key, value string
		code       codes.Code
		sentence   string
	}{
		"no protocol":      {metadataProtocol, "", codes.FailedPrecondition, "kalamdb-protocol"},
		"later protocol":   {metadataProtocol, "2", codes.FailedPrecondition, "protocol version 2 is not spoken here"},
		"no cluster":       {metadataCluster, "", codes.FailedPrecondition, "kalamdb-cluster-uid"},
		"short cluster":    {metadataCluster, "0123", codes.FailedPrecondition, "kalamdb-cluster-uid"},
		"zero cluster":     {metadataCluster, ident.ClusterUID{}.String(), codes.PermissionDenied, "belongs to cluster"},
		"another cluster":  {metadataCluster, ident.ClusterUID{8}.String(), codes.PermissionDenied, "belongs to cluster"},
		"no sender":        {metadataFrom, "", codes.FailedPrecondition, "kalamdb-from"},
		"negative sender":  {metadataFrom, "-1", codes.FailedPrecondition, "kalamdb-from"},
		"sender zero":      {metadataFrom, "0", codes.PermissionDenied, "cannot be the sender"},
		"the victim's id":  {metadataFrom, "2", codes.PermissionDenied, "cannot be the sender"},
		"no addressee":     {metadataTo, "", codes.FailedPrecondition, "kalamdb-to"},
		"other addressee":  {metadataTo, "3", codes.FailedPrecondition, "this is replica 2, not 3"},
		"unknown lane":     {metadataLane, "fast", codes.FailedPrecondition, "lane"},
		"a lane of digits": {metadataLane, "99999999999999999999", codes.FailedPrecondition, "lane"},
	} {
		md := goodHello()
		md[c.key] = c.value
		err := speak(t, conn, md, frame)
		if status.Code(err) != c.code || !strings.Contains(err.Error(), c.sentence) {
			t.Errorf("%s: stream ended with %v, want %v and %q", name, err, c.code, c.sentence)
		}
		if c.key == metadataLane {
			continue // calls have none
		}
		ctx := metadata.NewOutgoingContext(t.Context(), metadata.New(md))
		client := nodev1.NewNodeServiceClient(conn)
		if _, err = client.Forward(ctx, &nodev1.ForwardRequest{}); status.Code(err) != c.code {
			t.Errorf("%s: Forward = %v, want %v", name, err, c.code)
		}
		snapshot, err := client.InstallSnapshot(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if _, err = snapshot.CloseAndRecv(); status.Code(err) != c.code {
			t.Errorf("%s: InstallSnapshot = %v, want %v", name, err, c.code)
		}
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() == "kalamdb_transport_refused_total" && len(family.GetMetric()) < 5 {
			t.Errorf("%d reasons of refusal were counted, want at least 5", len(family.GetMetric()))
		}
	}
}

func TestHostileFramesEndTheStream(t *testing.T) {
	t.Parallel()
	handler := &quietHandler{messages: func([]Message) { t.Error("a message was delivered") }}
	_, conn, _ := victim(t, handler)
	vote := func(from, to uint64) []byte {
		return encodeFrame(t, Message{Group: 10, Raft: &raftpb.Message{Type: raftpb.MsgVote.Enum(), From: &from, To: &to}})
	}
	flipped := vote(1, 2)
	flipped[len(flipped)-1] ^= 1
	local := vote(1, 2)
	local[frameHeaderSize+1] = byte(raftpb.MsgHup)
	for name, c := range map[string]struct {
		frame []byte
		code  codes.Code
	}{
		"empty":            {nil, codes.FailedPrecondition},
		"garbage":          {bytes.Repeat([]byte{0xa5}, 100), codes.FailedPrecondition},
		"flipped bit":      {flipped, codes.FailedPrecondition},
		"local message":    {reseal(local), codes.FailedPrecondition},
		"another's name":   {vote(3, 2), codes.PermissionDenied},
		"to another":       {vote(1, 3), codes.PermissionDenied},
		"no sender at all": {vote(0, 2), codes.PermissionDenied},
		"over the limit":   {make([]byte, 200<<10), codes.ResourceExhausted},
	} {
		if err := speak(t, conn, goodHello(), c.frame); status.Code(err) != c.code {
			t.Errorf("%s: stream ended with %v, want %v", name, err, c.code)
		}
	}
}

func TestGoodPeerIsServedAmongHostileOnes(t *testing.T) {
	t.Parallel()
	arrived := make(chan int, 1)
	_, conn, _ := victim(t, &quietHandler{messages: func(msgs []Message) { arrived <- len(msgs) }})
	frame := encodeFrame(t, Message{Group: 10, Raft: &raftpb.Message{
		Type: raftpb.MsgVote.Enum(), From: new(uint64(1)), To: new(uint64(2)),
	}})
	if err := speak(t, conn, goodHello(), []byte("garbage")); err == nil {
		t.Fatal("garbage was accepted")
	}
	if err := speak(t, conn, goodHello(), frame); !errors.Is(err, io.EOF) {
		t.Errorf("stream of a good peer ended with %v, want a clean end", err)
	}
	if n := <-arrived; n != 1 {
		t.Errorf("%d messages arrived, want 1", n)
	}
}

func TestHostileSnapshotsAreRefused(t *testing.T) {
	t.Parallel()
	handler := &quietHandler{snapshot: func(next func() ([]byte, error)) error {
		for {
			if _, err := next(); errors.Is(err, io.EOF) {
				t.Error("a broken snapshot was taken for whole")
				return nil
			} else if err != nil {
				if _, again := next(); again == nil || again.Error() != err.Error() {
					t.Errorf("after %v, next said %v", err, again)
				}
				return err
			}
		}
	}}
	_, conn, _ := victim(t, handler)
	header := &nodev1.InstallSnapshotRequest{Part: &nodev1.InstallSnapshotRequest_Header{Header: &nodev1.SnapshotHeader{From: 1, To: 2}}}
	chunk := func(sequence uint64, text string, sum uint32, last bool) *nodev1.InstallSnapshotRequest {
		return &nodev1.InstallSnapshotRequest{Part: &nodev1.InstallSnapshotRequest_Chunk{Chunk: &nodev1.SnapshotChunk{
			Sequence: sequence, Data: []byte(text), Crc32C: sum, Last: last,
		}}}
	}
	good := chunk(0, "x", checksum([]byte("x")), false)
	for name, c := range map[string]struct {
		parts []*nodev1.InstallSnapshotRequest
		want  string
	}{
		"no header":       {[]*nodev1.InstallSnapshotRequest{good}, "must be its header"},
		"no end":          {[]*nodev1.InstallSnapshotRequest{header, good}, "ended before chunk 1"},
		"nothing":         {[]*nodev1.InstallSnapshotRequest{header}, "ended before chunk 0"},
		"gap":             {[]*nodev1.InstallSnapshotRequest{header, chunk(1, "x", checksum([]byte("x")), true)}, "chunk 1 where 0 was due"},
		"repeat":          {[]*nodev1.InstallSnapshotRequest{header, good, good}, "chunk 0 where 1 was due"},
		"wrong checksum":  {[]*nodev1.InstallSnapshotRequest{header, chunk(0, "x", 1, true)}, "checksum"},
		"second header":   {[]*nodev1.InstallSnapshotRequest{header, header}, "no chunk"},
		"neither of both": {[]*nodev1.InstallSnapshotRequest{header, {}}, "no chunk"},
	} {
		stream, err := nodev1.NewNodeServiceClient(conn).InstallSnapshot(
			metadata.NewOutgoingContext(t.Context(), metadata.New(goodHello())))
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range c.parts {
			if err := stream.Send(part); err != nil {
				break // the reason comes at the end
			}
		}
		if _, err := stream.CloseAndRecv(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: ended with %v, want %q", name, err, c.want)
		}
	}
}

func TestStopWaitsForRunningCalls(t *testing.T) {
	t.Parallel()
	entered, release := make(chan struct{}), make(chan struct{})
	handler := &quietHandler{snapshot: func(next func() ([]byte, error)) error {
		close(entered)
		<-release
		_, err := next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		return err
	}}
	node, conn, _ := victim(t, handler)
	stream, err := nodev1.NewNodeServiceClient(conn).InstallSnapshot(
		metadata.NewOutgoingContext(t.Context(), metadata.New(goodHello())))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(
		stream.Send(&nodev1.InstallSnapshotRequest{Part: &nodev1.InstallSnapshotRequest_Header{Header: &nodev1.SnapshotHeader{From: 1, To: 2}}}),
		stream.Send(&nodev1.InstallSnapshotRequest{Part: &nodev1.InstallSnapshotRequest_Chunk{Chunk: &nodev1.SnapshotChunk{Last: true}}}),
	); err != nil {
		t.Fatal(err)
	}
	<-entered
	stopped := make(chan struct{})
	go func() { node.Stop(context.Background()); close(stopped) }()
	for { // the call in progress goes on, new ones are refused
		_, err := nodev1.NewNodeServiceClient(conn).GetNodeInfo(t.Context(), &nodev1.GetNodeInfoRequest{})
		if status.Code(err) == codes.FailedPrecondition {
			break
		}
		if err != nil {
			t.Fatalf("a call while stopping ended with %v", err)
		}
	}
	select {
	case <-stopped:
		t.Fatal("Stop did not wait for the running call")
	default:
	}
	close(release)
	if _, err := stream.CloseAndRecv(); err != nil {
		t.Errorf("the running call ended with %v", err)
	}
	<-stopped
}
