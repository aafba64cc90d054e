package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2/sstable"

	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
)

// Inspection is what Inspect found in the files of a store.
type Inspection struct {
	Tables int   // table files that the store consists of
	Bytes  int64 // of them
	Damage []FileError
	Notes  []FileError // wrong or unneeded, and harmless
}

// FileError is what is the matter with one file of a store.
type FileError struct {
	Path string
	Err  error
}

// Inspect verifies every block of every table of a store that nobody has open, and the list of tables. It changes no
// file. The engine is open for reading, and nil when it cannot be opened; the caller closes it. The error is
// about a directory that cannot be read at all.
func Inspect(o Options) (*Engine, Inspection, error) {
	var found Inspection
	names, err := o.FS.List(o.Dir)
	if err != nil {
		return nil, found, fmt.Errorf("inspect store: list %s: %w", o.Dir, err)
	}
	o.readOnly = true
	engine, err := Open(o)
	if err != nil {
		if errors.Is(err, fs.ErrPermission) {
			return nil, found, err
		}
		found.Damage = append(found.Damage, FileError{Path: o.Dir, Err: err})
	}
	live, err := engine.liveTables()
	if err != nil {
		return engine, found, err
	}
	slices.Sort(names)
	for _, name := range names {
		if !strings.HasSuffix(name, tableSuffix) {
			continue
		}
		path := o.FS.PathJoin(o.Dir, name)
		size, err := VerifyTable(o.FS, path)
		isLive := engine == nil || live[name]
		if isLive {
			found.Tables++
			found.Bytes += size
		} else {
			found.Notes = append(found.Notes, FileError{Path: path, Err: errors.New("belongs to the store no more, or not yet")})
		}
		if err != nil && isLive {
			found.Damage = append(found.Damage, FileError{Path: path, Err: err})
		}
	}
	return engine, found, nil
}

const tableSuffix = ".sst"

// liveTables are the names of the files that the store consists of.
func (e *Engine) liveTables() (map[string]bool, error) {
	live := make(map[string]bool)
	if e == nil {
		return live, nil
	}
	levels, err := e.db.SSTables()
	if err != nil {
		return nil, wrap(err, "list tables")
	}
	for _, level := range levels {
		for i := range level {
			live[level[i].BackingSSTNum.String()+tableSuffix] = true
		}
	}
	return live, nil
}

// VerifyTable verifies the checksum of every block of a table file. What is wrong with its bytes is ErrCorruption.
func VerifyTable(fsys disk.FS, path string) (sizeBytes int64, err error) {
	f, err := fsys.Open(path)
	if err != nil {
		return 0, fmt.Errorf("open table file: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		return 0, errors.Join(fmt.Errorf("table file: %w", err), f.Close())
	}
	readable, err := sstable.NewSimpleReadable(f)
	if err != nil {
		return info.Size(), errors.Join(wrap(err, "table file %s", path), f.Close())
	}
	logger := slog.New(slog.DiscardHandler)
	options := (&Engine{logger: logger}).pebbleOptions(Options{FS: fsys, Logger: logger})
	options.EnsureDefaults()
	table, err := sstable.NewReader(context.Background(), readable, options.MakeReaderOptions())
	if err != nil {
		return info.Size(), errors.Join(wrap(err, "table file %s", path), readable.Close())
	}
	err = wrap(table.ValidateBlockChecksums(), "table file %s", path)
	return info.Size(), errors.Join(err, wrap(table.Close(), "table file %s", path))
}
