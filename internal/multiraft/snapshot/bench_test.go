package snapshot

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
)

// BenchmarkCopyGroup builds, receives and installs a group of 40,000 pairs of 200 bytes on memory file systems.
func BenchmarkCopyGroup(b *testing.B) {
	open := func() *storage.Engine {
		engine, err := storage.Open(storage.Options{FS: vfs.NewMem(), Dir: "store"})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = engine.Close() }) // nothing depends on it any more
		return engine
	}
	from, to := open(), open()
	lo, hi := keys.GroupSpan(group)
	batch := from.NewBatch()
	const pairs = 40_000
	for n := range pairs {
		value := fmt.Appendf(nil, `{"id":%d,"name":"customer %d","note":%q}`, n, n*7, noise(uint64(n), 70))
		if err := batch.Set(groupKey(group, n), value[:min(200, len(value))]); err != nil {
			b.Fatal(err)
		}
	}
	if err := errors.Join(from.Commit(batch), batch.Close(), from.Flush()); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(pairs * 200)
	for b.Loop() {
		copyGroup(b, from, to, lo, hi)
	}
}

func copyGroup(b *testing.B, from, to *storage.Engine, lo, hi []byte) {
	b.Helper()
	view := from.NewSnapshot()
	builder, err := NewBuilder(view, lo, hi, Config{})
	if err != nil {
		b.Fatal(err)
	}
	receiver, err := NewReceiver(to, "staging", lo, hi, Config{})
	if err != nil {
		b.Fatal(err)
	}
	for {
		var chunk []byte
		chunk, err = builder.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = receiver.Add(chunk)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	staged, err := receiver.Finish()
	if err != nil {
		b.Fatal(err)
	}
	if err := errors.Join(staged.Install(), builder.Close(), view.Close()); err != nil {
		b.Fatal(err)
	}
}
