package raftlog_test

import (
	"math/rand/v2"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/raftlog"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/raftlog/raftlogtest"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
)

// pickyFS is a file system that lets files be told to go past the page cache and refuses every access of those that do,
// as one with larger blocks would.
type pickyFS struct{ disk.FS }

func (fs pickyFS) Create(name string, category disk.WriteCategory) (disk.File, error) {
	f, err := fs.FS.Create(name, category)
	return pickyFile{f}, err
}

func (fs pickyFS) OpenReadWrite(name string, category disk.WriteCategory, opts ...disk.OpenOption) (disk.File, error) {
	f, err := fs.FS.OpenReadWrite(name, category, opts...)
	return pickyFile{f}, err
}

type pickyFile struct{ disk.File }

func (f pickyFile) refuses() bool {
	flags, _, _ := syscall.Syscall(syscall.SYS_FCNTL, f.Fd(), syscall.F_GETFL, 0)
	return flags&syscall.O_DIRECT != 0
}

func (f pickyFile) ReadAt(b []byte, offset int64) (int, error) {
	if f.refuses() {
		return 0, syscall.EINVAL
	}
	return f.File.ReadAt(b, offset)
}

func (f pickyFile) WriteAt(b []byte, offset int64) (int, error) {
	if f.refuses() {
		return 0, syscall.EINVAL
	}
	return f.File.WriteAt(b, offset)
}

// A log on a real file system equals the obvious one, whether its records go past the page cache, must not, or cannot;
// what it writes past the cache is read through it.
func TestLogPastThePageCache(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name      string
		fs        disk.FS
		pageCache bool
		want      bool
	}{
		{"past it", disk.Local(), false, true},
		{"through it", disk.Local(), true, false},
		{"refused", pickyFS{disk.Local()}, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cfg := smallConfig(c.fs)
			cfg.Dir, cfg.CacheBytes, cfg.Background, cfg.PageCache = t.TempDir(), -1, true, c.pageCache
			l := open(t, cfg)
			if got := l.Stats().PastPageCache; got != c.want {
				if c.want {
					t.Skip("this file system has no writes past the page cache")
				}
				t.Fatalf("records go past the page cache: %v, want %v", got, c.want)
			}
			churn(t, l, cfg)
		})
	}
}

// churn runs a workload on the log, which it closes, with a restart now and then.
func churn(t *testing.T, l *raftlog.Log, cfg raftlog.Config) {
	t.Helper()
	w := raftlogtest.NewWorkload(7, 4, 3000)
	rng := rand.New(rand.NewPCG(7, 1))
	for step := range 250 {
		op := w.Next()
		if err := op.Run(l); err != nil {
			t.Fatalf("step %d, %v: %v", step, op, err)
		}
		op.Apply(w.Model)
		if err := w.Model.Exact(raftlogtest.Groups(l)); err != nil {
			t.Fatalf("step %d, after %v: %v", step, op, err)
		}
		if rng.IntN(50) == 0 {
			closeLog(t, l)
			l = open(t, cfg)
			if err := w.Model.Exact(raftlogtest.Groups(l)); err != nil {
				t.Fatalf("step %d, opened after %v: %v", step, op, err)
			}
		}
	}
	closeLog(t, l)
}

// A log whose writes are waited for in place equals the obvious one as well.
func TestLogIsWaitedForInPlace(t *testing.T) {
	t.Parallel()
	fs := disk.Watch(disk.Local(), clock.Real{})
	guard, err := fs.Guard(time.Hour)
	if err != nil || runtime.GOMAXPROCS(0) == 1 {
		t.Skipf("this machine waits in the usual way: %v", err)
	}
	t.Cleanup(guard.Release)
	cfg := smallConfig(fs)
	cfg.Dir, cfg.Background = t.TempDir(), true
	l := open(t, cfg)
	if !l.Stats().PastPageCache {
		t.Skip("this file system has no writes past the page cache")
	}
	churn(t, l, cfg)
	if fs.InPlace() == 0 {
		t.Error("nothing was waited for in place")
	}
}
