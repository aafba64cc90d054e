package e2e

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

// room is a machine room: one disk with a file system, on which all nodes have their data.
type room struct {
	file, dir string // where the disk and its file system are mounted
	disk      *powerDisk
}

// diskOfRoom is the size of the disk, which takes memory for what is written to it only.
const diskOfRoom = 2 << 30

// openRoom makes a disk with an empty file system, or skips the test where that is not allowed.
func openRoom(t *testing.T, dir string) *room {
	t.Helper()
	mkfs, err := exec.LookPath("mkfs.ext4")
	if err != nil {
		t.Skipf("no file system can be made: %v", err)
	}
	r := &room{file: filepath.Join(dir, "disk"), dir: filepath.Join(dir, "room"), disk: newPowerDisk(diskOfRoom)}
	if err := errors.Join(os.WriteFile(r.file, nil, 0o600), os.Mkdir(r.dir, 0o750)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.unmount(t) })
	loop := r.attach(t)
	defer loop.Close() //nolint:errcheck // nothing was written through it
	if out, err := exec.CommandContext(t.Context(), mkfs, "-q", "-E", "nodiscard", loop.Name()).CombinedOutput(); err != nil {
		t.Fatalf("make a file system: %v\n%s", err, out)
	}
	r.mount(t, loop)
	return r
}

// attach gives the disk to the kernel and returns the loop device, which goes away with its last user.
func (r *room) attach(t *testing.T) *os.File {
	t.Helper()
	err := r.disk.attach(r.file)
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EACCES) || errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ENODEV) {
		t.Skipf("a disk of our own needs root and FUSE: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	// Not by package os: the runtime would ask this process whether the file can be polled, and wait for the answer with all of it.
	backing, err := syscall.Open(r.file, syscall.O_RDWR|syscall.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(backing) //nolint:errcheck // the loop device has its own
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("no loop devices: %v", err)
	}
	defer control.Close() //nolint:errcheck // nothing was written to it
	const getFree, configure, autoClear = 0x4C82, 0x4C0A, 4
	for {
		number, _, failed := syscall.Syscall(syscall.SYS_IOCTL, control.Fd(), getFree, 0)
		if failed != 0 {
			t.Fatalf("find a loop device: %v", failed)
		}
		loop, err := os.OpenFile("/dev/loop"+strconv.Itoa(int(number)), os.O_RDWR, 0)
		if err != nil {
			t.Skipf("no loop device: %v", err)
		}
		// The file's descriptor, the size of a block, and struct loop_info64, whose flags come after 52 bytes.
		var config [304]byte
		*(*uint32)(unsafe.Pointer(&config[0])) = uint32(backing)
		*(*uint32)(unsafe.Pointer(&config[8+52])) = autoClear
		_, _, failed = syscall.Syscall(syscall.SYS_IOCTL, loop.Fd(), configure, uintptr(unsafe.Pointer(&config)))
		if failed == 0 {
			return loop
		}
		_ = loop.Close() // it is not ours
		if failed != syscall.EBUSY {
			t.Fatalf("set up a loop device: %v", failed)
		}
	}
}

func (r *room) mount(t *testing.T, loop *os.File) {
	t.Helper()
	if err := syscall.Mount(loop.Name(), r.dir, "ext4", 0, ""); err != nil {
		t.Fatalf("mount the file system: %v", err)
	}
}

func (r *room) unmount(t *testing.T) {
	t.Helper()
	if err := syscall.Unmount(r.dir, 0); err != nil && !errors.Is(err, syscall.EINVAL) {
		t.Errorf("unmount the file system: %v", err)
	}
	if r.disk.done == nil {
		return
	}
	if err := r.disk.detach(r.file); err != nil {
		t.Errorf("unmount the disk: %v", err)
	}
}

// losePower ends everything at once, when the disk is to flush something: it forgets a part of what it had not flushed and takes
// nothing more, the page cache of the kernel comes to nothing, and the processes end. Then there is power again. It returns how
// many pages were lost.
func (r *room) losePower(t *testing.T, c *cluster, random *rand.Rand) int {
	t.Helper()
	var left afterPower
	select {
	case left = <-r.disk.cutAtFlush(1+random.IntN(50), random):
	case <-time.After(waitLimit):
		t.Fatal("nothing is flushed any more")
	}
	for _, n := range c.nodes {
		_ = n.process.Process.Kill() // it may have ended by itself, when its sync failed
		<-n.ended
	}
	r.unmount(t)
	t.Logf("the power failed after %d flushes; of %d pages that were not flushed %d were lost", r.disk.flushes, left.volatile, left.lost)
	r.disk = left.disk
	loop := r.attach(t)
	defer loop.Close() //nolint:errcheck // nothing was written through it
	r.mount(t, loop)
	return left.lost
}

// TestPowerLoss cuts the power of all nodes under load, with a disk that loses what was not flushed to it and tears what it was
// about to write, below a real file system: every acknowledged row is there afterwards, on every node.
func TestPowerLoss(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	dir := testDir(t)
	r := openRoom(t, dir)
	c := prepareCluster(t, 3, nil)
	for _, n := range c.nodes {
		n.settings = n.settings.with(settings{"storage.data_path": filepath.Join(r.dir, fmt.Sprint("node", n.id))})
	}
	c.start(t)
	root := c.nodes[0].root(t)
	createLedger(t, root, 4)
	l := openLedger(t, c, root, 4)
	lost := 0
	for range 4 {
		l.write(t)
		l.waitFor(t, 20+random.IntN(40))
		lost += r.losePower(t, c, random)
		l.stop()
		c.start(t)
		l.wantAll(t, c.nodes)
	}
	c.wantSameRows(t, l, root)
	for _, n := range c.nodes {
		n.stop(t)
	}
	if lost == 0 {
		t.Error("the disk has lost nothing; the test shows little")
	}
}
