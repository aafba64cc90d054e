package transport

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	raftpb "go.etcd.io/raft/v3/raftpb"

	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/shard"
)

func TestConfigRefuses(t *testing.T) {
	t.Parallel()
	good := GRPCConfig{Resolver: fixedResolver(""), Clock: clock.Real{}}
	for name, change := range map[string]func(*GRPCConfig){
		"resolver":      func(c *GRPCConfig) { c.Resolver = nil },
		"clock":         func(c *GRPCConfig) { c.Clock = nil },
		"queue":         func(c *GRPCConfig) { c.Limits.QueueMessages = -1 },
		"bytes":         func(c *GRPCConfig) { c.Limits.QueueBytes = -1 },
		"target":        func(c *GRPCConfig) { c.Limits.FrameTarget = 1 },
		"target, limit": func(c *GRPCConfig) { c.Limits.FrameTarget, c.Limits.FrameLimit = 1<<20, 1<<16 },
		"limit":         func(c *GRPCConfig) { c.Limits.FrameLimit = 10 },
		"largest limit": func(c *GRPCConfig) { c.Limits.FrameLimit = 2 << 30 },
		"chunk":         func(c *GRPCConfig) { c.Limits.SnapshotChunk = 65 << 20 },
		"pause":         func(c *GRPCConfig) { c.BackoffBase = -time.Second },
		"pauses":        func(c *GRPCConfig) { c.BackoffBase, c.BackoffMax = time.Minute, time.Second },
		"node of":       func(c *GRPCConfig) { c.TLS = &TLSConfig{RequireClientCert: true} },
		"missing file":  func(c *GRPCConfig) { c.TLS = &TLSConfig{CAFile: "/nowhere/ca.pem"} },
	} {
		cfg := good
		change(&cfg)
		if _, err := NewGRPC(cfg, &quietHandler{}); err == nil {
			t.Errorf("%s: the configuration was accepted", name)
		}
	}
	registry := prometheus.NewRegistry()
	cfg := good
	cfg.Registerer = registry
	node, err := NewGRPC(cfg, &quietHandler{})
	if err != nil {
		t.Fatal(err)
	}
	node.Stop(t.Context()) // without Serve
	if _, err := NewGRPC(cfg, &quietHandler{}); err == nil || !strings.Contains(err.Error(), "metrics") {
		t.Errorf("metrics registered twice: %v", err)
	}
}

func TestCheckPlaintextAddress(t *testing.T) {
	t.Parallel()
	for addr, allowed := range map[string]bool{
		"127.0.0.1:2910": true, "127.8.8.8:1": true, "[::1]:2910": true, "localhost:2910": true,
		"0.0.0.0:2910": false, ":2910": false, "[::]:2910": false, "10.0.0.5:2910": false,
		"db.example.com:2910": false, "localhost.example.com:1": false,
	} {
		if err := CheckPlaintextAddress(addr, false); (err == nil) != allowed {
			t.Errorf("CheckPlaintextAddress(%q) = %v, want allowed %t", addr, err, allowed)
		}
		if err := CheckPlaintextAddress(addr, true); err != nil {
			t.Errorf("CheckPlaintextAddress(%q, allow) = %v", addr, err)
		}
	}
	if err := CheckPlaintextAddress("no port", true); err == nil {
		t.Error("an address without port was accepted")
	}
}

func TestLaneOf(t *testing.T) {
	t.Parallel()
	for kind, want := range map[raftpb.MessageType]Lane{
		raftpb.MsgApp: LaneBulk, raftpb.MsgAppResp: LaneBulk, raftpb.MsgSnap: LaneBulk,
		raftpb.MsgHeartbeat: LaneControl, raftpb.MsgHeartbeatResp: LaneControl, raftpb.MsgVote: LaneControl,
		raftpb.MsgPreVoteResp: LaneControl, raftpb.MsgTimeoutNow: LaneControl, raftpb.MsgReadIndex: LaneControl,
	} {
		if got := LaneOf(Message{Group: shard.UserShard(0), Raft: &raftpb.Message{Type: kind.Enum()}}); got != want {
			t.Errorf("LaneOf(%v) = %v, want %v", kind, got, want)
		}
		if got := LaneOf(Message{Group: shard.Meta, Raft: &raftpb.Message{Type: kind.Enum()}}); got != LaneControl {
			t.Errorf("LaneOf(meta %v) = %v, want control", kind, got)
		}
	}
}

