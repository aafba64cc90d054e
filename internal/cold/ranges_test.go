package cold

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
	"github.com/kalamdb/kalamdb-go/internal/storage/segment"
)

// TestPartsAreCheckedWhenTheyAreRead reads ranges of a file of three chunks, one of which is damaged: every read that touches it
// fails, every other one gives what is there.
func TestPartsAreCheckedWhenTheyAreRead(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(5, 6))
	content := make([]byte, 2*segment.ChunkBytes+1234)
	for i := range content {
		content[i] = byte(r.Uint32())
	}
	sums := chunkSums{size: int64(len(content))}
	for from := 0; from < len(content); from += segment.ChunkBytes {
		sum := sha256.Sum256(content[from:min(from+segment.ChunkBytes, len(content))])
		sums.sums = append(sums.sums, sum[:]...)
	}
	if !sums.complete() || (chunkSums{sums.sums[1:], sums.size}).complete() {
		t.Fatal("the number of sums is not checked")
	}
	stored := bytes.Clone(content)
	stored[segment.ChunkBytes+7] ^= 1
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, stored, 0o600); err != nil {
		t.Fatal(err)
	}
	handle, err := disk.Local().Open(path)
	if err != nil {
		t.Fatal(err)
	}
	f := newLocalFile(handle, sums)
	defer f.Close() //nolint:errcheck // it was only read
	for range 300 {
		offset := r.IntN(len(content))
		p := make([]byte, 1+r.IntN(len(content)-offset))
		n, err := f.ReadAt(p, int64(offset))
		touches := offset < 2*segment.ChunkBytes && offset+len(p) > segment.ChunkBytes
		switch {
		case touches && !errors.Is(err, segment.ErrDamaged):
			t.Fatalf("%d bytes from %d, which touch the damage: %v", len(p), offset, err)
		case !touches && (err != nil || n != len(p) || !bytes.Equal(p, content[offset:offset+n])):
			t.Fatalf("%d bytes from %d: %d, %v", len(p), offset, n, err)
		}
	}
	// What was read already is noticed when it changes, and when it is gone.
	for _, change := range []func() error{
		func() error {
			stored[3*pieceBytes+5] ^= 4
			return writeInPlace(path, stored)
		},
		func() error {
			stored[3*pieceBytes+5] ^= 4
			return errors.Join(writeInPlace(path, stored), os.Truncate(path, int64(len(stored)-1)))
		},
	} {
		if err := change(); err != nil {
			t.Fatal(err)
		}
		damaged := 0
		for at := int64(0); at < int64(len(content)); at += pieceBytes {
			p := make([]byte, 10)
			n, err := f.ReadAt(p, at)
			switch {
			case at/segment.ChunkBytes == 1: // it never was right
			case errors.Is(err, segment.ErrDamaged):
				damaged++
			case err != nil || !bytes.Equal(p, content[at:at+int64(n)]):
				t.Fatalf("10 bytes from %d: %d, %v", at, n, err)
			}
		}
		if damaged != 1 {
			t.Errorf("%d pieces are damaged, want 1", damaged)
		}
	}
}

// writeInPlace changes a file that others have open.
func writeInPlace(path string, content []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(content, 0)
	return errors.Join(err, f.Close())
}
