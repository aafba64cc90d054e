package transport

import (
	"bytes"
	"slices"
	"testing"

	raftpb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	nodev1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/node/v1"
)

// benchmarkMessage is 16 entries of 128 bytes, the anchor of the performance page.
func benchmarkMessage() Message {
	m := &raftpb.Message{
		Type: raftpb.MsgApp.Enum(), To: new(uint64(2)), From: new(uint64(1)), Term: new(uint64(7)),
		LogTerm: new(uint64(7)), Index: new(uint64(100_000)), Commit: new(uint64(99_990)),
	}
	for i := range uint64(16) {
		m.Entries = append(m.Entries, &raftpb.Entry{
			Term: new(uint64(7)), Index: new(100_001 + i), Data: bytes.Repeat([]byte("d"), 128),
		})
	}
	return Message{Group: shard.UserShard(7), Raft: m}
}

func BenchmarkEncode16x128(b *testing.B) {
	m := benchmarkMessage()
	var frame frameBuilder
	b.ReportAllocs()
	for b.Loop() {
		frame.reset(frame.buf)
		if err := frame.add(m); err != nil {
			b.Fatal(err)
		}
		frame.finish()
	}
}

func BenchmarkEncode16x128Protobuf(b *testing.B) {
	m := benchmarkMessage()
	var buf []byte
	var err error
	b.ReportAllocs()
	for b.Loop() {
		if buf, err = (proto.MarshalOptions{}).MarshalAppend(buf[:0], m.Raft); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecode16x128(b *testing.B) {
	frame := encodeFrame(b, benchmarkMessage())
	b.ReportAllocs()
	for b.Loop() {
		if _, err := decodeFrame(frame, defaultFrameLimit); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecode16x128Protobuf(b *testing.B) {
	data, err := proto.Marshal(benchmarkMessage().Raft)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := proto.Unmarshal(data, &raftpb.Message{}); err != nil {
			b.Fatal(err)
		}
	}
}

// creditHandler returns a credit for every message that arrives.
type creditHandler struct {
	quietHandler
	credits chan struct{}
}

func (c *creditHandler) HandleMessages(_ ident.ReplicaID, msgs []Message) {
	for range msgs {
		c.credits <- struct{}{}
	}
}

// BenchmarkStream sends append messages of 16 x 128 bytes from one node to another over loopback, 4,096 of them on
// their way at most. ns/op is per message, both ends.
func BenchmarkStream(b *testing.B) {
	handler := &creditHandler{credits: make(chan struct{}, defaultQueueMessages/2)}
	receiver, addr := serve(b, GRPCConfig{}, handler)
	sender, _ := serve(b, GRPCConfig{Resolver: fixedResolver(addr)}, &quietHandler{})
	receiver.SetIdentity(Identity{ClusterUID: ident.ClusterUID{7}, Replica: 2})
	sender.SetIdentity(Identity{ClusterUID: ident.ClusterUID{7}, Replica: 1})
	const batch = 32
	msgs := slices.Repeat([]Message{benchmarkMessage()}, batch)
	b.SetBytes(16 * 128)
	b.ReportAllocs()
	for range cap(handler.credits) {
		handler.credits <- struct{}{}
	}
	b.ResetTimer()
	for sent := 0; sent < b.N; {
		n := min(batch, b.N-sent)
		for range n {
			<-handler.credits
		}
		sender.Send(2, msgs[:n])
		sent += n
	}
	for range cap(handler.credits) {
		<-handler.credits
	}
}

// BenchmarkForward is one unary call at a time over loopback.
func BenchmarkForward(b *testing.B) {
	receiver, addr := serve(b, GRPCConfig{}, &quietHandler{})
	sender, _ := serve(b, GRPCConfig{Resolver: fixedResolver(addr)}, &quietHandler{})
	receiver.SetIdentity(Identity{ClusterUID: ident.ClusterUID{7}, Replica: 2})
	sender.SetIdentity(Identity{ClusterUID: ident.ClusterUID{7}, Replica: 1})
	req := &nodev1.ForwardRequest{Group: 103, Data: make([]byte, 128)}
	for b.Loop() {
		if _, err := sender.Forward(b.Context(), 2, req); err != nil {
			b.Fatal(err)
		}
	}
}
