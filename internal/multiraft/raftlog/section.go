package raftlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	raftpb "go.etcd.io/raft/v3/raftpb"

	"github.com/kalamdb/kalamdb-go/internal/shard"
)

// sectionKind says what a part of a record is. The numbers are part of the disk format.
type sectionKind uint8

const (
	sectionHard    sectionKind = 1 // the hard state of a group
	sectionReset   sectionKind = 2 // forget every entry; the log starts after this marker
	sectionMarker  sectionKind = 3 // forget entries up to this marker
	sectionEntries sectionKind = 4 // entries that replace everything from the first of them on
	sectionRewrite sectionKind = 5 // entries that moved here; nothing behind them is dropped
	sectionFree    sectionKind = 6 // segments below this one are not part of the log any more
)

// Encoded sizes of sections, entries apart.
const (
	sectionHeaderBytes  = 9
	hardSectionBytes    = sectionHeaderBytes + 24
	markerSectionBytes  = sectionHeaderBytes + 16
	entriesSectionBytes = sectionHeaderBytes + 12
	freeSectionBytes    = sectionHeaderBytes + 8
)

// section is one decoded part of a record. The entries point into the payload.
type section struct {
	kind    sectionKind
	group   shard.GroupID
	hard    HardState
	marker  Marker
	oldest  uint64
	first   uint64
	entries []entrySpan
}

// entrySpan is where an entry lies in a payload.
type entrySpan struct {
	term   uint64
	offset uint32 // from the start of the payload
	size   uint32 // with its header
}

func appendSectionHeader(b []byte, kind sectionKind, group shard.GroupID) []byte {
	b = append(b, byte(kind))
	return binary.LittleEndian.AppendUint64(b, uint64(group))
}

func appendHard(b []byte, group shard.GroupID, hard HardState) []byte {
	b = appendSectionHeader(b, sectionHard, group)
	b = binary.LittleEndian.AppendUint64(b, hard.Term)
	b = binary.LittleEndian.AppendUint64(b, hard.Vote)
	return binary.LittleEndian.AppendUint64(b, hard.Commit)
}

func appendMarker(b []byte, kind sectionKind, group shard.GroupID, marker Marker) []byte {
	b = appendSectionHeader(b, kind, group)
	b = binary.LittleEndian.AppendUint64(b, marker.Index)
	return binary.LittleEndian.AppendUint64(b, marker.Term)
}

func appendFree(b []byte, oldest uint64) []byte {
	b = appendSectionHeader(b, sectionFree, 0)
	return binary.LittleEndian.AppendUint64(b, oldest)
}

// appendEntriesHeader starts a section of count entries, which must follow.
func appendEntriesHeader(b []byte, kind sectionKind, group shard.GroupID, first uint64, count int) []byte {
	b = appendSectionHeader(b, kind, group)
	b = binary.LittleEndian.AppendUint64(b, first)
	return binary.LittleEndian.AppendUint32(b, uint32(count))
}

func appendEntry(b []byte, group shard.GroupID, entry *raftpb.Entry) []byte {
	start := len(b)
	data := entry.GetData()
	b = append(b, 0, 0, 0, 0)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(data)))
	b = binary.LittleEndian.AppendUint64(b, entry.GetTerm())
	b = append(b, byte(entry.GetType()), 0, 0, 0)
	b = append(b, data...)
	// The sum begins with group and index. They stand in the place of sum, length and term meanwhile, which saves the
	// memory that they would take elsewhere: what is handed to the checksum is always on the heap.
	var head [16]byte
	copy(head[:], b[start:])
	binary.LittleEndian.PutUint64(b[start:], uint64(group))
	binary.LittleEndian.PutUint64(b[start+8:], entry.GetIndex())
	seed := checksum(0, b[start:start+16])
	copy(b[start:], head[:])
	binary.LittleEndian.PutUint32(b[start:], checksum(seed, b[start+4:]))
	return b
}

// entrySum covers the group, the index and every byte of the entry but the sum itself.
func entrySum(group shard.GroupID, index uint64, entry []byte) uint32 {
	var b [16]byte
	binary.LittleEndian.PutUint64(b[:], uint64(group))
	binary.LittleEndian.PutUint64(b[8:], index)
	return checksum(checksum(0, b[:]), entry[4:])
}

