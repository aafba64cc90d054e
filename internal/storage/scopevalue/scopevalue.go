// Package scopevalue is the form in which the last write to a scope is stored under the key of the scope.
//
//	index(8, big-endian)             the log entry of the write, which holds one command, or of which it is the first
//	index(8) ordinal(2, big-endian)  the same, and the ordinal in it of the scope's last row
//
// The ordinal tells commands of one log entry apart. The applier writes these values; whoever holds an expectation
// or a cursor against the scope reads them.
package scopevalue

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/kalamdb/kalamdb-go/internal/command"
)

const (
	indexLength = 8
	exactLength = 8 + 2
)

var errMalformed = errors.New("malformed value of a scope")

// Write is the last write to a scope.
type Write struct {
	Index uint64
	Seq   uint64 // of the last row; zero when it is not known
}

// OfIndex encodes a write of which the log index is enough.
func OfIndex(index uint64) []byte { return binary.BigEndian.AppendUint64(nil, index) }

// OfSeq encodes a write whose last row has a _seq.
func OfSeq(seq uint64) []byte {
	value := binary.BigEndian.AppendUint64(make([]byte, 0, exactLength), command.SeqIndex(seq))
	return binary.BigEndian.AppendUint16(value, uint16(seq&command.MaxOrdinal))
}

// Decode is the inverse of both.
func Decode(value []byte) (Write, error) {
	switch len(value) {
	case indexLength:
		return Write{Index: binary.BigEndian.Uint64(value)}, nil
	case exactLength:
		w := Write{Index: binary.BigEndian.Uint64(value)}
		w.Seq = command.Seq(w.Index, int(binary.BigEndian.Uint16(value[indexLength:])))
		return w, nil
	}
	return Write{}, fmt.Errorf("%w: it has %d bytes", errMalformed, len(value))
}
