package raftlog

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
)

// spares are files that wait to become segments: of full size, with blocks that were written, so that
// records overwrite in place and a sync moves no metadata. What is in them does not matter.
type spares struct {
	making sync.Mutex // held while a file is written; taken before mu

	mu    sync.Mutex // guards the rest
	paths []string
	next  uint64 // number of the next spare file
}

// zeroChunkBytes is how much of a new file is written at a time, syncEveryBytes how much between two syncs:
// one sync of a whole segment would hold up those of the log.
const (
	zeroChunkBytes = 1 << 20
	syncEveryBytes = 8 << 20
)

func (s *spares) pop() (string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.paths) == 0 {
		return "", false
	}
	path := s.paths[0]
	s.paths = s.paths[1:]
	return path, true
}

func (s *spares) push(path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.paths = append(s.paths, path)
}

func (s *spares) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.paths)
}

func (s *spares) number() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next++
	return s.next
}

// takeSpare returns the path of a spare file, which it writes now when none is ready. That there is no room for it is
// ErrNoSpare; another failure ends the log.
func (l *Log) takeSpare() (string, error) {
	if path, ok := l.spares.pop(); ok {
		return path, nil
	}
	l.spares.making.Lock()
	defer l.spares.making.Unlock()
	if path, ok := l.spares.pop(); ok {
		return path, nil
	}
	path, err := l.makeSpare(nil)
	if err != nil && !errors.Is(err, ErrNoSpare) {
		return "", l.fail(err) // a disk that fails gets no second chance
	}
	return path, err
}

// fillSpares writes spare files until the configured number is ready or the log closes.
func (l *Log) fillSpares() {
	for {
		l.spares.making.Lock()
		if l.spares.count() >= l.cfg.SpareSegments {
			l.spares.making.Unlock()
			return
		}
		path, err := l.makeSpare(l.stop)
		if err == nil {
			l.spares.push(path)
		}
		l.spares.making.Unlock()
		if err != nil {
			if !errors.Is(err, ErrClosed) {
				l.cfg.Logger.Warn("raft log could not prepare a segment", slog.String("error", err.Error()))
			}
			return
		}
	}
}

// makeSpare writes a new spare file. That there is no room for it is ErrNoSpare, and leaves nothing behind: no
// byte of the log was in that file. The caller holds making.
func (l *Log) makeSpare(stop <-chan struct{}) (string, error) {
	fs := l.cfg.FS
	path := fs.PathJoin(l.cfg.Dir, spareName(l.spares.number()))
	partial := path + partialSuffix
	if err := l.writeZeros(partial, stop); err != nil {
		_ = fs.Remove(partial) // it may not exist; Open removes what is left
		if errors.Is(err, ErrClosed) {
			return "", err
		}
		if !disk.IsFull(err) {
			return "", fmt.Errorf("raftlog: prepare a segment: %w", err)
		}
		return "", fmt.Errorf("%w: %w", ErrNoSpare, err)
	}
	if err := fs.Rename(partial, path); err != nil {
		return "", l.fail(fmt.Errorf("raftlog: rename %s: %w", partial, err))
	}
	if err := disk.SyncDir(fs, l.cfg.Dir); err != nil {
		return "", l.fail(fmt.Errorf("raftlog: %w", err))
	}
	return path, nil
}

func (l *Log) writeZeros(path string, stop <-chan struct{}) error {
	file, err := l.cfg.FS.Create(path, disk.Category)
	if err != nil {
		return err
	}
	err = l.zeroSpare(file, stop)
	if err != nil {
		_ = file.Close() // the earlier error is the one that matters
		return err
	}
	return file.Close()
}

// zeroRange writes zeros from one offset to another and syncs them. It gives up with ErrClosed when stop is closed.
func zeroRange(file disk.File, from, to int64, stop <-chan struct{}) error {
	zeros := disk.AlignedBuffer(int(min(zeroChunkBytes, to-from)))
	zeros = zeros[:cap(zeros)]
	unsynced := int64(0)
	for from < to {
		select {
		case <-stop:
			return ErrClosed
		default:
		}
		n := min(int64(len(zeros)), to-from)
		if _, err := file.WriteAt(zeros[:n], from); err != nil {
			return err
		}
		from += n
		if unsynced += n; unsynced >= syncEveryBytes || from == to {
			if err := file.Sync(); err != nil {
				return err
			}
			unsynced = 0
		}
	}
	return nil
}

// retire turns the file of a freed segment into a spare, or removes it when there are enough. The change is
// durable when it returns, so that at most one freed segment can come back after a crash.
func (l *Log) retire(path string, size int64) error {
	fs := l.cfg.FS
	if size != l.cfg.SegmentBytes || l.spares.count() >= l.cfg.SpareSegments {
		if err := fs.Remove(path); err != nil {
			return fmt.Errorf("raftlog: remove %s: %w", path, err)
		}
		return disk.SyncDir(fs, l.cfg.Dir)
	}
	spare := fs.PathJoin(l.cfg.Dir, spareName(l.spares.number()))
	if err := fs.Rename(path, spare); err != nil {
		return fmt.Errorf("raftlog: rename %s: %w", path, err)
	}
	if err := disk.SyncDir(fs, l.cfg.Dir); err != nil {
		return fmt.Errorf("raftlog: %w", err)
	}
	l.spares.push(spare)
	return nil
}
