package storage

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
)

// retryPause is how long Pebble has to wait for a new file once the store has failed.
const retryPause = 50 * time.Millisecond

// guarded is the file system as the store and the files beside it see it. What the disk fails ends the store, whoever
// asked: the statement, the apply, the compaction or the snapshot that met it gets the disk's error, but the next one might
// find the block in the cache and go on as if nothing was lost, or try again for ever. And once the store has failed
// no new file is begun: Pebble repeats a failed compaction at once, with nothing between but the disk's answer. What it flushes then does not
// come here (see ending).
type guarded struct {
	vfs.FS
	engine *Engine
	pebble bool // the file system of Pebble, and not of what lies beside the store
}

// judge ends the engine for an error that says that the disk does not do its work.
func (g *guarded) judge(what, path string, err error) error {
	if brokenDisk(err) {
		g.engine.fail(fmt.Errorf("%s %s: %w", what, path, err))
	}
	return err
}

// brokenDisk reports whether an error is the disk's. The end of a file, one that is not there and one that was closed are
// the reader's business: Pebble makes corruption of the first two where a file should be longer, or be there. Whoever
// finds no room, too many open files or too little memory is told, and may try again.
func brokenDisk(err error) bool {
	if err == nil || disk.IsFull(err) {
		return false
	}
	for _, other := range []error{
		io.EOF, io.ErrUnexpectedEOF, os.ErrNotExist, os.ErrExist, os.ErrClosed,
		syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.EAGAIN, syscall.EINTR,
	} {
		if errors.Is(err, other) {
			return false
		}
	}
	return true
}

func (g *guarded) file(what, name string, f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, g.judge(what, name, err)
	}
	return &guardedFile{File: f, g: g, name: name}, nil
}

// Open implements vfs.FS.
func (g *guarded) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	f, err := g.FS.Open(name, opts...)
	return g.file("open", name, f, err)
}

// Create implements vfs.FS.
func (g *guarded) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if err := g.engine.Failure(); err != nil {
		if g.pebble {
			g.engine.rest()
		}
		return nil, err
	}
	f, err := g.FS.Create(name, category)
	return g.file("create", name, f, err)
}

// OpenDir implements vfs.FS.
func (g *guarded) OpenDir(name string) (vfs.File, error) {
	f, err := g.FS.OpenDir(name)
	return g.file("open", name, f, err)
}

// Unwrap implements vfs.FS.
func (g *guarded) Unwrap() vfs.FS { return g.FS }

type guardedFile struct {
	vfs.File
	g    *guarded
	name string
}

// Read implements vfs.File.
func (f *guardedFile) Read(p []byte) (int, error) {
	n, err := f.File.Read(p)
	return n, f.g.judge("read", f.name, err)
}

// ReadAt implements vfs.File.
func (f *guardedFile) ReadAt(p []byte, offset int64) (int, error) {
	n, err := f.File.ReadAt(p, offset)
	return n, f.g.judge("read", f.name, err)
}

// Write implements vfs.File.
func (f *guardedFile) Write(p []byte) (int, error) {
	n, err := f.File.Write(p)
	return n, f.g.judge("write", f.name, err)
}

// Sync implements vfs.File.
func (f *guardedFile) Sync() error { return f.g.judge("sync", f.name, f.File.Sync()) }

// SyncData implements vfs.File.
func (f *guardedFile) SyncData() error { return f.g.judge("sync", f.name, f.File.SyncData()) }

// SyncTo implements vfs.File.
func (f *guardedFile) SyncTo(length int64) (fullSync bool, err error) {
	fullSync, err = f.File.SyncTo(length)
	return fullSync, f.g.judge("sync", f.name, err)
}
