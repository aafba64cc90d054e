package snapshot

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"

	"github.com/cespare/xxhash/v2"

	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
)

// Staged is a complete, verified snapshot in files beside the store.
type Staged struct {
	engine  *storage.Engine
	dir     string
	lo, hi  []byte
	paths   []string
	sent    trailer
	verify  bool
	staging *Staging
}

// checkFiles reads the files back and compares them with the trailer: what Install moves into the store is what
// was sent, not only what arrived. It runs before the group's turn in the apply loop, so that others do not wait.
func (s *Staged) checkFiles() error {
	sum := newSum()
	for _, path := range s.paths {
		if err := s.engine.ReadTable(path, sum.add); err != nil {
			return fmt.Errorf("snapshot: read back: %w", err)
		}
	}
	return s.compare("files", sum)
}

// First returns the first pair.
func (s *Staged) First() (key, value []byte, err error) {
	if len(s.paths) == 0 {
		return nil, nil, nil
	}
	err = s.engine.ReadTable(s.paths[0], func(k, v []byte) error {
		key, value = bytes.Clone(k), bytes.Clone(v)
		return errEnough
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return key, value, err
}

// errEnough ends the reading of a table early.
var errEnough = errors.New("enough was read")

// checkStore reads the group back from the store.
func (s *Staged) checkStore() (err error) {
	it, err := s.engine.Scan(s.lo, s.hi)
	if err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	sum := newSum()
	for ok := it.First(); ok; ok = it.Next() {
		value, err := it.Value()
		if err != nil {
			return fmt.Errorf("snapshot: read back: %w", err)
		}
		if err := sum.add(it.Key(), value); err != nil {
			return err
		}
	}
	if err := it.Err(); err != nil {
		return fmt.Errorf("snapshot: read back: %w", err)
	}
	return s.compare("store", sum)
}

// ErrDiffers is wrapped when what is on disk is not what was sent.
var ErrDiffers = errors.New("snapshot: the content on disk differs from what was sent")

func (s *Staged) compare(where string, got *sum) error {
	if got.pairs != s.sent.pairs || got.digest.Sum64() != s.sent.digest {
		return fmt.Errorf("%w: the %s have %d pairs with digest %016x, want %d with %016x",
			ErrDiffers, where, got.pairs, got.digest.Sum64(), s.sent.pairs, s.sent.digest)
	}
	return nil
}

// sum counts and digests pairs in the encoding of the stream.
type sum struct {
	pairs   uint64
	digest  *xxhash.Digest
	encoded []byte
}

func newSum() *sum { return &sum{digest: xxhash.New()} }

func (s *sum) add(key, value []byte) error {
	s.pairs++
	s.encoded = appendBytes(appendBytes(s.encoded[:0], key), value)
	_, err := s.digest.Write(s.encoded)
	return err
}

// Install replaces the group's keys by the snapshot. It is all or nothing, and durable when it returns.
func (s *Staged) Install() error {
	// Once files move, the record of them must not outlive a crash.
	if err := s.forget(); err != nil {
		return err
	}
	if err := s.engine.IngestReplace(s.lo, s.hi, s.paths); err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	if s.verify {
		if err := s.checkStore(); err != nil {
			return err
		}
	}
	return s.Discard()
}

func (s *Staged) forget() error {
	fsys := s.engine.FS()
	err := fsys.Remove(fsys.PathJoin(s.dir, recordName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("snapshot: remove the record: %w", err)
	}
	return disk.SyncDir(fsys, s.dir)
}

// Discard removes the files.
func (s *Staged) Discard() error { return removeDirectory(s.engine.FS(), s.dir, s.lo, s.staging) }

// CleanStaging removes everything that an earlier life of the node has left in the staging directory.
func CleanStaging(engine *storage.Engine, dir string) error {
	return removeAll(engine.FS(), dir)
}