// entryBytes is the encoded size of an entry.
func entryBytes(entry *raftpb.Entry) int64 { return entryHeaderBytes + int64(len(entry.GetData())) }

// decodeEntry verifies the encoded entry b and returns its parts; data points into b.
func decodeEntry(b []byte, group shard.GroupID, index, term uint64) (raftpb.EntryType, []byte, error) {
	switch {
	case len(b) < entryHeaderBytes:
		return 0, nil, fmt.Errorf("entry %d of %v is cut short", index, group)
	case binary.LittleEndian.Uint32(b) != entrySum(group, index, b):
		return 0, nil, fmt.Errorf("checksum of entry %d of %v does not match", index, group)
	case binary.LittleEndian.Uint64(b[8:]) != term:
		return 0, nil, fmt.Errorf("entry %d of %v has term %d, want %d", index, group,
			binary.LittleEndian.Uint64(b[8:]), term)
	case int(binary.LittleEndian.Uint32(b[4:])) != len(b)-entryHeaderBytes:
		return 0, nil, fmt.Errorf("entry %d of %v has another length", index, group)
	}
	if len(b) == entryHeaderBytes {
		return raftpb.EntryType(b[16]), nil, nil
	}
	return raftpb.EntryType(b[16]), b[entryHeaderBytes:len(b):len(b)], nil
}

// decodeSections calls visit for each section of a payload. The section is reused between calls.
func decodeSections(payload []byte, visit func(*section) error) error {
	if int64(len(payload)) > maxSegmentBytes {
		return fmt.Errorf("payload of %d bytes is larger than a segment", len(payload))
	}
	d := decoder{rest: payload, total: len(payload)}
	var s section
	for len(d.rest) > 0 {
		if err := d.section(&s); err != nil {
			return err
		}
		if err := visit(&s); err != nil {
			return err
		}
	}
	return nil
}

// decoder takes a payload apart; short is set once something is cut off.
type decoder struct {
	rest  []byte
	total int
	short bool
}

func (d *decoder) take(n int) []byte {
	if n > len(d.rest) {
		d.short = true
		d.rest = nil
		return nil
	}
	b := d.rest[:n]
	d.rest = d.rest[n:]
	return b
}

func (d *decoder) uint64() uint64 {
	b := d.take(8)
	if b == nil {
		return 0
	}
	return binary.LittleEndian.Uint64(b)
}

func (d *decoder) uint32() uint32 {
	b := d.take(4)
	if b == nil {
		return 0
	}
	return binary.LittleEndian.Uint32(b)
}

func (d *decoder) section(s *section) error {
	entries := s.entries[:0]
	*s = section{kind: sectionKind(d.take(1)[0])}
	s.group = shard.GroupID(d.uint64())
	var err error
	switch s.kind {
	case sectionHard:
		s.hard = HardState{Term: d.uint64(), Vote: d.uint64(), Commit: d.uint64()}
	case sectionReset, sectionMarker:
		s.marker = Marker{Index: d.uint64(), Term: d.uint64()}
	case sectionFree:
		s.oldest = d.uint64()
	case sectionEntries, sectionRewrite:
		s.entries, err = d.entries(s, entries)
	default:
		return fmt.Errorf("section of unknown kind %d", s.kind)
	}
	if err != nil {
		return err
	}
	if d.short {
		return fmt.Errorf("section of kind %d is cut short", s.kind)
	}
	return nil
}

func (d *decoder) entries(s *section, spans []entrySpan) ([]entrySpan, error) {
	s.first = d.uint64()
	count := uint64(d.uint32())
	if d.short || count == 0 || count > uint64(len(d.rest)/entryHeaderBytes) ||
		s.first == 0 || s.first > math.MaxUint64-count {
		return nil, fmt.Errorf("section of %d entries from index %d is not plausible", count, s.first)
	}
	for range count {
		offset := d.total - len(d.rest)
		header := d.take(entryHeaderBytes)
		if header == nil {
			return nil, errors.New("entry is cut short")
		}
		length := int64(binary.LittleEndian.Uint32(header[4:]))
		if length > int64(len(d.rest)) {
			return nil, fmt.Errorf("entry of %d bytes is cut short", length)
		}
		d.take(int(length))
		spans = append(spans, entrySpan{
			term:   binary.LittleEndian.Uint64(header[8:]),
			offset: uint32(offset),
			size:   uint32(entryHeaderBytes + length),
		})
	}
	return spans, nil
}
