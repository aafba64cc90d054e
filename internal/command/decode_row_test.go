package command

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

func rowWrites() []*commandv1.Command {
	row := func() *commandv1.RowWrite {
		return &commandv1.RowWrite{
			TableId: 17, User: "alice", PrimaryKey: []byte{0x80, 1}, Row: []byte{1, 2, 3}, Deleted: true,
			Expect: commandv1.Expect_EXPECT_SEQ, ExpectSeq: 1 << 40, KeyText: "1", ColdSeq: 7, ColdRow: []byte{4},
		}
	}
	of := func(body *commandv1.WriteRows) *commandv1.Command {
		return &commandv1.Command{Header: header(), Body: &commandv1.Command_WriteRows{WriteRows: body}}
	}
	bare := of(&commandv1.WriteRows{Rows: []*commandv1.RowWrite{{}}})
	bare.Header = nil
	empty := of(&commandv1.WriteRows{Rows: []*commandv1.RowWrite{row()}})
	empty.Header = &commandv1.Header{NowMicros: -5}
	return []*commandv1.Command{
		of(&commandv1.WriteRows{
			Rows: []*commandv1.RowWrite{row()}, Reply: []byte("reply"), Revisions: []*commandv1.TableRevision{{TableId: 17, Revision: 3}},
		}),
		bare, empty,
	}
}

// TestDecodeRowWrite: the usual commands are decoded by the quick decoder, and what they hold is theirs alone.
func TestDecodeRowWrite(t *testing.T) {
	t.Parallel()
	for i, cmd := range rowWrites() {
		data, err := Encode(cmd)
		if err != nil {
			t.Fatal(err)
		}
		got, ok := decodeRowWrite(data[1:])
		if !ok || !proto.Equal(got, cmd) {
			t.Errorf("command %d: %v, %v, want %v", i, got, ok, cmd)
		}
		clear(data)
		if !proto.Equal(got, cmd) {
			t.Errorf("command %d changes with the bytes of the log: %v", i, got)
		}
		row := got.GetWriteRows().GetRows()[0]
		_ = append(row.GetPrimaryKey(), 0xff)
		if !proto.Equal(got, cmd) {
			t.Errorf("command %d: to append to a field changes another: %v", i, got)
		}
	}
}

// TestDecodeRowWriteAsEveryCommand compares the two decoders over damaged commands.
func TestDecodeRowWriteAsEveryCommand(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(3, 4))
	var seeds [][]byte
	for _, cmd := range append(examples(), rowWrites()...) {
		data, err := Encode(cmd)
		if err != nil {
			t.Fatal(err)
		}
		// One field more, known or not, and one message twice.
		seeds = append(seeds, data, protowire.AppendVarint(protowire.AppendTag(bytes.Clone(data), 999, protowire.VarintType), 1),
			append(bytes.Clone(data), data[1:]...))
	}
	took := 0
	for _, seed := range seeds {
		for range 800 {
			data := bytes.Clone(seed)
			for range random.IntN(3) {
				data[1+random.IntN(len(data)-1)] = byte(random.Uint32())
			}
			took += compareDecoders(t, data)
		}
	}
	if took < 1000 {
		t.Errorf("the quick decoder took %d commands, too few to say anything", took)
	}
}

// compareDecoders returns 1 when the quick decoder took the command.
func compareDecoders(t *testing.T, data []byte) int {
	t.Helper()
	if len(data) == 0 || data[0] != Version {
		return 0
	}
	quick, ok := decodeRowWrite(data[1:])
	if !ok {
		return 0
	}
	got, refused := checked(quick)
	want, err := decodeAny(data)
	if (refused == nil) != (err == nil) || err == nil && !proto.Equal(got, want) {
		t.Fatalf("%x is decoded to %v, %v; every command would be to %v, %v", data, got, refused, want, err)
	}
	return 1
}
