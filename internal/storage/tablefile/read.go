package tablefile

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// What a file of the Form consists of, behind one another: data blocks, index blocks, a block of properties, one that names it, and a footer.
// A block is entries, restart points and their number, and has a trailer:
//
//	shared, unshared, length of the value (uvarints) | unshared bytes of the key | value
//	each restart point (4 bytes, little endian)
//	number of restart points (4)
//	trailer: compression (1), masked CRC-32C of the block and the byte before (4)
const (
	blockTrailerBytes = 5
	restartBytes      = 4
	// The footer: kind of checksum (1), handles of the block that names others and of the index, filled up with zeros, version (4), magic (8).
	footerBytes       = 53
	footerHandlesFrom = 1
	footerHandlesTo   = footerBytes - 12
	footerVersion     = 4
	footerMagic       = "\xf0\x9f\xaa\xb3\xf0\x9f\xaa\xb3"
	checksumCRC32C    = 1
	// A key of a data block ends with this trailer: it was set, at sequence number 0, and nothing is above it.
	keyTrailer      = 1
	keyTrailerBytes = 8
	// valueInPlace begins each value of a data block.
	valueInPlace = 0

	propertiesName = "rocksdb.properties"
	indexTypeName  = "rocksdb.block.based.table.index.type"
	oneLevel       = 0
	twoLevels      = 2

	// Entries in a row that share the begin of their key with the one before. The first of restartEvery entries shares nothing, and none of an index does: so
	// the keys of a file come to restartEvery times its bytes at most. Keys of properties are compared and not kept.
	sharedData       = restartEvery - 1
	sharedIndex      = 0
	sharedProperties = 1 << 30
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Read calls each for every entry of a file, in ascending order. Key and value are valid during the call only. An error of each ends it.
func Read(file []byte, each func(key, value []byte) error) error {
	index, levels, err := open(file)
	if err != nil {
		return err
	}
	r := &reader{file: file, each: each}
	if err := r.index(index, levels); err != nil {
		return err
	}
	if r.next != r.indexFrom {
		return malformed("the data ends at %d, the index begins at %d", r.next, r.indexFrom)
	}
	return nil
}

// open reads the footer and the properties, and returns the index with the number of its levels.
func open(file []byte) (index handle, levels int, err error) {
	if len(file) < footerBytes {
		return index, 0, malformed("it has %d bytes", len(file))
	}
	footer := file[len(file)-footerBytes:]
	if footer[0] != checksumCRC32C || binary.LittleEndian.Uint32(footer[footerHandlesTo:]) != footerVersion ||
		string(footer[footerHandlesTo+4:]) != footerMagic {
		return index, 0, malformed("the footer is another form's")
	}
	names, rest, ok := readHandle(footer[footerHandlesFrom:footerHandlesTo])
	if ok {
		index, rest, ok = readHandle(rest)
	}
	if !ok || len(bytes.Trim(rest, "\x00")) > 0 {
		return index, 0, malformed("the footer has no handles")
	}
	location, err := find(file, names, propertiesName)
	if err != nil {
		return index, 0, err
	}
	properties, rest, ok := readHandle(location)
	if !ok || len(rest) > 0 {
		return index, 0, malformed("the properties are nowhere")
	}
	kind, err := find(file, properties, indexTypeName)
	switch {
	case err != nil:
		return index, 0, err
	case len(kind) == 4 && binary.LittleEndian.Uint32(kind) == oneLevel:
		return index, 1, nil
	case len(kind) == 4 && binary.LittleEndian.Uint32(kind) == twoLevels:
		return index, 2, nil //nolint:mnd // that is what it says
	}
	return index, 0, malformed("an index of the type %x", kind)
}

// find returns the value of a key in a block of the file.
func find(file []byte, in handle, name string) (value []byte, err error) {
	entries, err := blockOf(file, in)
	if err != nil {
		return nil, err
	}
	err = entries.each(sharedProperties, func(key, found []byte) error {
		if string(key) == name {
			value = found
		}
		return nil
	})
	if err == nil && value == nil {
		err = malformed("there is no %s", name)
	}
	return value, err
}

type reader struct {
	file      []byte
	each      func(key, value []byte) error
	last      []byte // key of the newest entry
	count     int
	next      uint64 // where the next data block begins: they lie behind one another, so each is read once
	indexFrom uint64 // where the first block of the index that names data begins
	indexNext uint64 // where the next one does: so do they; zero before the first
}

// index reads the blocks that an index names.
func (r *reader) index(at handle, levels int) error {
	entries, err := blockOf(r.file, at)
	if err != nil {
		return err
	}
	if levels == 1 {
		switch r.indexNext {
		case 0:
			r.indexFrom = at.offset
		case at.offset:
		default:
			return malformed("an index block at %d, where %d follows", at.offset, r.indexNext)
		}
		r.indexNext = at.end()
	}
	return entries.each(sharedIndex, func(_, value []byte) error {
		below, _, ok := readHandle(value) // what follows says what kinds of keys there are, which the entries say, too
		switch {
		case !ok:
			return malformed("the index at %d names no block", at.offset)
		case levels > 1:
			return r.index(below, levels-1)
		}
		return r.data(below)
	})
}

func (r *reader) data(at handle) error {
	if at.offset != r.next {
		return malformed("a data block at %d, where %d follows", at.offset, r.next)
	}
	entries, err := blockOf(r.file, at)
	if err != nil {
		return err
	}
	r.next = at.end()
	return entries.each(sharedData, func(key, value []byte) error {
		name := len(key) - keyTrailerBytes
		if name < 0 || binary.LittleEndian.Uint64(key[name:]) != keyTrailer || len(value) == 0 || value[0] != valueInPlace {
			return malformed("entry %d, in the block at %d, sets no value", r.count, at.offset)
		}
		if r.count > 0 && bytes.Compare(key[:name], r.last) <= 0 {
			return malformed("entry %d, in the block at %d, does not follow the one before", r.count, at.offset)
		}
		r.count++
		r.last = append(r.last[:0], key[:name]...)
		return r.each(key[:name:name], value[1:])
	})
}

// handle is where a block lies, without its trailer.
type handle struct{ offset, length uint64 }

// end is where the next block begins.
func (h handle) end() uint64 { return h.offset + h.length + blockTrailerBytes }

func readHandle(data []byte) (h handle, rest []byte, ok bool) {
	var n, m int
	h.offset, n = binary.Uvarint(data)
	if n <= 0 {
		return h, nil, false
	}
	h.length, m = binary.Uvarint(data[n:])
	if m <= 0 {
		return h, nil, false
	}
	return h, data[n+m:], true
}

// entries are those of a block, behind one another.
type entries struct {
	data []byte
	from uint64 // where the block begins
}

// blockOf returns the entries of a block after checking its checksum.
func blockOf(file []byte, h handle) (entries, error) {
	size := uint64(len(file))
	if h.offset > size || h.length > size-h.offset || size-h.offset-h.length < blockTrailerBytes || h.length < restartBytes {
		return entries{}, malformed("a block of %d bytes at %d, in %d", h.length, h.offset, size)
	}
	data, trailer := file[h.offset:h.offset+h.length], file[h.offset+h.length:]
	sum := crc32.Checksum(file[h.offset:h.offset+h.length+1], castagnoli)
	if masked := (sum>>15 | sum<<17) + 0xa282ead8; masked != binary.LittleEndian.Uint32(trailer[1:]) { //nolint:mnd // of the table format
		return entries{}, malformed("the checksum of the block at %d is wrong", h.offset)
	}
	if trailer[0] != 0 {
		return entries{}, malformed("the block at %d is compressed", h.offset)
	}
	restarts := uint64(binary.LittleEndian.Uint32(data[h.length-restartBytes:]))
	if restarts > h.length/restartBytes-1 {
		return entries{}, malformed("the block at %d has %d restart points", h.offset, restarts)
	}
	return entries{data[:h.length-restartBytes*(restarts+1)], h.offset}, nil
}

// each visits the entries of a block, of which no more than a number in a row may share the begin of their key with the one before. The key is valid
// during the call only.
func (e entries) each(mostSharing int, visit func(key, value []byte) error) error {
	var key []byte
	sharing := 0
	for rest := e.data; len(rest) > 0; {
		var lengths [3]uint64 // shared, unshared, value
		for i := range lengths {
			var n int
			if lengths[i], n = binary.Uvarint(rest); n <= 0 {
				return malformed("the block at %d ends within an entry", e.from)
			}
			rest = rest[n:]
		}
		shared, unshared, value := lengths[0], lengths[1], lengths[2]
		left := uint64(len(rest))
		if shared > uint64(len(key)) || unshared > left || value > left-unshared {
			return malformed("an entry of the block at %d is longer than that", e.from)
		}
		if sharing++; shared == 0 {
			sharing = 0
		}
		if sharing > mostSharing {
			return malformed("more than %d entries in a row of the block at %d share the begin of their keys", mostSharing, e.from)
		}
		key = append(key[:shared], rest[:unshared]...)
		end := unshared + value
		if err := visit(key, rest[unshared:end:end]); err != nil {
			return err
		}
		rest = rest[end:]
	}
	return nil
}

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
}
