package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// smallDisk mounts a file system of that size at a node's data directory, or skips the test.
func (n *node) smallDisk(t *testing.T, bytes int64) {
	t.Helper()
	if err := os.MkdirAll(n.dataDir(), 0o750); err != nil {
		t.Fatal(err)
	}
	err := syscall.Mount("kalamdb-e2e", n.dataDir(), "tmpfs", 0, fmt.Sprintf("size=%d", bytes))
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EACCES) {
		t.Skipf("mounting a small disk needs root: %v", err)
	}
	if err != nil {
		t.Fatalf("mount a small disk: %v", err)
	}
	t.Cleanup(func() {
		if n.running() {
			n.kill(t)
		}
		if err := syscall.Unmount(n.dataDir(), syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount the small disk of %v: %v", n, err)
		}
	})
}

// fill takes all room but so many bytes; the function that it returns gives it back.
func (n *node) fill(t *testing.T, leave int64) (free func()) {
	t.Helper()
	path := filepath.Join(n.dataDir(), "ballast")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if err := growTo(f, leave); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

// growTo writes to a file until its disk has no more than so many bytes left.
func growTo(f *os.File, leave int64) error {
	chunk := make([]byte, 64<<10)
	for {
		var usage syscall.Statfs_t
		if err := syscall.Fstatfs(int(f.Fd()), &usage); err != nil {
			return err
		}
		room := int64(usage.Bavail)*usage.Bsize - leave
		if room <= 0 {
			return nil
		}
		if _, err := f.Write(chunk[:min(room, int64(len(chunk)))]); err != nil && !errors.Is(err, syscall.ENOSPC) {
			return err
		}
	}
}

// keepFull takes what a node gives back, tables that were merged for one, until it is stopped.
func (n *node) keepFull(t *testing.T, leave int64) (stop func()) {
	t.Helper()
	f, err := os.Create(filepath.Join(n.dataDir(), "more-ballast"))
	if err != nil {
		t.Fatal(err)
	}
	done, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		each := time.NewTicker(time.Millisecond)
		defer each.Stop()
		for {
			select {
			case <-each.C:
				if err := growTo(f, leave); err != nil {
					ended <- err
					return
				}
			case <-done:
				ended <- errors.Join(f.Close(), os.Remove(f.Name()))
				return
			}
		}
	}()
	return func() {
		t.Helper()
		close(done)
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

// TestFullDisk fills the disks of a cluster: writes are refused with a code that says what to do, reading, deleting and
// logging in go on, and so do writes once there is room. Then it leaves one node no room at all under writes: the others
// go on without it, and it catches up by itself.
func TestFullDisk(t *testing.T) {
	const floor = 16 << 20
	c := prepareCluster(t, 3, settings{
		"storage.min_free_bytes": floor, "raft.log_segment_bytes": 1 << 20, "cluster.user_shards": 2,
	})
	for _, n := range c.nodes {
		n.smallDisk(t, 128<<20)
	}
	c.nodes[0].settings["raft.log_store"] = "pebble"
	c.start(t)
	root := c.nodes[0].root(t)
	root.must(t, "CREATE NAMESPACE app")
	root.must(t, "CREATE TABLE app.t (id INT PRIMARY KEY, body TEXT) WITH (TYPE = 'SHARED')")
	const insert = "INSERT INTO app.t (id, body) VALUES ($1, $2)"
	body := strings.Repeat("kalam ", 4<<10)
	for id := range 10 {
		root.must(t, insert, id, body)
	}

	var free []func()
	for _, n := range c.nodes {
		free = append(free, n.fill(t, floor/2))
	}
	eventually(t, "writes are refused", func() error {
		got, err := root.sql(t.Context(), insert, 10, body)
		if err != nil || got.HTTP == http.StatusInsufficientStorage {
			return err
		}
		if !got.ok() && !got.duplicate() {
			t.Fatalf("insert on a full disk: %v", got)
		}
		return fmt.Errorf("answered %d", got.HTTP)
	})
	for _, n := range c.nodes {
		got, err := root.at(n).sql(t.Context(), insert, 11, body)
		if err != nil || got.HTTP != http.StatusInsufficientStorage || got.Error == nil || got.Error.Code != "DISK_FULL" ||
			!strings.Contains(got.Error.Message, "delete rows") {
			t.Errorf("%v: insert on a full disk: %v, %v; want 507 DISK_FULL and what to do", n, got, err)
		}
		if rows := root.at(n).number(t, "SELECT COUNT(*) FROM app.t"); rows < 10-int64(n.id-1) {
			t.Errorf("%v reads %d rows on a full disk, of which %d were deleted, want 10 or more", n, rows, n.id-1)
		}
		root.at(n).must(t, "DELETE FROM app.t WHERE id = $1", n.id)
		n.root(t)
	}
	for _, give := range free {
		give()
	}
	for _, n := range c.nodes {
		root.at(n).soon(t, insert, 20+n.id, body)
	}

	// One keeps its log in pairs, the other one in segments.
	root.soon(t, "CLUSTER TRANSFER LEADER 3 ON GROUP 200")
	for i, full := range c.nodes[:2] {
		c.wantToGoOnWithout(t, root, full, insert, body, 100+200*i)
	}
	c.wantEqualDigests(t, root, "t", 100)
}

// TestLeadershipsLeaveANearlyFullDisk fills the disk of the node that leads the shared group until it is nearly full: it hands
// over all that it leads, without a refusal, and leads again when there is room.
func TestLeadershipsLeaveANearlyFullDisk(t *testing.T) {
	const floor = 16 << 20
	c := prepareCluster(t, 3, settings{
		"storage.min_free_bytes": floor, "raft.log_segment_bytes": 1 << 20, "cluster.user_shards": 5,
	})
	for _, n := range c.nodes {
		n.smallDisk(t, 128<<20)
	}
	c.start(t)
	root := c.nodes[0].root(t)
	root.must(t, "CREATE NAMESPACE app")
	root.must(t, "CREATE TABLE app.t (id INT PRIMARY KEY, body TEXT) WITH (TYPE = 'SHARED')")
	full := c.leaderOf(t, root, sharedGroup, c.nodes)
	free := full.fill(t, floor+floor/8)
	id := 0
	leads := func() (count int) {
		groups, err := root.at(full).groups(t)
		if err != nil {
			t.Fatal(err)
		}
		for _, g := range groups {
			if g.state == "leader" {
				count++
			}
		}
		return count
	}
	eventually(t, "the node leads nothing", func() error {
		id++
		got, err := root.at(full).sql(t.Context(), "INSERT INTO app.t (id, body) VALUES ($1, 'x')", id)
		if err != nil || got.HTTP == http.StatusInsufficientStorage {
			t.Fatalf("insert while leaderships move: %v, %v", got, err)
		}
		if count := leads(); count > 0 {
			return fmt.Errorf("it leads %d groups", count)
		}
		return nil
	})
	free()
	eventually(t, "the node leads again", func() error {
		if leads() == 0 {
			return errors.New("it leads nothing")
		}
		return nil
	})
}

// wantToGoOnWithout takes every byte from a node, and writes more than its log has prepared for.
func (c *cluster) wantToGoOnWithout(t *testing.T, root *client, full *node, insert, body string, first int) {
	t.Helper()
	other := c.others(full)[1]
	free := full.fill(t, 0)
	for id := first; id < first+200; id++ {
		root.at(other).soon(t, insert, id, body)
	}
	eventually(t, fmt.Sprintf("the log of %v finds no room", full), func() error {
		if text, err := os.ReadFile(full.logPath(full.starts)); err != nil || !strings.Contains(string(text), "the log has no room") {
			return fmt.Errorf("its log does not say so, %w", err)
		}
		return nil
	})
	if !full.running() {
		t.Fatalf("%v ended on a full disk", full)
	}
	free()
	full.waitReady(t)
}
