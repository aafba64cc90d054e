package snapshot

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/cespare/xxhash/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/klauspost/compress/zstd"

	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
)

var group = shard.UserShard(3)

func openStore(t *testing.T) *storage.Engine {
	t.Helper()
	engine, err := storage.Open(storage.Options{FS: vfs.NewMem(), Dir: "store", MemTableBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := engine.Close(); err != nil {
			t.Error(err)
		}
	})
	return engine
}

func groupKey(g shard.GroupID, n int) []byte {
	lo, _ := keys.GroupSpan(g)
	return fmt.Appendf(lo, "\xf0key%06d", n)
}

// fill writes n pairs into the group and one into each of its neighbours.
func fill(t *testing.T, engine *storage.Engine, n int, prefix string) {
	t.Helper()
	batch := engine.NewBatch()
	random := rand.New(rand.NewPCG(1, uint64(n)))
	for i := range n {
		value := make([]byte, random.IntN(300))
		for j := range value {
			value[j] = byte(random.Uint32())
		}
		if err := batch.Set(groupKey(group, i), append([]byte(prefix), value...)); err != nil {
			t.Fatal(err)
		}
	}
	for _, neighbour := range []shard.GroupID{group - 1, group + 1} {
		if err := batch.Set(groupKey(neighbour, 0), []byte(prefix)); err != nil {
			t.Fatal(err)
		}
	}
	if err := engine.Commit(batch); err != nil {
		t.Fatal(err)
	}
	if err := batch.Close(); err != nil {
		t.Fatal(err)
	}
}

func chunks(t *testing.T, engine *storage.Engine, cfg Config) [][]byte {
	t.Helper()
	return chunksOf(t, engine, group, cfg)
}

func chunksOf(t *testing.T, engine *storage.Engine, g shard.GroupID, cfg Config) [][]byte {
	t.Helper()
	view := engine.NewSnapshot()
	lo, hi := keys.GroupSpan(g)
	builder, err := NewBuilder(view, lo, hi, cfg)
	if err != nil {
		t.Fatal(err)
	}
	var all [][]byte
	for {
		chunk, err := builder.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, chunk)
	}
	if err := errors.Join(builder.Close(), view.Close()); err != nil {
		t.Fatal(err)
	}
	return all
}

func newReceiver(t *testing.T, engine *storage.Engine, cfg Config) *Receiver {
	t.Helper()
	lo, hi := keys.GroupSpan(group)
	receiver, err := NewReceiver(engine, "staging", lo, hi, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return receiver
}

// dump reads a span as text.
func dump(t *testing.T, reader storage.Reader, lo, hi []byte) string {
	t.Helper()
	it, err := reader.Scan(lo, hi)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	for ok := it.First(); ok; ok = it.Next() {
		value, err := it.Value()
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&out, "%x=%x\n", it.Key(), value)
	}
	if err := it.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestInstallReplacesExactlyTheGroup(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 5000} {
		t.Run(strconv.Itoa(n), func(t *testing.T) {
			t.Parallel()
			from, to := openStore(t), openStore(t)
			fill(t, from, n, "new")
			fill(t, to, 7000, "old")
			cfg := Config{ChunkBytes: 10_000, FileBytes: 100_000}
			receiver := newReceiver(t, to, cfg)
			for _, chunk := range chunks(t, from, cfg) {
				if err := receiver.Add(chunk); err != nil {
					t.Fatal(err)
				}
			}
			staged, err := receiver.Finish()
			if err != nil {
				t.Fatal(err)
			}
			lo, hi := keys.GroupSpan(group)
			before := dump(t, to, nil, lo) + dump(t, to, hi, nil)
			if err := staged.Install(); err != nil {
				t.Fatal(err)
			}
			if dump(t, to, lo, hi) != dump(t, from, lo, hi) {
				t.Error("the group differs from the one that was sent")
			}
			if after := dump(t, to, nil, lo) + dump(t, to, hi, nil); after != before {
				t.Error("keys outside the group changed")
			}
			if left, err := to.FS().List("staging"); err != nil || len(left) != 0 {
				t.Errorf("staging holds %v, %v", left, err)
			}
		})
	}
}

