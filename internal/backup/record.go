package backup

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cespare/xxhash/v2"

	"github.com/kalamdb/kalamdb-go/internal/ident"
)

// Record is one row of a table, or one record of the catalog: then Table is zero, Key and Value are key and value of
// the meta group, and User is empty.
type Record struct {
	Table   ident.TableID
	User    ident.UserID // empty for shared tables
	Key     []byte       // encoding of the primary key
	Value   []byte       // encoding of the row; the last live one of a deleted row
	Deleted bool
}

const deletedFlag = 1

var errMalformed = errors.New("malformed chunk")

// appendRecord encodes a record: numbers and lengths as uvarints.
//
//	table | len user | len key | flags(1) | len value
func appendRecord(dst []byte, r *Record) []byte {
	dst = binary.AppendUvarint(dst, uint64(r.Table))
	dst = append(binary.AppendUvarint(dst, uint64(len(r.User))), r.User...)
	dst = append(binary.AppendUvarint(dst, uint64(len(r.Key))), r.Key...)
	dst = append(dst, flagsOf(r))
	return append(binary.AppendUvarint(dst, uint64(len(r.Value))), r.Value...)
}

func flagsOf(r *Record) byte {
	if r.Deleted {
		return deletedFlag
	}
	return 0
}

// readRecord decodes the first record of data, which it aliases, and returns what follows.
func readRecord(data []byte, r *Record) (rest []byte, err error) {
	table, n := binary.Uvarint(data)
	if n <= 0 {
		return nil, fmt.Errorf("%w: no table", errMalformed)
	}
	r.Table = ident.TableID(table)
	user, data, err := readBytes(data[n:])
	if err != nil {
		return nil, err
	}
	r.User = ident.UserID(user)
	if r.Key, data, err = readBytes(data); err != nil {
		return nil, err
	}
	if len(data) == 0 || data[0]&^deletedFlag != 0 {
		return nil, fmt.Errorf("%w: unknown flags", errMalformed)
	}
	r.Deleted = data[0] == deletedFlag
	r.Value, rest, err = readBytes(data[1:])
	return rest, err
}

func readBytes(data []byte) (bytes, rest []byte, err error) {
	size, n := binary.Uvarint(data)
	if n <= 0 || size > uint64(len(data)-n) { //nolint:gosec // n is not above the length
		return nil, nil, fmt.Errorf("%w: a length is wrong", errMalformed)
	}
	end := n + int(size) //nolint:gosec // at most len(data)
	return data[n:end:end], data[end:], nil
}

// Digest counts and hashes rows in any order: the sum of their hashes. It is equal for equal sets of rows, however they
// are spread over groups.
type Digest struct {
	Rows    uint64 `json:"rows"`    // live ones
	Deleted uint64 `json:"deleted"` // remembered deletions
	Sum     uint64 `json:"sum,string"`
}

// add counts a record by its encoding.
func (d *Digest) add(deleted bool, encoded []byte) {
	if deleted {
		d.Deleted++
	} else {
		d.Rows++
	}
	d.Sum += xxhash.Sum64(encoded)
}

// join adds what another one counted.
func (d *Digest) join(other Digest) {
	d.Rows += other.Rows
	d.Deleted += other.Deleted
	d.Sum += other.Sum
}
