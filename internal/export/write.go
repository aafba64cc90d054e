package export

import (
	"archive/zip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/cold"
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/executor"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/objstore"
	"github.com/kalamdb/kalamdb-go/internal/table"
)

const (
	format      = 1
	aboutName   = "export.json"
	accountName = "account.json"
)

// Source is where rows come from. All fields are required but Cold, which may be nil when no table has cold rows.
type Source struct {
	Storage  *storage.Engine
	Catalog  *catalog.Store
	Executor executor.CommandExecutor // for barriers
	Cold     *cold.Store
	Clock    clock.Clock
}

// Progress is told how far something is.
type Progress func(percent uint32, text string)

// About is the file export.json of an export.
type About struct {
	Format    int       `json:"format"`
	User      string    `json:"user"`
	ClusterID string    `json:"cluster_id"`
	Created   time.Time `json:"created"`
	Tables    []Table   `json:"tables"`
}

// Table is one table in an export.
type Table struct {
	Namespace string   `json:"namespace"`
	Name      string   `json:"name"`
	Type      string   `json:"type"`
	Columns   []Column `json:"columns"`
	Rows      int64    `json:"rows"`
	JSON      string   `json:"json"`              // name of the file
	Parquet   string   `json:"parquet,omitempty"` // the same; a table without rows has none
}

// Column is one column of a table.
type Column struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

// account is the file account.json: what is stored about the user, without the hash of the password.
type account struct {
	User    string    `json:"user"`
	Role    string    `json:"role"`
	Email   string    `json:"email"`
	Created time.Time `json:"created"`
}

// Write writes the export of a user and says what is in it. What was acknowledged before the call is in it.
func Write(ctx context.Context, source *Source, user ident.UserID, to io.Writer, progress Progress) (*About, error) {
	cluster := source.Catalog.Current().Cluster()
	if cluster == nil {
		return nil, errors.New("the cluster is not founded yet")
	}
	for _, group := range []shard.GroupID{shard.Meta, cluster.Shards.RouteUser(user)} {
		if _, err := source.Executor.Barrier(ctx, group); err != nil {
			return nil, fmt.Errorf("wait for %s: %w", group, err)
		}
	}
	view := source.Storage.NewSnapshot()
	defer view.Close() //nolint:errcheck // it was only read
	picture, err := catalog.Load(view)
	if err != nil {
		return nil, err
	}
	owner, exists := picture.User(user)
	if !exists {
		return nil, fault.New(fault.NotFound, "user '%s' does not exist any more", user)
	}
	now := source.Clock.Now().UTC()
	w := &writer{
		source: source, view: view, user: user, shards: cluster.Shards, zip: zip.NewWriter(to), now: now, progress: progress,
		about: &About{Format: format, User: string(user), ClusterID: cluster.ID, Created: now, Tables: []Table{}},
	}
	if err := w.document(accountName, account{
		User: string(user), Role: owner.Role.String(), Email: owner.Email, Created: time.UnixMicro(owner.CreatedMicros).UTC(),
	}); err != nil {
		return nil, err
	}
	var tables []*schema.Table
	for _, t := range picture.Tables() {
		// No node has all the rows of a node-local table; they are as short-lived as presence.
		if (t.Kind == schema.KindUser || t.Kind == schema.KindStream) && !t.NodeLocal() {
			tables = append(tables, t)
		}
	}
	for i, t := range tables {
		w.percent = uint32(100 * i / len(tables)) //nolint:gosec // a percentage
		if err := w.table(ctx, t); err != nil {
			return nil, fmt.Errorf("export %s: %w", t.FullName(), err)
		}
	}
	if err := w.document(aboutName, w.about); err != nil {
		return nil, err
	}
	return w.about, w.zip.Close()
}

// writer makes one export.
type writer struct {
	source   *Source
	view     storage.Reader
	user     ident.UserID
	shards   shard.Map
	zip      *zip.Writer
	now      time.Time
	about    *About
	progress Progress
	percent  uint32
	rows     int64 // of all tables, each read twice
}

// file begins a file of the archive. Parquet is compressed in itself.
func (w *writer) file(name string, method uint16) (io.Writer, error) {
	return w.zip.CreateHeader(&zip.FileHeader{Name: name, Method: method, Modified: w.now})
}

func (w *writer) document(name string, content any) error {
	out, err := w.file(name, zip.Deflate)
	if err != nil {
		return err
	}
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "  ")
	return encoder.Encode(content)
}

// table writes both files of a table.
func (w *writer) table(ctx context.Context, t *schema.Table) error {
	name := objstore.EscapeSegment(t.Namespace) + "/" + objstore.EscapeSegment(t.Name)
	entry := Table{Namespace: t.Namespace, Name: t.Name, Type: t.Kind.String(), JSON: name + ".json"}
	for i := range t.Columns {
		entry.Columns = append(entry.Columns, Column{Name: t.Columns[i].Name, Type: t.Columns[i].Type.String()})
	}
	out, err := w.file(entry.JSON, zip.Deflate)
	if err != nil {
		return err
	}
	if entry.Rows, err = w.writeJSON(ctx, t, out); err != nil {
		return err
	}
	if entry.Rows > 0 {
		entry.Parquet = name + ".parquet"
		if out, err = w.file(entry.Parquet, zip.Store); err != nil {
			return err
		}
		rows, err := w.writeParquet(ctx, t, out)
		if err != nil {
			return err
		}
		if rows != entry.Rows {
			return fmt.Errorf("one view of the store shows %d rows and then %d", entry.Rows, rows)
		}
	}
	w.about.Tables = append(w.about.Tables, entry)
	return nil
}

// each visits the live rows of a table in the order of their keys; what is given is valid until the next one.
func (w *writer) each(ctx context.Context, t *schema.Table, visit func(c *table.Cursor, row []datum.Datum) error) (rows int64, err error) {
	scope := table.UserScope(t, w.shards, w.user)
	scope.Cold = w.source.Cold
	cursor, err := table.Open(w.view, scope, table.Bounds{}, table.ScanOptions{NowMicros: w.now.UnixMicro()})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, cursor.Close()) }()
	row := make([]datum.Datum, len(t.Columns)+2)
	for {
		if rows%1024 == 0 {
			if ctx.Err() != nil {
				return rows, context.Cause(ctx)
			}
			w.progress(w.percent, fmt.Sprintf("%s, %d rows written", t.FullName(), w.rows))
		}
		found, err := cursor.Next(row)
		if err != nil || !found {
			return rows, err
		}
		if err := visit(cursor, row); err != nil {
			return rows, err
		}
		rows++
		w.rows++
	}
}
