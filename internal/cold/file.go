package cold

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
	"github.com/kalamdb/kalamdb-go/internal/storage/objstore"
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
	handle, err := s.cfg.FS.Open(path)
	if err != nil {
		return err
	}
	info, err := handle.Stat()
	if err == nil && info.Size() != f.size {
		err = fmt.Errorf("%w: it has %d bytes", segment.ErrDamaged, info.Size())
	}
	var reader *segment.Reader
	local := newLocalFile(handle, sums)
	if err == nil {
		reader, err = segment.Open(local, f.size)
	}
	if err != nil {
		return errors.Join(err, handle.Close())
	}
	f.handle, f.reader = local, reader
	return nil
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
func (s *Store) openChecked(path string, f *file) (disk.File, error) {
	handle, err := s.cfg.FS.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: it is not here", ErrMissing)
	}
	if err != nil {
		return nil, err
	}
	if err = check(io.NewSectionReader(handle, 0, f.size+1), f.key, f.size); err != nil {
		return nil, errors.Join(err, handle.Close())
	}
	return handle, nil
}

// check compares bytes with what a manifest says of them.
func check(from io.Reader, key fileKey, size int64) error {
	sum := sha256.New()
	n, err := io.Copy(sum, from)
	switch {
	case err != nil:
		return err
	case n != size || !bytes.Equal(sum.Sum(nil), key.sha256[:]):
		return fmt.Errorf("%w: its bytes are not those of the manifest", segment.ErrDamaged)
	}
	return nil
}

// fetch brings a file that a manifest names, in place of what is here. The other members are asked in turn until what one
// of them sent is the right file: one that has a damaged copy does not hide another that has a good one.
func (s *Store) fetch(ctx context.Context, key fileKey, size int64) error {
	if s.cfg.Peers == nil {
		return fmt.Errorf("%w: there is no other member to fetch it from", ErrMissing)
	}
	failed := fmt.Errorf("%w: no other member has it", ErrMissing)
	for _, peer := range s.cfg.Peers() {
		patient, cancel := context.WithTimeout(ctx, s.cfg.FetchPatience)
		err := s.fetchFrom(patient, peer, key, size, objstore.PutOptions{})
		cancel()
		if err == nil {
			return nil
		}
		failed = errors.Join(failed, err)
	}
	unavailable := fault.New(fault.Unavailable, "cold rows of the table are not on this node, and no other member sends them; try again later: %w", failed)
	unavailable.RetryAfter = time.Second
	return unavailable
}

// fetchFrom brings a file from a peer into a storage of this node, unless what came is wrong.
func (s *Store) fetchFrom(ctx context.Context, peer Peer, key fileKey, size int64, options objstore.PutOptions) error {
	objects, err := s.Objects(key.storage)
	if err != nil {
		return err
	}
	content := &checked{size: size, sum: sha256.New(), key: key}
	from, to := io.Pipe()
	done := make(chan error, 1)
	go func() {
		ended := peer.Fetch(ctx, key.storage, key.path, to)
		_ = to.CloseWithError(ended) // never fails
		done <- ended
	}()
	content.from = from
	_, err = objects.Put(ctx, key.path, content, size, options)
	_ = from.CloseWithError(errors.New("the file is complete")) // never fails; ends a peer that sends more
	fetching := <-done
	if err != nil {
		return fmt.Errorf("%w: fetch it: %w", ErrMissing, errors.Join(err, fetching))
	}
	return nil
}

// checked passes a file on and fails at its end when it was not the right one, so that it is never seen.
type checked struct {
	from io.Reader
	sum  interface {
		io.Writer
		Sum(into []byte) []byte
	}
	size, read int64
	key        fileKey
}

// Read implements io.Reader.
func (c *checked) Read(p []byte) (int, error) {
	n, err := c.from.Read(p)
	_, _ = c.sum.Write(p[:n]) // a hash cannot fail
	c.read += int64(n)
	if c.read >= c.size && (c.read > c.size || !bytes.Equal(c.sum.Sum(nil), c.key.sha256[:])) {
		return 0, fmt.Errorf("%w: what came is not the file of the manifest", segment.ErrDamaged)
	}
	return n, err
}

