package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/config"
	"github.com/kalamdb/kalamdb-go/internal/flush"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	"github.com/kalamdb/kalamdb-go/internal/storage/manifest"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// flushTable flushes a table through SQL and waits for the job.
func flushTable(t *testing.T, c client, n *Node, name string) {
	t.Helper()
	answer := c.sql("STORAGE FLUSH TABLE " + name)
	if strings.Contains(answer, "skipped") {
		return
	}
	_, number, ok := catalog.ParseJobID(regexp.MustCompile(`Job ID: ([A-Z]+-[0-9]+)`).FindStringSubmatch(answer)[1])
	if !ok {
		t.Fatalf("no job in %s", answer)
	}
	waitJob(t, n, number, "completed", inState(catalog.JobCompleted))
}

// hotVersions counts what the row store of a node has of a table in all groups, after a barrier.
func hotVersions(t *testing.T, n *Node, name string) (hot int) {
	t.Helper()
	id := mustTable(t, n, "app", name)
	for _, group := range n.who().Shards.Groups() {
		if group.Class() == shard.ClassMeta {
			continue
		}
		if _, err := n.exec.Barrier(t.Context(), group); err != nil {
			t.Fatal(err)
		}
		it, err := n.store.Scan(keys.TableSpan(group, id))
		if err != nil {
			t.Fatal(err)
		}
		for ok := it.First(); ok; ok = it.Next() {
			hot++
		}
		if err := it.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return hot
}

// segmentsOf lists the segments of table app.t in all groups of a node.
func segmentsOf(t *testing.T, n *Node) (found []*commandv1.Segment) {
	t.Helper()
	id := mustTable(t, n, "app", "t")
	for _, group := range n.who().Shards.Groups() {
		lo, hi := keys.ManifestSpan(group, id)
		err := manifest.Each(n.store, lo, hi, func(_ []byte, m *commandv1.Manifest) error {
			found = append(found, m.GetSegments()...)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return found
}

var unlike = regexp.MustCompile(`"took":[0-9.]+,?|(app\.)?(hot|cold)[a-z_]*|\([0-9]-[0-9a-f-]+\)`)

// ask runs a statement and returns what does not depend on the table's name, the time or log positions.
func ask(c client, text string) string {
	status, body := c.post("/v1/api/sql", map[string]any{"sql": text})
	return fmt.Sprint(status, " ", unlike.ReplaceAllString(string(body), ""))
}

// TestColdRowsAreLikeHotOnes runs the same random statements on two tables, one of which is flushed and compacted again and again. Every
// answer must be the same, through whatever node it is asked.
func TestColdRowsAreLikeHotOnes(t *testing.T) {
	for _, kind := range []string{"SHARED", "USER"} {
		t.Run(kind, func(t *testing.T) {
			nodes := openCluster(t, func(cfg *config.Config) { cfg.Limits.MaxQueryLimit = 0 })
			waitReady(t, nodes...)
			c := login(t, nodes[0], "root", rootPassword)
			c.sql("CREATE NAMESPACE app")
			for _, name := range []string{"hot", "cold"} {
				c.sql(fmt.Sprintf(`CREATE TABLE app.%s (id BIGINT PRIMARY KEY, name TEXT, amount DECIMAL(12,3), at TIMESTAMP, flag BOOLEAN,
					vec EMBEDDING(2)) WITH (TYPE='%s')`, name, kind))
				c.sql(fmt.Sprintf("CREATE INDEX %s_name ON app.%s (name)", name, name))
				c.sql(fmt.Sprintf("CREATE UNIQUE INDEX %s_amount ON app.%s (amount)", name, name))
			}
			r := rand.New(rand.NewPCG(7, uint64(len(kind))))
			flushed, merged := 0, 0
			for step := range 160 {
				n := nodes[r.IntN(3)]
				c.url = "http://" + n.APIAddr()
				statement := someStatement(r)
				var answers [2]string
				for i, name := range []string{"hot", "cold"} {
					answers[i] = ask(c, strings.ReplaceAll(statement, "$T", "app."+name))
				}
				if answers[0] != answers[1] {
					t.Fatalf("step %d: %s\nhot:  %.1500s\ncold: %.1500s", step, statement, answers[0], answers[1])
				}
				if r.IntN(6) == 0 {
					moved, err := n.flusher().Table(t.Context(), mustTable(t, n, "app", "cold"), nil)
					if err != nil {
						t.Fatalf("step %d: flush: %v", step, err)
					}
					flushed += moved.Segments
				}
				if r.IntN(20) == 0 {
					did, err := n.flusher().Compact(t.Context(), mustTable(t, n, "app", "cold"), r.IntN(3) == 0, nil)
					if err != nil {
						t.Fatalf("step %d: compact: %v", step, err)
					}
					merged += did.Merged
				}
				if step == 80 {
					for _, name := range []string{"hot", "cold"} {
						c.sql("ALTER TABLE app." + name + " ADD COLUMN extra INT DEFAULT 5")
						c.sql("CREATE INDEX " + name + "_flag ON app." + name + " (flag)")
					}
				}
			}
			flushTable(t, c, nodes[0], "app.cold")
			for _, n := range nodes {
				if hot := hotVersions(t, n, "cold"); hot != 0 {
					t.Errorf("node %d has %d hot versions after the last flush", n.cfg.Cluster.NodeID, hot)
				}
				c.url = "http://" + n.APIAddr()
				const all = "SELECT id, name, amount, at, flag, vec, extra, _deleted FROM $T ORDER BY id LIMIT 10000"
				hot, cold := ask(c, strings.ReplaceAll(all, "$T", "app.hot")), ask(c, strings.ReplaceAll(all, "$T", "app.cold"))
				if hot != cold || !strings.Contains(hot, `"row_count"`) {
					t.Errorf("node %d\nhot:  %.2000s\ncold: %.2000s", n.cfg.Cluster.NodeID, hot, cold)
				}
			}
			if flushed < 10 || merged < 4 {
				t.Errorf("only %d segments were written, and %d merged", flushed, merged)
			}
		})
	}
}

// someStatement draws a statement over a table $T with keys below 60.
func someStatement(r *rand.Rand) string {
	id := r.IntN(60)
	some := func() string {
		if r.IntN(8) == 0 {
			return "NULL"
		}
		return fmt.Sprintf("%d.%03d", r.IntN(50), r.IntN(3))
	}
	row := func(id int) string {
		return fmt.Sprintf("(%d, 'n%d', %s, '2026-01-02 03:04:05.%06d', %v, '[%d, 1.5]')", id, r.IntN(9), some(), r.IntN(1000), r.IntN(2) == 0, r.IntN(9))
	}
	const columns = "$T (id, name, amount, at, flag, vec)"
	switch r.IntN(16) {
	case 0, 1, 2:
		return "INSERT INTO " + columns + " VALUES " + row(id)
	case 3:
		return fmt.Sprintf("INSERT INTO %s VALUES %s, %s, %s", columns, row(id), row(id+1), row(id+2))
	case 4:
		return "INSERT INTO " + columns + " VALUES " + row(id) + " ON CONFLICT DO NOTHING"
	case 5:
		return "INSERT INTO " + columns + " VALUES " + row(id) + " ON CONFLICT (id) DO UPDATE SET name = excluded.name, flag = NOT $T.flag"
	case 6:
		return fmt.Sprintf("UPDATE $T SET name = 'u%d' WHERE id = %d RETURNING id, name, amount", r.IntN(5), id)
	case 7:
		return fmt.Sprintf("UPDATE $T SET flag = NOT flag WHERE id BETWEEN %d AND %d", id, id+9)
	case 8:
		return fmt.Sprintf("DELETE FROM $T WHERE id = %d", id)
	case 9:
		return fmt.Sprintf("DELETE FROM $T WHERE name = 'n%d' AND id > %d", r.IntN(9), id)
	case 10:
		return fmt.Sprintf("SELECT id, name, amount, flag FROM $T WHERE name = 'n%d' ORDER BY id", r.IntN(9))
	case 11:
		return "SELECT count(*), sum(amount), min(at), max(id), count(DISTINCT name) FROM $T"
	case 12:
		return fmt.Sprintf("SELECT id, name, vec FROM $T WHERE id IN (%d, %d, %d)", id, id+1, id+20)
	case 13:
		return fmt.Sprintf("SELECT id, _deleted FROM $T WHERE _deleted = true AND id > %d ORDER BY id", id)
	case 14:
		return fmt.Sprintf("BEGIN; UPDATE $T SET name = 'tx' WHERE id = %d; INSERT INTO %s VALUES %s; SELECT count(*), max(name) FROM $T WHERE id < %d; COMMIT",
			id, columns, row(id+3), id+30)
	}
	return fmt.Sprintf("SELECT id, name FROM $T WHERE id > %d ORDER BY id LIMIT 7", id)
}

// TestReplicaFetchesASegmentThatIsGone removes and damages files under nodes. Reads fetch them anew from others.
func TestReplicaFetchesASegmentThatIsGone(t *testing.T) {
	t.Parallel()
	nodes := openCluster(t)
	waitReady(t, nodes...)
	c := login(t, nodes[0], "root", rootPassword)
	c.sql("CREATE NAMESPACE app")
	c.sql("CREATE SHARED TABLE app.t (id BIGINT PRIMARY KEY, name TEXT)")
	c.sql("INSERT INTO app.t VALUES (1, 'one'), (2, 'two'), (3, 'three')")
	flushTable(t, c, nodes[0], "app.t")
	paths := make([]string, len(nodes))
	for i, n := range nodes {
		if hot := hotVersions(t, n, "t"); hot != 0 {
			t.Fatalf("%d rows are hot", hot)
		}
		segments := segmentsOf(t, n)
		if len(segments) != 1 || segments[0].GetPath() != "app/t/"+flush.FileName(segments[0].GetNumber()) {
			t.Fatalf("segments %v", segments)
		}
		paths[i] = filepath.Join(n.cfg.Storage.DataPath, "storage", filepath.FromSlash(segments[0].GetPath()))
	}
	there := 0
	for _, path := range paths {
		if _, err := os.Stat(path); err == nil {
			there++
		}
	}
	if there < 2 {
		t.Fatalf("%d of 3 nodes have the file after the flush", there)
	}
	read := func(n *Node) {
		t.Helper()
		c.url = "http://" + n.APIAddr()
		if got := c.sql("SELECT id, name FROM app.t ORDER BY id"); !strings.Contains(got, `[["1","one"],["2","two"],["3","three"]]`) {
			t.Errorf("node %d: %s", n.cfg.Cluster.NodeID, got)
		}
	}
	for _, n := range nodes {
		read(n)
	}
	// One node loses the file, another finds a flipped bit in it; both forget what they have decoded, as after a restart.
	if err := os.Remove(paths[1]); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(paths[2])
	if err != nil {
		t.Fatal(err)
	}
	raw[len(raw)/3] ^= 4
	if err = os.WriteFile(paths[2], raw, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes[1:] {
		if err = n.cold.Close(); err != nil {
			t.Fatal(err)
		}
		if err = n.cold.Forget(); err != nil {
			t.Fatal(err)
		}
		read(n)
	}
	want, err := os.ReadFile(paths[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths[1:] {
		if got, err := os.ReadFile(path); err != nil || string(got) != string(want) {
			t.Errorf("%s is not the file of the first node: %v", path, err)
		}
	}
}

// TestColdRowsSurviveARestart also reads them with nothing in memory.
func TestColdRowsSurviveARestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	n := openNode(t, testConfig(dir), Options{})
	waitReady(t, n)
	c := login(t, n, "root", rootPassword)
	c.sql("CREATE NAMESPACE app")
	c.sql("CREATE TABLE app.t (id BIGINT PRIMARY KEY, name TEXT) WITH (TYPE='USER')")
	c.sql("INSERT INTO app.t VALUES (1, 'one'), (2, 'two'), (3, 'three')")
	flushTable(t, c, n, "app.t")
	c.sql("UPDATE app.t SET name = 'zwei' WHERE id = 2")
	c.sql("DELETE FROM app.t WHERE id = 3")
	closeNode(t, n)
	n = openNode(t, testConfig(dir), Options{})
	waitReady(t, n)
	c = login(t, n, "root", rootPassword)
	if got := c.sql("SELECT id, name FROM app.t ORDER BY id"); !strings.Contains(got, `[["1","one"],["2","zwei"]]`) {
		t.Errorf("after a restart: %s", got)
	}
	if status, body := c.post("/v1/api/sql", map[string]any{"sql": "INSERT INTO app.t VALUES (1, 'again')"}); status != http.StatusBadRequest || !strings.Contains(string(body), "Primary key violation") {
		t.Errorf("a cold key was taken again: %d %s", status, body)
	}
	c.sql("INSERT INTO app.t VALUES (3, 'drei')")
	onlySegment(t, filepath.Join(dir, "storage", "app", "t", "root"))
	var answer struct {
		Results []struct {
			Message string `json:"message"`
		} `json:"results"`
	}
	if err := json.Unmarshal([]byte(c.sql("STORAGE FLUSH ALL IN app")), &answer); err != nil || !strings.Contains(answer.Results[0].Message, "Job ID") {
		t.Errorf("flush all: %v, %v", answer, err)
	}
}

// TestFlushThatStopsAnywhereLosesNothing ends flushes at every step, as a crash of the node would, changes rows meanwhile,
// and flushes again.
func TestFlushThatStopsAnywhereLosesNothing(t *testing.T) {
	t.Parallel()
	n := openNode(t, testConfig(t.TempDir()), Options{})
	waitReady(t, n)
	c := login(t, n, "root", rootPassword)
	c.sql("CREATE NAMESPACE app")
	c.sql("CREATE SHARED TABLE app.t (id BIGINT PRIMARY KEY, name TEXT)")
	id := mustTable(t, n, "app", "t")
	stopped := errors.New("the node dies here")
	rows := 0
	for round, step := range []string{"write", "keep", "commit", "committed"} {
		for range 3 {
			rows++
			c.sql(fmt.Sprintf("INSERT INTO app.t VALUES (%d, 'new')", rows))
		}
		if round > 0 {
			c.sql("DELETE FROM app.t WHERE id = 1")
			c.sql("INSERT INTO app.t VALUES (1, 'anew')")
		}
		w := n.flusher()
		w.Step = func(at string) error {
			if at != step {
				return nil
			}
			// Whoever writes now, writes after the picture that the segment is made from.
			c.sql(fmt.Sprintf("UPDATE app.t SET name = 'changed %d' WHERE id = 2", round))
			return stopped
		}
		if _, err := w.Table(t.Context(), id, nil); !errors.Is(err, stopped) {
			t.Fatalf("step %s: %v", step, err)
		}
		check := func() {
			t.Helper()
			first := map[bool]string{true: "new", false: "anew"}[round == 0]
			want := fmt.Sprintf(`["1","%s"],["2","changed %d"],["3","new"]`, first, round)
			if got := c.sql("SELECT id, name FROM app.t ORDER BY id"); !strings.Contains(got, want) || !strings.Contains(got, fmt.Sprintf(`"row_count":%d`, rows)) {
				t.Fatalf("stopped at %s: %s, want %s and %d rows", step, got, want, rows)
			}
		}
		check()
		if _, err := n.flusher().Table(t.Context(), id, nil); err != nil {
			t.Fatalf("after the stop at %s: %v", step, err)
		}
		check()
		if hot := hotVersions(t, n, "t"); hot != 0 {
			t.Fatalf("%d versions are hot after a whole flush", hot)
		}
	}
	if segments := segmentsOf(t, n); len(segments) != 5 {
		t.Errorf("%d segments, want one of every whole flush and that of the one that stopped after its commit", len(segments))
	}
}
