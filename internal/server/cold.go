package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/applier"
	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/cold"
	"github.com/kalamdb/kalamdb-go/internal/export"
	"github.com/kalamdb/kalamdb-go/internal/flush"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/multiraft"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/transport"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	"github.com/kalamdb/kalamdb-go/internal/storage/manifest"
	"github.com/kalamdb/kalamdb-go/internal/storages"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
	nodev1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/node/v1"
)

// buildStorages makes the storages of this node and what reads segments in them. It opens nothing yet.
func (n *Node) buildStorages() error {
	keys, err := storages.ParseKeys(n.cfg.Storage.CredentialsKey)
	if err != nil {
		return fmt.Errorf("storage.credentials_key: %w", err)
	}
	n.storages = storages.NewSet(storages.Config{DataPath: n.cfg.Storage.DataPath, FS: n.fs.FS, Keys: keys, Clock: n.clock})
	n.cold = cold.New(n.coldConfig())
	n.buildExports()
	return nil
}

func (n *Node) coldConfig() cold.Config {
	cfg := cold.Config{
		Catalog: n.catalog, FS: n.fs.FS, Storages: n.storages, Logger: n.logger.With(slog.String("part", "cold")),
		CacheBytes: n.cfg.Storage.ColdCacheBytes,
		ReadAhead:  max(1, runtime.GOMAXPROCS(0)-1),
	}
	if !n.cfg.Standalone() {
		cfg.Peers = coldPeers{n}.peers
		cfg.Leads = func(group shard.GroupID) bool {
			m := n.engine()
			return m != nil && m.Leader(group) == m.Self()
		}
	}
	return cfg
}

// coldPeriod is the time between two looks at the files of this node.
const coldPeriod = 5 * time.Second

// tendCold fetches files of cold rows that this node misses, until the context ends.
func (n *Node) tendCold(ctx context.Context) {
	for ctx.Err() == nil {
		if n.admitted() {
			snapshot := n.store.NewSnapshot()
			scopes, err := cold.Scopes(n.catalog.Current(), snapshot, dataGroups(n.who().Shards))
			err = errors.Join(err, snapshot.Close())
			if err == nil {
				err = n.cold.Tend(ctx, scopes)
			}
			if err != nil && ctx.Err() == nil {
				n.logger.Info("files of cold rows are looked at again later", slog.Any("error", err))
			}
		}
		n.pause(ctx, coldPeriod)
	}
}

// sweepPeriod is the time between two looks for files that nobody names.
const sweepPeriod = 5 * time.Minute

// sweepCold deletes files that nobody names, until the context ends.
func (n *Node) sweepCold(ctx context.Context) {
	sweeper := n.sweeper(n.clock)
	for ctx.Err() == nil {
		n.pause(ctx, sweepPeriod)
		if !n.admitted() || ctx.Err() != nil {
			continue
		}
		if _, err := sweeper.Sweep(ctx); err != nil && ctx.Err() == nil {
			n.logger.Info("files that nobody names are looked for again later", slog.Any("error", err))
		}
	}
}

func (n *Node) sweeper(clock clock.Clock) *cold.Sweeper {
	return &cold.Sweeper{Store: n.cold, Clock: clock, Names: n.namedFiles, Busy: n.readsOldFiles, Buckets: func() bool {
		return n.metaLeadership().Leading
	}}
}

