package schemachange

import (
	"context"
	"errors"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kalamdb/kalamdb-go/internal/applier"
	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/changelog"
	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// cluster applies commands at once, with the real appliers. before sees every command first; its error takes the place of
// the command.
type cluster struct {
	t      *testing.T
	store  *storage.Engine
	meta   *applier.Meta
	data   map[shard.GroupID]*applier.Data
	worker *Worker
	index  uint64
	before func(shard.GroupID, *commandv1.Command) error
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	store, err := storage.Open(storage.Options{FS: vfs.NewMem(), Dir: "store"})
	check(t, err)
	t.Cleanup(func() { check(t, store.Close()) })
	pictures := catalog.NewStore()
	c := &cluster{t: t, store: store, meta: applier.NewMeta(pictures), data: map[shard.GroupID]*applier.Data{}}
	check(t, c.meta.Restore(store))
	shards := shard.Map{UserShards: 2, SharedShards: 1}
	for _, group := range shards.Groups() {
		if group != shard.Meta {
			c.data[group] = applier.NewData(group, changelog.DefaultRetention(), nil)
			check(t, c.data[group].Restore(store))
		}
	}
	c.worker = &Worker{Catalog: pictures, Storage: store, Executor: c}
	c.must(shard.Meta, &commandv1.Command{Body: &commandv1.Command_Found{Found: &commandv1.Found{
		ClusterUid: make([]byte, 16), ClusterId: "test", UserShards: 2, SharedShards: 1,
		Member: &commandv1.Member{NodeId: 1, StoreId: []byte("0123456789abcdef"), RpcAddr: "a:1", ApiAddr: "a:2"},
	}}})
	return c
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Barrier implements executor.CommandExecutor.
func (c *cluster) Barrier(context.Context, shard.GroupID) (uint64, error) { return c.index, nil }

// Execute implements executor.CommandExecutor.
func (c *cluster) Execute(_ context.Context, group shard.GroupID, cmd *commandv1.Command) (*commandv1.Response, error) {
	if before := c.before; before != nil {
		c.before = nil // what it does itself goes through
		if err := before(group, cmd); err != nil {
			return nil, err
		}
		if c.before == nil {
			c.before = before
		}
	}
	batch := c.store.NewBatch()
	defer batch.Close() //nolint:errcheck // nothing is lost with it
	c.index++
	var response *commandv1.Response
	var err error
	if group == shard.Meta {
		if response, err = c.meta.Apply(batch, c.index, cmd); err == nil {
			err = c.meta.Finish(batch, c.index)
		}
	} else {
		if response, err = c.data[group].Apply(batch, c.index, cmd); err == nil {
			err = c.data[group].Finish(batch, c.index)
		}
	}
	check(c.t, err)
	check(c.t, c.store.Commit(batch))
	if group == shard.Meta {
		c.meta.Publish()
	}
	return response, command.Failure(response)
}

func (c *cluster) must(group shard.GroupID, cmd *commandv1.Command) *commandv1.Response {
	c.t.Helper()
	response, err := c.Execute(c.t.Context(), group, cmd)
	check(c.t, err)
	return response
}

// create makes a USER table of an id and a text.
func (c *cluster) create() *schema.Table {
	c.t.Helper()
	table := &schema.Table{Namespace: "default", Name: "notes", Kind: schema.KindUser, Columns: []schema.Column{
		{ID: 1, Name: "id", Type: datum.Of(datum.BigInt), PrimaryKey: true},
		{ID: 2, Name: "text", Type: datum.Of(datum.Text), Nullable: true},
	}}
	response := c.must(shard.Meta, &commandv1.Command{Body: &commandv1.Command_CreateTable{
		CreateTable: &commandv1.CreateTable{Table: catalog.TableToProto(table)},
	}})
	return c.table(response.GetObjectId())
}

func (c *cluster) table(id uint64) *schema.Table {
	c.t.Helper()
	found, ok := c.worker.Catalog.Current().TableByID(ident.TableID(id))
	if !ok {
		c.t.Fatal("the table is gone")
	}
	return found
}

// alter changes the descriptor.
func (c *cluster) alter(id ident.TableID, change func(*schema.Table)) {
	c.t.Helper()
	current := c.table(uint64(id))
	next := current.Clone()
	change(next)
	c.must(shard.Meta, &commandv1.Command{Body: &commandv1.Command_AlterTable{AlterTable: &commandv1.AlterTable{
		Table: catalog.TableToProto(next), ExpectRevision: current.Revision, Message: "altered",
	}}})
}

// write puts a row as a statement would that was planned with a descriptor.
func (c *cluster) write(table *schema.Table, group shard.GroupID, user string, id int64, text datum.Datum) error {
	row := []datum.Datum{datum.NewBigInt(id), text}
	write := &commandv1.RowWrite{
		TableId: uint64(table.ID), User: user, PrimaryKey: datum.AppendKey(nil, row[0]), Row: schema.EncodeRow(table, row),
	}
	for i := range table.Indexes {
		if x := &table.Indexes[i]; x.Maintained() {
			entry := &commandv1.IndexEntry{IndexId: x.ID}
			entry.Key, entry.Unique = schema.AppendIndexKey(nil, x, []int{1}, row)
			write.Index = append(write.Index, entry)
		}
	}
	_, err := c.Execute(c.t.Context(), group, &commandv1.Command{Body: &commandv1.Command_WriteRows{WriteRows: &commandv1.WriteRows{
		Revisions: []*commandv1.TableRevision{{TableId: uint64(table.ID), Revision: table.Revision}},
		Rows:      []*commandv1.RowWrite{write},
	}}})
	return err
}

func (c *cluster) entries(group shard.GroupID, table *schema.Table) (count int) {
	c.t.Helper()
	lo, hi := keys.IndexesSpan(group, table.ID)
	it, err := c.store.Scan(lo, hi)
	check(c.t, err)
	for ok := it.First(); ok; ok = it.Next() {
		count++
	}
	check(c.t, it.Close())
	return count
}

func addIndex(unique bool) func(*schema.Table) {
	return func(next *schema.Table) {
		next.Indexes = append(next.Indexes, schema.Index{
			ID: max(next.NextIndexID, 1), Name: "by_text", Columns: []uint32{2}, Unique: unique, State: schema.IndexBuilding,
		})
		next.NextIndexID = max(next.NextIndexID, 1) + 1
	}
}

const one, two = shard.GroupID(100), shard.GroupID(101)

// TestNoRowIsMissing: rows are written by statements of the old and of the new descriptor while the index is filled. Every
// row that is there in the end is in the index once, and whoever knew nothing of it was refused once it was being filled.
func TestNoRowIsMissing(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	old := c.create()
	text := datum.NewText("x")
	for id := range int64(2 * chunkRows) {
		check(t, c.write(old, one, "u", id, text))
	}
	c.alter(old.ID, addIndex(false))
	fresh := c.table(uint64(old.ID))
	check(t, c.write(old, two, "v", 1, text)) // before the fence
	next := int64(10_000)
	refusedOld := 0
	c.before = func(group shard.GroupID, cmd *commandv1.Command) error {
		if group == shard.Meta || cmd.GetIndexRows() == nil {
			return nil
		}
		// The chunk has been read and is not applied yet.
		next++
		check(t, c.write(fresh, group, "w", next, text))
		check(t, c.write(fresh, one, "u", next%int64(chunkRows), text)) // changes a row of a chunk
		if err := c.write(old, group, "w", next+1000, text); fault.KindOf(err) != fault.Altered {
			t.Errorf("a write of the old descriptor: %v", err)
		}
		refusedOld++
		return nil
	}
	worked, err := c.worker.Finish(t.Context(), old.ID, nil)
	if !worked || err != nil {
		t.Fatalf("finish: %v, %v", worked, err)
	}
	c.before = nil
	if refusedOld < 4 {
		t.Errorf("%d chunks, want 3 in one group and 1 in the other", refusedOld)
	}
	done := c.table(uint64(old.ID))
	if done.Unfinished() || done.Indexes[0].State != schema.IndexReady {
		t.Errorf("the index is %s", done.Indexes[0].State)
	}
	for group, want := range map[shard.GroupID]int{one: 2*chunkRows + refusedOld - 1, two: 1 + 1} {
		if got := c.entries(group, old); got != want {
			t.Errorf("%d entries in %s, want %d", got, group, want)
		}
	}
	if worked, err := c.worker.Finish(t.Context(), old.ID, nil); worked || err != nil {
		t.Errorf("finish again: %v, %v", worked, err)
	}
}

// TestOldWriterLeavesNoEntry: between the moment at which the first statement knows of an index and the fence, one that does not cannot take
// away a row that has an entry, and leave the entry.
func TestOldWriterLeavesNoEntry(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	old := c.create()
	check(t, c.write(old, one, "u", 1, datum.NewText("x")))
	c.alter(old.ID, func(next *schema.Table) {
		addIndex(false)(next)
		next.Version++ // as CREATE INDEX does
	})
	check(t, c.write(c.table(uint64(old.ID)), one, "u", 1, datum.NewText("y")))
	row := []datum.Datum{datum.NewBigInt(1), datum.NewText("y")}
	remove := &commandv1.Command{Body: &commandv1.Command_WriteRows{WriteRows: &commandv1.WriteRows{
		Revisions: []*commandv1.TableRevision{{TableId: uint64(old.ID), Revision: old.Revision}},
		Rows: []*commandv1.RowWrite{{
			TableId: uint64(old.ID), User: "u", PrimaryKey: datum.AppendKey(nil, row[0]), Row: schema.EncodeRow(old, row), Deleted: true,
		}},
	}}}
	if _, err := c.Execute(t.Context(), one, remove); fault.KindOf(err) != fault.Altered {
		t.Errorf("a deletion by the old descriptor: %v", err)
	}
	if worked, err := c.worker.Finish(t.Context(), old.ID, nil); !worked || err != nil {
		t.Fatalf("finish: %v, %v", worked, err)
	}
	if got := c.entries(one, old); got != 1 {
		t.Errorf("%d entries for one row", got)
	}
}

// TestInterruptedWorkGoesOn: whichever command is lost, the next worker finishes.
func TestInterruptedWorkGoesOn(t *testing.T) {
	t.Parallel()
	interrupted := errors.New("interrupted")
	for stop := 1; ; stop++ {
		c := newCluster(t)
		old := c.create()
		for id := range int64(5) {
			check(t, c.write(old, one, "u", id, datum.NewText("x")))
		}
		c.alter(old.ID, addIndex(false))
		commands := 0
		c.before = func(shard.GroupID, *commandv1.Command) error {
			if commands++; commands == stop {
				return interrupted
			}
			return nil
		}
		_, err := c.worker.Finish(t.Context(), old.ID, nil)
		c.before = nil
		if err == nil {
			if stop < 5 {
				t.Errorf("only %d commands", stop)
			}
			return
		}
		if !errors.Is(err, interrupted) {
			t.Fatal(err)
		}
		if worked, err := c.worker.Finish(t.Context(), old.ID, nil); !worked || err != nil {
			t.Fatalf("after command %d was lost: %v, %v", stop, worked, err)
		}
		if got := c.entries(one, old); got != 5 || c.table(uint64(old.ID)).Unfinished() {
			t.Fatalf("after command %d was lost: %d entries", stop, got)
		}
	}
}

// TestForbiddenChangesAreTakenBack: two rows of one user with one value, and a NULL.
func TestForbiddenChangesAreTakenBack(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	old := c.create()
	check(t, c.write(old, one, "u", 1, datum.NewText("x")))
	check(t, c.write(old, one, "v", 1, datum.NewText("x"))) // another user's
	check(t, c.write(old, two, "w", 1, datum.Datum{}))
	check(t, c.write(old, two, "w", 2, datum.Datum{})) // NULL equals nothing
	c.alter(old.ID, addIndex(true))
	if _, err := c.worker.Finish(t.Context(), old.ID, nil); err != nil {
		t.Fatalf("no user has a value twice: %v", err)
	}
	c.alter(old.ID, func(next *schema.Table) { next.Indexes[0].State = schema.IndexDropping })
	if _, err := c.worker.Finish(t.Context(), old.ID, nil); err != nil || c.entries(one, old)+c.entries(two, old) != 0 {
		t.Fatalf("drop: %v, %d entries are left", err, c.entries(one, old)+c.entries(two, old))
	}
	check(t, c.write(c.table(uint64(old.ID)), one, "u", 2, datum.NewText("x")))
	c.alter(old.ID, addIndex(true))
	if _, err := c.worker.Finish(t.Context(), old.ID, nil); fault.KindOf(err) != fault.DuplicateKey {
		t.Errorf("a value twice: %v", err)
	}
	table := c.table(uint64(old.ID))
	if len(table.Indexes) != 0 || c.entries(one, old)+c.entries(two, old) != 0 {
		t.Errorf("the index is still there: %v", table.Indexes)
	}
	c.alter(old.ID, func(next *schema.Table) { next.Columns[1].Proof = schema.ProofPending })
	if _, err := c.worker.Finish(t.Context(), old.ID, nil); fault.KindOf(err) != fault.NotNull {
		t.Errorf("NULLs: %v", err)
	}
	if column := c.table(uint64(old.ID)).Columns[1]; !column.Nullable || column.Required() {
		t.Errorf("the column is %+v", column)
	}
	c.alter(old.ID, func(next *schema.Table) {
		next.Columns = append(next.Columns, schema.Column{
			ID: 3, Name: "must", Type: datum.Of(datum.Int), Nullable: true, Proof: schema.ProofOfAdded, AddedIn: 9,
		})
		next.NextColumnID = 4
		next.Indexes = append(next.Indexes, schema.Index{
			ID: next.NextIndexID, Name: "must_key", Columns: []uint32{3}, Unique: true, State: schema.IndexBuilding,
		})
		next.NextIndexID++
	})
	if _, err := c.worker.Finish(t.Context(), old.ID, nil); fault.KindOf(err) != fault.NotNull {
		t.Errorf("a column without values: %v", err)
	}
	if table := c.table(uint64(old.ID)); len(table.Columns) != 2 || len(table.Indexes) != 0 {
		t.Errorf("the column or its index stayed: %+v, %+v", table.Columns, table.Indexes)
	}
}
