package raftlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/kalamdb/kalamdb-go/internal/ident"
)

// Sizes of the disk format, in bytes. docs/design/formats/raftlog.md has the tables.
const (
	pageBytes          = 4096
	recordAlign        = 16
	segmentHeaderBytes = 64
	recordHeaderBytes  = 24
	entryHeaderBytes   = 20

	formatVersion = 1
	segmentMagic  = "KALAMWAL"

	// reserveBytes at the end of a segment are kept for the record that frees another one, so that a
	// full disk can be emptied.
	reserveBytes = pageBytes
)

// capacityOf is the largest payload of a record in a segment of that size.
func capacityOf(segmentBytes int64) int64 {
	return segmentBytes - pageBytes - reserveBytes - recordHeaderBytes
}

// segmentHeader opens a segment. It has the first page to itself, which is never written again.
type segmentHeader struct {
	store    ident.StoreID
	sequence uint64 // 1 and up, without gaps
	oldest   uint64 // the lowest sequence that must exist while this is the last segment
	number   uint64 // number of the first record
	size     int64  // of the file
}

func (h segmentHeader) encode() []byte {
	b := make([]byte, pageBytes)
	copy(b, segmentMagic)
	binary.LittleEndian.PutUint32(b[8:], formatVersion)
	copy(b[16:32], h.store[:])
	binary.LittleEndian.PutUint64(b[32:], h.sequence)
	binary.LittleEndian.PutUint64(b[40:], h.oldest)
	binary.LittleEndian.PutUint64(b[48:], h.number)
	binary.LittleEndian.PutUint64(b[56:], uint64(h.size))
	binary.LittleEndian.PutUint32(b[12:], segmentHeaderSum(b))
	return b
}

// segmentHeaderSum covers every byte of the header but the sum itself.
func segmentHeaderSum(b []byte) uint32 {
	return checksum(checksum(0, b[:12]), b[16:segmentHeaderBytes])
}

func decodeSegmentHeader(b []byte) (segmentHeader, error) {
	var h segmentHeader
	if len(b) < segmentHeaderBytes || string(b[:8]) != segmentMagic {
		return h, errors.New("not a segment of the Raft log")
	}
	if binary.LittleEndian.Uint32(b[12:]) != segmentHeaderSum(b) {
		return h, errors.New("checksum of the segment header does not match")
	}
	if version := binary.LittleEndian.Uint32(b[8:]); version != formatVersion {
		return h, fmt.Errorf("segment format %d: this version reads %d", version, formatVersion)
	}
	copy(h.store[:], b[16:32])
	h.sequence = binary.LittleEndian.Uint64(b[32:])
	h.oldest = binary.LittleEndian.Uint64(b[40:])
	h.number = binary.LittleEndian.Uint64(b[48:])
	h.size = int64(binary.LittleEndian.Uint64(b[56:]))
	if h.size < minSegmentBytes || h.size > maxSegmentBytes || h.oldest > h.sequence || h.oldest == 0 {
		return h, fmt.Errorf("segment header is not plausible: size %d, oldest %d", h.size, h.oldest)
	}
	return h, nil
}

// place is where a record lies. It seeds the checksums, so that bytes of another store, another segment
// or another offset never verify.
type place struct {
	store    ident.StoreID
	sequence uint64
	offset   int64
}

func (p place) seed() uint32 {
	var b [32]byte
	copy(b[:16], p.store[:])
	binary.LittleEndian.PutUint64(b[16:], p.sequence)
	binary.LittleEndian.PutUint64(b[24:], uint64(p.offset))
	return checksum(0, b[:])
}

// sealRecord fills the header at the start of a record whose payload is already behind it.
func sealRecord(record []byte, at place, number uint64) {
	payload := record[recordHeaderBytes:]
	seed := at.seed()
	binary.LittleEndian.PutUint32(record[4:], uint32(len(payload)))
	binary.LittleEndian.PutUint32(record[8:], checksum(seed, payload))
	binary.LittleEndian.PutUint32(record[12:], 0)
	binary.LittleEndian.PutUint64(record[16:], number)
	binary.LittleEndian.PutUint32(record[0:], checksum(seed, record[4:recordHeaderBytes]))
}

// recordHeader is a verified header.
type recordHeader struct {
	length     int64 // of the payload
	payloadSum uint32
	number     uint64
}

// decodeRecordHeader verifies the header at the start of b; ok is false for anything that was not written
// as a record at this place.
func decodeRecordHeader(b []byte, seed uint32) (h recordHeader, ok bool) {
	if len(b) < recordHeaderBytes ||
		binary.LittleEndian.Uint32(b) != checksum(seed, b[4:recordHeaderBytes]) ||
		binary.LittleEndian.Uint32(b[12:]) != 0 {
		return h, false
	}
	h.length = int64(binary.LittleEndian.Uint32(b[4:]))
	h.payloadSum = binary.LittleEndian.Uint32(b[8:])
	h.number = binary.LittleEndian.Uint64(b[16:])
	return h, true
}

// decodeRecord verifies the record at the start of b, header and payload.
func decodeRecord(b []byte, at place) (payload []byte, number uint64, ok bool) {
	seed := at.seed()
	h, ok := decodeRecordHeader(b, seed)
	if !ok || h.length > int64(len(b)-recordHeaderBytes) {
		return nil, 0, false
	}
	payload = b[recordHeaderBytes : recordHeaderBytes+h.length]
	if checksum(seed, payload) != h.payloadSum {
		return nil, 0, false
	}
	return payload, h.number, true
}

// alignRecord rounds up to the next place where a record may start.
func alignRecord(n int64) int64 { return (n + recordAlign - 1) &^ (recordAlign - 1) }

func alignPage(n int64) int64 { return (n + pageBytes - 1) &^ (pageBytes - 1) }

// checksum is CRC-32C, continued from sum.
func checksum(sum uint32, b []byte) uint32 {
	return crc32.Update(sum, crc32.MakeTable(crc32.Castagnoli), b)
}
