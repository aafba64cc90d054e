package raftlog_test

import (
	"bytes"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/raftlog/raftlogtest"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
)

// files is the content of the directory of a log.
type files map[string][]byte

func readFiles(t *testing.T, fs disk.FS) files {
	t.Helper()
	names, err := fs.List("log")
	if err != nil {
		t.Fatal(err)
	}
	all := files{}
	for _, name := range names {
		f, err := fs.Open(path.Join("log", name))
		if err != nil {
			t.Fatal(err)
		}
		if all[name], err = io.ReadAll(f); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	delete(all, "LOCK")
	return all
}

// restore returns a file system with a copy of the files.
func (all files) restore(t *testing.T) *vfs.MemFS {
	t.Helper()
	fs := vfs.NewMem()
	if err := fs.MkdirAll("log", 0o755); err != nil {
		t.Fatal(err)
	}
	for name, content := range all {
		f, err := fs.Create(path.Join("log", name), disk.Category)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write(slices.Clone(content)); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return fs
}

// with returns a copy in which one file is changed.
func (all files) with(name string, change func([]byte)) files {
	changed := files{}
	maps.Copy(changed, all)
	changed[name] = slices.Clone(all[name])
	change(changed[name])
	return changed
}

func (all files) equal(other files) bool { return maps.EqualFunc(all, other, bytes.Equal) }

// segments lists the segment files in order.
func (all files) segments() []string {
	var names []string
	for name := range all {
		if strings.HasPrefix(name, "raft-") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// populated returns the files of a log of several segments, closed or as a power cut leaves it, and what is in it.
func populated(t *testing.T, clean bool) (files, *raftlogtest.Model) {
	t.Helper()
	fs := vfs.NewMem()
	cfg := smallConfig(fs)
	cfg.StoreID = ident.StoreID{1, 2, 3}
	l := open(t, cfg)
	w := raftlogtest.NewWorkload(7, 5, 500)
	for range 120 {
		op := w.Next()
		if err := op.Run(l); err != nil {
			t.Fatalf("%v: %v", op, err)
		}
		op.Apply(w.Model)
	}
	cut := readFiles(t, fs)
	closeLog(t, l)
	if !clean {
		return cut, w.Model
	}
	return readFiles(t, fs), w.Model
}
