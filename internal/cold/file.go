package cold

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/storage/segment"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// fileKey names a file by what it must hold.
type fileKey struct {
	storage, path string
	sha256        [sha256.Size]byte
}

// file is one segment on this node. It is opened by its first reader; others wait for that.
type file struct {
	id      uint64
	key     fileKey
	size    int64
	readers int  // guarded by Store.mu; the file is closed at zero only
	dropped bool // guarded by Store.mu; nobody else finds it any more

	sums    []byte     // of its chunks; empty in manifests of old
	opening sync.Mutex // guards what follows until reader is set; taken before no other lock
	handle  openFile
	reader  *segment.Reader
}

func keyOf(s *commandv1.Segment) fileKey {
	key := fileKey{storage: s.GetStorageId(), path: s.GetPath()}
	copy(key.sha256[:], s.GetSha256())
	return key
}

func (f *file) close() error {
	if f.handle == nil {
		return nil
	}
	err := f.handle.Close()
	f.handle = nil
	return err
}

// acquire returns the open file of a segment; release gives it back.
func (s *Store) acquire(wanted *commandv1.Segment) (*file, error) {
	key := keyOf(wanted)
	s.mu.Lock()
	f := s.files[key]
	if f == nil {
		s.nextFile++
		f = &file{id: s.nextFile, key: key, size: int64(wanted.GetSizeBytes()), sums: wanted.GetChunkSums()} //nolint:gosec // the size of a file
		s.files[key] = f
	}
	if f.readers == 0 {
		s.unidle(f)
	}
	f.readers++
	s.mu.Unlock()
	if err := s.open(f); err != nil {
		s.drop(f)
		s.release(f)
		return nil, fmt.Errorf("segment %s of storage '%s': %w", f.key.path, f.key.storage, err)
	}
	return f, nil
}

// retain keeps a file that the caller has open for one reader more.
func (s *Store) retain(f *file) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f.readers++
}

func (s *Store) unidle(f *file) {
	for i, other := range s.idle {
		if other == f {
			s.idle = append(s.idle[:i:i], s.idle[i+1:]...)
			return
		}
	}
}

// release gives a file back. One that was dropped, or is one too many, is closed.
func (s *Store) release(f *file) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.readers--; f.readers > 0 {
		return
	}
	closing := f
	if !f.dropped {
		if s.idle = append(s.idle, f); len(s.idle) <= s.cfg.OpenFiles {
			return
		}
		closing, s.idle = s.idle[0], s.idle[1:]
		delete(s.files, closing.key)
	}
	if err := closing.close(); err != nil {
		s.cfg.Logger.Warn("a segment was not closed", slog.String("path", closing.key.path), slog.Any("error", err))
	}
}

// retire closes a file as soon as nobody reads it; nobody finds it any more.
func (s *Store) retire(f *file) {
	s.mu.Lock()
	if s.files[f.key] != f {
		s.mu.Unlock()
		return
	}
	if f.readers == 0 {
		s.unidle(f)
	}
	f.readers++
	s.mu.Unlock()
	s.drop(f)
	s.release(f)
}

// drop makes the next reader open the file anew. Its decoded columns are found no more, because its id is gone.
func (s *Store) drop(f *file) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.files[f.key] == f {
		delete(s.files, f.key)
	}
	f.dropped = true
}

// open opens a file that is the right one, and fetches it when it is not here.
func (s *Store) open(f *file) error {
	f.opening.Lock()
	defer f.opening.Unlock()
	if f.reader != nil {
		return nil
	}
	shared, err := s.Shared(f.key.storage)
	if err != nil {
		return err
	}
	if shared {
		return s.openShared(f)
	}
	directory, err := s.directory(f.key.storage)
	if err != nil {
		return err
	}
	path := s.cfg.FS.PathJoin(directory, f.key.path)
	s.mu.Lock()
	_, suspected := s.suspected[f.key]
	s.mu.Unlock()
	if sums := (chunkSums{f.sums, f.size}); sums.complete() && !suspected {
		if err := s.openLazily(path, f, sums); err == nil {
			return nil
		}
	}
	return s.openWhole(path, f)
}