func TestDamagedSnapshotsAreRefused(t *testing.T) {
	t.Parallel()
	from := openStore(t)
	fill(t, from, 2000, "x")
	cfg := Config{ChunkBytes: 10_000}
	good := chunks(t, from, cfg)
	zip, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	foreign := zip.EncodeAll(append([]byte{format, kindPairs, 0, 3}, "abc\x00"...), nil)
	lo, hi := keys.GroupSpan(group)
	end := func(sequence byte, more []byte) []byte { // the trailer of an empty snapshot
		raw := trailer{digest: xxhash.Sum64(nil), lo: lo, hi: hi}.append([]byte{format, kindTrailer, sequence})
		return zip.EncodeAll(append(raw, more...), nil)
	}
	tests := []struct {
		name string
		send [][]byte
	}{
		{"without trailer", good[:len(good)-1]},
		{"one chunk missing", append([][]byte{good[0]}, good[2:]...)},
		{"one chunk twice", append([][]byte{good[0]}, good...)},
		{"two chunks swapped", append([][]byte{good[1], good[0]}, good[2:]...)},
		{"a foreign key", append([][]byte{foreign}, good...)},
		{"a chunk after the trailer", append(append([][]byte{}, good...), good[0])},
		{"not zstd", append([][]byte{[]byte("garbage")}, good...)},
		{"unknown format", [][]byte{zip.EncodeAll([]byte{9, kindPairs, 0}, nil)}},
		{"unknown kind", [][]byte{zip.EncodeAll([]byte{format, 9, 0}, nil)}},
		{"no sequence", [][]byte{zip.EncodeAll([]byte{format, kindPairs}, nil)}},
		{"wrong sequence", [][]byte{zip.EncodeAll([]byte{format, kindPairs, 1}, nil)}},
		{"cut key", [][]byte{zip.EncodeAll([]byte{format, kindPairs, 0, 200, 1}, nil)}},
		{"cut key, then a trailer", [][]byte{zip.EncodeAll([]byte{format, kindPairs, 0, 200, 1}, nil), end(1, nil)}},
		{"a length over the limit", [][]byte{zip.EncodeAll([]byte{format, kindPairs, 0, 0xff, 0xff, 0xff, 0x7f}, nil)}},
		{"a length that is no number", [][]byte{zip.EncodeAll(append([]byte{format, kindPairs, 0}, bytes.Repeat([]byte{0xff}, 11)...), nil)}},
		{"cut trailer", [][]byte{zip.EncodeAll([]byte{format, kindTrailer, 0, 0}, nil)}},
		{"trailer without span", [][]byte{zip.EncodeAll(append([]byte{format, kindTrailer, 0, 0}, make([]byte, 8)...), nil)}},
		{"bytes behind the trailer", [][]byte{end(0, []byte("x"))}},
		{"an empty snapshot of another span", chunksOf(t, from, group+7, cfg)},
		{"a bomb", [][]byte{zip.EncodeAll(append([]byte{format, kindPairs, 0}, make([]byte, maxChunkBytes+maxHeaderBytes)...), nil)}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			to := openStore(t)
			receiver := newReceiver(t, to, cfg)
			var err error
			for _, chunk := range test.send {
				if err = receiver.Add(chunk); err != nil {
					break
				}
			}
			if err == nil {
				_, err = receiver.Finish()
			} else if discardErr := receiver.Discard(); discardErr != nil {
				t.Error(discardErr)
			}
			if !errors.Is(err, ErrMalformed) {
				t.Fatalf("error = %v, want ErrMalformed", err)
			}
			if left, err := to.FS().List("staging"); err != nil || len(left) != 0 {
				t.Errorf("staging holds %v, %v", left, err)
			}
		})
	}
}

func TestCleanStagingRemovesLeftovers(t *testing.T) {
	t.Parallel()
	from, to := openStore(t), openStore(t)
	fill(t, from, 100, "x")
	receiver := newReceiver(t, to, Config{})
	if err := receiver.Add(chunks(t, from, Config{})[0]); err != nil {
		t.Fatal(err)
	}
	second := newReceiver(t, to, Config{}) // a second one of the same group has its own directory
	if err := errors.Join(receiver.endFile(), second.Discard(), CleanStaging(to, "staging")); err != nil {
		t.Fatal(err)
	}
	if _, err := to.FS().List("staging"); err == nil {
		t.Error("the staging directory still exists")
	}
}
