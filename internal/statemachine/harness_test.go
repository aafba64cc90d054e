package statemachine

import (
	"encoding/binary"
	"fmt"
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
	machine   Machine
}

func newReplica(t testing.TB, group shard.GroupID) *replica {
	t.Helper()
	r := &replica{fs: vfs.NewCrashableMem(), group: group}
	r.open(t, r.fs)
	t.Cleanup(func() { must(t, r.engine.Close()) })
	return r
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (r *replica) open(t testing.TB, fs disk.FS) {
	t.Helper()
	var err error
	r.engine, err = storage.Open(storage.Options{FS: fs, Dir: "store", CacheBytes: 1 << 20, MemTableBytes: 1 << 20})
	must(t, err)
	r.restart(t)
}

// restart makes a new state machine on the same store.
func (r *replica) restart(t testing.TB) {
	t.Helper()
	r.store = catalog.NewStore()
	switch r.group.Class() {
	case shard.ClassUser:
		r.machine = NewUserData(r.group, func() uint64 { return r.metaIndex })
	case shard.ClassShared:
		r.machine = NewSharedData(r.group, func() uint64 { return r.metaIndex })
	default:
		r.machine = NewMeta(r.store)
	}
	must(t, r.machine.Restore(r.engine))
}

// crash cuts the power and opens what is left.
func (r *replica) crash(t testing.TB) {
	t.Helper()
	after := r.fs.CrashClone(vfs.CrashCloneCfg{})
	must(t, r.engine.Close())
	r.fs = after
	r.open(t, after)
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
	return outcome, nil
}

// applied is the applied index in the store.
func (r *replica) applied(t testing.TB) uint64 {
	t.Helper()
	value, ok, err := r.engine.Get(keys.Applied(r.group))
	must(t, err)
	if !ok {
		return 0
	}
	return binary.BigEndian.Uint64(value)
}

// dump is the whole key space of the group.
func (r *replica) dump(t testing.TB) map[string]string {
	t.Helper()
	lo, hi := keys.GroupSpan(r.group)
	it, err := r.engine.Scan(lo, hi)
	must(t, err)
	content := map[string]string{}
	for ok := it.First(); ok; ok = it.Next() {
		value, err := it.Value()
		must(t, err)
		content[fmt.Sprintf("%x", it.Key())] = fmt.Sprintf("%x", value)
	}
	must(t, it.Close())
	return content
}

func encode(t testing.TB, cmd *commandv1.Command) []byte {
	t.Helper()
	data, err := command.Encode(cmd)
	must(t, err)
	return data
}

func decodeResult(t testing.TB, result []byte) *commandv1.Response {
	t.Helper()
	response, err := command.DecodeResponse(result)
	must(t, err)
	return response
}
