//go:build amd64 || arm64

package disk

import (
	"fmt"
	"io"
	"io/fs"
	"runtime"
	"syscall"
	"time"
	"unsafe"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// localFile is a file of the machine's file system.
type localFile struct{ vfs.File }

func newLocalFile(f vfs.File) vfs.File {
	if f.Fd() == vfs.InvalidFd {
		return f
	}
	return &localFile{f}
}

// writeAtInPlace is WriteAt. Nobody may close the file meanwhile.
func (f *localFile) writeAtInPlace(p []byte, offset int64) (int, error) {
	defer runtime.KeepAlive(f)
	written := 0
	for written < len(p) {
		n, _, failed := syscall.RawSyscall6(syscall.SYS_PWRITE64, f.Fd(), uintptr(unsafe.Pointer(&p[written])), //nolint:gosec // the kernel reads p
			uintptr(len(p)-written), uintptr(offset)+uintptr(written), 0, 0) //nolint:gosec // offsets are not negative
		switch {
		case failed == syscall.EINTR:
		case failed != 0:
			return written, &fs.PathError{Op: "write", Path: "in place", Err: failed}
		case n == 0:
			return written, io.ErrShortWrite
		default:
			written += int(n)
		}
	}
	return written, nil
}

// syncDataInPlace is SyncData. Nobody may close the file meanwhile.
func (f *localFile) syncDataInPlace() error {
	defer runtime.KeepAlive(f)
	for {
		_, _, failed := syscall.RawSyscall(syscall.SYS_FDATASYNC, f.Fd(), 0, 0)
		if failed == 0 {
			return nil
		}
		if failed != syscall.EINTR {
			return &fs.PathError{Op: "sync", Path: "in place", Err: failed}
		}
	}
}

// deadline is a timer of the kernel that ends the process.
type deadline struct{ id int32 }

// clockMonotonic and signalEvent are CLOCK_MONOTONIC and struct sigevent of the kernel; notify zero means a signal.
const clockMonotonic = 1

type signalEvent struct {
	value          uint64
	signal, notify int32
	_              [48]byte
}

func newDeadline() (deadline, error) {
	var d deadline
	event := signalEvent{signal: int32(syscall.SIGABRT)}
	_, _, failed := syscall.RawSyscall(syscall.SYS_TIMER_CREATE, clockMonotonic,
		uintptr(unsafe.Pointer(&event)), uintptr(unsafe.Pointer(&d.id))) //nolint:gosec // the kernel reads and fills them
	if failed != 0 {
		return d, fmt.Errorf("make a timer that ends the process: %w", failed)
	}
	return d, nil
}

// set makes the deadline so far from now; zero lifts it.
func (d deadline) set(after time.Duration) error {
	setting := [2]syscall.Timespec{{}, syscall.NsecToTimespec(after.Nanoseconds())}
	_, _, failed := syscall.RawSyscall6(syscall.SYS_TIMER_SETTIME, uintptr(d.id), 0, uintptr(unsafe.Pointer(&setting)), 0, 0, 0) //nolint:gosec // the kernel reads it
	if failed != 0 {
		return fmt.Errorf("set the timer that ends the process: %w", failed)
	}
	return nil
}

func (d deadline) stop() {
	_, _, _ = syscall.RawSyscall(syscall.SYS_TIMER_DELETE, uintptr(d.id), 0, 0) //nolint:gosec // it exists
}
