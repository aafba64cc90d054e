package schema

import (
	"encoding/binary"

	"github.com/kalamdb/kalamdb-go/internal/datum"
)

// expiryID is the column id under which a row of a stream table carries the time at which it ceases to exist. It comes
// first in the row and belongs to no column, so that decoders skip it.
const expiryID = 1<<32 - 1

// AppendExpiringRow is AppendRow for a row that exists until a time, in microseconds since 1970 UTC.
func AppendExpiringRow(dst []byte, t *Table, values []datum.Datum, untilMicros int64) []byte {
	dst = append(dst, rowFormat)
	dst = binary.AppendUvarint(dst, uint64(t.Version))
	dst = binary.AppendUvarint(dst, expiryID)
	dst = datum.AppendValue(dst, datum.NewBigInt(untilMicros))
	return appendColumns(dst, t, values)
}

// RowExpiry returns the time at which a row ceases to exist; ok is false for a row that stays.
func RowExpiry(row []byte) (untilMicros int64, ok bool) {
	_, rest, err := rowHeader(row)
	if err != nil {
		return 0, false
	}
	id, n := binary.Uvarint(rest)
	if n <= 0 || id != expiryID {
		return 0, false
	}
	value, _, err := datum.DecodeValue(rest[n:])
	if err != nil || value.Kind() != datum.BigInt {
		return 0, false
	}
	return value.Int(), true
}

// TTLOption is the option of a stream table that says how long its rows exist, in seconds.
const TTLOption = "TTL_SECONDS"

// NodeLocalOption is the option of a stream table whose rows stay on the node that took them.
const NodeLocalOption = "NODE_LOCAL"

// NodeLocal reports whether every node has rows of its own in the table, which no other node sees.
func (t *Table) NodeLocal() bool { return t.Kind == KindStream && t.Options[NodeLocalOption] == "true" }
