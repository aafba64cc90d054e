package raftlog

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
)

// Names of files in the directory of the log.
const (
	segmentPrefix = "raft-"
	sparePrefix   = "spare-"
	fileSuffix    = ".log"
	partialSuffix = ".tmp"
)

func segmentName(sequence uint64) string {
	return fmt.Sprintf("%s%016x%s", segmentPrefix, sequence, fileSuffix)
}

func spareName(number uint64) string {
	return fmt.Sprintf("%s%016x%s", sparePrefix, number, fileSuffix)
}

// parseName returns the number in a file name made of prefix, 16 hexadecimal digits and the suffix.
func parseName(name, prefix string) (uint64, bool) {
	digits, found := strings.CutPrefix(name, prefix)
	if !found {
		return 0, false
	}
	digits, found = strings.CutSuffix(digits, fileSuffix)
	if !found || len(digits) != 16 {
		return 0, false
	}
	number, err := strconv.ParseUint(digits, 16, 64)
	return number, err == nil
}

// segment is one file of the log.
type segment struct {
	header segmentHeader
	path   string

	mu   sync.RWMutex // held for reading while file is read, for writing to close it
	file disk.File    // nil once the segment is freed

	out disk.File // takes records, see openOut; nil unless this is the last segment; owned by who has the turn

	live int64 // bytes that a restart needs; guarded by Log.state
}

// readAt fills b from offset; errSegmentGone when the segment was freed.
func (s *segment) readAt(b []byte, offset int64) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.file == nil {
		return errSegmentGone
	}
	if _, err := s.file.ReadAt(b, offset); err != nil {
		return fmt.Errorf("raftlog: read %d bytes at %d of %s: %w", len(b), offset, s.path, err)
	}
	return nil
}

// close waits for readers.
func (s *segment) close() error {
	err := s.closeOut()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil {
		return err
	}
	err = errors.Join(err, s.file.Close())
	s.file = nil
	return err
}

// find returns the segment with a sequence number, nil when it was freed. It takes segmentsMu.
func (l *Log) find(sequence uint32) *segment {
	l.segmentsMu.RLock()
	defer l.segmentsMu.RUnlock()
	if len(l.segments) == 0 {
		return nil
	}
	oldest := l.segments[0].header.sequence
	if uint64(sequence) < oldest || uint64(sequence)-oldest >= uint64(len(l.segments)) {
		return nil
	}
	return l.segments[uint64(sequence)-oldest]
}

// newSegment turns a spare file into the segment that header describes and makes it the last one. Only
// ErrNoSpare leaves the log usable.
func (l *Log) newSegment(header segmentHeader) error {
	fs := l.cfg.FS
	spare, err := l.takeSpare()
	if err != nil {
		return err
	}
	path := fs.PathJoin(l.cfg.Dir, segmentName(header.sequence))
	file, err := fs.OpenReadWrite(spare, disk.Category)
	if err != nil {
		return l.fail(fmt.Errorf("raftlog: open %s: %w", spare, err))
	}
	header.size = l.cfg.SegmentBytes
	// The header is durable before the file has a name in the log, so that a segment without a valid
	// header is always damage.
	if err := prepareSegment(fs, file, header.encode(), spare, path); err != nil {
		_ = file.Close() // the earlier error is the one that matters
		return l.fail(fmt.Errorf("raftlog: start segment %d: %w", header.sequence, err))
	}
	s := &segment{header: header, path: path, file: file}
	if err := l.openOut(s); err != nil {
		return l.fail(errors.Join(err, s.close()))
	}
	l.segmentsMu.Lock()
	l.segments = append(l.segments, s)
	l.segmentsMu.Unlock()
	l.writer.active, l.writer.offset, l.writer.tail = s, pageBytes, l.writer.tail[:0]
	if !l.writer.cleaning {
		l.wanted.Store(true)
		l.crowded.Store(l.isCrowded())
	}
	return nil
}

func prepareSegment(fs disk.FS, file disk.File, header []byte, spare, path string) error {
	if _, err := file.WriteAt(header, 0); err != nil {
		return err
	}
	if err := file.Sync(); err != nil {
		return err
	}
	if err := fs.Rename(spare, path); err != nil {
		return err
	}
	return disk.SyncDir(fs, fs.PathDir(path))
}
