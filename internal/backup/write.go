package backup

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/klauspost/compress/zstd"

	"github.com/kalamdb/kalamdb-go/internal/applier"
	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/executor"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	"github.com/kalamdb/kalamdb-go/internal/storage/objstore"
)

// Bounds of a writer.
const (
	maxWrites = 4       // chunks that are compressed and sent at a time
	maxKnown  = 1 << 20 // chunks of earlier backups whose sizes are remembered; others are asked for one by one
)

// Rows gives the rows of a data group as one view of the store shows them.
type Rows interface {
	// Rows visits every row of a group, each key once, in an order that is the same for the same rows: in each part ascending by table, user and key.
	Rows(ctx context.Context, view storage.Reader, group shard.GroupID, walk Walk) error
}

// Walk is told of the rows of a group.
type Walk struct {
	// Visit must not keep the record.
	Visit func(*Record) error
	// Skip is asked in front of each row: reading goes on behind the place that it returns, nil for here; over ends the part. Nil skips nothing.
	Skip func(part Part) (to *Place, over bool, err error)
	// Ended is told that a part is over. Nil is not told.
	Ended func(part Part) error
}

func (w *Walk) skip(part Part) (to *Place, over bool, err error) {
	if w.Skip == nil {
		return nil, false, nil
	}
	return w.Skip(part)
}

func (w *Walk) ended(part Part) error {
	if w.Ended == nil {
		return nil
	}
	return w.Ended(part)
}

// Source is where a backup comes from. All fields are required but the last four.
type Source struct {
	Storage  *storage.Engine
	Catalog  *catalog.Store
	Executor executor.CommandExecutor // for barriers
	Rows     Rows
	Applied  func(view storage.Reader, group shard.GroupID) (uint64, error)
	Clock    clock.Clock
	// Fenced reports whether every member heeds the token with which a backup is recorded; nil for never.
	Fenced func() bool
	// Step is called before what At names; nil does nothing.
	Step func(step string) error
	// InTurn stores one chunk after the other in the goroutine of the caller; else some are stored beside what is read next.
	InTurn bool
	// ChunkBytes is about how much a chunk holds; zero means 2 MiB. Backups share chunks when they agree about it.
	ChunkBytes int
}

// Progress is told how far something is.
type Progress func(percent uint32, text string)

// Write makes a backup and returns its manifest. What was acknowledged before the call is in it.
func Write(ctx context.Context, source Source, store objstore.Store, progress Progress) (*Manifest, error) {
	store = patientStore{store, patient{source.Clock}}
	cluster := source.Catalog.Current().Cluster()
	if cluster == nil {
		return nil, errors.New("the cluster is not founded yet")
	}
	groups := cluster.Shards.Groups()
	for _, group := range groups {
		if _, err := source.Executor.Barrier(ctx, group); err != nil {
			return nil, fmt.Errorf("wait for %s: %w", group, err)
		}
	}
	if err := At(source.Step, "read"); err != nil {
		return nil, err
	}
	started := source.Clock.Now().UTC()
	view := source.Storage.NewSnapshot()
	defer view.Close() //nolint:errcheck // it was only read
	w, err := newWriter(ctx, &source, store)
	if err != nil {
		return nil, err
	}
	defer w.close()
	m := &Manifest{
		Format: manifestFormat, Name: started.Format(nameLayout), ClusterID: cluster.ID, ClusterUID: hex.EncodeToString(cluster.UID[:]),
		Started: started, Shards: Shards{User: cluster.Shards.UserShards, Shared: cluster.Shards.SharedShards},
	}
	w.manifest = m
	if w.picture, err = catalog.Load(view); err != nil {
		return nil, err
	}
	if w.earlier, err = earlier(ctx, store, view, m.ClusterUID); err != nil {
		return nil, err
	}
	for _, t := range w.picture.Tables() {
		if t.ID.Reserved() {
			continue
		}
		m.LastTableID = max(m.LastTableID, t.ID)
		w.tables[t.ID] = &Table{ID: t.ID, Name: t.FullName()}
	}
	for i, group := range groups {
		progress(uint32(100*i/len(groups)), fmt.Sprintf("group %d of %d, %s read, %s new", i+1, len(groups), size(w.sums().readBytes()), size(w.sums().WrittenBytes))) //nolint:gosec // a percentage
		if err := w.group(ctx, view, group); err != nil {
			return nil, fmt.Errorf("back up %s: %w", group, err)
		}
	}
	if err := w.finish(); err != nil {
		return nil, err
	}
	if err := At(source.Step, "manifest"); err != nil {
		return nil, err
	}
	m.Finished = source.Clock.Now().UTC()
	if err := m.write(ctx, store); err != nil {
		return nil, err
	}
	return m, At(source.Step, "written")
}

