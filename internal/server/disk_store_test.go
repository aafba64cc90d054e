package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/config"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk/faultfs"
)

// troubled is the machine's disk with a fault that can be switched on; nil is none.
type troubled struct {
	disk.FS
	fault atomic.Pointer[faultfs.Hook]
	met   atomic.Int64 // how often it happened
}

func newTroubled() *troubled {
	d := &troubled{}
	d.FS = faultfs.WrapReads(disk.Local(), func(op faultfs.Op) error {
		if hook := d.fault.Load(); hook != nil {
			return (*hook)(op)
		}
		return nil
	})
	return d
}

// on lets what is done to files below a directory fail, or wait in do.
func (d *troubled) on(dir string, do func() error, kinds ...faultfs.Kind) {
	hook := faultfs.Hook(func(op faultfs.Op) error {
		for _, kind := range kinds {
			if op.Kind == kind && strings.Contains(op.Path, dir) {
				d.met.Add(1)
				return do()
			}
		}
		return nil
	})
	d.met.Store(0)
	d.fault.Store(&hook)
}

// ended returns how a node ends, and fails the test when it does not.
func ended(t *testing.T, n *Node) error {
	t.Helper()
	select {
	case <-n.failed:
		return n.Wait()
	case <-time.After(tooLong):
		t.Fatal("the node does not end")
		return nil
	}
}

// takeDown closes a node that has failed, which may say so again, and returns when it is closed.
func takeDown(t *testing.T, n *Node) {
	t.Helper()
	closed := make(chan error, 1)
	go func() {
		bound, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		closed <- n.Close(bound)
	}()
	select {
	case err := <-closed:
		t.Logf("closed: %v", err)
	case <-time.After(tooLong):
		t.Fatal("the node that has failed cannot be closed")
	}
}

// rows are those of the table.
const rows = 30

// threeOnDisks is a cluster of which the second node, on that disk, leads everything, with a table of rows that lie in
// tables of the store and in no cache.
func threeOnDisks(t *testing.T, d *troubled, change ...func(*config.Config)) (nodes []*Node, c client) {
	t.Helper()
	nodes = openClusterOn(t, [3]disk.FS{1: d}, change...)
	waitReady(t, nodes...)
	c = login(t, nodes[0], "root", rootPassword)
	c.sql("CREATE NAMESPACE shop")
	c.sql("CREATE TABLE shop.t (id BIGINT PRIMARY KEY, body TEXT) WITH (TYPE='SHARED')")
	for i := range rows {
		c.sql(fmt.Sprintf("INSERT INTO shop.t VALUES (%d, '%s')", i, strings.Repeat("x", 1000)))
	}
	c.cluster("CLUSTER TRANSFER LEADER 2")
	c.cluster("CLUSTER SNAPSHOT")
	return nodes, c
}

// goesOn writes a row through another node and reads all of them there.
func goesOn(t *testing.T, c client, n *Node, id, want int) {
	t.Helper()
	c = c.at(n)
	within(t, "the others go on", func() bool {
		status, _ := c.post("/v1/api/sql", map[string]any{"sql": fmt.Sprintf("INSERT INTO shop.t VALUES (%d, 'later') ON CONFLICT DO NOTHING", id)})
		return status == http.StatusOK
	})
	if got := c.sql("SELECT count(*) FROM shop.t"); !strings.Contains(got, fmt.Sprintf(`[["%d"]]`, want)) {
		t.Errorf("%d rows are expected: %s", want, got)
	}
}

// TestUnreadableStoreEndsTheNode lets the disk of the leader of everything fail all reads of its tables. A query there ends
// with an error or the right answer; the node ends by itself and says which file it was; the others go on; and on a disk
// that is mended it comes back with every row.
func TestUnreadableStoreEndsTheNode(t *testing.T) {
	t.Parallel()
	d := newTroubled()
	nodes, c := threeOnDisks(t, d)
	victim := nodes[1]
	d.on("/store/", func() error { return syscall.EIO }, faultfs.Read)
	status, body := c.at(victim).post("/v1/api/sql", map[string]any{"sql": "SELECT count(*), min(length(body)) FROM shop.t"})
	if status == http.StatusOK && !strings.Contains(string(body), fmt.Sprintf(`"%d"`, rows)) {
		t.Errorf("a query on a disk that cannot be read: %d %s", status, body)
	}
	err := ended(t, victim)
	if !errors.Is(err, syscall.EIO) || !strings.Contains(err.Error(), "read ") || !strings.Contains(err.Error(), "/store/") {
		t.Errorf("the node ends with %v", err)
	}
	if d.met.Load() == 0 {
		t.Error("no read has failed; the test shows nothing")
	}
	goesOn(t, c, nodes[0], rows, rows+1)
	takeDown(t, victim)
	again := reopen(t, victim.cfg)
	waitReady(t, again.Node)
	goesOn(t, c, again.Node, rows+1, rows+2)
}

// TestBrokenStagingEndsTheNode lets the disk fail writes of a snapshot that arrives: to have it sent again for ever would help nobody.
func TestBrokenStagingEndsTheNode(t *testing.T) {
	t.Parallel()
	d := newTroubled()
	nodes, c := threeOnDisks(t, d)
	victim := wantsSnapshot(t, c, nodes)
	d.on("/staging/", func() error { return syscall.EIO }, faultfs.Write)
	victim = restart(t, victim.cfg, d)
	if err := ended(t, victim); !errors.Is(err, syscall.EIO) || !strings.Contains(err.Error(), "/staging/") {
		t.Errorf("the node ends with %v", err)
	}
	takeDown(t, victim)
	again := reopen(t, victim.cfg)
	waitReady(t, again.Node)
	goesOn(t, c, again.Node, 101, rows+1)
}

