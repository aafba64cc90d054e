package server

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/config"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/multiraft"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage/rowvalue"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// votingCluster is three nodes that have agreed on votes by group, and a shared table.
func votingCluster(t *testing.T, change ...func(*config.Config)) ([]*Node, client) {
	t.Helper()
	nodes := openCluster(t, change...)
	waitReady(t, nodes...)
	within(t, "the cluster knows votes by group", func() bool {
		cluster := nodes[0].catalog.Current().Cluster()
		return cluster != nil && cluster.LogFormat >= command.VotesFormat
	})
	c := login(t, nodes[0], "root", rootPassword)
	c.sql("CREATE NAMESPACE shop")
	c.sql("CREATE TABLE shop.t (id BIGINT PRIMARY KEY) WITH (TYPE='SHARED')")
	return nodes, c
}

// insertAll writes rows 1, 2, … one after the other until the context ends, each as often as it takes, and returns how many there are.
func insertAll(ctx context.Context, t *testing.T, c client) int {
	t.Helper()
	for id := 1; ; id++ {
		for again := false; ; again = true {
			if !again && ctx.Err() != nil {
				return id - 1
			}
			status, body := c.post("/v1/api/sql", map[string]any{"sql": fmt.Sprintf("INSERT INTO shop.t VALUES (%d)", id)})
			if status == http.StatusOK || again && strings.Contains(string(body), "DUPLICATE_KEY") {
				break
			}
			if status != http.StatusServiceUnavailable && status != http.StatusGatewayTimeout {
				t.Errorf("insert %d: %d %s", id, status, body)
				return id - 1
			}
		}
	}
}

// TestLiveRowsOfAnObserver: a live query at a node goes on while the node loses its vote in the group of the rows, has none, and gets it
// back, under writes and while others lead; one that begins there meanwhile, and one that resumes there, do as well. Each change comes
// once and in order.
func TestLiveRowsOfAnObserver(t *testing.T) {
	t.Parallel()
	nodes, c := votingCluster(t)
	wantAllTo(t, c.cluster("CLUSTER TRANSFER LEADER 3 ON GROUP 200"), 1, 3)
	s := watch(t, nodes[2], c)
	s.subscribe("t", "SELECT * FROM shop.t", `{}`)
	s.expect("initial_data_batch ready")

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	writer := c
	writer.url = "http://" + nodes[1].APIAddr()
	var writing sync.WaitGroup
	rows := 0
	writing.Go(func() { rows = insertAll(ctx, t, writer) })

	next, last := 1, uint64(0)
	hear := func(s *socket, many int) { // the next changes, whatever is written meanwhile
		t.Helper()
		for range many {
			f := s.next()
			if want := fmt.Sprintf("insert %d", next); f.words() != want {
				t.Fatalf("message %+v, want %s", f, want)
			}
			if seq := seqOf(t, f.Rows[0]); seq <= last {
				t.Fatalf("_seq %d follows %d", seq, last)
			} else {
				last = seq
			}
			next++
		}
	}
	hear(s, 10)
	wantGroups(t, c.cluster("CLUSTER LEAVE 3 ON GROUP 200"), 3, 200) // it leads the group: it hands over first
	hear(s, 20)
	if got := role(t, nodes[2], 200); got != "observer" {
		t.Fatalf("node 3 is %s", got)
	}
	moved := c.cluster("CLUSTER STEPDOWN ON GROUP 200") // from one voter to the other
	if len(moved) != 1 || !moved[0].success || moved[0].target == 3 {
		t.Errorf("step down: %+v", moved)
	}
	hear(s, 20)
	if err := s.ws.Close(); err != nil {
		t.Fatal(err)
	}
	again := watch(t, nodes[2], c)
	again.subscribe("t", "SELECT * FROM shop.t", fmt.Sprintf(`{"from":%d}`, last))
	if f := again.next(); f.Type == "initial_data_batch" {
		for _, row := range f.Rows { // what it has missed may come in the first batch
			if got := fmt.Sprint(row["id"]); got != strconv.Itoa(next) {
				t.Fatalf("row %s of the batch, want %d", got, next)
			}
			next, last = next+1, seqOf(t, row)
		}
	} else {
		t.Fatalf("first message of the resumed query: %+v", f)
	}
	hear(again, 20)
	wantGroups(t, c.cluster("CLUSTER JOIN 3 '"+nodes[2].RPCAddr()+"' '' ON GROUP 200"), 3, 200)
	hear(again, 20)
	within(t, "node 3 leads again", func() bool {
		got := c.cluster("CLUSTER TRANSFER LEADER 3 ON GROUP 200")
		return len(got) == 1 && got[0].success
	})
	hear(again, 20)
	stop()
	writing.Wait()
	hear(again, rows-next+1)
	if got := fmt.Sprint(c.rows("SELECT count(*) FROM shop.t")); got != fmt.Sprintf("[[%d]]", rows) {
		t.Errorf("%s rows, %d were written", got, rows)
	}
}

