package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/snapshot"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/transport"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	nodev1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/node/v1"
)

// snapshotCase is the line of `bench snapshot`.
type snapshotCase struct {
	Bytes      int64   `json:"bytes"`
	Seconds    float64 `json:"seconds"`
	MiBPerS    float64 `json:"mib_per_s"`
	HeapGrowth float64 `json:"heap_growth_mib"`
	ReceiveS   float64 `json:"receive_s"`
	CheckS     float64 `json:"check_s"`   // of Finish: reading the files back
	InstallS   float64 `json:"install_s"` // with reading the store back, if asked for
}

// snapshotValue is the size of one value of `bench snapshot`; half of it compresses.
const snapshotValue = 4 << 10

// Snapshot sends a group of so many bytes from one store on disk to another through the transport of production, both
// in this process, and measures the time and by how much the heap grows.
func Snapshot(ctx context.Context, bytes int64, verify bool, out io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "kalamdb-bench-")
	if err != nil {
		return fmt.Errorf("make a directory: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	var stores [2]*storage.Engine
	for i := range stores {
		path := filepath.Join(dir, fmt.Sprint("store", i))
		if stores[i], err = storage.Open(storage.Options{FS: disk.Local(), Dir: path}); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, stores[i].Close()) }()
	}
	if err := fillGroup(stores[0], bytes); err != nil {
		return err
	}
	side := &snapshotSide{store: stores[1], staging: filepath.Join(dir, "staging"), verify: verify}
	runtime.GC()
	side.watch = watchHeap()
	if err := side.transfer(ctx, stores[0]); err != nil {
		side.watch()
		return err
	}
	side.result.HeapGrowth = round(float64(side.watch()) / (1 << 20))
	side.result.Bytes = bytes
	side.result.MiBPerS = round(float64(bytes) / (1 << 20) / side.result.Seconds)
	return printJSON(out, side.result)
}

func fillGroup(store *storage.Engine, bytes int64) error {
	lo, _ := keys.GroupSpan(shard.UserShard(0))
	random := rand.NewChaCha8([32]byte{1})
	value := make([]byte, snapshotValue)
	for written := int64(0); written < bytes; {
		batch := store.NewBatch()
		for range 256 {
			if _, err := random.Read(value[:snapshotValue/2]); err != nil {
				return err
			}
			key := binary.BigEndian.AppendUint64(append(slices.Clip(lo), 0xf0), uint64(written))
			if err := batch.Set(key, value); err != nil {
				return err
			}
			written += snapshotValue
		}
		if err := errors.Join(store.Commit(batch), batch.Close()); err != nil {
			return err
		}
	}
	return store.Flush()
}

// watchHeap samples the heap until the function it returns is called, which tells by how much it grew at most.
func watchHeap() func() uint64 {
	live := func() uint64 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before, most := live(), uint64(0)
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		ticker := time.NewTicker(20 * time.Millisecond)
		defer ticker.Stop()
		for {
			most = max(most, live())
			select {
			case <-stop:
				return
			case <-ticker.C:
			}
		}
	}()
	return func() uint64 {
		close(stop)
		<-ended
		return most - min(most, before)
	}
}

// snapshotSide is the receiving node.
type snapshotSide struct {
	workerHandler
	store   *storage.Engine
	staging string
	verify  bool
	watch   func() uint64
	address string
	result  snapshotCase
}

// Address implements transport.Resolver.
func (s *snapshotSide) Address(ident.ReplicaID) (string, bool) { return s.address, true }

func (s *snapshotSide) transfer(ctx context.Context, from *storage.Engine) (err error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s.address = listener.Addr().String()
	var ends [2]*transport.GRPC
	for i := range ends {
		if ends[i], err = transport.NewGRPC(transport.GRPCConfig{Resolver: s, Clock: clock.Real{}}, s); err != nil {
			return err
		}
		ends[i].SetIdentity(transport.Identity{ClusterUID: ident.ClusterUID{1}, Replica: ident.ReplicaID(i + 1)})
		defer ends[i].Stop(ctx)
	}
	go func() { _ = ends[1].Serve(listener) }() // ends with Stop
	view := from.NewSnapshot()
	defer func() { err = errors.Join(err, view.Close()) }()
	lo, hi := keys.GroupSpan(shard.UserShard(0))
	builder, err := snapshot.NewBuilder(view, lo, hi, snapshot.Config{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, builder.Close()) }()
	started := time.Now()
	err = ends[0].SendSnapshot(ctx, 2, &nodev1.SnapshotHeader{Group: uint64(shard.UserShard(0)), From: 1, To: 2}, builder.Next)
	s.result.Seconds = round(time.Since(started).Seconds())
	return err
}

// HandleSnapshot implements transport.Handler as the engine does: through a staging, then the install.
func (s *snapshotSide) HandleSnapshot(_ context.Context, _ *nodev1.SnapshotHeader, next func() ([]byte, error)) error {
	lo, hi := keys.GroupSpan(shard.UserShard(0))
	staging, err := snapshot.NewStaging(s.store, s.staging, [][]byte{lo}, clock.Real{}, snapshot.Config{VerifyInstalled: s.verify})
	if err != nil {
		return err
	}
	receiver, err := staging.Receive(lo, hi)
	if err != nil {
		return err
	}
	started := time.Now()
	for {
		var chunk []byte
		chunk, err = next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = receiver.Add(chunk)
		}
		if err != nil {
			return errors.Join(err, receiver.Discard())
		}
	}
	s.result.ReceiveS = round(time.Since(started).Seconds())
	started = time.Now()
	staged, err := receiver.Finish()
	if err != nil {
		return err
	}
	s.result.CheckS = round(time.Since(started).Seconds())
	started = time.Now()
	err = staged.Install()
	s.result.InstallS = round(time.Since(started).Seconds())
	return err
}
