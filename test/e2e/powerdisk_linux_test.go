package e2e

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"sync"
	"syscall"
)

// powerDisk is a disk with a volatile cache, in the memory of this process. The kernel reaches it as a block device: a FUSE
// file system that is one file, of which this process answers every call, with a loop device on top. What was written
// since the last flush is lost in parts when the power fails, page by page and in no order, as on a disk that promises
// nothing else.
type powerDisk struct {
	size int64

	mu      sync.Mutex // guards all below
	pages   map[int64][]byte
	before  map[int64][]byte // what pages that were written since the last flush held then; nil is nothing
	off     bool
	flushes int

	flushesLeft int // until the power fails; zero is never
	random      *rand.Rand
	result      chan afterPower // has room for one

	requests *os.File // where the kernel asks
	done     chan struct{}
}

const (
	devicePage = 4096
	// deviceWrite is the most that the kernel writes with one request.
	deviceWrite = 128 << 10
)

// Calls of the FUSE protocol that matter for one file; the kernel does without all others.
const (
	fuseForget     = 2
	fuseGetattr    = 3
	fuseSetattr    = 4
	fuseOpen       = 14
	fuseRead       = 15
	fuseWrite      = 16
	fuseStatfs     = 17
	fuseRelease    = 18
	fuseFsync      = 20
	fuseFlush      = 25
	fuseInit       = 26
	fuseInterrupt  = 36
	fuseDestroy    = 38
	fuseForgetMany = 42
)

func newPowerDisk(size int64) *powerDisk {
	return &powerDisk{size: size, pages: map[int64][]byte{}, before: map[int64][]byte{}}
}

// afterPower is the disk that is left of one whose power has failed, and what became of the pages that had not been flushed.
type afterPower struct {
	disk           *powerDisk
	volatile, lost int
}

// cutAtFlush lets the power fail before a flush of more than one page, the nth from now on: then something is at stake. The disk
// answers with errors from then on.
func (d *powerDisk) cutAtFlush(n int, random *rand.Rand) <-chan afterPower {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.flushesLeft, d.random, d.result = n, random, make(chan afterPower, 1)
	return d.result
}

// cut needs mu.
func (d *powerDisk) cut() afterPower {
	d.off = true
	left := afterPower{disk: newPowerDisk(d.size), volatile: len(d.before)}
	left.disk.pages = maps.Clone(d.pages)
	for number, old := range d.before {
		switch d.random.IntN(3) {
		case 0: // it was written in time
			continue
		case 1: // a part of it was
			torn := make([]byte, devicePage)
			copy(torn, old)
			at := 512 * (1 + d.random.IntN(devicePage/512-1))
			clear(torn[:at])
			copy(torn[:at], d.pages[number])
			left.disk.pages[number] = torn
		default:
			left.disk.pages[number] = old
			if old == nil {
				delete(left.disk.pages, number)
			}
		}
		left.lost++
	}
	return left
}

// serve answers the kernel until the file system is unmounted.
func (d *powerDisk) serve() {
	defer close(d.done)
	request := make([]byte, deviceWrite+devicePage)
	for {
		n, err := syscall.Read(int(d.requests.Fd()), request)
		switch {
		case errors.Is(err, syscall.EINTR) || errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.EAGAIN):
			continue // nobody waits for this call any more
		case err != nil:
			return // unmounted
		}
		operation := binary.LittleEndian.Uint32(request[4:])
		if operation == fuseForget || operation == fuseForgetMany || operation == fuseInterrupt {
			continue // no answer is expected
		}
		body, failure := d.answer(operation, request[40:n])
		if failure != 0 {
			body = nil
		}
		answer := make([]byte, 16, 16+len(body))
		binary.LittleEndian.PutUint32(answer, uint32(16+len(body)))
		binary.LittleEndian.PutUint32(answer[4:], uint32(-int32(failure)))
		copy(answer[8:], request[8:16])
		if _, err := syscall.Write(int(d.requests.Fd()), append(answer, body...)); err != nil && !errors.Is(err, syscall.ENOENT) {
			return
		}
	}
}

