package command

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// Version is the first byte of every encoded command and response.
const Version byte = 1

// MaxBytes is the largest encoded command. A larger one is refused before it is proposed.
const MaxBytes = 4 << 20

// errMalformed is wrapped by every decoding error. A replica that meets one in its log stops: to skip
// the command would be to differ from the replicas that understood it.
var errMalformed = errors.New("malformed command")

// Encode serialises a command for the log. A command over MaxBytes or MaxRows is refused with
// fault.LimitExceeded.
func Encode(cmd *commandv1.Command) ([]byte, error) {
	if cmd.GetBody() == nil {
		return nil, fmt.Errorf("encode command: %w: no body", errMalformed)
	}
	if rows := max(len(cmd.GetWriteRows().GetRows()), len(cmd.GetIndexRows().GetRows())); rows > MaxRows {
		return nil, fault.New(fault.LimitExceeded, "the statement writes %d rows; one statement may write %d", rows, MaxRows)
	}
	data, usual := encodeRowWrite(cmd)
	if !usual {
		var err error
		if data, err = encode(cmd); err != nil {
			return nil, fmt.Errorf("encode command: %w", err)
		}
	}
	if len(data) > MaxBytes {
		return nil, fault.New(fault.LimitExceeded,
			"the statement's changes take %d bytes; one statement may change %d; split it", len(data), MaxBytes)
	}
	return data, nil
}

// Decode is the inverse of Encode. Bytes that were written by a newer version, or that hold a field this
// version does not know, are an error: a replica must not apply half of what a command says.
func Decode(data []byte) (*commandv1.Command, error) {
	if len(data) > MaxBytes {
		return nil, fmt.Errorf("%w: %d bytes", errMalformed, len(data))
	}
	if len(data) > 0 && data[0] == Version {
		if cmd, ok := decodeRowWrite(data[1:]); ok {
			return checked(cmd)
		}
	}
	return decodeAny(data)
}

// decodeAny decodes every command.
func decodeAny(data []byte) (*commandv1.Command, error) {
	cmd := &commandv1.Command{}
	if err := decode(data, cmd); err != nil {
		return nil, err
	}
	if field, found := unknownInCommand(cmd); found {
		return nil, fmt.Errorf("%w: unknown field in %s", errMalformed, field)
	}
	return checked(cmd)
}

// checked refuses a decoded command that Encode would not have made.
func checked(cmd *commandv1.Command) (*commandv1.Command, error) {
	if cmd.GetBody() == nil {
		return nil, fmt.Errorf("%w: no body", errMalformed)
	}
	if rows := max(len(cmd.GetWriteRows().GetRows()), len(cmd.GetIndexRows().GetRows())); rows > MaxRows {
		return nil, fmt.Errorf("%w: %d rows", errMalformed, rows)
	}
	if id := cmd.GetHeader().GetRequestId(); len(id) != 0 && len(id) != len(ident.RequestID{}) {
		return nil, fmt.Errorf("%w: request id of %d bytes", errMalformed, len(id))
	}
	return cmd, nil
}

// EncodeResponse serialises a response. Every replica encodes its own, so the bytes must be the same
// everywhere: the message has no maps, and the golden files pin the form.
func EncodeResponse(response *commandv1.Response) ([]byte, error) {
	if data, ok := encodeDone(response); ok {
		return data, nil
	}
	data, err := encode(response)
	if err != nil {
		return nil, fmt.Errorf("encode response: %w", err)
	}
	return data, nil
}

// DecodeResponse is the inverse of EncodeResponse.
func DecodeResponse(data []byte) (*commandv1.Response, error) {
	if len(data) > 0 && data[0] == Version {
		if done, ok := decodeDone(data[1:]); ok {
			return done, nil
		}
	}
	response := &commandv1.Response{}
	if err := decode(data, response); err != nil {
		return nil, fmt.Errorf("decode response: %w", err)
	}
	if field, found := unknownField(response.ProtoReflect()); found {
		return nil, fmt.Errorf("decode response: %w: unknown field in %s", errMalformed, field)
	}
	return response, nil
}

// RequestID returns the request id of a command; zero when it has none.
func RequestID(cmd *commandv1.Command) ident.RequestID {
	var id ident.RequestID
	copy(id[:], cmd.GetHeader().GetRequestId())
	return id
}

// Refuse makes the response of a refused command.
func Refuse(kind fault.Kind, format string, args ...any) *commandv1.Response {
	return &commandv1.Response{Failure: &commandv1.Failure{Kind: uint32(kind), Message: fmt.Sprintf(format, args...)}}
}

// RefuseTaken is Refuse for a row that has what another one has already.
func RefuseTaken(constraint fault.Constraint, format string, args ...any) *commandv1.Response {
	return Refuse(fault.DuplicateKey, "%s", fault.Taken(constraint, format, args...).Message)
}

// Failure returns what a response refused as a *fault.Error, nil when the command was carried out. A kind this
// version does not know is fault.Internal.
func Failure(response *commandv1.Response) error {
	refused := response.GetFailure()
	if refused == nil {
		return nil
	}
	return fault.Recall(refused.GetKind(), refused.GetMessage())
}

func encode(message proto.Message) ([]byte, error) {
	options := proto.MarshalOptions{Deterministic: true}
	data := make([]byte, 0, 1+options.Size(message))
	options.UseCachedSize = true // of just now
	return options.MarshalAppend(append(data, Version), message)
}

func decode(data []byte, message proto.Message) error {
	if len(data) == 0 {
		return fmt.Errorf("%w: no bytes", errMalformed)
	}
	if data[0] != Version {
		return fmt.Errorf("%w: version %d, this server reads version %d", errMalformed, data[0], Version)
	}
	if err := proto.Unmarshal(data[1:], message); err != nil {
		return fmt.Errorf("%w: %w", errMalformed, err)
	}
	return nil
}

// unknownInCommand is unknownField for commands. The rows of a write are many, so they are not walked
// field by field.
func unknownInCommand(cmd *commandv1.Command) (name protoreflect.FullName, found bool) {
	write := cmd.GetWriteRows()
	if write == nil {
		return unknownField(cmd.ProtoReflect())
	}
	unknown := func(message proto.Message) bool {
		m := message.ProtoReflect()
		if len(m.GetUnknown()) > 0 {
			name, found = m.Descriptor().FullName(), true
		}
		return found
	}
	if unknown(cmd) || unknown(cmd.GetHeader()) || unknown(write) {
		return name, found
	}
	for _, scope := range write.GetScopes() {
		if unknown(scope) {
			return name, found
		}
	}
	for _, revision := range write.GetRevisions() {
		if unknown(revision) {
			return name, found
		}
	}
	for _, row := range write.GetRows() {
		if unknown(row) {
			return name, found
		}
		for _, entry := range row.GetUnindex() {
			if unknown(entry) {
				return name, found
			}
		}
		for _, entry := range row.GetIndex() {
			if unknown(entry) {
				return name, found
			}
		}
	}
	for _, span := range write.GetSpans() {
		if unknown(span) {
			return name, found
		}
	}
	for _, span := range write.GetIndexSpans() {
		if unknown(span) {
			return name, found
		}
	}
	for _, read := range write.GetReads() {
		if unknown(read) {
			return name, found
		}
	}
	for _, cold := range write.GetCold() {
		if unknown(cold) {
			return name, found
		}
	}
	if refusal := write.GetRefusal(); refusal != nil && unknown(refusal) {
		return name, found
	}
	return "", false
}
