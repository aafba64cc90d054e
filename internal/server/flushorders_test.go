package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/config"
	"github.com/kalamdb/kalamdb-go/internal/flush"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage/objstore/objstoretest"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// steadyLeaders keeps leaderships where they are, also on a machine that is busy.
func steadyLeaders(cfg *config.Config) {
	cfg.Raft.BalanceLeaders = false
	cfg.Cluster.ElectionTimeoutMillis = []int64{2000, 4000}
}

// leaderAmong returns the node that leads a group, and the others.
func leaderAmong(t *testing.T, group shard.GroupID, nodes []*Node) (leader *Node, others []*Node) {
	t.Helper()
	deadline, ticker := time.Now().Add(tooLong), time.NewTicker(20*time.Millisecond)
	defer ticker.Stop()
	for ; ; <-ticker.C {
		leader, others = nil, nil
		agree := true
		for _, n := range nodes {
			m := n.engine()
			agree = agree && m.Leader(group) == nodes[0].engine().Leader(group)
			if m.Leader(group) == m.Self() {
				leader = n
			} else {
				others = append(others, n)
			}
		}
		if leader != nil && agree {
			return leader, others
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s has no leader that all know", group)
		}
	}
}

// heldJob makes a job of a kind that no node runs, and claims it as if a node had.
func heldJob(t *testing.T, n *Node) (number, token uint64) {
	t.Helper()
	must := func(cmd *commandv1.Command) uint64 {
		t.Helper()
		response, err := n.exec.Execute(t.Context(), shard.Meta, cmd)
		if err != nil {
			t.Fatal(err)
		}
		return response.GetObjectId()
	}
	number = must(&commandv1.Command{Body: &commandv1.Command_CreateJob{CreateJob: &commandv1.CreateJob{
		Job: &commandv1.Job{Type: "a kind that no node runs", IdPrefix: "XX", MaxRetries: 3},
	}}})
	return number, must(&commandv1.Command{Body: &commandv1.Command_ClaimJob{ClaimJob: &commandv1.ClaimJob{
		Number: number, NodeId: 1, Term: 1 << 40, HoldMicros: 1 << 40,
	}}})
}

// TestOnlyTheLeaderFlushes asks every node to flush, under tokens that hold a job and that do not.
func TestOnlyTheLeaderFlushes(t *testing.T) {
	t.Parallel()
	nodes := openCluster(t, withShards(1, 1), steadyLeaders)
	waitReady(t, nodes...)
	root := login(t, nodes[0], "root", rootPassword)
	root.sql("CREATE NAMESPACE app")
	root.sql("CREATE TABLE app.t (id BIGINT PRIMARY KEY, name TEXT) WITH (TYPE = 'SHARED')")
	root.sql("INSERT INTO app.t VALUES (1, 'one'), (2, 'two'), (3, 'three')")
	group := shard.SharedShard(0)
	leader, others := leaderAmong(t, group, nodes)
	number, token := heldJob(t, nodes[0])
	order := flush.Order{Job: number, Token: token, Table: mustTable(t, leader, "app", "t"), Group: group}
	wants := func(what string, n *Node, order flush.Order, ask func(context.Context, flush.Order) (flush.Piece, error), rows int64, wanted error) {
		t.Helper()
		piece, err := ask(t.Context(), order)
		if !errors.Is(err, wanted) || piece.Moved.Rows != rows || piece.Next != nil || len(piece.Failed) > 0 {
			t.Errorf("%s, node %d: %+v, %v, want %d rows and %v", what, n.cfg.Cluster.NodeID, piece, err, rows, wanted)
		}
	}
	stale := order
	stale.Token--
	wants("a token of nobody", leader, stale, leader.flushPiece, 0, flush.ErrClaimLost)
	for _, n := range others {
		wants("not the leader", n, order, n.flushPiece, 0, flush.ErrNotLeader)
		wants("a token of nobody, by the leader", n, stale, coldPeers{n}.Flush, 0, flush.ErrClaimLost)
	}
	if hot := hotVersions(t, leader, "t"); hot != 3 {
		t.Fatalf("%d rows are hot", hot)
	}
	wants("by the leader", others[0], order, coldPeers{others[0]}.Flush, 3, nil)
	wants("again", others[1], order, coldPeers{others[1]}.Flush, 0, nil)
	if hot := hotVersions(t, leader, "t"); hot != 0 {
		t.Errorf("%d rows are hot after the flush", hot)
	}
	root.sql("INSERT INTO app.t VALUES (4, 'four')")
	root.sql(fmt.Sprintf("KILL JOB 'XX-%d'", number))
	wants("a job that was killed", others[0], order, coldPeers{others[0]}.Flush, 0, flush.ErrClaimLost)
	wants("a job that was killed", leader, order, coldPeers{leader}.Flush, 0, flush.ErrClaimLost)
	// Where the leader's program is of an earlier version, whoever has the job does the work.
	w := others[0].flusher()
	w.Leaders = olderLeaders{}
	if moved, err := w.Flush(t.Context(), order, nil); err != nil || moved.Rows != 1 || hotVersions(t, leader, "t") != 0 {
		t.Errorf("with a leader of an earlier version: %+v, %v", moved, err)
	}
}

