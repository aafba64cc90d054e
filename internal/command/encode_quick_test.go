package command

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// TestEncodeRowWriteAsEveryCommand: what the quick encoder takes, the general one encodes to the same bytes; the usual command it takes.
func TestEncodeRowWriteAsEveryCommand(t *testing.T) {
	t.Parallel()
	commands := append(examples(), rowWrites()...)
	random := rand.New(rand.NewPCG(5, 6))
	for range 3000 {
		commands = append(commands, randomRowWrite(random))
	}
	took := 0
	for _, cmd := range commands {
		got, ok := encodeRowWrite(cmd)
		if !ok {
			continue
		}
		took++
		want, err := encode(cmd)
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%v is encoded to\n%x, every command would be to\n%x, %v", cmd, got, want, err)
		}
		if cap(got) != len(got) {
			t.Fatalf("%v takes %d bytes of memory for %d", cmd, cap(got), len(got))
		}
	}
	if took < 1000 {
		t.Errorf("the quick encoder took %d of %d commands, too few to say anything", took, len(commands))
	}
	if _, ok := encodeRowWrite(rowWrites()[0]); !ok {
		t.Error("the quick encoder leaves the usual command to the general one")
	}
}

// randomRowWrite is a command that writes a row, now and then with something that is not usual.
func randomRowWrite(random *rand.Rand) *commandv1.Command {
	number := func() uint64 { return random.Uint64() >> random.IntN(65) }
	text := func(most int) []byte {
		value := make([]byte, random.IntN(most+1))
		for i := range value {
			value[i] = byte('a' + random.IntN(26))
		}
		return value
	}
	rare := func() bool { return random.IntN(20) == 0 }
	row := &commandv1.RowWrite{
		TableId: number(), User: string(text(20)), PrimaryKey: text(200), Row: text(3000), Deleted: random.IntN(2) == 0,
		Expect: commandv1.Expect(int32(random.IntN(4)) - int32(random.IntN(20)/19)), ExpectSeq: number(), KeyText: string(text(130)),
	}
	if random.IntN(3) == 0 {
		row.ColdSeq, row.ColdRow = number(), text(300)
	}
	body := &commandv1.WriteRows{Rows: []*commandv1.RowWrite{row}}
	if random.IntN(3) > 0 {
		body.Revisions = []*commandv1.TableRevision{{TableId: number(), Revision: random.Uint32() >> random.IntN(33)}}
	}
	if random.IntN(3) == 0 {
		body.Reply = text(200)
	}
	header := &commandv1.Header{
		RequestId: text(16), MinIndex: number(), NowMicros: int64(number()), MetaIndex: number(), Actor: string(text(300)),
	}
	unknown := protowire.AppendVarint(protowire.AppendTag(nil, 999, protowire.VarintType), 1)
	for _, unusual := range []func(){
		func() { header.LogFormat = 5 },
		func() { header.Audit = &commandv1.AuditNote{} },
		func() { header.Actor = "\xff" },
		func() { header.ProtoReflect().SetUnknown(unknown) },
		func() { row.KeyText = "\xff" },
		func() { row.User = "\xff" },
		func() { row.Index = []*commandv1.IndexEntry{{}} },
		func() { row.Unindex = []*commandv1.IndexEntry{{}} },
		func() { row.ProtoReflect().SetUnknown(unknown) },
		func() { body.ProtoReflect().SetUnknown(unknown) },
		func() { body.Scopes = []*commandv1.ScopeUnchanged{{}} },
		func() { body.Cold = []*commandv1.ColdRead{{}} },
		func() { body.Reads = []*commandv1.RowRead{{}} },
		func() { body.Spans = []*commandv1.SpanUnchanged{{}} },
		func() { body.IndexSpans = []*commandv1.IndexSpanUnchanged{{}} },
		func() { body.Refusal = &commandv1.Failure{} },
		func() { body.RestoreToken, body.RestoreOrigin = number(), random.Uint32() },
		func() { body.Rows = append(body.Rows, row) },
		func() { body.Revisions = append(body.Revisions, body.Revisions...) },
	} {
		if rare() {
			unusual()
		}
	}
	return &commandv1.Command{Header: header, Body: &commandv1.Command_WriteRows{WriteRows: body}}
}

// TestDoneAsEveryResponse compares the quick encoder and decoder of responses with the general ones, over damaged bytes as well.
func TestDoneAsEveryResponse(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(7, 8))
	took := 0
	for range 5000 {
		response := &commandv1.Response{Index: random.Uint64() >> random.IntN(65), Affected: random.Uint32() >> random.IntN(33)}
		switch random.IntN(8) {
		case 0:
			response.Failure = &commandv1.Failure{Kind: 3, Message: "m"}
		case 1:
			response.Message = "m"
		case 2:
			response.ObjectId = 1
		case 3:
			response.Reply = []byte("a reply")
		}
		want, err := encode(response)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := encodeDone(response); ok && !bytes.Equal(got, want) {
			t.Fatalf("%v is encoded to %x, every response would be to %x", response, got, want)
		}
		for range random.IntN(3) {
			want[random.IntN(len(want))] = byte(random.Uint32())
		}
		if want[0] != Version {
			continue
		}
		got, ok := decodeDone(want[1:])
		if !ok {
			continue
		}
		took++
		general := &commandv1.Response{}
		if err = decode(want, general); err != nil || !proto.Equal(got, general) {
			t.Fatalf("%x is decoded to %v; every response would be to %v, %v", want, got, general, err)
		}
		if field, found := unknownField(general.ProtoReflect()); found {
			t.Fatalf("%x has the unknown field %s", want, field)
		}
	}
	if took < 1000 {
		t.Errorf("the quick decoder took %d responses, too few to say anything", took)
	}
}
