package disk

import (
	"errors"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// BypassCache lets writes and reads of an open file go past the page cache of the operating system from now on, and
// reports whether they do. Where the machine, the file system or a test's file system knows no such thing the file
// stays as it was. Addresses, offsets and lengths must be multiples of DirectAlign afterwards; a file system that
// wants more still, or cannot do it after all, refuses a write with an error that IsUnaligned knows.
func BypassCache(f File) bool { return setDirect(f, syscall.O_DIRECT) }

// UseCache undoes BypassCache.
func UseCache(f File) bool { return setDirect(f, 0) }

func setDirect(f File, wanted int) bool {
	fd := f.Fd()
	if fd == vfs.InvalidFd {
		return false
	}
	flags, _, failed := syscall.Syscall(syscall.SYS_FCNTL, fd, syscall.F_GETFL, 0)
	if failed != 0 {
		return false
	}
	changed := int(flags)&^syscall.O_DIRECT | wanted
	_, _, failed = syscall.Syscall(syscall.SYS_FCNTL, fd, syscall.F_SETFL, uintptr(changed))
	return failed == 0
}

// IsUnaligned reports whether an error says that a file past the cache refuses the alignment of an access.
func IsUnaligned(err error) bool { return errors.Is(err, syscall.EINVAL) }
