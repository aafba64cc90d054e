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
}
