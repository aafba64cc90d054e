package backup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/executor"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	"github.com/kalamdb/kalamdb-go/internal/storage/objstore"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// Bounds of a restore.
const (
	batchRows    = 2000
	batchBytes   = 128 << 10       // the log takes entries of a quarter of its segments
	maxProposals = 8               // under way at a time
	patience     = 2 * time.Minute // for a group that cannot take a command
)

// ErrDamaged says that a backup is not what its manifest says, or that rows did not arrive. Trying again does not help.
var ErrDamaged = errors.New("the backup cannot be restored")

// Target is where a backup is restored to. All fields are required but those with a word for zero or nil.
type Target struct {
	Storage  *storage.Engine
	Catalog  *catalog.Store
	Executor executor.CommandExecutor
	Rows     Rows // reads back what was written
	Clock    clock.Clock
	Job      uint64 // number of the job that restores; zero for none. It may run again after it finished.
	Token    uint64 // of the claim under which it runs: what arrives when it has lost the job is refused. Zero for none
	// Fenced reports whether every member heeds tokens. A restore with a token waits for that.
	Fenced func() bool
	// LargestCommand is how many bytes of a command the log takes as one entry; what needs more is refused before anything is changed. Zero is not known.
	LargestCommand int
	// Step is called before what At names; nil does nothing.
	Step func(step string) error
	// InTurn proposes one command after the other in the goroutine of the caller; else some are under way at a time.
	InTurn bool
}

// Restore puts a backup into a cluster without tables and returns its manifest; an empty name is the newest one. It can be repeated
// after a failure, with the same backup. Users and schedules come last, so that nobody but who was there before works with half of the rows.
func Restore(ctx context.Context, target Target, store objstore.Store, name string, progress Progress) (*Manifest, error) {
	store = patientStore{store, patient{target.Clock}}
	r, err := newReader(store)
	if err != nil {
		return nil, err
	}
	defer r.close()
	r.patient = patient{target.Clock}
	m, err := r.load(ctx, name)
	if err != nil {
		return nil, err
	}
	if err := chunksAreThere(ctx, store, m); err != nil {
		return nil, err
	}
	if err := target.waitFenced(ctx); err != nil {
		return nil, err
	}
	rs := &restorer{target: target, reader: r, manifest: m, progress: progress, tables: map[ident.TableID]*restoredTable{}}
	if err := rs.rowsFit(ctx); err != nil {
		return nil, err
	}
	return m, rs.run(ctx)
}

// waitFenced waits until every member heeds tokens: a cluster that was founded a moment ago, or that is being upgraded, may have one that is not
// known to.
func (t *Target) waitFenced(ctx context.Context) error {
	if t.Token == 0 {
		return nil
	}
	for until := t.Clock.Now().Add(patience); !t.Fenced(); {
		if t.Clock.Now().After(until) {
			return fault.New(fault.Unavailable, "a backup is restored once all members of the cluster run a version that refuses runs which lost their job; "+
				"upgrade all nodes, or start those that are away, then send the statement again")
		}
		if clock.Pause(ctx, t.Clock, 100*time.Millisecond) != nil {
			return context.Cause(ctx)
		}
	}
	return nil
}

