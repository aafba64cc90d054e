package cold

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash/crc32"
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

// chunks is how many chunks there are.
func (c chunkSums) chunks() int64 { return (c.size + segment.ChunkBytes - 1) / segment.ChunkBytes }

// complete reports whether there is a sum for every chunk.
func (c chunkSums) complete() bool { return int64(len(c.sums)) == c.chunks()*sha256.Size }

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

// pieceBytes is how much of a file on disk is checked at once after its chunk was found right.
const pieceBytes = 8 << 10

// localFile checks the bytes of a file on this node's disk whenever they are read: a chunk by its SHA-256 when it is read for the first time
// since the file was opened, and from then on the pieces that are read by sums that were made of the chunk then. So bits that flip
// later are noticed too, where a page has no sum: in filters and in the heads of pages. Opening costs nothing. The sums take half a
// KiB for each MiB that was read of an open file.
type localFile struct {
	disk.File

	chunkSums

	pieces []atomic.Pointer[[]uint32] // sums of the pieces of each chunk; nil before it is read
}

var (
	chunkBuffers = sync.Pool{New: func() any {
		buffer := make([]byte, segment.ChunkBytes)
		return &buffer
	}}
	pieceTable = crc32.MakeTable(crc32.Castagnoli)
)

func newLocalFile(handle disk.File, sums chunkSums) *localFile {
	return &localFile{File: handle, chunkSums: sums, pieces: make([]atomic.Pointer[[]uint32], sums.chunks())}
}

// ReadAt implements io.ReaderAt.
func (f *localFile) ReadAt(p []byte, offset int64) (int, error) {
	buffer := chunkBuffers.Get().(*[]byte) //nolint:errcheck,forcetypeassert // only these are put there
	defer chunkBuffers.Put(buffer)
	done := 0
	err := f.eachChunk(offset, len(p), func(n int64) error {
		from := offset + int64(done) - n*segment.ChunkBytes
		part, err := f.part(*buffer, n, from, min(from+int64(len(p)-done), f.length(n)))
		done += copy(p[done:], part)
		return err
	})
	if err == nil && done < len(p) {
		err = io.EOF
	}
	return done, err
}

// part reads bytes of a chunk and checks them, by way of a buffer that has room for a chunk.
func (f *localFile) part(buffer []byte, n, from, to int64) ([]byte, error) {
	sums, low, high := f.pieces[n].Load(), int64(0), f.length(n)
	if sums != nil {
		low, high = from/pieceBytes*pieceBytes, min((to+pieceBytes-1)/pieceBytes*pieceBytes, high)
	}
	got := buffer[:high-low]
	if err := f.readFull(got, n*segment.ChunkBytes+low); err != nil {
		return nil, err
	}
	if sums == nil {
		if !f.matches(n, got) {
			return nil, fmt.Errorf("%w: the bytes from %d on are not those of the manifest", segment.ErrDamaged, n*segment.ChunkBytes)
		}
		made := sumPieces(got)
		f.pieces[n].Store(&made)
		return got[from:to], nil
	}
	for i, sum := range sumPieces(got) {
		if at := low/pieceBytes + int64(i); sum != (*sums)[at] {
			return nil, fmt.Errorf("%w: the bytes from %d on are no longer those of the manifest", segment.ErrDamaged, n*segment.ChunkBytes+at*pieceBytes)
		}
	}
	return got[from-low : to-low], nil
}

// readFull fills p. A file that has become shorter is damaged.
func (f *localFile) readFull(p []byte, offset int64) error {
	_, err := io.ReadFull(io.NewSectionReader(f.File, offset, int64(len(p))), p)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: it ends before %d", segment.ErrDamaged, offset+int64(len(p)))
	}
	return err
}

// checkWhole compares all of the file with the SHA-256 of its manifest.
func (f *localFile) checkWhole(key fileKey) error {
	buffer := chunkBuffers.Get().(*[]byte) //nolint:errcheck,forcetypeassert // only these are put there
	defer chunkBuffers.Put(buffer)
	whole, made := sha256.New(), make([][]uint32, len(f.pieces))
	for n := range made {
		chunk := (*buffer)[:f.length(int64(n))]
		if err := f.readFull(chunk, int64(n)*segment.ChunkBytes); err != nil {
			return err
		}
		_, _ = whole.Write(chunk) // a hash cannot fail
		made[n] = sumPieces(chunk)
	}
	if !bytes.Equal(whole.Sum(nil), key.sha256[:]) {
		return fmt.Errorf("%w: its bytes are not those of the manifest", segment.ErrDamaged)
	}
	for n := range made {
		f.pieces[n].Store(&made[n])
	}
	return nil
}

func sumPieces(of []byte) []uint32 {
	sums := make([]uint32, 0, (len(of)+pieceBytes-1)/pieceBytes)
	for ; len(of) > 0; of = of[min(pieceBytes, len(of)):] {
		sums = append(sums, crc32.Checksum(of[:min(pieceBytes, len(of))], pieceTable))
	}
	return sums
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