// writer makes the chunks of one backup.
type writer struct {
	source   *Source
	store    objstore.Store
	encoder  *zstd.Encoder
	manifest *Manifest
	picture  *catalog.Catalog
	earlier  *Manifest // a backup at the same place of which chunks may be taken over; nil when there is none
	tables   map[ident.TableID]*Table
	known    map[string]int64 // stored sizes of chunks that are there
	slots    chan struct{}
	sending  sync.WaitGroup

	mu     sync.Mutex // guards what follows
	failed error
	totals Totals
	taken  map[string]bool // chunks of this backup, so that equal ones count once
}

func newWriter(ctx context.Context, source *Source, store objstore.Store) (*writer, error) {
	encoder, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(maxWrites))
	if err != nil {
		return nil, fmt.Errorf("write chunks: %w", err)
	}
	w := &writer{
		source: source, store: store, encoder: encoder, tables: map[ident.TableID]*Table{}, known: map[string]int64{}, taken: map[string]bool{},
		slots: make(chan struct{}, maxWrites),
	}
	err = store.List(ctx, chunkPrefix, func(info objstore.ObjectInfo) error {
		if len(w.known) < maxKnown {
			w.known[info.Key[strings.LastIndexByte(info.Key, '/')+1:]] = info.Size
		}
		return nil
	})
	return w, err
}

func (w *writer) close() {
	w.sending.Wait()
	_ = w.encoder.Close() // nothing is in it
}

// send stores the content of a chunk, unless it is there, beside what follows.
func (w *writer) send(ctx context.Context, chunk *Chunk, content []byte) error {
	select {
	case w.slots <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if err := w.failure(); err != nil {
		<-w.slots
		return err
	}
	store := func() {
		defer func() { <-w.slots }()
		stored, isNew, err := w.put(ctx, chunk.SHA256, content)
		w.mu.Lock()
		defer w.mu.Unlock()
		if err != nil {
			w.failed = errors.Join(w.failed, err)
			return
		}
		chunk.StoredBytes = stored
		w.totals.Bytes += chunk.Bytes
		w.totals.Chunks++
		if w.taken[chunk.SHA256] {
			return
		}
		w.taken[chunk.SHA256] = true
		w.totals.StoredBytes += stored
		if isNew {
			w.totals.WrittenBytes += stored
			w.totals.NewChunks++
		}
	}
	if w.source.InTurn {
		store()
		return w.failure()
	}
	w.sending.Go(store)
	return nil
}

func (w *writer) put(ctx context.Context, sum string, content []byte) (stored int64, isNew bool, err error) {
	if size, ok := w.known[sum]; ok {
		return size, false, nil
	}
	if err = At(w.source.Step, "chunk"); err != nil {
		return 0, false, err
	}
	data := encodeChunk(w.encoder, content)
	_, err = w.store.Put(ctx, chunkKey(sum), bytes.NewReader(data), int64(len(data)), objstore.PutOptions{IfNotExists: true})
	if errors.Is(err, objstore.ErrExists) {
		info, statErr := w.store.Stat(ctx, chunkKey(sum))
		return info.Size, false, statErr
	}
	if err == nil {
		err = At(w.source.Step, "stored")
	}
	return int64(len(data)), true, err
}

func (w *writer) failure() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.failed
}

func (w *writer) sums() Totals {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.totals
}

// finish puts the sums into the manifest.
func (w *writer) finish() error {
	w.sending.Wait()
	for _, t := range w.tables {
		w.manifest.Tables = append(w.manifest.Tables, *t)
		w.totals.Rows += t.Rows
	}
	slices.SortFunc(w.manifest.Tables, func(a, b Table) int { return int(int64(a.ID) - int64(b.ID)) }) //nolint:gosec // log indexes
	w.manifest.Totals = w.totals
	return w.failure()
}

// catalogRecords visits the keys of the meta group that a backup holds.
func catalogRecords(view storage.Reader, visit func(*Record) error) (err error) {
	lo, hi := keys.GroupSpan(shard.Meta)
	it, err := view.Scan(lo, hi)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok; ok = it.Next() {
		_, kind, rest, err := keys.Split(it.Key())
		if err != nil {
			return err
		}
		if !applier.RestorableKind(kind) || ofReserved(kind, rest) {
			continue
		}
		value, err := it.Value()
		if err != nil {
			return err
		}
		if err := visit(&Record{Key: it.Key(), Value: value}); err != nil {
			return err
		}
	}
	return it.Err()
}

// ofReserved reports whether a key of the catalog belongs to a table that came with its cluster. Every cluster has its own.
func ofReserved(kind keys.Kind, rest []byte) bool {
	return (kind == keys.KindTable || kind == keys.KindVersion) && len(rest) >= 8 && ident.TableID(binary.BigEndian.Uint64(rest)).Reserved()
}

// size prints a number of bytes for people.
func size(n int64) string {
	switch {
	case n >= 10<<30:
		return fmt.Sprintf("%d GiB", n>>30)
	case n >= 10<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d KiB", n>>10)
}
