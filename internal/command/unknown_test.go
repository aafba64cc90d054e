package command

import (
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"

	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// TestUnknownFieldsAreFoundEverywhere plants a field of a newer version into every message that a command or a response can
// hold, one at a time: it is found wherever it is.
func TestUnknownFieldsAreFoundEverywhere(t *testing.T) {
	t.Parallel()
	newer := protowire.AppendVarint(protowire.AppendTag(nil, 1<<20, protowire.VarintType), 1)
	tried := 0
	plant := func(root func() protoreflect.Message, find func(protoreflect.Message) bool) {
		for _, path := range messagesBelow(root().Descriptor(), nil) {
			message := root()
			at := message
			for _, field := range path {
				switch {
				case field.IsList():
					at = at.Mutable(field).List().AppendMutable().Message()
				default:
					at = at.Mutable(field).Message()
				}
			}
			if find(message) {
				t.Errorf("%v: a field is found where none is", path)
			}
			at.SetUnknown(newer)
			if !find(message) {
				t.Errorf("%v: the field is not found", path)
			}
			tried++
		}
	}
	plant(func() protoreflect.Message { return (&commandv1.Command{}).ProtoReflect() }, func(m protoreflect.Message) bool {
		cmd, _ := m.Interface().(*commandv1.Command)
		_, found := unknownInCommand(cmd)
		return found
	})
	plant(func() protoreflect.Message { return (&commandv1.Response{}).ProtoReflect() }, func(m protoreflect.Message) bool {
		_, found := unknownField(m)
		return found
	})
	if tried < 100 {
		t.Errorf("only %d places were tried", tried)
	}
}

// messagesBelow returns the way to each message that one can hold, and to itself. A type that is within itself is gone into once.
func messagesBelow(of protoreflect.MessageDescriptor, above []protoreflect.FieldDescriptor) [][]protoreflect.FieldDescriptor {
	paths := [][]protoreflect.FieldDescriptor{above}
	for i := range of.Fields().Len() {
		field := of.Fields().Get(i)
		if field.Message() == nil || field.IsMap() || within(above, field.Message()) {
			continue
		}
		way := append(append([]protoreflect.FieldDescriptor(nil), above...), field)
		paths = append(paths, messagesBelow(field.Message(), way)...)
	}
	return paths
}

func within(path []protoreflect.FieldDescriptor, message protoreflect.MessageDescriptor) bool {
	for _, field := range path {
		if field.Message() == message {
			return true
		}
	}
	return false
}

func BenchmarkDecodeClaim(b *testing.B) {
	data, err := Encode(&commandv1.Command{
		Header: header(),
		Body:   &commandv1.Command_ClaimJob{ClaimJob: &commandv1.ClaimJob{Number: 7, NodeId: 2, Term: 3, HoldMicros: 1 << 20}},
	})
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
