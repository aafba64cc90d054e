package server

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kalamdb/kalamdb-go/internal/backup"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/objstore"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// countedRows counts the rows that are read.
type countedRows struct {
	of   backup.Rows
	read int
}

func (c *countedRows) Rows(ctx context.Context, view storage.Reader, group shard.GroupID, walk backup.Walk) error {
	visit := walk.Visit
	walk.Visit = func(r *backup.Record) error {
		if !r.Table.Reserved() {
			c.read++
		}
		return visit(r)
	}
	return c.of.Rows(ctx, view, group, walk)
}

// countedStore counts the bytes that are written.
type countedStore struct {
	objstore.Store
	written atomic.Int64
}

func (c *countedStore) Put(ctx context.Context, key string, body io.Reader, size int64, opts objstore.PutOptions) (objstore.ObjectInfo, error) {
	if strings.HasPrefix(key, "chunks/") {
		c.written.Add(size)
	}
	return c.Store.Put(ctx, key, body, size, opts)
}

// incremental is a place that is backed up to again and again.
type incremental struct {
	t     *testing.T
	n     *Node
	place objstore.Store
	job   uint64
}

// again makes a backup that the cluster remembers, and returns how many rows were read and bytes written. It holds the same rows as one that is made
// at an empty place at that time.
func (i *incremental) again(what string) (read int, written int64) {
	i.t.Helper()
	write := func(place objstore.Store) (*backup.Manifest, int, int64) {
		i.t.Helper()
		source := backupSource(i.n)
		rows, store := &countedRows{of: source.Rows}, &countedStore{Store: place}
		source.Rows, source.ChunkBytes = rows, 32<<10
		m, err := backup.Write(i.t.Context(), source, store, quiet)
		if err != nil {
			i.t.Fatalf("%s: %v", what, err)
		}
		report, err := backup.Verify(i.t.Context(), place, m.Name, quiet)
		if err != nil || len(report.Problems) > 0 {
			i.t.Fatalf("%s: %v %+v", what, err, report)
		}
		return m, rows.read, store.written.Load()
	}
	m, read, written := write(i.place)
	i.job++
	if _, err := i.n.exec.Execute(i.t.Context(), shard.Meta, &commandv1.Command{Body: &commandv1.Command_RecordBackup{
		RecordBackup: &commandv1.RecordBackup{Backup: &commandv1.Backup{Name: m.Name, Location: "x", Job: 1<<20 + i.job}},
	}}); err != nil {
		i.t.Fatal(err)
	}
	empty, err := objstore.OpenDir(vfs.NewMem(), "/backups")
	if err != nil {
		i.t.Fatal(err)
	}
	whole, all, _ := write(empty)
	if !slices.Equal(m.Tables, whole.Tables) {
		i.t.Errorf("%s: it holds\n%+v\na backup at an empty place\n%+v", what, m.Tables, whole.Tables)
	}
	i.t.Logf("%s: %d of %d rows read, %d bytes of %d written; %d of %d bytes of content not read", what, read, all, written, m.Totals.StoredBytes,
		m.Totals.UnreadBytes, m.Totals.Bytes)
	return read, written
}

