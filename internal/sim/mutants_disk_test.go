package sim

import (
	"errors"
	"strings"

	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
)

// This file has the planted bugs of how a program treats its disk.

// deaf is a file system whose syncs of one directory do nothing and say that they did.
type deaf struct {
	disk.FS
	dir         string
	directories bool // syncs of directories are the ones that do nothing
}

func deafSync(dir string, directories bool) func(*simDisk, disk.FS) disk.FS {
	return func(_ *simDisk, fs disk.FS) disk.FS { return &deaf{fs, dir, directories} }
}

func (d *deaf) wrap(name string, directory bool, f disk.File, err error) (disk.File, error) {
	if err != nil || directory != d.directories || !strings.HasPrefix(name, d.dir) {
		return f, err
	}
	return deafFile{f}, nil
}

func (d *deaf) Create(name string, c disk.WriteCategory) (disk.File, error) {
	f, err := d.FS.Create(name, c)
	return d.wrap(name, false, f, err)
}

func (d *deaf) OpenReadWrite(name string, c disk.WriteCategory, o ...disk.OpenOption) (disk.File, error) {
	f, err := d.FS.OpenReadWrite(name, c, o...)
	return d.wrap(name, false, f, err)
}

func (d *deaf) ReuseForWrite(from, to string, c disk.WriteCategory) (disk.File, error) {
	f, err := d.FS.ReuseForWrite(from, to, c)
	return d.wrap(to, false, f, err)
}

func (d *deaf) OpenDir(name string) (disk.File, error) {
	f, err := d.FS.OpenDir(name)
	return d.wrap(name, true, f, err)
}

type deafFile struct{ disk.File }

func (deafFile) Sync() error                           { return nil }
func (deafFile) SyncData() error                       { return nil }
func (deafFile) SyncTo(int64) (fullSync bool, e error) { return true, nil }

// stubborn files ignore every error of a broken disk.
type stubborn struct{ disk.FS }

func deafErrors(_ *simDisk, fs disk.FS) disk.FS { return &stubborn{fs} }

func (s *stubborn) Create(name string, c disk.WriteCategory) (disk.File, error) {
	f, err := s.FS.Create(name, c)
	return stubbornFile{f}, err
}

func (s *stubborn) OpenReadWrite(name string, c disk.WriteCategory, o ...disk.OpenOption) (disk.File, error) {
	f, err := s.FS.OpenReadWrite(name, c, o...)
	return stubbornFile{f}, err
}

type stubbornFile struct{ disk.File }

func ignoreBroken(err error) error {
	if errors.Is(err, errDisk) {
		return nil
	}
	return err
}

func (f stubbornFile) Sync() error     { return ignoreBroken(f.File.Sync()) }
func (f stubbornFile) SyncData() error { return ignoreBroken(f.File.SyncData()) }
func (f stubbornFile) WriteAt(p []byte, at int64) (int, error) {
	n, err := f.File.WriteAt(p, at)
	if errors.Is(err, errDisk) {
		return len(p), nil
	}
	return n, err
}

// again is a file system of a program that syncs again when a sync has failed, and believes the second one.
type again struct{ disk.FS }

func syncsAgain(_ *simDisk, fs disk.FS) disk.FS { return &again{fs} }

func (s *again) Create(name string, c disk.WriteCategory) (disk.File, error) {
	f, err := s.FS.Create(name, c)
	return againFile{f}, err
}

func (s *again) OpenReadWrite(name string, c disk.WriteCategory, o ...disk.OpenOption) (disk.File, error) {
	f, err := s.FS.OpenReadWrite(name, c, o...)
	return againFile{f}, err
}

type againFile struct{ disk.File }

func twice(sync func() error) error {
	if err := sync(); !errors.Is(err, errDisk) {
		return err
	}
	return sync()
}

func (f againFile) Sync() error     { return twice(f.File.Sync) }
func (f againFile) SyncData() error { return twice(f.File.SyncData) }
