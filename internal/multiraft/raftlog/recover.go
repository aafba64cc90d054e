package raftlog

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"

	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
)

// directory is what Open finds in the directory of the log.
type directory struct {
	segments []uint64 // ascending
	spares   []uint64 // ascending
	partial  []string
}

func listDirectory(fs disk.FS, dir string) (directory, error) {
	var d directory
	names, err := fs.List(dir)
	if err != nil {
		return d, fmt.Errorf("raftlog: list %s: %w", dir, err)
	}
	for _, name := range names {
		if number, ok := parseName(name, segmentPrefix); ok {
			d.segments = append(d.segments, number)
		} else if number, ok := parseName(name, sparePrefix); ok {
			d.spares = append(d.spares, number)
		} else if strings.HasPrefix(name, sparePrefix) && strings.HasSuffix(name, partialSuffix) {
			d.partial = append(d.partial, name)
		}
	}
	slices.Sort(d.segments)
	slices.Sort(d.spares)
	slices.Sort(d.partial)
	return d, nil
}

// recover reads what is on disk, and only when all of it is sound changes anything.
func (l *Log) recover() error {
	d, err := listDirectory(l.cfg.FS, l.cfg.Dir)
	if err != nil {
		return err
	}
	if len(d.segments) == 0 && l.cfg.Existing {
		return &DamageError{Reason: "there is no segment, and there was a log before"}
	}
	if len(d.segments) == 0 {
		if err = l.tidy(d, 0); err != nil {
			return err
		}
		l.writer.oldest, l.writer.number = 1, 1
		return l.newSegment(segmentHeader{store: l.cfg.StoreID, sequence: 1, oldest: 1, number: 1})
	}
	end, err := l.replaySegments(d)
	if err != nil {
		return err
	}
	if err := l.tidy(d, l.writer.oldest); err != nil {
		return err
	}
	return l.openTail(end)
}

// replaySegments replays the segments.
func (l *Log) replaySegments(d directory) (tail, error) {
	buf := []byte(nil)
	last := d.segments[len(d.segments)-1]
	// The last segment says where the log begins: in its header, or in a later record.
	s, buf, err := l.openSegment(last, buf)
	if err != nil {
		return tail{}, err
	}
	begin := newReplay()
	if _, err = begin.segment(s.header, buf); err != nil {
		return tail{}, errors.Join(err, s.close())
	}
	oldest := max(s.header.oldest, begin.oldest)
	if err = s.close(); err != nil {
		return tail{}, err
	}
	if oldest > last {
		return tail{}, &DamageError{Segment: last, Reason: "the segment frees itself"}
	}
	l.writer.oldest = oldest
	rep := newReplay()
	var end tail
	for sequence := oldest; sequence <= last; sequence++ {
		if _, found := slices.BinarySearch(d.segments, sequence); !found {
			return tail{}, missing(sequence)
		}
		if s, buf, err = l.openSegment(sequence, buf); err != nil {
			return tail{}, err
		}
		if n := len(l.segments); n > 0 && s.header.number != end.number {
			before := l.segments[n-1].header
			return tail{}, errors.Join(&DamageError{
				Segment: before.sequence, Offset: end.offset, Reason: "a record that others follow does not verify",
			}, s.close())
		}
		l.segments = append(l.segments, s)
		if end, err = rep.segment(s.header, buf); err != nil {
			return tail{}, err
		}
	}
	if err := rep.finish(); err != nil {
		return tail{}, err
	}
	rep.install(l)
	return end, nil
}

// segment replays one segment.
func (r *replay) segment(header segmentHeader, data []byte) (tail, error) {
	end, err := scan(header, data, func(payload []byte, offset int64) error {
		return r.record(payload, uint32(header.sequence), offset)
	})
	if err != nil {
		return tail{}, err
	}
	if recordBehind(header, data, end.offset, end.number) {
		return tail{}, &DamageError{
			Segment: header.sequence, Offset: end.offset, Groups: affected(header, data, end.offset),
			Reason: "a record that others follow does not verify",
		}
	}
	// Behind the record that Close writes, no other was begun: what lies there was there before the segment.
	end.dirty = !end.closed && !allZero(data[min(end.offset, header.size):])
	return end, nil
}

// openSegment opens and reads a whole segment. buf is reused when it is large enough.
func (l *Log) openSegment(sequence uint64, buf []byte) (*segment, []byte, error) {
	fs := l.cfg.FS
	path := fs.PathJoin(l.cfg.Dir, segmentName(sequence))
	file, err := fs.OpenReadWrite(path, disk.Category)
	if err != nil {
		return nil, buf, fmt.Errorf("raftlog: open %s: %w", path, err)
	}
	s := &segment{path: path, file: file}
	if buf, err = l.readSegment(s, sequence, buf); err != nil {
		return nil, buf, errors.Join(err, s.close())
	}
	return s, buf, nil
}

