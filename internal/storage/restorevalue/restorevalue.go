// Package restorevalue is the form in which a group remembers that rows were restored into it.
//
//	token(8, big-endian)                       the highest under which rows came
//	token(8) origin(2, big-endian)             the same, and the ordinal from which rows are numbered since
//
// The _seq of a row is new after a restore, and logs of two clusters have the same indexes. The origin tells them apart: rows that
// another cluster numbered have lower ordinals, save those far behind in a command of very many. The applier writes these values; whoever
// is given a cursor reads them.
package restorevalue

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/kalamdb/kalamdb-go/internal/command"
)

const (
	tokenLength = 8
	fullLength  = tokenLength + 2
)

var errMalformed = errors.New("malformed mark of a restore")

// Mark is what a group remembers. The zero Mark says that nothing was restored.
type Mark struct {
	Token  uint64
	Origin uint32 // zero when none was said; at most command.MaxOrdinal
}

// Encode is the stored form.
func (m Mark) Encode() []byte {
	value := binary.BigEndian.AppendUint64(make([]byte, 0, fullLength), m.Token)
	if m.Origin > 0 {
		value = binary.BigEndian.AppendUint16(value, uint16(m.Origin&command.MaxOrdinal))
	}
	return value
}

// Decode is the inverse.
func Decode(value []byte) (Mark, error) {
	if len(value) != tokenLength && len(value) != fullLength {
		return Mark{}, fmt.Errorf("%w: it has %d bytes", errMalformed, len(value))
	}
	m := Mark{Token: binary.BigEndian.Uint64(value)}
	if len(value) == fullLength {
		m.Origin = uint32(binary.BigEndian.Uint16(value[tokenLength:]))
	}
	return m, nil
}

// Foreign reports whether a _seq was given to a row by another cluster than the one that keeps the mark.
func (m Mark) Foreign(seq uint64) bool { return seq&command.MaxOrdinal < uint64(m.Origin) }
