package server

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/config"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
)

// flipByte changes one byte of a file.
func flipByte(t *testing.T, path string, offset int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	one := make([]byte, 1)
	if _, err = f.ReadAt(one, offset); err == nil {
		one[0] ^= 0x10
		_, err = f.WriteAt(one, offset)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

// damageFiles changes a byte in every file of a directory that matches; a log is hit in its first record.
func damageFiles(t *testing.T, dir, pattern string, offset int64) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(paths) == 0 {
		t.Fatalf("%s in %s: %v, %v", pattern, dir, paths, err)
	}
	for _, path := range paths {
		flipByte(t, path, offset)
	}
}

// logLines is a log that tests can search.
type logLines struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (l *logLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logLines) has(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.buf.String(), text)
}

// running is a node that starts again when it finds damage, as the program does.
type running struct {
	*Node
	lines *logLines
	watch func() // called now and then while it is repaired, when it is there
}

// reopen starts a node again on its addresses, collecting its log.
func reopen(t *testing.T, cfg *config.Config) *running {
	t.Helper()
	cfg.Server.Host, cfg.Server.Port = splitAddress(t, cfg.Cluster.APIAddr)
	r := &running{lines: &logLines{}}
	r.open(t, cfg)
	t.Cleanup(func() { closeNode(t, r.Node) })
	return r
}

func (r *running) open(t *testing.T, cfg *config.Config) {
	t.Helper()
	var err error
	if r.Node, err = Open(t.Context(), cfg, Options{Logger: slog.New(slog.NewTextHandler(r.lines, nil))}); err != nil {
		t.Fatalf("%v\n%s", err, r.lines.buf.String())
	}
}