// namedFiles lists the files that manifests name as far as this node knows, or as everybody knows.
func (n *Node) namedFiles(ctx context.Context, current bool) (*cold.Names, error) {
	names := cold.NewNames()
	if current {
		if _, err := n.exec.Barrier(ctx, shard.Meta); err != nil {
			return nil, err
		}
	}
	for _, group := range dataGroups(n.who().Shards) {
		if current {
			if _, err := n.exec.Barrier(ctx, group); err != nil {
				return nil, err
			}
		}
		lo, hi := keys.ManifestsSpan(group)
		err := manifest.Each(n.store, lo, hi, func(_ []byte, m *commandv1.Manifest) error {
			names.Add(m)
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("manifests of %s: %w", group, err)
		}
	}
	return names, nil
}

// readsOldFiles reports whether a backup or an export runs somewhere: they read one picture for as long as they need.
func (n *Node) readsOldFiles() (bool, error) {
	live, err := catalog.LoadLiveJobs(n.store)
	return slices.ContainsFunc(live, func(job *commandv1.Job) bool {
		return catalog.JobState(job.GetState()) == catalog.JobRunning && slices.Contains([]string{applier.JobTypeBackup, applier.JobTypeUserExport}, job.GetType())
	}), err
}

// dataGroups lists the groups that can have rows.
func dataGroups(shards shard.Map) []shard.GroupID {
	return slices.DeleteFunc(shards.Groups(), func(g shard.GroupID) bool { return g.Class() == shard.ClassMeta })
}

// flusher moves rows into segments.
func (n *Node) flusher() *flush.Worker {
	w := &flush.Worker{
		Catalog: n.catalog, Storage: n.store, Executor: n.exec, Cold: n.cold, Clock: n.clock, Applied: multiraft.ReadApplied,
	}
	w.Traffic, w.ClockAgrees = n.traffic, n.clocksAgree
	if !n.cfg.Standalone() {
		w.Keepers, w.Leaders = coldPeers{n}, coldPeers{n}
	}
	return w
}

// traffic counts what this node applied to groups with rows.
func (n *Node) traffic() uint64 {
	n.mu.Lock()
	solo, manager := n.solo, n.manager
	n.mu.Unlock()
	sum := uint64(0)
	for _, group := range dataGroups(n.who().Shards) {
		switch {
		case manager != nil:
			sum += manager.Applied(group)
		case solo != nil:
			sum += solo.Applied(group)
		}
	}
	return sum
}

// coldPeers are the other members as those who have segments and lead groups. It implements flush.Keepers and flush.Leaders.
type coldPeers struct{ n *Node }

// others lists the members beside this one.
func (p coldPeers) others() []ident.ReplicaID {
	var found []ident.ReplicaID
	for _, m := range liveMembers(p.n.catalog.Current()) {
		if m.Replica != p.n.self() {
			found = append(found, m.Replica)
		}
	}
	return found
}

// peers lists the other members as those who have files.
func (p coldPeers) peers() []cold.Peer {
	var found []cold.Peer
	for _, replica := range p.others() {
		found = append(found, onePeer{p.n, replica})
	}
	return found
}

// Keep implements flush.Keepers: it asks everybody at once and returns when a majority, this node included, has the file,
// or cannot have it any more.
func (p coldPeers) Keep(ctx context.Context, storageID, path string, sum []byte, size int64) error {
	ctx, cancel := context.WithCancel(ctx)
	others := p.others()
	needed := (len(others) + 1) / 2 // beside this node
	answers := make(chan error, len(others))
	var asking sync.WaitGroup
	defer asking.Wait()
	defer cancel()
	req := &nodev1.KeepFileRequest{StorageId: storageID, Path: path, Sha256: sum, SizeBytes: uint64(size)}
	for _, replica := range others {
		asking.Go(func() { answers <- p.keep(ctx, replica, req) })
	}
	var failed error
	next := uint64(0)
	for left := len(others); needed > 0 && needed <= left; left-- {
		err := <-answers
		if err == nil {
			needed--
			continue
		}
		failed = errors.Join(failed, err)
		if taken, ok := errors.AsType[*flush.TakenError](err); ok {
			next = max(next, taken.Next)
		}
	}
	switch {
	case needed == 0:
		return nil
	case next > 0:
		return fmt.Errorf("%d more members must have the file: %w (%w)", needed, &flush.TakenError{Next: next}, failed)
	default:
		return fmt.Errorf("%d more members must have the file: %w", needed, failed)
	}
}

// keep asks one member to have a file.
func (p coldPeers) keep(ctx context.Context, replica ident.ReplicaID, req *nodev1.KeepFileRequest) error {
	resp, err := p.n.network.KeepFile(ctx, replica, req)
	switch {
	case err != nil:
		return err
	case resp.GetNextNumber() > 0:
		return fmt.Errorf("replica %d: %w", replica, &flush.TakenError{Next: resp.GetNextNumber()})
	case resp.GetRefused() != "":
		return fmt.Errorf("replica %d: %s", replica, resp.GetRefused())
	}
	return nil
}

// onePeer is one other member as one who has files.
type onePeer struct {
	n    *Node
	from ident.ReplicaID
}

// Fetch implements cold.Peer.
func (p onePeer) Fetch(ctx context.Context, storageID, path string, to io.Writer) error {
	return p.n.network.ReadFile(ctx, p.from, &nodev1.ReadFileRequest{StorageId: storageID, Path: path}, to)
}

// HandleReadFile implements transport.FileKeeper.
func (h peerHandler) HandleReadFile(ctx context.Context, req *nodev1.ReadFileRequest, to io.Writer) error {
	if req.GetStorageId() == export.StorageID {
		return h.n.exports.Read(ctx, req.GetPath(), to)
	}
	return h.n.cold.Read(ctx, req.GetStorageId(), req.GetPath(), to)
}

// HandleKeepFile implements transport.FileKeeper.
func (h peerHandler) HandleKeepFile(ctx context.Context, from ident.ReplicaID, req *nodev1.KeepFileRequest) *nodev1.KeepFileResponse {
	err := h.n.cold.Keep(ctx, onePeer{h.n, from}, req.GetStorageId(), req.GetPath(), req.GetSha256(), int64(req.GetSizeBytes()))
	if err == nil {
		return &nodev1.KeepFileResponse{}
	}
	resp := &nodev1.KeepFileResponse{}
	if errors.Is(err, cold.ErrTaken) {
		next, listing := h.n.nextFile(ctx, req.GetStorageId(), req.GetPath())
		resp.NextNumber, err = next, errors.Join(err, listing)
	}
	resp.Refused = err.Error()
	return resp
}

// nextFile finds the number above those of all segments beside one. It is zero with an error.
func (n *Node) nextFile(ctx context.Context, storageID, file string) (uint64, error) {
	objects, err := n.cold.Objects(storageID)
	if err != nil {
		return 0, err
	}
	next, err := flush.NextNumber(ctx, objects, path.Dir(file), 0)
	if err != nil {
		return 0, err
	}
	return next, nil
}

var _ transport.FileKeeper = peerHandler{}
