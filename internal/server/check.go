package server

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/kalamdb/kalamdb-go/internal/config"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/pairlog"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/raftlog"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
)

// This file looks at the directory of a node that does not run, and changes nothing in it.

// maxFindings bounds what a check tells one by one; what is beyond is counted.
const maxFindings = 200

// CheckReport is what Check found.
type CheckReport struct {
	Dir       string         `json:"dir"`
	State     string         `json:"state,omitempty"`
	Node      ident.NodeID   `json:"node_id,omitempty"`
	ClusterID string         `json:"cluster_id,omitempty"`
	Replica   uint64         `json:"replica_id,omitempty"`
	Store     string         `json:"store_id,omitempty"`
	Log       CheckedLog     `json:"log"`
	Tables    CheckedTables  `json:"store"`
	Cold      CheckedCold    `json:"cold"`
	Groups    []CheckedGroup `json:"groups"`
	// Damage counts the findings that are damage; more of them may exist than Findings lists.
	Damage   int            `json:"damage"`
	Omitted  int            `json:"omitted,omitempty"`
	Findings []CheckFinding `json:"findings"`
}

// CheckedLog counts what the log consists of.
type CheckedLog struct {
	Store    string `json:"store"`    // segments or pebble, as raft.log_store
	Segments int    `json:"segments"` // files
	Spares   int    `json:"spares"`
	Bytes    int64  `json:"bytes"`
	Records  uint64 `json:"records"` // of pebble: pairs
}

// CheckedTables counts what the store consists of.
type CheckedTables struct {
	Files int    `json:"files"`
	Bytes int64  `json:"bytes"`
	Keys  uint64 `json:"keys"`
}

// CheckedGroup is one group as log and store say. Replicas of a group with the same applied index have the same
// digest.
type CheckedGroup struct {
	Group   string `json:"group"`
	Applied uint64 `json:"applied_index"`
	First   uint64 `json:"first_log_index"`
	Last    uint64 `json:"last_log_index"`
	Commit  uint64 `json:"commit_index"`
	Term    uint64 `json:"term"`
	Keys    uint64 `json:"keys"`
	Rows    uint64 `json:"rows"`
	Digest  string `json:"digest"`
}

// CheckFinding is one thing that is to be said about a file or a group.
type CheckFinding struct {
	Damage bool   `json:"damage"` // false: it is harmless, or was taken care of
	Part   string `json:"part"`   // node.id, orders, log, store, state, cold or staging
	Where  string `json:"where,omitempty"`
	Text   string `json:"text"`
}

// ErrInUse is returned for the directory of a node that runs.
var ErrInUse = errors.New("a running process uses the directory")

// ErrNoDirectory is returned for a directory that is not a node's.
var ErrNoDirectory = errors.New("not a data directory")

// checker collects.
type checker struct {
	fs       disk.FS
	dir      string
	report   *CheckReport
	identity identity
	known    bool // identity is good
}

// Check verifies the files of a node that does not run: who it is, its log and store with all checksums, whether what
// they hold can be decoded, and whether they fit together. It goes on behind damage, to tell all of it, and changes
// nothing.
func Check(dir string) (report *CheckReport, err error) {
	fsys := disk.Local()
	report = &CheckReport{Dir: dir, Groups: []CheckedGroup{}, Findings: []CheckFinding{}}
	c := &checker{fs: fsys, dir: dir, report: report}
	if err = c.looksLikeOne(); err != nil {
		return nil, err
	}
	lock, err := fsys.Lock(filepath.Join(dir, "LOCK"))
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w; stop the node first (%w)", dir, ErrInUse, err)
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	c.checkIdentity()
	if _, err = loadOrders(fsys, dir); err != nil {
		c.damage("orders", ordersFile, err.Error())
	}
	logged, err := c.checkLog()
	if err != nil {
		return nil, err
	}
	if err = c.checkStore(logged); err != nil {
		return nil, err
	}
	return report, c.checkStaging()
}

// looksLikeOne refuses a directory in which no node ever was.
func (c *checker) looksLikeOne() error {
	names, err := c.fs.List(c.dir)
	if err != nil {
		return fmt.Errorf("%s: %w: %w", c.dir, ErrNoDirectory, err)
	}
	found := false
	for _, name := range names {
		found = found || name == identityFile || name == "log" || name == "store"
		if strings.HasPrefix(name, asidePrefix) {
			c.note("node.id", name, "files that were found damaged, kept until the node is repaired")
		}
	}
	if !found {
		return fmt.Errorf("%s: %w: there is no %s in it", c.dir, ErrNoDirectory, identityFile)
	}
	return nil
}

func (c *checker) damage(part, where, text string) {
	c.report.Damage++
	c.add(CheckFinding{Damage: true, Part: part, Where: where, Text: text})
}

func (c *checker) note(part, where, text string) {
	c.add(CheckFinding{Part: part, Where: where, Text: text})
}

func (c *checker) add(f CheckFinding) {
	if len(c.report.Findings) >= maxFindings {
		c.report.Omitted++
		return
	}
	c.report.Findings = append(c.report.Findings, f)
}

