//go:build amd64 || arm64

package disk

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kalamdb/kalamdb-go/internal/clock"
)

// placed is a Watched in front of the machine's file system with an open urgent file, under a Guard.
type placed struct {
	fs    *Watched
	file  File
	guard *Guard
	path  string
}

func newPlaced(t *testing.T) *placed {
	t.Helper()
	if runtime.GOMAXPROCS(0) == 1 {
		t.Skip("nothing is waited for in place with one processor")
	}
	p := &placed{fs: Watch(Local(), clock.Real{}), path: filepath.Join(t.TempDir(), "file")}
	var err error
	if p.guard, err = p.fs.Guard(time.Hour); err != nil {
		t.Skipf("this machine has no guards: %v", err)
	}
	t.Cleanup(p.guard.Release)
	if err = os.WriteFile(p.path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if p.file, err = p.fs.OpenReadWrite(p.path, Category); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.file.Close() })
	Urgent(p.file)
	return p
}

// inPlace writes so many bytes and syncs them, and returns how many of the two calls were waited for in place.
func (p *placed) inPlace(t *testing.T, bytes int) uint64 {
	t.Helper()
	before := p.fs.InPlace()
	if n, err := p.file.WriteAt(make([]byte, bytes), 0); err != nil || n != bytes {
		t.Fatalf("wrote %d of %d bytes: %v", n, bytes, err)
	}
	if err := p.file.SyncData(); err != nil {
		t.Fatal(err)
	}
	return p.fs.InPlace() - before
}

// TestShortUrgentWritesAreWaitedForInPlace goes through the conditions.
func TestShortUrgentWritesAreWaitedForInPlace(t *testing.T) {
	p := newPlaced(t)
	content := bytes.Repeat([]byte("abc"), 1000)
	if n, err := p.file.WriteAt(content, 5); err != nil || n != len(content) {
		t.Fatalf("wrote %d bytes: %v", n, err)
	}
	if got, err := os.ReadFile(p.path); err != nil || !bytes.Equal(got[5:], content) {
		t.Fatalf("the file does not hold what was written: %d bytes, %v", len(got), err)
	}
	p.fs.prompt.wanted.Store(0) // whatever the machine was busy with
	if p.fs.InPlace() != 1 {
		t.Errorf("%d writes were waited for in place, want the one", p.fs.InPlace())
	}
	if n, err := p.file.WriteAt(make([]byte, inPlaceBytes+1), 0); err != nil || n != inPlaceBytes+1 || p.fs.InPlace() != 1 {
		t.Errorf("a long write: %d bytes, %v, in place %d, want 1 as before", n, err, p.fs.InPlace())
	}
	p.fs.prompt.took(promptTime + 1)
	for range promptAnswers {
		if p.fs.prompt.allows(1) {
			t.Fatal("a disk that was slow a moment ago is waited for in place")
		}
		p.fs.prompt.took(promptTime)
	}
	if got := p.inPlace(t, 4096); got != 2 {
		t.Errorf("%d calls in place after prompt answers, want 2", got)
	}
	p.fs.prompt.wanted.Store(0)
	p.guard.w.prompt.guards.Add(-1)
	if got := p.inPlace(t, 4096); got != 0 {
		t.Errorf("%d calls in place without a guard, want none", got)
	}
	p.guard.w.prompt.guards.Add(1)
	if f, ok := p.file.(*watchedFile); ok {
		f.urgent = nil
	}
	if got := p.inPlace(t, 4096); got != 0 {
		t.Errorf("%d calls in place of a file that is not urgent, want none", got)
	}
}

// wrapped is a file system of a test that sees every write.
type wrapped struct{ vfs.FS }

func (w wrapped) OpenReadWrite(name string, category vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	f, err := w.FS.OpenReadWrite(name, category, opts...)
	return struct{ vfs.File }{f}, err
}

// TestNothingGoesPastAFileInBetween: a fault that a test puts in front of the machine's file system is met.
func TestNothingGoesPastAFileInBetween(t *testing.T) {
	p := newPlaced(t)
	between := Watch(wrapped{Local()}, clock.Real{})
	between.prompt.guards.Add(1)
	f, err := between.OpenReadWrite(p.path, Category)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // what was written is not looked at
	Urgent(f)
	if _, err := f.WriteAt([]byte("x"), 0); err != nil || between.InPlace() != 0 {
		t.Errorf("%v, in place %d, want none", err, between.InPlace())
	}
}

// TestErrorsOfWritesInPlace writes to a device that is full and to a closed file.
func TestErrorsOfWritesInPlace(t *testing.T) {
	p := newPlaced(t)
	full, err := p.fs.OpenReadWrite("/dev/full", Category)
	if err != nil {
		t.Skip(err)
	}
	Urgent(full)
	if _, err := full.WriteAt([]byte("x"), 0); !IsFull(err) {
		t.Errorf("a full device: %v", err)
	}
	if err := full.SyncData(); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("the sync of a device that knows none: %v", err)
	}
	if p.fs.InPlace() != 2 {
		t.Errorf("%d calls in place, want 2: the test shows nothing", p.fs.InPlace())
	}
	if err := full.Close(); err != nil {
		t.Fatal(err)
	}
	p.fs.prompt.wanted.Store(0)
	if _, err := full.WriteAt([]byte("x"), 0); err == nil {
		t.Error("a closed file takes a write")
	}
}

// standStill is the variable that makes this program stand still under a Guard of that time.
const standStill = "KALAMDB_TEST_STAND_STILL"

// TestProcessThatStandsStillEnds lets a process wait in place, for ever and with a collection of garbage that waits for it.
func TestProcessThatStandsStillEnds(t *testing.T) {
	if limit := os.Getenv(standStill); limit != "" {
		waitInPlaceForEver(t, limit)
	}
	newPlaced(t) // or skips
	child := exec.Command(os.Args[0], "-test.run=^TestProcessThatStandsStillEnds$")
	child.Env = append(os.Environ(), standStill+"=300ms")
	out, err := child.CombinedOutput()
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok || !strings.Contains(string(out), "SIGABRT") {
		t.Fatalf("the process ended with %v and said:\n%s", err, out)
	}
	if exit.ExitCode() != 2 {
		t.Errorf("exit code %d, want 2", exit.ExitCode())
	}
}

func waitInPlaceForEver(t *testing.T, limit string) {
	t.Helper()
	d, err := time.ParseDuration(limit)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Watch(Local(), clock.Real{}).Guard(d); err != nil {
		t.Fatal(err)
	}
	begun := make(chan struct{})
	go func() {
		close(begun)
		for { // a signal ends one of them
			long := syscall.Timespec{Sec: 60}
			_, _, _ = syscall.RawSyscall(syscall.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&long)), 0, 0)
		}
	}()
	<-begun
	for {
		runtime.GC()
	}
}
