// Package cold reads rows that lie in segments.
//
// A Store is this node's way to the files of all storages: it opens them, checks that each is the one its manifest means,
// fetches those that are missing or damaged from other members, and keeps a bounded amount of what was decoded. Files in
// buckets are the same for all members: they are read in ranges, and a bounded amount of those is kept. A View is the
// cold part of one scope in one picture of the store: the segments that its manifest names there. Find gives the newest
// cold version of a key, a Cursor those of a range in order of their keys.
//
// What a View gives is not yet what a statement sees: a version in the row store counts before any cold one of its
// key. Package table puts the two together.
//
// Always true: no byte of a file is used before a SHA-256 over it was that of the manifest, of the whole file or of the part that is read; bytes that turn out to be damaged later are
// never used, their file is fetched anew; a file is replaced only by the one that a manifest names; of the versions of one key the one with the highest _seq is given, deletions
// included. A manifest that names segments and a Store that cannot read them is an error, never an empty answer.
package cold

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	"github.com/kalamdb/kalamdb-go/internal/storage/manifest"
	"github.com/kalamdb/kalamdb-go/internal/storage/objstore"
	"github.com/kalamdb/kalamdb-go/internal/storages"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// ErrMissing is wrapped when a file is neither here, as it should be, nor with any other member that was asked.
var ErrMissing = errors.New("a segment is missing")

// ErrTaken is wrapped when a file is not kept because another one has its name.
var ErrTaken = errors.New("another file has the name")

// Peer is one other member of the cluster.
type Peer interface {
	// Fetch writes the member's file of a storage to a writer. What comes may be wrong.
	Fetch(ctx context.Context, storageID, path string, to io.Writer) error
}

// Config is what a Store works with. Catalog, Storages and FS are required.
type Config struct {
	Catalog  *catalog.Store
	Storages *storages.Set
	FS       disk.FS
	Peers    func() []Peer // lists the other members; nil for a node that runs alone
	Logger   *slog.Logger  // nil discards
	// CacheBytes bounds what is kept of decoded values; zero means 64 MiB. Beyond it what was not used for the longest
	// time goes.
	CacheBytes int64
	// OpenFiles bounds the files that are kept open while nobody reads them; zero means 256.
	OpenFiles int
	// FetchPatience bounds how long a read waits for a file from one other member; zero means 30 s. The next one is asked
	// afterwards.
	FetchPatience time.Duration
	// RangeBytes bounds what is kept of files in buckets; zero means 64 MiB.
	RangeBytes int64
	// RangePatience bounds how long a read waits for a bucket; zero means 5 s. It then fails, and may be tried again.
	RangePatience time.Duration
	// ReadAhead bounds the goroutines that read ahead of long scans; zero: scans read everything themselves, one thing after the
	// other.
	ReadAhead int
	// Leads reports whether this node leads a group, and so writes its manifests into buckets. Nil: it does.
	Leads func(shard.GroupID) bool
}

// Store reads segments. All methods may be called from any goroutine.
type Store struct {
	cfg    Config
	cache  *cache[columnKey, held]
	chunks *cache[chunkKey, []byte] // of files in buckets

	helpers chan struct{} // has one for each goroutine that reads ahead; nil when nobody does
	helping sync.WaitGroup

	mu        sync.Mutex // guards what follows
	files     map[fileKey]*file
	idle      []*file // open, and nobody reads them; the longest idle first
	nextFile  uint64
	manifests map[string]*known    // by manifest key
	none      map[string]uint64    // by manifest key: at which version of rare keys there was no manifest
	kept      map[fileKey]struct{} // files that Tend found here, a hundred bytes for each
	suspected map[fileKey]struct{} // damage was found in them; the next one who opens them checks them as a whole
	tended    map[string]tended    // the manifests that Tend wrote, by name
	lost      map[place]struct{}   // those that this node deleted and should not have
	wanted    map[place]struct{}   // files that were here already when a flush wanted them kept, since the last look of a Sweeper
}

// known is a decoded manifest.
type known struct {
	version  uint64
	manifest *commandv1.Manifest
}

