package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/record"

	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
)

// The chunks of Pebble's manifest: crc(4, little-endian, masked) length(2) kind(1) payload, in blocks of 32 KiB, none
// across two blocks. A rest of a block that is too small for a chunk is zero.
const (
	manifestBlock  = 32 << 10
	manifestHeader = 7
)

// checkManifest verifies the list of tables. Pebble takes the first record that does not verify for the end of the
// list; that is right for the last record, which a crash may have cut, and a step into the past for any other.
// It reports whether there is a store.
func checkManifest(fsys disk.FS, dir string) (exists bool, err error) {
	if _, err = fsys.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	desc, err := pebble.Peek(dir, fsys)
	if err != nil {
		return false, wrap(err, "look for the manifest of %s", dir)
	}
	if !desc.Exists {
		return false, nil
	}
	f, err := fsys.Open(desc.ManifestFilename)
	if errors.Is(err, fs.ErrNotExist) {
		return true, fmt.Errorf("%w: %s is missing", ErrCorruption, desc.ManifestFilename)
	}
	if err != nil {
		return true, fmt.Errorf("open %s: %w", desc.ManifestFilename, err)
	}
	raw, err := io.ReadAll(f)
	if err = errors.Join(err, f.Close()); err != nil {
		return true, fmt.Errorf("read %s: %w", desc.ManifestFilename, err)
	}
	if offset, damaged := manifestDamage(raw); damaged {
		return true, fmt.Errorf("%w: %s: the record at %d does not verify, and others follow", ErrCorruption, desc.ManifestFilename, offset)
	}
	return true, nil
}

// manifestDamage reports where a chunk does not verify that others follow. A chunk at the very end that does not
// verify is what a crash leaves.
func manifestDamage(raw []byte) (offset int, damaged bool) {
	for offset < len(raw) {
		left := manifestBlock - offset%manifestBlock
		if left < manifestHeader {
			offset += left
			continue
		}
		size := manifestChunk(raw, offset)
		if size == 0 {
			break
		}
		offset += size
	}
	for at := offset + 1; at < len(raw); at++ {
		if manifestChunk(raw, at) != 0 {
			return offset, true
		}
	}
	return 0, false
}

// manifestChunk is the size of the chunk at offset, zero when none verifies there.
func manifestChunk(raw []byte, offset int) int {
	left := min(manifestBlock-offset%manifestBlock, len(raw)-offset)
	if left < manifestHeader {
		return 0
	}
	chunk := raw[offset : offset+left]
	kind := chunk[6]
	end := manifestHeader + int(binary.LittleEndian.Uint16(chunk[4:]))
	if kind < 1 || kind > 4 || end > left {
		return 0
	}
	sum := crc32.Checksum(chunk[6:end], crc32.MakeTable(crc32.Castagnoli))
	if binary.LittleEndian.Uint32(chunk) != (sum>>15|sum<<17)+0xa282ead8 {
		return 0
	}
	return end
}

// asCorruption marks what Pebble says of files that it wrote and finds changed or gone, without calling it so.
func asCorruption(err error) error {
	if errors.Is(err, record.ErrInvalidChunk) || errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %w", ErrCorruption, err)
	}
	return err
}