func (d *powerDisk) answer(operation uint32, body []byte) ([]byte, syscall.Errno) {
	word := binary.LittleEndian
	switch operation {
	case fuseInit:
		out := make([]byte, 64)
		word.PutUint32(out, 7)
		word.PutUint32(out[4:], 31)
		word.PutUint32(out[8:], deviceWrite)  // read ahead
		word.PutUint32(out[12:], 1<<0|1<<5)   // reads at a time, and writes of more than a page
		word.PutUint32(out[20:], deviceWrite) // the largest write
		word.PutUint32(out[24:], 1)           // nanoseconds
		return out, 0
	case fuseGetattr, fuseSetattr:
		out := make([]byte, 104)
		word.PutUint64(out[16:], 1) // the number of the file
		word.PutUint64(out[24:], uint64(d.size))
		word.PutUint64(out[32:], uint64(d.size/512))
		word.PutUint32(out[76:], syscall.S_IFREG|0o600)
		word.PutUint32(out[80:], 1)
		word.PutUint32(out[96:], devicePage)
		return out, 0
	case fuseOpen:
		out := make([]byte, 16)
		word.PutUint32(out[8:], 1) // past the page cache
		return out, 0
	case fuseRead:
		return d.read(int64(word.Uint64(body[8:])), int64(word.Uint32(body[16:])))
	case fuseWrite:
		out := make([]byte, 8)
		n := word.Uint32(body[16:])
		word.PutUint32(out, n)
		return out, d.write(int64(word.Uint64(body[8:])), body[40:40+n])
	case fuseFsync:
		return nil, d.flush()
	case fuseStatfs:
		return make([]byte, 80), 0
	case fuseFlush, fuseRelease, fuseDestroy:
		return nil, 0
	}
	return nil, syscall.ENOSYS
}

func (d *powerDisk) read(at, n int64) ([]byte, syscall.Errno) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.off {
		return nil, syscall.EIO
	}
	out := make([]byte, max(min(n, d.size-at), 0))
	for done := int64(0); done < int64(len(out)); {
		number, within := (at+done)/devicePage, (at+done)%devicePage
		part := min(devicePage-within, int64(len(out))-done)
		if page := d.pages[number]; page != nil {
			copy(out[done:done+part], page[within:])
		}
		done += part
	}
	return out, 0
}

func (d *powerDisk) write(at int64, data []byte) syscall.Errno {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.off {
		return syscall.EIO
	}
	for len(data) > 0 {
		number, within := at/devicePage, at%devicePage
		old := d.pages[number]
		if _, known := d.before[number]; !known {
			d.before[number] = old
		}
		page := make([]byte, devicePage) // the old one may be needed
		copy(page, old)
		n := copy(page[within:], data)
		if d.pages[number] = page; [devicePage]byte(page) == [devicePage]byte{} {
			delete(d.pages, number) // room that was set aside is not kept
		}
		data, at = data[n:], at+int64(n)
	}
	return 0
}

func (d *powerDisk) flush() syscall.Errno {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.off {
		return syscall.EIO
	}
	if d.flushesLeft > 0 && len(d.before) > 1 {
		if d.flushesLeft--; d.flushesLeft == 0 {
			d.result <- d.cut()
			return syscall.EIO
		}
	}
	d.flushes++
	clear(d.before)
	return 0
}

// attach mounts the disk as one file at a path, whose file must exist.
func (d *powerDisk) attach(path string) error {
	requests, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	d.requests, d.done = requests, make(chan struct{})
	options := fmt.Sprintf("fd=%d,rootmode=100600,user_id=0,group_id=0", requests.Fd())
	if err := syscall.Mount("kalamdb-e2e", path, "fuse", 0, options); err != nil {
		return errors.Join(fmt.Errorf("mount the disk: %w", err), requests.Close())
	}
	go d.serve()
	return nil
}

// detach undoes attach.
func (d *powerDisk) detach(path string) error {
	err := syscall.Unmount(path, syscall.MNT_DETACH)
	<-d.done
	return errors.Join(err, d.requests.Close())
}
