package sim

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"path"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/cold"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/flush"
	"github.com/kalamdb/kalamdb-go/internal/multiraft"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk/faultfs"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	"github.com/kalamdb/kalamdb-go/internal/storage/manifest"
	"github.com/kalamdb/kalamdb-go/internal/storage/objstore"
	"github.com/kalamdb/kalamdb-go/internal/storages"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// This file gives nodes their cold rows: the real store of segments over the node's disk, kept by a majority, tended and
// swept by parts of the process that give way where a server waits.

// coldPart is what one life of a node has of the cold tier.
type coldPart struct {
	n       *simNode
	files   disk.FS
	set     *storages.Set
	store   *cold.Store
	sweeper *cold.Sweeper
	busy    int // jobs at work
}

func newColdPart(n *simNode, files disk.FS) *coldPart {
	c := &coldPart{n: n, files: files}
	c.set = storages.NewSet(storages.Config{
		FS: files, Keys: &storages.Keyring{}, Clock: n,
		Buckets: func(*catalog.Storage) (objstore.Store, error) { return n.w.bucket, nil },
	})
	cfg := cold.Config{Catalog: n.catalog, Storages: c.set, FS: files, CacheBytes: n.w.opt.coldCache, Logger: n.w.logger(n).With(slog.String("part", "cold"))}
	if !n.w.opt.solo {
		cfg.Peers = c.peers
		cfg.Leads = func(g shard.GroupID) bool { return n.manager != nil && n.manager.Leader(g) == n.self.Replica }
	}
	c.store = cold.New(cfg)
	c.sweeper = &cold.Sweeper{
		Store: c.store, Clock: hurried{n.w}, Names: c.names, Busy: func() (bool, error) { return false, nil },
		Buckets: func() bool { return n.manager.Leader(shard.Meta) == n.self.Replica },
	}
	return c
}

// close ends what this life has open. Nil does nothing.
func (c *coldPart) close() {
	if c == nil {
		return
	}
	// Whoever has rows of the store open closes them before it is closed.
	for _, a := range c.n.w.actors {
		if a.at == c.n {
			a.unwind()
		}
	}
	// Files of a memory file system close without an error.
	_ = c.store.Close()
	c.set.Close()
}

// hurryFactor makes the grace of files that nobody names last 20 seconds. From the begin of a file to its commit pass six, and
// six more when the node is paused between the last look at the time and the proposal.
const hurryFactor = 180

// hurried is the clock of sweepers. It does not jump: they look at the time that passes.
type hurried struct{ w *world }

// Now implements clock.Clock.
func (h hurried) Now() time.Time {
	return h.w.start.Add(hurryFactor*h.w.clock.Now().Sub(h.w.start) + h.w.mutant.hurry(h.w))
}

// NewTimer implements clock.Clock; nobody waits for this clock.
func (h hurried) NewTimer(d time.Duration) clock.Timer { return h.w.clock.NewTimer(d) }

// begin starts what a server does beside its requests.
func (c *coldPart) begin() {
	if !c.n.w.opt.cold {
		return
	}
	if !c.n.w.mutant.noTend {
		c.n.w.spawnAt(c.n, "tend", tendCold)
	}
	c.n.w.spawnAt(c.n, "sweep", sweepCold)
}

// tendCold fetches files that the node misses.
func tendCold(a *actor) {
	n := a.node
	for ; ; a.sleep(500 * time.Millisecond) {
		if n.catalog.Current().Cluster() == nil {
			continue
		}
		view := n.store.NewSnapshot()
		scopes, err := cold.Scopes(n.catalog.Current(), view, n.w.dataGroups())
		if err = errors.Join(err, view.Close()); err != nil {
			n.w.fail("node %d reads its manifests: %v", n.id, err)
		}
		// What cannot be had now is looked for again; in the end every file must be there.
		_ = n.cold.store.Tend(context.Background(), scopes)
		n.fellInColdFile()
	}
}

// sweepCold deletes files that nobody names.
func sweepCold(a *actor) {
	n := a.node
	pause := 1700 * time.Millisecond
	if n.w.mutant.graceless {
		pause = 100 * time.Millisecond
	}
	for ; ; a.sleep(pause) {
		if n.catalog.Current().Cluster() == nil {
			continue
		}
		a.serve(n, func(s *session) {
			_ = s.guarded(func() error { // what fails is tried again
				deleted, err := n.cold.sweeper.Sweep(s)
				n.w.stats.swept += uint64(deleted)
				return err
			})
		})
		n.fellInColdFile()
	}
}

// fellInColdFile ends a node whose power failed while it changed a segment: its log may have nothing to say for a while.
func (n *simNode) fellInColdFile() {
	if n.up && n.disk.crashed != nil {
		n.crash("power, while it wrote a segment")
	}
}

// guarded runs something that may meet a store that was closed under it, because the node has ended.
func (s *session) guarded(run func() error) (err error) {
	defer func() {
		r := recover()
		_, stopped := r.(actorStopped)
		switch _, broken := r.(violation); {
		case r == nil:
		case !stopped && !broken && s.gone():
			err = fault.New(fault.Timeout, "the node has ended")
		default:
			panic(r)
		}
	}()
	s.reads = true
	defer func() { s.reads = false }()
	return run()
}