func (c *checker) checkIdentity() {
	raw, err := readFile(c.fs, filepath.Join(c.dir, identityFile))
	if err == nil {
		c.identity, err = parseIdentity(raw)
	}
	if err != nil {
		c.damage("node.id", identityFile, err.Error())
		return
	}
	id, r := c.identity, c.report
	c.known = true
	r.State, r.Node, r.ClusterID, r.Replica, r.Store = id.State, id.Node, id.ClusterID, uint64(id.Replica), id.Store.String()
	switch {
	case id.State == stateDamaged:
		c.damage("node.id", identityFile, "the node has recorded damage, and will fetch everything from the others: "+id.Damage.Reason)
	case id.Damage != nil:
		c.note("node.id", identityFile, "the node is being repaired: "+id.Damage.Reason)
	case id.State == stateFounding:
		c.note("node.id", identityFile, "founding was interrupted; the next start begins it anew")
	}
	if id.State == stateMember {
		if err := id.Shards.Validate(); err != nil {
			c.damage("node.id", identityFile, err.Error())
			c.known = false
		}
	}
}

// checkLog returns what the log says of each group; nil when that cannot be known.
func (c *checker) checkLog() (map[shard.GroupID]raftlog.InspectedGroup, error) {
	dir := filepath.Join(c.dir, "log")
	if !c.isThere("log") {
		return nil, nil
	}
	var store ident.StoreID
	if c.known {
		store = c.identity.Store
	}
	inspect, missing := raftlog.Inspect, "there are no segments"
	if c.report.Log.Store = c.logStore(); c.report.Log.Store == config.LogPebble {
		inspect, missing = pairlog.Inspect, "there is no log"
	}
	found, err := inspect(c.fs, dir, store)
	if err != nil {
		return nil, fmt.Errorf("check the log: %w", err)
	}
	c.report.Log = CheckedLog{
		Store: c.report.Log.Store, Segments: found.Segments, Spares: found.Spares, Bytes: found.Bytes, Records: found.Records,
	}
	for _, e := range found.Damage {
		c.damage("log", "log", e.Error())
	}
	for _, text := range found.Notes {
		c.note("log", "log", text)
	}
	if found.Segments == 0 && c.isMember() {
		c.damage("log", "log", missing)
	}
	if len(found.Damage) > 0 {
		return nil, nil
	}
	groups := make(map[shard.GroupID]raftlog.InspectedGroup)
	for _, g := range found.Groups {
		groups[g.Group] = g
	}
	return groups, nil
}

// logStore is what the log is kept in. Without an identity its files tell.
func (c *checker) logStore() string {
	if c.known {
		return cmp.Or(c.identity.LogStore, config.LogSegments)
	}
	names, err := c.fs.List(filepath.Join(c.dir, "log"))
	if err == nil && slices.ContainsFunc(names, func(name string) bool { return strings.HasPrefix(name, "MANIFEST-") }) {
		return config.LogPebble
	}
	return config.LogSegments
}

// isMember reports whether the node must have a state.
func (c *checker) isMember() bool { return c.known && c.identity.State == stateMember }

// isThere reports a directory that a member must have.
func (c *checker) isThere(name string) bool {
	_, err := c.fs.Stat(filepath.Join(c.dir, name))
	if err == nil {
		return true
	}
	if c.isMember() || !errors.Is(err, fs.ErrNotExist) {
		c.damage(name, name, fmt.Sprintf("the directory cannot be read: %v", err))
	}
	return false
}

func (c *checker) checkStore(logged map[shard.GroupID]raftlog.InspectedGroup) (err error) {
	if !c.isThere("store") {
		return nil
	}
	engine, found, err := storage.Inspect(storage.Options{FS: c.fs, Dir: filepath.Join(c.dir, "store")})
	if engine != nil {
		defer func() {
			// Nothing was written; what is wrong with the files has been told.
			_ = engine.Close()
		}()
	}
	if err != nil {
		return fmt.Errorf("check the store: %w", err)
	}
	c.report.Tables.Files, c.report.Tables.Bytes = found.Tables, found.Bytes
	for _, e := range found.Damage {
		c.damage("store", c.relative(e.Path), e.Err.Error())
	}
	for _, e := range found.Notes {
		c.note("store", c.relative(e.Path), e.Err.Error())
	}
	if engine != nil && c.isMember() {
		c.checkState(engine, logged)
	}
	return nil
}

func (c *checker) relative(path string) string {
	if name, err := filepath.Rel(c.dir, path); err == nil {
		return name
	}
	return path
}

// checkStaging verifies what has arrived of interrupted snapshots.
func (c *checker) checkStaging() error {
	staging := filepath.Join(c.dir, "staging")
	names, err := c.fs.List(staging)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("check staging: %w", err)
	}
	for _, name := range names {
		files, err := c.fs.List(filepath.Join(staging, name))
		if err != nil {
			continue // a file beside the directories is removed by the next start
		}
		c.note("staging", filepath.Join("staging", name), fmt.Sprintf("an interrupted snapshot of %d files", len(files)))
		for _, file := range files {
			path := filepath.Join(staging, name, file)
			if !strings.HasSuffix(file, ".sst") {
				continue
			}
			if _, err := storage.VerifyTable(c.fs, path); err != nil {
				c.note("staging", c.relative(path), fmt.Sprintf("not whole, so it is fetched again: %v", err))
			}
		}
	}
	return nil
}
