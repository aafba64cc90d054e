package transport

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	raftpb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/kalamdb/kalamdb-go/internal/ident"
)

// http2Preface is how every connection that the server takes for one of its own begins.
const http2Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// TestGarbageOnTheWireHarmsNobody connects without speaking the protocol, or only its beginning, with TLS and without, and then
// looks whether peers are served.
func TestGarbageOnTheWireHarmsNobody(t *testing.T) {
	t.Parallel()
	random := rand.NewChaCha8([32]byte{1})
	noise := make([]byte, 64<<10)
	if _, err := random.Read(noise); err != nil {
		t.Fatal(err)
	}
	ca := newAuthority(t)
	ours := ca.issue(t, "peer", "node-1", "")
	for name, cert := range map[string]*TLSConfig{"plaintext": nil, "tls": ca.issue(t, "server", "node-2", "")} {
		arrived := make(chan int, 1)
		node, addr := serve(t, GRPCConfig{TLS: cert, ClusterID: "prod", NodeOf: nodeOf}, &quietHandler{messages: func(m []Message) { arrived <- len(m) }})
		node.SetIdentity(Identity{ClusterUID: ident.ClusterUID{7}, Replica: 2})
		for _, garbage := range [][]byte{
			nil, noise[:1], noise, []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), []byte(http2Preface), append([]byte(http2Preface), noise...),
			// A frame of HTTP/2 that announces more than it has, and a record of TLS that does.
			append([]byte(http2Preface), 0xff, 0xff, 0xff, 0x04, 0, 0, 0, 0, 0),
			{0x16, 0x03, 0x01, 0xff, 0xff, 0x01},
			bytes.Repeat([]byte{0}, 100_000),
		} {
			shout(t, addr, garbage)
		}
		frame := encodeFrame(t, Message{Group: 10, Raft: &raftpb.Message{
			Type: raftpb.MsgVote.Enum(), From: new(uint64(1)), To: new(uint64(2)),
		}})
		conn := dialMember(t, addr, cert, ours)
		if err := speak(t, conn, goodHello(), frame); !errors.Is(err, io.EOF) {
			t.Errorf("%s: stream of a good peer ended with %v, want a clean end", name, err)
		}
		if n := <-arrived; n != 1 {
			t.Errorf("%s: %d messages arrived, want 1", name, n)
		}
	}
}

// shout writes bytes to a port and reads what comes back until the server has enough of it, or for a moment: some of it could
// be the beginning of something sensible.
func shout(t *testing.T, addr string, garbage []byte) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.Write(garbage); err != nil {
		return // the server has closed it
	}
	if err := conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, conn)
}

// dialMember opens a bare connection, with a certificate where the server has one.
func dialMember(t *testing.T, addr string, server, own *TLSConfig) *grpc.ClientConn {
	t.Helper()
	cred := insecure.NewCredentials()
	if server != nil {
		setup, err := loadTLS(GRPCConfig{TLS: own, ClusterID: "prod", NodeOf: nodeOf})
		if err != nil {
			t.Fatal(err)
		}
		cfg := setup.clientFor(2)
		cfg.NextProtos, cfg.MinVersion = []string{"h2"}, tls.VersionTLS13
		cred = credentials.NewTLS(cfg)
	}
	conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(cred),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(newWireCodec())))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// TestCertifiedPeerSendsNonsense has the certificate of a member, says who it is, and sends frames that are none, or that speak
// for others.
func TestCertifiedPeerSendsNonsense(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	cert := ca.issue(t, "server", "node-2", "")
	arrived := make(chan int, 100)
	node, addr := serve(t, GRPCConfig{TLS: cert, ClusterID: "prod", NodeOf: nodeOf, Limits: Limits{FrameLimit: 64 << 10}},
		&quietHandler{messages: func(m []Message) { arrived <- len(m) }})
	node.SetIdentity(Identity{ClusterUID: ident.ClusterUID{7}, Replica: 2})
	conn := dialMember(t, addr, cert, ca.issue(t, "peer", "node-1", ""))
	vote := func(from uint64) []byte {
		return encodeFrame(t, Message{Group: 10, Raft: &raftpb.Message{Type: raftpb.MsgVote.Enum(), From: &from, To: new(uint64(2))}})
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		frame := vote(1)
		frame[random.IntN(len(frame))] ^= byte(1 + random.IntN(255))
		if err := speak(t, conn, goodHello(), frame); status.Code(err) != codes.FailedPrecondition && status.Code(err) != codes.PermissionDenied {
			t.Errorf("damaged frame %x: stream ended with %v", frame, err)
		}
	}
	for range 50 { // the checksum is right, so that what is inside is looked at
		frame := vote(1)
		for range 1 + random.IntN(4) {
			frame[frameHeaderSize+random.IntN(len(frame)-frameHeaderSize)] = byte(random.Uint32())
		}
		if err := speak(t, conn, goodHello(), reseal(frame)); err == nil {
			t.Error("a stream has no end")
		}
	}
	if err := speak(t, conn, goodHello(), make([]byte, 200<<10)); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("frame over the limit: stream ended with %v", err)
	}
	if err := speak(t, conn, goodHello(), vote(3)); status.Code(err) != codes.PermissionDenied {
		t.Errorf("in the name of another: stream ended with %v", err)
	}
	thief := goodHello()
	thief[metadataFrom] = "3"
	if err := speak(t, conn, thief, vote(3)); status.Code(err) != codes.PermissionDenied {
		t.Errorf("as another: stream ended with %v", err)
	}
	for len(arrived) > 0 {
		<-arrived // some of the changed frames say something, as replica 1
	}
	if err := speak(t, conn, goodHello(), vote(1)); !errors.Is(err, io.EOF) || len(arrived) != 1 {
		t.Errorf("a good frame after it: stream ended with %v, %d arrived", err, len(arrived))
	}
}
