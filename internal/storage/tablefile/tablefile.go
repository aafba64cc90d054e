// Package tablefile makes sorted table files of the store (Pebble's SSTs) in memory, and reads them: for what is kept outside a store, such as
// the chunks of backups. Build makes one, Read visits its entries; it opens nothing on disk and knows nothing of keys.
//
// What always holds: the same entries give the same bytes, with any version of this program that writes the same Form; a file of which a bit
// has flipped is refused, because every block has its checksum; and nothing is decompressed, for blocks are stored as they are and
// whoever keeps the file compresses it as a whole. The library writes files and does not read them: it takes blocks apart in good faith, without
// looking where they end, and a file may be made by somebody who knows how to compute its checksums. The reader here is ours, reads no more than the Form
// has, takes neither memory nor bytes from anywhere but the file, and gives out keys of restartEvery times its size at most, so that a small file costs
// nobody hours.
package tablefile

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2/objstorage"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/sstable/block"
)

// Form is how files are written: the table format of the library, whose blocks have entries behind one another, and the sizes below. A
// change of it makes every file differ from those before, which stay readable.
const Form = 1

const (
	blockBytes   = 64 << 10
	restartEvery = 16 // entries, of which the first has its key whole
)

// ErrMalformed says that bytes are no table file, or a damaged one.
var ErrMalformed = errors.New("malformed table file")

func options() sstable.WriterOptions {
	return sstable.WriterOptions{
		BlockSize: blockBytes, IndexBlockSize: blockBytes, BlockRestartInterval: restartEvery, Compression: block.NoCompression, Checksum: block.ChecksumTypeCRC32c,
		TableFormat: sstable.TableFormatPebblev4, MergerName: "nullptr",
	}
}

// Builder collects the entries of one file. It belongs to one goroutine.
type Builder struct {
	object objstorage.MemObj
	writer *sstable.Writer
	last   []byte
	count  int
}

// NewBuilder begins a file.
func NewBuilder() *Builder {
	b := &Builder{}
	b.writer = sstable.NewWriter(&b.object, options())
	return b
}

// Add adds an entry. Keys must be strictly ascending, as bytes.
func (b *Builder) Add(key, value []byte) error {
	if b.count > 0 && bytes.Compare(key, b.last) <= 0 {
		return fmt.Errorf("build a table file: key %x does not follow %x", key, b.last)
	}
	b.last = append(b.last[:0], key...)
	b.count++
	if err := b.writer.Set(key, value); err != nil {
		return fmt.Errorf("build a table file: %w", err)
	}
	return nil
}

// Finish returns the file. The builder is of no use after it.
func (b *Builder) Finish() ([]byte, error) {
	if err := b.writer.Close(); err != nil {
		return nil, fmt.Errorf("build a table file: %w", err)
	}
	return b.object.Data(), nil
}

// Abandon gives up a file that was begun and is not finished.
func (b *Builder) Abandon() { _ = b.writer.Raw().Close() } // there is nothing to keep
