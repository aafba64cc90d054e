package raftlog

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
)

// Inspection is what Inspect found in the directory of a log.
type Inspection struct {
	Segments int   // that belong to the log
	Spares   int   // files kept ready for more
	Bytes    int64 // of the segments, as files
	Records  uint64
	Groups   []InspectedGroup // in ascending order; empty when there is damage, because then nobody knows
	Damage   []*DamageError   // everything that does not verify
	Notes    []string         // what a start would tidy away: a torn tail, files that were freed or not finished
}

// InspectedGroup is a group as its log says.
type InspectedGroup struct {
	Group  shard.GroupID
	Hard   HardState
	Marker Marker
	Last   uint64 // index of the last entry, or of the marker when there is none
}

// Inspect verifies every byte of a log that nobody has open, and goes on behind damage, to tell all of it. It
// changes nothing. The error is about a directory that cannot be read at all. With a zero store every stamp is taken,
// as long as it is everywhere the same.
func Inspect(fsys disk.FS, dir string, store ident.StoreID) (Inspection, error) {
	d, err := listDirectory(fsys, dir)
	if err != nil {
		return Inspection{}, err
	}
	i := inspector{log: &Log{cfg: Config{FS: fsys, Dir: dir, StoreID: store}}, replay: newReplay()}
	i.found.Spares = len(d.spares)
	for _, name := range d.partial {
		i.found.Notes = append(i.found.Notes, name+" was not finished")
	}
	if len(d.segments) == 0 {
		return i.found, nil
	}
	for _, sequence := range i.belonging(d.segments) {
		i.segment(sequence)
	}
	i.finish()
	return i.found, nil
}

// inspector carries what is known from one segment to the next.
type inspector struct {
	log    *Log
	buf    []byte
	replay *replay
	found  Inspection
	before *segment // the segment in front, nil when it cannot be read
	end    tail     // of the segment in front
}

// belonging leaves out what was freed and reports what is missing.
func (i *inspector) belonging(segments []uint64) []uint64 {
	last := segments[len(segments)-1]
	oldest := segments[0]
	if s, err := i.read(last); err == nil {
		begin := newReplay()
		if _, err = begin.segment(s.header, i.buf); err == nil {
			oldest = max(s.header.oldest, begin.oldest)
		}
	}
	if oldest > last {
		i.damage(&DamageError{Segment: last, Reason: "the segment frees itself"})
		return segments
	}
	var belonging []uint64
	for _, sequence := range segments {
		if sequence < oldest {
			i.found.Notes = append(i.found.Notes, segmentName(sequence)+" was freed")
			continue
		}
		belonging = append(belonging, sequence)
	}
	for sequence := oldest; sequence < last; sequence++ {
		if _, found := slices.BinarySearch(segments, sequence); !found {
			i.unreadable(sequence, missing(sequence))
		}
	}
	return belonging
}

func (i *inspector) damage(err *DamageError) { i.found.Damage = append(i.found.Damage, err) }

// read fills buf with a segment; the file is closed again.
func (i *inspector) read(sequence uint64) (*segment, error) {
	fsys := i.log.cfg.FS
	path := fsys.PathJoin(i.log.cfg.Dir, segmentName(sequence))
	file, err := fsys.Open(path)
	if err != nil {
		return nil, fmt.Errorf("raftlog: open %s: %w", path, err)
	}
	s := &segment{path: path, file: file}
	i.buf, err = i.log.readSegment(s, sequence, i.buf)
	return s, errors.Join(err, s.close())
}

// segment verifies one segment and what it has to do with the one in front.
func (i *inspector) segment(sequence uint64) {
	i.found.Segments++
	s, err := i.read(sequence)
	if err != nil {
		i.unreadable(sequence, err)
		i.before = nil
		return
	}
	i.found.Bytes += s.header.size
	if before := i.before; before != nil && before.header.sequence+1 == sequence && s.header.number != i.end.number {
		i.damage(&DamageError{
			Segment: before.header.sequence, Offset: i.end.offset, Reason: "a record that others follow does not verify",
		})
	}
	end, err := i.replay.segment(s.header, i.buf)
	if err == nil {
		err = i.entries(s.header)
	}
	if err != nil {
		i.unreadable(sequence, err)
		i.before = nil
		return
	}
	i.found.Records += end.number - s.header.number
	i.before, i.end = s, end
}

func (i *inspector) unreadable(sequence uint64, err error) {
	var found *DamageError
	if !errors.As(err, &found) {
		found = &DamageError{Segment: sequence, Reason: err.Error()}
		if errors.Is(err, fs.ErrNotExist) {
			found.Reason = "the file is missing"
		}
	}
	i.damage(found)
}

// entries verifies the checksum of each entry by itself: it covers group and index, which the record's does not.
func (i *inspector) entries(header segmentHeader) error {
	_, err := scan(header, i.buf, func(payload []byte, _ int64) error {
		return decodeSections(payload, func(s *section) error {
			for n, e := range s.entries {
				_, _, err := decodeEntry(payload[e.offset:e.offset+e.size], s.group, s.first+uint64(n), e.term)
				if err != nil {
					return err
				}
			}
			return nil
		})
	})
	return err
}

// finish judges the groups, unless something in front of them is wrong already.
func (i *inspector) finish() {
	if len(i.found.Damage) > 0 {
		return
	}
	if i.end.dirty {
		i.found.Notes = append(i.found.Notes, fmt.Sprintf("%s ends with a record that was not finished, behind offset %d",
			segmentName(i.before.header.sequence), i.end.offset))
	}
	if err := i.replay.finish(); err != nil {
		i.unreadable(0, err)
		return
	}
	for id, g := range i.replay.groups {
		i.found.Groups = append(i.found.Groups, InspectedGroup{Group: id, Hard: g.hard, Marker: g.marker, Last: g.last()})
	}
	slices.SortFunc(i.found.Groups, func(a, b InspectedGroup) int {
		if a.Group < b.Group {
			return -1
		}
		return 1
	})
}