// chunksAreThere looks for every chunk before anything is changed.
func chunksAreThere(ctx context.Context, store objstore.Store, m *Manifest) error {
	wanted := map[string]int64{}
	for _, group := range append([]Group{m.Catalog}, m.Groups...) {
		for _, chunk := range group.Chunks {
			if chunk == nil {
				return fmt.Errorf("%w: %s has a chunk without a name", ErrDamaged, group.Name)
			}
			wanted[chunk.SHA256] = chunk.StoredBytes
		}
	}
	err := store.List(ctx, chunkPrefix, func(info objstore.ObjectInfo) error {
		sum := info.Key[bytes.LastIndexByte([]byte(info.Key), '/')+1:]
		if size, ok := wanted[sum]; ok && size == info.Size {
			delete(wanted, sum)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for sum := range wanted {
		return fmt.Errorf("%w: %d chunks are missing or have another size, one of them %s", ErrDamaged, len(wanted), sum)
	}
	return nil
}

type restorer struct {
	target   Target
	reader   *reader
	manifest *Manifest
	progress Progress
	tables   map[ident.TableID]*restoredTable
	done     int64 // records
	already  bool  // a run of the same job restored all of it, and could not say so
}

// run restores what comes first, the rows, and what lets people in.
func (rs *restorer) run(ctx context.Context) error {
	steps := []struct {
		name string
		run  func() error
	}{
		{"catalog", func() error { return rs.catalog(ctx, false) }},
		{"begin", func() error { return rs.rows(ctx) }},
		{"check", func() error { return rs.check(ctx) }},
		{"users", func() error { return rs.catalog(ctx, true) }},
	}
	for _, step := range steps {
		if err := At(rs.target.Step, step.name); err != nil {
			return err
		}
		if err := step.run(); err != nil || rs.already {
			return err
		}
	}
	return At(rs.target.Step, "restored")
}

// restoredTable is what is needed to write rows of a table.
type restoredTable struct {
	*schema.Table
	decoder *schema.RowDecoder
	places  [][]int // of the columns of each index
	values  []datum.Datum
}

// comesLast reports whether a record of the catalog lets somebody in, or something begin.
func comesLast(kind keys.Kind) bool { return kind == keys.KindUser || kind == keys.KindSchedule }

// catalog restores the records of the catalog that come first, or those that come last.
func (rs *restorer) catalog(ctx context.Context, last bool) error {
	var waiting []*commandv1.CatalogRecord
	bytes := 0
	send := func(finish bool) error {
		err := inParts(waiting, true, func(records []*commandv1.CatalogRecord, end bool) error {
			body := rs.newCatalogCommand()
			body.Records, body.Finish = records, finish && end
			response, err := rs.execute(ctx, shard.Meta, &commandv1.Command{Body: &commandv1.Command_RestoreCatalog{RestoreCatalog: body}})
			rs.already = response.GetObjectId() != 0
			return err
		})
		waiting, bytes = nil, 0
		return err
	}
	for _, chunk := range rs.manifest.Catalog.Chunks {
		err := rs.reader.records(ctx, chunk, func(record *Record, _ []byte) error {
			_, kind, _, err := keys.Split(record.Key)
			if err != nil {
				return fmt.Errorf("%w: %w", ErrDamaged, err)
			}
			if comesLast(kind) != last {
				return nil
			}
			waiting = append(waiting, &commandv1.CatalogRecord{
				Key: append([]byte(nil), record.Key...), Value: append([]byte(nil), record.Value...),
			})
			if bytes += len(record.Key) + len(record.Value); bytes < batchBytes {
				return nil
			}
			return send(false)
		})
		if err != nil {
			return damaged(err)
		}
	}
	return send(last)
}

// inParts proposes all in one command. When the log takes no entry of that size, as with small segments, it proposes one half and then the
// other; end says whether a part is the last one.
func inParts[T any](all []T, end bool, propose func(part []T, end bool) error) error {
	err := propose(all, end)
	if len(all) < 2 || fault.KindOf(err) != fault.LimitExceeded {
		return err
	}
	if err := inParts(all[:len(all)/2], false, propose); err != nil {
		return err
	}
	return inParts(all[len(all)/2:], end, propose)
}

func (rs *restorer) newCatalogCommand() *commandv1.RestoreCatalog {
	return &commandv1.RestoreCatalog{
		Backup: rs.manifest.ClusterUID + "/" + rs.manifest.Name, LastTableId: uint64(rs.manifest.LastTableID), Job: rs.target.Job,
		Token: rs.target.Token,
	}
}

// damaged marks errors that the bytes of a backup are to blame for.
func damaged(err error) error {
	if errors.Is(err, errMalformed) {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return err
}

// rows proposes the rows of all chunks, each in the group that this cluster gives its owner.
func (rs *restorer) rows(ctx context.Context) error {
	if _, err := rs.target.Executor.Barrier(ctx, shard.Meta); err != nil {
		return err
	}
	current := rs.target.Catalog.Current()
	for _, t := range current.Tables() {
		if t.ID.Reserved() {
			continue
		}
		table, err := newRestoredTable(t)
		if err != nil {
			return err
		}
		rs.tables[t.ID] = table
	}
	cluster := current.Cluster()
	p := &proposer{
		rs: rs, shards: cluster.Shards, origin: originOf(cluster.UID), open: map[shard.GroupID]*openBatch{}, slots: make(chan struct{}, maxProposals),
	}
	if err := p.begin(ctx); err != nil {
		return err
	}
	all := max(int64(rs.manifest.Totals.Rows), 1) //nolint:gosec // a count
	for _, group := range rs.manifest.Groups {
		for _, chunk := range group.Chunks {
			rs.progress(uint32(min(100*rs.done/all, 99)), fmt.Sprintf("%d of %d rows", rs.done, all)) //nolint:gosec // a percentage
			if err := rs.reader.records(ctx, chunk, func(record *Record, _ []byte) error { return p.add(ctx, record) }); err != nil {
				return damaged(errors.Join(err, p.wait()))
			}
		}
	}
	return p.finish(ctx)
}

// check compares what every group holds now with the digests of the backup. Rows of stream tables may have ceased to exist.
func (rs *restorer) check(ctx context.Context) error {
	rs.progress(99, "comparing digests")
	digests := map[ident.TableID]*Digest{}
	groups := rs.target.Catalog.Current().Cluster().Shards.Groups()
	for _, group := range groups {
		if _, err := rs.target.Executor.Barrier(ctx, group); err != nil {
			return fmt.Errorf("wait for %s: %w", group, err)
		}
	}
	view := rs.target.Storage.NewSnapshot()
	defer view.Close() //nolint:errcheck // it was only read
	var encoded []byte
	for _, group := range groups {
		if group == shard.Meta {
			continue
		}
		err := rs.target.Rows.Rows(ctx, view, group, Walk{Visit: func(record *Record) error {
			if record.Table.Reserved() {
				return nil // it came with this cluster
			}
			encoded = appendRecord(encoded[:0], record)
			digestOf(digests, record.Table).add(record.Deleted, encoded)
			return nil
		}})
		if err != nil {
			return fmt.Errorf("read back %s: %w", group, err)
		}
	}
	for _, want := range rs.manifest.Tables {
		if table := rs.tables[want.ID]; table != nil && table.Kind == schema.KindStream {
			*digestOf(digests, want.ID) = want.Digest
		}
	}
	if problems := rs.manifest.compare(digests); len(problems) > 0 {
		return fmt.Errorf("%w: %s (%d tables differ)", ErrDamaged, problems[0], len(problems))
	}
	return nil
}

// execute replicates a command, again and again while its group cannot take it.
func (rs *restorer) execute(ctx context.Context, group shard.GroupID, cmd *commandv1.Command) (*commandv1.Response, error) {
	until := rs.target.Clock.Now().Add(patience)
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, 2*time.Second) {
		response, err := rs.target.Executor.Execute(ctx, group, cmd)
		kind := fault.KindOf(err)
		if err == nil || kind != fault.Unavailable && kind != fault.Overloaded && kind != fault.NotLeader && kind != fault.Timeout ||
			rs.target.Clock.Now().After(until) {
			return response, err
		}
		if clock.Pause(ctx, rs.target.Clock, pause) != nil {
			return nil, context.Cause(ctx)
		}
	}
}
