package export

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"strings"
	"sync"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/executor"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
	"github.com/kalamdb/kalamdb-go/internal/storage/objstore"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// StorageID is the word for this directory where nodes ask each other for files of storages. No storage can have that name.
const StorageID = ".exports"

// ErrFull says that an export would take more than what is left of the node's room for exports.
var ErrFull = errors.New("the node has no room for the export")

// ErrDamaged says that a file is not what the result of its job says.
var ErrDamaged = errors.New("damaged export")

// ShelfConfig is what a Shelf works with. All fields are required.
type ShelfConfig struct {
	FS       disk.FS
	Dir      string // is made with the first export
	Reader   storage.Reader
	Catalog  *catalog.Store
	Executor executor.CommandExecutor // for barriers
	Clock    clock.Clock
	Node     func() ident.NodeID
	Keep     time.Duration // how long a file lies here
	MaxBytes int64         // of all files together
}

// Shelf is the directory of finished exports of a node. Its methods may be called from any goroutine; Put by one at a time.
type Shelf struct {
	cfg     ShelfConfig
	started time.Time // files that were being written before are nobody's

	mu    sync.Mutex // guards store
	store *objstore.Dir
}

// NewShelf makes a shelf; nothing is on the disk yet.
func NewShelf(cfg ShelfConfig) *Shelf { return &Shelf{cfg: cfg, started: cfg.Clock.Now()} }

func (s *Shelf) open() (*objstore.Dir, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.store != nil {
		return s.store, nil
	}
	store, err := objstore.OpenDir(s.cfg.FS, s.cfg.Dir)
	if err == nil {
		s.store = store
	}
	return store, err
}

// fileName is where the file of one run of a job lies.
func fileName(user ident.UserID, job *commandv1.Job, token uint64) string {
	return fmt.Sprintf("%s/%s-%d.zip", objstore.EscapeSegment(string(user)), catalog.JobID(job), token)
}

// Put has a file written for one run of a job and returns the result of the job. The file is durable then.
func (s *Shelf) Put(ctx context.Context, job *commandv1.Job, token uint64, write func(to io.Writer) (*About, error)) (*catalog.ExportResult, error) {
	store, err := s.open()
	if err != nil {
		return nil, err
	}
	room := s.cfg.MaxBytes
	if err = store.List(ctx, "", func(info objstore.ObjectInfo) error { room -= info.Size; return nil }); err != nil {
		return nil, err
	}
	path := fileName(ident.UserID(job.GetUser()), job, token)
	from, to := io.Pipe()
	out := &counted{to: to, sum: sha256.New(), room: room}
	var about *About
	done := make(chan error, 1)
	go func() {
		var ended error
		about, ended = write(out)
		_ = to.CloseWithError(ended) // never fails
		done <- ended
	}()
	_, err = store.Put(ctx, path, from, objstore.UnknownSize, objstore.PutOptions{IfNotExists: true})
	_ = from.CloseWithError(errors.New("the file is not written any more")) // never fails; ends the writer
	if failure := <-done; failure != nil && !errors.Is(failure, err) {
		return nil, errors.Join(failure, err)
	}
	if err != nil {
		return nil, err
	}
	result := &catalog.ExportResult{
		Node: s.cfg.Node(), Path: path, Bytes: out.size, SHA256: hex.EncodeToString(out.sum.Sum(nil)),
		ExpiresMicros: s.cfg.Clock.Now().Add(s.cfg.Keep).UnixMicro(),
	}
	for i := range about.Tables {
		result.Rows += about.Tables[i].Rows
	}
	return result, nil
}

// counted counts and hashes what goes through it, up to a limit.
type counted struct {
	to         io.Writer
	sum        hash.Hash
	size, room int64
}

// Write implements io.Writer.
func (c *counted) Write(p []byte) (int, error) {
	if c.room < int64(len(p)) {
		return 0, fmt.Errorf("%w: storage.export_max_bytes is reached after %d bytes; exports that are there are removed when their time is over", ErrFull, c.size)
	}
	n, err := c.to.Write(p)
	c.size += int64(n)
	c.room -= int64(n)
	_, _ = c.sum.Write(p[:n]) // a hash cannot fail
	return n, err
}

