package server

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/config"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/raftlog"
)

func inPairs(cfg *config.Config) { cfg.Raft.LogStore = config.LogPebble }

// pairsNode is the directory of a standalone node that was stopped, with some rows and a log of pairs.
func pairsNode(t *testing.T) *config.Config {
	t.Helper()
	cfg := testConfig(t.TempDir())
	inPairs(cfg)
	for _, text := range []string{"INSERT INTO shop.t (id) VALUES (1)", "INSERT INTO shop.t (id) VALUES (2)"} { // each in a life of its own
		n := openNode(t, cfg, Options{})
		waitReady(t, n)
		c := login(t, n, "root", rootPassword)
		c.sql("CREATE NAMESPACE IF NOT EXISTS shop")
		c.sql("CREATE TABLE IF NOT EXISTS shop.t (id BIGINT PRIMARY KEY) WITH (TYPE='SHARED')")
		c.sql(text)
		series := scrape(t, n)
		if _, has := series["kalamdb_log_segments"]; has || series["kalamdb_log_syncs_total"] == 0 || series["kalamdb_log_live_bytes"] == 0 {
			t.Errorf("metrics of a log of pairs: segments %v, %v syncs, %v bytes", has, series["kalamdb_log_syncs_total"], series["kalamdb_log_live_bytes"])
		}
		if stats := c.sql("SELECT * FROM system.stats"); strings.Contains(stats, "log_segments") || !strings.Contains(stats, "log_syncs") {
			t.Errorf("system.stats: %s", stats)
		}
		closeNode(t, n)
	}
	return cfg
}

// TestLogOfPairsIsRecorded: a directory keeps the log that it was founded with, programs that do not know it refuse the directory, and
// another setting is refused with what to do, and changes nothing.
func TestLogOfPairsIsRecorded(t *testing.T) {
	t.Parallel()
	pairs, segments := pairsNode(t), testConfig(t.TempDir())
	n := openNode(t, segments, Options{})
	waitReady(t, n)
	closeNode(t, n)
	raw, err := os.ReadFile(filepath.Join(pairs.Storage.DataPath, identityFile))
	if err != nil {
		t.Fatal(err)
	}
	if _, err = parseIdentityUpTo(raw, dataFormat); !errors.Is(err, errNewerData) {
		t.Errorf("a program without this log: %v", err)
	}
	for _, c := range []struct {
		cfg       *config.Config
		is, other string
	}{{pairs, config.LogPebble, config.LogSegments}, {segments, config.LogSegments, config.LogPebble}} {
		before := contents(t, c.cfg.Storage.DataPath)
		wrong := *c.cfg
		wrong.Raft.LogStore = c.other
		again, err := Open(t.Context(), &wrong, Options{})
		if err == nil {
			closeNode(t, again)
			t.Fatalf("a node starts with %s on a log in %s", c.other, c.is)
		}
		for _, want := range []string{`raft.log_store = "` + c.other + `"`, "kept in " + c.is, "want " + c.is, "empty " + c.cfg.Storage.DataPath, "docs/ops/lose-a-node.md"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("the refusal %q does not say %q", err, want)
			}
		}
		if !maps.Equal(before, contents(t, c.cfg.Storage.DataPath)) {
			t.Errorf("the refused node changed the directory of a log in %s", c.is)
		}
	}
}

