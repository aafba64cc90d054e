package statemachine

import (
	"encoding/binary"
	"encoding/hex"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// replica is one group on one store, driven as replication drives it: a run of entries becomes one batch
// that also holds the applied index.
type replica struct {
	fs        *vfs.MemFS
	group     shard.GroupID
	engine    *storage.Engine
	store     *catalog.Store
	metaIndex uint64 // what data groups see as the applied meta index
	// memTableBytes is that of the store.
	memTableBytes uint64
	machine       Machine
}

func newReplica(tb testing.TB, group shard.GroupID) *replica {
	tb.Helper()
	r := &replica{fs: vfs.NewCrashableMem(), group: group, memTableBytes: 1 << 20}
	r.open(tb, r.fs)
	tb.Cleanup(func() { must(tb, r.engine.Close()) })
	return r
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

func (r *replica) open(tb testing.TB, fs disk.FS) {
	tb.Helper()
	var err error
	r.engine, err = storage.Open(storage.Options{FS: fs, Dir: "store", CacheBytes: 1 << 20, MemTableBytes: r.memTableBytes})
	must(tb, err)
	r.restart(tb)
}

// restart makes a new state machine on the same store.
func (r *replica) restart(tb testing.TB) {
	tb.Helper()
	r.store = catalog.NewStore()
	switch r.group.Class() {
	case shard.ClassUser, shard.ClassLocal:
		r.machine = NewUserData(r.group, func() uint64 { return r.metaIndex }, nil)
	case shard.ClassShared:
		r.machine = NewSharedData(r.group, func() uint64 { return r.metaIndex }, nil)
	case shard.ClassMeta:
		r.machine = NewMeta(r.store)
	}
	must(tb, r.machine.Restore(r.engine))
}

// crash cuts the power and opens what is left.
func (r *replica) crash(tb testing.TB) {
	tb.Helper()
	after := r.fs.CrashClone(vfs.CrashCloneCfg{})
	must(tb, r.engine.Close())
	r.fs = after
	r.open(tb, after)
}

// apply runs entries as one run. Entries behind a wait are not applied.
func (r *replica) apply(entries []command.Entry) (command.Outcome, error) {
	batch := r.engine.NewBatch()
	defer batch.Close() //nolint:errcheck // the store is memory
	outcome, err := r.machine.Apply(batch, entries)
	if err != nil || len(outcome.Results) == 0 {
		return outcome, err
	}
	last := entries[len(outcome.Results)-1].Index
	if err := batch.Set(keys.Applied(r.group), binary.BigEndian.AppendUint64(nil, last)); err != nil {
		return outcome, err
	}
	if err := r.engine.Commit(batch); err != nil {
		return outcome, err
	}
	r.machine.Publish()
	r.machine.Announce()
	return outcome, nil
}

// applied is the applied index in the store.
func (r *replica) applied(tb testing.TB) uint64 {
	tb.Helper()
	value, ok, err := r.engine.Get(keys.Applied(r.group))
	must(tb, err)
	if !ok {
		return 0
	}
	return binary.BigEndian.Uint64(value)
}

// dump is the whole key space of the group.
func (r *replica) dump(tb testing.TB) map[string]string {
	tb.Helper()
	lo, hi := keys.GroupSpan(r.group)
	it, err := r.engine.Scan(lo, hi)
	must(tb, err)
	content := map[string]string{}
	for ok := it.First(); ok; ok = it.Next() {
		value, err := it.Value()
		must(tb, err)
		content[hex.EncodeToString(it.Key())] = hex.EncodeToString(value)
	}
	must(tb, it.Close())
	return content
}

func encode(tb testing.TB, cmd *commandv1.Command) []byte {
	tb.Helper()
	data, err := command.Encode(cmd)
	must(tb, err)
	return data
}

func decodeResult(tb testing.TB, result []byte) *commandv1.Response {
	tb.Helper()
	response, err := command.DecodeResponse(result)
	must(tb, err)
	return response
}