// Read writes a segment that lies here to a writer, whatever it holds: who asks compares it with the manifest.
func (s *Store) Read(ctx context.Context, storageID, path string, to io.Writer) error {
	if !strings.HasSuffix(path, ".parquet") {
		return fmt.Errorf("%s is no segment", path)
	}
	objects, err := s.Objects(storageID)
	if err != nil {
		return err
	}
	from, err := objects.Get(ctx, path, 0, -1)
	if err != nil {
		return err
	}
	_, err = io.CopyBuffer(struct{ io.Writer }{to}, from, make([]byte, 256<<10))
	return errors.Join(err, from.Close())
}

// Keep makes a file be here that no manifest names yet, fetched from a peer when it is missing. Another file of that name
// stays, because a manifest may name it or be about to: the error is ErrTaken.
func (s *Store) Keep(ctx context.Context, from Peer, storageID, path string, sum []byte, size int64) error {
	if !strings.HasSuffix(path, ".parquet") {
		return fmt.Errorf("%s is no segment", path)
	}
	key := fileKey{storage: storageID, path: path}
	copy(key.sha256[:], sum)
	// Whoever wants it kept is about to name it, however long it was an orphan; noted first, so that it cannot go in between.
	if err := s.want(place{storageID, path}); err != nil {
		return err
	}
	found, err := s.here(key, size)
	if err != nil || found {
		return err
	}
	err = s.fetchFrom(ctx, from, key, size, objstore.PutOptions{IfNotExists: true})
	if !errors.Is(err, objstore.ErrExists) {
		return err
	}
	if found, err = s.here(key, size); err == nil && !found { // it came meanwhile
		err = fmt.Errorf("%w: %s", ErrTaken, path)
	}
	return err
}

// here reports whether a file is here and is the right one.
func (s *Store) here(key fileKey, size int64) (bool, error) {
	directory, err := s.directory(key.storage)
	if err != nil {
		return false, err
	}
	handle, err := s.openChecked(s.cfg.FS.PathJoin(directory, key.path), &file{key: key, size: size})
	switch {
	case errors.Is(err, ErrMissing) || errors.Is(err, segment.ErrDamaged):
		return false, nil
	case err != nil:
		return false, err
	}
	return true, handle.Close()
}

// Ensure makes a segment's file be here, fetched if need be, and right. Of one in a bucket it reads what the file says of
// itself.
func (s *Store) Ensure(wanted *commandv1.Segment) error {
	shared, err := s.Shared(wanted.GetStorageId())
	if err != nil {
		return err
	}
	if !shared {
		s.suspect(keyOf(wanted))
		s.mu.Lock()
		open := s.files[keyOf(wanted)]
		s.mu.Unlock()
		if open != nil {
			s.retire(open) // a file is checked as a whole when it is opened
		}
	}
	f, err := s.acquire(wanted)
	if err != nil {
		return err
	}
	s.release(f)
	return nil
}

// column reads the values of a column in a block.
func (s *Store) column(f *file, block, place int, keep bool) (held, error) {
	key := columnKey{f.id, block, place}
	if found, ok := s.cache.get(key); ok {
		return found, nil
	}
	values, err := f.reader.ReadColumn(block, place)
	if err != nil {
		if errors.Is(err, segment.ErrDamaged) {
			s.cfg.Logger.Error("a segment is damaged", slog.String("path", f.key.path), slog.Any("error", err))
			s.suspect(f.key)
			s.drop(f)
		}
		return held{}, fmt.Errorf("segment %s of storage '%s': %w", f.key.path, f.key.storage, err)
	}
	found := held{values, sizeOf(values)}
	if keep {
		s.cache.put(key, found, found.bytes)
	}
	return found, nil
}
