package statemachine

import (
	"encoding/binary"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// BenchmarkApply is one INSERT of a row of 128 bytes, in runs of 64, with its share of the commit.
func BenchmarkApply(b *testing.B) {
	r := newReplica(b, shard.UserShard(3))
	const run = 64
	index := uint64(0)
	entries := make([]command.Entry, run)
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		if n%run != 0 {
			continue
		}
		b.StopTimer()
		for i := range entries {
			index++
			id := binary.BigEndian.AppendUint64(make([]byte, 8), index)
			entries[i] = command.Entry{Index: index, Term: 1, Data: encode(b, &commandv1.Command{
				Header: &commandv1.Header{RequestId: id, MinIndex: index - 1, NowMicros: 1, Actor: "alice"},
				Body: &commandv1.Command_WriteRows{WriteRows: &commandv1.WriteRows{Rows: []*commandv1.RowWrite{{
					TableId: 5, User: "alice", PrimaryKey: id[8:], Row: make([]byte, 128), Expect: commandv1.Expect_EXPECT_ABSENT,
				}}}},
			})}
		}
		b.StartTimer()
		if _, err := r.apply(entries); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkApplyOfManyWriters is one INSERT of many, each of a writer whose keys ascend, as they come with 256 clients of one shared table: 20
// commands in an entry, three entries in a run, with its share of the commit and without flushes.
func BenchmarkApplyOfManyWriters(b *testing.B) {
	const writers, packed, run = 256, 20, 60
	r := newReplica(b, shard.SharedShard(0))
	must(b, r.engine.Close())
	r.memTableBytes = 64 << 20
	r.open(b, r.fs)
	written := make([]uint64, writers)
	entries := make([]command.Entry, run)
	number := uint64(0)
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		if n%run != 0 {
			continue
		}
		b.StopTimer()
		for i := range entries {
			writer := number * 7 % writers
			written[writer]++
			number++
			id := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, number), number)
			index := 1 + (number-1)/packed
			entries[i] = command.Entry{Index: index, Term: 1, Position: i % packed, More: i%packed < packed-1, Data: encode(b, &commandv1.Command{
				Header: &commandv1.Header{RequestId: id, MinIndex: index - 1, NowMicros: 1, Actor: "alice"},
				Body: &commandv1.Command_WriteRows{WriteRows: &commandv1.WriteRows{Rows: []*commandv1.RowWrite{{
					TableId: 5, PrimaryKey: binary.BigEndian.AppendUint64([]byte{1}, writer<<32|written[writer]), Row: make([]byte, 64),
					Expect: commandv1.Expect_EXPECT_ABSENT,
				}}}},
			})}
		}
		b.StartTimer()
		if _, err := r.apply(entries); err != nil {
			b.Fatal(err)
		}
	}
}
