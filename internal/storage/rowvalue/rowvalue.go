// Package rowvalue is the form in which a row version is stored under its row key.
//
//	format(1) flags(1) seq(8, big-endian) row bytes
//
// Format is 1. The lowest bit of flags says that the version is a deletion; its row bytes are then those
// of the last live version. The other bits are zero, and a reader refuses them. The row bytes are encoded by
// package schema. One version is stored for each primary key: the newest.
//
// The package also digests the rows of a table, so that replicas can be compared.
//
// applier writes these values, package table reads them; nobody else does.
package rowvalue

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cespare/xxhash/v2"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	"github.com/kalamdb/kalamdb-go/internal/storage/manifest"
)

const (
	format      byte = 1
	deletedFlag byte = 1
	headerLen        = 1 + 1 + 8
)

var errMalformed = errors.New("malformed row value")

// Append encodes a row version behind dst.
func Append(dst []byte, seq uint64, deleted bool, row []byte) []byte {
	flags := byte(0)
	if deleted {
		flags = deletedFlag
	}
	dst = append(dst, format, flags)
	dst = binary.BigEndian.AppendUint64(dst, seq)
	return append(dst, row...)
}

// Decode takes a stored value apart; row aliases value. It is short enough to become part of its caller.
func Decode(value []byte) (seq uint64, deleted bool, row []byte, err error) {
	if len(value) < headerLen || value[0] != format || value[1] > deletedFlag {
		return 0, false, nil, refusal(value)
	}
	return binary.BigEndian.Uint64(value[2:]), value[1] == deletedFlag, value[headerLen:], nil
}

// refusal says why a value is not one.
func refusal(value []byte) error {
	switch {
	case len(value) < headerLen:
		return fmt.Errorf("%w: %d bytes", errMalformed, len(value))
	case value[0] != format:
		return fmt.Errorf("%w: format %d", errMalformed, value[0])
	}
	return fmt.Errorf("%w: flags %#x", errMalformed, value[1])
}

// TableDigest counts the versions of a table in a group, deletions and those in segments included, and hashes the keys and
// values of rows and of manifests, which hold the hashes of segments. Replicas of a group with the same applied index have the same digest.
func TableDigest(reader storage.Reader, group shard.GroupID, table ident.TableID) (rows, digest uint64, err error) {
	lo, hi := keys.TableSpan(group, table)
	if rows, digest, err = SpanDigest(reader, lo, hi); err != nil {
		return 0, 0, err
	}
	lo, hi = keys.ManifestSpan(group, table)
	manifests, cold, err := SpanDigest(reader, lo, hi)
	if err != nil || manifests == 0 {
		return rows, digest, err
	}
	inSegments, err := manifest.Rows(reader, lo, hi)
	return rows + inSegments, digest ^ cold, err
}

// SpanDigest counts the entries of a span and hashes their keys and values (XXH64, each length-prefixed).
func SpanDigest(reader storage.Reader, lo, hi []byte) (entries, digest uint64, err error) {
	it, err := reader.Scan(lo, hi)
	if err != nil {
		return 0, 0, fmt.Errorf("digest: %w", err)
	}
	hash := xxhash.New()
	add := func(part []byte) {
		var length [4]byte
		binary.BigEndian.PutUint32(length[:], uint32(len(part))) //nolint:gosec // keys and values are below 4 GiB
		_, _ = hash.Write(length[:])                             // a hash cannot fail
		_, _ = hash.Write(part)
	}
	for ok := it.First(); ok; ok = it.Next() {
		value, err := it.Value()
		if err != nil {
			_ = it.Close() // the read error is the one that matters
			return 0, 0, fmt.Errorf("digest: %w", err)
		}
		add(it.Key())
		add(value)
		entries++
	}
	if err := it.Close(); err != nil {
		return 0, 0, fmt.Errorf("digest: %w", err)
	}
	return entries, hash.Sum64(), nil
}