// maxManifests bounds the decoded manifests; beyond it they are forgotten at once, and read again.
const maxManifests = 4096

// New makes a Store; nothing is opened yet.
func New(cfg Config) *Store {
	if cfg.CacheBytes == 0 {
		cfg.CacheBytes = 64 << 20
	}
	if cfg.OpenFiles == 0 {
		cfg.OpenFiles = 256
	}
	if cfg.RangeBytes == 0 {
		cfg.RangeBytes = 64 << 20
	}
	if cfg.RangePatience == 0 {
		cfg.RangePatience = 5 * time.Second
	}
	if cfg.Leads == nil {
		cfg.Leads = func(shard.GroupID) bool { return true }
	}
	if cfg.FetchPatience == 0 {
		cfg.FetchPatience = 30 * time.Second
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Store{
		cfg: cfg, cache: newCache[columnKey, held](cfg.CacheBytes), chunks: newCache[chunkKey, []byte](cfg.RangeBytes), files: map[fileKey]*file{}, manifests: map[string]*known{}, none: map[string]uint64{},
		kept: map[fileKey]struct{}{}, suspected: map[fileKey]struct{}{}, tended: map[string]tended{}, wanted: map[place]struct{}{}, lost: map[place]struct{}{},
	}
	if cfg.ReadAhead > 0 {
		s.helpers = make(chan struct{}, cfg.ReadAhead)
	}
	return s
}

// Objects opens the place of a storage on this node.
func (s *Store) Objects(id string) (objstore.Store, error) {
	found, err := s.storage(id)
	if err != nil {
		return nil, err
	}
	return s.cfg.Storages.Open(found)
}

// directory is where a storage lies on this node.
func (s *Store) directory(id string) (string, error) {
	found, err := s.storage(id)
	if err != nil {
		return "", err
	}
	return s.cfg.Storages.Directory(found), nil
}

// storage finds a storage.
func (s *Store) storage(id string) (*catalog.Storage, error) {
	found, ok := s.cfg.Catalog.Current().Storage(id)
	if !ok {
		return nil, fault.New(fault.NotFound, "storage '%s' does not exist", id)
	}
	return found, nil
}

// Shared reports whether all members see the same files in a storage.
func (s *Store) Shared(id string) (bool, error) {
	found, err := s.storage(id)
	return err == nil && found.Type == storages.TypeS3, err
}

// Manifest reads the manifest of a scope; nil when there is none. It must not be changed. The Store may be nil.
func (s *Store) Manifest(
	reader storage.Reader, group shard.GroupID, table ident.TableID, user ident.UserID,
) (*commandv1.Manifest, error) {
	key := keys.Manifest(group, table, user)
	at := s.rareVersion(reader)
	if at != 0 && s.hasNone(key, at) {
		return nil, nil
	}
	value, ok, err := reader.Get(key)
	if err != nil || !ok {
		if err == nil && at != 0 && at == s.rareVersion(reader) {
			s.noteNone(key, at)
		}
		return nil, err
	}
	version, err := manifest.Version(value)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", storage.ErrCorruption, err)
	}
	if s == nil {
		return nil, errors.New("the table has cold rows, and there is nothing to read them with")
	}
	s.mu.Lock()
	found := s.manifests[string(key)]
	s.mu.Unlock()
	if found != nil && found.version == version {
		return found.manifest, nil
	}
	m, err := manifest.Decode(value)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", storage.ErrCorruption, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.manifests) >= maxManifests {
		clear(s.manifests)
	}
	s.manifests[string(key)] = &known{version, m}
	return m, nil
}

// Close closes all files. Nobody may read any more.
func (s *Store) Close() error {
	s.helping.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	for _, f := range s.files {
		err = errors.Join(err, f.close())
	}
	clear(s.files)
	s.idle = nil
	return err
}

// Forget drops all that was decoded and closes the files that nobody reads, as a restart does.
func (s *Store) Forget() error {
	s.cache.clear()
	s.chunks.clear()
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.manifests)
	var err error
	for _, f := range s.idle {
		delete(s.files, f.key)
		err = errors.Join(err, f.close())
	}
	s.idle = nil
	return err
}
