package cold

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	"github.com/kalamdb/kalamdb-go/internal/storage/manifest"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// TestManifestThatComes: that there was no manifest is remembered until one comes, and by readers of before for ever.
func TestManifestThatComes(t *testing.T) {
	t.Parallel()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	engine, err := storage.Open(storage.Options{FS: vfs.NewMem(), Dir: "store"})
	must(err)
	defer func() { must(engine.Close()) }()
	s, table, group := openStore(t, t.TempDir(), 0), testTable(), shard.SharedShard(0)
	version := func(reader storage.Reader) uint64 {
		t.Helper()
		found, failed := s.Manifest(reader, group, table.ID, "")
		must(failed)
		return found.GetVersion()
	}
	key := keys.Manifest(group, table.ID, "")
	remembered := func(reader storage.Reader) bool { return s.hasNone(key, s.rareVersion(reader)) }
	before := engine.NewSnapshot()
	defer func() { must(before.Close()) }()
	if version(engine) != 0 || version(before) != 0 || !remembered(engine) || !remembered(before) {
		t.Fatal("it is not remembered that there is no manifest")
	}
	batch := engine.NewBatch()
	defer func() { must(batch.Close()) }()
	for number := uint64(1); number < 3; number++ {
		value, err := manifest.Encode(&commandv1.Manifest{Version: number})
		must(err)
		batch.Reset()
		must(batch.SetRare(key, value))
		if got := version(batch); got != number {
			t.Errorf("the batch shows manifest %d before it is committed, want %d", got, number)
		}
		must(engine.Commit(batch))
		after := engine.NewSnapshot()
		if version(engine) != number || version(after) != number || version(before) != 0 {
			t.Errorf("manifests %d, %d and before it came %d, want %d, %d and none", version(engine), version(after), version(before), number, number)
		}
		must(after.Close())
	}
	// A scope that is emptied has none again.
	lo, hi := keys.GroupSpan(group)
	must(engine.IngestReplace(lo, hi, nil))
	if version(engine) != 0 || !remembered(engine) {
		t.Error("the manifest of a group that was replaced is still there")
	}
}