// TestModeAllWaitsForVotersOnly: a write in mode all is answered once the voters have applied it, whether an observer is there or not, and
// the voters have it then.
func TestModeAllWaitsForVotersOnly(t *testing.T) {
	t.Parallel()
	nodes, c := votingCluster(t, func(cfg *config.Config) { cfg.Cluster.SharedReplicationMode = "all" })
	wantGroups(t, c.cluster("CLUSTER LEAVE 3 ON GROUP 200"), 3, 200)
	c.sql("INSERT INTO shop.t VALUES (1)")
	closeNode(t, nodes[2])
	within(t, "node 3 is not heard of", func() bool {
		return !nodes[0].engine().Live(nodes[2].self()) && !nodes[1].engine().Live(nodes[2].self())
	})
	for id := 2; id <= 4; id++ {
		c.sql(fmt.Sprintf("INSERT INTO shop.t VALUES (%d)", id))
		for _, n := range nodes[:2] {
			if rows, _, err := rowvalue.TableDigest(n.store, 200, mustTable(t, n, "shop", "t")); err != nil || rows != uint64(id) {
				t.Errorf("node %d stores %d rows when row %d was answered, %v", n.cfg.Cluster.NodeID, rows, id, err)
			}
		}
	}
	// A vote that was given back counts once the node has caught up, and it is away.
	if _, err := nodes[0].exec.Execute(t.Context(), shard.Meta, &commandv1.Command{Body: &commandv1.Command_ChangeVotes{
		ChangeVotes: &commandv1.ChangeVotes{ReplicaId: uint64(nodes[2].self()), Groups: []uint64{200}, Votes: true},
	}}); err != nil {
		t.Fatal(err)
	}
	c.sql("INSERT INTO shop.t VALUES (5)")
	back := openNode(t, nodes[2].cfg, Options{APIListener: relisten(t, nodes[2].apiAddr), RPCListener: relisten(t, nodes[2].rpcAddr)})
	waitReady(t, back)
	within(t, "node 3 votes again", func() bool {
		for _, n := range nodes[:2] {
			statuses, err := n.engine().Status(t.Context())
			if err != nil || !slices.ContainsFunc(statuses, func(s multiraft.GroupStatus) bool {
				return s.Group == 200 && slices.Contains(s.Voters, back.self())
			}) {
				return false
			}
		}
		return true
	})
	closeNode(t, back)
	id := 5
	within(t, "a write waits for the node that votes again", func() bool {
		id++
		status, body := c.post("/v1/api/sql", map[string]any{"sql": fmt.Sprintf("INSERT INTO shop.t VALUES (%d)", id)})
		return status == http.StatusServiceUnavailable && strings.Contains(string(body), "node 3")
	})
}

// TestObserversAreRecovered: survivors of a lost majority that observe groups, the meta group among them, vote in all groups afterwards,
// and serve and take rows: one that is left alone, and two of which the only voter of a group was lost.
func TestObserversAreRecovered(t *testing.T) {
	t.Parallel()
	for name, left := range map[string][]ident.NodeID{"one": {3}, "two": {2, 3}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			nodes, c := votingCluster(t)
			wantGroups(t, c.cluster("CLUSTER LEAVE 3 ON GROUP 10, 101, 200"), 3, 10, 101, 200)
			wantGroups(t, c.cluster("CLUSTER LEAVE 2 ON GROUP 200"), 2, 200)
			for id := range 30 {
				c.sql(fmt.Sprintf("INSERT INTO shop.t VALUES (%d)", id))
			}
			within(t, "all nodes have everything", func() bool {
				for _, group := range nodes[0].who().Shards.Groups() {
					for _, n := range nodes[1:] {
						if n.engine().Applied(group) != nodes[0].engine().Applied(group) {
							return false
						}
					}
				}
				return true
			})
			for _, n := range nodes {
				closeNode(t, n)
			}
			observed := map[ident.NodeID]int{2: 1, 3: 3}
			var again []*Node
			for _, node := range left {
				cfg := nodes[node-1].cfg
				for _, repeat := range []bool{false, true} {
					report, err := Recover(cfg.Storage.DataPath, left, true)
					if err != nil || len(report.Lost) != map[bool]int{false: 3 - len(left)}[repeat] || report.AlreadyDone != repeat {
						t.Fatalf("recovery of node %d, again: %v: %+v, %v", node, repeat, report, err)
					}
					if got := len(report.Observed); !repeat && got != observed[node] {
						t.Errorf("the report says that node %d observed %v", node, report.Observed)
					}
					for _, g := range report.Groups {
						if g.Learner {
							t.Errorf("the report says that node %d had not caught up in %s", node, g.Group)
						}
					}
				}
			}
			for _, node := range left {
				old := nodes[node-1]
				cfg := *old.cfg
				cfg.Cluster.Peers = slices.DeleteFunc(slices.Clone(cfg.Cluster.Peers), func(p config.Peer) bool {
					return !slices.Contains(left, ident.NodeID(p.NodeID))
				})
				again = append(again, openNode(t, &cfg, Options{APIListener: relisten(t, old.apiAddr), RPCListener: relisten(t, old.rpcAddr)}))
			}
			waitReady(t, again...)
			c = login(t, again[0], "root", rootPassword)
			for i, n := range again {
				c.url = "http://" + n.APIAddr()
				c.sql(fmt.Sprintf("INSERT INTO shop.t VALUES (%d)", 100+i))
				if got := fmt.Sprint(c.rows("SELECT count(*) FROM shop.t")); got != fmt.Sprintf("[[%d]]", 31+i) {
					t.Errorf("node %d has %s rows, want %d", n.cfg.Cluster.NodeID, got, 31+i)
				}
				for _, group := range n.who().Shards.Groups() {
					if got := role(t, n, group); got != "leader" && got != "follower" {
						t.Errorf("node %d is %s in group %d", n.cfg.Cluster.NodeID, got, group)
					}
				}
				for _, m := range liveMembers(n.catalog.Current()) {
					if len(m.Observes) > 0 || !slices.Contains(left, m.Node) {
						t.Errorf("node %d records %+v", n.cfg.Cluster.NodeID, m)
					}
				}
			}
		})
	}
}