// TestLogIsChosenBeforeAnythingIsPromised: a node that is no member yet takes whichever log is configured, back and forth.
func TestLogIsChosenBeforeAnythingIsPromised(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, store := range []string{config.LogSegments, config.LogPebble, config.LogSegments, config.LogPebble} {
		n := directoryNode(t, dir)
		n.cfg.Raft.LogStore = store
		if err := n.openDirectory(); err != nil {
			t.Fatal(err)
		}
		names, err := os.ReadDir(filepath.Join(dir, "log"))
		if err != nil {
			t.Fatal(err)
		}
		isPairs := slices.ContainsFunc(names, func(e os.DirEntry) bool { return strings.HasPrefix(e.Name(), "MANIFEST-") })
		hasSegments := slices.ContainsFunc(names, func(e os.DirEntry) bool { return strings.HasPrefix(e.Name(), "raft-") })
		want := store == config.LogPebble
		if isPairs != want || hasSegments == want || n.identity.State != stateFresh || (n.identity.Version == pairsFormat) != want {
			t.Errorf("with %s: identity %+v, files %v", store, n.identity, names)
		}
		if err := n.closeStores(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestCheckOfALogOfPairs: a sound one has no findings and is not changed; damage is told, and the node does not start.
func TestCheckOfALogOfPairs(t *testing.T) {
	t.Parallel()
	cfg := pairsNode(t)
	dir := cfg.Storage.DataPath
	before := contents(t, dir)
	report := check(t, dir)
	if l := report.Log; report.Damage != 0 || len(report.Findings) != 0 || l.Store != config.LogPebble || l.Records < 10 || l.Segments < 2 || l.Bytes == 0 {
		t.Errorf("log %+v, findings: %+v", report.Log, report.Findings)
	}
	if !maps.Equal(before, contents(t, dir)) {
		t.Error("checking changed the directory")
	}
	logged := slices.IndexFunc(report.Groups, func(g CheckedGroup) bool { return g.Group == "data:shared:00" })
	if logged < 0 || report.Groups[logged].Last == 0 || report.Groups[logged].Term == 0 {
		t.Errorf("groups %+v", report.Groups)
	}
	remove := func(pattern string) func(string) {
		return func(dir string) {
			paths, err := filepath.Glob(filepath.Join(dir, pattern))
			if err != nil || len(paths) == 0 {
				t.Fatalf("%s: %v %v", pattern, paths, err)
			}
			for _, path := range paths {
				if err := os.RemoveAll(path); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	flip := func(pattern string, at int64) func(string) {
		return func(dir string) { damageFiles(t, filepath.Join(dir, "log"), pattern, at) }
	}
	for name, c := range map[string]struct {
		damage func(dir string)
		says   string
	}{
		"a table":                 {damage: flip("*.sst", 3), says: "orrupt"},
		"no table":                {damage: remove("log/*.sst"), says: "orrupt"},
		"what was written last":   {damage: flip("*.log", 40), says: "orrupt"},
		"nothing written last":    {damage: remove("log/*.log"), says: "what was written last are missing"},
		"the list of tables":      {damage: flip("MANIFEST-*", 12), says: "orrupt"},
		"an empty directory":      {damage: remove("log/*"), says: "there is no log"},
		"no log":                  {damage: remove("log"), says: "cannot be read"},
		"a log of another store":  {damage: func(dir string) { otherStore(t, dir) }, says: "another store"},
		"no identity, and damage": {damage: func(dir string) { remove(identityFile)(dir); flip("*.sst", 3)(dir) }, says: "orrupt"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			damaged := copyOf(t, dir)
			c.damage(damaged)
			before := contents(t, damaged)
			report := check(t, damaged)
			if !slices.ContainsFunc(report.Findings, func(f CheckFinding) bool { return f.Damage && f.Part == "log" && strings.Contains(f.Text, c.says) }) {
				t.Errorf("want damage of the log that says %q, got %+v", c.says, report.Findings)
			}
			if !maps.Equal(before, contents(t, damaged)) {
				t.Error("checking changed the directory")
			}
			own := *cfg
			own.Storage.DataPath = damaged
			n, err := Open(t.Context(), &own, Options{})
			if err == nil {
				closeNode(t, n)
				t.Fatal("a node starts on it")
			}
			if known := !strings.Contains(name, "identity"); known && !isDamage(err) && !errors.Is(err, raftlog.ErrWrongStore) {
				t.Errorf("the node ends with %v, want damage", err)
			}
		})
	}
}

// TestLostLogOfPairsIsRepairedByTheOthers takes the logs of two nodes of a cluster with both kinds of logs. Each comes back as a
// new replica.
func TestLostLogOfPairsIsRepairedByTheOthers(t *testing.T) {
	t.Parallel()
	mixed := func(cfg *config.Config) {
		if cfg.Cluster.NodeID != 1 {
			inPairs(cfg)
		}
	}
	repairedByTheOthers(t, []diskFault{
		{"no log", func(dir string) {
			if err := os.RemoveAll(filepath.Join(dir, "log")); err != nil {
				t.Fatal(err)
			}
		}},
		{"what was written last", func(dir string) { damageFiles(t, dir, "log/*.log", 40) }},
	}, mixed)
}

// TestRecoveryOverALogOfPairs: the survivor of a lost majority goes on with the log that it has.
func TestRecoveryOverALogOfPairs(t *testing.T) {
	t.Parallel()
	nodes := openCluster(t, inPairs)
	waitReady(t, nodes...)
	c := login(t, nodes[0], "root", rootPassword)
	c.sql("CREATE NAMESPACE shop")
	for _, n := range nodes {
		closeNode(t, n)
	}
	cfg := nodes[1].cfg
	report, err := Recover(cfg.Storage.DataPath, []ident.NodeID{2}, true)
	if err != nil || len(report.Lost) != 2 {
		t.Fatalf("recovery: %+v, %v", report, err)
	}
	if found := check(t, cfg.Storage.DataPath); found.Damage != 0 {
		t.Errorf("after the recovery: %+v", found.Findings)
	}
	cfg.Cluster.Peers = nil
	again := reopen(t, cfg)
	waitReady(t, again.Node)
	if again.who().LogStore != config.LogPebble {
		t.Errorf("the survivor is %+v", again.who())
	}
	c = login(t, again.Node, "root", rootPassword)
	c.sql("CREATE TABLE shop.t (id BIGINT PRIMARY KEY) WITH (TYPE='SHARED')")
}
