// Package faultfs is a file system for tests that shows every change to a hook before it happens.
//
// Wrap puts it around any disk.FS. The hook sees creations, writes, syncs, renames and removals, numbered
// from 1 in the order they are made; it can take a crash clone of the file system below, count, or return an error,
// which then is the result of the operation and nothing is done. A *TornError error lets the first part of a write
// through.
//
// Reads are shown by WrapReads only. The hook is called by whoever changes something, with no lock held; concurrent
// changes call it concurrently. Only tests may use this package.
package faultfs

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
)

// Kind is what an operation does.
type Kind uint8

// The kinds of operations.
const (
	Create  Kind = iota + 1 // a new file, or a directory
	Write                   // bytes into a file
	Sync                    // the content of a file becomes durable
	SyncDir                 // the names in a directory become durable
	Rename
	Remove
	Read // bytes out of a file
)

// String prints the kind for test failures.
func (k Kind) String() string {
	names := [...]string{"none", "create", "write", "sync", "sync directory", "rename", "remove", "read"}
	if int(k) < len(names) {
		return names[k]
	}
	return "unknown"
}

// Op is one change that is about to be made.
type Op struct {
	Number int64 // 1 and up
	Kind   Kind
	Path   string
	Bytes  int // of a write, or those a read has room for
}

// String prints the operation for test failures.
func (o Op) String() string {
	return fmt.Sprintf("%d: %v %s (%d bytes)", o.Number, o.Kind, o.Path, o.Bytes)
}

// Hook decides about an operation: nil lets it happen.
type Hook func(Op) error

// TornError is an error that lets the first Bytes of a write through before the write fails.
type TornError struct {
	Bytes int
	Err   error // what the write returns
}

// Error implements error.
func (t *TornError) Error() string {
	return fmt.Sprintf("write torn after %d bytes: %v", t.Bytes, t.Err)
}

// Unwrap returns what the write returns.
func (t *TornError) Unwrap() error { return t.Err }

// FailAt returns a hook that fails operation number n with err, and every later one too.
func FailAt(n int64, err error) Hook {
	return func(op Op) error {
		if op.Number >= n {
			return err
		}
		return nil
	}
}

// Wrap returns fs with hook in front of every change.
func Wrap(fs disk.FS, hook Hook) disk.FS { return &faulty{FS: fs, hook: hook} }

// WrapReads returns fs with hook in front of every change and every read.
func WrapReads(fs disk.FS, hook Hook) disk.FS { return &faulty{FS: fs, hook: hook, reads: true} }

type faulty struct {
	disk.FS
	hook  Hook
	reads bool // are shown, too
	ops   atomic.Int64
}

func (f *faulty) ask(kind Kind, path string, bytes int) error {
	return f.hook(Op{Number: f.ops.Add(1), Kind: kind, Path: path, Bytes: bytes})
}

func (f *faulty) Create(name string, category disk.WriteCategory) (disk.File, error) {
	if err := f.ask(Create, name, 0); err != nil {
		return nil, err
	}
	return f.wrap(name, false)(f.FS.Create(name, category))
}

func (f *faulty) Link(oldname, newname string) error {
	if err := f.ask(Create, newname, 0); err != nil {
		return err
	}
	return f.FS.Link(oldname, newname)
}

func (f *faulty) Open(name string, opts ...disk.OpenOption) (disk.File, error) {
	return f.wrap(name, false)(f.FS.Open(name, opts...))
}

func (f *faulty) OpenReadWrite(
	name string, category disk.WriteCategory, opts ...disk.OpenOption,
) (disk.File, error) {
	return f.wrap(name, false)(f.FS.OpenReadWrite(name, category, opts...))
}

func (f *faulty) OpenDir(name string) (disk.File, error) {
	return f.wrap(name, true)(f.FS.OpenDir(name))
}

func (f *faulty) Remove(name string) error {
	if err := f.ask(Remove, name, 0); err != nil {
		return err
	}
	return f.FS.Remove(name)
}

func (f *faulty) RemoveAll(name string) error {
	if err := f.ask(Remove, name, 0); err != nil {
		return err
	}
	return f.FS.RemoveAll(name)
}

func (f *faulty) Rename(oldname, newname string) error {
	if err := f.ask(Rename, newname, 0); err != nil {
		return err
	}
	return f.FS.Rename(oldname, newname)
}

func (f *faulty) ReuseForWrite(oldname, newname string, category disk.WriteCategory) (disk.File, error) {
	if err := f.ask(Rename, newname, 0); err != nil {
		return nil, err
	}
	return f.wrap(newname, false)(f.FS.ReuseForWrite(oldname, newname, category))
}

func (f *faulty) MkdirAll(dir string, perm disk.FileMode) error {
	if err := f.ask(Create, dir, 0); err != nil {
		return err
	}
	return f.FS.MkdirAll(dir, perm)
}

func (f *faulty) Unwrap() disk.FS { return f.FS }

func (f *faulty) wrap(name string, directory bool) func(disk.File, error) (disk.File, error) {
	return func(file disk.File, err error) (disk.File, error) {
		if err != nil {
			return nil, err
		}
		return &faultyFile{File: file, fs: f, name: name, directory: directory}, nil
	}
}

type faultyFile struct {
	disk.File
	fs        *faulty
	name      string
	directory bool
}

func (f *faultyFile) Write(p []byte) (int, error) {
	return f.write(p, f.File.Write)
}

func (f *faultyFile) WriteAt(p []byte, offset int64) (int, error) {
	return f.write(p, func(p []byte) (int, error) { return f.File.WriteAt(p, offset) })
}

func (f *faultyFile) write(p []byte, write func([]byte) (int, error)) (int, error) {
	err := f.fs.ask(Write, f.name, len(p))
	if err == nil {
		return write(p)
	}
	var torn *TornError
	if !errors.As(err, &torn) {
		return 0, err
	}
	n, writeErr := write(p[:min(torn.Bytes, len(p))])
	return n, errors.Join(torn.Err, writeErr)
}

func (f *faultyFile) Read(p []byte) (int, error) {
	if err := f.askRead(p); err != nil {
		return 0, err
	}
	return f.File.Read(p)
}

func (f *faultyFile) ReadAt(p []byte, offset int64) (int, error) {
	if err := f.askRead(p); err != nil {
		return 0, err
	}
	return f.File.ReadAt(p, offset)
}

func (f *faultyFile) askRead(p []byte) error {
	if !f.fs.reads {
		return nil
	}
	return f.fs.ask(Read, f.name, len(p))
}

func (f *faultyFile) Sync() error {
	if err := f.askSync(); err != nil {
		return err
	}
	return f.File.Sync()
}

func (f *faultyFile) SyncData() error {
	if err := f.askSync(); err != nil {
		return err
	}
	return f.File.SyncData()
}

func (f *faultyFile) askSync() error {
	kind := Sync
	if f.directory {
		kind = SyncDir
	}
	return f.fs.ask(kind, f.name, 0)
}