// Find returns the result of an export of a user that can be downloaded.
func (s *Shelf) Find(ctx context.Context, user ident.UserID, id string) (*catalog.ExportResult, error) {
	if _, err := s.cfg.Executor.Barrier(ctx, shard.Meta); err != nil {
		return nil, err
	}
	exports, err := catalog.LoadExports(s.cfg.Reader, s.cfg.Catalog.Current())
	if err != nil {
		return nil, err
	}
	for _, e := range exports {
		if e.User() != user || !strings.EqualFold(catalog.JobID(e.Job), id) {
			continue
		}
		if e.Result == nil || e.Result.ExpiresMicros <= s.cfg.Clock.Now().UnixMicro() {
			return nil, fault.New(fault.NotFound, "export '%s' of user '%s' has no file: it is not finished, too old, or a newer one took its place", id, user)
		}
		return e.Result, nil
	}
	return nil, fault.New(fault.NotFound, "user '%s' has no export '%s'", user, id)
}

// Read writes a file that lies here to a writer, whatever it holds: Verified compares it with the result.
func (s *Shelf) Read(ctx context.Context, path string, to io.Writer) error {
	store, err := s.open()
	if err != nil {
		return err
	}
	from, err := store.Get(ctx, path, 0, -1)
	if err != nil {
		return err
	}
	_, err = io.CopyBuffer(struct{ io.Writer }{to}, from, make([]byte, 256<<10))
	return errors.Join(err, from.Close())
}

// Tend removes what has no business here any more. Nothing happens on a node that never had an export.
func (s *Shelf) Tend(ctx context.Context) (removed int, err error) {
	if _, err = s.cfg.FS.Stat(s.cfg.Dir); errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	store, err := s.open()
	if err != nil {
		return 0, err
	}
	if _, err = store.Sweep(ctx, s.started); err != nil {
		return 0, err
	}
	// The list comes first: the job of a file that is in it was claimed before, so what is read behind a barrier knows it.
	var found []string
	if err = store.List(ctx, "", func(info objstore.ObjectInfo) error { found = append(found, info.Key); return nil }); err != nil {
		return 0, err
	}
	if len(found) == 0 {
		return 0, nil
	}
	wanted, err := s.wanted(ctx)
	if err != nil {
		return 0, err
	}
	for _, path := range found {
		if wanted[path] {
			continue
		}
		if err := store.Delete(ctx, path); err != nil {
			return removed, err
		}
		removed++
	}
	return removed, nil
}

// wanted lists the files of this node that can be downloaded, or whose job may complete.
func (s *Shelf) wanted(ctx context.Context) (map[string]bool, error) {
	if _, err := s.cfg.Executor.Barrier(ctx, shard.Meta); err != nil {
		return nil, err
	}
	exports, err := catalog.LoadExports(s.cfg.Reader, s.cfg.Catalog.Current())
	if err != nil {
		return nil, err
	}
	wanted := map[string]bool{}
	now := s.cfg.Clock.Now().UnixMicro()
	for _, e := range exports {
		switch {
		case e.Result != nil && e.Result.Node == s.cfg.Node() && e.Result.ExpiresMicros > now:
			wanted[e.Result.Path] = true
		case catalog.JobState(e.Job.GetState()) == catalog.JobRunning:
			wanted[fileName(e.User(), e.Job, e.Job.GetClaim().GetToken())] = true
		}
	}
	return wanted, nil
}

// Verified passes a file on to a writer and holds its last piece back until all of it has the hash of a result.
type Verified struct {
	to     io.Writer
	result *catalog.ExportResult
	sum    hash.Hash
	size   int64
	held   []byte
}

// NewVerified makes the writer through which the file of a result goes. Finish sends the last piece.
func NewVerified(to io.Writer, result *catalog.ExportResult) *Verified {
	return &Verified{to: to, result: result, sum: sha256.New()}
}

// Write implements io.Writer.
func (v *Verified) Write(p []byte) (int, error) {
	if v.size += int64(len(p)); v.size > v.result.Bytes {
		return 0, fmt.Errorf("%w: it has more than %d bytes", ErrDamaged, v.result.Bytes)
	}
	_, _ = v.sum.Write(p) // a hash cannot fail
	if len(p) == 0 {
		return 0, nil
	}
	if len(v.held) > 0 {
		if _, err := v.to.Write(v.held); err != nil {
			return 0, err
		}
	}
	v.held = append(v.held[:0], p...)
	return len(p), nil
}

// Finish compares size and hash and sends the last piece.
func (v *Verified) Finish() error {
	if got := hex.EncodeToString(v.sum.Sum(nil)); v.size != v.result.Bytes || got != v.result.SHA256 {
		return fmt.Errorf("%w: %d bytes with the hash %s, not %d with %s", ErrDamaged, v.size, got, v.result.Bytes, v.result.SHA256)
	}
	_, err := v.to.Write(v.held)
	return err
}
