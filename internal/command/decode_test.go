package command

import (
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/kalamdb/kalamdb-go/internal/fault"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

func TestDecodeRefusesWhatItDoesNotUnderstand(t *testing.T) {
	t.Parallel()
	good, err := Encode(examples()[12])
	if err != nil {
		t.Fatal(err)
	}
	marshal := func(cmd *commandv1.Command) []byte {
		data, err := proto.Marshal(cmd)
		if err != nil {
			t.Fatal(err)
		}
		return append([]byte{Version}, data...)
	}
	newer := protowire.AppendVarint(protowire.AppendTag(nil, 999, protowire.VarintType), 1)
	nested := &commandv1.RowWrite{TableId: 1}
	nested.ProtoReflect().SetUnknown(newer)
	scope := &commandv1.ScopeUnchanged{TableId: 1}
	scope.ProtoReflect().SetUnknown(newer)
	span := &commandv1.SpanUnchanged{TableId: 1}
	span.ProtoReflect().SetUnknown(newer)
	indexSpan := &commandv1.IndexSpanUnchanged{TableId: 1}
	indexSpan.ProtoReflect().SetUnknown(newer)
	read := &commandv1.RowRead{TableId: 1}
	read.ProtoReflect().SetUnknown(newer)
	stamp := header()
	stamp.ProtoReflect().SetUnknown(newer)
	column := &commandv1.Column{}
	column.ProtoReflect().SetUnknown(newer)
	body := func(w *commandv1.WriteRows) *commandv1.Command {
		return &commandv1.Command{Body: &commandv1.Command_WriteRows{WriteRows: w}}
	}
	shortID := body(&commandv1.WriteRows{})
	shortID.Header = &commandv1.Header{RequestId: []byte{1}}
	newHeader := body(&commandv1.WriteRows{})
	newHeader.Header = stamp
	for name, data := range map[string][]byte{
		"empty":                        nil,
		"another version":              append([]byte{2}, good[1:]...),
		"cut":                          good[:len(good)-1],
		"no body":                      marshal(&commandv1.Command{Header: header()}),
		"body of a newer version":      append(marshal(&commandv1.Command{Header: header()}), newer...),
		"field of a newer version":     append(append([]byte(nil), good...), newer...),
		"newer field in a row":         marshal(body(&commandv1.WriteRows{Rows: []*commandv1.RowWrite{{TableId: 1}, nested}})),
		"newer field in a span":        marshal(body(&commandv1.WriteRows{Spans: []*commandv1.SpanUnchanged{span}})),
		"newer field in an index span": marshal(body(&commandv1.WriteRows{IndexSpans: []*commandv1.IndexSpanUnchanged{indexSpan}})),
		"newer field in a read":        marshal(body(&commandv1.WriteRows{Reads: []*commandv1.RowRead{read}})),
		"newer field in a scope":       marshal(body(&commandv1.WriteRows{Scopes: []*commandv1.ScopeUnchanged{scope}})),
		"newer field in the header":    marshal(newHeader),
		"newer field deep in a table":  marshal(&commandv1.Command{Body: &commandv1.Command_CreateTable{CreateTable: &commandv1.CreateTable{Table: &commandv1.Table{Columns: []*commandv1.Column{column}}}}}),
		"request id of one byte":       marshal(shortID),
		"over the limit":               make([]byte, MaxBytes+1),
		"too many rows":                marshal(body(&commandv1.WriteRows{Rows: make([]*commandv1.RowWrite, MaxRows+1)})),
	} {
		if cmd, err := Decode(data); err == nil {
			t.Errorf("%s decodes to %v", name, cmd)
		}
	}
	if _, err := DecodeResponse([]byte{Version, 0xff}); err == nil {
		t.Error("decoded a malformed response")
	}
}

// FuzzDecode checks that any bytes give an error or a command that encodes and decodes to itself.
func FuzzDecode(f *testing.F) {
	for _, cmd := range examples() {
		data, err := Encode(cmd)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte{})
	f.Add([]byte{Version, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, data []byte) {
		compareDecoders(t, data)
		cmd, err := Decode(data)
		if err != nil {
			return
		}
		again, err := Encode(cmd)
		if err != nil {
			t.Fatalf("decoded %v does not encode: %v", cmd, err)
		}
		twice, err := Decode(again)
		if err != nil || !proto.Equal(cmd, twice) {
			t.Errorf("%v comes back as %v, %v", cmd, twice, err)
		}
	})
}

// FuzzDecodeResponse checks that any bytes give an error or a response that comes back from what it encodes to.
func FuzzDecodeResponse(f *testing.F) {
	data, err := EncodeResponse(Refuse(fault.Conflict, "row %d", 1))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte{Version, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, data []byte) {
		response, err := DecodeResponse(data)
		if err != nil {
			return
		}
		again, err := EncodeResponse(response)
		if err != nil {
			t.Fatalf("decoded %v does not encode: %v", response, err)
		}
		twice, err := DecodeResponse(again)
		if err != nil || !proto.Equal(response, twice) {
			t.Errorf("%v comes back as %v, %v", response, twice, err)
		}
	})
}

func BenchmarkDecodeOneRow(b *testing.B) { benchmarkDecode(b, 1) }

func BenchmarkDecode100Rows(b *testing.B) { benchmarkDecode(b, 100) }

func benchmarkDecode(b *testing.B, rows int) {
	b.Helper()
	body := &commandv1.WriteRows{}
	for range rows {
		body.Rows = append(body.Rows, &commandv1.RowWrite{
			TableId: 17, User: "alice", PrimaryKey: []byte{0x80, 1}, Row: make([]byte, 100), Expect: commandv1.Expect_EXPECT_ABSENT, KeyText: "1",
		})
	}
	data, err := Encode(&commandv1.Command{Header: header(), Body: &commandv1.Command_WriteRows{WriteRows: body}})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Decode(data); err != nil {
			b.Fatal(err)
		}
	}
}
