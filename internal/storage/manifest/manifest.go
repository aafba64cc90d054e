// Package manifest is the form in which a scope's list of segments is stored under its manifest key, and what can be
// said about such a list without looking into files.
//
//	format(1) version(8, big-endian) Manifest
//
// Format is 1; version is that of the message, so that a reader that knows the manifest of a version need not decode it
// again. Manifest is a message of proto/kalamdb/command/v1 in deterministic form.
//
// applier writes these values; whoever reads rows reads them.
package manifest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/kalamdb/kalamdb-go/internal/storage"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

const (
	format    byte = 1
	headerLen      = 1 + 8
)

// MaxSegments bounds the segments of a scope. A flush that would add another one is refused until they are compacted.
const MaxSegments = 4096

var errMalformed = errors.New("malformed manifest")

// Encode makes the stored form.
func Encode(m *commandv1.Manifest) ([]byte, error) {
	options := proto.MarshalOptions{Deterministic: true}
	value := make([]byte, 0, headerLen+options.Size(m))
	value = append(value, format)
	value = binary.BigEndian.AppendUint64(value, m.GetVersion())
	value, err := options.MarshalAppend(value, m)
	if err != nil {
		return nil, fmt.Errorf("encode manifest: %w", err)
	}
	return value, nil
}

// Version is the version of a stored manifest.
func Version(value []byte) (uint64, error) {
	if len(value) < headerLen {
		return 0, fmt.Errorf("%w: %d bytes", errMalformed, len(value))
	}
	if value[0] != format {
		return 0, fmt.Errorf("%w: format %d", errMalformed, value[0])
	}
	return binary.BigEndian.Uint64(value[1:]), nil
}

// Decode takes a stored manifest apart.
func Decode(value []byte) (*commandv1.Manifest, error) {
	version, err := Version(value)
	if err != nil {
		return nil, err
	}
	m := &commandv1.Manifest{}
	if err := proto.Unmarshal(value[headerLen:], m); err != nil {
		return nil, fmt.Errorf("%w: %w", errMalformed, err)
	}
	if m.GetVersion() != version || version == 0 {
		return nil, fmt.Errorf("%w: version %d in front of version %d", errMalformed, version, m.GetVersion())
	}
	return m, nil
}

// Covers reports whether a key lies within the keys of a segment.
func Covers(s *commandv1.Segment, primaryKey []byte) bool {
	return bytes.Compare(s.GetMinKey(), primaryKey) <= 0 && bytes.Compare(primaryKey, s.GetMaxKey()) <= 0
}

// Overlaps reports whether a segment may have a key with low <= key < high; nil bounds are open.
func Overlaps(s *commandv1.Segment, low, high []byte) bool {
	return bytes.Compare(low, s.GetMaxKey()) <= 0 && (high == nil || bytes.Compare(s.GetMinKey(), high) < 0)
}

// Each visits the manifests of a span of manifest keys. The key is valid during the call only.
func Each(reader storage.Reader, lo, hi []byte, visit func(key []byte, m *commandv1.Manifest) error) error {
	it, err := reader.Scan(lo, hi)
	if err != nil {
		return fmt.Errorf("read manifests: %w", err)
	}
	for ok := it.First(); ok; ok = it.Next() {
		value, err := it.Value()
		var m *commandv1.Manifest
		if err == nil {
			if m, err = Decode(value); err != nil {
				err = fmt.Errorf("%w: %w", storage.ErrCorruption, err)
			}
		}
		if err == nil {
			err = visit(it.Key(), m)
		}
		if err != nil {
			_ = it.Close() // the first error is the one that matters
			return fmt.Errorf("read manifests: %w", err)
		}
	}
	if err := it.Close(); err != nil {
		return fmt.Errorf("read manifests: %w", err)
	}
	return nil
}

// Rows counts the rows in the segments of a span of manifest keys.
func Rows(reader storage.Reader, lo, hi []byte) (rows uint64, err error) {
	err = Each(reader, lo, hi, func(_ []byte, m *commandv1.Manifest) error {
		for _, s := range m.GetSegments() {
			rows += s.GetRows()
		}
		return nil
	})
	return rows, err
}
