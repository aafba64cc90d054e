package snapshot

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
)

// What is kept of interrupted snapshots: of each group at most one, of all groups MaxInterrupted, each for at
// most InterruptedFor after it was interrupted, or after the node's start.
const (
	MaxInterrupted = 8
	InterruptedFor = 30 * time.Minute
)

// Staging owns the directory in which snapshots arrive. Its methods may be called from many goroutines.
type Staging struct {
	engine *storage.Engine
	dir    string
	clock  clock.Clock
	cfg    Config

	mu    sync.Mutex
	since map[string]time.Time // interrupted snapshots by first key of the span
	busy  map[string]bool      // spans that are being received or installed
}

// NewStaging finds what an earlier life has left of snapshots of the groups that begin at los, and removes
// everything else.
func NewStaging(engine *storage.Engine, dir string, los [][]byte, clk clock.Clock, cfg Config) (*Staging, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Staging{engine: engine, dir: dir, clock: clk, cfg: cfg, since: make(map[string]time.Time), busy: make(map[string]bool)}
	fsys := engine.FS()
	names, err := fsys.List(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("snapshot: list %s: %w", dir, err)
	}
	keep := make(map[string]bool)
	for _, lo := range los {
		own := s.path(lo)
		pieces := readRecord(fsys, own)
		if len(pieces) == 0 || len(s.since) >= MaxInterrupted {
			continue
		}
		if err := removeOthers(engine, own, pieces); err != nil {
			return nil, err
		}
		keep[fsys.PathBase(own)] = true
		s.since[string(lo)] = clk.Now()
	}
	for _, name := range names {
		if !keep[name] {
			if err := removeAll(fsys, fsys.PathJoin(dir, name)); err != nil {
				return nil, err
			}
		}
	}
	return s, nil
}

// removeOthers removes what the record of an interrupted snapshot does not list.
func removeOthers(engine *storage.Engine, dir string, pieces []piece) error {
	fsys := engine.FS()
	listed := map[string]bool{recordName: true}
	for _, p := range pieces {
		listed[fsys.PathBase(p.path)] = true
	}
	names, err := fsys.List(dir)
	if err != nil {
		return fmt.Errorf("snapshot: list %s: %w", dir, err)
	}
	for _, name := range names {
		if !listed[name] {
			if err := removeAll(fsys, fsys.PathJoin(dir, name)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Staging) path(lo []byte) string {
	return s.engine.FS().PathJoin(s.dir, hex.EncodeToString(lo)+"-resume")
}

// Interrupted lists what is left of an interrupted snapshot of the group that begins at lo.
func (s *Staging) Interrupted(lo []byte) []Range {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy[string(lo)] || s.since[string(lo)].IsZero() {
		return nil
	}
	var ranges []Range
	for _, p := range readRecord(s.engine.FS(), s.path(lo)) {
		ranges = append(ranges, p.Range)
	}
	return ranges
}

// Receive prepares for a snapshot of lo <= key < hi, which may use what Interrupted listed. A second one of the
// same group at the same time starts empty, and nothing is kept of it when it is interrupted.
func (s *Staging) Receive(lo, hi []byte) (*Receiver, error) {
	s.mu.Lock()
	taken := s.busy[string(lo)]
	s.busy[string(lo)] = true
	delete(s.since, string(lo))
	s.mu.Unlock()
	if taken {
		return NewReceiver(s.engine, s.dir, lo, hi, s.cfg)
	}
	r, err := s.open(lo, hi)
	if err != nil {
		s.release(lo, false)
		return nil, err
	}
	return r, nil
}

func (s *Staging) open(lo, hi []byte) (*Receiver, error) {
	fsys, dir := s.engine.FS(), s.path(lo)
	previous := readRecord(fsys, dir)
	if len(previous) == 0 {
		if err := removeAll(fsys, dir); err != nil {
			return nil, err
		}
	}
	if err := fsys.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("snapshot: create %s: %w", dir, err)
	}
	for _, parent := range []string{fsys.PathDir(s.dir), s.dir} { // or a crash loses the files with their directory
		if err := disk.SyncDir(fsys, parent); err != nil {
			return nil, fmt.Errorf("snapshot: %w", err)
		}
	}
	r, err := openReceiver(s.engine, dir, lo, hi, s.cfg)
	if err != nil {
		return nil, err
	}
	r.staging, r.previous = s, previous
	for _, p := range previous {
		number, err := strconv.Atoi(strings.TrimSuffix(fsys.PathBase(p.path), ".sst"))
		if err == nil {
			r.names = max(r.names, number+1)
		}
	}
	return r, nil
}

// release ends the work on a group's snapshot; interrupted says that there is something left of it.
func (s *Staging) release(lo []byte, interrupted bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.busy, string(lo))
	if interrupted {
		s.since[string(lo)] = s.clock.Now()
	}
}

// Expire removes what is left of interrupted snapshots that nobody went on with in time, and the oldest of too
// many.
func (s *Staging) Expire() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.clock.Now()
	var failed error
	drop := func(lo string) {
		delete(s.since, lo)
		failed = errors.Join(failed, removeAll(s.engine.FS(), s.path([]byte(lo))))
	}
	for lo, since := range s.since {
		if now.Sub(since) >= InterruptedFor {
			drop(lo)
		}
	}
	for len(s.since) > MaxInterrupted {
		oldest := ""
		for lo, since := range s.since {
			if oldest == "" || since.Before(s.since[oldest]) || since.Equal(s.since[oldest]) && lo < oldest {
				oldest = lo
			}
		}
		drop(oldest)
	}
	return failed
}