// names lists the files that manifests name, as a server does.
func (c *coldPart) names(ctx context.Context, current bool) (*cold.Names, error) {
	names := cold.NewNames()
	for _, group := range append([]shard.GroupID{shard.Meta}, c.n.w.dataGroups()...) {
		if current {
			if _, err := (sqlExecutor{}).Barrier(ctx, group); err != nil {
				return nil, err
			}
		}
		if group == shard.Meta {
			continue
		}
		lo, hi := keys.ManifestsSpan(group)
		err := manifest.Each(c.n.store, lo, hi, func(_ []byte, m *commandv1.Manifest) error {
			names.Add(m)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return names, nil
}

func (w *world) dataGroups() []shard.GroupID {
	var found []shard.GroupID
	for _, g := range w.groups {
		if g != shard.Meta {
			found = append(found, g)
		}
	}
	return found
}

// holder is another node as one that has files.
type holder struct{ n *simNode }

// Fetch implements cold.Peer. It draws nothing and changes nothing, because it runs beside whoever writes what comes.
func (h holder) Fetch(ctx context.Context, storageID, file string, to io.Writer) error {
	return h.n.cold.store.Read(ctx, storageID, file, to)
}

// reaches reports whether a call to another node would arrive, and its answer too.
func (n *simNode) reaches(other *simNode) bool {
	return other != n && running(other) && other.disk.crashed == nil && !n.w.isCut(n, other) && !n.w.isCut(other, n)
}

// peers lists the nodes that answer now.
func (c *coldPart) peers() []cold.Peer {
	var found []cold.Peer
	for _, other := range c.n.w.nodes {
		if !c.n.reaches(other) || other.catalog.Current().Cluster() == nil {
			continue
		}
		if _, err := other.cold.store.Objects(catalog.LocalStorage); err != nil {
			continue // its disk is full or broken
		}
		found = append(found, holder{other})
	}
	c.n.w.stats.fetched++
	return found
}

// worker moves and merges rows in the name of a session.
func (c *coldPart) worker(step func(string) error) *flush.Worker {
	n := c.n
	w := &flush.Worker{
		Catalog: n.catalog, Storage: n.store, Executor: coldExecutor{c}, Cold: c.store, Clock: n, Applied: multiraft.ReadApplied, Step: step,
	}
	if !n.w.opt.solo && !n.w.mutant.noKeep {
		w.Keepers = keepers{n}
	}
	return w
}

// coldExecutor is the executor of flushes and merges.
type coldExecutor struct{ c *coldPart }

// Execute implements executor.CommandExecutor.
func (e coldExecutor) Execute(ctx context.Context, group shard.GroupID, cmd *commandv1.Command) (*commandv1.Response, error) {
	if change := e.c.n.w.mutant.onCold; change != nil {
		change(cmd)
	}
	return sqlExecutor{}.Execute(ctx, group, cmd)
}

// Barrier implements executor.CommandExecutor. Files that a merge may read are here afterwards: a merge fetches them beside the
// file that it writes, and nobody would know in which order.
func (e coldExecutor) Barrier(ctx context.Context, group shard.GroupID) (uint64, error) {
	index, err := sqlExecutor{}.Barrier(ctx, group)
	if err != nil || group == shard.Meta {
		return index, err
	}
	scopes, err := cold.Scopes(e.c.n.catalog.Current(), e.c.n.store, []shard.GroupID{group})
	for i := range scopes {
		for _, s := range scopes[i].Manifest.GetSegments() {
			err = errors.Join(err, e.c.store.Ensure(s))
		}
	}
	return index, err
}

// keepers asks the other members to keep a file, one after the other.
type keepers struct{ n *simNode }

// Keep implements flush.Keepers.
func (k keepers) Keep(ctx context.Context, storageID, file string, sum []byte, size int64) error {
	n, s := k.n, sessionOf(ctx)
	var others []*simNode
	members := 0
	for _, m := range n.catalog.Current().Members() {
		if m.Removed || m.Replica == n.self.Replica {
			continue
		}
		members++
		if other := n.w.nodeAt(m.RPCAddr); other != nil && other.self.Replica == m.Replica {
			others = append(others, other)
		}
	}
	needed := (members + 1) / 2
	var failed error
	next := uint64(0)
	for _, other := range others {
		if needed == 0 {
			break
		}
		err := s.keepAt(other, storageID, file, sum, size)
		if taken, ok := errors.AsType[*flush.TakenError](err); ok {
			next = max(next, taken.Next)
		}
		if failed = errors.Join(failed, err); err == nil {
			needed--
		}
	}
	switch {
	case needed == 0:
		return nil
	case next > 0:
		return errors.Join(&flush.TakenError{Next: next}, failed)
	}
	return errors.Join(errors.New("no majority keeps the file"), failed)
}

// keepAt is a call to another node, which can be lost on its way there or back.
func (s *session) keepAt(other *simNode, storageID, file string, sum []byte, size int64) error {
	n, lost := s.n, errors.New("nobody answers")
	if !n.reaches(other) || !s.travel() || n.w.plan.loseCall() || !n.reaches(other) {
		return lost
	}
	err := other.cold.store.Keep(context.Background(), holder{n}, storageID, file, sum, size)
	if errors.Is(err, cold.ErrTaken) {
		var objects objstore.Store
		if objects, err = other.cold.store.Objects(storageID); err == nil {
			taken := &flush.TakenError{}
			if taken.Next, err = flush.NextNumber(context.Background(), objects, path.Dir(file), 0); err == nil {
				err = taken
			}
		}
	}
	other.fellInColdFile()
	if !s.travel() || n.w.plan.loseCall() || !n.reaches(other) {
		return lost
	}
	return err
}

// judgeCold decides about a change of a segment, or of what lies beside segments. Those of a life that has ended are not made.
func (d *simDisk) judgeCold(op faultfs.Op, alive bool) error {
	if !alive || d.crashed != nil || d.halting {
		return errPower
	}
	d.w.trace.bytes('g', uint64(d.node.id), uint64(op.Kind)<<32|uint64(op.Bytes), nil)
	switch {
	case d.broken:
		return errDisk
	case d.crashIn == 0 || d.tear:
		return nil
	}
	return d.countDown(op)
}
