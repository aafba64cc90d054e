package transport

import (
	"bytes"
	"testing"

	raftpb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/kalamdb/kalamdb-go/internal/shard"
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