// wantsSnapshot stops the second node, whose list of tables is damaged then: it comes back as a new replica, and the log does not
// reach back far enough for one.
func wantsSnapshot(t *testing.T, c client, nodes []*Node) *Node {
	t.Helper()
	within(t, "the log is cut", func() bool {
		return !slices.ContainsFunc(c.cluster("CLUSTER PURGE --upto 15 ON GROUP 200"), func(o outcome) bool { return o.upto < 15 })
	})
	closeNode(t, nodes[1])
	damageFiles(t, filepath.Join(nodes[1].cfg.Storage.DataPath, "store"), "MANIFEST-*", 30)
	return nodes[1]
}

// restart opens a node again on its addresses and a disk.
func restart(t *testing.T, cfg *config.Config, d disk.FS) *Node {
	t.Helper()
	cfg.Server.Host, cfg.Server.Port = splitAddress(t, cfg.Cluster.APIAddr)
	return openNode(t, cfg, Options{fs: d})
}

// TestHungStoreEndsTheNode lets one kind of call of the leader's disk not come back: a flush of the store, a read of it, and
// the arrival of a snapshot. After the limit the node says which call it was, the others lead and go on, and the process can
// do nothing but end. Here it is let go, so that it can start again.
func TestHungStoreEndsTheNode(t *testing.T) {
	t.Parallel()
	for _, hang := range []struct {
		dir, call string
		kind      faultfs.Kind
	}{
		{"/store/", "sync", faultfs.Sync}, {"/store/", "read", faultfs.Read}, {"/staging/", "write", faultfs.Write},
	} {
		t.Run(hang.call+" of "+hang.dir, func(t *testing.T) {
			t.Parallel()
			d := newTroubled()
			nodes, c := threeOnDisks(t, d, func(cfg *config.Config) { cfg.Storage.HangLimitSecs = 2 })
			victim := nodes[1]
			release := make(chan struct{})
			if hang.dir == "/staging/" {
				victim = wantsSnapshot(t, c, nodes)
			}
			d.on(hang.dir, func() error { <-release; return nil }, hang.kind)
			asked := make(chan struct{})
			if hang.dir == "/staging/" {
				close(asked)
				victim = restart(t, victim.cfg, d)
			} else {
				go func() {
					defer close(asked)
					c.at(victim).post("/v1/api/sql", map[string]any{"sql": "SELECT min(length(body)) FROM shop.t"}) // its end is not what is asked about
				}()
				if hang.kind != faultfs.Read {
					go func() { _ = victim.store.Flush() }()
				}
			}
			err := ended(t, victim)
			if !errors.Is(err, ErrDiskHangs) || !strings.Contains(err.Error(), hang.dir) || !strings.Contains(err.Error(), "the "+hang.call+" of") {
				t.Errorf("the node ends with %v", err)
			}
			if d.met.Load() == 0 {
				t.Error("nothing hangs; the test shows nothing")
			}
			if hang.dir != "/staging/" {
				victim.network.Stop(t.Context()) // what the end of the process does
			}
			goesOn(t, c, nodes[0], 100, rows+1)
			d.fault.Store(nil)
			close(release)
			<-asked
			takeDown(t, victim)
			again := reopen(t, victim.cfg)
			waitReady(t, again.Node)
			goesOn(t, c, again.Node, 101, rows+2)
		})
	}
}

// TestHungStoreLeadsNothing lets reads of the tables of the leader of everything hang, for less than ends a node: it hands over all that it leads, so
// that a change that waits for it is done by another, once. When its disk answers again, it has what the others have.
func TestHungStoreLeadsNothing(t *testing.T) {
	t.Parallel()
	d := newTroubled()
	nodes, c := threeOnDisks(t, d, func(cfg *config.Config) { cfg.Storage.HangLimitSecs = 86400 })
	victim := nodes[1]
	release := make(chan struct{})
	d.on("/store/", func() error { <-release; return nil }, faultfs.Read)
	within(t, "a change is done", func() bool {
		status, _ := c.post("/v1/api/sql", map[string]any{"sql": "UPDATE shop.t SET body = body || 'y' WHERE id = 7 AND length(body) = 1000"})
		return status == http.StatusOK
	})
	if d.met.Load() == 0 || !victim.engine().Ailing() {
		t.Error("nothing hangs; the test shows nothing")
	}
	within(t, "the node leads nothing", func() bool { return victim.engine().LeaderCount() == 0 })
	goesOn(t, c, nodes[0], rows, rows+1)
	if got := c.sql("SELECT length(body) FROM shop.t WHERE id = 7"); !strings.Contains(got, `[[1001]]`) {
		t.Errorf("the change was not done once: %s", got)
	}
	select {
	case <-victim.failed:
		t.Errorf("the node ended: %v", victim.Wait())
	default:
	}
	d.fault.Store(nil)
	close(release)
	goesOn(t, c, victim, rows+1, rows+2)
	if got := c.at(victim).sql("SELECT length(body) FROM shop.t WHERE id = 7"); !strings.Contains(got, `[[1001]]`) {
		t.Errorf("the node that hung has %s", got)
	}
}
