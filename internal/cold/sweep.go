package cold

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"path"
	"strings"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/storage/objstore"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// SweepGrace is for how long a file must have been named by nobody before it is deleted. Whoever writes files proposes the command that names
// them within minutes (flush), and no statement that knows an older manifest runs for as long.
const SweepGrace = time.Hour

// maxOrphans bounds the files that a Sweeper has in mind; others wait until some of these are gone.
const maxOrphans = 10_000

// Names is a set of files. It knows them by their paths, whatever their storage: the directory of a storage may lie in that of
// another one, or be the same, and then one file has a path in both, one of which ends in the other.
type Names struct {
	seed  maphash.Seed
	paths map[uint64]struct{} // hashes of eight bytes each: two files with one hash make an orphan stay, nothing else
	ends  map[uint64]struct{} // of the paths, and of what is left of them behind each slash
}

// NewNames makes an empty set.
func NewNames() *Names {
	return &Names{seed: maphash.MakeSeed(), paths: map[uint64]struct{}{}, ends: map[uint64]struct{}{}}
}

// Add adds the files of a manifest, and the one that is written beside them for readers outside.
func (n *Names) Add(m *commandv1.Manifest) {
	for _, s := range m.GetSegments() {
		n.add(s.GetPath())
		n.add(path.Dir(s.GetPath()) + "/" + ManifestName)
	}
}

func (n *Names) add(file string) {
	n.paths[maphash.String(n.seed, file)] = struct{}{}
	for end, more := file, true; more; _, end, more = strings.Cut(end, "/") {
		n.ends[maphash.String(n.seed, end)] = struct{}{}
	}
}

func (n *Names) has(p place) bool {
	if _, ok := n.ends[maphash.String(n.seed, p.path)]; ok {
		return true
	}
	for end, more := p.path, true; more; _, end, more = strings.Cut(end, "/") {
		if _, ok := n.paths[maphash.String(n.seed, end)]; ok {
			return true
		}
	}
	return false
}

// place is where a file is.
type place struct{ storage, path string }

// Sweeper deletes files of segments that no manifest names: what flushes and compactions left that were interrupted, what
// was merged, and what dropped tables had; and each manifest.json beside which no segment is named. It belongs to one goroutine. All fields but Step are required.
//
// A file goes when two looks that lie SweepGrace apart, and every one in between, found it named by nobody, the last of them at manifests that were
// current, while no backup ran. In a place that others may use too, a file goes only when it says that this cluster wrote it.
type Sweeper struct {
	Store *Store
	Clock clock.Clock
	// Names lists what manifests name. When they must be current, they include all that was acknowledged before.
	Names func(ctx context.Context, current bool) (*Names, error)
	// Busy reports whether something runs that may read files of manifests of old.
	Busy func() (bool, error)
	// Buckets reports whether this node is the one that sweeps what all members see.
	Buckets func() bool
	// Step is called before each step that a crash may follow; tests stop there. Nil does nothing.
	Step func(step string) error

	seen map[place]time.Time // files that nobody names, and since when that is known
}

// Sweep looks once and returns how many files were deleted. What fails is tried again with the next call.
func (s *Sweeper) Sweep(ctx context.Context) (deleted int, err error) {
	if busy, failure := s.Busy(); busy || failure != nil {
		return 0, failure
	}
	names, err := s.Names(ctx, false)
	if err != nil {
		return 0, err
	}
	now := s.Clock.Now()
	before, seen, wanted := s.seen, map[place]time.Time{}, s.Store.takeWanted()
	var due []place
	for _, storage := range s.Store.cfg.Catalog.Current().Storages() {
		shared, failure := s.Store.Shared(storage.ID)
		if failure != nil || shared && !s.Buckets() {
			err = errors.Join(err, failure)
			continue
		}
		failure = s.look(ctx, storage, now, func(p place) {
			since, known := before[p]
			if _, anew := wanted[p]; !known || anew {
				since = now
			}
			if names.has(p) || len(seen) >= maxOrphans {
				return
			}
			if seen[p] = since; now.Sub(since) >= SweepGrace {
				due = append(due, p)
			}
		})
		if failure != nil {
			err = errors.Join(err, fmt.Errorf("sweep storage '%s': %w", storage.ID, failure))
		}
	}
	s.seen = seen
	if len(due) == 0 {
		return 0, err
	}
	deleted, failure := s.delete(ctx, due)
	return deleted, errors.Join(err, failure)
}

// look visits the files of segments in a storage that are old enough, and removes what interrupted writes left.
func (s *Sweeper) look(ctx context.Context, storage *catalog.Storage, now time.Time, visit func(place)) error {
	objects, err := s.Store.Objects(storage.ID)
	if err != nil {
		return err
	}
	if sweeper, ok := objects.(objstore.Sweeper); ok {
		if _, err := sweeper.Sweep(ctx, now.Add(-SweepGrace)); err != nil {
			return err
		}
	}
	return objects.List(ctx, "", func(found objstore.ObjectInfo) error {
		name := path.Base(found.Key)
		if name == ManifestName || strings.HasPrefix(name, "batch-") && strings.HasSuffix(name, ".parquet") {
			visit(place{storage.ID, found.Key})
		}
		return nil
	})
}

// delete deletes files that are still named by nobody.
func (s *Sweeper) delete(ctx context.Context, due []place) (deleted int, err error) {
	names, err := s.Names(ctx, true)
	if err != nil {
		return 0, err
	}
	if busy, failure := s.Busy(); busy || failure != nil { // it may have begun meanwhile
		return 0, failure
	}
	manifests := false
	for _, p := range due {
		if names.has(p) || s.Store.isWanted(p) {
			continue
		}
		if err = s.deleteOne(ctx, p, &deleted); err != nil {
			return deleted, fmt.Errorf("sweep %s of storage '%s': %w", p.path, p.storage, err)
		}
		manifests = manifests || path.Base(p.path) == ManifestName
	}
	if !manifests {
		return deleted, nil
	}
	// A flush may have named a segment beside one of them meanwhile.
	if names, err = s.Names(ctx, true); err != nil {
		return deleted, err
	}
	for _, p := range due {
		if path.Base(p.path) == ManifestName && names.has(p) {
			s.Store.noteLost(p)
		}
	}
	return deleted, nil
}

func (s *Sweeper) deleteOne(ctx context.Context, p place, deleted *int) error {
	objects, err := s.Store.Objects(p.storage)
	if err != nil {
		return err
	}
	ours, err := s.Store.ours(ctx, objects, p)
	if err != nil || !ours {
		return err
	}
	if s.Step != nil {
		if err := s.Step("delete"); err != nil {
			return err
		}
	}
	if err := objects.Delete(ctx, p.path); err != nil {
		return err
	}
	delete(s.seen, p)
	*deleted++
	s.Store.forgetPlace(p)
	s.Store.cfg.Logger.Info("a file that no manifest names was deleted", slog.String("storage", p.storage), slog.String("path", p.path))
	return nil
}

// objectReader reads an object at offsets.
type objectReader struct {
	ctx     context.Context //nolint:containedctx // io.ReaderAt has no place for it
	objects objstore.Store
	key     string
}

// ReadAt implements io.ReaderAt.
func (r *objectReader) ReadAt(p []byte, offset int64) (int, error) {
	return readObject(r.ctx, r.objects, r.key, p, offset)
}