func (l *Log) readSegment(s *segment, sequence uint64, buf []byte) ([]byte, error) {
	damage := func(reason string) error { return &DamageError{Segment: sequence, Reason: reason} }
	first := make([]byte, pageBytes)
	if n, err := s.file.ReadAt(first, 0); err != nil && !errors.Is(err, io.EOF) {
		return buf, fmt.Errorf("raftlog: read %s: %w", s.path, err)
	} else if n < len(first) {
		return buf, damage("the file is cut short")
	}
	header, err := decodeSegmentHeader(first)
	if err != nil {
		return buf, damage(err.Error())
	}
	if header.sequence != sequence {
		return buf, damage(fmt.Sprintf("the header says segment %d", header.sequence))
	}
	if l.cfg.StoreID.IsZero() {
		l.cfg.StoreID = header.store
	}
	if header.store != l.cfg.StoreID {
		return buf, fmt.Errorf("%w: %s belongs to store %v, this is %v", ErrWrongStore, s.path, header.store, l.cfg.StoreID)
	}
	s.header = header
	if int64(cap(buf)) < header.size {
		buf = make([]byte, header.size)
	}
	buf = buf[:header.size]
	if _, err := s.file.ReadAt(buf, 0); errors.Is(err, io.EOF) {
		return buf, damage("the file is cut short")
	} else if err != nil {
		return buf, fmt.Errorf("raftlog: read %s: %w", s.path, err)
	}
	return buf, nil
}

// tidy removes files that were not finished and segments that were freed, and collects the spare files.
func (l *Log) tidy(d directory, oldest uint64) error {
	fs := l.cfg.FS
	for _, name := range d.partial {
		if err := fs.Remove(fs.PathJoin(l.cfg.Dir, name)); err != nil {
			return fmt.Errorf("raftlog: remove %s: %w", name, err)
		}
	}
	if len(d.spares) > 0 {
		l.spares.next = d.spares[len(d.spares)-1]
	}
	for _, number := range d.spares {
		path := fs.PathJoin(l.cfg.Dir, spareName(number))
		info, err := fs.Stat(path)
		if err != nil {
			return fmt.Errorf("raftlog: %w", err)
		}
		if info.Size() == l.cfg.SegmentBytes && l.spares.count() < l.cfg.SpareSegments {
			l.spares.push(path)
		} else if err := fs.Remove(path); err != nil {
			return fmt.Errorf("raftlog: remove %s: %w", path, err)
		}
	}
	for _, sequence := range d.segments {
		if sequence >= oldest {
			break
		}
		path := fs.PathJoin(l.cfg.Dir, segmentName(sequence))
		info, err := fs.Stat(path)
		if err != nil {
			return fmt.Errorf("raftlog: %w", err)
		}
		if err := l.retire(path, info.Size()); err != nil {
			return err
		}
	}
	return disk.SyncDir(fs, l.cfg.Dir)
}

// openTail makes the log ready to be written at its end: what a torn write left there is zeroed durably first, and what was read there is
// made durable.
func (l *Log) openTail(end tail) error {
	active := l.segments[len(l.segments)-1]
	w := &l.writer
	w.active, w.offset, w.number = active, end.offset, end.number
	if end.dirty {
		if err := zeroRange(active.file, end.offset, active.header.size, nil); err != nil {
			return fmt.Errorf("raftlog: cut %s at %d: %w", active.path, end.offset, err)
		}
		l.cfg.Logger.Info("raft log cut off the bytes behind its last record",
			slog.Uint64("segment", active.header.sequence), slog.Int64("offset", end.offset))
	}
	if err := l.keepLast(active, end); err != nil {
		return err
	}
	w.tail = make([]byte, end.offset%pageBytes)
	if len(w.tail) > 0 {
		if _, err := active.file.ReadAt(w.tail, end.offset-int64(len(w.tail))); err != nil {
			return fmt.Errorf("raftlog: read %s: %w", active.path, err)
		}
	}
	l.wanted.Store(true)
	return l.openOut(active)
}

// keepLast makes the last record durable. A process that was killed between its write and its sync has left it to the system alone, and what
// is read from here on is what this replica says it has: it votes by it, confirms it and applies it. The record is written again, since a
// system that failed to sync a page may take it for written.
func (l *Log) keepLast(s *segment, end tail) error {
	if from, to := end.last&^(pageBytes-1), alignPage(end.offset); end.last < end.offset {
		buf := disk.AlignedBuffer(int(to - from))[:to-from]
		if _, err := s.file.ReadAt(buf, from); err != nil {
			return fmt.Errorf("raftlog: read %s at %d: %w", s.path, from, err)
		}
		if _, err := s.file.WriteAt(buf, from); err != nil {
			return fmt.Errorf("raftlog: write %s at %d: %w", s.path, from, err)
		}
	}
	if err := s.file.Sync(); err != nil {
		return fmt.Errorf("raftlog: sync %s: %w", s.path, err)
	}
	return nil
}

func allZero(b []byte) bool {
	for len(b) >= 8 {
		if b[0]|b[1]|b[2]|b[3]|b[4]|b[5]|b[6]|b[7] != 0 {
			return false
		}
		b = b[8:]
	}
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
