package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/backup"
	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/multiraft"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
	"github.com/kalamdb/kalamdb-go/internal/storage/objstore"
)

// BackupOptions say how much is measured.
type BackupOptions struct {
	Rows    int // of the table
	Changed int // rows that change before the second backup
	Places  int // in which they lie
	Cold    int // percent of the rows that are in segments
}

// Validate reports the first option that cannot work.
func (o BackupOptions) Validate() error {
	switch {
	case o.Rows < wideBatch:
		return fmt.Errorf("want at least %d rows", wideBatch)
	case o.Places < 1 || o.Changed < o.Places || o.Changed > o.Rows:
		return errors.New("want from one row in each place to all rows to change")
	case o.Cold < 0 || o.Cold > 100: //nolint:mnd // percent
		return errors.New("want 0 to 100 percent of cold rows")
	}
	return nil
}

// backupCase is one printed result.
type backupCase struct {
	Case         string  `json:"case"`
	Rows         int     `json:"rows"`
	Seconds      float64 `json:"seconds"`
	CPUSeconds   float64 `json:"cpu_seconds"` // of the process, with what the store does meanwhile
	RowsPerS     float64 `json:"rows_per_s"`
	Bytes        int64   `json:"bytes"`         // of rows, not compressed
	StoredBytes  int64   `json:"stored_bytes"`  // of the chunks that the backup consists of
	WrittenBytes int64   `json:"written_bytes"` // of those, what was not there before
	UnreadBytes  int64   `json:"unread_bytes"`  // of the rows, those that were taken over without being read
	Chunks       int     `json:"chunks"`
	NewChunks    int     `json:"new_chunks"`
}

// Backup measures what backups take: the first one of a table of eight columns, the next one after some rows have changed, a look at
// every byte of that, and its way back into an empty node. The engine is in this process, over a store on disk, and so are the backups. It prints one JSON
// object for each case.
func Backup(ctx context.Context, o BackupOptions, out io.Writer) (err error) {
	if err = o.Validate(); err != nil {
		return err
	}
	place, err := os.MkdirTemp("", "kalamdb-backups-")
	if err != nil {
		return fmt.Errorf("make a directory: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(place)) }()
	store, err := objstore.OpenDir(disk.Local(), filepath.Join(place, "backups"))
	if err != nil {
		return err
	}
	return withSQLEngine(ctx, func(e *sqlEngine) error {
		b := &backupBench{engine: e, options: o, store: store, out: json.NewEncoder(out)}
		for _, step := range []func(context.Context) error{b.fill, b.first, b.next, b.verify, b.restore} {
			if err := step(ctx); err != nil {
				return err
			}
		}
		return nil
	})
}

type backupBench struct {
	engine  *sqlEngine
	options BackupOptions
	store   objstore.Store
	out     *json.Encoder
}

func silently(uint32, string) {}

// fill makes the table, and moves it from memory to files.
func (b *backupBench) fill(ctx context.Context) error {
	if err := b.engine.statement(ctx, "CREATE NAMESPACE bench"); err != nil {
		return err
	}
	id, err := b.engine.makeWide(ctx, "kept")
	if err != nil {
		return err
	}
	cold := b.options.Rows * b.options.Cold / 100 / wideBatch * wideBatch
	if err := b.engine.fillWide(ctx, "kept", 1, cold); err != nil {
		return err
	}
	if cold > 0 {
		if _, err := b.engine.flusher().Table(ctx, id, nil); err != nil {
			return err
		}
	}
	if err := b.engine.fillWide(ctx, "kept", 1+cold, b.options.Rows/wideBatch*wideBatch-cold); err != nil {
		return err
	}
	return b.engine.store.Flush()
}

// measure runs something and prints what it took.
func (b *backupBench) measure(name string, run func() (*backup.Manifest, error)) error {
	busy, started := cpuTime(), time.Now()
	m, err := run()
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	took, t := time.Since(started).Seconds(), m.Totals
	return b.out.Encode(backupCase{
		Case: name, Rows: int(t.Rows), Seconds: took, CPUSeconds: (cpuTime() - busy).Seconds(), RowsPerS: float64(t.Rows) / took, Bytes: t.Bytes,
		StoredBytes: t.StoredBytes, WrittenBytes: t.WrittenBytes, UnreadBytes: t.UnreadBytes, Chunks: t.Chunks, NewChunks: t.NewChunks,
	})
}

func (b *backupBench) write(ctx context.Context, name string) error {
	e := b.engine
	return b.measure(name, func() (*backup.Manifest, error) {
		return backup.Write(ctx, backup.Source{
			Storage: e.store, Catalog: e.tables, Executor: e.direct, Rows: backup.AllRows{Cold: e.cold}, Applied: multiraft.ReadApplied, Clock: clock.Real{},
		}, b.store, silently)
	})
}

func (b *backupBench) first(ctx context.Context) error { return b.write(ctx, "backup_first") }

// next changes rows in places that lie as far apart as they can, and makes the second backup.
func (b *backupBench) next(ctx context.Context) error {
	each := b.options.Changed / b.options.Places
	for place := range b.options.Places {
		from := 1 + place*(b.options.Rows/b.options.Places)
		sql := fmt.Sprintf("UPDATE kept SET amount = amount + 1 WHERE id >= %d AND id < %d", from, from+each)
		if err := b.engine.statement(ctx, sql); err != nil {
			return err
		}
	}
	if err := b.engine.store.Flush(); err != nil {
		return err
	}
	return b.write(ctx, "backup_next")
}

func (b *backupBench) verify(ctx context.Context) error {
	return b.measure("verify", func() (*backup.Manifest, error) {
		report, err := backup.Verify(ctx, b.store, "", silently)
		if err != nil {
			return nil, err
		}
		if len(report.Problems) > 0 {
			return nil, fmt.Errorf("the backup is damaged: %s", report.Problems[0])
		}
		return report.Manifest, nil
	})
}

func (b *backupBench) restore(ctx context.Context) error {
	return withSQLEngine(ctx, func(empty *sqlEngine) error {
		return b.measure("restore", func() (*backup.Manifest, error) {
			return backup.Restore(ctx, backup.Target{
				Storage: empty.store, Catalog: empty.tables, Executor: empty.direct, Rows: backup.AllRows{Cold: empty.cold}, Clock: clock.Real{},
			}, b.store, "", silently)
		})
	})
}
