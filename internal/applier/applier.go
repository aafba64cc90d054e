// Package applier says what each command does: one command becomes writes in a batch and one response.
//
// Meta applies the commands of the meta group and keeps the next picture of the catalog; Data applies those of
// a data group and knows nothing of the catalog, because a data command is self-contained. statemachine calls
// them, after it has decoded a command, made it wait for its watermark and dropped duplicates.
//
// Always true: a command is carried out as a whole or refused as a whole, and a refused one writes nothing. A refusal
// is a response that depends on the group's state and the command only, so every replica gives the same
// one. An error is something else: this replica cannot go on, and the node stops.
//
// Everything here is deterministic. Times come from the command's header, ids from the log index and from
// sequences in the group's state; nothing iterates over a map to produce output.
package applier

import (
	"fmt"

	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// misplaced refuses a command that another class of group carries out. The executor never routes so; the
// replicas must still agree on an answer.
func misplaced(group shard.GroupID, cmd *commandv1.Command) *commandv1.Response {
	return command.Refuse(fault.Internal, "command %s does not belong to group %s", name(cmd), group)
}

// name is the name of a command's body, for messages.
func name(cmd *commandv1.Command) string {
	message := cmd.ProtoReflect()
	return string(message.WhichOneof(message.Descriptor().Oneofs().ByName("body")).Name())
}

// done makes the response of a command that was carried out.
func done(format string, args ...any) *commandv1.Response {
	return &commandv1.Response{Message: fmt.Sprintf(format, args...)}
}
