package backup

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/storage/tablefile"
)

// The content of a chunk is a sorted table file of the store. A key is the place of a record, and sorts as records do:
//
//	table, 8 bytes, big endian | user, each byte 00 as 00 FF | 00 00 | key
//
// The value is the flags, one byte, and the value of the record.

const (
	tableBytes = 8
	escaped    = 0xff // behind a byte 00 of a user
)

// tableOf makes the content of a chunk of a run of encoded records.
func tableOf(run []byte) ([]byte, error) {
	b := tablefile.NewBuilder()
	var r Record
	var key, value []byte
	for rest := run; len(rest) > 0; {
		var err error
		if rest, err = readRecord(rest, &r); err == nil {
			key, value = appendPlace(key[:0], &r), append(value[:0], flagsOf(&r))
			err = b.Add(key, append(value, r.Value...))
		}
		if err != nil {
			b.Abandon()
			return nil, err
		}
	}
	return b.Finish()
}

func appendPlace(dst []byte, r *Record) []byte {
	dst = binary.BigEndian.AppendUint64(dst, uint64(r.Table))
	for i := range len(r.User) {
		if dst = append(dst, r.User[i]); r.User[i] == 0 {
			dst = append(dst, escaped)
		}
	}
	return append(append(dst, 0, 0), r.Key...)
}

// readPlace decodes what appendPlace made. The key aliases data.
func readPlace(data []byte, r *Record) error {
	if len(data) < tableBytes {
		return fmt.Errorf("%w: a key of %d bytes", errMalformed, len(data))
	}
	r.Table = ident.TableID(binary.BigEndian.Uint64(data))
	rest := data[tableBytes:]
	user := make([]byte, 0, 32) //nolint:mnd // as long as most are
	for {
		zero := bytes.IndexByte(rest, 0)
		if zero < 0 || zero+1 == len(rest) {
			return fmt.Errorf("%w: a user without an end", errMalformed)
		}
		user = append(user, rest[:zero]...)
		kind := rest[zero+1]
		rest = rest[zero+2:]
		switch kind {
		case 0:
			r.User, r.Key = ident.UserID(user), rest
			return nil
		case escaped:
			user = append(user, 0)
		default:
			return fmt.Errorf("%w: a user with an unknown escape", errMalformed)
		}
	}
}

// visitTable gives the records of a table file, each with its encoding.
func visitTable(file []byte, visit func(record *Record, encoded []byte) error) error {
	var r Record
	var encoded []byte
	total := 0 // a few bytes of a file may make a long key
	return tablefile.Read(file, func(key, value []byte) error {
		if err := readPlace(key, &r); err != nil {
			return err
		}
		if len(value) == 0 || value[0]&^deletedFlag != 0 {
			return fmt.Errorf("%w: unknown flags", errMalformed)
		}
		r.Deleted, r.Value = value[0] == deletedFlag, value[1:]
		encoded = appendRecord(encoded[:0], &r)
		if total += len(encoded); total > maxStoredBytes {
			return fmt.Errorf("%w: more than %d bytes of records", errMalformed, maxStoredBytes)
		}
		return visit(&r, encoded)
	})
}

// visitRun gives the records of a run, which is what the first form of chunks holds.
func visitRun(run []byte, visit func(record *Record, encoded []byte) error) error {
	var r Record
	for rest := run; len(rest) > 0; {
		before := rest
		var err error
		if rest, err = readRecord(rest, &r); err != nil {
			return err
		}
		if err = visit(&r, before[:len(before)-len(rest)]); err != nil {
			return err
		}
	}
	return nil
}
