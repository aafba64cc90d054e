package command

import (
	"sync"

	"google.golang.org/protobuf/reflect/protoreflect"

	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// below is where a type of messages holds others. Only there is looked for fields that this version does not know: a
// command has a field for each kind of body, and to ask all of them which one is set would cost more than to decode it.
type below struct {
	fields []protoreflect.FieldDescriptor // that are messages, or lists of them, and not of a oneof
	oneofs []protoreflect.OneofDescriptor // with a message among them
}

// nesting has every type that a command or a response can hold.
var nesting = sync.OnceValue(func() map[protoreflect.MessageDescriptor]*below {
	return nestingOf((&commandv1.Command{}).ProtoReflect().Descriptor(), (&commandv1.Response{}).ProtoReflect().Descriptor())
})

func nestingOf(roots ...protoreflect.MessageDescriptor) map[protoreflect.MessageDescriptor]*below {
	all := make(map[protoreflect.MessageDescriptor]*below)
	for len(roots) > 0 {
		message := roots[0]
		roots = roots[1:]
		if all[message] != nil {
			continue
		}
		b := &below{}
		all[message] = b
		for i := range message.Fields().Len() {
			field := message.Fields().Get(i)
			if field.Message() == nil || field.IsMap() {
				continue
			}
			roots = append(roots, field.Message())
			oneof := field.ContainingOneof()
			switch {
			case oneof == nil || oneof.IsSynthetic():
				b.fields = append(b.fields, field)
			case len(b.oneofs) == 0 || b.oneofs[len(b.oneofs)-1] != oneof:
				b.oneofs = append(b.oneofs, oneof)
			}
		}
	}
	return all
}

// unknownField finds a field that this version does not know, in the message or anything below it.
func unknownField(message protoreflect.Message) (name protoreflect.FullName, found bool) {
	if len(message.GetUnknown()) > 0 {
		return message.Descriptor().FullName(), true
	}
	b := nesting()[message.Descriptor()]
	for _, oneof := range b.oneofs {
		if field := message.WhichOneof(oneof); field != nil && field.Message() != nil {
			if name, found = unknownField(message.Get(field).Message()); found {
				return name, true
			}
		}
	}
	for _, field := range b.fields {
		if !message.Has(field) {
			continue
		}
		if !field.IsList() {
			if name, found = unknownField(message.Get(field).Message()); found {
				return name, true
			}
			continue
		}
		list := message.Get(field).List()
		for i := range list.Len() {
			if name, found = unknownField(list.Get(i).Message()); found {
				return name, true
			}
		}
	}
	return "", false
}
