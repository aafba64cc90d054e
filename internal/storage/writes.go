package storage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"path"
	"strconv"
	"strings"

	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
)

// This file looks for wrong bytes in write-ahead logs before the library reads them. The library takes what does not verify in the last block
// of 32 KiB for the end, and drops what follows; here that is damage as soon as anything behind it shows that it was durable.

// WritesSuffix ends the names of the files of a write-ahead log.
const WritesSuffix = ".log"

// The form of a chunk: crc(4) length(2) encoding(1) number of the file(4) offset that was durable when the chunk was made(8) bytes. No chunk
// goes over the end of a block. A file that was closed ends with a chunk of another number, without a checksum. The first file of a new store has
// an older form, without the offset.
const (
	writesBlockBytes    = 32 << 10
	writesHeaderBytes   = 19
	oldWritesHeadBytes  = 11
	leastOldEncoding    = 5
	leastEncoding       = 9
	greatestEncoding    = 12
	writesEndEncoding   = leastOldEncoding
	writesEndBytes      = oldWritesHeadBytes
	writesChecksumDelta = 0xa282ead8
)

var writesTable = crc32.MakeTable(crc32.Castagnoli)

// VerifyWrites returns ErrCorruption when bytes of a write-ahead log that were durable do not verify. Those of its very last batch may
// be wrong unseen, unless the store was closed: they look like a write that a crash has cut short.
func VerifyWrites(fsys disk.FS, dir string) error {
	names, err := fsys.List(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("verify the writes in %s: %w", dir, err)
	}
	for _, name := range names {
		number, err := strconv.ParseUint(strings.TrimSuffix(name, WritesSuffix), 10, 32)
		if err != nil || !strings.HasSuffix(name, WritesSuffix) {
			continue
		}
		content, err := readWhole(fsys, fsys.PathJoin(dir, name))
		if err != nil {
			return err
		}
		if at, wrong := wrongWrite(content, uint32(number)); wrong {
			return fmt.Errorf("%w: %s does not verify at %d, and what follows was written after that was durable", ErrCorruption, path.Join(dir, name), at)
		}
	}
	return nil
}

func readWhole(fsys disk.FS, name string) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	content, err := io.ReadAll(f)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return content, nil
}

// wrongWrite returns where a file stops to verify, and whether that place was durable once.
func wrongWrite(content []byte, number uint32) (at int, wrong bool) {
	for {
		size, _ := chunkAt(content, at, number)
		if rest := writesBlockBytes - at%writesBlockBytes; size == 0 && rest < writesHeaderBytes && at+rest <= len(content) && allZero(content[at:at+rest]) {
			size = rest // no chunk fits there
		}
		if size == 0 {
			break
		}
		at += size
	}
	if at >= len(content) || endsAt(content, at, number) {
		return at, false
	}
	for behind := at + 1; behind < len(content); behind++ {
		if size, durable := chunkAt(content, behind, number); size > 0 && durable > uint64(at) || endsAt(content, behind, number) {
			return at, true
		}
	}
	return at, false
}

func allZero(b []byte) bool { return len(bytes.Trim(b, "\x00")) == 0 }

// chunkAt returns the size of the chunk at a place, zero when there is none that verifies, and how far the file was durable.
func chunkAt(content []byte, at int, number uint32) (size int, durable uint64) {
	if at+writesHeaderBytes > len(content) {
		return 0, 0
	}
	b, header := content[at:], writesHeaderBytes
	if b[6] < leastEncoding {
		header = oldWritesHeadBytes
	}
	size = header + int(binary.LittleEndian.Uint16(b[4:]))
	if b[6] < leastOldEncoding || b[6] > greatestEncoding || binary.LittleEndian.Uint32(b[7:]) != number ||
		size > len(b) || at%writesBlockBytes+size > writesBlockBytes {
		return 0, 0
	}
	sum := crc32.Checksum(b[6:size], writesTable)
	if binary.LittleEndian.Uint32(b) != (sum>>15|sum<<17)+writesChecksumDelta {
		return 0, 0
	}
	if header != writesHeaderBytes {
		return size, 0
	}
	return size, binary.LittleEndian.Uint64(b[11:])
}

// endsAt reports whether the file was closed there.
func endsAt(content []byte, at int, number uint32) bool {
	if at+writesEndBytes > len(content) {
		return false
	}
	b := content[at:]
	return allZero(b[:6]) && b[6] == writesEndEncoding && binary.LittleEndian.Uint32(b[7:]) == number+1
}
