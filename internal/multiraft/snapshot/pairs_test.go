package snapshot

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/cespare/xxhash/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/klauspost/compress/zstd"

	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
)

// noise is data that does not compress.
func noise(seed uint64, length int) []byte {
	random := rand.New(rand.NewPCG(seed, 9))
	data := make([]byte, length)
	for i := range data {
		data[i] = byte(random.Uint32())
	}
	return data
}

// A pair larger than a chunk must not make a chunk larger than the transport carries.
func TestLargePairsAreSpreadOverChunks(t *testing.T) {
	t.Parallel()
	from, to := openStore(t), openStore(t)
	batch := from.NewBatch()
	for n, size := range []int{10, 5 << 20, 0, 1<<20 - 3, 3 << 20, 1} {
		if err := batch.Set(groupKey(group, n), noise(uint64(n), size)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(from.Commit(batch), batch.Close()); err != nil {
		t.Fatal(err)
	}
	receiver := newReceiver(t, to, Config{})
	for i, chunk := range chunks(t, from, Config{}) {
		if len(chunk) > defaultChunkBytes+4096 {
			t.Errorf("chunk %d has %d bytes", i, len(chunk))
		}
		if err := receiver.Add(chunk); err != nil {
			t.Fatal(err)
		}
	}
	staged, err := receiver.Finish()
	if err != nil {
		t.Fatal(err)
	}
	if err := staged.Install(); err != nil {
		t.Fatal(err)
	}
	lo, hi := keys.GroupSpan(group)
	if dump(t, to, lo, hi) != dump(t, from, lo, hi) {
		t.Error("the group differs from the one that was sent")
	}
}

// Wherever the chunks are cut, the same pairs arrive.
func TestEveryCut(t *testing.T) {
	t.Parallel()
	from := openStore(t)
	fill(t, from, 12, "x")
	lo, hi := keys.GroupSpan(group)
	want := dump(t, from, lo, hi)
	for _, size := range []int{1, 2, 3, 5, 7, 11, 64, 300, 1000, maxChunkBytes} {
		to := openStore(t)
		receiver := newReceiver(t, to, Config{FileBytes: 100})
		for _, chunk := range chunks(t, from, Config{ChunkBytes: size}) {
			if err := receiver.Add(chunk); err != nil {
				t.Fatalf("chunks of %d bytes: %v", size, err)
			}
		}
		staged, err := receiver.Finish()
		if err != nil {
			t.Fatalf("chunks of %d bytes: %v", size, err)
		}
		if err := staged.Install(); err != nil {
			t.Fatal(err)
		}
		if dump(t, to, lo, hi) != want {
			t.Errorf("chunks of %d bytes: the group differs from the one that was sent", size)
		}
	}
}

// A flipped bit is refused, or it is one that does not change what the chunk says.
func TestFlippedBitsNeverChangeTheState(t *testing.T) {
	t.Parallel()
	from, to := openStore(t), openStore(t)
	fill(t, from, 3, "x")
	good := chunks(t, from, Config{})
	if len(good) != 2 {
		t.Fatalf("%d chunks, want one of pairs and the trailer", len(good))
	}
	accepted := 0
	for which := range good {
		for bit := range len(good[which]) * 8 {
			send := [][]byte{bytes.Clone(good[0]), bytes.Clone(good[1])}
			send[which][bit/8] ^= 1 << (bit % 8)
			receiver := newReceiver(t, to, Config{})
			err := errors.Join(receiver.Add(send[0]), receiver.Add(send[1]))
			if err != nil && !errors.Is(err, ErrMalformed) {
				t.Fatalf("bit %d of chunk %d: %v", bit, which, err)
			}
			if err == nil {
				accepted++
				if receiver.digest.Sum64() != xxhash.Sum64(unpack(t, good[0])[3:]) || receiver.pairs != 3 {
					t.Fatalf("bit %d of chunk %d changed the state unnoticed", bit, which)
				}
			}
			if err := receiver.Discard(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if accepted > 16 {
		t.Errorf("%d flipped bits were accepted, want only unused ones of the compression's header", accepted)
	}
}

func unpack(t *testing.T, chunk []byte) []byte {
	t.Helper()
	unzip, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer unzip.Close()
	raw, err := unzip.DecodeAll(chunk, nil)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// After a refused chunk nothing helps any more, not even all the right ones.
func TestErrorsStick(t *testing.T) {
	t.Parallel()
	from, to := openStore(t), openStore(t)
	fill(t, from, 100, "x")
	receiver := newReceiver(t, to, Config{})
	if err := receiver.Add([]byte("garbage")); !errors.Is(err, ErrMalformed) {
		t.Fatalf("Add(garbage) = %v, want ErrMalformed", err)
	}
	for _, chunk := range chunks(t, from, Config{}) {
		if err := receiver.Add(chunk); !errors.Is(err, ErrMalformed) {
			t.Errorf("Add after an error = %v, want ErrMalformed", err)
		}
	}
	if _, err := receiver.Finish(); !errors.Is(err, ErrMalformed) {
		t.Errorf("Finish after an error = %v, want ErrMalformed", err)
	}

	view := from.NewSnapshot()
	lo, hi := keys.GroupSpan(group)
	builder, err := NewBuilder(view, lo, hi, Config{ChunkBytes: 64})
	if err != nil {
		t.Fatal(err)
	}
	broken := errors.New("disk on fire")
	if _, err := builder.Next(); err != nil {
		t.Fatal(err)
	}
	builder.failed = broken
	for range 2 {
		if _, err := builder.Next(); !errors.Is(err, broken) || errors.Is(err, io.EOF) {
			t.Errorf("Next after an error = %v, want that error", err)
		}
	}
	if err := errors.Join(builder.Close(), view.Close()); err != nil {
		t.Error(err)
	}
}

func TestConfigRefuses(t *testing.T) {
	t.Parallel()
	engine := openStore(t)
	lo, hi := keys.GroupSpan(group)
	for _, cfg := range []Config{{ChunkBytes: -1}, {ChunkBytes: maxChunkBytes + 1}} {
		if _, err := NewBuilder(engine, lo, hi, cfg); err == nil {
			t.Errorf("NewBuilder accepted %+v", cfg)
		}
		if _, err := NewReceiver(engine, "staging", lo, hi, cfg); err == nil {
			t.Errorf("NewReceiver accepted %+v", cfg)
		}
	}
}

func FuzzReceiver(f *testing.F) {
	zip, err := zstd.NewWriter(nil)
	if err != nil {
		f.Fatal(err)
	}
	lo, hi := keys.GroupSpan(group)
	f.Add([]byte{format, kindPairs, 0}, true)
	f.Add(append([]byte{format, kindPairs, 0, byte(len(lo))}, append(lo, 0)...), true)
	f.Add(append([]byte{format, kindPairs, 0, byte(len(lo))}, append(lo, 200)...), true)
	f.Add(trailer{digest: xxhash.Sum64(nil), lo: lo, hi: hi}.append([]byte{format, kindTrailer, 0}), true)
	f.Add([]byte("anything"), false)
	engine, err := storage.Open(storage.Options{FS: vfs.NewMem(), Dir: "store"})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte, compress bool) {
		if compress {
			data = zip.EncodeAll(data, nil)
		}
		receiver, err := NewReceiver(engine, "staging", lo, hi, Config{})
		if err != nil {
			t.Fatal(err)
		}
		if err := receiver.Add(data); err != nil && !errors.Is(err, ErrMalformed) {
			t.Fatalf("error %v is not ErrMalformed", err)
		}
		if err := receiver.Discard(); err != nil {
			t.Fatal(err)
		}
	})
}
