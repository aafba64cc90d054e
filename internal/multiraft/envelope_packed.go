package multiraft

import (
	"encoding/binary"
	"errors"
	"fmt"

	raftpb "go.etcd.io/raft/v3/raftpb"

	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/ident"
)

// packedVersion is the first byte of a log entry that holds several commands. Behind it stands each command as
// the 16 bytes of its request id, the length of its bytes as a uvarint in the shortest form, its bytes; two commands at
// least, command.MaxPacked at most, in command.MaxPackedBytes. It is written only where Config.Packs allows it.
const packedVersion = 2

// packedOverhead bounds what a command takes in a packed entry besides its bytes.
const packedOverhead = 16 + binary.MaxVarintLen32

var errMalformedPack = errors.New("malformed packed entry")

// appendPacked adds a command, which is given as a sealed envelope, to a packed entry that was begun with its version.
func appendPacked(packed, sealed []byte) []byte {
	packed = append(packed, sealed[1:envelopeBytes]...)
	packed = binary.AppendUvarint(packed, uint64(len(sealed)-envelopeBytes)) //nolint:gosec // it is sealed
	return append(packed, sealed[envelopeBytes:]...)
}

// openEntry adds the commands of a log entry to a run, whatever their envelope.
func openEntry(run []command.Entry, e *raftpb.Entry) ([]command.Entry, error) {
	data := e.GetData()
	if len(data) == 0 || data[0] != packedVersion {
		opened, err := openEnvelope(e)
		return append(run, opened), err
	}
	first := len(run)
	run, err := openPacked(run, e.GetIndex(), e.GetTerm(), data)
	if err != nil {
		return run[:first], fmt.Errorf("log entry %d: %w", e.GetIndex(), err)
	}
	return run, nil
}

// countCommands is how many commands openEntry finds in an entry's data, if it is well-formed; it sizes a run.
func countCommands(data []byte) int {
	if len(data) == 0 || data[0] != packedVersion {
		return 1
	}
	count := 0
	for rest := data[1:]; len(rest) > len(ident.RequestID{}); count++ {
		size, n := binary.Uvarint(rest[len(ident.RequestID{}):])
		rest = rest[len(ident.RequestID{}):]
		if n <= 0 || size > uint64(len(rest)-n) { //nolint:gosec // n is at most the length
			break
		}
		rest = rest[n+int(size):] //nolint:gosec // at most what is left
	}
	return count
}

// openPacked adds the commands of a packed entry to a run; they alias its data.
func openPacked(run []command.Entry, index, term uint64, data []byte) ([]command.Entry, error) {
	if len(data) > command.MaxPackedBytes {
		return run, fmt.Errorf("%w: %d bytes", errMalformedPack, len(data))
	}
	rest, position := data[1:], 0
	for ; len(rest) > 0; position++ {
		opened := command.Entry{Index: index, Term: term, Position: position, More: true}
		if position == command.MaxPacked {
			return run, fmt.Errorf("%w: more than %d commands", errMalformedPack, position)
		}
		if len(rest) < len(ident.RequestID{}) {
			return run, fmt.Errorf("%w: command %d ends within its request id", errMalformedPack, position)
		}
		rest = rest[copy(opened.RequestID[:], rest):]
		size, n := binary.Uvarint(rest)
		if n <= 0 || n > 1 && rest[n-1] == 0 || size > uint64(len(rest)-n) { //nolint:gosec // n is at most the length
			return run, fmt.Errorf("%w: command %d has no right length", errMalformedPack, position)
		}
		end := n + int(size) //nolint:gosec // at most what is left
		opened.Data, rest = rest[n:end:end], rest[end:]
		run = append(run, opened)
	}
	if position < 2 {
		return run, fmt.Errorf("%w: %d commands", errMalformedPack, position)
	}
	run[len(run)-1].More = false
	return run, nil
}
