package cold

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
	"github.com/kalamdb/kalamdb-go/internal/storage/objstore"
	"github.com/kalamdb/kalamdb-go/internal/storage/segment"
)

// openFile is what a segment's bytes are read from.
type openFile interface {
	io.ReaderAt
	io.Closer
}

// chunkSums are the sums of the chunks of a file, as its manifest has them.
type chunkSums struct {
	sums []byte
	size int64
}

// complete reports whether there is a sum for every chunk.
func (c chunkSums) complete() bool {
	return int64(len(c.sums)) == (c.size+segment.ChunkBytes-1)/segment.ChunkBytes*sha256.Size
}

// length is the size of a chunk.
func (c chunkSums) length(n int64) int64 { return min(segment.ChunkBytes, c.size-n*segment.ChunkBytes) }

func (c chunkSums) matches(n int64, chunk []byte) bool {
	sum := sha256.Sum256(chunk)
	return bytes.Equal(sum[:], c.sums[n*sha256.Size:(n+1)*sha256.Size])
}

// eachChunk visits the chunks that a read of length bytes from offset touches.
func (c chunkSums) eachChunk(offset int64, length int, visit func(n int64) error) error {
	if offset < 0 {
		return fmt.Errorf("a read at %d", offset)
	}
	end := min(offset+int64(length), c.size)
	for n := offset / segment.ChunkBytes; n*segment.ChunkBytes < end; n++ {
		if err := visit(n); err != nil {
			return err
		}
	}
	return nil
}

// localFile checks each chunk of a file on this node's disk before its bytes are seen for the first time since it was
// opened. Opening costs nothing, and no more is read than what is asked for.
type localFile struct {
	disk.File

	chunkSums

	checked []atomic.Bool
}

var chunkBuffers = sync.Pool{New: func() any {
	buffer := make([]byte, segment.ChunkBytes)
	return &buffer
}}

func newLocalFile(handle disk.File, sums chunkSums) *localFile {
	return &localFile{File: handle, chunkSums: sums, checked: make([]atomic.Bool, len(sums.sums)/sha256.Size)}
}

// ReadAt implements io.ReaderAt.
func (f *localFile) ReadAt(p []byte, offset int64) (int, error) {
	err := f.eachChunk(offset, len(p), func(n int64) error {
		if f.checked[n].Load() {
			return nil
		}
		buffer := chunkBuffers.Get().(*[]byte) //nolint:errcheck,forcetypeassert // only these are put there
		defer chunkBuffers.Put(buffer)
		chunk := (*buffer)[:f.length(n)]
		if _, err := io.ReadFull(io.NewSectionReader(f.File, n*segment.ChunkBytes, int64(len(chunk))), chunk); err != nil {
			return err
		}
		if !f.matches(n, chunk) {
			return fmt.Errorf("%w: the bytes from %d on are not those of the manifest", segment.ErrDamaged, n*segment.ChunkBytes)
		}
		f.checked[n].Store(true)
		return nil
	})
	if err != nil {
		return 0, err
	}
	return f.File.ReadAt(p, offset)
}

// chunkKey names a chunk of a file.
type chunkKey struct {
	file  uint64
	chunk int64
}

// remoteFile reads chunks of an object and keeps them in the store's bounded cache.
type remoteFile struct {
	chunkSums

	store   *Store
	objects objstore.Store
	key     fileKey
	id      uint64
}

// ReadAt implements io.ReaderAt.
func (f *remoteFile) ReadAt(p []byte, offset int64) (int, error) {
	done := 0
	err := f.eachChunk(offset, len(p), func(n int64) error {
		chunk, err := f.chunk(n)
		if err != nil {
			return err
		}
		done += copy(p[done:], chunk[offset+int64(done)-n*segment.ChunkBytes:])
		return nil
	})
	if err == nil && done < len(p) {
		err = io.EOF
	}
	return done, err
}

// Close implements io.Closer.
func (f *remoteFile) Close() error { return nil }

// chunk gets a chunk. Wrong bytes are asked for once more: they may have been damaged on the way.
func (f *remoteFile) chunk(n int64) ([]byte, error) {
	if chunk, ok := f.store.chunks.get(chunkKey{f.id, n}); ok {
		return chunk, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), f.store.cfg.RangePatience)
	defer cancel()
	for try := 0; ; try++ {
		chunk, err := f.get(ctx, n)
		if err != nil {
			return nil, f.explain(err)
		}
		if f.matches(n, chunk) {
			f.store.chunks.put(chunkKey{f.id, n}, chunk, int64(len(chunk)))
			return chunk, nil
		}
		if try > 0 {
			return nil, fmt.Errorf("%w: the bytes from %d on are not those of the manifest", segment.ErrDamaged, n*segment.ChunkBytes)
		}
	}
}

func (f *remoteFile) get(ctx context.Context, n int64) ([]byte, error) {
	chunk := make([]byte, f.length(n))
	if _, err := readObject(ctx, f.objects, f.key.path, chunk, n*segment.ChunkBytes); err != nil {
		return nil, err
	}
	return chunk, nil
}

// readObject fills p with what an object has at an offset.
func readObject(ctx context.Context, objects objstore.Store, key string, p []byte, offset int64) (int, error) {
	from, err := objects.Get(ctx, key, offset, int64(len(p)))
	if err != nil {
		return 0, err
	}
	n, err := io.ReadFull(from, p)
	return n, errors.Join(err, from.Close())
}

// explain says of a store that does not answer that another try may help.
func (f *remoteFile) explain(err error) error {
	switch {
	case errors.Is(err, objstore.ErrNotFound):
		return fmt.Errorf("%w: %w", ErrMissing, err)
	case errors.Is(err, objstore.ErrUnavailable), errors.Is(err, context.DeadlineExceeded):
		failure := fault.New(fault.Unavailable,
			"storage '%s' does not answer, and cold rows of the table are there; try again later: %w", f.key.storage, err)
		failure.RetryAfter = time.Second
		return failure
	}
	return err
}