// The bounds count what was taken and not released, and let in a message that exceeds them alone.
func TestQueueBounds(t *testing.T) {
	t.Parallel()
	small := Message{Group: shard.UserShard(0), Raft: &raftpb.Message{Type: raftpb.MsgApp.Enum()}}
	big := Message{Group: shard.UserShard(0), Raft: &raftpb.Message{Type: raftpb.MsgApp.Enum(), Context: make([]byte, 10_000)}}
	beat := Message{Group: shard.UserShard(0), Raft: &raftpb.Message{Type: raftpb.MsgHeartbeat.Enum()}}
	push := func(q *outQueue, want int, msgs ...Message) {
		t.Helper()
		if dropped, _ := q.push(msgs, LaneBulk); dropped != want {
			t.Errorf("push dropped %d of %d, want %d", dropped, len(msgs), want)
		}
	}
	q := newQueue(Limits{QueueMessages: 3, QueueBytes: 5_000})
	push(q, 1, small, small, beat, small, small)
	taken := q.take()
	if len(taken) != 3 {
		t.Fatalf("took %d messages, want 3", len(taken))
	}
	push(q, 1, small)
	q.release(1, sizeBound(small.Raft))
	push(q, 1, small, small)
	q.release(2, 2*sizeBound(small.Raft))
	q.recycle(taken)
	push(q, 1, big, small) // the big one is over the bound, and nothing else fits any more
	if got := q.take(); len(got) != 2 || len(got[1].Raft.Context) != 10_000 {
		t.Errorf("took %d messages, want the small and the big one", len(got))
	}
	q.release(2, sizeBound(small.Raft)+sizeBound(big.Raft))
	if q.messages != 0 || q.bytes != 0 {
		t.Errorf("%d messages and %d bytes are accounted in an empty queue", q.messages, q.bytes)
	}
}

func TestJitteredPauseStaysInBounds(t *testing.T) {
	t.Parallel()
	const base, most = 50 * time.Millisecond, 2 * time.Second
	seen := map[time.Duration]bool{}
	for failures := range 100 {
		ceiling := most
		if failures < 6 {
			ceiling = min(most, base<<failures)
		}
		pause := jitteredPause(base, most, failures)
		if pause < ceiling/2 || pause > ceiling {
			t.Errorf("pause after %d failures is %v, want %v to %v", failures, pause, ceiling/2, ceiling)
		}
		seen[pause] = true
	}
	if len(seen) < 50 {
		t.Errorf("only %d different pauses in 100: no jitter", len(seen))
	}
}

// reports collects what a reporter says.
type reports struct {
	quietHandler
	mu    sync.Mutex // guards times
	times map[ident.ReplicaID]int
	said  chan ident.ReplicaID
}

func (r *reports) HandleUnreachable(replica ident.ReplicaID) {
	r.mu.Lock()
	r.times[replica]++
	r.mu.Unlock()
	r.said <- replica
}

// A report that comes within the interval is late, not lost, and many of them are one.
func TestReporterLimitsItsRate(t *testing.T) {
	t.Parallel()
	handler := &reports{times: map[ident.ReplicaID]int{}, said: make(chan ident.ReplicaID, 100)}
	manual := clock.NewManual(time.Unix(1000, 0))
	r := newReporter(manual, time.Second, handler)
	r.report(1)
	if got := <-handler.said; got != 1 {
		t.Fatalf("reported %d, want 1", got)
	}
	for range 50 {
		r.report(1)
	}
	r.report(2) // another replica does not wait for the first
	if got := <-handler.said; got != 2 {
		t.Fatalf("reported %d, want 2", got)
	}
	for len(handler.said) == 0 { // the timer is made at some time after report
		manual.Advance(100 * time.Millisecond)
	}
	if got := <-handler.said; got != 1 {
		t.Fatalf("reported %d, want 1 again", got)
	}
	r.close()
	if handler.times[1] != 2 || handler.times[2] != 1 {
		t.Errorf("reports = %v, want two of 1 and one of 2", handler.times)
	}
}

func TestFramePoolKeepsSizes(t *testing.T) {
	t.Parallel()
	var pool framePool
	for _, size := range []int{0, 1, 8 << 10, 8<<10 + 1, 128 << 10, 1 << 20, 1<<20 + 1, 5 << 20} {
		for range 3 {
			buf := pool.Get(size)
			if len(*buf) != size {
				t.Fatalf("Get(%d) has length %d", size, len(*buf))
			}
			*buf = slices.Grow(*buf, 100)
			pool.Put(buf)
		}
	}
}
