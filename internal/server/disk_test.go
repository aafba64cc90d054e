package server

import (
	"errors"
	"log/slog"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk/faultfs"
)

// TestHungDiskEndsTheNode holds a sync of the log: after the limit the node says which call the disk has not answered.
func TestHungDiskEndsTheNode(t *testing.T) {
	t.Parallel()
	var hangs atomic.Bool
	release := make(chan struct{})
	cfg := testConfig(t.TempDir())
	cfg.Storage.HangLimitSecs = 1
	n := openNode(t, cfg, Options{fs: faultfs.Wrap(disk.Local(), func(op faultfs.Op) error {
		if op.Kind == faultfs.Sync && strings.Contains(op.Path, "/log/") && hangs.Load() {
			<-release
		}
		return nil
	})})
	waitReady(t, n)
	c := login(t, n, "root", rootPassword)
	hangs.Store(true)
	written := make(chan struct{})
	go func() {
		defer close(written)
		c.post("/v1/api/sql", map[string]any{"sql": "CREATE NAMESPACE shop"}) // its end is not what is asked about
	}()
	err := n.Wait()
	if !errors.Is(err, ErrDiskHangs) || !strings.Contains(err.Error(), "/log/") || !strings.Contains(err.Error(), "hang_limit_secs = 1") {
		t.Errorf("the node ends with %v", err)
	}
	close(release)
	<-written
}

// TestDiskIsGuarded writes to an urgent file before, while and after a guard is in force.
func TestDiskIsGuarded(t *testing.T) {
	t.Parallel()
	fs := disk.Watch(disk.Local(), clock.Real{})
	f, err := fs.OpenReadWrite(filepath.Join(t.TempDir(), "file"), disk.Category)
	if err != nil {
		t.Fatal(err)
	}
	disk.Urgent(f)
	inPlace := func() uint64 {
		before := fs.InPlace()
		if _, err := f.WriteAt([]byte("x"), 0); err != nil {
			t.Fatal(err)
		}
		return fs.InPlace() - before
	}
	byHand := &Node{fs: fs, clock: clock.NewManual(time.Unix(1, 0)), logger: slog.New(slog.DiscardHandler)}
	_, release := byHand.guardDisk(time.Hour)
	if got := inPlace(); got != 0 {
		t.Errorf("%d writes in place on a clock that is moved by hand, want none", got)
	}
	release()
	n := &Node{fs: fs, clock: clock.Real{}, logger: slog.New(slog.DiscardHandler)}
	extend, release := n.guardDisk(time.Hour)
	extend()
	if guard, err := fs.Guard(time.Hour); err == nil && runtime.GOMAXPROCS(0) > 1 {
		guard.Release()
		for range 1000 { // the machine may have been slow a moment ago
			if inPlace() > 0 {
				break
			}
		}
		if fs.InPlace() == 0 {
			t.Error("no write in place under the guard")
		}
	}
	release()
	if got := inPlace(); got != 0 {
		t.Errorf("%d writes in place after the guard, want none", got)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestDiskHangsBeforeTheNodeEnds: a call that has taken half of the limit is reason to hand leaderships over, and none to end.
func TestDiskHangsBeforeTheNodeEnds(t *testing.T) {
	t.Parallel()
	byHand := clock.NewManual(time.Unix(1, 0))
	release, held := make(chan struct{}), make(chan struct{})
	fs := disk.Watch(faultfs.Wrap(disk.Local(), func(faultfs.Op) error {
		close(held)
		<-release
		return nil
	}), byHand)
	cfg := testConfig(t.TempDir())
	cfg.Storage.HangLimitSecs = 10
	n := &Node{cfg: cfg, fs: fs, clock: byHand}
	done := make(chan error)
	go func() { done <- fs.Remove(filepath.Join(t.TempDir(), "nothing")) }()
	<-held
	byHand.Advance(5 * time.Second)
	if n.diskHangs() {
		t.Error("half of the limit is not over")
	}
	byHand.Advance(time.Second)
	if !n.diskHangs() || fs.Hung(cfg.Storage.HangLimit()) != nil {
		t.Error("half of the limit is over, and the whole is not")
	}
	cfg.Storage.HangLimitSecs = 0
	if n.diskHangs() {
		t.Error("without a limit nothing hangs")
	}
	close(release)
	if err := <-done; err == nil {
		t.Error("what is not there was removed")
	}
}