// olderLeaders are leaders that know no orders.
type olderLeaders struct{}

func (olderLeaders) Flush(context.Context, flush.Order) (flush.Piece, error) {
	return flush.Piece{}, flush.ErrNoOrders
}

// TestKilledFlushEndsAtTheLeader kills the job of a flush while the leader sends a segment to a bucket that takes its time.
func TestKilledFlushEndsAtTheLeader(t *testing.T) {
	t.Parallel()
	server := objstoretest.NewServer(t)
	nodes := openCluster(t, withShards(1, 1), withKey, steadyLeaders)
	waitReady(t, nodes...)
	root := login(t, nodes[0], "root", rootPassword)
	root.sql(s3Statement("archive", server))
	root.sql("CREATE NAMESPACE app")
	root.sql("CREATE TABLE app.t (id BIGINT PRIMARY KEY, name TEXT) WITH (TYPE = 'SHARED', STORAGE_ID = 'archive')")
	root.sql("INSERT INTO app.t VALUES (1, 'one')")
	leader, others := leaderAmong(t, shard.SharedShard(0), nodes)
	came, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	server.Fail(func(r *http.Request) http.Handler {
		if r.Method != http.MethodPut && r.Method != http.MethodPost {
			return nil
		}
		return objstoretest.Wrap(func(w http.ResponseWriter, r *http.Request, s3 http.Handler) {
			once.Do(func() { close(came) })
			<-release
			s3.ServeHTTP(w, r)
		})
	})
	defer close(release)
	id := regexp.MustCompile(`Job ID: ([A-Z]+-[0-9]+)`).FindStringSubmatch(root.sql("STORAGE FLUSH TABLE app.t"))[1]
	select {
	case <-came:
	case <-time.After(tooLong):
		t.Fatal("nobody writes into the bucket")
	}
	if len(leader.flushing) != 1 || len(others[0].flushing)+len(others[1].flushing) != 0 {
		t.Errorf("the leader carries out %d orders, the others %d and %d", len(leader.flushing), len(others[0].flushing), len(others[1].flushing))
	}
	root.sql("KILL JOB '" + id + "'")
	deadline, ticker := time.Now().Add(tooLong), time.NewTicker(20*time.Millisecond)
	defer ticker.Stop()
	for len(leader.flushing) > 0 { // the bucket has not answered
		if time.Now().After(deadline) {
			t.Fatal("the leader goes on with a flush whose job was killed")
		}
		<-ticker.C
	}
	_, number, _ := catalog.ParseJobID(id)
	waitJob(t, nodes[0], number, "cancelled", inState(catalog.JobCancelled))
	if hot := hotVersions(t, nodes[0], "t"); hot != 1 {
		t.Errorf("%d rows are hot", hot)
	}
}

// TestFlushOrdersTakeTurns has more asked of a node than it carries out at once: what waits can be given up, and what comes later is carried out.
func TestFlushOrdersTakeTurns(t *testing.T) {
	t.Parallel()
	nodes := openCluster(t, withShards(1, 1), steadyLeaders)
	waitReady(t, nodes...)
	leader, _ := leaderAmong(t, shard.SharedShard(0), nodes)
	for range maxFlushOrders {
		leader.flushing <- struct{}{}
	}
	given, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("who asked has gone")
	answer := make(chan error, 1)
	order := flush.Order{Job: 1, Token: 1, Table: ident.TableID(1), Group: shard.SharedShard(0)}
	go func() {
		_, err := leader.flushPiece(given, order)
		answer <- err
	}()
	cancel(gone)
	if err := <-answer; !errors.Is(err, gone) {
		t.Errorf("what waits for its turn ends with %v", err)
	}
	<-leader.flushing
	if _, err := leader.flushPiece(t.Context(), order); err == nil {
		t.Error("a table that is not there was flushed")
	}
	if len(leader.flushing) != maxFlushOrders-1 {
		t.Errorf("%d turns are taken", len(leader.flushing))
	}
}
