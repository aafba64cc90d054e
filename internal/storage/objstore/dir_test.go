package objstore_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk/faultfs"
	"github.com/kalamdb/kalamdb-go/internal/storage/objstore"
	"github.com/kalamdb/kalamdb-go/internal/storage/objstore/objstoretest"
)

func TestDirKeepsThePromises(t *testing.T) {
	t.Parallel()
	objstoretest.Run(t, func(t *testing.T) objstore.Store {
		t.Helper()
		store, err := objstore.OpenDir(disk.Local(), t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		return store
	})
}

// TestDirFailsAtEveryStep lets every change of the file system fail in turn: what was there stays, what is new is
// there whole or not at all, and an acknowledged object survives a loss of power.
func TestDirFailsAtEveryStep(t *testing.T) {
	t.Parallel()
	const oldContent, newContent = "old", "the new content"
	injected := errors.New("injected")
	for _, ifNotExists := range []bool{false, true} {
		for step := int64(0); ; step++ {
			mem := vfs.NewCrashableMem()
			if err := mem.MkdirAll("/data", 0o750); err != nil {
				t.Fatal(err)
			}
			if err := disk.SyncDir(mem, "/"); err != nil {
				t.Fatal(err)
			}
			before, err := objstore.OpenDir(mem, "/data/objects")
			if err != nil {
				t.Fatal(err)
			}
			put := func(store objstore.Store, key, content string) error {
				_, err = store.Put(context.Background(), key, strings.NewReader(content), int64(len(content)), objstore.PutOptions{IfNotExists: ifNotExists})
				return err
			}
			if err = put(before, "ns/t/old", oldContent); err != nil {
				t.Fatal(err)
			}
			calls := int64(0)
			failing, err := objstore.OpenDir(faultfs.Wrap(mem, countTo(&calls, step, injected)), "/data/objects")
			if err != nil {
				continue // opening failed; nothing was promised
			}
			key := "ns/t2/u/new"
			if !ifNotExists {
				key = "ns/t/old"
			}
			putErr := put(failing, key, newContent)
			if putErr != nil && !errors.Is(putErr, injected) {
				t.Fatalf("step %d: %v", step, putErr)
			}
			for name, seen := range map[string]disk.FS{"running": mem, "after a crash": mem.CrashClone(vfs.CrashCloneCfg{})} {
				after, err := objstore.OpenDir(seen, "/data/objects")
				if err != nil {
					t.Fatal(err)
				}
				got, err := content(after, key)
				switch {
				case putErr == nil && got != newContent:
					t.Errorf("step %d, %s: an acknowledged object holds %q, %v", step, name, got, err)
				case err != nil && (!ifNotExists || !errors.Is(err, objstore.ErrNotFound)):
					t.Errorf("step %d, %s: %v", step, name, err)
				case err == nil && got != newContent && got != oldContent:
					t.Errorf("step %d, %s: %q is neither old nor new", step, name, got)
				}
				if old, err := content(after, "ns/t/old"); ifNotExists && (err != nil || old != oldContent) {
					t.Errorf("step %d, %s: the other object holds %q, %v", step, name, old, err)
				}
			}
			if calls <= step {
				if step < 5 {
					t.Errorf("there were %d steps only", step)
				}
				break // no step is left
			}
		}
	}
}

// countTo is a hook that fails at one step and counts all.
func countTo(calls *int64, step int64, err error) faultfs.Hook {
	return func(faultfs.Op) error {
		*calls++
		if *calls == step+1 {
			return err
		}
		return nil
	}
}

func content(store objstore.Store, key string) (string, error) {
	body, err := store.Get(context.Background(), key, 0, -1)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	_, err = copyAll(&b, body)
	return b.String(), err
}

func TestDirSweepsOldRemains(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	store, err := objstore.OpenDir(disk.Local(), root)
	if err != nil {
		t.Fatal(err)
	}
	if err = disk.WriteFileAtomic(disk.Local(), root+"/.tmp/left", []byte("half of an object")); err != nil {
		t.Fatal(err)
	}
	stat, err := disk.Local().Stat(root + "/.tmp/left")
	if err != nil {
		t.Fatal(err)
	}
	if n, err := store.Sweep(t.Context(), stat.ModTime()); n != 0 || err != nil {
		t.Errorf("swept %d young files, %v", n, err)
	}
	if n, err := store.Sweep(t.Context(), stat.ModTime().Add(time.Nanosecond)); n != 1 || err != nil {
		t.Errorf("swept %d old files, %v", n, err)
	}
}

// vanishing is a file system on which the directory that somebody else has just made is gone when MkdirAll looks at it.
type vanishing struct {
	disk.FS
	left int // how often that happens
}

func (v *vanishing) MkdirAll(dir string, mode os.FileMode) error {
	if strings.HasSuffix(dir, "user/table") && v.left > 0 {
		v.left--
		return &fs.PathError{Op: "mkdir", Path: dir, Err: fs.ErrExist}
	}
	return v.FS.MkdirAll(dir, mode)
}

func TestDirMakesADirectoryThatVanishes(t *testing.T) {
	t.Parallel()
	for _, times := range []int{1, 1000} {
		on := &vanishing{FS: vfs.NewMem(), left: times}
		store, err := objstore.OpenDir(on, "/data/objects")
		if err != nil {
			t.Fatal(err)
		}
		for _, opts := range []objstore.PutOptions{{}, {IfNotExists: true}} {
			_, err = store.Put(t.Context(), fmt.Sprintf("user/table/%v", opts.IfNotExists), strings.NewReader("x"), 1, opts)
			if errors.Is(err, objstore.ErrExists) || (err == nil) != (times == 1) {
				t.Errorf("a directory that vanishes %d times, %+v: %v", times, opts, err)
			}
		}
	}
}
