package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/signal"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"
	dragonpb "github.com/lni/dragonboat/v4/raftpb"
	"go.etcd.io/etcd/api/v3/etcdserverpb"
	etcdwal "go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/etcd/server/v3/storage/wal/walpb"
	"go.etcd.io/raft/v3/raftpb"
	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"
)

// TestMain makes the test's program a worker where a cluster starts it as one.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "worker" {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
		err := worker(ctx, os.Stdin, os.Stdout)
		stop()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// TestEnginesReplicateToDisk loads every engine, kills the three nodes, and counts the commands in the log that each left behind. What was answered while a sync was
// still to come would be there too: that a kill does not show.
func TestEnginesReplicateToDisk(t *testing.T) {
	for name, logged := range map[string]func(*testing.T, workerConfig) int{
		"dragonboat": loggedByDragonboat, "hashicorp": loggedByHashicorp, "etcd": loggedByEtcd,
	} {
		t.Run(name, func(t *testing.T) {
			c := startTestCluster(t, name)
			ops, unknown := 0, 0
			results, err := c.load(6, 128, 300*time.Millisecond)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range results {
				ops, unknown = ops+r.Ops, unknown+r.Unknown
			}
			if ops == 0 {
				t.Fatal("no command was answered")
			}
			awaitApplied(t, c, ops)
			for _, p := range c.nodes {
				if err := p.command.Process.Kill(); err != nil {
					t.Fatal(err)
				}
				_ = p.command.Wait() // it was killed
			}
			c.nodes = nil // nothing is left to stop
			for i := range nodes {
				cfg := c.nodeConfig(i)
				if got := logged(t, cfg); got < ops || got > ops+unknown {
					t.Errorf("node %d has %d commands in its log: %d were answered, and of %d the outcome is unknown", i+1, got, ops, unknown)
				}
			}
		})
	}
}

func startTestCluster(t *testing.T, engine string) *cluster {
	t.Helper()
	t.Setenv("TMPDIR", t.TempDir())
	o, err := optionsOf(engine, []string{"--workers", "1", "--connections", "3"})
	if err != nil {
		t.Fatal(err)
	}
	c, err := startCluster(context.WithoutCancel(t.Context()), o) // they are told to end
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.stop)
	return c
}

// awaitApplied waits until every node has applied the commands.
func awaitApplied(t *testing.T, c *cluster, ops int) {
	t.Helper()
	for range settlePatience {
		results, err := c.rest(settleRound, false)
		if err != nil {
			t.Fatal(err)
		}
		least := math.MaxInt
		for _, r := range results {
			least = min(least, r.Applied)
		}
		if least >= ops {
			return
		}
	}
	t.Fatalf("not every node has applied %d commands", ops)
}

// loggedByHashicorp opens the log without the engine.
func loggedByHashicorp(t *testing.T, cfg workerConfig) int {
	t.Helper()
	log, err := wal.Open(cfg.Dir)
	if err != nil {
		t.Fatal(err)
	}
	first, err := log.FirstIndex()
	last, lastErr := log.LastIndex()
	if err = errors.Join(err, lastErr); err != nil {
		t.Fatal(err)
	}
	count := 0
	for i := first; i <= last; i++ {
		var entry raft.Log
		if err := log.GetLog(i, &entry); err != nil {
			t.Fatal(err)
		}
		if entry.Type == raft.LogCommand && len(entry.Data) == 128 {
			count++
		}
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	return count
}

// loggedByEtcd reads the log without the server.
func loggedByEtcd(t *testing.T, cfg workerConfig) int {
	t.Helper()
	log, err := etcdwal.OpenForRead(zap.NewNop(), filepath.Join(cfg.Dir, "member", "wal"), &walpb.Snapshot{})
	if err != nil {
		t.Fatal(err)
	}
	_, _, entries, err := log.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	_ = log.Close() // its error is that a log which is only read has no directory open
	count := 0
	for _, e := range entries {
		if e.GetType() != raftpb.EntryNormal || len(e.GetData()) == 0 {
			continue
		}
		var request etcdserverpb.InternalRaftRequest
		if err := proto.Unmarshal(e.GetData(), &request); err != nil {
			t.Fatal(err)
		}
		if len(request.GetPut().GetValue()) == 128 {
			count++
		}
	}
	return count
}

// loggedByDragonboat opens one host; without the others it commits nothing more.
func loggedByDragonboat(t *testing.T, cfg workerConfig) int {
	t.Helper()
	opened, err := openDragonboat(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	node, ok := opened.(*dragonboatNode)
	if !ok {
		t.Fatalf("%T was opened", opened)
	}
	count := 0
	for group := uint64(1); group <= cfg.Groups; group++ {
		log, err := node.host.GetLogReader(group)
		if err != nil {
			t.Fatal(err)
		}
		first, last := log.GetRange()
		entries, err := log.Entries(first, last+1, math.MaxUint64)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			// A header of one byte stands before the command.
			if e.Type == dragonpb.EncodedEntry && len(e.Cmd) == 129 {
				count++
			}
		}
	}
	if err := node.close(); err != nil {
		t.Fatal(err)
	}
	return count
}

// TestPutsThroughGRPC needs the program under KALAMDB: what this module says by hand, the nodes understand.
func TestPutsThroughGRPC(t *testing.T) {
	program := os.Getenv("KALAMDB")
	if program == "" {
		t.Skip("KALAMDB names no program")
	}
	t.Setenv("TMPDIR", t.TempDir())
	for _, streams := range []string{"--streams=false", "--streams"} {
		t.Run(streams, func(t *testing.T) { testPuts(t, program, streams) })
	}
}

func testPuts(t *testing.T, program, streams string) {
	t.Helper()
	o, err := optionsOf("kalamdb", []string{"--program", program, "--connections", "3", streams})
	if err != nil {
		t.Fatal(err)
	}
	c, err := startCluster(context.WithoutCancel(t.Context()), o) // they are told to end
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.stop)
	results, err := c.load(6, 128, 300*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if of := results[nodes]; of.Ops == 0 || of.CPU == 0 {
		t.Errorf("the clients were answered %d times, in %v of processor time", of.Ops, of.CPU)
	}
}