// openLazily opens a file that is checked part by part when it is read.
func (s *Store) openLazily(path string, f *file, sums chunkSums) error {
	local, err := s.openLocal(path, f, sums)
	if err != nil {
		return err
	}
	reader, err := segment.Open(local, f.size)
	if err != nil {
		return errors.Join(err, local.Close())
	}
	f.handle, f.reader = local, reader
	return nil
}

// openLocal opens a file on this node's disk that has the right size.
func (s *Store) openLocal(path string, f *file, sums chunkSums) (*localFile, error) {
	handle, err := s.cfg.FS.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: it is not here", ErrMissing)
	}
	if err != nil {
		return nil, err
	}
	info, err := handle.Stat()
	if err == nil && info.Size() != f.size {
		err = fmt.Errorf("%w: it has %d bytes, want %d", segment.ErrDamaged, info.Size(), f.size)
	}
	if err != nil {
		return nil, errors.Join(err, handle.Close())
	}
	return newLocalFile(handle, sums), nil
}

// openShared opens a file that all members see.
func (s *Store) openShared(f *file) error {
	sums := chunkSums{f.sums, f.size}
	if !sums.complete() {
		return fmt.Errorf("%w: the manifest has no sums of the file's parts", segment.ErrDamaged)
	}
	objects, err := s.Objects(f.key.storage)
	if err != nil {
		return err
	}
	remote := &remoteFile{chunkSums: sums, store: s, objects: objects, key: f.key, id: f.id}
	if f.reader, err = segment.Open(remote, f.size); err != nil {
		return err
	}
	f.handle = remote
	return nil
}

// openWhole opens a file after all of it was checked, and fetches it when it is not the right one.
func (s *Store) openWhole(path string, f *file) error {
	handle, err := s.openChecked(path, f)
	if err != nil {
		s.cfg.Logger.Info("a segment is fetched from another member",
			slog.String("storage", f.key.storage), slog.String("path", f.key.path), slog.Any("error", err))
		if fetching := s.fetch(context.Background(), f.key, f.size); fetching != nil {
			return errors.Join(err, fetching)
		}
		if handle, err = s.openChecked(path, f); err != nil {
			return err
		}
	}
	reader, err := segment.Open(handle, f.size)
	if err != nil {
		return errors.Join(err, handle.Close())
	}
	f.handle, f.reader = handle, reader
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.suspected, f.key)
	return nil
}

// maxSuspected bounds the files in which damage was found and that nobody opened since; beyond it they are forgotten, and the damage is found again.
const maxSuspected = 1024

// suspect makes the next one who opens a file check all of it.
func (s *Store) suspect(key fileKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.suspected) >= maxSuspected {
		clear(s.suspected)
	}
	s.suspected[key] = struct{}{}
}

// openChecked opens a file whose size and SHA-256 are those of the manifest.
func (s *Store) openChecked(path string, f *file) (*localFile, error) {
	local, err := s.openLocal(path, f, chunkSums{f.sums, f.size})
	if err != nil {
		return nil, err
	}
	if err = local.checkWhole(f.key); err != nil {
		return nil, errors.Join(err, local.Close())
	}
	return local, nil
}

// column reads the values of a column in a block.
func (s *Store) column(f *file, block, place int, keep bool) (held, error) {
	key := columnKey{f.id, block, place}
	if found, ok := s.cache.get(key); ok {
		return found, nil
	}
	values, err := f.reader.ReadColumn(block, place)
	if err != nil {
		return held{}, s.failed(f, err)
	}
	found := held{values, values.SizeBytes()}
	if keep {
		s.cache.put(key, found, found.bytes)
	}
	return found, nil
}

// failed names the file that could not be read, and sees to it that a damaged one is opened, and checked, anew.
func (s *Store) failed(f *file, err error) error {
	if errors.Is(err, segment.ErrDamaged) {
		s.cfg.Logger.Error("a segment is damaged", slog.String("path", f.key.path), slog.Any("error", err))
		s.suspect(f.key)
		s.drop(f)
	}
	return fmt.Errorf("segment %s of storage '%s': %w", f.key.path, f.key.storage, err)
}

// mayHold asks the filter of a block whether a key can be in it.
func (s *Store) mayHold(f *file, block int, key datum.Datum) (bool, error) {
	may, err := f.reader.MayHold(block, key)
	if err != nil {
		return false, s.failed(f, err)
	}
	return may, nil
}