// waitRepaired returns when the node has forgotten its damage.
func (r *running) waitRepaired(t *testing.T) {
	t.Helper()
	deadline := time.Now().Add(tooLong)
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for !r.lines.has("the node is repaired") {
		select {
		case <-r.failed:
			if err := r.Wait(); !errors.Is(err, ErrDamaged) {
				t.Fatal(err)
			}
			closeNode(t, r.Node)
			r.open(t, r.cfg)
		case <-ticker.C:
			if id := r.who(); r.watch != nil && id.Damage != nil && id.State != stateDamaged {
				r.watch()
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("node %d is still damaged: %+v, %s", r.cfg.Cluster.NodeID, r.who(), r.whyWaiting())
		}
	}
}

func splitAddress(t *testing.T, addr string) (host string, port int) {
	t.Helper()
	host, rest, _ := strings.Cut(addr, ":")
	if _, err := fmt.Sscan(rest, &port); err != nil {
		t.Fatal(err)
	}
	return host, port
}

// TestDamagedNodeIsRepairedByTheOthers flips bits in the log of one node, in the tables of another and in the list of
// tables, one after the other. Each must come back as a new replica with every row, and say so.
func TestDamagedNodeIsRepairedByTheOthers(t *testing.T) {
	t.Parallel()
	flip := func(pattern string, offset int64) func(string) {
		return func(dir string) { damageFiles(t, dir, pattern, offset) }
	}
	repairedByTheOthers(t, []diskFault{
		{"log", flip("log/raft-*.log", 4096+100)},
		{"table", flip("store/*.sst", 3)},
		{"list of tables", flip("store/MANIFEST-*", 12)},
	})
}

// TestLostLogOrStoreIsRepairedByTheOthers takes a node its log, and another one its store. What they have promised is gone with it, so
// they come back as new replicas.
func TestLostLogOrStoreIsRepairedByTheOthers(t *testing.T) {
	t.Parallel()
	remove := func(name string) func(string) {
		return func(dir string) {
			if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	repairedByTheOthers(t, []diskFault{{"no log", remove("log")}, {"no store", remove("store")}})
}

// TestMisplacedBlocksAreRepairedByTheOthers puts an old block of a node's own log in the place of a later one, and the block of
// another node's log in its place. Both are what a disk wrote once, every byte of them right: only the place is wrong.
func TestMisplacedBlocksAreRepairedByTheOthers(t *testing.T) {
	t.Parallel()
	const block = blockBytes
	first := func(dir string) string {
		paths, err := filepath.Glob(filepath.Join(dir, "log", "raft-*.log"))
		if err != nil || len(paths) == 0 {
			t.Fatalf("no log in %s: %v", dir, err)
		}
		return paths[0]
	}
	replace := func(path string, at int64, by []byte) {
		was := readBlock(t, path, at)
		if bytes.Equal(was, by) || bytes.Equal(readBlock(t, path, at+block), make([]byte, block)) {
			t.Fatalf("the block at %d of %s is the same, or the last one; the test shows nothing", at, path)
		}
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.WriteAt(by, at)
		if err = errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
	}
	var other string
	repairedByTheOthers(t, []diskFault{
		{"an old block", func(dir string) {
			replace(first(dir), 3*block, readBlock(t, first(dir), block))
			other = dir
		}},
		{"a block of another log", func(dir string) { replace(first(dir), block, readBlock(t, first(other), block)) }},
	})
}

// blockBytes is what a disk writes at once.
const blockBytes = 4096

func readBlock(t *testing.T, path string, at int64) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil || int64(len(content)) < at+blockBytes {
		t.Fatalf("%s has %d bytes, %v", path, len(content), err)
	}
	return content[at : at+blockBytes]
}

// diskFault is what happens to the files of a node that is down.
type diskFault struct {
	name string
	do   func(dir string)
}

// repairedByTheOthers lets the faults happen to one node after the other.
func repairedByTheOthers(t *testing.T, faults []diskFault, change ...func(*config.Config)) {
	t.Helper()
	nodes := openCluster(t, change...)
	waitReady(t, nodes...)
	c := login(t, nodes[0], "root", rootPassword)
	c.sql("CREATE NAMESPACE shop")
	c.sql("CREATE TABLE shop.t (id BIGINT PRIMARY KEY, name TEXT) WITH (TYPE='SHARED')")
	for i, fault := range faults {
		c.sql(fmt.Sprintf("INSERT INTO shop.t (id, name) VALUES (%d, '%s')", i, strings.Repeat("row", 10_000))) // some blocks of the log
		victim := nodes[i%2+1]
		before := victim.who()
		closeNode(t, victim)
		fault.do(victim.cfg.Storage.DataPath)
		again := reopen(t, victim.cfg)
		again.waitRepaired(t)
		nodes[i%2+1] = again.Node
		waitReady(t, nodes...)
		if now := again.who(); now.Store == before.Store || now.Replica == before.Replica || now.Cluster != before.Cluster {
			t.Errorf("%s: the damaged replica %+v speaks again as %+v", fault.name, before, now)
		}
		for _, want := range []string{"wrong bytes were found on disk", "damaged files were put aside", "the node is repaired"} {
			if !again.lines.has(want) {
				t.Errorf("%s: nothing in the log says %q", fault.name, want)
			}
		}
		if left, err := again.asides(); err != nil || len(left) != 0 {
			t.Errorf("%s: %v is left of the damage, %v", fault.name, left, err)
		}
		c.url = "http://" + again.APIAddr()
		if got := c.sql("SELECT count(*) FROM shop.t"); !strings.Contains(got, fmt.Sprintf(`"rows":[["%d"]]`, i+1)) {
			t.Errorf("%s: the repaired node answers %s", fault.name, got)
		}
	}
}

// TestDamagedNodesFoundNoCluster damages every node of a cluster: none has anybody to ask, and none may start over
// with nothing. What was there stays beside the empty directories.
func TestDamagedNodesFoundNoCluster(t *testing.T) {
	t.Parallel()
	nodes := openCluster(t)
	waitReady(t, nodes...)
	for _, n := range nodes {
		closeNode(t, n)
		damageFiles(t, filepath.Join(n.cfg.Storage.DataPath, "log"), "raft-*.log", 4096+100)
	}
	for i, n := range nodes {
		nodes[i] = reopen(t, n.cfg).Node
	}
	// Each has asked the others often enough to found a cluster, if it would.
	for range 10 {
		for _, n := range nodes {
			if done, err := n.tryAdmission(t.Context()); done || err != nil {
				t.Fatalf("node %d: admitted %v, %v", n.cfg.Cluster.NodeID, done, err)
			}
		}
	}
	for _, n := range nodes {
		if id := n.who(); id.State != stateRepairing || id.Cluster.IsZero() {
			t.Errorf("node %d became %+v", id.Node, id)
		}
		kept := filepath.Join(n.cfg.Storage.DataPath, asidePrefix+n.who().Damage.Store)
		if names, err := os.ReadDir(filepath.Join(kept, "log")); err != nil || len(names) == 0 {
			t.Errorf("node %d keeps %v of its log, %v", n.cfg.Cluster.NodeID, names, err)
		}
		if readiness := (clusterView{n}).Ready(t.Context()); readiness.Ready || !strings.Contains(fmt.Sprint(readiness), "damaged") {
			t.Errorf("node %d says %+v", n.cfg.Cluster.NodeID, readiness)
		}
	}
}

// TestDamageOfALonelyNodeIsLeftAlone opens a damaged standalone directory twice: it is refused, and not a byte changes.
func TestDamageOfALonelyNodeIsLeftAlone(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t.TempDir())
	n := openNode(t, cfg, Options{})
	waitReady(t, n)
	closeNode(t, n)
	logDir := filepath.Join(cfg.Storage.DataPath, "log")
	damageFiles(t, logDir, "raft-*.log", 4096+100)
	before := readTree(t, cfg.Storage.DataPath)
	for range 2 {
		_, err := Open(t.Context(), cfg, Options{})
		if err == nil || errors.Is(err, ErrDamaged) || !isDamage(err) || !strings.Contains(err.Error(), "runs alone") {
			t.Fatalf("open: %v", err)
		}
		after := readTree(t, cfg.Storage.DataPath)
		for path, content := range before {
			if after[path] != content {
				t.Errorf("%s has changed", path)
			}
		}
	}
}

// readTree reads the log and the identity below a directory; the store may write when it is opened.
func readTree(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	for _, pattern := range []string{identityFile, "log/raft-*.log"} {
		paths, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			raw, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			files[path] = string(raw)
		}
	}
	return files
}