// TestUnchangedIsNotRead counts what a backup reads and writes when an earlier one of the same place has most of the rows: nothing when nothing changed;
// of cold rows only those around keys that are written or flushed since; of hot ones those whose scopes were written to.
func TestUnchangedIsNotRead(t *testing.T) {
	t.Parallel()
	n, root := oneNode(t, withShards(1, 1))
	root.sql("CREATE NAMESPACE app")
	root.sql("CREATE SHARED TABLE app.t (id BIGINT PRIMARY KEY, body TEXT)")
	root.sql("CREATE SHARED TABLE app.hot (id BIGINT PRIMARY KEY, body TEXT)")
	root.sql("CREATE USER TABLE app.own (id BIGINT PRIMARY KEY, body TEXT)")
	random := rand.NewChaCha8([32]byte{9})
	insert := func(table string, from, to int) {
		t.Helper()
		for ; from < to; from += 250 {
			var rows []string
			for id := from; id < min(from+250, to); id++ {
				body := make([]byte, 200)
				_, _ = random.Read(body)
				rows = append(rows, fmt.Sprintf("(%d, '%x')", id, body))
			}
			root.sql("INSERT INTO " + table + " VALUES " + strings.Join(rows, ", "))
		}
	}
	insert("app.t", 0, 6000)
	completed(t, n, root, "STORAGE FLUSH TABLE app.t")
	insert("app.hot", 0, 1500)
	insert("app.own", 0, 500)
	place, err := objstore.OpenDir(vfs.NewMem(), "/backups")
	if err != nil {
		t.Fatal(err)
	}
	i := &incremental{t: t, n: n, place: place}
	const all = 6000 + 1500 + 500
	if read, written := i.again("the first"); read != all || written == 0 {
		t.Errorf("the first backup reads %d rows and writes %d bytes", read, written)
	}
	if read, written := i.again("nothing changed"); read != 0 || written != 0 {
		t.Errorf("a backup of what did not change reads %d rows and writes %d bytes", read, written)
	}
	root.sql("UPDATE app.own SET body = 'new' WHERE id = 1")
	if read, _ := i.again("a private row changed"); read == 0 || read > 500 {
		t.Errorf("after a change of a private row %d rows are read", read)
	}
	insert("app.t", 6000, 6100)
	if read, _ := i.again("new hot rows of a table with cold ones"); read == 0 || read > 1500 {
		t.Errorf("after new rows %d rows are read", read)
	}
	completed(t, n, root, "STORAGE FLUSH TABLE app.t")
	if read, _ := i.again("they are cold"); read == 0 || read > 1500 {
		t.Errorf("after a flush of new rows %d rows are read", read)
	}
	root.sql("UPDATE app.t SET body = 'other' WHERE id = 3000")
	root.sql("DELETE FROM app.t WHERE id = 10")
	if read, _ := i.again("two cold rows changed"); read == 0 || read > 1500 {
		t.Errorf("after changes of two cold rows %d rows are read", read)
	}
	completed(t, n, root, "STORAGE FLUSH TABLE app.t")
	if read, _ := i.again("the changes are cold"); read > 4500 {
		t.Errorf("after a flush of the changes %d rows are read", read)
	}
	completed(t, n, root, "STORAGE COMPACT TABLE app.t")
	i.again("all is merged")
	root.sql("ALTER TABLE app.t ADD COLUMN more INT")
	if read, _ := i.again("a column came"); read < 6000 || read > 7500 {
		t.Errorf("after a change of columns %d rows are read", read)
	}
	root.sql("DROP TABLE app.hot")
	if read, _ := i.again("a table went"); read > 3000 {
		t.Errorf("without a table %d rows are read", read)
	}
	i.interrupted()

	fresh, there := oneNode(t, withShards(2, 1))
	target := backup.Target{Storage: fresh.store, Catalog: fresh.catalog, Executor: fresh.exec, Rows: backup.HotRows{}, Clock: fresh.clock}
	if _, err := backup.Restore(t.Context(), target, place, "", quiet); err != nil {
		t.Fatal(err)
	}
	for _, query := range []string{
		"SELECT count(*), sum(id), min(body), max(body) FROM app.t", "SELECT id, body FROM app.t WHERE id IN (10, 3000, 6050)",
		"SELECT count(*), sum(id), min(body), max(body) FROM app.own",
	} {
		if got, want := there.grid(query), root.grid(query); got != want {
			t.Errorf("%s: restored %s, want %s", query, got, want)
		}
	}
}

// interrupted takes the objects of chunks away that the next backup would take over: it reads their rows and writes them again.
func (i *incremental) interrupted() {
	i.t.Helper()
	m, err := backup.Load(i.t.Context(), i.place, "")
	if err != nil {
		i.t.Fatal(err)
	}
	for _, group := range m.Groups {
		if len(group.Chunks) == 0 {
			continue
		}
		sum := group.Chunks[0].SHA256
		if err := i.place.Delete(i.t.Context(), "chunks/"+sum[:2]+"/"+sum); err != nil {
			i.t.Fatal(err)
		}
	}
	if read, written := i.again("chunks are lost"); read == 0 || written == 0 {
		i.t.Errorf("when chunks are lost %d rows are read and %d bytes written", read, written)
	}
}
