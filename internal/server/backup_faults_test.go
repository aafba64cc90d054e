package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/backup"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
	"github.com/kalamdb/kalamdb-go/internal/storage/objstore"
)

// TestFlippedBitsAreFound changes one bit in every file of a backup in turn: verify and restore must see each.
func TestFlippedBitsAreFound(t *testing.T) {
	t.Parallel()
	n, _ := oneNode(t, withShards(2, 1))
	root, _ := fillDatabase(t, n, 2)
	place := t.TempDir()
	completed(t, n, root, "BACKUP DATABASE TO '"+place+"'")
	store, err := objstore.OpenDir(disk.Local(), place)
	if err != nil {
		t.Fatal(err)
	}
	verify := func() error {
		report, err := backup.Verify(t.Context(), store, "", func(uint32, string) {})
		if err == nil && len(report.Problems) > 0 {
			err = fmt.Errorf("%s", report.Problems[0])
		}
		return err
	}
	if err := verify(); err != nil {
		t.Fatal(err)
	}
	files := 0
	if err := store.List(t.Context(), "", func(info objstore.ObjectInfo) error {
		files++
		path := filepath.Join(place, filepath.FromSlash(info.Key))
		good, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, at := range []int{0, len(good) / 3, len(good) / 2, len(good) - 2} {
			bad := bytes.Clone(good)
			bad[at] ^= 0x10
			if err := os.WriteFile(path, bad, 0o600); err != nil {
				return err
			}
			if verify() == nil {
				t.Errorf("%s: a flipped bit at byte %d of %d is not found", info.Key, at, len(good))
			}
		}
		if err := os.Remove(path); err != nil {
			return err
		}
		if verify() == nil {
			t.Errorf("%s: that it is missing is not found", info.Key)
		}
		return os.WriteFile(path, good, 0o600)
	}); err != nil {
		t.Fatal(err)
	}
	if files < 4 {
		t.Errorf("the backup has %d files", files)
	}
	if err := verify(); err != nil {
		t.Error(err)
	}
}

// failingStore stops at a step.
type failingStore struct {
	objstore.Store
	left atomic.Int64
}

// errKilled is what a store answers when its process is killed: nothing any more.
var errKilled = errors.New("killed")

func (s *failingStore) Put(ctx context.Context, key string, body io.Reader, size int64, opts objstore.PutOptions) (objstore.ObjectInfo, error) {
	if s.left.Add(-1) < 0 {
		return objstore.ObjectInfo{}, errKilled
	}
	return s.Store.Put(ctx, key, body, size, opts)
}

// TestBackupThatIsKilledAtAnyStep ends a backup before each of its writes: there is no backup then, what is there already serves the
// next one, and that one is whole.
func TestBackupThatIsKilledAtAnyStep(t *testing.T) {
	t.Parallel()
	n, _ := oneNode(t, withShards(2, 1))
	fillDatabase(t, n, 3)
	source := backupSource(n)
	place, err := objstore.OpenDir(disk.Local(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	quiet := func(uint32, string) {}
	for step := int64(0); ; step++ {
		dying := &failingStore{Store: place}
		dying.left.Store(step)
		m, err := backup.Write(t.Context(), source, dying, quiet)
		names, listErr := backup.List(t.Context(), place)
		if listErr != nil {
			t.Fatal(listErr)
		}
		if err == nil {
			if len(names) != 1 || m.Totals.NewChunks != 0 && step > 0 && m.Totals.NewChunks > 1 {
				t.Errorf("step %d: %d backups, %+v", step, len(names), m.Totals)
			}
			report, verifyErr := backup.Verify(t.Context(), place, "", quiet)
			if verifyErr != nil || len(report.Problems) > 0 {
				t.Errorf("%+v, %v", report, verifyErr)
			}
			if step < 3 {
				t.Errorf("there were %d steps", step)
			}
			return
		}
		if len(names) != 0 {
			t.Fatalf("step %d: a backup that failed is there: %v", step, err)
		}
	}
}

// TestRestoreThatIsInterruptedGoesOn ends a restore after some rows; the same backup can be restored again and is whole, another one is
// refused meanwhile.
func TestRestoreThatIsInterruptedGoesOn(t *testing.T) {
	t.Parallel()
	const users = 3
	n, _ := oneNode(t, withShards(2, 1))
	root, people := fillDatabase(t, n, users)
	completed(t, n, root, "STORAGE FLUSH TABLE app.notes") // cold rows are in a backup too
	people[0].sql("UPDATE app.notes SET body = 'hot again' WHERE id = 5")
	people[1].sql("DELETE FROM app.notes WHERE id = 6")
	place := t.TempDir()
	completed(t, n, root, "BACKUP DATABASE TO '"+place+"'")
	completed(t, n, root, "BACKUP DATABASE TO '"+place+"'")
	want := userView(t, n, root, users)
	store, err := objstore.OpenDir(disk.Local(), place)
	if err != nil {
		t.Fatal(err)
	}
	names, err := backup.List(t.Context(), store)
	if err != nil || len(names) != 2 {
		t.Fatal(names, err)
	}
	fresh, there := oneNode(t, withShards(3, 1))
	target := backup.Target{Storage: fresh.store, Catalog: fresh.catalog, Executor: fresh.exec, Rows: backup.HotRows{}, Clock: fresh.clock}
	ctx, cancel := context.WithCancel(t.Context())
	calls := 0
	_, err = backup.Restore(ctx, target, store, names[0], func(uint32, string) {
		if calls++; calls == 2 {
			cancel()
		}
	})
	cancel()
	if err == nil {
		t.Fatal("the restore was not interrupted")
	}
	if status, _ := there.post("/v1/api/auth/login", map[string]any{"user": "user0", "password": "Secret-of-a-user-1"}); status == http.StatusOK {
		t.Error("a user is let in before his rows are there")
	}
	if refused := startJob(t, fresh, there, "RESTORE DATABASE FROM '"+place+"'"); !strings.Contains(refused.GetError(), "another backup") {
		t.Errorf("another backup: %v", refused)
	}
	completed(t, fresh, there, "RESTORE DATABASE FROM '"+place+"' BACKUP '"+names[0]+"'")
	if got := userView(t, fresh, there, users); got != want {
		t.Errorf("it holds\n%s\nwant\n%s", got, want)
	}
}

func backupSource(n *Node) backup.Source { source, _ := n.backupParts(); return source }