// TestPuttingAsideCanBeRepeated crashes between any two steps of putting damaged files aside.
func TestPuttingAsideCanBeRepeated(t *testing.T) {
	t.Parallel()
	for crash := range 4 {
		dir := t.TempDir()
		for _, name := range []string{"log", "store"} {
			if err := os.MkdirAll(filepath.Join(dir, name), 0o750); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, name, "content"), []byte(name), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		n := directoryNode(t, dir)
		n.identity.State, n.identity.ClusterID = stateDamaged, "test"
		n.identity.Damage = &damage{Store: n.identity.Store.String(), Replica: 3, Reason: "a test"}
		aside := filepath.Join(dir, asidePrefix+n.identity.Damage.Store)
		for step, name := range []string{"", "log", "store"} {
			if step >= crash {
				break
			}
			if err := os.MkdirAll(aside, 0o750); err != nil {
				t.Fatal(err)
			}
			if name != "" {
				if err := os.Rename(filepath.Join(dir, name), filepath.Join(aside, name)); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := n.putAside(); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"log", "store"} {
			if raw, err := os.ReadFile(filepath.Join(aside, name, "content")); err != nil || string(raw) != name {
				t.Errorf("crash %d: %s holds %q, %v", crash, name, raw, err)
			}
		}
		stored, err := loadIdentity(n.fs, dir, n.random)
		if err != nil || stored.State != stateRepairing || stored.Store.String() == n.identity.Damage.Store || stored.Replica != 0 {
			t.Errorf("crash %d: identity %+v, %v", crash, stored, err)
		}
	}
}

// TestThirdDamageIsRefused finds two damaged copies already put aside.
func TestThirdDamageIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for i := range maxAside {
		if err := os.MkdirAll(filepath.Join(dir, fmt.Sprintf("%s%d", asidePrefix, i)), 0o750); err != nil {
			t.Fatal(err)
		}
	}
	n := directoryNode(t, dir)
	n.identity.State, n.identity.Damage = stateDamaged, &damage{Store: "new", Reason: "a test"}
	if err := n.putAside(); err == nil || !strings.Contains(err.Error(), "Replace it") {
		t.Errorf("put aside: %v", err)
	}
}

// directoryNode is as much of a node as its directory needs.
func directoryNode(t *testing.T, dir string) *Node {
	t.Helper()
	cfg := testConfig(dir)
	n := &Node{cfg: cfg, logger: slog.New(slog.DiscardHandler), fs: disk.Watch(disk.Local(), clock.Real{}), clock: clock.Real{}, random: bytes.NewReader(bytes.Repeat([]byte{7}, 64))}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	n.identity = identity{Version: 1, State: stateMember}
	n.identity.Store[0] = 9
	return n
}
