package raftlog

import (
	"bytes"
	"fmt"

	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
)

// This file lets the log write past the page cache. Nobody reads the log soon but the entry cache, so a copy of every
// record in the page cache only costs: the copy, the search for the pages to write back at each sync, and memory.
// Records are whole pages at whole pages anyway. Reads go through the page cache still, from a second descriptor; the
// kernel drops what it holds of the pages that are written past it. Such writes are short, and may be waited for in place.

// openOut opens the last segment for records: past the page cache where the machine can do that with pages of this
// size, which reading the header shows, and otherwise on the descriptor that is read from.
func (l *Log) openOut(s *segment) error {
	s.out = s.file
	l.pastCache.Store(false)
	if l.cfg.PageCache {
		return nil
	}
	out, err := l.cfg.FS.OpenReadWrite(s.path, disk.Category)
	if err != nil {
		return fmt.Errorf("raftlog: open %s: %w", s.path, err)
	}
	if disk.BypassCache(out) {
		page := disk.AlignedBuffer(pageBytes)[:pageBytes]
		if _, err := out.ReadAt(page, 0); err == nil && bytes.Equal(page, s.header.encode()) {
			disk.Urgent(out)
			s.out = out
			l.pastCache.Store(true)
			return nil
		}
	}
	if err := out.Close(); err != nil {
		return fmt.Errorf("raftlog: close %s: %w", s.path, err)
	}
	return nil
}

// closeOut ends the writing of a segment. Everything in it is synced.
func (s *segment) closeOut() error {
	out := s.out
	s.out = nil
	if out == nil || out == s.file {
		return nil
	}
	if err := out.Close(); err != nil {
		return fmt.Errorf("raftlog: close %s: %w", s.path, err)
	}
	return nil
}

// zeroSpare writes a new spare file, past the page cache where that works.
func (l *Log) zeroSpare(file disk.File, stop <-chan struct{}) error {
	if l.cfg.PageCache || !disk.BypassCache(file) {
		return zeroRange(file, 0, l.cfg.SegmentBytes, stop)
	}
	err := zeroRange(file, 0, l.cfg.SegmentBytes, stop)
	if err != nil && disk.IsUnaligned(err) && disk.UseCache(file) {
		return zeroRange(file, 0, l.cfg.SegmentBytes, stop)
	}
	return err
}

// writeBuffer returns an empty buffer for a record that is written with that many bytes; it is kept for the next one.
func (l *Log) writeBuffer(room int64) []byte {
	w := &l.writer
	if int64(cap(w.buf)) < room {
		w.buf = disk.AlignedBuffer(int(max(room, min(2*int64(cap(w.buf)), keepBufferBytes))))
	}
	return w.buf[:0]
}
